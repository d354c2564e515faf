//! The clock of all plugins: it counts the time of their calls, and stands still while there is no instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::Thread;
use std::time::Duration;

/// How often the clock ticks: the grain of a call's time.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// A thread that ends with the engine.
pub(super) struct Clock {
    wanted: Arc<AtomicUsize>,
    thread: Thread,
}

impl Clock {
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(engine: &wasmtime::Engine) -> std::io::Result<Self> {
        let wanted = Arc::<AtomicUsize>::default();
        let (engine, asked) = (engine.weak(), Arc::clone(&wanted));
        let thread = std::thread::Builder::new().name("plugin-clock".into()).spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                match asked.load(SeqCst) {
                    0 => std::thread::park(),
                    _ => std::thread::sleep(TICK),
                }
            }
        })?;
        Ok(Self { wanted, thread: thread.thread().clone() })
    }

    pub(super) fn tick(&self) -> Ticking {
        let ticking = Ticking(Arc::clone(&self.wanted));
        if self.wanted.fetch_add(1, SeqCst) == 0 {
            self.thread.unpark();
        }
        ticking
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.thread.unpark();
    }
}

/// Somebody depends on the clock.
#[must_use = "the clock may stop when this is dropped"]
pub(super) struct Ticking(Arc<AtomicUsize>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}
