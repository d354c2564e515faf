//! See `gatewright_tests::fuzz::config`.
#![no_main]

use gatewright_tests::fuzz;

libfuzzer_sys::fuzz_target!(init: fuzz::write_seeds("config"), |bytes: &[u8]| fuzz::config::hold(bytes));
