//! Connections to endpoints that are new or come back, opened before requests need them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, spawn_local};

use super::{ConnectFault, Pool, Pools};
use crate::balance::Service;
use crate::tls::Outward;

/// Keeps a service's endpoints warm on one worker, until it is dropped.
#[must_use = "dropping it ends it"]
pub struct Warming(AbortHandle);

impl Warming {
    /// None where the service says so.
    pub fn start(service: &Arc<Service>, pools: &Rc<Pools>, tls: Option<Arc<Outward>>) -> Option<Self> {
        let watch = || watch(Arc::clone(service), Rc::clone(pools), tls);
        (service.settings().warm > 0).then(|| Self(spawn_local(watch()).abort_handle()))
    }
}

impl Drop for Warming {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn watch(service: Arc<Service>, pools: Rc<Pools>, tls: Option<Arc<Outward>>) {
    let mut warm = BTreeSet::<SocketAddr>::new();
    loop {
        // Before the endpoints: what changes meanwhile is looked at again.
        let renewed = service.state().renewed();
        let endpoints = service.endpoints();
        let ready: BTreeSet<_> =
            endpoints.iter().filter(|endpoint| endpoint.ready()).map(|endpoint| endpoint.address()).collect();
        for address in ready.difference(&warm) {
            spawn_local(pools.of(&service, *address, tls.as_ref()).warm(service.settings().warm));
        }
        warm = ready;
        renewed.await;
    }
}

impl Pool {
    /// Opens connections until so many are open; of HTTP/2 one is enough. Requests do without those that fail.
    async fn warm(self: Rc<Self>, count: usize) {
        self.expire(Instant::now());
        let count = if self.bounds.borrow().http2 { 1 } else { count };
        for _ in self.line.open()..count {
            if let Err(fault) = self.warm_one().await {
                self.circuit.borrow().count_cold();
                tracing::debug!(endpoint = %self.address, reason = %fault, "no connection beforehand");
                return;
            }
        }
    }

    async fn warm_one(&self) -> Result<(), ConnectFault> {
        let now = Instant::now();
        let until = self.opened_by(now + Duration::from_hours(1));
        let connection = if self.bounds.borrow().http2 {
            let _opening = self.opening.lock().await;
            if self.shared(until, now).is_some() {
                return Ok(());
            }
            self.new_http2(self.permit()?, (until, until), now).await?
        } else {
            self.new_http1(self.permit()?, (until, until)).await?
        };
        self.keep(connection, Instant::now());
        Ok(())
    }
}
