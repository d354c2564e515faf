//! The generic cell rate algorithm (ITU-T I.371), as arithmetic on one number per key.
//!
//! The number is the *arrival*: the moment, in nanoseconds, at which all that was taken is earned back. What lies between
//! now and the arrival is the debt. Nothing is stored when time passes, and nothing needs a timer.

use crate::config;

/// No span is longer than this, so that no sum of a moment and a few spans overflows; it is 73 years.
const LONGEST: u64 = u64::MAX / 8;

/// A rate: `burst` requests at once, and one more every `interval`. All times are nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gcra {
    /// The time that earns one request.
    interval: u64,
    /// The debt at which one more request may still come: all of the burst but one.
    tolerance: u64,
}

impl Gcra {
    /// The arithmetic of a configured rate. A burst that takes more than 73 years to earn is cut to that.
    pub(super) fn new(rate: config::Rate) -> Self {
        let interval = nanoseconds(rate.interval).max(1);
        let tolerance = interval.saturating_mul(u64::from(rate.burst.saturating_sub(1))).min(LONGEST);
        Self { interval, tolerance }
    }

    /// The time that earns one request.
    pub(super) fn interval(self) -> u64 {
        self.interval
    }

    /// The most requests at once.
    pub(super) fn burst(self) -> u32 {
        u32::try_from(self.window() / self.interval).unwrap_or(u32::MAX)
    }

    /// The time that earns the whole burst.
    pub(super) fn window(self) -> u64 {
        self.tolerance.saturating_add(self.interval)
    }

    /// How long until a request may come; zero: now.
    pub(super) fn wait(self, arrival: u64, now: u64) -> u64 {
        arrival.saturating_sub(now).saturating_sub(self.tolerance)
    }

    /// The arrival after one more request.
    pub(super) fn charged(self, arrival: u64, now: u64) -> u64 {
        arrival.max(now).saturating_add(self.interval)
    }

    /// How many requests may come at once now.
    pub(super) fn left(self, arrival: u64, now: u64) -> u32 {
        let room = self.window().saturating_sub(arrival.saturating_sub(now));
        u32::try_from(room / self.interval).unwrap_or(u32::MAX)
    }

    /// How long until one more than `left` may come at once, which is [`Gcra::left`] of the same; never zero. Where the whole
    /// burst is left, it is the time after which one that is taken now is earned back.
    pub(super) fn until_more(self, left: u32, arrival: u64, now: u64) -> u64 {
        let spare = u64::from(left).saturating_mul(self.interval);
        arrival.saturating_sub(now).saturating_add(spare).saturating_sub(self.tolerance)
    }

    /// The arrival of a debt that was made at another interval: what is owed is counted in requests, so ten owed requests
    /// stay ten when the rate changes. Rounded up; no debt stays none.
    pub(super) fn converted(self, arrival: u64, interval: u64, now: u64) -> u64 {
        let debt = arrival.saturating_sub(now);
        if debt == 0 || interval == 0 || interval == self.interval {
            return arrival;
        }
        let owed = (u128::from(debt) * u128::from(self.interval)).div_ceil(u128::from(interval));
        now.saturating_add(u64::try_from(owed).unwrap_or(u64::MAX).min(LONGEST))
    }
}

/// A span in nanoseconds, at most 73 years.
pub(super) fn nanoseconds(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).min(LONGEST)
}

