//! What is live, and how it changes: the configuration, the plugin folder and the key sets, each change a transaction off the
//! path. Any failure leaves what was live before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use crate::balance::{self, Services};
use crate::config::{self, Config};
use crate::files;
use crate::keys::{self, KeySets};
use crate::limit::Tables;
use crate::metrics::Metrics;
use crate::plugin::folder::{Event as FolderEvent, Watch as FolderWatch};
use crate::plugin::{Compiler, Engine, Instance, Loaded, Pool, Use, UseName};
use crate::server::Terms;
use crate::tls::{Outwards, Tls};

mod alone;
mod plan;
mod plugins;
mod probation;
mod run;
mod status;
mod worker;

pub use run::{Running, StartFault, start};
pub use status::{PluginStatus, Status, UseStatus};

pub(crate) use alone::alone;
pub(crate) use plan::uses;
use plan::{Ground, Plan, PlanFault, Prepared, versions};
use plugins::Plugin;
pub(crate) use plugins::check_pin;
use probation::sleep_until;

/// Something that may change what is live.
enum Change {
    /// In the plugin folder.
    Folder(FolderEvent),
    /// A file was made a version, or is none.
    Loaded(Loaded),
    /// A use of this version was suspended.
    Suspended { used: UseName, digest: [u8; 32] },
    /// The configuration's file may be another.
    Config,
    /// The operator wants it read again.
    Again,
    /// The operator wants to stop.
    Stop,
}

/// A new plan on its way to one worker.
struct Update {
    plan: Arc<Plan>,
    instances: HashMap<UseName, Instance>,
    /// Dropped when the worker has it.
    _taken: mpsc::Sender<()>,
}

/// The one writer of what is live.
struct Control {
    file: PathBuf,
    text: Option<Vec<u8>>,
    config: Arc<Config>,
    /// A configuration that needs a plugin that is not there yet, or that is another there.
    pending: Option<Arc<Config>>,
    engine: Arc<Engine>,
    compiler: Compiler,
    /// Where the calls of offloaded plugins run.
    pool: Arc<Pool>,
    /// Plugins whose files found too many others waiting to be compiled.
    crowded: BTreeSet<Arc<str>>,
    /// Tells of the plugin folder; none: the start is not over, or failed.
    folder_watch: Option<FolderWatch>,
    tables: Tables,
    services: Arc<Services>,
    keys: Arc<KeySets>,
    /// Reads key files again when they change; none: it could not be started.
    key_watch: Option<files::Watch>,
    tls: Option<Arc<Tls>>,
    tls_watch: Option<files::Watch>,
    outwards: Arc<Outwards>,
    outward_watch: Option<files::Watch>,
    plugins: BTreeMap<Arc<str>, Plugin>,
    uses: BTreeMap<UseName, Arc<Use>>,
    workers: Vec<mpsc::UnboundedSender<Update>>,
    terms: watch::Sender<Terms>,
    held: Arc<std::sync::atomic::AtomicUsize>,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
}

/// Where clients come in with TLS.
fn bound(server: &config::Server) -> Option<&[std::net::SocketAddr]> {
    server.tls.as_ref().map(|tls| &*tls.listen)
}

impl Control {
    /// Works until it is told to stop.
    async fn work(&mut self, mut changes: mpsc::UnboundedReceiver<Change>) {
        loop {
            let change = tokio::select! {
                change = changes.recv() => change,
                () = sleep_until(self.probation_ends()) => {
                    self.end_probations(Instant::now());
                    continue;
                }
            };
            let Some(change) = change else { return };
            match change {
                Change::Folder(event) => self.folder(event).await,
                Change::Loaded(loaded) => {
                    self.loaded(loaded).await;
                    self.again();
                }
                Change::Suspended { used, digest } => self.suspended(&used, digest, Instant::now()).await,
                Change::Config => self.reload(false).await,
                Change::Again => self.reload(true).await,
                Change::Stop => return,
            }
            self.tell();
        }
    }

    /// Reads the configuration's file again; minds it where it has changed, or `anyway`.
    async fn reload(&mut self, anyway: bool) {
        let text = std::fs::read(&self.file).ok();
        if text == self.text && !anyway {
            return;
        }
        self.text = text;
        let config = match Config::load(&self.file) {
            Ok(config) => Arc::new(config),
            Err(faults) => {
                for fault in faults {
                    tracing::error!(fault = %fault, "configuration rejected");
                }
                self.metrics.reload("rejected");
                return;
            }
        };
        self.pending = None;
        match self.try_config(&config).await {
            Ok(()) => {
                self.metrics.reload("applied");
                tracing::info!(file = %self.file.display(), "configuration applied");
            }
            Err(reason) => {
                self.metrics.reload("rejected");
                tracing::error!(file = %self.file.display(), reason, "configuration rejected");
                self.pending = Some(config);
            }
        }
    }

