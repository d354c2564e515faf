//! See `gatewright_tests::fuzz::proxy`.
#![no_main]

use gatewright_tests::fuzz;

libfuzzer_sys::fuzz_target!(init: fuzz::write_seeds("proxy"), |bytes: &[u8]| fuzz::proxy::hold(bytes));
