//! Programs that are needed now and then: installed into `target/tools`, never for the whole machine.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::house;
use crate::process::run;

fn folder() -> PathBuf {
    house::root().join("target/tools")
}

/// A program of crates.io, by its package, version and name; built where it is missing.
///
/// # Errors
///
/// It does not build.
pub fn of_crate(package: &str, version: &str, program: &str) -> Result<PathBuf> {
    let path = folder().join("bin").join(program);
    if !path.is_file() {
        println!("xtask: building {package} {version}");
        let mut install = house::cargo(house::root());
        run(install.args(["install", "--locked", "--version", version, package, "--root"]).arg(folder()))?;
    }
    Ok(path)
}

/// The programs of a Python environment of its own with these packages; made where it is missing, or has others.
///
/// # Errors
///
/// There is no Python 3 with `venv`, or no package index.
pub fn of_python(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let environment = folder().join(name);
    let (whole, wanted) = (environment.join("whole"), packages.join("\n"));
    if std::fs::read_to_string(&whole).ok().as_ref() != Some(&wanted) {
        println!("xtask: installing {}", packages.join(", "));
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        let pip = environment.join("bin/pip");
        run(Command::new(pip).args(["install", "--quiet", "--disable-pip-version-check"]).args(packages))?;
        std::fs::write(whole, wanted)?;
    }
    Ok(environment.join("bin"))
}
