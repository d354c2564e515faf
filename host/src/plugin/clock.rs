//! The clock of all plugins: it counts the time of their calls, and stands still while nobody calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread::Thread;
use std::time::Duration;

/// How often the clock ticks: the grain of a call's time.
pub(super) const TICK: Duration = Duration::from_millis(1);
/// Ticks for which the clock goes on when nobody needs it any more: to wake it costs more than a few of them.
const SPARE_TICKS: u64 = 8;
/// How far the engine's epoch may be ahead of the ticks that are counted.
const MOST_AHEAD: u64 = 2;

/// A thread that ends with the engine.
pub(super) struct Clock {
    needed: Arc<Needed>,
    thread: Thread,
}

/// For how long the clock must tick.
#[derive(Default)]
struct Needed {
    /// Ticks so far; counted just after the engine's epoch.
    now: AtomicU64,
    /// The last tick that somebody needs.
    until: AtomicU64,
    /// How many need every tick.
    holds: AtomicUsize,
    /// Whether the thread may be asleep without an end.
    still: AtomicBool,
}

impl Clock {
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(engine: &wasmtime::Engine) -> std::io::Result<Self> {
        let needed = Arc::<Needed>::default();
        let (engine, asked) = (engine.weak(), Arc::clone(&needed));
        let thread = std::thread::Builder::new().name("plugin-clock".into()).spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                asked.wait(asked.now.fetch_add(1, SeqCst) + 1);
            }
        })?;
        Ok(Self { needed, thread: thread.thread().clone() })
    }

    /// What has this clock tick.
    pub(super) fn ticking(&self) -> Ticking {
        Ticking { needed: Arc::clone(&self.needed), thread: self.thread.clone() }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.thread.unpark();
    }
}

impl Needed {
    /// Waits for the next tick, or until somebody needs one.
    fn wait(&self, now: u64) {
        if self.is_needed(now) {
            return std::thread::sleep(TICK);
        }
        self.still.store(true, SeqCst);
        // Who needed it before that did not wake this thread. One tick too many does no harm.
        if !self.is_needed(now) {
            std::thread::park();
        }
        self.still.store(false, SeqCst);
    }

    fn is_needed(&self, now: u64) -> bool {
        now < self.until.load(SeqCst) || self.holds.load(SeqCst) > 0
    }
}

/// Keeps the clock ticking for as long as it is there.
pub(super) struct Held(Arc<Needed>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, SeqCst);
    }
}

/// Has the clock tick while calls are made.
pub(super) struct Ticking {
    needed: Arc<Needed>,
    thread: Thread,
}

impl Ticking {
    /// Has the clock tick so often from now on, at least. To be called when a deadline has been set, and before the call that it
    /// bounds: a clock that stands still ends no call.
    pub(super) fn go_on(&self, ticks: u64) {
        let last = self.needed.now.load(SeqCst).saturating_add(ticks).saturating_add(MOST_AHEAD);
        if self.needed.until.load(SeqCst) >= last {
            return;
        }
        self.needed.until.fetch_max(last.saturating_add(SPARE_TICKS), SeqCst);
        self.wake();
    }

    /// Has the clock tick until this is dropped.
    pub(super) fn hold(&self) -> Held {
        self.needed.holds.fetch_add(1, SeqCst);
        self.wake();
        Held(Arc::clone(&self.needed))
    }

    fn wake(&self) {
        if self.needed.still.swap(false, SeqCst) {
            self.thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(ticking: &Ticking) -> u64 {
        ticking.needed.now.load(SeqCst)
    }

    fn stands_still(ticking: &Ticking) {
        while !ticking.needed.still.load(SeqCst) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn it_ticks_as_often_as_it_is_needed_and_stands_still_then() {
        let engine = wasmtime::Engine::default();
        let clock = Clock::start(&engine).expect("a thread");
        let ticking = clock.ticking();
        for _ in 0..3 {
            stands_still(&ticking);
            let before = ticks(&ticking);
            ticking.go_on(5);
            while ticks(&ticking) < before + 5 {
                std::thread::yield_now();
            }
        }
        stands_still(&ticking);
        // Three times what was needed and spared, and what it ticked at the start and each time it was woken.
        assert!(ticks(&ticking) <= 3 * (5 + MOST_AHEAD + SPARE_TICKS + 2) + 2, "{}", ticks(&ticking));
    }

    #[test]
    fn it_ticks_for_as_long_as_it_is_held() {
        let engine = wasmtime::Engine::default();
        let clock = Clock::start(&engine).expect("a thread");
        let ticking = clock.ticking();
        for _ in 0..3 {
            stands_still(&ticking);
            let (held, before) = (ticking.hold(), ticks(&ticking));
            while ticks(&ticking) < before + 2 * SPARE_TICKS {
                std::thread::yield_now();
            }
            drop(held);
        }
        stands_still(&ticking);
    }

    #[test]
    fn who_needs_it_while_it_falls_asleep_is_not_forgotten() {
        let engine = wasmtime::Engine::default();
        let clock = Clock::start(&engine).expect("a thread");
        let ticking = clock.ticking();
        // Each need begins about when the one before ends.
        for _ in 0..50 {
            let before = ticks(&ticking);
            ticking.go_on(1);
            while ticks(&ticking) < before + 1 + MOST_AHEAD + SPARE_TICKS {
                std::thread::yield_now();
            }
        }
    }
}
