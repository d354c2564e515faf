//! Passive outlier ejection.

use std::time::Duration;

use super::SECOND;
use super::failure::{FailureKind, KIND};
use crate::config::groups::List;
use crate::config::kinds::{Count, TIMEOUT};
use crate::config::table::Table;

/// Passive outlier ejection.
#[derive(Clone, Debug, PartialEq)]
pub struct Ejection {
    /// What a failure is. A client that left, or a time that a routing plugin made shorter, never is one.
    pub on: Vec<FailureKind>,
    /// Failures in a row that eject.
    pub failures: u32,
    /// The share of failures within `window` that ejects, in percent.
    pub failed_percent: u32,
    /// How long a share is counted before it is counted anew.
    pub window: Duration,
    /// The fewest requests that a share is taken of.
    pub window_requests: u32,
    /// How long the first ejection lasts; each further one that much longer.
    pub time: Duration,
    /// The longest ejection, at least `time`.
    pub most_time: Duration,
    /// The most endpoints that may be ejected, in percent; never the last one.
    pub most_percent: u32,
    /// No endpoint is ejected where fewer would get requests than this, in percent.
    pub panic_percent: u32,
}

/// What a failure is where nothing else is said. A 500 is none: a request may be its cause, sent again and again, or a plugin that
/// rewrote it, and endpoints that are well would be ejected for it.
pub(super) const ON: [FailureKind; 4] =
    [FailureKind::Connect, FailureKind::Reset, FailureKind::Timeout, FailureKind::Status(502, 504)];
/// Statuses below are no failures of anybody.
const LEAST_STATUS: u16 = 400;

impl Ejection {
    pub(super) fn read(t: &mut Table<'_>) -> Self {
        let on = "What a failure is: `connect`, `reset`, `timeout` (the service's own times), statuses from 400 on.";
        let failed = "The share of failures within `window` that ejects, in percent.";
        let least = "The fewest requests within `window` that a share is taken of.";
        let time = "How long the first ejection lasts; each further one that much longer.";
        let most = "The most endpoints that may be ejected, in percent; never the last one.";
        let panic =
            "Ejections are ignored while fewer endpoints than this get requests, in percent; bad probes are not.";
        let ejection = Self {
            on: t.or("on", on, ON.to_vec(), &List { of: KIND, least: 1 }),
            failures: t.or("failures", "Failures in a row that eject.", 5, &Count(1..=1000)),
            failed_percent: t.or("failed_percent", failed, 50, &Count(1..=100)),
            window: t.or("window", "How long a share is counted.", SECOND * 10, &TIMEOUT),
            window_requests: t.or("window_requests", least, 50, &Count(1..=1_000_000)),
            time: t.or("time", time, SECOND * 10, &TIMEOUT),
            most_time: t.or("most_time", "The longest ejection.", SECOND * 300, &TIMEOUT),
            most_percent: t.or("most_percent", most, 50, &Count(1..=100)),
            panic_percent: t.or("panic_percent", panic, 25, &Count(0..=100)),
        };
        if ejection.most_time < ejection.time {
            t.fault(if t.has("most_time") { "most_time" } else { "time" }, "`time` is longer than `most_time`");
        }
        if ejection.on.iter().any(|on| matches!(on, FailureKind::Status(first, _) if *first < LEAST_STATUS)) {
            t.fault("on", format!("a status below {LEAST_STATUS} is no failure"));
        }
        ejection
    }
}
