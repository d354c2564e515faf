//! What the fuzzer found, and what it begins with.

use gatewright_tests::fuzz::{TARGETS, seeds};

#[test]
fn what_holds_for_any_bytes_holds_for_those_that_are_kept() {
    for (target, hold) in TARGETS {
        let seeds = seeds(target);
        assert!(seeds.len() > 3, "{target} begins with nothing");
        seeds.iter().for_each(|bytes| hold(bytes));
    }
}
