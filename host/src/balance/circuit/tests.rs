#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::VecDeque;
use std::task::Waker;
use std::thread;

use proptest::prelude::*;

use super::*;

fn circuit(connections: usize, pending: usize) -> Arc<Circuit> {
    let circuit = Arc::new(Circuit::default());
    circuit.bound(connections, pending);
    circuit
}

fn poll(waiting: &mut Waiting) -> Option<Slot> {
    match Pin::new(waiting).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(slot) => Some(slot),
        Poll::Pending => None,
    }
}

#[test]
fn the_bounds_are_reached_and_not_passed() {
    let circuit = circuit(2, 1);
    let slots = [circuit.connect().unwrap(), circuit.connect().unwrap()];
    assert!(circuit.connect().is_none());
    let pending = circuit.pend().unwrap();
    assert!(circuit.pend().is_none());
    assert_eq!((circuit.connections(), circuit.pending(), circuit.crowded()), (2, 1, 1));
    drop((slots, pending));
    assert_eq!((circuit.connections(), circuit.pending()), (0, 0));
    assert!(circuit.connect().is_some() && circuit.pend().is_some());
}

#[test]
fn nobody_gets_in_before_those_who_wait() {
    let circuit = circuit(1, 10);
    let slot = circuit.connect().unwrap();
    let mut waiting = circuit.wait(false);
    drop(slot);
    assert!(circuit.connect().is_none(), "it is another's");
    let slot = poll(&mut waiting).unwrap();
    drop((slot, waiting));
    assert!(circuit.connect().is_some());
}

#[test]
fn a_higher_bound_lets_those_who_wait_in() {
    let circuit = circuit(1, 10);
    let _slot = circuit.connect().unwrap();
    let mut waiting = circuit.wait(false);
    circuit.bound(2, 10);
    assert!(poll(&mut waiting).is_some());
}

#[test]
fn one_connection_is_given_up_for_the_first_in_line_and_a_busy_one_only_if_it_starves() {
    let circuit = circuit(1, 10);
    let _slot = circuit.connect().unwrap();
    assert!(!circuit.starves() && !circuit.claim(false));
    let first = circuit.wait(false);
    let _second = circuit.wait(true);
    assert!(!circuit.starves() && !circuit.claim(true));
    assert!(circuit.claim(false) && !circuit.claim(false));
    drop(first);
    assert!(circuit.starves() && circuit.claim(true));
    assert!(!circuit.starves() && !circuit.claim(true) && !circuit.claim(false));
}

/// Something that happens; numbers pick among what is held.
#[derive(Clone, Debug)]
enum Event {
    Connect,
    Wait,
    Close(usize),
    Leave(usize),
    Bound(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Connect),
        4 => Just(Event::Wait),
        4 => any::<usize>().prop_map(Event::Close),
        1 => any::<usize>().prop_map(Event::Leave),
        1 => (1usize..6).prop_map(Event::Bound),
    ]
}

proptest! {
    #[test]
    fn slots_are_exact_and_go_round_in_line_whatever_happens(events in prop::collection::vec(event(), 1..200)) {
        let (circuit, mut most) = (circuit(3, 10), 3);
        let (mut slots, mut line) = (Vec::new(), VecDeque::new());
        for event in events {
            match event {
                Event::Connect => {
                    let slot = circuit.connect();
                    prop_assert_eq!(slot.is_some(), line.is_empty() && slots.len() < most);
                    slots.extend(slot);
                }
                Event::Wait => line.push_back(circuit.wait(false)),
                Event::Close(at) if !slots.is_empty() => drop(slots.swap_remove(at % slots.len())),
                Event::Leave(at) if !line.is_empty() => drop(line.remove(at % line.len())),
                Event::Bound(to) => {
                    circuit.bound(to, 10);
                    most = to;
                }
                Event::Close(_) | Event::Leave(_) => {}
            }
            while let Some(slot) = line.front_mut().and_then(poll) {
                line.pop_front();
                slots.push(slot);
            }
            prop_assert!(line.iter_mut().all(|waiting| poll(waiting).is_none()), "somebody was served out of turn");
            prop_assert!(line.is_empty() || slots.len() >= most, "somebody waits for what is free");
            prop_assert_eq!(circuit.connections(), slots.len());
        }
        drop((slots, line));
        prop_assert_eq!((circuit.connections(), circuit.starves()), (0, false));
    }
}

#[test]
fn two_workers_never_have_more_than_the_bound_and_nobody_is_forgotten() {
    const MOST: usize = 3;
    let circuit = circuit(MOST, 4);
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let enter = |held: &mut VecDeque<Slot>, slot| {
        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        held.push_back(slot);
    };
    let leave = |slot: Slot| {
        now.fetch_sub(1, SeqCst);
        drop(slot);
    };
    let start = std::sync::Barrier::new(2);
    let work = || {
        start.wait();
        let mut held = VecDeque::new();
        for round in 0..20_000 {
            let _pending = circuit.pend().unwrap();
            match circuit.connect() {
                Some(slot) => enter(&mut held, slot),
                None => {
                    let mut waiting = circuit.wait(round % 2 == 0);
                    // Every fifth gives up at once; the others wait, holding nothing themselves.
                    if round % 5 == 0 {
                        continue;
                    }
                    held.drain(..).for_each(leave);
                    let slot = std::iter::repeat_with(|| poll(&mut waiting)).inspect(|_| thread::yield_now());
                    enter(&mut held, slot.flatten().next().unwrap());
                }
            }
            if held.len() == MOST {
                held.pop_front().into_iter().for_each(leave);
            }
        }
        held.drain(..).for_each(leave);
    };
    thread::scope(|scope| [(); 2].map(|()| scope.spawn(work)).map(|worker| worker.join().unwrap()));
    assert_eq!(most.into_inner(), MOST);
    assert_eq!((circuit.connections(), circuit.pending()), (0, 0));
}
