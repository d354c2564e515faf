//! Where things are in a clone of the repository.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The folder with the workspace's `Cargo.toml`.
///
/// What `cargo run` and `cargo test` say now counts more than what was so when we were compiled: clones that share a target
/// folder take each other's binaries for their own.
pub fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        Path::new(&package).parent().expect("every package is in a folder of the repository").to_path_buf()
    });
    &ROOT
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
