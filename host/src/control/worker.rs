//! One worker: a thread with a runtime of its own.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};

use super::Update;
use super::plan::Site;
use crate::gateway::{self, Question, Worker};
use crate::metrics::Metrics;
use crate::plugin::STACK_BYTES;
use crate::server::{Connections, Terms, serve};

/// What a worker is started with.
pub(super) struct Start {
    pub(super) index: usize,
    pub(super) connections: Connections,
    pub(super) updates: mpsc::UnboundedReceiver<Update>,
    /// Requests that it is to explain; none: another worker does.
    pub(super) questions: Option<mpsc::Receiver<Question>>,
    pub(super) terms: watch::Receiver<Terms>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) leaving: Arc<AtomicBool>,
}

/// Starts a worker; it ends when no more connections are accepted and its requests have ended.
pub(super) fn spawn(start: Start) -> std::io::Result<std::thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("worker-{}", start.index)).stack_size(STACK_BYTES).spawn(move || {
        LocalSet::new().block_on(&runtime, work(start));
    })
}

async fn work(start: Start) {
    let Start { index, connections, mut updates, questions, terms, metrics, leaving } = start;
    let mut site = Site::new(index, Arc::clone(&metrics));
    let Some(Update { plan, instances, _taken }) = updates.recv().await else { return };
    let gateway = Rc::new(site.build(&plan, instances));
    let worker = Rc::new(Worker::new(index, gateway, Rc::clone(&site.pools), metrics, leaving));
    drop((plan, _taken));
    let apply = {
        let worker = Rc::clone(&worker);
        async move {
            while let Some(Update { plan, instances, _taken }) = updates.recv().await {
                worker.gateway.replace(Rc::new(site.build(&plan, instances)));
            }
        }
    };
    let apply = spawn_local(apply);
    let answer = questions.map(|questions| spawn_local(gateway::answer_questions(Rc::clone(&worker), questions)));
    serve(worker, connections, terms).await;
    apply.abort();
    if let Some(answer) = answer {
        answer.abort();
    }
}
