//! The priority of one thread. On Linux each thread has one of its own; elsewhere it is the process's, and stays.

use std::sync::{Arc, OnceLock};

use rustix::process::Pid;

use super::Pace;

/// The nice value at each pace. Linux weighs 0 as 1024, 5 as 335, 10 as 110 and 19 as 15: a plugin gets a quarter of a core
/// that a worker wants too and is live in a moment even under full load; what takes long is felt less, and what nobody waits
/// for hardly at all.
fn nice(pace: Pace) -> i32 {
    match pace {
        Pace::Prompt => 5,
        Pace::Long => 10,
        Pace::Late | Pace::GivenUp => 19,
    }
}

/// A compile's thread, known once it runs.
#[derive(Clone, Default)]
pub(super) struct Thread(Arc<OnceLock<Pid>>);

impl Thread {
    /// Lowers the calling thread, and remembers it.
    pub(super) fn begin(&self) {
        #[cfg(target_os = "linux")]
        self.0.get_or_init(rustix::thread::gettid);
        self.slow_down(Pace::Prompt);
    }

    /// Lowers the thread, which must still run: another may get its number later.
    pub(super) fn slow_down(&self, pace: Pace) {
        let Some(thread) = self.0.get() else { return };
        if let Err(fault) = rustix::process::setpriority_process(Some(*thread), nice(pace)) {
            tracing::debug!(reason = %fault, "a compile keeps its priority");
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a test says so by failing")]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn only_the_one_thread_is_lowered() {
        let before = getpriority_process(None).unwrap();
        let lowered = std::thread::spawn(|| {
            let thread = Thread::default();
            thread.begin();
            let first = getpriority_process(None).unwrap();
            thread.slow_down(Pace::GivenUp);
            (first, getpriority_process(None).unwrap())
        });
        let (first, last) = lowered.join().unwrap();
        assert!(first > before || before >= nice(Pace::Prompt), "{first}");
        assert_eq!((last, getpriority_process(None).unwrap()), (nice(Pace::GivenUp), before));
    }
}
