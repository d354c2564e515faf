//! `cargo xtask guests`: the Rust plugins, built and put where a gateway and the tests find them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::process::{output, run};
use crate::wasm::{TARGET, Toolchain};
use crate::{house, wasm};

/// How a component begins: `\0asm`, version 13, layer 1 (a core module has version 1, layer 0).
const COMPONENT: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

/// Builds the reference plugins into `target/plugins/NAME.wasm` and the examples' Rust guests into
/// `target/plugins/examples/NAME.wasm`, and answers `target/plugins`. A file that would not change is not written: a gateway
/// that watches the folder sees only real changes.
///
/// # Errors
///
/// The toolchain is not to be had, or a guest does not build into a component.
pub fn build() -> Result<PathBuf> {
    let toolchain = wasm::setup()?;
    let folder = house::plugins();
    workspace(&toolchain, &house::root().join("plugins"), &folder)?;
    for example in examples()? {
        workspace(&toolchain, &example, &folder.join("examples"))?;
    }
    Ok(folder)
}

/// The folders below `examples/` with a `Cargo.toml`, in order of name.
fn examples() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(house::root().join("examples"))? {
        let folder = entry?.path();
        if folder.join("Cargo.toml").is_file() {
            found.push(folder);
        }
    }
    found.sort();
    Ok(found)
}

/// Builds one workspace of guests and copies its components.
fn workspace(toolchain: &Toolchain, from: &Path, to: &Path) -> Result<()> {
    run(toolchain.cargo(from).args(["build", "--workspace", "--release", "--target", TARGET]))?;
    for name in plugin_names(toolchain, from)? {
        let built = from.join("target").join(TARGET).join("release").join(format!("{}.wasm", name.replace('-', "_")));
        put(&built, to, &name)?;
    }
    Ok(())
}

/// Puts a component that was built into a folder, under its plugin's name.
pub(crate) fn put(built: &Path, folder: &Path, name: &str) -> Result<()> {
    let bytes = fs::read(built).with_context(|| format!("no {}", built.display()))?;
    if !bytes.starts_with(&COMPONENT) {
        bail!("{} is no component", built.display());
    }
    fs::create_dir_all(folder)?;
    let file = folder.join(format!("{name}.wasm"));
    if replace(&file, &bytes)? {
        println!("xtask: {} ({} KiB)", file.display(), bytes.len().div_ceil(1024));
    }
    Ok(())
}

/// Gives a file this content in one step; false: it had it.
fn replace(file: &Path, bytes: &[u8]) -> Result<bool> {
    if fs::read(file).is_ok_and(|there| there == bytes) {
        return Ok(false);
    }
    let draft = file.with_extension("draft");
    fs::write(&draft, bytes)?;
    fs::rename(&draft, file)?;
    Ok(true)
}

/// The packages of a workspace that build into a library of their own, which is what a plugin is.
fn plugin_names(toolchain: &Toolchain, folder: &Path) -> Result<Vec<String>> {
    let mut cargo = toolchain.cargo(folder);
    let text = output(cargo.args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Metadata = serde_json::from_str(&text)?;
    let is_plugin = |package: &Package| package.targets.iter().any(|target| target.kind.iter().any(|k| k == "cdylib"));
    Ok(metadata.packages.into_iter().filter(is_plugin).map(|package| package.name).collect())
}

/// What we need of `cargo metadata`.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::replace;

    #[test]
    fn a_file_is_written_only_when_it_changes() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("jwt.wasm");
        assert!(replace(&file, b"one")?);
        assert!(!replace(&file, b"one")?);
        assert!(replace(&file, b"two")?);
        assert_eq!(std::fs::read(&file)?, b"two");
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }
}
