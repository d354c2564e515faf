//! `cargo xtask test`: the guests in all languages, then every test. And tests that take minutes, one by one.

use std::path::Path;

use anyhow::Result;

use crate::process::run;
use crate::{guests, house, languages};

/// Builds the guests, runs the plugins' own tests natively, then all of the workspace with the plugins at hand.
///
/// # Errors
///
/// Something does not build, or a test fails.
pub fn test(arguments: &[String]) -> Result<()> {
    let plugins = guests::build()?;
    languages::build()?;
    println!("xtask: the plugins' own tests");
    let folder = house::root().join("plugins");
    run(house::cargo(&folder).env("CARGO_TARGET_DIR", folder.join("target")).args(["test", "--workspace"]))?;
    println!("xtask: the workspace's tests");
    let mut cargo = house::workspace_cargo();
    run(cargo.args(["test", "--workspace"]).args(arguments).env("GATEWRIGHT_PLUGINS", plugins))
}

/// What a test that takes minutes is run with.
#[derive(clap::Args, Clone, Debug)]
pub struct Long {
    /// The debug build of the gateway: quick to make, and slower.
    #[arg(long)]
    debug: bool,
}

/// Runs a test that `test` leaves out, of this name, with a release build of the gateway, and shows what it says.
///
/// # Errors
///
/// Something does not build, or the test fails.
pub(crate) fn long(name: &str, options: &Long, plugins: Option<&Path>) -> Result<()> {
    let mut test = house::workspace_cargo();
    if !options.debug {
        println!("xtask: building the gateway in release");
        run(house::workspace_cargo().args(["build", "--release", "--package", "gatewright"]))?;
        test.env("GATEWRIGHT_BINARY", house::gateway());
    }
    test.envs(plugins.map(|plugins| ("GATEWRIGHT_PLUGINS", plugins)));
    let arguments = ["test", "--package", "gatewright-tests", "--test", "main", "--", name];
    run(test.args(arguments).args(["--exact", "--ignored", "--nocapture"]))
}
