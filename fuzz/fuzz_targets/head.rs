//! See `gatewright_tests::fuzz::head`.
#![no_main]

use gatewright_tests::fuzz;

libfuzzer_sys::fuzz_target!(init: fuzz::write_seeds("head"), |bytes: &[u8]| fuzz::head::hold(bytes));
