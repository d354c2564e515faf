//! A use on one worker: remembered verdicts, and else the worker's own instance.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::Failure;
use super::capabilities::Trace;
use super::inputs::{Texts, Unclear, View};
use super::offload::Asked;
use super::recall::{Found, Question, Recall};
use super::r#use::{Instance, Use};
use super::v0_1::Outcome;
use super::verdict::{Answered, Decision, Identified, Verdict};
use super::witness::Witness;
use crate::config;

/// A use on one worker.
pub struct Local {
    /// What all workers share.
    pub shared: Arc<Use>,
    instance: RefCell<Option<Instance>>,
    /// Where the plugin promised that its verdicts may be remembered, and the operator lets them be.
    recall: Option<RefCell<Recall>>,
}

/// How far a question got on its worker.
enum Step {
    Answered(Answered),
    /// Others are to be asked.
    Away(Box<Asked>, Option<Question>),
}

/// A call that ended without a verdict.
#[derive(Debug)]
pub enum NoVerdict {
    /// The request is not clear enough to be asked about.
    Unclear(Unclear),
    /// The plugin failed.
    Failed(Failure),
}

impl Local {
    /// A use on a worker, with the instance that was prepared for it.
    #[must_use]
    pub fn new(shared: Arc<Use>, instance: Option<Instance>, worker: usize) -> Self {
        let promised = shared.declaration.remember_ms.map(|most| Duration::from_millis(most.into()));
        let most = promised.map_or(Duration::ZERO, |promised| promised.min(shared.host.remember));
        let recalls = || shared.engine.metrics.recalls(&shared.version.name, worker);
        let recall = (!most.is_zero()).then(|| RefCell::new(Recall::new(most, recalls())));
        Self { shared, instance: RefCell::new(instance), recall }
    }

    /// Who is calling? Only for uses of the auth stage.
    ///
    /// # Errors
    /// There is no verdict.
    pub async fn identify(&self, view: &View<'_>, now: Instant) -> Result<Verdict<Identified>, NoVerdict> {
        match self.ask(view, now).await? {
            Answered::Identified(verdict) => Ok(verdict),
            Answered::Checked(_) | Answered::Routed(_) => Err(Self::wrong_stage()),
        }
    }

    /// Is this request valid? Only for uses of the validation stage.
    ///
    /// # Errors
    /// There is no verdict.
    pub async fn check(&self, view: &View<'_>, now: Instant) -> Result<Verdict<()>, NoVerdict> {
        match self.ask(view, now).await? {
            Answered::Checked(verdict) => Ok(verdict),
            Answered::Identified(_) | Answered::Routed(_) => Err(Self::wrong_stage()),
        }
    }

    /// Where does this request go? Only for uses of the routing stage.
    ///
    /// # Errors
    /// There is no verdict.
    pub async fn route(&self, view: &View<'_>, now: Instant) -> Result<Verdict<Decision>, NoVerdict> {
        match self.ask(view, now).await? {
            Answered::Routed(verdict) => Ok(verdict),
            Answered::Identified(_) | Answered::Checked(_) => Err(Self::wrong_stage()),
        }
    }

    /// Holds against the plugin what turned out bad about its verdict only after the call, as if the call had failed; not
    /// before a witness.
    #[must_use]
    pub fn blame(&self, failure: Failure, witness: Option<&Witness>, now: Instant) -> Failure {
        if witness.is_some() {
            return failure;
        }
        self.instance.take();
        if let Some(offload) = self.shared.offload() {
            offload.idle().clear();
        }
        if let Some(recall) = &self.recall {
            recall.borrow_mut().forget();
        }
        self.shared.failed(&failure, now);
        failure
    }

    /// Bytes of linear memory of its instance; none where that was thrown away.
    #[must_use]
    pub fn memory_bytes(&self) -> Option<usize> {
        self.instance.borrow().as_ref().map(Instance::memory_bytes)
    }

    fn wrong_stage() -> NoVerdict {
        NoVerdict::Failed(Failure::answer("used for another stage"))
    }

