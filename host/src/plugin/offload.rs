//! Calls of plugins that are slow by nature: they are run by a few threads of their own, and their worker goes on meanwhile.
//!
//! A call waits for a place at most as long as it may take, and has what is left of that for itself. The uses that have calls
//! waiting get their turns one after the other, so that one that is asked a lot does not keep the others from it. Of one use
//! the newest call is the next: where there are too many, the older ones would end too late anyway.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tokio::sync::oneshot;

use super::bounds::Lines;
use super::capabilities::Trace;
use super::engine::STACK_BYTES;
use super::inputs::{Texts, View};
use super::r#use::{Instance, Use};
use super::v0_1::{Outcome, Request};
use super::{Declaration, Failure};
use crate::config;

/// The threads; they end with this value.
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    most_threads: usize,
    /// Calls of one use that may wait.
    most_waiting: usize,
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Default)]
struct State {
    turns: VecDeque<Turn>,
    threads: usize,
    idle: usize,
    ended: bool,
}

/// A use and its calls that wait: never none.
struct Turn {
    used: Arc<Use>,
    calls: VecDeque<Call>,
}

struct Call {
    asked: Asked,
    until: Instant,
    claim: Claim,
    answer: oneshot::Sender<Result<(Outcome, Trace), Failure>>,
}

/// A call is either run by a thread or given up by its worker: whoever is first.
#[derive(Clone, Default)]
struct Claim(Arc<AtomicBool>);

impl Claim {
    fn take(&self) -> bool {
        !self.0.swap(true, Relaxed)
    }

    fn is_taken(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// Gives a call up when its request has gone.
struct Waiting(Claim);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.take();
    }
}

