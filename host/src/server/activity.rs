//! How long a client has been silent, by a clock that ticks with its worker: requests cost no timer and no system call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::interim::Interim;
use super::taking::Taking;

/// A worker's time in milliseconds. It stands still while the worker does: no client is closed because a worker was late.
#[derive(Clone, Default)]
pub(super) struct Clock(Arc<AtomicU64>);

impl Clock {
    /// So much time has passed, by ticks of `tick`.
    pub(super) fn advance(&self, passed: Duration, tick: Duration) {
        let passed = milliseconds(passed.min(tick * 2));
        self.0.store(self.0.load(Relaxed).saturating_add(passed), Relaxed);
    }

    pub(super) fn now(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a connection is doing. Only its worker writes; it is atomic because an upgraded connection may be sent elsewhere.
pub(super) struct Activity {
    clock: Clock,
    /// Requests whose answers have not passed wholly.
    requests: AtomicUsize,
    /// Whether a head has begun to come, or none has come yet.
    in_head: AtomicBool,
    /// Whether heads cannot be told from other bytes (HTTP/2): then only the time between requests counts.
    framed: AtomicBool,
    /// When the wait that is on began.
    since: AtomicU64,
    /// Whether no request has come yet.
    new: AtomicBool,
    /// How slowly the client takes bytes.
    taking: Taking,
    /// Whether no request may come any more.
    last: AtomicBool,
    /// Whether the body of the request that is being answered may still have trailers.
    in_body: AtomicBool,
    /// Whether the body of the newest request has not come whole.
    uploads: AtomicBool,
    /// What waits to be said before an answer.
    pub(super) interim: Interim,
}

impl Activity {
    /// The client must take `least` bytes a second; zero: any.
    pub(super) fn new(clock: Clock, least: u64) -> Self {
        let since = AtomicU64::new(clock.now());
        let (requests, taking) = (AtomicUsize::new(0), Taking::new(least));
        let (in_head, framed, new, last) = (true.into(), false.into(), true.into(), false.into());
        let (in_body, uploads, interim) = (false.into(), false.into(), Interim::default());
        Self { clock, requests, in_head, framed, since, new, taking, last, in_body, uploads, interim }
    }

    fn mark(&self) {
        self.since.store(self.clock.now(), Relaxed);
    }

    /// Bytes came.
    pub(super) fn bytes(&self) {
        let counts = self.requests.load(Relaxed) == 0 && !self.framed.load(Relaxed);
        if counts && !self.in_head.load(Relaxed) {
            self.in_head.store(true, Relaxed);
            self.mark();
        }
    }

    /// Bytes were offered to the client; it took so many, or none.
    pub(super) fn offered(&self, taken: Option<usize>) {
        self.taking.offered(taken, &self.clock);
    }

    /// Whether no request has come yet.
    pub(super) fn is_new(&self) -> bool {
        self.new.load(Relaxed)
    }

    /// Whether the client has taken none of the bytes that wait for it for longer than it may, or too few of them.
    pub(super) fn takes_slowly(&self, most: Duration) -> bool {
        self.taking.is_slow(most, &self.clock)
    }

    /// The client speaks HTTP/2.
    pub(super) fn frames(&self) {
        self.framed.store(true, Relaxed);
    }

    /// A head came wholly. The connection is busy until the answer is dropped.
    pub(super) fn request(self: &Arc<Self>) -> InFlight {
        self.requests.store(self.requests.load(Relaxed) + 1, Relaxed);
        self.in_head.store(false, Relaxed);
        self.new.store(false, Relaxed);
        self.uploads.store(false, Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Whether the request that is being answered is the connection's last.
    pub(super) fn is_last(&self) -> bool {
        self.last.load(Relaxed)
    }

    /// Whether that may still turn out: its body has not come whole.
    pub(super) fn may_be_last(&self) -> bool {
        self.is_last() || self.in_body.load(Relaxed)
    }

    /// Whether the client may still be sending the body of a request that has its answer.
    pub(super) fn uploads(&self) -> bool {
        self.uploads.load(Relaxed)
    }

    /// Whether the client has been silent for longer than it may.
    pub(super) fn is_overdue(&self, head: Duration, idle: Duration) -> bool {
        let most = if self.in_head.load(Relaxed) { head } else { idle };
        // The wait began within the tick after `since`, which counts for the client.
        let waited = self.clock.now().saturating_sub(self.since.load(Relaxed));
        self.requests.load(Relaxed) == 0 && waited > milliseconds(most)
    }
}

/// One request that is being answered.
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    /// The connection of the request, for what finds later that it must end.
    pub(super) fn ending(&self) -> Ending {
        Ending(Arc::clone(&self.0))
    }
}

/// Can end a connection after the request that is being answered.
pub struct Ending(Arc<Activity>);

impl Ending {
    /// No request that comes behind it is answered. HTTP/1 only: streams of HTTP/2 end by themselves.
    pub fn after_this(&self) {
        if !self.0.framed.load(Relaxed) {
            self.0.last.store(true, Relaxed);
        }
    }

    /// Whether the request's body is still coming. HTTP/1 only.
    pub fn uploads(&self, uploads: bool) {
        self.0.uploads.store(uploads && !self.0.framed.load(Relaxed), Relaxed);
    }

    /// Whether it is unknown yet if another may come, because the request's body may have trailers and is still coming. HTTP/1 only.
    pub fn awaits_trailers(&self, awaits: bool) {
        self.0.in_body.store(awaits && !self.0.framed.load(Relaxed), Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let left = self.0.requests.load(Relaxed).saturating_sub(1);
        self.0.requests.store(left, Relaxed);
        if left == 0 {
            self.0.mark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_secs(1);
    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(60);

    fn activity() -> (Clock, Arc<Activity>) {
        let clock = Clock::default();
        (clock.clone(), Arc::new(Activity::new(clock, 0)))
    }

    fn pass(clock: &Clock, time: Duration) {
        (0..time.as_secs()).for_each(|_| clock.advance(TICK, TICK));
    }

    #[test]
    fn a_client_that_says_nothing_has_the_time_of_a_head() {
        let (clock, activity) = activity();
        pass(&clock, HEAD);
        assert!(!activity.is_overdue(HEAD, IDLE));
        pass(&clock, TICK);
        assert!(activity.is_overdue(HEAD, IDLE));
    }

    #[test]
    fn dripping_bytes_gain_no_time() {
        let (clock, activity) = activity();
        for _ in 0..=HEAD.as_secs() {
            activity.bytes();
            pass(&clock, TICK);
        }
        assert!(activity.is_overdue(HEAD, IDLE));
    }

    #[test]
    fn between_requests_it_may_be_idle() {
        let (clock, activity) = activity();
        let busy = activity.request();
        pass(&clock, IDLE * 2);
        assert!(!activity.is_overdue(HEAD, IDLE));
        drop(busy);
        pass(&clock, HEAD * 2);
        assert!(!activity.is_overdue(HEAD, IDLE));
        pass(&clock, IDLE);
        assert!(activity.is_overdue(HEAD, IDLE));
    }

    #[test]
    fn bytes_of_http2_begin_no_head() {
        let (clock, activity) = activity();
        activity.frames();
        drop(activity.request());
        activity.bytes();
        pass(&clock, HEAD * 2);
        assert!(!activity.is_overdue(HEAD, IDLE));
    }

    #[test]
    fn a_worker_that_was_late_takes_no_time_from_clients() {
        let (clock, activity) = activity();
        clock.advance(HEAD * 100, TICK);
        assert!(!activity.is_overdue(HEAD, IDLE));
    }
}
