//! The load: wrk with a script that sends prepared requests in turn and tells its figures in one line.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{server, setting};
use crate::demo;
use crate::process::output;

/// Reads `TOKEN PATH` lines, and ends with `figures REQUESTS BAD MICROSECONDS P99_MICROSECONDS`.
const SCRIPT: &str = r#"
local requests, at = {}, 0
function init(arguments)
  for line in io.lines(arguments[1]) do
    local token, path = line:match("^(%S+) (%S+)$")
    requests[#requests + 1] = wrk.format("GET", path, { Host = wrk.headers["Host"], Authorization = "Bearer " .. token })
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
function done(summary, latency)
  local e = summary.errors
  local bad = e.status + e.connect + e.read + e.write + e.timeout
  io.write(string.format("figures %d %d %d %d\n", summary.requests, bad, summary.duration, latency:percentile(99)))
end
"#;

/// A prepared set of requests.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    script: PathBuf,
    file: PathBuf,
    paths: usize,
    tokens: usize,
}

impl Requests {
    /// Writes `tokens` requests, each with a token of its own, over `paths` different paths.
    pub(super) fn write(folder: &Path, name: &str, paths: usize, tokens: usize) -> Result<Self> {
        let now = demo::now();
        let lines = (0..tokens).map(|index| {
            let token = demo::mint(setting::SECRET, &format!("caller-{index}"), demo::SCOPES, now)?;
            Ok(format!("{token} {}\n", setting::path(index % paths)))
        });
        let text = lines.collect::<Result<String>>()?;
        let (script, file) = (folder.join("load.lua"), folder.join(name));
        std::fs::write(&script, SCRIPT)?;
        std::fs::write(&file, text)?;
        Ok(Self { script, file, paths, tokens })
    }
}

/// Requests over a number of connections.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) requests: Requests,
    pub(super) connections: u32,
}

impl fmt::Display for Load {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Requests { paths, tokens, .. } = self.requests;
        write!(out, "{} connections, {paths} paths, {tokens} tokens", self.connections)
    }
}

/// What wrk saw.
#[derive(Debug, PartialEq)]
pub(super) struct Figures {
    /// Answers.
    pub(super) requests: u64,
    /// Answers of 400 and more, and answers that did not come.
    pub(super) bad: u64,
    /// How long it took.
    pub(super) time: Duration,
    /// The latency that 99 of 100 answers kept.
    pub(super) p99: Duration,
}

impl Load {
    /// Loads a server for a time.
    pub(super) fn run(&self, address: SocketAddr, time: Duration) -> Result<Figures> {
        let mut command = server::pinned(server::Place::Beside, Path::new("wrk"));
        command.args(["-t1", &format!("-c{}", self.connections), &format!("-d{}s", time.as_secs()), "-s"]);
        command.arg(&self.requests.script).arg(format!("http://{address}/")).arg("--").arg(&self.requests.file);
        figures(&output(&mut command)?)
    }
}

fn figures(text: &str) -> Result<Figures> {
    let line = text.lines().find_map(|line| line.strip_prefix("figures ")).context("wrk told no figures")?;
    let mut numbers = line.split(' ').map(str::parse::<u64>);
    let mut next = || numbers.next().context("a figure is missing")?.context("a figure is no number");
    Ok(Figures {
        requests: next()?,
        bad: next()?,
        time: Duration::from_micros(next()?),
        p99: Duration::from_micros(next()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_behind_what_wrk_says_itself() -> Result<()> {
        let seen = figures("Running 1s test\n  2 threads\nfigures 1000 3 1000000 2500\n")?;
        let time = Duration::from_secs(1);
        assert_eq!(seen, Figures { requests: 1000, bad: 3, time, p99: Duration::from_micros(2500) });
        assert!(figures("Running 1s test\n").is_err());
        assert!(figures("figures 1 2\n").is_err());
        Ok(())
    }
}
