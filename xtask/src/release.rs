//! `cargo xtask release`: the gateway as it is shipped. It is built to count what it does, loaded, and built again for what it
//! did most: profile-guided optimization, <https://doc.rust-lang.org/rustc/profile-guided-optimization.html>.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::process::{installed, output, run, run_within};
use crate::{bench, house, packages};

/// rustup hangs for minutes where its server cannot be reached.
const MOST_FETCH: Duration = Duration::from_secs(60);

/// Builds it into `target/profiled/release/gatewright` and answers that.
///
/// # Errors
///
/// The compiler's `llvm-profdata` is not to be had, something does not build, or the load fails.
pub fn release() -> Result<PathBuf> {
    let merge = profdata()?;
    let (folder, counts) = (folder(), folder().join("counts"));
    println!("xtask: building the gateway to see what it does most");
    let counting = build(&folder.join("counting"), &format!("-Cprofile-generate={}", counts.display()))?;
    // Build scripts and macros of the gateway's dependencies count as well.
    std::fs::remove_dir_all(&counts).ok();
    bench::train(counting)?;
    run(Command::new(merge).arg("merge").arg("--output").arg(profile()).arg(&counts))?;
    // Built for other counts: cargo would keep the dependencies.
    std::fs::remove_dir_all(folder.join("release")).ok();
    println!("xtask: building the gateway for that");
    let built = build(&folder, &uses_profile())?;
    println!("xtask: {}", built.display());
    Ok(built)
}

/// Builds what there is now with the counts of the last [`release`]; where there are none, that makes them.
///
/// # Errors
///
/// As [`release`].
pub(crate) fn profiled() -> Result<PathBuf> {
    if profile().is_file() { build(&folder(), &uses_profile()) } else { release() }
}

/// A cargo that builds as [`release`] did last.
pub(crate) fn cargo() -> Command {
    cargo_with(&folder(), &uses_profile())
}

fn folder() -> PathBuf {
    house::root().join("target/profiled")
}

fn profile() -> PathBuf {
    folder().join("gatewright.profdata")
}

fn uses_profile() -> String {
    format!("-Cprofile-use={}", profile().display())
}

/// Builds the gateway in release with one more flag for the compiler, into a folder of its own.
fn build(folder: &Path, flag: &str) -> Result<PathBuf> {
    run(cargo_with(folder, flag).args(["build", "--release", "--locked", "--package", "gatewright"]))?;
    Ok(folder.join("release/gatewright"))
}

fn cargo_with(folder: &Path, flag: &str) -> Command {
    let mut cargo = house::cargo(house::root());
    cargo.env("CARGO_TARGET_DIR", folder).env("RUSTFLAGS", flag).env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo
}

/// The program that merges counts, of the compiler's own LLVM: rustup's, or else Debian's.
fn profdata() -> Result<PathBuf> {
    let folder = output(Command::new("rustc").args(["--print", "target-libdir"]))?;
    let own = Path::new(folder.trim()).with_file_name("bin").join("llvm-profdata");
    if own.is_file() {
        return Ok(own);
    }
    let version = output(Command::new("rustc").args(["--version", "--verbose"]))?;
    let major = llvm(&version).context("rustc does not say which LLVM it has")?;
    let program = format!("llvm-profdata-{major}");
    if !installed(&program) {
        println!("xtask: rustup component add llvm-tools");
        let fetched = run_within(Command::new("rustup").args(["component", "add", "llvm-tools"]), MOST_FETCH);
        if fetched.is_ok() && own.is_file() {
            return Ok(own);
        }
        packages::install_missing(&[(&program, &format!("llvm-{major}"))])?;
    }
    Ok(program.into())
}

/// The first number of the version that rustc says of its LLVM.
fn llvm(version: &str) -> Option<&str> {
    version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?.split('.').next()
}

#[cfg(test)]
mod tests {
    use super::llvm;

    #[test]
    fn rustc_says_which_llvm_it_has() {
        assert_eq!(llvm("rustc 1.95.0\nhost: x\nLLVM version: 22.1.2\n"), Some("22"));
        assert_eq!(llvm("rustc 1.95.0\n"), None);
    }
}
