//! `cargo xtask drill`: endpoints that fail in every way, under load, and what clients notice of it.

use anyhow::Result;

use crate::house;
use crate::process::run;

/// What is drilled.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The debug build of the gateway: quick to make, and slower.
    #[arg(long)]
    debug: bool,
}

/// Runs the long form of the tests' drill and shows its timeline and its table: real processes, killed, stopped, made slow, made to
/// fail, cut off, added, drained and removed.
///
/// # Errors
///
/// Something does not build, or a promise is broken: an idempotent request failed that need not, or a POST was sent twice.
pub fn drill(options: &Options) -> Result<()> {
    let mut test = house::workspace_cargo();
    if !options.debug {
        println!("xtask: building the gateway in release");
        run(house::workspace_cargo().args(["build", "--release", "--package", "gatewright"]))?;
        test.env("GATEWRIGHT_BINARY", house::gateway());
    }
    let arguments = ["test", "--package", "gatewright-tests", "--test", "main", "--", "drill::drill"];
    run(test.args(arguments).args(["--exact", "--ignored", "--nocapture"]))
}
