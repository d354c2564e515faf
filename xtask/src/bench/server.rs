//! The upstream and the servers under measurement.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::setting::{self, Gateway, Policy, Says};
use crate::process::{Running, installed, tied};
use crate::{house, ready};

/// Which CPU a process gets, where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The server under measurement, by itself.
    Alone,
    /// Load and upstream.
    Beside,
    /// All of them, shared with all others.
    Anywhere,
}

/// A command in its place.
pub(super) fn placed(place: Place, program: &Path) -> Command {
    let several = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
    if !several || place == Place::Anywhere || !installed("taskset") {
        return tied(program);
    }
    let cpu = if place == Place::Alone { "0" } else { "1" };
    let mut command = tied(Path::new("taskset"));
    command.args(["-c", cpu]).arg(program);
    command
}

/// A server that runs.
pub(super) struct Server {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Where a gateway shows its plugins; an nginx answers there as everywhere.
    pub(super) admin: SocketAddr,
    /// What stands in a request's way.
    pub(super) policy: Policy,
    log: PathBuf,
    running: Running,
}

impl Server {
    /// What it complained of last, for an error.
    pub(super) fn complaints(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let faults = text.lines().filter(|line| line.contains("ERROR"));
        last(faults.collect())
    }

    /// The id of its first process.
    pub(super) fn process(&self) -> u32 {
        self.running.id()
    }

    /// A request without a token shows whether there is a policy: measuring the wrong thing would go unseen.
    fn check(&self) -> Result<()> {
        let expected = if matches!(self.policy, Policy::None) { 200 } else { 401 };
        match ready::status(self.address, &setting::path(0)) {
            Some(status) if status == expected => Ok(()),
            other => bail!("{other:?} is the answer to a request without a token, not {expected}"),
        }
    }
}

/// Starts the server that answers everything by itself.
pub(super) fn upstream(folder: &Path, place: Place) -> Result<Server> {
    nginx(folder, "upstream", place, &setting::upstream)
}

/// Starts an nginx that passes everything on.
pub(super) fn proxy(folder: &Path, upstream: SocketAddr, says: Says) -> Result<Server> {
    let text = |folder: &Path, address| setting::nginx(folder, address, upstream, says);
    nginx(folder, &format!("nginx-{says:?}"), Place::Alone, &text)
}

/// Starts an nginx in a folder of its own, with the configuration that `text` makes of folder and address.
fn nginx(folder: &Path, name: &str, place: Place, text: &dyn Fn(&Path, SocketAddr) -> String) -> Result<Server> {
    let folder = folder.join(name);
    fs::create_dir(&folder)?;
    let address = ready::free_address()?;
    let (file, log) = (folder.join("nginx.conf"), folder.join("error.log"));
    fs::write(&file, text(&folder, address))?;
    let program = if Path::new("/usr/sbin/nginx").is_file() { "/usr/sbin/nginx" } else { "nginx" };
    let mut command = placed(place, Path::new(program));
    command.arg("-e").arg(&log).arg("-p").arg(&folder).arg("-c").arg(&file);
    let mut running = Running::start(&mut command)?;
    ready::wait(&mut running, address, &setting::path(0)).with_context(|| fault(&log))?;
    Ok(Server { address, admin: address, policy: Policy::None, log, running })
}

/// Starts a gateway with its files in this folder, under a name that no other has.
pub(super) fn gateway(folder: &Path, name: &str, place: Place, gateway: &Gateway<'_>) -> Result<Server> {
    let (address, admin) = (ready::free_address()?, ready::free_address()?);
    // Not side by side: the gateway watches its configuration's folder, and would look at every write of the log.
    let (file, log) = (folder.join(name).join("gateway.toml"), folder.join(format!("{name}.log")));
    fs::create_dir_all(folder.join(name))?;
    fs::write(&file, gateway.text(address, admin))?;
    let mut command = placed(place, gateway.binary);
    command.arg("run").arg("--config").arg(&file).env(setting::SECRET_VARIABLE, setting::SECRET);
    // What is compiled for a measurement is nobody else's, and need not be compiled for the next one.
    command.env("XDG_CACHE_HOME", house::root().join("target/bench-cache"));
    let out = File::create(&log)?;
    command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out);
    let mut running = Running::start(&mut command)?;
    ready::wait(&mut running, admin, "/readyz").with_context(|| fault(&log))?;
    let server = Server { address, admin, policy: gateway.policy, log, running };
    server.check().with_context(|| name.to_owned())?;
    Ok(server)
}

/// The end of a log, for an error.
fn fault(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    last(text.lines().collect())
}

fn last(lines: Vec<&str>) -> String {
    /// More of them say no more.
    const MOST: usize = 5;
    lines.get(lines.len().saturating_sub(MOST)..).unwrap_or_default().join("\n")
}
