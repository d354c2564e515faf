//! `cargo xtask drill`: endpoints that fail in every way, under load, and what clients notice of it.

use anyhow::Result;

use crate::test::{Long, long};

/// Runs the long form of the tests' drill and shows its timeline and its table: real processes, killed, stopped, made slow, made to
/// fail, cut off, added, drained and removed.
///
/// # Errors
///
/// Something does not build, or a promise is broken: an idempotent request failed that need not, or a POST was sent twice.
pub fn drill(options: &Long) -> Result<()> {
    long("drill::drill", options, None)
}
