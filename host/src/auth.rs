//! The stage that says who is calling.

use http::{HeaderValue, StatusCode};
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::limit::FailedAuth;
use crate::plugin::verdict::{Grant, Identified};
use crate::plugin::{Declaration, Failure, Slot, Stage, conceal};
use crate::refusal::{Refusal, Rejected};
use crate::request::{Granted, Request, Scene};

/// The auth plugins of one API, in order.
pub struct Auth {
    plugins: Vec<Slot>,
    /// Whether a request without a credential goes on.
    anonymous: bool,
    /// The plans that a caller may have.
    plans: Arc<BTreeSet<Arc<str>>>,
    /// Counts failures by address; none: no limit.
    failed: Option<Arc<FailedAuth>>,
    challenges: Vec<HeaderValue>,
}

impl Auth {
    /// The challenges of all plugins are those that they declared.
    #[must_use]
    pub fn new(
        plugins: Vec<Slot>,
        anonymous: bool,
        plans: Arc<BTreeSet<Arc<str>>>,
        failed: Option<Arc<FailedAuth>>,
    ) -> Self {
        let challenges = plugins
            .iter()
            .filter_map(Slot::declaration)
            .flat_map(|declaration| &declaration.challenges)
            .filter_map(|challenge| HeaderValue::from_str(challenge).ok())
            .collect();
        Self { plugins, anonymous, plans, failed, challenges }
    }

    /// Whether nobody is asked who is calling.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plugins.is_empty()
    }

    /// Asks each plugin in turn; the first that knows the credential decides. Afterwards the credential is gone where the
    /// plugin conceals it, and the fields that it grants are set.
    ///
    /// # Errors
    /// A plugin refuses or fails, none knows a credential, or the address has failed too often.
    pub async fn identify(&self, request: &mut Request, scene: &Scene<'_>) -> Result<(), Refusal> {
        if self.plugins.is_empty() {
            return Ok(());
        }
        if let Some(failed) = &self.failed {
            failed
                .check(request.client.address, scene.nanoseconds)
                .map_err(|fault| Refusal::FailedTooOften { retry_after: fault.retry_after })?;
        }
        for slot in &self.plugins {
            let plugin = slot.live().ok_or(Refusal::Waiting(Stage::Auth))?;
            if let Some(body) = &plugin.shared.declaration.body {
                request.hold(body, scene.budget).await?;
            }
            let verdict = plugin
                .identify(&request.view(scene), scene.now)
                .await
                .map_err(|none| Refusal::no_verdict(Stage::Auth, none))?;
            match &*verdict {
                Ok(Identified::NotMine) => {}
                Ok(Identified::Granted(grant)) => {
                    self.check_plan(grant).map_err(|fault| {
                        Refusal::Failed(Stage::Auth, plugin.blame(Failure::answer(fault), scene.witness, scene.now))
                    })?;
                    admit(grant, &plugin.shared.declaration, request);
                    request.caller = Granted::new(Arc::clone(&plugin.shared.version.name), verdict);
                    return Ok(());
                }
                Err(rejection) => {
                    let counts = scene.witness.is_none() && rejection.status == StatusCode::UNAUTHORIZED;
                    if let Some(failed) = self.failed.as_ref().filter(|_| counts) {
                        failed.charge(request.client.address, scene.nanoseconds);
                    }
                    let own = plugin.shared.challenges();
                    return Err(Refusal::Rejected(Stage::Auth, Rejected::new(rejection, scene.id, own)));
                }
            }
        }
        if self.anonymous { Ok(()) } else { Err(Refusal::NoCredential(self.challenges.clone())) }
    }

    fn check_plan(&self, grant: &Grant) -> Result<(), String> {
        match grant.plan().filter(|plan| !self.plans.contains(*plan)) {
            Some(plan) => Err(format!("plan {plan:?} is not in the configuration's `plans`")),
            None => Ok(()),
        }
    }
}

/// Takes concealed credentials away, and sets what the plugin grants.
fn admit(grant: &Grant, declared: &Declaration, request: &mut Request) {
    for input in grant.conceal().filter_map(|slot| declared.inputs.get(slot)) {
        conceal(&mut request.head, input);
    }
    for (place, value) in grant.fields() {
        // Both are there: a grant is checked when it is made.
        if let (Some(name), Ok(value)) = (declared.identity.get(place), HeaderValue::from_bytes(value.as_bytes())) {
            request.head.headers.append(name.clone(), value);
        }
    }
}
