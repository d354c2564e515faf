//! The load: wrk with a script that sends prepared requests in turn and tells its figures in one line.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::server::{self, Place, Server};
use super::setting;
use super::tokens::{Issuer, Signature};
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
    folder: PathBuf,
    /// Different paths.
    paths: usize,
    /// Requests, each with a token of its own.
    pub(super) tokens: usize,
}

impl Requests {
    /// Writes `tokens` requests over `paths` different paths, with tokens of either signature.
    pub(super) fn write(folder: &Path, issuer: &Issuer, paths: usize, tokens: usize) -> Result<Self> {
        let requests = Self { folder: folder.to_path_buf(), paths, tokens };
        let now = demo::now();
        for signature in [Signature::Hs256, Signature::Es256] {
            let lines = (0..tokens).map(|index| {
                let token = issuer.token(signature, &format!("caller-{index}"), now)?;
                Ok(format!("{token} {}\n", setting::path(index % paths)))
            });
            std::fs::write(requests.file(signature), lines.collect::<Result<String>>()?)?;
        }
        std::fs::write(requests.script(), SCRIPT)?;
        Ok(requests)
    }

    fn file(&self, signature: Signature) -> PathBuf {
        self.folder.join(format!("{signature:?}-{}-{}", self.paths, self.tokens))
    }

    fn script(&self) -> PathBuf {
        self.folder.join("load.lua")
    }
}

/// Requests over a number of connections.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) requests: Requests,
    pub(super) connections: u32,
    /// Where it runs.
    pub(super) place: Place,
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
    /// Loads a server for a time, with tokens that it takes.
    pub(super) fn run(&self, server: &Server, time: Duration) -> Result<Figures> {
        figures(&output(&mut self.command(server, time))?)
    }

    /// Begins to load a server, until [`Underway::end`].
    pub(super) fn begin(&self, server: &Server) -> Result<Underway> {
        /// Nothing that is measured takes so long.
        const MOST: Duration = Duration::from_secs(3600);
        let mut command = self.command(server, MOST);
        Ok(Underway(Some(command.stdout(Stdio::piped()).spawn().context("cannot start wrk")?)))
    }

    /// Fills caches and pools before anything counts: what is remembered has come twice at least.
    pub(super) fn warm(&self, server: &Server) -> Result<()> {
        // A second is enough, unless the machine is slow.
        for seconds in [1, 4, 16] {
            let figures = self.run(server, Duration::from_secs(seconds))?;
            if figures.requests >= 2 * self.requests.tokens as u64 || !server.policy.remembers() {
                return Ok(());
            }
        }
        bail!("{self}: too slow to warm up")
    }

    fn command(&self, server: &Server, time: Duration) -> Command {
        let mut command = server::placed(self.place, Path::new("wrk"));
        command.args(["-t1", &format!("-c{}", self.connections), &format!("-d{}s", time.as_secs()), "-s"]);
        command.arg(self.requests.script()).arg(format!("http://{}/", server.address));
        command.arg("--").arg(self.requests.file(server.policy.signature()));
        command
    }
}

/// A load that goes on; dropping it ends it without figures.
#[must_use]
pub(super) struct Underway(Option<Child>);

impl Underway {
    /// Ends it: Ctrl-C has wrk tell what it has seen so far.
    pub(super) fn end(mut self) -> Result<Figures> {
        let child = self.0.take().context("it is still running")?;
        signal(&child, Signal::INT);
        figures(&String::from_utf8(child.wait_with_output()?.stdout)?)
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            signal(&child, Signal::TERM);
            // It cannot be waited for only if it was.
            let _ = child.wait();
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Some(id) = Pid::from_raw(child.id().cast_signed()) {
        // Failures mean that it ended by itself.
        let _ = kill_process(id, signal);
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
