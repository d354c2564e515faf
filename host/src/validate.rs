//! The stage that says whether a request is valid.

use crate::config::OnFailure;
use crate::plugin::{NoVerdict, Slot, Stage};
use crate::refusal::{Refusal, Rejected};
use crate::request::{Request, Scene};

/// The validation plugins of one API: all of them must accept.
pub struct Validation {
    plugins: Vec<Slot>,
}

impl Validation {
    /// In the order of the configuration.
    #[must_use]
    pub fn new(plugins: Vec<Slot>) -> Self {
        Self { plugins }
    }

    /// Whether every request is valid.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plugins.is_empty()
    }

    /// Asks each plugin in turn.
    ///
    /// # Errors
    /// One of them refuses, or fails and its failure mode is closed.
    pub async fn check(&self, request: &mut Request, scene: &Scene<'_>) -> Result<(), Refusal> {
        for slot in &self.plugins {
            let plugin = slot.live().ok_or(Refusal::Waiting(Stage::Validation))?;
            if let Some(body) = &plugin.shared.declaration.body {
                request.hold(body, scene.budget).await?;
            }
            match plugin.check(&request.view(scene), scene.now).await {
                Ok(verdict) => {
                    if let Err(rejection) = &*verdict {
                        return Err(Refusal::Rejected(Stage::Validation, Rejected::new(rejection, scene.id, &[])));
                    }
                }
                Err(NoVerdict::Failed(_)) if plugin.shared.on_failure == OnFailure::Open => {}
                Err(none) => return Err(Refusal::no_verdict(Stage::Validation, none)),
            }
        }
        Ok(())
    }
}
