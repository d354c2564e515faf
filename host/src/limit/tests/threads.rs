//! Two workers at once: the counts are exact, and nobody waits for ever.

use super::*;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;

/// Runs the same work on two threads, starting at the same time, and answers what both counted.
fn on_two_threads(work: impl Fn(usize) -> usize + Sync) -> usize {
    let start = std::sync::Barrier::new(2);
    thread::scope(|scope| {
        let workers = [0, 1].map(|number| {
            let (work, start) = (&work, &start);
            scope.spawn(move || {
                start.wait();
                work(number)
            })
        });
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    })
}

#[test]
fn two_workers_admit_exactly_the_burst() {
    let limits = [rated("a", LimitKey::Api, 5000, 60_000), rated("c", LimitKey::Caller, 2000, 60_000)];
    let limits = Limits::new(&limits, &Tables::new());
    let total = on_two_threads(|_| {
        let callers = ["ada", "bob", "cy", "di"].map(|subject| client(1, Some(subject), None));
        callers.iter().map(|caller| admitted(&limits, caller, 1900, NOW)).sum()
    });
    // Each caller alone could have 2000 of its 3800, all together 5000; a half-done check would lose some of these.
    assert_eq!(total, 5000);
}

#[test]
fn two_workers_admit_exactly_the_rate_while_time_passes() {
    let limits = Limits::new(&[rated("a", LimitKey::Api, 100, 10)], &Tables::new());
    let clock = AtomicU64::new(NOW);
    let before = admitted(&limits, &client(1, None, None), 100, NOW);
    let during = on_two_threads(|_| {
        // Each request is 1 ms later than the last one of both, and may reach the lock after it.
        let step = |_: &u32| request(&limits, &client(1, None, None), clock.fetch_add(MS, Ordering::Relaxed)).is_ok();
        (0..30_000).filter(step).count()
    });
    let end = clock.into_inner();
    let after = admitted(&limits, &client(1, None, None), 200, end);
    assert_eq!((before + during + after) as u64, 100 + (end - NOW) / (10 * MS));
}

#[test]
fn two_workers_never_have_more_in_flight_than_is_allowed() {
    let flight = Limit { concurrent: Some(3), ..limit("flight", LimitKey::Api) };
    let limits = Limits::new(&[flight], &Tables::new());
    let (now, most) = (AtomicU32::new(0), AtomicU32::new(0));
    on_two_threads(|_| {
        let mut held = std::collections::VecDeque::new();
        for _ in 0..20_000 {
            if let Ok(admission) = request(&limits, &client(1, None, None), NOW) {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                held.push_back(admission);
            }
            if held.len() > 1 {
                now.fetch_sub(1, Ordering::SeqCst);
                held.pop_front();
            }
        }
        now.fetch_sub(held.len() as u32, Ordering::SeqCst);
        0
    });
    // How many there were depends on which worker runs when; more than three there never are, and all of them end.
    assert!((1..=3).contains(&most.into_inner()));
    assert_eq!(now.into_inner(), 0);
    assert_eq!(admitted(&limits, &client(1, None, None), 10, NOW), 10);
}

#[test]
fn limits_in_another_order_after_a_reload_do_not_wait_for_each_other() {
    let tables = Tables::new();
    // One key each, so that the rest overflows and its lock is taken too.
    let names = ["a", "b", "c"];
    let limits = names.map(|name| Limit {
        keys: 1,
        concurrent: Some(2),
        ..delayed(name, LimitKey::Caller, rate(40_000, 60_000), 1)
    });
    let forwards = Limits::new(&limits, &tables);
    let backwards = Limits::new(&limits.iter().rev().cloned().collect::<Vec<_>>(), &tables);
    let total = on_two_threads(|number| {
        let limits = [&forwards, &backwards][number];
        let callers = ["ada", "bob", "cy"].map(|subject| client(1, Some(subject), None));
        callers.iter().cycle().take(30_000).filter(|caller| request(limits, caller, NOW).is_ok()).count()
    });
    // Requests in flight of the other worker may be in the way now and then, but never of the first of all.
    assert!(total > 0 && total <= 60_000);
}
