//! `cargo xtask bench`: what a request costs in the gateway, beside nginx on the same machine in the same minutes; what a
//! second worker is worth; how long a swap takes; what one question to a plugin costs.
//!
//! The figure that counts is CPU time, as a ratio inside one interleaved run: requests a second depend on what else the
//! machine does.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::packages::install_missing;
use crate::process::run;
use crate::{guests, house, release};

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
mod training;

use goals::Goals;
use setting::{Gateway, Policy};
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
    /// Measure a build like that of `cargo xtask release` in place of a plain one.
    #[arg(long)]
    profiled: bool,
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
    /// The build of the gateway.
    binary: PathBuf,
    rounds: u32,
    /// Length of one measurement.
    time: Duration,
}

impl Bench {
    fn new(binary: PathBuf, (rounds, seconds): (u32, u64)) -> Result<Self> {
        install_missing(&[("wrk", "wrk"), ("nginx", "nginx-light")])?;
        let plugins = guests::build()?;
        let folder = tempfile::Builder::new().prefix("gatewright-bench-").tempdir()?;
        let (issuer, jwks) = (Issuer::new()?, folder.path().join("jwks.json"));
        issuer.write_keys(&jwks)?;
        Ok(Self { folder, plugins, issuer, jwks, binary, rounds, time: Duration::from_secs(seconds) })
    }

    /// A gateway before this upstream.
    fn gateway<'a>(&'a self, policy: Policy, workers: usize, plugins: &'a Path, upstream: SocketAddr) -> Gateway<'a> {
        Gateway { policy, workers, plugins, jwks: &self.jwks, upstream, binary: &self.binary, tls: None }
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
    let binary = match options.profiled {
        true => release::profiled()?,
        false => {
            println!("xtask: building the gateway in release");
            run(house::workspace_cargo().args(["build", "--release", "--package", "gatewright"]))?;
            house::gateway()
        }
    };
    let bench = Bench::new(binary, if options.short { (1, 1) } else { (options.rounds, options.seconds) })?;
    let mut goals = Goals::default();
    for part in Part::ALL.into_iter().filter(|part| options.only.is_empty() || options.only.contains(part)) {
        match part {
            Part::Requests => requests::measure(&bench, &mut goals)?,
            Part::Scaling => scaling::measure(&bench, &mut goals)?,
            Part::Swap => swap::measure(&bench, &mut goals)?,
            Part::Calls => calls::measure(options.profiled, &mut goals)?,
        }
    }
    print!("{goals}");
    Ok(())
}

/// Has a build of the gateway do what gateways do, for as long as it takes to see what it does most.
///
/// # Errors
///
/// As [`bench`].
pub(crate) fn train(binary: PathBuf) -> Result<()> {
    training::train(&Bench::new(binary, (1, 3))?)
}