    /// Brings a configuration into force, with candidates in place of live versions that do not fit it.
    async fn try_config(&mut self, config: &Arc<Config>) -> Result<(), String> {
        self.can_go_on(config)?;
        let tls = config.server.tls.as_ref().map(|settings| Tls::load(settings, self.tls.as_deref()));
        let tls = tls.transpose().map_err(|fault| fault.to_string())?.map(Arc::new);
        let outwards = Outwards::load(&config.services, &self.outwards).map_err(|fault| fault.to_string())?;
        let keys = Arc::new(KeySets::load(&config.keys, &self.keys));
        let mut promoted = BTreeSet::new();
        let prepared = loop {
            let choose = |name: &str| {
                let plugin = self.plugins.get(name)?;
                let version = if promoted.contains(name) { &plugin.candidate } else { &plugin.live };
                version.clone().or_else(|| plugin.candidate.clone())
            };
            let versions = versions(config, choose);
            let mut pins = versions.values();
            let tried = match pins.try_for_each(|version| check_pin(config, version).map_err(|fault| (version, fault)))
            {
                Err((version, fault)) => Err((Arc::clone(&version.name), fault)),
                Ok(()) => self
                    .ground(&keys)
                    .prepare(config, versions)
                    .await
                    .map_err(|PlanFault { plugin, fault }| (plugin, fault.to_string())),
            };
            match tried {
                Ok(prepared) => break prepared,
                Err((plugin, fault)) => {
                    let other = self.plugins.get(&plugin).is_some_and(|known| known.candidate.is_some());
                    if !other || !promoted.insert(Arc::clone(&plugin)) {
                        return Err(format!("plugin {plugin}: {fault}"));
                    }
                }
            }
        };
        self.keys = keys;
        self.tls = tls;
        self.outwards = Arc::new(outwards);
        self.watch_files();
        self.publish(Arc::clone(config), prepared).await;
        let serving: BTreeMap<_, _> =
            self.uses.values().map(|used| (used.version.name.clone(), used.version.clone())).collect();
        for (name, version) in serving {
            let live = self.plugins.get(&name).and_then(|plugin| plugin.live.as_ref());
            if live.is_none_or(|live| live.digest != version.digest) {
                self.went_live(&name, &version, Instant::now());
            }
        }
        Ok(())
    }

    /// Whether a configuration changes nothing that was settled at the start.
    fn can_go_on(&self, config: &Config) -> Result<(), String> {
        let (new, old) = (config, &*self.config);
        let settled = [
            ("`server.listen`", new.server.listen == old.server.listen),
            ("`server.workers`", new.server.workers == old.server.workers),
            ("`server.tls.listen`", bound(&new.server) == bound(&old.server)),
            ("`admin`", new.admin == old.admin),
            ("`plugins`", new.plugins == old.plugins),
        ];
        let changed: Vec<&str> = settled.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect();
        match changed.as_slice() {
            [] => Ok(()),
            [one] => Err(format!("{one} takes a restart")),
            more => Err(format!("{} take a restart", more.join(" and "))),
        }
    }

    /// Keys that changed reach the verifiers by themselves, and certificates the next handshake: nothing else has to be built
    /// anew.
    fn watch_files(&mut self) {
        self.tls_watch = self.tls.as_ref().and_then(|tls| {
            tls.watch().inspect_err(|fault| tracing::error!(reason = %fault, "certificates are not watched")).ok()
        });
        let watched = self.outwards.watch();
        self.outward_watch = watched
            .inspect_err(|fault| tracing::error!(reason = %fault, "certificates are not watched"))
            .ok()
            .flatten();
        self.key_watch = keys::watch(Arc::clone(&self.keys), |_| {})
            .inspect_err(|fault| tracing::error!(reason = %fault, "key files are not watched"))
            .ok();
    }

    fn ground(&self, keys: &Arc<KeySets>) -> Ground {
        let (engine, keys) = (Arc::clone(&self.engine), Arc::clone(keys));
        let pool = Arc::clone(&self.pool);
        Ground { engine, keys, workers: self.workers.len(), pool, live: self.uses.clone() }
    }

    /// Hands a plan to every worker, and waits until all have it: from then on no new request begins with the old one.
    async fn publish(&mut self, config: Arc<Config>, prepared: Prepared) {
        let Prepared { uses, mut instances } = prepared;
        self.services.secure(&self.outwards);
        let services = self.services.apply(&config.services, Instant::now());
        balance::first_answers(&services).await;
        let shared = (Arc::clone(&self.held), Arc::clone(&self.outwards));
        let plan = Arc::new(Plan::new(Arc::clone(&config), uses.clone(), services, &self.tables, shared));
        let (taken, mut all_taken) = mpsc::channel(1);
        for worker in &self.workers {
            let instances = instances.iter_mut().filter_map(|(name, list)| Some((name.clone(), list.pop()?))).collect();
            // A worker that is gone takes no requests either.
            let _ = worker.send(Update { plan: Arc::clone(&plan), instances, _taken: taken.clone() });
        }
        drop(taken);
        let _ = all_taken.recv().await;
        // A swap of a plugin changes none of this.
        if !Arc::ptr_eq(&config, &self.config) {
            self.terms.send_replace(Terms::new(&config.server, self.tls.clone()));
            crate::log::set_level(config.log.level);
        }
        self.config = config;
        self.uses = uses;
    }

    /// Lets the admin API see what is now.
    fn tell(&self) {
        let named: BTreeSet<Arc<str>> = uses(&self.config).map(|(_, used)| Arc::clone(&used.plugin)).collect();
        let mut plugins: BTreeMap<Arc<str>, PluginStatus> =
            self.plugins.iter().map(|(name, plugin)| (Arc::clone(name), plugin.status(named.contains(name)))).collect();
        for name in named {
            plugins.entry(name).or_insert_with(|| PluginStatus {
                state: "waiting",
                is_named: true,
                ..PluginStatus::default()
            });
        }
        self.status.set(plugins, self.uses.values().cloned().collect());
    }
}
