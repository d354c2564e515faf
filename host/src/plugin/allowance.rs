//! How long one call may run.
//!
//! The clock counts time that passes, also while a call is kept from running: another thread has the processor, the machine
//! beneath or a control group's quota takes it away, code comes from disk. None of that is the plugin's doing. So the clock only
//! says when to look; what counts is the processor's time of the call's thread from the first look on.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{Store, UpdateDeadline};

use super::clock::{Held, TICK, Ticking};

/// What the running call of an instance has left.
pub(super) struct Allowance {
    ticking: Ticking,
    most: Duration,
    /// What the thread had run at the first look, and what keeps the clock ticking until the last.
    since: Option<(Duration, Held)>,
}

impl Allowance {
    /// For no call yet.
    pub(super) fn new(ticking: Ticking) -> Self {
        Self { ticking, most: Duration::ZERO, since: None }
    }

    /// Has the calls of a Store end that [`Allowance::bound`] makes.
    pub(super) fn bind<T: AsMut<Self>>(store: &mut Store<T>) {
        store.epoch_deadline_callback(|mut store| {
            Ok(match store.data_mut().as_mut().look(thread_time()) {
                Some(ticks) => UpdateDeadline::Continue(ticks),
                None => UpdateDeadline::Interrupt,
            })
        });
    }

    /// Makes a call that may run for so long: a little longer, by the clock's grain.
    pub(super) fn bound<T: AsMut<Self>, R>(
        store: &mut Store<T>,
        most: Duration,
        call: impl FnOnce(&mut Store<T>) -> R,
    ) -> R {
        // One has begun already.
        let first = ticks(most.min(TICK)) + 1;
        store.set_epoch_deadline(first);
        let allowance = store.data_mut().as_mut();
        (allowance.most, allowance.since) = (most, None);
        allowance.ticking.go_on(first);
        let answer = call(store);
        store.data_mut().as_mut().since = None;
        answer
    }

    /// The ticks until the next look at a thread that has run for so long since its start; none: the call is over its time.
    fn look(&mut self, ran: Duration) -> Option<u64> {
        let (since, _) = self.since.get_or_insert_with(|| (ran, self.ticking.hold()));
        let most = self.most.saturating_sub(TICK).max(self.most / 2);
        let left = most.saturating_sub(ran.saturating_sub(*since));
        (!left.is_zero()).then(|| ticks(left))
    }
}

fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX / 2)
}

/// The processor's time of this thread.
fn thread_time() -> Duration {
    // It counts up from zero.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use wasmtime::{Config, Engine, Instance, Linker, Module, Trap};

    use super::super::clock::Clock;
    use super::*;

    const MOST: Duration = Duration::from_millis(5);

    impl AsMut<Self> for Allowance {
        fn as_mut(&mut self) -> &mut Self {
            self
        }
    }

    /// A guest that calls the host, and one that goes round for ever.
    const GUEST: &str = r#"(module
        (import "host" "wait" (func $wait))
        (func (export "waits") (local $left i32)
            (local.set $left (i32.const 20))
            (loop $again
                (call $wait)
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $again (local.get $left))))
        (func (export "spins") (loop $for-ever (br $for-ever))))"#;

    fn guest() -> (Clock, Store<Allowance>, Instance) {
        let engine = Engine::new(Config::new().epoch_interruption(true)).expect("an engine");
        let clock = Clock::start(&engine).expect("a thread");
        let module = Module::new(&engine, wat::parse_str(GUEST).expect("a module")).expect("a module");
        let mut store = Store::new(&engine, Allowance::new(clock.ticking()));
        let mut linker = Linker::new(&engine);
        // Twice its allowance, but not on the processor.
        linker.func_wrap("host", "wait", || std::thread::sleep(MOST / 10)).expect("a function");
        Allowance::bind(&mut store);
        let instance = Allowance::bound(&mut store, MOST, |store| linker.instantiate(store, &module));
        (clock, store, instance.expect("an instance"))
    }

    fn call(store: &mut Store<Allowance>, instance: &Instance, name: &str) -> wasmtime::Result<()> {
        let function = instance.get_typed_func::<(), ()>(&mut *store, name)?;
        Allowance::bound(store, MOST, |store| function.call(store, ()))
    }

    #[test]
    fn a_call_that_does_not_run_is_not_over_its_time() {
        let (_clock, mut store, instance) = guest();
        for _ in 0..3 {
            call(&mut store, &instance, "waits").expect("it hardly ran");
        }
    }

    #[test]
    fn a_call_that_runs_ends_whatever_came_before_it() {
        let (_clock, mut store, instance) = guest();
        for name in ["spins", "waits", "spins"] {
            let answer = call(&mut store, &instance, name);
            let trap = answer.err().and_then(|fault| fault.downcast::<Trap>().ok());
            assert_eq!(trap, (name == "spins").then_some(Trap::Interrupt), "{name}");
            assert!(store.data().since.is_none(), "the clock need not go on");
        }
    }

    #[test]
    fn what_a_thread_ran_is_all_that_counts() {
        let clock = Clock::start(&Engine::default()).expect("a thread");
        let mut allowance = Allowance::new(clock.ticking());
        for most in [100_u64, 1_000, 5_000, 60_000_000].map(Duration::from_micros) {
            (allowance.most, allowance.since) = (most, None);
            let start = Duration::from_secs(7);
            let (mut ran, mut looks) = (start, 0);
            while let Some(ticks) = allowance.look(ran) {
                assert!(ticks > 0);
                // It runs for a third of the time that passes.
                ran += TICK * u32::try_from(ticks).expect("a few") / 3;
                looks += 1;
            }
            assert!(ran - start >= most / 2 && ran - start < most + TICK, "{most:?}: {ran:?}");
            assert!(looks < 40, "{most:?}: {looks}");
        }
    }
}
