//! The upstream and the servers under measurement.

use std::fmt;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::setting;
use crate::process::{Running, installed, tied};
use crate::{house, ready};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// nginx as a plain reverse proxy.
    Nginx,
    /// The gateway with no policy at all.
    PassThrough,
    /// The gateway with the three reference plugins and a limit.
    Plugins,
}

impl Kind {
    /// In the order in which they are measured and printed.
    pub(super) const ALL: [Self; 3] = [Self::Nginx, Self::PassThrough, Self::Plugins];
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Nginx => "nginx",
            Self::PassThrough => "gatewright, pass-through",
            Self::Plugins => "gatewright, plugins, limit",
        })
    }
}

/// Which CPU a process gets, where there are several.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// The server under measurement, by itself.
    Alone,
    /// Load and upstream.
    Beside,
}

/// A command on a CPU of its own.
pub(super) fn pinned(place: Place, program: &Path) -> Command {
    let several = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
    if !several || !installed("taskset") {
        return tied(program);
    }
    let cpu = match place {
        Place::Alone => "0",
        Place::Beside => "1",
    };
    let mut command = tied(Path::new("taskset"));
    command.args(["-c", cpu]).arg(program);
    command
}

struct Server {
    address: SocketAddr,
    running: Running,
}

/// The upstream and one server of each kind.
pub(super) struct Servers {
    nginx: Server,
    pass_through: Server,
    plugins: Server,
    _upstream: Server,
}

impl Servers {
    /// Starts them all and waits until they answer.
    pub(super) fn start(folder: &Path, plugins: &Path) -> Result<Self> {
        let upstream = nginx(folder, "upstream", Place::Beside, &setting::upstream)?;
        let to = upstream.address;
        let servers = Self {
            nginx: nginx(folder, "nginx", Place::Alone, &|folder, address| setting::nginx(folder, address, to))?,
            pass_through: gateway(folder, "pass-through", &|listen, admin| {
                setting::pass_through(listen, admin, to, &folder.join("no-plugins"))
            })?,
            plugins: gateway(folder, "plugins", &|listen, admin| setting::plugins(listen, admin, to, plugins))?,
            _upstream: upstream,
        };
        Kind::ALL.into_iter().try_for_each(|kind| servers.check(kind))?;
        Ok(servers)
    }

    /// A request without a token shows whether there is a policy: measuring the wrong thing would go unseen.
    fn check(&self, kind: Kind) -> Result<()> {
        let expected = match kind {
            Kind::Nginx | Kind::PassThrough => 200,
            Kind::Plugins => 401,
        };
        match ready::status(self.address(kind), &setting::path(0)) {
            Some(status) if status == expected => Ok(()),
            other => bail!("{kind} answers {other:?} without a token, not {expected}"),
        }
    }

    /// Where a server listens.
    pub(super) fn address(&self, kind: Kind) -> SocketAddr {
        self.server(kind).address
    }

    /// The id of a server's first process.
    pub(super) fn process(&self, kind: Kind) -> u32 {
        self.server(kind).running.id()
    }

    fn server(&self, kind: Kind) -> &Server {
        match kind {
            Kind::Nginx => &self.nginx,
            Kind::PassThrough => &self.pass_through,
            Kind::Plugins => &self.plugins,
        }
    }
}

/// Starts an nginx in a folder of its own, with the configuration that `text` makes of folder and address.
fn nginx(folder: &Path, name: &str, place: Place, text: &dyn Fn(&Path, SocketAddr) -> String) -> Result<Server> {
    let folder = folder.join(name);
    fs::create_dir(&folder)?;
    let address = ready::free_address()?;
    let file = folder.join("nginx.conf");
    fs::write(&file, text(&folder, address))?;
    let program = if Path::new("/usr/sbin/nginx").is_file() { "/usr/sbin/nginx" } else { "nginx" };
    let mut command = pinned(place, Path::new(program));
    command.arg("-e").arg(folder.join("error.log")).arg("-p").arg(&folder).arg("-c").arg(&file);
    let mut running = Running::start(&mut command)?;
    ready::wait(&mut running, address, &setting::path(0)).with_context(|| fault(&folder.join("error.log")))?;
    Ok(Server { address, running })
}

/// Starts a gateway with the configuration that `text` makes of its address and its admin address.
fn gateway(folder: &Path, name: &str, text: &dyn Fn(SocketAddr, SocketAddr) -> String) -> Result<Server> {
    let (address, admin) = (ready::free_address()?, ready::free_address()?);
    // Not side by side: the gateway watches its configuration's folder, and would look at every write of the log.
    let (file, log) = (folder.join(name).join("gateway.toml"), folder.join(format!("{name}.log")));
    fs::create_dir_all(folder.join("no-plugins"))?;
    fs::create_dir_all(folder.join(name))?;
    fs::write(&file, text(address, admin))?;
    let mut command = pinned(Place::Alone, &house::gateway());
    command.arg("run").arg("--config").arg(&file).env(setting::SECRET_VARIABLE, setting::SECRET);
    let out = File::create(&log)?;
    command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out);
    let mut running = Running::start(&mut command)?;
    ready::wait(&mut running, admin, "/readyz").with_context(|| fault(&log))?;
    Ok(Server { address, running })
}

/// The end of a log, for an error.
fn fault(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().rev().take(5).collect::<Vec<_>>();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
