//! `cargo xtask test`: the guests, then every test.

use anyhow::Result;

use crate::process::run;
use crate::{guests, house};

/// Builds the guests, runs the plugins' own tests natively, then all of the workspace with the plugins at hand.
///
/// # Errors
///
/// Something does not build, or a test fails.
pub fn test(arguments: &[String]) -> Result<()> {
    let plugins = guests::build()?;
    println!("xtask: the plugins' own tests");
    let folder = house::root().join("plugins");
    run(house::cargo(&folder).env("CARGO_TARGET_DIR", folder.join("target")).args(["test", "--workspace"]))?;
    println!("xtask: the workspace's tests");
    let mut cargo = house::workspace_cargo();
    run(cargo.args(["test", "--workspace"]).args(arguments).env("GATEWRIGHT_PLUGINS", plugins))
}
