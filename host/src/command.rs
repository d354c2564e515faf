//! For whoever writes plugins: one file is looked at, or tried with one request, by the host's own code and without a
//! gateway around it. For whoever runs a gateway: one request is explained.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use self::report::Report;
use crate::config::{self, Config};
use crate::control;
use crate::keys::KeySets;
use crate::plugin::{Engine, Instance, Use, UseFault, UseName, Version};

mod check;
mod explain;
mod inspect;
mod report;
mod trial;
mod r#try;

pub use check::check;
pub use explain::Explain;
pub use inspect::Inspect;
pub use r#try::Try;

/// A file that is, or is to be, a plugin.
#[derive(Debug, clap::Args)]
struct PluginFile {
    /// The plugin: a WebAssembly component.
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// The name under which the configuration knows it. Default: the file's, without `.wasm`.
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
}

impl PluginFile {
    fn name(&self) -> Arc<str> {
        match &self.plugin {
            Some(name) => name.as_str().into(),
            None => self.file.file_stem().unwrap_or_default().to_string_lossy().into(),
        }
    }
}

impl fmt::Display for PluginFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.display().fmt(f)
    }
}

/// A plugin, compiled and checked.
struct Loaded {
    engine: Arc<Engine>,
    version: Arc<Version>,
}

/// A use that could serve.
struct Ready {
    shared: Arc<Use>,
    instance: Instance,
    /// What starting and configuring the instance took.
    took: Duration,
}

impl Loaded {
    /// Takes a file as a gateway of this configuration would.
    fn load(file: &PluginFile, config: Option<&Config>) -> anyhow::Result<Self> {
        Self::take(file, config).with_context(|| file.to_string())
    }

    fn take(file: &PluginFile, config: Option<&Config>) -> anyhow::Result<Self> {
        let bytes = std::fs::read(&file.file)?;
        if let Some(most) = config.map(|config| config.plugins.file_bytes).filter(|most| bytes.len() as u64 > *most) {
            bail!("{} bytes, and `plugins.file_bytes` is {most}", bytes.len());
        }
        let plugins = config.map(|config| &config.plugins);
        let cache = plugins.and_then(|plugins| plugins.cache.clone());
        let stack_bytes = plugins.map_or(config::Plugins::STACK_BYTES, |plugins| plugins.stack_bytes);
        let engine = Engine::new(cache, stack_bytes, Arc::default())?;
        let digest = Sha256::digest(&bytes).into();
        let version = engine.load(file.name(), bytes.into(), digest)?;
        if let Some(config) = config {
            control::check_pin(config, &version).map_err(anyhow::Error::msg)?;
        }
        Ok(Self { engine, version: Arc::new(version) })
    }

    /// The uses of it in a configuration.
    fn uses<'a>(&'a self, config: &'a Config) -> impl Iterator<Item = (UseName, &'a config::Use)> {
        control::uses(config).filter(|(_, used)| used.plugin == self.version.name)
    }

    /// What the configuration allows it.
    fn allowed(&self, config: &Config) -> config::Plugin {
        config.plugin.get(&self.version.name).cloned().unwrap_or_default()
    }

    /// Makes it ready for a use, with the key sets that it was granted.
    fn prepare(
        &self,
        config: &Config,
        name: UseName,
        used: &config::Use,
        allowed: &config::Plugin,
    ) -> Result<Ready, UseFault> {
        let sources = config.keys.iter().filter(|(name, _)| allowed.keys.contains(*name));
        let sources = sources.map(|(name, source)| (Arc::clone(name), source.clone())).collect();
        let sets = KeySets::load(&sources, &KeySets::default());
        let keys = Arc::new(sets.iter().map(|set| (Arc::clone(set.name()), Arc::clone(set))).collect());
        let before = Instant::now();
        let (shared, instances) = Use::prepare(&self.engine, &self.version, name, used, allowed, keys, 1)?;
        let instance = instances.into_iter().next().expect("as many instances as were asked for");
        Ok(Ready { shared, instance, took: before.elapsed() })
    }
}

/// Reads a configuration, or says all its faults.
fn configuration(file: &Path) -> anyhow::Result<Config> {
    let all = |faults: Vec<config::Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    Config::load(file).map_err(|faults| anyhow::Error::msg(all(faults)))
}

/// The text of a request: a file's, or where that is `-` what comes by standard input.
fn read_request(file: &Path) -> std::io::Result<Vec<u8>> {
    if file != "-" {
        return std::fs::read(file);
    }
    let mut text = Vec::new();
    std::io::stdin().lock().read_to_end(&mut text)?;
    Ok(text)
}

/// Shows on standard error what plugins log, and what is wrong with key sets.
fn show_log() {
    let shown = "plugin=debug,gatewright::keys=warn,gatewright::plugin::engine=warn,gatewright::control=warn,gatewright::balance=warn";
    let log = tracing_subscriber::fmt().with_env_filter(shown).with_writer(std::io::stderr);
    // Where the process logs already, it goes on as it does.
    let _ = log.without_time().with_target(false).with_ansi(false).try_init();
}

/// Writes to standard output; whoever closed it wants no more.
fn print(report: &Report) {
    let _ = std::io::stdout().write_all(report.text().as_bytes());
}
