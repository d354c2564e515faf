//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gatewright::command;
use gatewright::config::{self, Config};
use gatewright::tls::{Outwards, Tls};

/// A request is some dozen allocations, two of them of 8 KiB for what is read next, and what is remembered of callers is many small
/// ones: the C library's allocator takes longer for both.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An API gateway and load balancer whose policy is WebAssembly.
///
/// Requests are authenticated, limited, validated, routed and balanced, in this order. Who may call, what is valid and which
/// service gets it is decided by plugins: components in a watched folder, in any language, live a moment after they are
/// dropped in.
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
    /// costs a request.
    Run {
        /// The configuration, in TOML.
        #[arg(short, long, default_value = "gateway.toml")]
        config: PathBuf,
    },
    /// Check a configuration and print every fault, each with file, line and key.
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
        Command::Check { config } => check(&config),
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

fn check(file: &std::path::Path) -> ExitCode {
    match Config::load(file) {
        Ok(config) => {
            if let Some(Err(fault)) = config.server.tls.as_ref().map(|settings| Tls::load(settings, None)) {
                eprintln!("{}: `server.tls`: {fault}", file.display());
                return ExitCode::FAILURE;
            }
            if let Err(fault) = Outwards::load(&config.services, &Outwards::default()) {
                eprintln!("{}: `service`: {fault}", file.display());
                return ExitCode::FAILURE;
            }
            let (apis, services) = (config.apis.len(), config.services.len());
            println!("{}: good ({apis} APIs, {services} services)", file.display());
            ExitCode::SUCCESS
        }
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            ExitCode::FAILURE
        }
    }
}

fn run(file: &std::path::Path) -> ExitCode {
    let outcome = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from);
    let stopped = outcome.and_then(|runtime| {
        use tokio::signal::unix::{SignalKind, signal};
        // Before the start, so that no signal is lost in between.
        let (mut term, mut int) = runtime
            .block_on(async { anyhow::Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)) })?;
        let running = gatewright::control::start(file)?;
        for address in &running.addresses {
            tracing::info!(%address, "listening");
        }
        for address in &running.tls_addresses {
            tracing::info!(%address, "listening with TLS");
        }
        if let Some(admin) = running.admin {
            tracing::info!(address = %admin, "admin listening");
        }
        runtime.block_on(async {
            tokio::select! {
                // A person at a terminal does not wait for load balancers.
                _ = int.recv() => return,
                _ = term.recv() => {}
            }
            running.announce_stop();
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
                () = tokio::time::sleep(running.linger) => {}
            }
        });
        tracing::info!("stopping: requests in flight are answered");
        running.stop();
        Ok(())
    });
    gatewright::log::finish();
    match stopped {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault:#}");
            ExitCode::FAILURE
        }
    }
}
