//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gatewright::command;
use gatewright::config;
use gatewright::control::{self, Running};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A request is some dozen allocations, two of them of 8 KiB for what is read next, and what is remembered of callers is many small
/// ones: the C library's allocator takes longer for both.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An API gateway and load balancer whose policy is WebAssembly.
///
/// Requests are authenticated, limited (by address first of all), validated, routed and balanced, in this order. Who may
/// call, what is valid and which service gets it is decided by plugins: components in a watched folder, in any language,
/// live a moment after they are dropped in.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT; requests in flight are then answered.
    ///
    /// The configuration's file and the plugin folder are watched: a change is applied as a whole or not at all, and never
    /// costs a request. SIGHUP has the file read again at once. Other listeners, workers, `[admin]` and `[plugins]` take a
    /// restart.
    Run {
        /// The configuration, in TOML.
        #[arg(short, long, default_value = "gateway.toml")]
        config: PathBuf,
    },
    /// Check a configuration and print every fault, each with file, line and key; and warn of keys, endpoints and plugins that
    /// are not there.
    Check {
        /// The configuration, in TOML.
        #[arg(short, long, default_value = "gateway.toml")]
        config: PathBuf,
    },
    /// Print the JSON Schema of the configuration, for editors.
    Schema {
        /// Print a page in Markdown for people instead.
        #[arg(long)]
        markdown: bool,
    },
    /// Print the contract that plugins are written against, in WIT, for tools of any language.
    Contract,
    /// Say what a plugin is: its stages, what it needs, and what it declares for each use of a configuration.
    ///
    /// The exit status is 0 where the file is a plugin (and fits the configuration), else 1.
    Inspect(command::Inspect),
    /// Ask a plugin about one request, and print its verdict, time and memory.
    ///
    /// The request is cleaned and the plugin run as in a gateway. The plugin stands alone in its stage: limits, other plugins
    /// and services are not asked. The exit status is 0 where the request is accepted (or a routing plugin answers it), 1
    /// where the plugin or the gateway before it refuses, and 2 where there is no verdict: the plugin fails, or cannot be
    /// tried.
    Try(command::Try),
    /// Explain what becomes of one request, and why: its API, what each stage says, its limits, its service and endpoint.
    ///
    /// The running gateway is asked by its admin listener, for only that knows limits, health and load; or, with `--offline`,
    /// the configuration alone. Nothing is sent to a service, no limit is spent and nothing is counted. The exit status is 0
    /// where the request would be forwarded (or the gateway answers it in a service's stead), 1 where it is refused, and 2
    /// where it is not explained.
    Explain(command::Explain),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config } => run(&config),
        Command::Check { config } => command::check(&config),
        Command::Schema { markdown } => {
            print!("{}", if markdown { config::reference() } else { config::schema() });
            ExitCode::SUCCESS
        }
        Command::Contract => {
            print!("{}", gatewright::plugin::CONTRACT);
            ExitCode::SUCCESS
        }
        Command::Inspect(inspect) => inspect.run(),
        Command::Try(asked) => asked.run(),
        Command::Explain(asked) => asked.run(),
    }
}

fn run(file: &std::path::Path) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from);
    let ended = runtime.and_then(|runtime| runtime.block_on(serve(file)));
    gatewright::log::finish();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a gateway until a signal ends it.
async fn serve(file: &std::path::Path) -> anyhow::Result<()> {
    // Before the start, so that no signal is lost in between.
    let mut signals = Signals::new()?;
    let Some(running) = start(file, &mut signals).await? else { return Ok(()) };
    for address in &running.addresses {
        tracing::info!(%address, "listening");
    }
    for address in &running.tls_addresses {
        tracing::info!(%address, "listening with TLS");
    }
    if let Some(admin) = running.admin {
        tracing::info!(address = %admin, "admin listening");
    }
    // A person at a terminal does not wait for load balancers.
    if signals.end(|| running.reload()).await == End::Soon {
        running.announce_stop();
        // Whichever comes first.
        let _ = tokio::time::timeout(running.linger(), signals.end(|| running.reload())).await;
    }
    tracing::info!("stopping: requests in flight are answered");
    running.stop();
    Ok(())
}

/// Starts it, which takes as long as its plugins are compiled; none: it was told to end meanwhile.
async fn start(file: &std::path::Path, signals: &mut Signals) -> anyhow::Result<Option<Running>> {
    let (started, starting) = tokio::sync::oneshot::channel();
    let file = file.to_path_buf();
    // It ends with the process.
    std::thread::Builder::new().name("start".into()).spawn(move || drop(started.send(control::start(&file))))?;
    tokio::select! {
        running = starting => Ok(Some(running??)),
        _ = signals.end(|| {}) => Ok(None),
    }
}

/// What a process is told by signals.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// Other servers open their logs again.
    others: [Signal; 2],
}

/// How a gateway is told to end.
#[derive(PartialEq)]
enum End {
    /// When load balancers have noticed.
    Soon,
    Now,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            others: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?],
        })
    }

    /// Waits until it is told to end.
    async fn end(&mut self, reload: impl Fn()) -> End {
        let [one, other] = &mut self.others;
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return End::Soon,
                _ = self.interrupt.recv() => return End::Now,
                _ = self.hang_up.recv() => reload(),
                _ = one.recv() => tracing::info!("SIGUSR1 means nothing here"),
                _ = other.recv() => tracing::info!("SIGUSR2 means nothing here"),
            }
        }
    }
}
