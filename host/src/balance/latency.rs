//! How long an endpoint takes to answer, as all workers last saw it, without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The peak-sensitive moving average of one endpoint's times to a response's head (Finagle's peak EWMA): a slower answer counts
/// at once and whole, faster ones make up for it over the decay time, and so does silence.
///
/// One word for all workers, so that each knows what the others saw: seconds as a float in the upper half, and when that was
/// in the lower, in milliseconds since the endpoint is known. Zero: no answer yet.
#[derive(Debug)]
pub struct Latency {
    word: AtomicU64,
    epoch: Instant,
}

impl Latency {
    /// Of an endpoint that is known since `epoch`.
    pub fn new(epoch: Instant) -> Self {
        Self { word: AtomicU64::new(0), epoch }
    }

    /// Seconds, as of now; zero where nothing is known.
    pub fn seconds(&self, decay: Duration, now: Instant) -> f64 {
        let (seconds, then) = unpack(self.word.load(Relaxed));
        f64::from(seconds) * kept(self.age(then, now), decay)
    }

    /// An answer came after this time.
    pub fn answered(&self, after: Duration, decay: Duration, now: Instant) {
        self.observe(decay, now, |_| after.as_secs_f32());
    }

    /// A request failed after this time, however soon: as if an answer had taken twice what they take, or else an endpoint that
    /// fails at once would look like the fastest of all.
    pub fn failed(&self, after: Duration, decay: Duration, now: Instant) {
        self.observe(decay, now, |seconds| after.as_secs_f32().max(2.0 * seconds));
    }

    fn observe(&self, decay: Duration, now: Instant, sample: impl Fn(f32) -> f32) {
        let next = |word| {
            let (seconds, then) = unpack(word);
            let kept = kept(self.age(then, now), decay) as f32;
            let sample = sample(seconds);
            match sample >= seconds {
                true => Some(self.pack(sample, now)),
                // Of several within a millisecond only the slowest counts: nothing would be left to store.
                false if kept >= 1.0 => None,
                false => Some(self.pack(seconds * kept + sample * (1.0 - kept), now)),
            }
        };
        // There is nothing to do where it changes nothing.
        let _ = self.word.fetch_update(Relaxed, Relaxed, next);
    }

    fn pack(&self, seconds: f32, now: Instant) -> u64 {
        u64::from(seconds.to_bits()) << 32 | u64::from(self.moment(now))
    }

    fn moment(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.epoch).as_millis() as u32
    }

    /// How long ago `then` was; another worker's may be a little ahead.
    fn age(&self, then: u32, now: Instant) -> Duration {
        let milliseconds = self.moment(now).wrapping_sub(then).cast_signed();
        Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
    }
}

fn unpack(word: u64) -> (f32, u32) {
    (f32::from_bits((word >> 32) as u32), word as u32)
}

/// What of a value is left after this time.
fn kept(age: Duration, decay: Duration) -> f64 {
    if age.is_zero() { 1.0 } else { (-age.as_secs_f64() / decay.as_secs_f64()).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DECAY: Duration = Duration::from_secs(10);

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_peak_counts_at_once_and_fades_over_the_decay_time() {
        let start = Instant::now();
        let latency = Latency::new(start);
        assert_eq!(latency.seconds(DECAY, start), 0.0);
        latency.answered(Duration::from_millis(10), DECAY, start);
        latency.answered(Duration::from_secs(1), DECAY, after(start, 0.1));
        assert_eq!(latency.seconds(DECAY, after(start, 0.1)), 1.0);
        latency.answered(Duration::from_millis(10), DECAY, after(start, 0.2));
        assert!(latency.seconds(DECAY, after(start, 0.2)) > 0.98);
        let later = latency.seconds(DECAY, after(start, 10.2));
        assert!((0.36..0.37).contains(&later), "{later}");
    }

    #[test]
    fn steady_answers_make_up_for_a_peak() {
        let start = Instant::now();
        let latency = Latency::new(start);
        latency.answered(Duration::from_secs(1), DECAY, start);
        // Ten in a millisecond, for ten decay times.
        for tenth in 0..1_000_000 {
            latency.answered(Duration::from_millis(10), DECAY, start + Duration::from_micros(100 * tenth));
        }
        let seconds = latency.seconds(DECAY, after(start, 100.0));
        assert!((0.009..0.0102).contains(&seconds), "{seconds}");
    }

    #[test]
    fn what_fails_fast_does_not_look_fast() {
        let start = Instant::now();
        let latency = Latency::new(start);
        latency.answered(Duration::from_millis(8), DECAY, start);
        for times in 1..=5 {
            latency.failed(Duration::from_micros(50), DECAY, start);
            let seconds = latency.seconds(DECAY, start);
            assert!((seconds - 0.008 * f64::from(1 << times)).abs() < 1e-6, "{seconds}");
        }
    }

    proptest! {
        #[test]
        fn it_is_never_above_the_slowest_nor_below_what_is_left_of_it(
            answers in prop::collection::vec((1u64..2_000_000, 0u64..3_000_000), 1..50),
        ) {
            let mut now = Instant::now();
            let latency = Latency::new(now);
            let mut slowest: Vec<(f64, Instant)> = Vec::new();
            for (micros, wait) in answers {
                now += Duration::from_micros(wait);
                let answer = Duration::from_micros(micros);
                latency.answered(answer, DECAY, now);
                slowest.push((answer.as_secs_f64(), now));
                let seconds = latency.seconds(DECAY, now);
                let left = slowest.iter().map(|(seconds, at)| seconds * kept(now - *at, DECAY)).fold(0.0, f64::max);
                let most = slowest.iter().map(|(seconds, _)| *seconds).fold(0.0, f64::max);
                // Moments are kept in whole milliseconds.
                prop_assert!(seconds >= left * 0.995 && seconds <= most * 1.0001, "{left} {seconds} {most}");
            }
        }
    }
}
