//! What a request costs: nginx, the gateway without policy, and with it in its ways to call plugins.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::goals::{Bound, Goal, Goals};
use super::load::{Load, Requests};
use super::report::{Report, Sample};
use super::server::{self, Place, Server};
use super::setting::{Calls, Policy, Says};
use super::{Bench, cpu};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// nginx as a plain reverse proxy.
    Nginx,
    /// nginx that says as much of a request as the gateway.
    NginxSame,
    /// The gateway with this policy, in the order in which they are measured and printed.
    PassThrough,
    Hs256,
    Remembered,
    Each,
    Fresh,
}

impl Kind {
    /// Under every load.
    const ALWAYS: [Self; 4] = [Self::Nginx, Self::NginxSame, Self::PassThrough, Self::Hs256];
    /// Where there is a working set.
    const ALL: [Self; 7] =
        [Self::Nginx, Self::NginxSame, Self::PassThrough, Self::Hs256, Self::Remembered, Self::Each, Self::Fresh];

    fn server(self) -> Tried {
        match self {
            Self::Nginx => Tried::Nginx(Says::Little),
            Self::NginxSame => Tried::Nginx(Says::TheSame),
            Self::PassThrough => Tried::Gateway(Policy::None),
            Self::Hs256 => Tried::Gateway(Policy::Hs256),
            Self::Remembered => Tried::Gateway(Policy::Es256(Calls::Remembered)),
            Self::Each => Tried::Gateway(Policy::Es256(Calls::Each)),
            Self::Fresh => Tried::Gateway(Policy::Es256(Calls::Fresh)),
        }
    }
}

/// A server, and how it is configured.
enum Tried {
    Nginx(Says),
    Gateway(Policy),
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Nginx => "nginx",
            Self::NginxSame => "nginx, the same fields, log",
            Self::PassThrough => "gatewright, pass-through",
            Self::Hs256 => "gatewright, plugins, limit",
            Self::Remembered => "gatewright, ES256",
            Self::Each => "  nothing remembered",
            Self::Fresh => "  nothing remembered, fresh",
        })
    }
}

/// Connections that a load keeps busy.
pub(super) const CONNECTIONS: [u32; 2] = [16, 128];

/// Starts an upstream and a server of each kind, loads each in turn, and prints what a request cost each.
pub(super) fn measure(bench: &Bench, goals: &mut Goals) -> Result<()> {
    let folder = bench.folder("requests")?;
    let upstream = server::upstream(&folder, Place::Beside)?;
    let start = |kind: Kind| Ok((kind, start(bench, &folder, kind, &upstream).context(kind)?));
    let servers = Kind::ALL.into_iter().map(start).collect::<Result<Vec<_>>>()?;
    let one = Requests::write(&folder, &bench.issuer, 1, 1)?;
    let many = Requests::write(&folder, &bench.issuer, 1_000, 10_000)?;
    let mut report = Report::default();
    for round in 1..=bench.rounds {
        for (requests, kinds) in [(&one, &Kind::ALWAYS[..]), (&many, &Kind::ALL[..])] {
            for connections in CONNECTIONS {
                let load = Load { requests: requests.clone(), connections, place: Place::Beside };
                println!("xtask: round {round} of {}: {load}", bench.rounds);
                let mut turns: Vec<_> = servers.iter().filter(|(kind, _)| kinds.contains(kind)).collect();
                if round % 2 == 0 {
                    turns.reverse();
                }
                for (kind, server) in turns {
                    let sample = sample(bench, server, &load);
                    report.add(*kind, &load, sample.with_context(|| format!("{kind} under {load}"))?);
                }
            }
        }
    }
    print!("{report}");
    add_goals(&report, goals);
    Ok(())
}

fn start(bench: &Bench, folder: &Path, kind: Kind, upstream: &Server) -> Result<Server> {
    let policy = match kind.server() {
        Tried::Nginx(says) => return server::proxy(folder, upstream.address, says),
        Tried::Gateway(policy) => policy,
    };
    let none = folder.join("no-plugins");
    std::fs::create_dir_all(&none)?;
    let plugins = if matches!(policy, Policy::None) { &none } else { &bench.plugins };
    let gateway = bench.gateway(policy, 1, plugins, upstream.address);
    server::gateway(folder, &format!("{kind:?}"), Place::Alone, &gateway)
}

/// Warms a server up and measures it.
///
/// # Errors
///
/// An answer is other than 2xx: the cost of a refusal is no result.
pub(super) fn sample(bench: &Bench, server: &Server, load: &Load) -> Result<Sample> {
    load.warm(server)?;
    let before = cpu::of_tree(server.process())?;
    let result = load.run(server, bench.time)?;
    let cpu = cpu::of_tree(server.process())?.saturating_sub(before);
    if result.requests == 0 || result.bad > 0 {
        let complaints = server.complaints();
        bail!("{} of {} answers were not 2xx or did not come\n{complaints}", result.bad, result.requests);
    }
    Ok(Sample {
        cpu_per_request: cpu.div_f64(result.requests as f64),
        per_second: result.requests as f64 / result.time.as_secs_f64(),
        p99: result.p99,
    })
}

fn add_goals(report: &Report, goals: &mut Goals) {
    let ratio = |what: &str, one: Kind, of: Kind, most: f64| {
        let seen = report.ratios(one, of);
        Goal { what: what.to_owned(), seen, bound: Bound::AtMost(most), unit: "x" }
    };
    goals.add(ratio("pass-through, CPU of nginx", Kind::PassThrough, Kind::Nginx, 1.15));
    goals.add(ratio("ES256 pipeline, CPU of pass-through", Kind::Remembered, Kind::PassThrough, 1.15));
    goals.add(ratio("fresh instances, CPU of reused ones", Kind::Fresh, Kind::Each, 3.0));
}
