//! Arguments, then one call.

use clap::{Parser, Subcommand};
use xtask::{bench, conformance, drill, fuzz, guests, languages, release, run, soak, test, wasm};

/// Builds, tests, runs and measures Gatewright.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the Wasm target usable; done by the others too.
    Setup,
    /// Build the Rust plugins into target/plugins.
    Guests,
    /// Build the examples' plugins in other languages into target/plugins/examples.
    Languages,
    /// Build the guests and run every test.
    Test {
        /// Handed to `cargo test --workspace`.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Start the gateway before three demo services, and print what to try.
    Run,
    /// Build the gateway as it is shipped: once to see what it does most under load, and again for that.
    Release,
    /// Measure the gateway beside nginx.
    Bench(bench::Options),
    /// Swap plugins for minutes, half of them broken, under load, and look at the memory afterwards.
    Soak(test::Long),
    /// Kill, stop, slow down and remove endpoints under load, and show what clients noticed.
    Drill(test::Long),
    /// Run public suites for HTTP/2 and WebSocket.
    Conformance,
    /// Try made-up bytes on all that reads a client's, a plugin's or an operator's.
    Fuzz(fuzz::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Setup => wasm::setup().map(drop),
        Command::Guests => guests::build().map(drop),
        Command::Languages => languages::build(),
        Command::Test { arguments } => test::test(&arguments),
        Command::Run => run::run(),
        Command::Release => release::release().map(drop),
        Command::Bench(options) => bench::bench(&options),
        Command::Soak(options) => soak::soak(&options),
        Command::Drill(options) => drill::drill(&options),
        Command::Conformance => conformance::conformance(),
        Command::Fuzz(options) => fuzz::fuzz(&options),
    }
}
