//! Endpoints that are found while the gateway runs: they come, are drained and go without a reload.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::Service;
use super::probe::Prober;
use crate::config::{self, Endpoint, Endpoints};
use crate::files;

mod dns;

/// How long the start, or a reload, waits for the first answers: until then a service has no endpoint.
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks for a service's endpoints until it is dropped.
#[derive(Debug)]
pub struct Search {
    _by: By,
}

#[derive(Debug)]
enum By {
    Dns { _stop: Stop },
    File { _watch: files::Watch },
}

#[derive(Debug)]
struct Stop(AbortHandle);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why there are no new endpoints; those that are known stay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The name means nothing, or nobody answers.
    #[error("{0}")]
    Dns(String),
    /// The file cannot be read or has faults.
    #[error("{0}")]
    File(String),
}

impl Search {
    /// Looks for the endpoints of this service; `None` where the configuration lists them.
    pub(super) fn start(service: &Arc<Service>, prober: &Prober) -> Option<Self> {
        let found = Found { service: Arc::downgrade(service), prober: prober.clone() };
        let by = match &service.settings().endpoints {
            Endpoints::Listed(_) => return None,
            Endpoints::Dns(rule) => {
                let task = prober.runtime().spawn(dns::follow(rule.clone(), found));
                By::Dns { _stop: Stop(task.abort_handle()) }
            }
            Endpoints::File(path) => {
                let (path, name) = (path.clone(), Arc::clone(&service.settings().name));
                let files = {
                    let path = path.clone();
                    move || vec![path.clone()]
                };
                let read = move || {
                    let endpoints = config::endpoints(&path, &name).map_err(|faults| {
                        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                        Missing::File(faults.join("; "))
                    });
                    found.tell(endpoints);
                };
                let watched = files::watch("endpoints-watch", files, read);
                let watch = watched.inspect_err(|fault| tracing::error!(reason = %fault, "endpoints are not watched"));
                By::File { _watch: watch.ok()? }
            }
        };
        Some(Self { _by: by })
    }
}

/// Where what was found is handed in.
#[derive(Debug)]
struct Found {
    service: Weak<Service>,
    prober: Prober,
}

impl Found {
    /// Hands it in; `false`: nobody wants it any more.
    fn tell(&self, endpoints: Result<Vec<Endpoint>, Missing>) -> bool {
        let Some(service) = self.service.upgrade() else { return false };
        service.found(endpoints, &self.prober, Instant::now());
        true
    }
}

/// Waits until every service has had a first answer, good or bad; not for long.
pub async fn first_answers(services: &super::ServiceMap) {
    let all = async {
        for service in services.values() {
            service.answered().await;
        }
    };
    if tokio::time::timeout(PATIENCE, all).await.is_err() {
        tracing::warn!("going on without the endpoints of some services: nobody answers");
    }
}
