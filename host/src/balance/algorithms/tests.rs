#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

mod draws;
mod keys;
mod turns;

#[test]
fn nothing_ready_is_nothing_picked() {
    assert_eq!(RoundRobin::new(&[], 7).pick(), None);
    assert_eq!(Choices::new(&[]).pick(|_| 0.0, 7), None);
    assert_eq!(Random::new(&[]).pick(7), None);
    assert_eq!(Maglev::new(Table::new(&[]).into(), []).pick(7), None);
    assert_eq!(Maglev::new(Table::new(&[(1, 1), (2, 1)]).into(), [false, false]).pick(7), None);
}

#[test]
fn the_same_bytes_are_the_same_key_on_every_gateway() {
    assert_eq!(hash(b"ada"), 0x5b1b2855ac8922ba);
    assert_ne!(hash(b"ada"), hash(b"adb"));
}
