//! `cargo xtask bench`: what a request costs in the gateway, beside nginx on the same machine in the same minutes; what a
//! second worker is worth; how long a swap takes; what one question to a plugin costs.
//!
//! The figure that counts is CPU time, as a ratio inside one interleaved run: requests a second depend on what else the
//! machine does.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::packages::install_missing;
use crate::process::run;
use crate::{guests, house};

mod calls;
mod cpu;
mod goals;
mod load;
mod report;
mod requests;
mod scaling;
mod server;
mod setting;
mod swap;
mod tokens;

use goals::Goals;
use tokens::Issuer;

/// What is measured, how long and how often.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Times that every server is measured under every load; the middle value counts, of ratios the middle of the rounds' ratios.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of one measurement.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// One round of one second: shows that it works, and little more.
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    short: bool,
    /// Measure only this, and what else is given so. Default: everything.
    #[arg(long)]
    only: Vec<Part>,
}

/// A part of the measurement.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// What a request costs, beside nginx.
    Requests,
    /// What a second worker is worth.
    Scaling,
    /// How long a new plugin takes to serve.
    Swap,
    /// What one question to a plugin costs (criterion).
    Calls,
}

impl Part {
    const ALL: [Self; 4] = [Self::Requests, Self::Scaling, Self::Swap, Self::Calls];
}

/// What all parts share.
struct Bench {
    /// Gone when everything is measured.
    folder: TempDir,
    /// The built plugins.
    plugins: PathBuf,
    issuer: Issuer,
    /// The document with the issuer's key.
    jwks: PathBuf,
    rounds: u32,
    /// Length of one measurement.
    time: Duration,
}

impl Bench {
    fn new(options: &Options, plugins: PathBuf) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("gatewright-bench-").tempdir()?;
        let (issuer, jwks) = (Issuer::new()?, folder.path().join("jwks.json"));
        issuer.write_keys(&jwks)?;
        let (rounds, seconds) = if options.short { (1, 1) } else { (options.rounds, options.seconds) };
        Ok(Self { folder, plugins, issuer, jwks, rounds, time: Duration::from_secs(seconds) })
    }

    /// A new folder for a part's files.
    fn folder(&self, part: &str) -> Result<PathBuf> {
        let folder = self.folder.path().join(part);
        std::fs::create_dir(&folder)?;
        Ok(folder)
    }
}

/// Builds everything, measures each part, and prints the figures and which goals they meet. A goal that is missed is no
/// error.
///
/// # Errors
///
/// Something cannot be built, installed or started, or a server answered other than 2xx: the cost of a refusal is no
/// result.
pub fn bench(options: &Options) -> Result<()> {
    install_missing(&[("wrk", "wrk"), ("nginx", "nginx-light")])?;
    let bench = Bench::new(options, guests::build()?)?;
    println!("xtask: building the gateway in release");
    run(house::workspace_cargo().args(["build", "--release", "--package", "gatewright"]))?;
    let mut goals = Goals::default();
    for part in Part::ALL.into_iter().filter(|part| options.only.is_empty() || options.only.contains(part)) {
        match part {
            Part::Requests => requests::measure(&bench, &mut goals)?,
            Part::Scaling => scaling::measure(&bench, &mut goals)?,
            Part::Swap => swap::measure(&bench, &mut goals)?,
            Part::Calls => calls::measure(&mut goals)?,
        }
    }
    print!("{goals}");
    Ok(())
}
