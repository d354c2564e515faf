//! Where things are in a clone of the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with the workspace's `Cargo.toml`.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ is inside the repository")
}

/// Where built plugins go: `target/plugins`.
pub fn plugins() -> PathBuf {
    root().join("target/plugins")
}

/// The release build of the gateway.
pub fn gateway() -> PathBuf {
    root().join("target/release/gatewright")
}

/// The configuration that `cargo xtask run` starts with.
pub fn quickstart() -> PathBuf {
    root().join("examples/quickstart/gateway.toml")
}

/// The cargo that runs us, or the one in `PATH`, for work in `folder`.
pub fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder);
    command
}

/// The cargo for the workspace itself. Its output is always in `target/`, where the rest of xtask looks.
pub fn workspace_cargo() -> Command {
    let mut command = cargo(root());
    command.env("CARGO_TARGET_DIR", root().join("target"));
    command
}
