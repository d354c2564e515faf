//! What an endpoint's failed requests say, as all workers count them, without a lock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::health::Cause;
use crate::config::Ejection;

/// The failures of one endpoint: how many there were in a row, and how many of the requests of a window.
///
/// A success costs nothing but a look at the row: how many requests a window has is told by the endpoint's own counters when one
/// fails. So a window begins with a failure. Workers that fail at once may miscount by one or two.
#[derive(Debug)]
pub struct Failures {
    row: AtomicU32,
    /// When the window began in the upper half, in milliseconds since `epoch`, and its failures in the lower.
    window: AtomicU64,
    /// Requests that had ended before the window.
    before: AtomicU64,
    epoch: Instant,
}

impl Failures {
    /// None so far, of an endpoint that is known since `epoch`.
    pub fn new(epoch: Instant) -> Self {
        Self { row: AtomicU32::new(0), window: AtomicU64::new(0), before: AtomicU64::new(0), epoch }
    }

    /// Ends a row of failures; answers how long it was.
    pub fn succeed(&self) -> u32 {
        match self.row.load(Relaxed) {
            0 => 0,
            _ => self.row.swap(0, Relaxed),
        }
    }

    /// Begins anew.
    pub fn forget(&self) {
        self.row.store(0, Relaxed);
        self.window.store(0, Relaxed);
    }

    /// Counts a failure, and `more` of the row that a success had wrongly ended, of an endpoint where `ended` requests have ended
    /// so far, this one included. Answers why the endpoint is to be ejected, if it is; then everything begins anew, so that this
    /// is not answered for each failure of a service that is down and may not be ejected.
    pub fn fail(&self, more: u32, ended: u64, rule: &Ejection, now: Instant) -> Option<Cause> {
        let row = self.row.fetch_add(more + 1, Relaxed).saturating_add(more + 1);
        let (failed, of) = self.count(ended, rule.window, now);
        let share = u64::from(failed) * 100 >= u64::from(rule.failed_percent) * of;
        let cause = if row >= rule.failures {
            Cause::Row(row)
        } else if of >= u64::from(rule.window_requests) && share {
            Cause::Share { failed, of }
        } else {
            return None;
        };
        self.forget();
        Some(cause)
    }

    /// Counts a failure in the window that `now` is in; answers how many failed in it, and of how many.
    fn count(&self, ended: u64, window: Duration, now: Instant) -> (u32, u64) {
        let moment = now.saturating_duration_since(self.epoch).as_millis() as u32;
        let length = u32::try_from(window.as_millis()).unwrap_or(u32::MAX);
        let word = self.window.load(Relaxed);
        let (began, failed) = ((word >> 32) as u32, word as u32);
        if failed == 0 || moment.wrapping_sub(began) > length {
            self.window.store(u64::from(moment) << 32 | 1, Relaxed);
            self.before.store(ended - 1, Relaxed);
            return (1, 1);
        }
        let failed = self.window.fetch_add(1, Relaxed) as u32 + 1;
        (failed, ended.saturating_sub(self.before.load(Relaxed)))
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use crate::balance::tests::ejection;
    use proptest::prelude::*;

    fn rule(failures: u32, failed_percent: u32) -> Ejection {
        Ejection { failed_percent, window_requests: 20, ..ejection(failures, 50) }
    }

    /// Lets requests end, `true` for a failure; answers after how many there was a cause, and which.
    fn run(
        failures: &Failures,
        rule: &Ejection,
        results: &[bool],
        mut now: Instant,
        pause: Duration,
    ) -> Option<(usize, Cause)> {
        for (ended, failed) in results.iter().enumerate() {
            now += pause;
            match failed {
                false => drop(failures.succeed()),
                true => {
                    if let Some(cause) = failures.fail(0, ended as u64 + 1, rule, now) {
                        return Some((ended + 1, cause));
                    }
                }
            }
        }
        None
    }

    #[test]
    fn so_many_in_a_row_are_a_cause_and_a_success_ends_the_row() {
        let (start, rule) = (Instant::now(), rule(3, 100));
        let failures = Failures::new(start);
        let results = [true, true, false, true, true, true];
        assert_eq!(run(&failures, &rule, &results, start, Duration::ZERO), Some((6, Cause::Row(3))));
        assert_eq!(run(&failures, &rule, &[true, true], start, Duration::ZERO), None, "it begins anew");
    }

    #[test]
    fn every_second_one_is_a_cause_where_half_of_enough_is() {
        let (start, rule) = (Instant::now(), rule(5, 50));
        let results: Vec<bool> = (0..100).map(|n| n % 2 == 0).collect();
        let found = run(&Failures::new(start), &rule, &results, start, Duration::from_millis(1));
        assert_eq!(found, Some((21, Cause::Share { failed: 11, of: 21 })));
    }

    #[test]
    fn failures_of_another_window_do_not_count() {
        let (start, rule) = (Instant::now(), rule(5, 50));
        let results: Vec<bool> = (0..1000).map(|n| n % 2 == 0).collect();
        assert_eq!(run(&Failures::new(start), &rule, &results, start, Duration::from_millis(600)), None);
    }

    proptest! {
        #[test]
        fn a_share_is_a_cause_only_where_it_was_reached(results in prop::collection::vec(any::<bool>(), 0..300)) {
            let (start, rule) = (Instant::now(), rule(1000, 60));
            let found = run(&Failures::new(start), &rule, &results, start, Duration::from_millis(1));
            let first = results.iter().position(|failed| *failed).unwrap_or(results.len());
            let since = |end: usize| {
                let failed = results[first..=end].iter().filter(|failed| **failed).count();
                (failed, end + 1 - first)
            };
            let due = (first..results.len()).find(|end| {
                let (failed, of) = since(*end);
                results[*end] && of >= 20 && failed * 100 >= 60 * of
            });
            prop_assert_eq!(found.map(|(ended, _)| ended), due.map(|end| end + 1));
        }
    }
}
