//! See `gatewright_tests::fuzz::keys`.
#![no_main]

use gatewright_tests::fuzz;

libfuzzer_sys::fuzz_target!(init: fuzz::write_seeds("keys"), |bytes: &[u8]| fuzz::keys::hold(bytes));
