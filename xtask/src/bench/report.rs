//! The table at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::load::Load;
use super::requests::Kind;

/// One measurement of one server under one load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) cpu_per_request: Duration,
    pub(super) per_second: f64,
    pub(super) p99: Duration,
}

/// All measurements: per load, in the order they were first made, and per server.
#[derive(Debug, Default)]
pub(super) struct Report {
    loads: Vec<(String, BTreeMap<Kind, Vec<Sample>>)>,
}

impl Report {
    pub(super) fn add(&mut self, kind: Kind, load: &Load, sample: Sample) {
        let name = load.to_string();
        let place = self.loads.iter().position(|(there, _)| *there == name).unwrap_or_else(|| {
            self.loads.push((name, BTreeMap::new()));
            self.loads.len() - 1
        });
        if let Some((_, servers)) = self.loads.get_mut(place) {
            servers.entry(kind).or_default().push(sample);
        }
    }

    /// The CPU time of a request in one server by that in another, under each load that both were under.
    pub(super) fn ratios(&self, one: Kind, of: Kind) -> Vec<f64> {
        let both = self.loads.iter().filter(|(_, servers)| servers.contains_key(&one) && servers.contains_key(&of));
        both.map(|(_, servers)| middle_cpu(servers, one) / middle_cpu(servers, of)).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (load, servers) in &self.loads {
            let (nginx, bare) = (middle_cpu(servers, Kind::Nginx), middle_cpu(servers, Kind::PassThrough));
            writeln!(out, "\n{load}")?;
            writeln!(
                out,
                "  {:<28} {:>12} {:>9} {:>15} {:>11} {:>9}",
                "", "CPU/request", "x nginx", "x pass-through", "requests/s", "p99"
            )?;
            for (kind, samples) in servers {
                let cpu = middle(samples, |sample| sample.cpu_per_request.as_secs_f64());
                writeln!(
                    out,
                    "  {:<28} {:>9.2} µs {:>9.2} {:>15.2} {:>11.0} {:>6.2} ms",
                    kind.to_string(),
                    cpu * 1e6,
                    cpu / nginx,
                    cpu / bare,
                    middle(samples, |sample| sample.per_second),
                    middle(samples, |sample| sample.p99.as_secs_f64()) * 1e3,
                )?;
            }
        }
        Ok(())
    }
}

fn middle_cpu(servers: &BTreeMap<Kind, Vec<Sample>>, kind: Kind) -> f64 {
    servers.get(&kind).map_or(f64::NAN, |samples| middle(samples, |sample| sample.cpu_per_request.as_secs_f64()))
}

/// The median, of an even number the upper one; NaN of nothing.
pub(super) fn middle(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let mut values = samples.iter().map(of).collect::<Vec<_>>();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_round_does_not_move_the_middle() {
        let sample = |micros| Sample {
            cpu_per_request: Duration::from_micros(micros),
            per_second: 1.0,
            p99: Duration::from_micros(micros),
        };
        let samples = [sample(10), sample(900), sample(11)];
        assert!((middle(&samples, |sample| sample.cpu_per_request.as_secs_f64()) * 1e6 - 11.0).abs() < 1e-6);
        assert!(middle(&[], |sample| sample.per_second).is_nan());
    }
}
