//! `cargo xtask soak`: plugins swapped without end, under load and for memory's sake.

use anyhow::Result;

use crate::process::run;
use crate::{guests, house};

/// What is swapped under.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The debug build of the gateway: quick to make, and slower.
    #[arg(long)]
    debug: bool,
}

/// Runs the long form of the tests' soak and shows its table: 200 files in a minute under load, half of them broken, then
/// 1,000 swaps and the memory after them.
///
/// # Errors
///
/// Something does not build, or a goal is missed: a failed request, a swap that takes more than a second, memory that grows.
pub fn soak(options: &Options) -> Result<()> {
    let plugins = guests::build()?;
    let mut test = house::workspace_cargo();
    if !options.debug {
        println!("xtask: building the gateway in release");
        run(house::workspace_cargo().args(["build", "--release", "--package", "gatewright"]))?;
        test.env("GATEWRIGHT_BINARY", house::gateway());
    }
    let arguments = ["test", "--package", "gatewright-tests", "--test", "main", "--", "soak::soak"];
    run(test.args(arguments).args(["--exact", "--ignored", "--nocapture"]).env("GATEWRIGHT_PLUGINS", plugins))
}
