//! `cargo xtask soak`: plugins swapped without end, under load and for memory's sake.

use anyhow::Result;

use crate::guests;
use crate::test::{Long, long};

/// Runs the long form of the tests' soak and shows its table: 200 files in a minute under load, half of them broken, then
/// 1,000 swaps and the memory after them, and the latency of requests beside a plugin that spins.
///
/// # Errors
///
/// Something does not build, or a goal is missed: a failed request, a swap that takes more than a second, memory that grows or
/// outlives its version, neighbours that a suspended plugin slows down.
pub fn soak(options: &Long) -> Result<()> {
    long("soak::soak", options, Some(&guests::build()?))
}
