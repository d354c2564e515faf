//! Plugins that are asked of a request that is only explained: by the same code as any other, and without consequences.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::local::{Local, NoVerdict};
use super::offload::Asked;
use super::verdict::{Answered, Decision, Grant, Identified};
use super::{Failure, Stage, View};
use crate::config::OnFailure;

/// Looks on while the stages ask their plugins. Where one looks on, nothing is counted, remembered, logged as a failure or
/// held against anybody; what is remembered already answers as ever.
#[derive(Debug, Default)]
pub struct Witness(RefCell<Vec<Seen>>);

/// What one plugin said.
#[derive(Debug)]
pub struct Seen {
    /// Where it stands.
    pub stage: Stage,
    /// Its name.
    pub plugin: Arc<str>,
    /// The digest of the version that serves.
    pub digest: String,
    /// What it said, in a word or two.
    pub verdict: &'static str,
    /// More of it; none: there is no more.
    pub detail: Option<String>,
    /// How long the verdict took.
    pub took: Duration,
    /// Whether the verdict was remembered, where the plugin promised that it may be.
    pub remembered: Option<bool>,
}

impl Witness {
    /// What was seen since the last time.
    pub fn take(&self) -> Vec<Seen> {
        self.0.take()
    }
}

/// What plugins say that let a request pass.
pub const ACCEPTED: &str = "accepted";
/// What plugins say that do not.
pub const REFUSED: &str = "refused";
/// What a plugin says that fails.
pub const FAILED: &str = "failed";

impl Local {
    /// Asks as ever, before a witness.
    pub(super) async fn ask_before(
        &self,
        witness: &Witness,
        view: &View<'_>,
        now: Instant,
    ) -> Result<Answered, NoVerdict> {
        let began = Instant::now();
        let (answer, remembered) = self.ask_quietly(view, now).await;
        let took = began.elapsed();
        let (verdict, detail) = match &answer {
            Ok(answer) => words(answer),
            // What is unclear is the request's: no plugin was asked.
            Err(NoVerdict::Unclear(_)) => return answer,
            Err(NoVerdict::Failed(failure)) => (FAILED, Some(self.failure(failure))),
        };
        let version = &self.shared.version;
        witness.0.borrow_mut().push(Seen {
            stage: self.shared.name.stage,
            plugin: Arc::clone(&version.name),
            digest: version.hex(),
            verdict,
            detail,
            took,
            remembered,
        });
        answer
    }

    async fn ask_quietly(&self, view: &View<'_>, now: Instant) -> (Result<Answered, NoVerdict>, Option<bool>) {
        let shared = &self.shared;
        if shared.is_suspended(now) {
            return (Err(NoVerdict::Failed(Failure::Suspended)), None);
        }
        let texts = match view.texts(&shared.declaration) {
            Ok(texts) => texts,
            Err(unclear) => return (Err(NoVerdict::Unclear(unclear)), None),
        };
        let recalled = self.recalled(view, &texts, now);
        if let Some(Some(answer)) = recalled {
            return (Ok(answer), Some(true));
        }
        let outcome = match shared.offload() {
            Some(offload) => {
                let asked = Asked::of(view, texts, &shared.declaration);
                offload.call(shared, asked).await.map(|(outcome, _)| outcome.into())
            }
            None => self.call_here(view, &texts).map(|(answer, _)| answer),
        };
        (outcome.map_err(NoVerdict::Failed), recalled.map(|_| false))
    }

    fn failure(&self, failure: &Failure) -> String {
        let open = self.shared.name.stage == Stage::Validation && self.shared.on_failure == OnFailure::Open;
        let open = if open { "; passed on, by `on_failure = \"open\"`" } else { "" };
        format!("{failure}{open}")
    }
}

fn words(answer: &Answered) -> (&'static str, Option<String>) {
    if let Some(rejection) = answer.rejection() {
        let detail = rejection.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        return (REFUSED, Some(format!("{} {}{detail}", rejection.status.as_u16(), rejection.title)));
    }
    match answer {
        Answered::Identified(verdict) => match &**verdict {
            Ok(Identified::Granted(grant)) => (ACCEPTED, Some(caller(grant))),
            _ => ("passed over", Some("no credential of its kind".into())),
        },
        Answered::Checked(_) => (ACCEPTED, None),
        Answered::Routed(verdict) => match &**verdict {
            Ok(Decision::Respond(answer)) => ("answered", Some(answer.status.to_string())),
            _ => ("routed", None),
        },
    }
}

/// What the access log may show, and the plan: nothing else of a credential.
fn caller(grant: &Grant) -> String {
    match grant.plan() {
        Some(plan) => format!("caller {}, plan {plan}", grant.subject()),
        None => format!("caller {}", grant.subject()),
    }
}
