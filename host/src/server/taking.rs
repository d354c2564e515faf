//! How slowly a client may take the bytes of answers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::activity::{Clock, milliseconds};

/// What a client takes of bytes that wait for it. Only time in which some wait counts: where there is nothing to send nobody is
/// slow. A client that never lets any wait costs one look per write.
pub(super) struct Taking {
    /// Bytes a second; zero: any.
    least: u64,
    /// Whether it ever let bytes wait.
    held: AtomicBool,
    /// Since when bytes wait; [`NEVER`]: none do.
    since: AtomicU64,
    /// Bytes that it took since some began to wait.
    taken: AtomicU64,
    /// For how many milliseconds some waited meanwhile.
    waited: AtomicU64,
    /// For how many milliseconds more some waited than what it took is worth. Never below zero: who was fast before may not be
    /// slow for that.
    behind: AtomicU64,
}

const NEVER: u64 = u64::MAX;
/// As for the bodies of requests: a client to which a lost packet or two are sent again is not slow yet.
const GRACE: Duration = Duration::from_secs(5);

impl Taking {
    pub(super) fn new(least: u64) -> Self {
        let (taken, waited, behind) = (0.into(), 0.into(), 0.into());
        Self { least, held: false.into(), since: NEVER.into(), taken, waited, behind }
    }

    /// Bytes were offered; it took so many, or none.
    pub(super) fn offered(&self, taken: Option<usize>, clock: &Clock) {
        match taken {
            Some(_) if !self.held.load(Relaxed) => {}
            Some(bytes) => self.took(bytes as u64, clock),
            None if self.since.load(Relaxed) == NEVER => self.waits(clock),
            None => {}
        }
    }

    fn took(&self, bytes: u64, clock: &Clock) {
        self.taken.store(self.taken.load(Relaxed).saturating_add(bytes), Relaxed);
        let since = self.since.swap(NEVER, Relaxed);
        if since != NEVER {
            let waited = clock.now().saturating_sub(since);
            self.waited.store(self.waited.load(Relaxed).saturating_add(waited), Relaxed);
        }
    }

    /// The system's buffers are full, as they were when bytes waited the last time: what went into them since is what the client
    /// took. In between that cannot be told, and a third of them must be taken before there is room again.
    fn waits(&self, clock: &Clock) {
        self.held.store(true, Relaxed);
        self.since.store(clock.now(), Relaxed);
        let (taken, waited) = (self.taken.swap(0, Relaxed), self.waited.swap(0, Relaxed));
        if let Some(worth) = taken.saturating_mul(1000).checked_div(self.least) {
            let behind = self.behind.load(Relaxed).saturating_add(waited);
            self.behind.store(behind.saturating_sub(worth), Relaxed);
        }
    }

    /// Whether it has taken none for longer than it may, or too few.
    pub(super) fn is_slow(&self, most: Duration, clock: &Clock) -> bool {
        let since = self.since.load(Relaxed);
        let stuck = since != NEVER && clock.now().saturating_sub(since) > milliseconds(most);
        stuck || self.behind.load(Relaxed) > milliseconds(GRACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_mins(1);

    fn pass(clock: &Clock, time: Duration) {
        (0..time.as_secs()).for_each(|_| clock.advance(TICK, TICK));
    }

    /// Bytes wait for so long, and then it takes so many before others wait.
    fn takes(taking: &Taking, bytes: usize, after: Duration, clock: &Clock) -> bool {
        taking.offered(None, clock);
        pass(clock, after);
        taking.offered(Some(bytes), clock);
        taking.offered(None, clock);
        taking.is_slow(MOST, clock)
    }

    #[test]
    fn it_must_take_bytes_that_wait_for_it() {
        let (clock, taking) = (Clock::default(), Taking::new(0));
        assert!(!takes(&taking, 1, MOST, &clock));
        assert!(!takes(&taking, 1, MOST, &clock), "any number, once a while");
        pass(&clock, MOST + TICK);
        assert!(taking.is_slow(MOST, &clock));
        taking.offered(Some(1), &clock);
        assert!(!taking.is_slow(MOST, &clock));
    }

    #[test]
    fn a_client_that_takes_too_few_is_slow_after_a_grace_and_whatever_it_took_before() {
        let (clock, taking) = (Clock::default(), Taking::new(100));
        assert!(!takes(&taking, 1_000_000, TICK, &clock));
        assert!((0..100).all(|_| !takes(&taking, 100, TICK, &clock)), "just enough");
        assert!((0..5).all(|_| !takes(&taking, 1, TICK, &clock)), "within its grace");
        assert!(takes(&taking, 1, TICK, &clock));
        assert!(!takes(&taking, 1_000, TICK, &clock), "it has caught up");
    }

    #[test]
    fn nobody_is_slow_while_there_is_nothing_to_send() {
        let (clock, taking) = (Clock::default(), Taking::new(100));
        for _ in 0..100 {
            taking.offered(Some(1), &clock);
            pass(&clock, MOST);
        }
        assert!(!takes(&taking, 1, TICK, &clock));
        taking.offered(Some(1), &clock);
        for _ in 0..100 {
            pass(&clock, MOST);
            taking.offered(Some(1), &clock);
        }
        assert!(!taking.is_slow(MOST, &clock));
    }
}