/// Whole seconds of a span in nanoseconds, rounded up, at least 1: what a client that waits so long can rely on.
pub(super) fn seconds(nanoseconds: u64) -> u32 {
    u32::try_from(nanoseconds.div_ceil(1_000_000_000)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    /// Virtual scheduling in integers that cannot overflow: the text of the standard, not our arithmetic.
    struct Reference {
        burst: i128,
        interval: i128,
        arrival: i128,
    }

    impl Reference {
        fn wait(&self, now: i128) -> i128 {
            (self.arrival - (self.burst - 1) * self.interval - now).max(0)
        }

        fn charge(&mut self, now: i128) {
            self.arrival = self.arrival.max(now) + self.interval;
        }
    }

    /// A token bucket, the other way to say the same for time that does not go back; tokens are in nanoseconds.
    struct Bucket {
        full: i128,
        interval: i128,
        tokens: i128,
        last: i128,
    }

    impl Bucket {
        fn take(&mut self, now: i128) -> bool {
            self.tokens = (self.tokens + now - self.last).min(self.full);
            self.last = now;
            let enough = self.tokens >= self.interval;
            if enough {
                self.tokens -= self.interval;
            }
            enough
        }
    }

    fn rates() -> impl Strategy<Value = config::Rate> {
        (1_u32..50, 1_000_u64..5_000_000_000)
            .prop_map(|(burst, interval)| config::Rate { burst, interval: Duration::from_nanos(interval) })
    }

    proptest! {
        #[test]
        fn it_admits_what_a_token_bucket_admits(rate in rates(), steps in prop::collection::vec(0_u64..3_000_000_000, 1..200)) {
            let gcra = Gcra::new(rate);
            let interval = rate.interval.as_nanos() as i128;
            let full = interval * i128::from(rate.burst);
            let mut bucket = Bucket { full, interval, tokens: full, last: 0 };
            let (mut now, mut arrival) = (0, 0);
            for step in steps {
                // A third of the steps is no time at all, a third is close to the interval.
                now += match step % 3 { 0 => 0, 1 => step % (2 * gcra.interval()), _ => step };
                let admitted = gcra.wait(arrival, now) == 0;
                prop_assert_eq!(admitted, bucket.take(i128::from(now)));
                if admitted {
                    arrival = gcra.charged(arrival, now);
                }
                prop_assert_eq!(i128::from(gcra.left(arrival, now)), bucket.tokens / interval);
            }
        }

        #[test]
        fn it_is_virtual_scheduling_even_when_time_goes_back(
            rate in rates(),
            steps in prop::collection::vec(-2_000_000_000_i64..3_000_000_000, 1..200),
            bound in 0_u64..10_000_000_000,
        ) {
            let gcra = Gcra::new(rate);
            let mut reference =
                Reference { burst: rate.burst.into(), interval: rate.interval.as_nanos() as i128, arrival: 0 };
            let (mut now, mut arrival) = (1_000_000_000_u64, 0);
            for step in steps {
                now = now.saturating_add_signed(step);
                let wait = gcra.wait(arrival, now);
                prop_assert_eq!(i128::from(wait), reference.wait(now.into()));
                if wait <= bound {
                    arrival = gcra.charged(arrival, now);
                    reference.charge(now.into());
                }
            }
        }

        #[test]
        fn what_is_left_can_be_taken_at_once_and_no_more(rate in rates(), debt in 0_u64..400_000_000_000) {
            let gcra = Gcra::new(rate);
            let now = 7_000_000_000;
            let mut arrival = now + debt;
            for _ in 0..gcra.left(arrival, now) {
                prop_assert_eq!(gcra.wait(arrival, now), 0);
                arrival = gcra.charged(arrival, now);
            }
            prop_assert!(gcra.wait(arrival, now) > 0);
        }

        #[test]
        fn one_more_comes_exactly_when_it_was_said_to(rate in rates(), debt in 0_u64..400_000_000_000) {
            let gcra = Gcra::new(rate);
            let (now, arrival) = (7_000_000_000, 7_000_000_000 + debt);
            let left = gcra.left(arrival, now);
            let more = gcra.until_more(left, arrival, now);
            prop_assert!(more > 0);
            if left < rate.burst {
                prop_assert_eq!(gcra.left(arrival, now + more), left + 1);
                prop_assert_eq!(gcra.left(arrival, now + more - 1), left);
            } else {
                prop_assert_eq!(more, gcra.interval());
            }
        }

        #[test]
        fn owed_requests_stay_as_many_at_another_rate(old in rates(), new in rates(), owed in 0_u64..50) {
            let (old, new) = (Gcra::new(old), Gcra::new(new));
            let now = 3_000_000_000;
            let arrival = new.converted(now + owed * old.interval(), old.interval(), now);
            prop_assert_eq!(arrival, now + owed * new.interval());
        }
    }

    #[test]
    fn the_most_absurd_rates_do_not_overflow() {
        for interval in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            for burst in [0, 1, u32::MAX] {
                let gcra = Gcra::new(config::Rate { burst, interval });
                let mut arrival = 0;
                for now in [0, 1, LONGEST, u64::MAX] {
                    arrival = gcra.charged(gcra.converted(arrival, 3, now), now);
                    let left = gcra.left(arrival, now);
                    assert!(left <= burst.max(1));
                    gcra.until_more(left, arrival, now);
                    gcra.wait(arrival, now);
                    seconds(gcra.window());
                }
            }
        }
    }

    #[test]
    fn seconds_are_rounded_up_and_never_zero() {
        assert_eq!([0, 1, 1_000_000_000, 1_000_000_001].map(seconds), [1, 1, 1, 2]);
    }
}
