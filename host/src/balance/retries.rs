//! How many requests of a service are tried again at one time.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::ServiceState;
use crate::config::Retry;

/// What is counted of a service's further tries.
#[derive(Debug, Default)]
pub(super) struct Retries {
    now: AtomicU32,
    made: AtomicU64,
    refused: AtomicU64,
}

impl Retries {
    /// Further tries so far.
    pub(super) fn made(&self) -> u64 {
        self.made.load(Relaxed)
    }

    /// Those that there was no room for.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

/// A request that is tried again, until this is dropped.
#[must_use = "dropping it gives its place back"]
#[derive(Debug)]
pub struct Again(Arc<ServiceState>);

impl Again {
    /// `None` where too many are. A service that is down must not get several times the requests that it got when it was well.
    pub(super) fn take(service: &Arc<ServiceState>, rule: &Retry) -> Option<Self> {
        let again = Self(Arc::clone(service));
        let now = service.retries.now.fetch_add(1, Relaxed);
        let share = service.in_flight() as u64 * u64::from(rule.budget_percent) / 100;
        let most = share.max(rule.budget_least.into()).min(rule.at_once.into());
        let counter = if u64::from(now) < most { &service.retries.made } else { &service.retries.refused };
        counter.fetch_add(1, Relaxed);
        (u64::from(now) < most).then_some(again)
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        self.0.retries.now.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    fn rule(budget_percent: u32, budget_least: u32, at_once: u32) -> config::Retry {
        config::Retry {
            most: 2,
            on: vec![],
            repeatable: false,
            try_timeout: None,
            backoff: Duration::ZERO,
            most_backoff: Duration::ZERO,
            budget_percent,
            budget_least,
            at_once,
            body: 0,
        }
    }

    /// How many are tried again at one time while so many are in flight.
    fn most(in_flight: usize, rule: &config::Retry) -> usize {
        let service = ServiceState::new("orders".into());
        service.in_flight.store(in_flight, Ordering::Relaxed);
        let again: Vec<_> = std::iter::from_fn(|| Again::take(&service, rule)).collect();
        let most = again.len();
        drop(again);
        assert_eq!(service.retries.now.load(Relaxed), 0);
        assert_eq!((service.retries.made(), service.retries.refused()), (most as u64, 1));
        most
    }

    #[test]
    fn a_share_of_those_in_flight_is_tried_again_but_a_few_always_and_never_too_many() {
        assert_eq!(most(100, &rule(20, 3, 1000)), 20);
        assert_eq!(most(1, &rule(20, 3, 1000)), 3);
        assert_eq!(most(1, &rule(20, 0, 1000)), 0);
        assert_eq!(most(100_000, &rule(20, 3, 50)), 50);
    }
}
