//! See `gatewright_tests::fuzz::answer`.
#![no_main]

use gatewright_tests::fuzz;

libfuzzer_sys::fuzz_target!(init: fuzz::write_seeds("answer"), |bytes: &[u8]| fuzz::answer::hold(bytes));
