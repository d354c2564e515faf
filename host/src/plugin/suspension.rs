//! Protects a worker, and its other requests, from a use that keeps failing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Failures within [`WINDOW`] that suspend a use.
const MOST_FAILURES: u32 = 5;
/// How long a failure is held against a use.
const WINDOW: Duration = Duration::from_secs(10);
/// The first suspension; each further one is twice as long.
const FIRST_SUSPENSION: Duration = Duration::from_secs(1);
/// The longest suspension.
const MOST_SUSPENSION: Duration = Duration::from_secs(60);

/// Protects a worker from a use that keeps failing: it is not called for a while, then tried again.
#[derive(Default)]
pub(super) struct Suspension {
    /// Milliseconds since [`epoch`]; zero: not suspended. Read on every call.
    until: AtomicU64,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    failures: u32,
    since: Option<Instant>,
    last: Option<Duration>,
}

/// The moment from which suspensions are counted.
fn epoch() -> Instant {
    static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

fn since_epoch(now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(epoch()).as_millis()).unwrap_or(u64::MAX)
}

impl Suspension {
    pub(super) fn holds(&self, now: Instant) -> bool {
        let until = self.until.load(Relaxed);
        until != 0 && since_epoch(now) < until
    }

    /// Notes a failure; answers for how long the use is suspended because of it.
    pub(super) fn failed(&self, now: Instant) -> Option<Duration> {
        let mut record = self.record.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if record.since.is_none_or(|since| now.saturating_duration_since(since) > WINDOW) {
            let trial = record.last.is_some_and(|last| {
                let ended = epoch() + Duration::from_millis(self.until.load(Relaxed));
                now.saturating_duration_since(ended) < last.max(WINDOW)
            });
            if !trial {
                record.last = None;
            }
            record.since = Some(now);
            record.failures = if trial { MOST_FAILURES - 1 } else { 0 };
        }
        record.failures += 1;
        if record.failures < MOST_FAILURES {
            return None;
        }
        let time = record.last.map_or(FIRST_SUSPENSION, |last| (last * 2).min(MOST_SUSPENSION));
        *record = Record { failures: 0, since: None, last: Some(time) };
        self.until.store(since_epoch(now + time).max(1), Relaxed);
        Some(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_that_keeps_failing_is_suspended_ever_longer_and_forgiven() {
        let suspension = Suspension::default();
        let start = epoch() + Duration::from_secs(1);
        for _ in 1..MOST_FAILURES {
            assert_eq!(suspension.failed(start), None);
        }
        assert!(!suspension.holds(start));
        assert_eq!(suspension.failed(start), Some(FIRST_SUSPENSION));
        assert!(suspension.holds(start + FIRST_SUSPENSION / 2));
        let again = start + FIRST_SUSPENSION + Duration::from_millis(1);
        assert!(!suspension.holds(again));
        assert_eq!(suspension.failed(again), Some(FIRST_SUSPENSION * 2), "one failure on trial is enough");
        let much_later = again + Duration::from_secs(100);
        assert_eq!(suspension.failed(much_later), None);
    }
}
