//! See `gatewright_tests::fuzz::edge`.
#![no_main]

use gatewright_tests::fuzz;

libfuzzer_sys::fuzz_target!(init: fuzz::write_seeds("edge"), |bytes: &[u8]| fuzz::edge::hold(bytes));
