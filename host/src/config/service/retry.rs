//! What a request is tried again for, and how often.

use std::time::Duration;

use super::SECOND;
use super::failure::{FailureKind, KIND};
use crate::config::groups::List;
use crate::config::kinds::{Count, Flag, SPAN, Size, TIMEOUT};
use crate::config::table::Table;

/// Further tries of a request that brought no response, or a bad one.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Further tries, each on another endpoint.
    pub most: u32,
    /// What they are for: `Connect`, where nothing was sent, for any request, the others where it may be sent twice.
    pub on: Vec<FailureKind>,
    /// Whether requests of every method may be sent twice, not only idempotent ones.
    pub repeatable: bool,
    /// The longest until the response to one try begins; `None`: only all tries together are bounded.
    pub try_timeout: Option<Duration>,
    /// The longest pause before the first further try of a request that may have been sent; twice that before the next.
    pub backoff: Duration,
    /// The longest pause.
    pub most_backoff: Duration,
    /// The most requests that are being tried again, as a share of those in flight, in percent.
    pub budget_percent: u32,
    /// As many may always be.
    pub budget_least: u32,
    /// No more are, whatever is in flight.
    pub at_once: u32,
    /// The longest body that is held in memory so that it can be sent twice.
    pub body: usize,
}

impl Retry {
    pub(super) fn read(t: &mut Table<'_>) -> Self {
        let on = "What for: `connect` (nothing was sent: any method), `reset` (before a response), `timeout` (of one try), statuses.";
        let repeatable = "Whether requests of every method may be sent twice, not only of idempotent ones.";
        let try_timeout = "The longest until the response to one try begins. Default: the service's `timeout`.";
        let backoff = "The longest pause before the second try, drawn anew each time; doubled before each further one.";
        let budget = "The most requests that are tried again at one time, as a share of those in flight, in percent.";
        let least = "As many requests may always be tried again at one time.";
        let body = "The longest body that is held in memory so that it can be sent twice; longer ones are sent once.";
        let all = vec![FailureKind::Connect, FailureKind::Reset, FailureKind::Timeout];
        let retry = Self {
            most: t.or("most", "Further tries, each on another endpoint.", 2, &Count(1..=10)),
            on: t.or("on", on, all, &List { of: KIND, least: 1 }),
            repeatable: t.or("repeatable", repeatable, false, &Flag),
            try_timeout: t.given("try_timeout", try_timeout, &TIMEOUT),
            backoff: t.or("backoff", backoff, SECOND / 40, &SPAN),
            most_backoff: t.or("most_backoff", "The longest pause.", SECOND / 4, &SPAN),
            budget_percent: t.or("budget_percent", budget, 20, &Count(0..=100)),
            budget_least: t.or("budget_least", least, 3, &Count(0..=10_000)),
            at_once: t.or("at_once", "No more than these, whatever is in flight.", 1000, &Count(1..=1_000_000)),
            body: t.or("body", body, 16 << 10, &Size(0..=16 << 20)) as usize,
        };
        if retry.most_backoff < retry.backoff {
            t.fault(
                if t.has("most_backoff") { "most_backoff" } else { "backoff" },
                "`backoff` is longer than `most_backoff`",
            );
        }
        retry
    }

    /// Whether it is for this; a status is asked for with [`Retry::is_for_status`].
    #[must_use]
    pub fn is_for(&self, cause: FailureKind) -> bool {
        self.on.contains(&cause)
    }

    /// Whether it is for responses of this status.
    #[must_use]
    pub fn is_for_status(&self, status: u16) -> bool {
        self.on.iter().any(|on| on.is_status(status))
    }
}
