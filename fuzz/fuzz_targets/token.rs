//! See `gatewright_tests::fuzz::token`.
#![no_main]

use gatewright_tests::fuzz;

libfuzzer_sys::fuzz_target!(init: fuzz::write_seeds("token"), |bytes: &[u8]| fuzz::token::hold(bytes));
