//! How slowly bodies may come.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// Ends a wait that takes too long. Costs nothing until something has to be waited for.
pub struct Pause {
    most: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pause {
    /// At most so long.
    #[must_use]
    pub fn new(most: Duration) -> Self {
        Self { most, sleep: None }
    }

    /// How long it may take.
    #[must_use]
    pub fn most(&self) -> Duration {
        self.most
    }

    /// Something came: the next wait has the whole time again.
    pub fn reset(&mut self) {
        self.sleep = None;
    }

    /// Ready when the wait has been too long.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let most = self.most;
        self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(most))).as_mut().poll(cx)
    }
}

/// Ends a body that drips: bytes that keep coming, and too few of them. Only time in which the client was waited for counts.
pub(super) struct Pace {
    /// Bytes a second on average; zero: any.
    least: u64,
    waiting: Option<Instant>,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// A client that has to send a lost packet or two again is not slow yet.
    const GRACE: Duration = Duration::from_secs(5);

    pub(super) fn new(least: u64) -> Self {
        Self { least, waiting: None, waited: Duration::ZERO, bytes: 0 }
    }

    /// Nothing is there yet.
    pub(super) fn wait(&mut self, now: Instant) {
        self.waiting.get_or_insert(now);
    }

    /// Bytes came.
    pub(super) fn came(&mut self, bytes: usize, now: Instant) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.waited += self.waiting.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
    }

    /// Whether they were too few.
    pub(super) fn is_slow(&self) -> bool {
        self.waited > Self::GRACE && self.bytes < self.least.saturating_mul(self.waited.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_drips_is_slow_after_a_grace_and_one_that_flows_is_not() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut pace = Pace::new(100);
        let second = |from, bytes, pace: &mut Pace| {
            pace.wait(at(from));
            pace.came(bytes, at(from + 1));
            pace.is_slow()
        };
        assert!((0..5).all(|from| !second(from, 1, &mut pace)), "within its grace");
        assert!(second(5, 1, &mut pace));
        assert!(!second(6, 10_000, &mut pace));
        // The service took none for a minute: nobody waited for the client.
        assert!(!second(100, 1, &mut pace));
        let mut any = Pace::new(0);
        assert!((0..100).all(|from| !second(from, 0, &mut any)));
    }
}
