//! What a second worker is worth.

use anyhow::{Context as _, Result};

use super::Bench;
use super::goals::{Bound, Goal, Goals};
use super::load::{Load, Requests};
use super::report::{Sample, middle};
use super::requests::{CONNECTIONS, sample};
use super::server::{self, Place};
use super::setting::{Calls, Policy};

/// The numbers of workers that are compared.
const WORKERS: [u32; 2] = [1, 2];

/// Loads the same gateway with one worker and with two, in turn, and compares what they do in a second of CPU time,
/// times workers: on a machine where load and upstream need CPUs too, requests a second say little of either.
///
/// Each worker has as many connections: one with half as many finds fewer of them ready at a time, and that is what a smaller
/// load costs, not what a second worker is worth.
pub(super) fn measure(bench: &Bench, goals: &mut Goals) -> Result<()> {
    let folder = bench.folder("scaling")?;
    let upstream = server::upstream(&folder, Place::Anywhere)?;
    let start = |workers| {
        let policy = Policy::Es256(Calls::Remembered);
        let gateway = bench.gateway(policy, workers as usize, &bench.plugins, upstream.address);
        server::gateway(&folder, &format!("workers-{workers}"), Place::Anywhere, &gateway)
    };
    let servers = WORKERS.into_iter().map(start).collect::<Result<Vec<_>>>()?;
    // Few enough that each worker remembers all of them before anything counts.
    let requests = Requests::write(&folder, &bench.issuer, 100, 1_000)?;
    let mut seen = Vec::new();
    println!("\nworkers, on all CPUs with load and upstream");
    for connections in CONNECTIONS {
        let load = |workers| {
            let connections = connections * workers;
            Load { requests: requests.clone(), connections, place: Place::Anywhere }
        };
        let loads = WORKERS.map(load);
        let mut samples = WORKERS.map(|_| Vec::new());
        for _ in 0..bench.rounds {
            for ((server, load), samples) in servers.iter().zip(&loads).zip(&mut samples) {
                let sample = sample(bench, server, load);
                samples.push(sample.with_context(|| format!("under {load}"))?);
            }
        }
        let [one, two] = samples.map(|samples| middle(&samples, per_cpu_second));
        let gain = 2.0 * two / one;
        println!(
            "  {connections} connections a worker: {one:.0} requests per CPU-second with 1, {two:.0} with 2: {gain:.2} times the work"
        );
        seen.push(gain);
    }
    let what = "work of 2 workers, that of 1".to_owned();
    goals.add(Goal { what, seen, bound: Bound::AtLeast(1.9), unit: "x" });
    Ok(())
}

fn per_cpu_second(sample: &Sample) -> f64 {
    1.0 / sample.cpu_per_request.as_secs_f64()
}
