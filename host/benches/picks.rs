//! What it costs to find a request's endpoint and to give its place back, by algorithm and number of endpoints.
//!
//! `cargo bench -p gatewright --bench picks` runs it. Endpoints are picked as on the path, through a worker's balancer, with the
//! counters that all workers share.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use gatewright::balance::{Ask, Balancer, Outcome, Services, mix};
use gatewright::config::Config;

const SIZES: [usize; 5] = [2, 10, 100, 1_000, 10_000];
const ALGORITHMS: [&str; 5] = ["round-robin", "random", "least-busy", "peak-ewma", "maglev"];

/// How the endpoints' weights are.
#[derive(Clone, Copy)]
enum Weights {
    Equal,
    /// From 1 to 1000.
    Mixed,
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut criterion = Criterion::default().configure_from_args();
    for (name, weights) in [("equal", Weights::Equal), ("mixed", Weights::Mixed)] {
        for algorithm in ALGORITHMS {
            let mut group = criterion.benchmark_group(format!("{algorithm}/{name}"));
            for size in SIZES {
                let services = Services::new(runtime.handle().clone());
                let balancer = balancer(&services, algorithm, weights, size)?;
                let mut random = 0;
                let now = Instant::now();
                group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                    bencher.iter(|| {
                        random = mix(random);
                        let ask = Ask { tried: &[], affinity: Some(random), now, random };
                        black_box(balancer.pick(&ask)).ok()
                    });
                });
            }
            group.finish();
        }
    }
    criterion.final_summary();
    Ok(())
}

/// One worker's way to so many endpoints; all of them have answered before.
fn balancer(services: &Services, algorithm: &str, weights: Weights, size: usize) -> anyhow::Result<Balancer> {
    let mut text = format!("[service.orders]\nbalance = \"{algorithm}\"\nendpoints = [\n");
    for at in 0..size {
        let weight = match weights {
            Weights::Equal => 1,
            Weights::Mixed => 1 + mix(at as u64) % 1000,
        };
        writeln!(text, "{{ address = \"10.0.{}.{}:80\", weight = {weight} }},", at / 250, at % 250)?;
    }
    text.push(']');
    let parsed = Config::parse(&text, "bench.toml", Path::new("."));
    let config =
        parsed.map_err(|faults| anyhow::anyhow!("{}", faults.iter().map(ToString::to_string).collect::<String>()))?;
    let now = Instant::now();
    let map = services.apply(&config.services, now);
    let service = map.get("orders").ok_or_else(|| anyhow::anyhow!("no service"))?;
    let balancer = Balancer::new(Arc::clone(service), 7, Instant::now());
    for random in (0..4 * size as u64).map(mix) {
        let ask = Ask { tried: &[], affinity: None, now, random };
        balancer.pick(&ask)?.report(Outcome::Success, now + Duration::from_micros(random % 1000));
    }
    Ok(balancer)
}
