//! The toolchain for Rust guests: `wasm32-unknown-unknown`, linked by `wasm-component-ld`, whose output is a component.
//!
//! Normally rustup has the target or fetches it. Where it cannot, Debian's Rust is unpacked into a cache folder and builds the
//! target's std once: see [`debian`].

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::house;
use crate::process::{output, run_within};

pub mod debian;

/// What guests are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";
/// rustup hangs for minutes where its server cannot be reached.
const MOST_FETCH: Duration = Duration::from_secs(60);
/// Set to `debian`, this variable leaves rustup's target alone: to try the fallback on a machine that does not need it.
const CHOICE: &str = "GATEWRIGHT_WASM";

/// How to call cargo for guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The compiler; `None`: the one that cargo takes by itself.
    pub rustc: Option<PathBuf>,
    /// The linker, `wasm-component-ld`.
    pub linker: PathBuf,
}

impl Toolchain {
    /// A cargo that builds guests in `folder`, with `folder/target` for its output.
    ///
    /// Flags from our own environment are left out: the guests' own `.cargo/config.toml` says what they need.
    pub fn cargo(&self, folder: &Path) -> Command {
        let mut command = house::cargo(folder);
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &self.linker);
        command.env("CARGO_TARGET_DIR", folder.join("target"));
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        if let Some(rustc) = &self.rustc {
            command.env("RUSTC", rustc);
        }
        command
    }
}

/// Makes the target usable, and says what it does where that is more than to look.
///
/// # Errors
///
/// Neither rustup nor a Debian archive could give it.
pub fn setup() -> Result<Toolchain> {
    let linker = linker()?;
    let fallback = std::env::var_os(CHOICE).is_some_and(|choice| choice == "debian");
    if !fallback && has_target()? {
        return Ok(Toolchain { rustc: None, linker });
    }
    if let Some(rustc) = debian::cached(&linker)? {
        return Ok(Toolchain { rustc: Some(rustc), linker });
    }
    if !fallback && fetched()? {
        return Ok(Toolchain { rustc: None, linker });
    }
    let rustc = debian::build(&linker)?;
    Ok(Toolchain { rustc: Some(rustc), linker })
}

/// Lets rustup fetch the target; false: it could not.
fn fetched() -> Result<bool> {
    println!("xtask: rustup target add {TARGET}");
    match run_within(Command::new("rustup").args(["target", "add", TARGET]), MOST_FETCH) {
        Ok(()) => has_target(),
        Err(fault) => {
            println!("xtask: {fault}; using Debian's Rust for guests instead");
            Ok(false)
        }
    }
}

/// Whether the compiler that cargo takes by itself has the target's std.
fn has_target() -> Result<bool> {
    let folder = output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]))?;
    let Ok(entries) = std::fs::read_dir(folder.trim()) else { return Ok(false) };
    Ok(entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    }))
}

fn linker() -> Result<PathBuf> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let host = output(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let linker = Path::new(sysroot.trim()).join("lib/rustlib").join(host.trim()).join("bin/wasm-component-ld");
    if linker.is_file() { Ok(linker) } else { bail!("this Rust has no {}: use rustup's", linker.display()) }
}
