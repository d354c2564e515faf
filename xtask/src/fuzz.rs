//! `cargo xtask fuzz`: libFuzzer makes up bytes, and what must hold for any is tried with them.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::process::run;
use crate::{house, tools};

/// An input that takes longer than so many seconds hangs.
const HANGS_AFTER: u64 = 30;
/// The longest input in bytes: what is longer says nothing new, and slows everything down.
const MOST_BYTES: u64 = 4096;

/// What to try, and for how long.
#[derive(clap::Args)]
pub struct Options {
    /// One of fuzz/fuzz_targets; all of them one after the other where none is named.
    target: Option<String>,
    /// How long each is tried.
    #[arg(long, default_value_t = 180)]
    seconds: u64,
}

/// Builds the targets with the toolchain of this workspace and runs them.
///
/// `cargo-fuzz` is told to do without a sanitizer: those need a nightly compiler, and there is no unsafe code of ours that they
/// would watch.
///
/// # Errors
///
/// There is no such target, it cannot be built, or something does not hold: the input is then in `fuzz/artifacts`.
pub fn fuzz(options: &Options) -> Result<()> {
    let all = targets()?;
    let chosen: Vec<_> = all.iter().filter(|name| options.target.as_ref().is_none_or(|one| one == *name)).collect();
    if chosen.is_empty() {
        bail!("no such target; there are {}", all.join(", "));
    }
    let program = tools::of_crate("cargo-fuzz", "0.13.2", "cargo-fuzz")?;
    for target in chosen {
        println!("xtask: fuzz {target}, {} s", options.seconds);
        let corpus = folder().join("corpus").join(target);
        std::fs::create_dir_all(&corpus)?;
        let mut fuzzer = std::process::Command::new(&program);
        fuzzer.current_dir(house::root()).env("GATEWRIGHT_FUZZ_SEEDS", &corpus);
        fuzzer
            .args(["run", "--sanitizer", "none", "--codegen-units", "16", "--target-dir"])
            .arg(folder().join("target"));
        fuzzer.arg(target).arg("--").arg(format!("-max_total_time={}", options.seconds));
        fuzzer.arg(format!("-timeout={HANGS_AFTER}")).arg(format!("-max_len={MOST_BYTES}"));
        run(fuzzer.arg("-print_final_stats=1"))?;
    }
    Ok(())
}

fn folder() -> PathBuf {
    house::root().join("fuzz")
}

/// The names of the targets.
fn targets() -> Result<Vec<String>> {
    let files = folder().join("fuzz_targets").read_dir()?;
    let names =
        files.map(|file| anyhow::Ok(file?.path().file_stem().unwrap_or_default().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}
