//! How long a client has been silent. One timer per connection looks at it; requests cost no timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What a connection is doing. Only its worker writes; it is atomic because an upgraded connection may be sent elsewhere.
pub(super) struct Activity {
    start: Instant,
    /// Requests whose answers have not passed wholly.
    requests: AtomicUsize,
    /// Whether a head has begun to come, or none has come yet.
    in_head: AtomicBool,
    /// Milliseconds after `start` at which the wait that is on began.
    since: AtomicU64,
}

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        Self { start: now, requests: AtomicUsize::new(0), in_head: AtomicBool::new(true), since: AtomicU64::new(0) }
    }

    fn mark(&self) {
        self.since.store(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Bytes came.
    pub(super) fn bytes(&self) {
        if self.requests.load(Relaxed) == 0 && !self.in_head.swap(true, Relaxed) {
            self.mark();
        }
    }

    /// A head came wholly. The connection is busy until the answer is dropped.
    pub(super) fn request(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Relaxed);
        self.in_head.store(false, Relaxed);
        Busy(Arc::clone(self))
    }

    /// How much longer the client may be silent; none: no longer.
    pub(super) fn left(&self, now: Instant, head: Duration, idle: Duration) -> Option<Duration> {
        let most = if self.in_head.load(Relaxed) { head } else { idle };
        if self.requests.load(Relaxed) > 0 {
            return Some(head.min(idle));
        }
        let since = self.start + Duration::from_millis(self.since.load(Relaxed));
        // Never longer than the shorter one: a head may begin in the meantime.
        let left = most.checked_sub(now.saturating_duration_since(since)).filter(|left| !left.is_zero())?;
        Some(left.min(head).max(Duration::from_millis(1)))
    }
}

/// One request that is being answered.
pub struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.requests.fetch_sub(1, Relaxed) == 1 {
            self.0.mark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(60);

    #[test]
    fn a_client_that_says_nothing_has_the_time_of_a_head() {
        let now = Instant::now();
        let activity = Activity::new(now);
        assert!(activity.left(now + HEAD / 2, HEAD, IDLE).is_some());
        assert_eq!(activity.left(now + HEAD, HEAD, IDLE), None);
    }

    #[test]
    fn dripping_bytes_gain_no_time() {
        let now = Instant::now();
        let activity = Activity::new(now);
        activity.bytes();
        activity.bytes();
        assert_eq!(activity.left(now + HEAD, HEAD, IDLE), None);
    }

    #[test]
    fn between_requests_it_may_be_idle() {
        let now = Instant::now();
        let activity = Arc::new(Activity::new(now));
        let busy = activity.request();
        assert!(activity.left(now + IDLE * 2, HEAD, IDLE).is_some());
        drop(busy);
        assert!(activity.left(now + HEAD * 2, HEAD, IDLE).is_some());
        assert_eq!(activity.left(now + IDLE * 2, HEAD, IDLE), None);
    }
}