    /// The verdict that is remembered, or else the plugin's.
    async fn ask(&self, view: &View<'_>, now: Instant) -> Result<Answered, NoVerdict> {
        // In a box, so that the requests of all others stay as small as they are.
        let coming: Pin<Box<dyn Future<Output = _> + '_>> = match view.witness {
            Some(witness) => Box::pin(self.ask_before(witness, view, now)),
            None => match self.ask_here(view, now)? {
                Step::Answered(answer) => return Ok(answer),
                Step::Away(asked, question) => Box::pin(self.ask_away(asked, question, now)),
            },
        };
        coming.await
    }

    /// Asks as far as that can be done on this thread.
    fn ask_here(&self, view: &View<'_>, now: Instant) -> Result<Step, NoVerdict> {
        let shared = &*self.shared;
        if shared.is_suspended(now) {
            return Err(NoVerdict::Failed(Failure::Suspended));
        }
        let texts = view.texts(&shared.declaration).map_err(NoVerdict::Unclear)?;
        let question = match (&self.recall, view.body_for(&shared.declaration)) {
            (None, _) => None,
            (Some(recall), Some(_)) => {
                recall.borrow().saw_body();
                None
            }
            (Some(recall), None) => {
                let all_headers = shared.declaration.all_headers;
                match recall.borrow_mut().find(shared.generation(), (view, &texts), all_headers, now) {
                    Found::Verdict(answer) => return Ok(Step::Answered(answer)),
                    Found::Nothing(question) => Some(question),
                }
            }
        };
        if shared.offload().is_some() {
            return Ok(Step::Away(Box::new(Asked::of(view, texts, &shared.declaration)), question));
        }
        let (answer, trace) = self.call(view, &texts, now)?;
        self.keep(question, &answer, &trace, now);
        Ok(Step::Answered(answer))
    }

    /// Has another thread ask.
    async fn ask_away(
        &self,
        asked: Box<Asked>,
        question: Option<Question>,
        now: Instant,
    ) -> Result<Answered, NoVerdict> {
        let shared = &self.shared;
        let Some(offload) = shared.offload() else { return Err(Self::wrong_stage()) };
        shared.counts.calls.fetch_add(1, Relaxed);
        let (outcome, trace) = offload.call(shared, *asked).await.map_err(NoVerdict::Failed)?;
        let answer = self.verdict(outcome);
        self.keep(question, &answer, &trace, now);
        Ok(answer)
    }

    fn verdict(&self, outcome: Outcome) -> Answered {
        match &self.recall {
            Some(recall) => recall.borrow_mut().verdict(outcome),
            None => outcome.into(),
        }
    }

    fn keep(&self, question: Option<Question>, answer: &Answered, trace: &Trace, now: Instant) {
        if let (Some(recall), Some(question)) = (&self.recall, question) {
            recall.borrow_mut().keep(question, answer, trace, self.shared.generation(), now);
        }
    }

    fn call(&self, view: &View<'_>, texts: &Texts<'_>, now: Instant) -> Result<(Answered, Trace), NoVerdict> {
        self.shared.counts.calls.fetch_add(1, Relaxed);
        self.call_here(view, texts).map_err(|failure| {
            self.shared.failed(&failure, now);
            NoVerdict::Failed(failure)
        })
    }

    /// Calls the worker's own instance; nothing is counted.
    pub(super) fn call_here(&self, view: &View<'_>, texts: &Texts<'_>) -> Result<(Answered, Trace), Failure> {
        let shared = &*self.shared;
        let kept = self.instance.borrow_mut().take();
        kept.map_or_else(|| shared.restart(), Ok).and_then(|mut instance| {
            let (answer, trace) = instance.call(shared, view, texts);
            if answer.is_ok() && shared.host.isolation == config::Isolation::Reused {
                *self.instance.borrow_mut() = Some(instance);
            }
            answer.map(|outcome| (self.verdict(outcome), trace))
        })
    }

    /// The verdict that is remembered, without a trace that it was asked for; none at all where none is ever remembered.
    pub(super) fn recalled(&self, view: &View<'_>, texts: &Texts<'_>, now: Instant) -> Option<Option<Answered>> {
        let recall = self.recall.as_ref().filter(|_| view.body_for(&self.shared.declaration).is_none())?;
        let declaration = &self.shared.declaration;
        Some(recall.borrow().peek(self.shared.generation(), (view, texts), declaration.all_headers, now))
    }
}
