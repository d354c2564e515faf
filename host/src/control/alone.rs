//! A configuration by itself: what a gateway of it would begin with, for requests that are only explained.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;

use super::plan::{Ground, Plan, Site, versions};
use super::plugins::check_pin;
use crate::balance::{self, Services};
use crate::config::Config;
use crate::gateway::Worker;
use crate::keys::KeySets;
use crate::limit::Tables;
use crate::metrics::Metrics;
use crate::plugin::folder::{Event, Folder};
use crate::plugin::{Engine, Pool, Version};
use crate::tls::Outwards;

/// A worker of a new gateway of this configuration, with the plugins of its folder. It listens nowhere and probes nobody;
/// endpoints are found as ever. A plugin that does not fit is missing, as at any start, and the log says why.
///
/// # Errors
/// The machine does not give what is needed, or a service's certificates are bad.
pub(crate) async fn alone(mut config: Config) -> anyhow::Result<Worker> {
    config.services.values_mut().for_each(|service| service.probe = None);
    let config = Arc::new(config);
    let metrics = Arc::new(Metrics::default());
    let engine = Engine::new(config.plugins.cache.clone(), config.plugins.stack_bytes, Arc::clone(&metrics))?;
    let mut fits = from_folder(&config, &engine);
    let prepared = loop {
        let ground = Ground {
            engine: Arc::clone(&engine),
            keys: Arc::new(KeySets::load(&config.keys, &KeySets::default())),
            workers: 1,
            pool: Arc::new(Pool::new(config.plugins.offload_threads, config.plugins.offload_queue)),
            live: BTreeMap::new(),
        };
        match ground.prepare(&config, versions(&config, |name| fits.get(name).cloned())).await {
            Ok(prepared) => break prepared,
            Err(fault) => {
                tracing::error!(plugin = &*fault.plugin, reason = %fault.fault, "plugin rejected");
                fits.remove(&fault.plugin);
            }
        }
    };
    let services = Services::new(Handle::current()).apply(&config.services, Instant::now());
    balance::first_answers(&services).await;
    let outwards = Arc::new(Outwards::load(&config.services, &Outwards::default())?);
    let plan = Plan::new(config, prepared.uses, services, &Tables::new(), (Arc::default(), outwards));
    let mut site = Site::new(0, Arc::clone(&metrics));
    let instances = prepared.instances.into_iter().filter_map(|(name, mut list)| Some((name, list.pop()?))).collect();
    let gateway = Rc::new(site.build(&plan, instances));
    Ok(Worker::new(0, gateway, Rc::clone(&site.pools), metrics, Arc::default()))
}

/// The plugins that the configuration names, as far as their files are some.
fn from_folder(config: &Config, engine: &Engine) -> BTreeMap<Arc<str>, Arc<Version>> {
    let mut fits = BTreeMap::new();
    for event in Folder::new(&config.plugins).scan_now() {
        let (name, loaded) = match event {
            Event::Seen { name, bytes, digest, .. } if super::uses(config).any(|(_, used)| used.plugin == name) => {
                let loaded = engine.load(Arc::clone(&name), bytes, digest).map_err(|fault| fault.to_string());
                (name, loaded.and_then(|version| check_pin(config, &version).map(|()| version)))
            }
            Event::Refused { name, reason } => (name, Err(reason.to_string())),
            _ => continue,
        };
        match loaded {
            Ok(version) => drop(fits.insert(name, Arc::new(version))),
            Err(reason) => tracing::error!(plugin = &*name, reason, "plugin rejected"),
        }
    }
    fits
}
