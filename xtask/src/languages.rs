//! `cargo xtask languages`: the examples' plugins in other languages than Rust, each built by its language's own tools as its
//! README says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result};

use crate::guests::put;
use crate::process::run;
use crate::{house, packages, tools};

/// Builds them into `target/plugins/examples/NAME.wasm`: what has changed, or is missing.
///
/// # Errors
///
/// A language's tools cannot be had, or a plugin does not build.
pub fn build() -> Result<()> {
    built("javascript-plugin", "canary", javascript)?;
    built("python-plugin", "orders", python)
}

fn javascript(folder: &Path) -> Result<()> {
    packages::install_missing(&[("npm", "npm")])?;
    let npm = |arguments: &[&str]| run(Command::new("npm").args(arguments).current_dir(folder));
    npm(&["ci", "--no-audit", "--no-fund"])?;
    npm(&["run", "build"])
}

fn python(folder: &Path) -> Result<()> {
    let needs = fs::read_to_string(folder.join("requirements.txt"))?;
    let programs = tools::of_python("componentize-py", &needs.split_whitespace().collect::<Vec<_>>())?;
    let mut command = Command::new(programs.join("componentize-py"));
    command.args(["--quiet", "--wit-path", "../../wit/v0.1", "--world", "validation-plugin", "componentize"]);
    run(command.args(["--stub-wasi", "--output", "orders.wasm", "orders"]).current_dir(folder))
}

/// Builds an example's plugin where it is older than what it is made of, and puts it where tests find it.
fn built(example: &str, plugin: &str, build: impl Fn(&Path) -> Result<()>) -> Result<()> {
    let folder = house::root().join("examples").join(example);
    let made = folder.join(format!("{plugin}.wasm"));
    let mut sources = files(&folder)?;
    sources.extend(files(&house::root().join("wit/v0.1"))?);
    if !is_newer(&made, &sources)? {
        println!("xtask: building examples/{example}");
        build(&folder).with_context(|| example.to_owned())?;
    }
    put(&made, &house::plugins().join("examples"), plugin)
}

/// The files of a folder that are no components.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let files = entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file());
    Ok(files.filter(|path| path.extension().is_none_or(|extension| extension != "wasm")).collect())
}

/// Whether a file is there, and newer than all of these.
fn is_newer(file: &Path, than: &[PathBuf]) -> Result<bool> {
    let Ok(made) = changed(file) else { return Ok(false) };
    let others = than.iter().map(|other| changed(other)).collect::<Result<Vec<_>>>()?;
    Ok(others.into_iter().all(|other| other < made))
}

fn changed(file: &Path) -> Result<SystemTime> {
    Ok(fs::metadata(file)?.modified()?)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_newer_than_its_sources_is_not_built_again() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let touch = |name: &str, seconds: u64| {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            File::create(path(name))?.set_modified(at)
        };
        touch("one.js", 1)?;
        assert!(!is_newer(&path("made.wasm"), &files(folder.path())?)?);
        touch("made.wasm", 2)?;
        assert!(is_newer(&path("made.wasm"), &files(folder.path())?)?);
        touch("package.json", 3)?;
        assert!(!is_newer(&path("made.wasm"), &files(folder.path())?)?);
        Ok(())
    }
}
