//! `cargo xtask bench`: what a request costs in the gateway, beside nginx on the same machine in the same minutes.
//!
//! The figure that counts is CPU time per request, as a ratio inside one interleaved run: requests a second depend on what else
//! the machine does.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::packages::install_missing;
use crate::process::run;
use crate::{guests, house};

mod cpu;
mod load;
mod report;
mod server;
mod setting;

use load::{Load, Requests};
use report::{Report, Sample};
use server::{Kind, Servers};

/// How long and how often is measured.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Times that every server is measured under every load; the middle value counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of one measurement.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// One round of one second: shows that it works, and little more.
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    short: bool,
}

impl Options {
    fn rounds(&self) -> u32 {
        if self.short { 1 } else { self.rounds }
    }

    fn time(&self) -> Duration {
        Duration::from_secs(if self.short { 1 } else { self.seconds })
    }
}

/// Connections that a load keeps busy.
const CONNECTIONS: [u32; 2] = [16, 128];
/// Fills caches and pools before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);

/// Starts an upstream, nginx and the gateway twice, loads each in turn, and prints what a request cost each.
///
/// # Errors
///
/// Something cannot be built, installed or started, or a server answered other than 2xx: the cost of a refusal is no result.
pub fn bench(options: &Options) -> Result<()> {
    install_missing(&[("wrk", "wrk"), ("nginx", "nginx-light")])?;
    let plugins = guests::build()?;
    println!("xtask: building the gateway in release");
    run(house::workspace_cargo().args(["build", "--release", "--package", "gatewright"]))?;
    let folder = tempfile::Builder::new().prefix("gatewright-bench-").tempdir()?;
    let servers = Servers::start(folder.path(), &plugins)?;
    let loads = loads(folder.path())?;
    for (kind, load) in Kind::ALL.iter().flat_map(|kind| loads.iter().map(move |load| (*kind, load))) {
        load.run(servers.address(kind), WARM_UP)?;
    }
    let mut report = Report::default();
    for round in 1..=options.rounds() {
        for load in &loads {
            println!("xtask: round {round} of {}: {load}", options.rounds());
            for kind in Kind::ALL {
                report.add(kind, load, measure(&servers, kind, load, options.time())?);
            }
        }
    }
    print!("{report}");
    Ok(())
}

/// Every number of connections with one request over and over, and with many different ones.
fn loads(folder: &std::path::Path) -> Result<Vec<Load>> {
    let one = Requests::write(folder, "one", 1, 1)?;
    let many = Requests::write(folder, "many", 1_000, 10_000)?;
    let pairs = [one, many].into_iter().flat_map(|requests| CONNECTIONS.map(|count| (requests.clone(), count)));
    Ok(pairs.map(|(requests, connections)| Load { requests, connections }).collect())
}

fn measure(servers: &Servers, kind: Kind, load: &Load, time: Duration) -> Result<Sample> {
    let process = servers.process(kind);
    let before = cpu::of_tree(process)?;
    let result = load.run(servers.address(kind), time)?;
    let cpu = cpu::of_tree(process)?.saturating_sub(before);
    if result.requests == 0 || result.bad > 0 {
        bail!("{kind} under {load}: {} of {} answers were not 2xx or did not come", result.bad, result.requests);
    }
    Ok(Sample {
        cpu_per_request: cpu.div_f64(result.requests as f64),
        per_second: result.requests as f64 / result.time.as_secs_f64(),
        p99: result.p99,
    })
}
