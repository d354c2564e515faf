//! `cargo xtask …`: what it takes to build, test, try and measure Gatewright, one module per command.
//!
//! It is a library too, so that a test can start the [`demo`] services and run every line that `cargo xtask run` prints.

pub mod bench;
pub mod conformance;
pub mod demo;
pub mod drill;
pub mod fuzz;
pub mod guests;
pub mod house;
pub mod languages;
pub mod packages;
pub mod process;
pub mod ready;
pub mod release;
pub mod run;
pub mod soak;
pub mod test;
pub mod tools;
pub mod wasm;
