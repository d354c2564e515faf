//! The stage that says which service a request goes to.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use http::uri::Uri;
use http::{HeaderMap, HeaderName};

use crate::balance::hash;
use crate::forward::Service;
use crate::forward::headers::{Stripped, Way, may_edit};
use crate::plugin::verdict::{Decision, Destination, Edits, Target};
use crate::plugin::{Failure, Slot, Stage, Verdict};
use crate::refusal::{Refusal, Rejected};
use crate::request::{Request, Scene};

/// How one API finds the service.
pub enum Routing {
    /// Always this one.
    Fixed(Rc<Service>),
    /// A plugin names one of these.
    Plugin(Slot, BTreeMap<Arc<str>, Rc<Service>>),
}

/// Where a request goes.
pub struct Route {
    /// The service.
    pub service: Rc<Service>,
    verdict: Option<Verdict<Decision>>,
}

impl Route {
    /// What a plugin said of it.
    #[must_use]
    pub fn target(&self) -> Option<&Target> {
        match self.verdict.as_deref()? {
            Ok(Decision::Forward(target)) => Some(target),
            _ => None,
        }
    }

    /// The fields that the plugin takes off the service's response or puts others in place of.
    pub fn removed_of_response(&self) -> impl Iterator<Item = &HeaderName> {
        let edits = self.target().and_then(|target| target.destination.response.as_ref());
        edits.into_iter().flat_map(|edits| edits.remove.iter().chain(edits.set.iter().map(|(name, _)| name)))
    }

    /// Changes the fields of the service's response as the plugin said.
    pub fn edit_response(&self, headers: &mut HeaderMap) {
        if let Some(edits) = self.target().and_then(|target| target.destination.response.as_ref()) {
            apply(edits, headers);
        }
    }
}

/// What becomes of a request.
pub enum Routed {
    /// A service gets it.
    Forward(Route),
    /// The plugin answers it.
    Respond(Verdict<Decision>),
}

impl Routing {
    /// Finds the service, and rewrites the request as its plugin says. `random` draws the shares.
    ///
    /// # Errors
    /// The plugin refuses, fails, or answers what cannot be.
    pub async fn route(
        &self,
        request: &mut Request,
        stripped: &Stripped,
        scene: &Scene<'_>,
        random: u64,
    ) -> Result<Routed, Refusal> {
        let (slot, services) = match self {
            Self::Fixed(service) => return Ok(Routed::Forward(Route { service: Rc::clone(service), verdict: None })),
            Self::Plugin(slot, services) => (slot, services),
        };
        let plugin = slot.live().ok_or(Refusal::Waiting(Stage::Routing))?;
        if let Some(body) = &plugin.shared.declaration.body {
            request.hold(body, scene.budget).await?;
        }
        let verdict = plugin
            .route(&request.view(scene), scene.now)
            .await
            .map_err(|none| Refusal::no_verdict(Stage::Routing, none))?;
        let target = match &*verdict {
            Ok(Decision::Forward(target)) => target,
            Ok(Decision::Respond(_)) => return Ok(Routed::Respond(verdict)),
            Err(rejection) => {
                return Err(Refusal::Rejected(Stage::Routing, Rejected::new(rejection, scene.id, &[])));
            }
        };
        let blame = |fault: String| {
            Refusal::Failed(Stage::Routing, plugin.blame(Failure::answer(fault), scene.witness, scene.now))
        };
        let name = draw(target, random);
        let service =
            services.get(name).ok_or_else(|| blame(format!("service {name:?} is not one that it may name")))?;
        rewrite(target, request, stripped).map_err(blame)?;
        Ok(Routed::Forward(Route { service: Rc::clone(service), verdict: Some(verdict) }))
    }
}

/// One of a target's services: by affinity, so that one caller stays on one side whichever gateway it meets, else at random.
fn draw(target: &Target, random: u64) -> &str {
    let Destination { service, shares, .. } = &*target.destination;
    if shares.is_empty() {
        return service;
    }
    let random = target.affinity.as_ref().map_or(random, |affinity| hash(affinity.as_bytes()));
    let mut left = random % 1000;
    for share in shares {
        match left.checked_sub(share.per_mille.into()) {
            Some(rest) => left = rest,
            None => return &share.service,
        }
    }
    service
}

fn rewrite(target: &Target, request: &mut Request, stripped: &Stripped) -> Result<(), String> {
    if let Some(path) = &target.path {
        request.head.uri = match (path.query(), request.head.uri.query()) {
            (None, Some(query)) => {
                let target = format!("{}?{query}", path.path());
                Uri::try_from(target).map_err(|_| "a path and the query do not fit together".to_owned())?
            }
            _ => path.clone().into(),
        };
    }
    if let Some(edits) = &target.destination.request {
        allow(edits, Way::ToService, stripped)?;
        apply(edits, &mut request.head.headers);
    }
    target.destination.response.as_ref().map_or(Ok(()), |edits| allow(edits, Way::ToClient, stripped))
}

/// Refuses edits of fields that are out of a routing plugin's reach.
fn allow(edits: &Edits, way: Way, stripped: &Stripped) -> Result<(), String> {
    let put = edits.set.iter().chain(&edits.add).map(|(name, _)| name);
    match edits.remove.iter().chain(put).find(|name| !may_edit(way, name, stripped)) {
        Some(name) => Err(format!("field {name} is out of a routing plugin's reach")),
        None => Ok(()),
    }
}

fn apply(edits: &Edits, headers: &mut HeaderMap) {
    for name in &edits.remove {
        headers.remove(name);
    }
    for (name, _) in &edits.set {
        headers.remove(name);
    }
    for (name, value) in edits.set.iter().chain(&edits.add) {
        headers.append(name.clone(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::verdict::Share;

    fn target(affinity: Option<&str>) -> Target {
        let share = |service: &str, per_mille| Share { service: service.into(), per_mille };
        let shares = vec![share("a", 100), share("b", 50)];
        let destination = Destination { service: "rest".into(), shares, ..Destination::default() };
        Target { destination: Arc::new(destination), path: None, affinity: affinity.map(str::to_owned) }
    }

    #[test]
    fn shares_are_exact_over_all_draws() {
        let target = target(None);
        let count = |name: &str| (0..1000).filter(|random| draw(&target, *random) == name).count();
        assert_eq!((count("a"), count("b"), count("rest")), (100, 50, 850));
    }

    #[test]
    fn one_caller_stays_on_one_side() {
        let target = target(Some("ada"));
        let first = draw(&target, 1);
        assert!((0..1000).all(|random| draw(&target, random) == first));
    }
}