impl Pool {
    /// Threads are started when there are calls for them, at most `most_threads`.
    #[must_use]
    pub fn new(most_threads: usize, most_waiting: usize) -> Self {
        let shared = Shared { most_threads, most_waiting, state: Mutex::default(), bell: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// The most threads that there may be.
    #[must_use]
    pub fn most_threads(&self) -> usize {
        self.shared.most_threads
    }

    /// Lets a call wait for its turn; false: there is no place for it.
    fn push(&self, used: &Arc<Use>, call: Call) -> bool {
        let mut state = self.shared.lock();
        let place = state.turns.iter().position(|turn| Arc::ptr_eq(&turn.used, used));
        match place.and_then(|place| state.turns.get_mut(place)) {
            Some(turn) => {
                if turn.calls.len() >= self.shared.most_waiting {
                    turn.calls.retain(|call| !call.claim.is_taken());
                }
                if turn.calls.len() >= self.shared.most_waiting {
                    return false;
                }
                turn.calls.push_back(call);
            }
            None => state.turns.push_back(Turn { used: Arc::clone(used), calls: VecDeque::from([call]) }),
        }
        let waiting: usize = state.turns.iter().map(|turn| turn.calls.len()).sum();
        if waiting > state.idle && state.threads < self.shared.most_threads {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("plugin-offload".into()).stack_size(STACK_BYTES);
            match thread.spawn(move || shared.work()) {
                Ok(_) => state.threads += 1,
                Err(fault) => tracing::error!(reason = %fault, "no thread for calls of plugins"),
            }
        }
        self.shared.bell.notify_one();
        // Without a thread nobody would ever run it: its worker gives it up.
        true
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.bell.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some((used, call)) = self.next() {
            // A panic is a fault of ours; the worker finds its answer missing.
            let _ = std::panic::catch_unwind(AssertUnwindSafe(|| run(&used, call)));
        }
    }

    /// Waits for a call; none: there will be none any more.
    fn next(&self) -> Option<(Arc<Use>, Call)> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            while let Some(mut turn) = state.turns.pop_front() {
                let call = turn.calls.pop_back();
                let used = Arc::clone(&turn.used);
                if !turn.calls.is_empty() {
                    state.turns.push_back(turn);
                }
                if let Some(call) = call.filter(|call| call.claim.take()) {
                    return Some((used, call));
                }
            }
            state.idle += 1;
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

/// Runs a call on this thread.
fn run(used: &Use, call: Call) {
    let Some(offload) = used.offload() else { return };
    let left = call.until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        let _ = call.answer.send(Err(Failure::Overload));
        return;
    }
    let kept = offload.idle().pop();
    let mut outcome = kept.map_or_else(|| used.restart(), Ok).and_then(|mut instance| {
        let (outcome, trace) = call.asked.ask(&mut instance, left);
        if outcome.is_ok() && used.host.isolation == config::Isolation::Reused {
            offload.idle().push(instance);
        }
        outcome.map(|outcome| (outcome, trace))
    });
    match &outcome {
        // It might have ended in time, had it not waited for so long.
        Err(Failure::Time) if left < used.host.call_time / 2 => outcome = Err(Failure::Overload),
        Err(failure) if call.asked.counts => used.failed(failure, Instant::now()),
        _ => {}
    }
    // The client may have left.
    let _ = call.answer.send(outcome);
}

/// What an offloaded use has that others do not.
pub(super) struct Offload {
    pool: Arc<Pool>,
    /// Instances that are in no call.
    idle: Mutex<Vec<Instance>>,
    lines: Mutex<Lines>,
}

impl Offload {
    pub(super) fn new(pool: Arc<Pool>, instances: Vec<Instance>) -> Self {
        Self { pool, idle: Mutex::new(instances), lines: Mutex::new(Lines::new(Instant::now())) }
    }

    pub(super) fn idle(&self) -> MutexGuard<'_, Vec<Instance>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a call run by the pool, and waits for what comes of it.
    pub(super) async fn call(&self, used: &Arc<Use>, asked: Asked) -> Result<(Outcome, Trace), Failure> {
        let until = Instant::now() + used.host.call_time;
        let counts = asked.counts;
        let (answer, mut coming) = oneshot::channel();
        let waiting = Waiting(Claim::default());
        let call = Call { asked, until, claim: waiting.0.clone(), answer };
        let answer = match self.pool.push(used, call) {
            false => Ok(Err(Failure::Overload)),
            true => match tokio::time::timeout_at(until.into(), &mut coming).await {
                Ok(answer) => answer,
                Err(_) if waiting.0.take() => Ok(Err(Failure::Overload)),
                // It runs: its own clock ends it.
                Err(_) => coming.await,
            },
        };
        answer.unwrap_or_else(|_| Err(used.panicked())).inspect_err(|failure| {
            if counts && *failure == Failure::Overload {
                let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
                used.overloaded(lines.admit(Instant::now()));
            }
        })
    }
}

impl Use {
    /// Notes a call that found no place in time. That is not held against the plugin: others may have taken all places.
    fn overloaded(&self, tells: bool) {
        let failure = Failure::Overload;
        self.counts.failures.fetch_add(1, Relaxed);
        self.engine.metrics.failure(&self.version.name, failure.kind());
        if tells {
            let (plugin, version) = (&*self.version.name, self.version.hex());
            tracing::warn!(plugin, version, r#use = %self.name, kind = failure.kind(), reason = %failure, "plugin failed");
        }
    }

    fn panicked(&self) -> Failure {
        let failure = Failure::Trap("the host panicked".into());
        self.failed(&failure, Instant::now());
        failure
    }
}

/// The declared inputs of one request, copied for another thread.
pub(super) struct Asked {
    id: HeaderValue,
    values: Vec<Option<Box<str>>>,
    body: Option<Bytes>,
    fields: Option<Vec<(HeaderName, HeaderValue)>>,
    /// Whether a failure counts against the use.
    counts: bool,
}

impl Asked {
    pub(super) fn of(view: &View<'_>, texts: Texts<'_>, declaration: &Declaration) -> Self {
        let values = texts.into_iter().map(|text| text.map(|text| text.into_owned().into())).collect();
        let fields = view.head.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        let fields = declaration.all_headers.then(|| fields.collect());
        Self {
            id: view.id.clone(),
            values,
            body: view.body_for(declaration).cloned(),
            fields,
            counts: view.witness.is_none(),
        }
    }

    fn ask(&self, instance: &mut Instance, time: Duration) -> (Result<Outcome, Failure>, Trace) {
        let values: Vec<Option<&str>> = self.values.iter().map(Option::as_deref).collect();
        let fields = self.fields.as_ref().map(|fields| {
            fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect::<Vec<(&str, &[u8])>>()
        });
        let request = Request { values: &values, body: self.body.as_deref(), all_headers: fields.as_deref() };
        instance.ask(&self.id, request, time)
    }
}
