//! What is wrong with a configuration, and what it needs that is not there.

use std::path::Path;
use std::process::ExitCode;

use super::configuration;
use crate::config::{self, Config, Endpoints};
use crate::control::uses;
use crate::keys::KeySets;
use crate::tls::{Outwards, Tls};

/// Prints every fault of a configuration, and warns of what it needs and does not find: that may be there when it runs.
#[must_use]
pub fn check(file: &Path) -> ExitCode {
    match checked(file) {
        Ok(config) => {
            for what in missing(&config) {
                eprintln!("{}: warning: {what}", file.display());
            }
            println!("{}: good ({} APIs, {} services)", file.display(), config.apis.len(), config.services.len());
            ExitCode::SUCCESS
        }
        Err(faults) => {
            eprintln!("{faults:#}");
            ExitCode::FAILURE
        }
    }
}

fn checked(file: &Path) -> anyhow::Result<Config> {
    let config = configuration(file)?;
    if let Some(settings) = &config.server.tls {
        Tls::load(settings, None).map_err(|fault| anyhow::anyhow!("{}: `server.tls`: {fault}", file.display()))?;
    }
    Outwards::load(&config.services, &Outwards::default())
        .map_err(|fault| anyhow::anyhow!("{}: `service`: {fault}", file.display()))?;
    Ok(config)
}

/// What requests would be refused for the lack of.
fn missing(config: &Config) -> Vec<String> {
    let mut missing = Vec::new();
    for keys in KeySets::load(&config.keys, &KeySets::default()).iter() {
        let state = keys.state();
        missing.extend(state.fault.map(|fault| format!("`keys.{}`: {fault}", state.name)));
    }
    for (name, service) in &config.services {
        if let Endpoints::File(file) = &service.endpoints {
            let faults = config::endpoints(file, name).err().unwrap_or_default();
            missing.extend(faults.iter().map(|fault| format!("`service.{name}.endpoints_file`: {fault}")));
        }
    }
    let mut plugins: Vec<_> = uses(config).map(|(_, used)| &used.plugin).collect();
    plugins.sort_unstable();
    plugins.dedup();
    for plugin in plugins {
        let file = config.plugins.folder.join(format!("{plugin}.wasm"));
        if !file.is_file() {
            missing.push(format!("plugin {plugin}: there is no {}", file.display()));
        }
    }
    if config.apis.is_empty() {
        missing.push("there is no `[[api]]`: every request is answered 404".into());
    }
    missing
}
