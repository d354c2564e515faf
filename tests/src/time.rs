//! Waiting with a bound, and the runtime on which clients and services of all tests run.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Runtime};

/// What takes longer never comes. Long, because two slow cores may run many tests at once, and other programs beside them.
pub const LONG: Duration = Duration::from_secs(60);
/// Between two looks at something that can only be looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Where sockets of tests live. Not the test's own runtime: that stands still while a gateway starts and stops.
pub(crate) fn runtime() -> Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let start = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    RUNTIME.get_or_init(start).handle().clone()
}

/// Waits for something that must come within [`LONG`].
///
/// # Panics
/// It does not come.
pub async fn within<T>(what: &str, coming: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, coming).await {
        Ok(come) => come,
        Err(_) => panic!("{what}: not within {LONG:?}"),
    }
}

/// Looks again and again until there is an answer.
///
/// # Panics
/// There is none within [`LONG`].
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    looked(look).await.unwrap_or_else(|| panic!("{what}: not within {LONG:?}"))
}

/// As [`until`]; none: there is no answer within [`LONG`].
pub(crate) async fn looked<T>(mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + LONG;
    loop {
        if let Some(seen) = look().await {
            return Some(seen);
        }
        if Instant::now() > end {
            return None;
        }
        tokio::time::sleep(LOOK).await;
    }
}
