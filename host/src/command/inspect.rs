//! What a plugin is, what it needs, and what it declares for each use.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use super::report::{Report, bytes, input, time};
use super::{Loaded, PluginFile, configuration, print, show_log};
use crate::config::Config;
use crate::plugin::{BodyInput, Declaration, Version};

/// What `gatewright inspect` is given.
#[derive(Debug, clap::Args)]
pub struct Inspect {
    #[command(flatten)]
    plugin: PluginFile,
    /// A configuration, in TOML: each use of the plugin in it is configured, and what the plugin declares is shown.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Inspect {
    /// Prints what the file is. The exit status says whether it is a plugin, and one that fits the configuration.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        show_log();
        let mut report = Report::default();
        let outcome = self.report(&mut report);
        print(&report);
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(fault) => {
                eprintln!("{fault:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn report(&self, report: &mut Report) -> anyhow::Result<()> {
        let config = self.config.as_deref().map(configuration).transpose()?;
        let loaded = Loaded::load(&self.plugin, config.as_ref())?;
        let stages: Vec<&str> = loaded.version.stages().iter().map(|stage| stage.name()).collect();
        report.line(&format!("{}: a plugin for {}", self.plugin, stages.join(", ")));
        describe(&loaded.version, report);
        match &config {
            Some(config) => uses(&loaded, config, report).with_context(|| self.plugin.to_string()),
            None => Ok(()),
        }
    }
}

/// What the file says by itself.
fn describe(version: &Version, report: &mut Report) {
    report.list("contract", version.contracts());
    let (wasi, own): (Vec<_>, Vec<_>) = version.imports().iter().partition(|import| import.starts_with("wasi:"));
    report.list("imports", own.into_iter().map(|import| interface(import)));
    if !wasi.is_empty() {
        report.row("wasi", format!("{} interfaces, with nothing behind them", wasi.len()));
    }
    for import in version.grants() {
        let (grant, name) = (interface(import), &version.name);
        report.row("needs", format!("a grant of `{grant}`: the key sets that it may use, in `plugin.{name}.keys`"));
    }
    report.row("size", format!("{} ({} bytes)", bytes(version.bytes), version.bytes));
    report.row("sha256", version.hex());
}

/// An imported interface's bare name.
fn interface(import: &str) -> &str {
    let name = import.split('@').next().unwrap_or(import);
    name.rsplit('/').next().unwrap_or(name)
}

/// What the plugin declares for each use; the first that cannot be configured ends it.
fn uses(loaded: &Loaded, config: &Config, report: &mut Report) -> anyhow::Result<()> {
    let allowed = loaded.allowed(config);
    let mut uses = loaded.uses(config).peekable();
    if uses.peek().is_none() {
        report.line("");
        report.line(&format!("no API of the configuration uses `{}`", loaded.version.name));
    }
    for (name, used) in uses {
        report.line("");
        report.line(&format!("{name}:"));
        let ready = loaded.prepare(config, name, used, &allowed)?;
        declared(&ready.shared.declaration, report);
        let memory = ready.instance.memory_bytes();
        report.row("memory", format!("{} of {}", bytes(memory), bytes(allowed.memory_bytes)));
        report.row("configured", format!("in {}", time(ready.took)));
    }
    Ok(())
}

fn declared(declaration: &Declaration, report: &mut Report) {
    let Declaration { inputs, body, all_headers, identity, challenges, remember_ms } = declaration;
    let all = all_headers.then(|| "all header fields".to_owned());
    report.list("inputs", inputs.iter().map(input).chain(all));
    report.row("body", body.as_ref().map(bodies).unwrap_or_default());
    report.list("identity", identity);
    report.row("challenges", challenges.join("\n"));
    match remember_ms {
        None => {}
        Some(u32::MAX) => report.row("remembered", "as long as the configuration allows"),
        Some(most) => report.row("remembered", format!("at most {}", time(Duration::from_millis((*most).into())))),
    }
}

fn bodies(body: &BodyInput) -> String {
    let types = match body.media_types.is_empty() {
        true => "any type".to_owned(),
        false => body.media_types.join(", "),
    };
    let others = if body.pass_others { "others pass unseen" } else { "others are 415" };
    format!("{types}; at most {}; {others}", bytes(body.most_bytes))
}
