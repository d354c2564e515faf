//! See `gatewright_tests::fuzz::path`.
#![no_main]

use gatewright_tests::fuzz;

libfuzzer_sys::fuzz_target!(init: fuzz::write_seeds("path"), |bytes: &[u8]| fuzz::path::hold(bytes));
