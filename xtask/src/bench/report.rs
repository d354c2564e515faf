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
        both.map(|(_, servers)| ratio(servers, one, of)).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (load, servers) in &self.loads {
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
                    ratio(servers, *kind, Kind::Nginx),
                    ratio(servers, *kind, Kind::PassThrough),
                    middle(samples, |sample| sample.per_second),
                    middle(samples, |sample| sample.p99.as_secs_f64()) * 1e3,
                )?;
            }
        }
        Ok(())
    }
}

/// The middle one of the rounds' ratios: what the machine does beside changes from minute to minute, and much less within a
/// round.
fn ratio(servers: &BTreeMap<Kind, Vec<Sample>>, one: Kind, of: Kind) -> f64 {
    let (Some(one), Some(of)) = (servers.get(&one), servers.get(&of)) else { return f64::NAN };
    let cpu = |sample: &Sample| sample.cpu_per_request.as_secs_f64();
    median(one.iter().zip(of).map(|(one, of)| cpu(one) / cpu(of)).collect())
}

/// The middle one of what was measured; NaN of nothing.
pub(super) fn middle(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    median(samples.iter().map(of).collect())
}

/// Of an even number the upper one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(micros: u64) -> Sample {
        let cpu_per_request = Duration::from_micros(micros);
        Sample { cpu_per_request, per_second: 1.0, p99: cpu_per_request }
    }

    #[test]
    fn a_minute_in_which_everything_is_slow_does_not_move_the_ratio() {
        let rounds = |micros: [u64; 3]| micros.map(sample).to_vec();
        let servers = [(Kind::Nginx, rounds([10, 40, 11])), (Kind::PassThrough, rounds([12, 48, 11]))];
        assert!((ratio(&servers.into(), Kind::PassThrough, Kind::Nginx) - 1.2).abs() < 1e-9);
        assert!(ratio(&BTreeMap::new(), Kind::PassThrough, Kind::Nginx).is_nan());
    }

    #[test]
    fn one_slow_round_does_not_move_the_middle() {
        let samples = [sample(10), sample(900), sample(11)];
        assert!((middle(&samples, |sample| sample.cpu_per_request.as_secs_f64()) * 1e6 - 11.0).abs() < 1e-6);
        assert!(middle(&[], |sample| sample.per_second).is_nan());
    }
}
