//! The start and the end: threads, listeners and signals.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::plan::{uses, versions};
use super::plugins::{Plugin, check_pin};
use super::worker::{self, Start};
use super::{Change, Control, status};
use crate::admin::{self, Desk};
use crate::balance::Services;
use crate::config::{Config, Fault};
use crate::files;
use crate::gateway::Asker;
use crate::keys::KeySets;
use crate::limit::Tables;
use crate::metrics::Metrics;
use crate::plugin::folder::{self, Event, Folder};
use crate::plugin::{Compiler, Engine, LoadFault, Pool, STACK_BYTES, Source, Version};
use crate::server::{self, Inbox, Listener, Terms};
use crate::tls::{Outwards, Tls, TlsFault};

/// A start that takes longer says why.
const NOTICE: Duration = Duration::from_secs(1);

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The configuration has faults.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Config(Vec<Fault>),
    /// A listener cannot be bound.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// Certificates or keys are bad.
    #[error("cannot start with these certificates: {0}")]
    Tls(#[from] TlsFault),
    /// The machine does not give what is needed.
    #[error("cannot start: {0:#}")]
    Machine(anyhow::Error),
}

/// A gateway that runs. Dropping it without [`Running::stop`] leaves it running.
pub struct Running {
    /// Where clients come in, with the ports that were bound.
    pub addresses: Vec<SocketAddr>,
    /// Where clients come in with TLS.
    pub tls_addresses: Vec<SocketAddr>,
    /// Where operators look in.
    pub admin: Option<SocketAddr>,
    announced: Arc<AtomicBool>,
    strings: Strings,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// What a gateway that runs is led by.
struct Strings {
    changes: mpsc::UnboundedSender<Change>,
    terms: watch::Receiver<Terms>,
}

impl Running {
    /// Has the configuration's file read again, even if it did not change: what it names may have.
    pub fn reload(&self) {
        // It may have ended.
        let _ = self.strings.changes.send(Change::Again);
    }

    /// How long it should go on after [`Running::announce_stop`].
    #[must_use]
    pub fn linger(&self) -> Duration {
        self.strings.terms.borrow().linger
    }

    /// Lets `/readyz` fail, so that load balancers send no more connections, and goes on as before.
    pub fn announce_stop(&self) {
        self.announced.store(true, Relaxed);
    }

    /// Stops accepting, lets requests in flight end within the configured time, and returns when all threads have ended.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Starts the gateway of a configuration's file, and returns when it serves.
///
/// # Errors
/// The configuration has faults, or the machine does not give what is needed.
pub fn start(file: &Path) -> Result<Running, StartFault> {
    let config = Config::load(file).map_err(StartFault::Config)?;
    crate::log::start(&config.log);
    let machine = |fault: std::io::Error| StartFault::Machine(fault.into());
    let bound = |address: SocketAddr| server::bind(address).map_err(|fault| StartFault::Listen(address, fault));
    let tls = config.server.tls.as_ref();
    let listed = config.server.listen.iter().map(|address| (*address, false));
    let listed = listed.chain(tls.into_iter().flat_map(|tls| &tls.listen).map(|address| (*address, true)));
    let tls = tls.map(|settings| Tls::load(settings, None)).transpose()?.map(Arc::new);
    let outwards = Arc::new(Outwards::load(&config.services, &Outwards::default())?);
    let mut passed = passed()?;
    let mut listeners = Vec::new();
    let (mut addresses, mut tls_addresses) = (Vec::new(), Vec::new());
    for (address, tls) in listed {
        let socket = match passed.iter().position(|socket| socket.local_addr().is_ok_and(|known| known == address)) {
            Some(at) => passed.swap_remove(at),
            None => bound(address)?,
        };
        let list = if tls { &mut tls_addresses } else { &mut addresses };
        list.push(socket.local_addr().map_err(machine)?);
        listeners.push(Listener { socket, tls });
    }
    for address in passed.iter().filter_map(|socket| socket.local_addr().ok()) {
        tracing::warn!(%address, "a socket was passed that no `listen` names: nobody answers on it");
    }
    let desk = config.admin.map(bound).transpose()?;
    let admin = desk.as_ref().map(std::net::TcpListener::local_addr).transpose().map_err(machine)?;
    let (stop, stopped) = watch::channel(false);
    let (ready, is_ready) = std::sync::mpsc::channel();
    let stopping = Arc::new(AtomicBool::new(false));
    let announced = Arc::clone(&stopping);
    let file = file.to_path_buf();
    let control = std::thread::Builder::new().name("control".into()).spawn(move || {
        let house = House { file, config: Arc::new(config), listeners, tls, outwards, stopping, desk, stopped };
        if let Err(fault) = house.run(&ready) {
            // Where the start has failed already, it has been told.
            let _ = ready.send(Err(fault));
        }
    });
    let control = control.map_err(machine)?;
    match is_ready.recv() {
        Ok(Ok(strings)) => {
            Ok(Running { addresses, tls_addresses, admin, announced, strings, stop, threads: vec![control] })
        }
        Ok(Err(fault)) => Err(StartFault::Machine(fault)),
        Err(_) => Err(StartFault::Machine(anyhow::anyhow!("the control thread ended"))),
    }
}

/// Sockets that whoever started us listens on already (systemd's socket activation, sd_listen_fds(3)): a replacement that gets
/// the same ones loses no connection.
fn passed() -> Result<Vec<std::net::TcpListener>, StartFault> {
    let machine = |fault: std::io::Error| StartFault::Machine(fault.into());
    let mut given = listenfd::ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..given.len() {
        let socket = given.take_tcp_listener(index).map_err(machine)?;
        if let Some(socket) = socket {
            socket.set_nonblocking(true).map_err(machine)?;
            sockets.push(socket);
        }
    }
    Ok(sockets)
}

/// Everything that is there before the first request.
struct House {
    file: PathBuf,
    config: Arc<Config>,
    listeners: Vec<Listener>,
    tls: Option<Arc<Tls>>,
    outwards: Arc<Outwards>,
    stopping: Arc<AtomicBool>,
    desk: Option<std::net::TcpListener>,
    stopped: watch::Receiver<bool>,
}

impl House {
    fn run(self, ready: &std::sync::mpsc::Sender<anyhow::Result<Strings>>) -> anyhow::Result<()> {
        // Plugins are configured on threads of its own.
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().thread_stack_size(STACK_BYTES).build()?;
        runtime.block_on(self.live(ready))
    }

    async fn live(self, ready: &std::sync::mpsc::Sender<anyhow::Result<Strings>>) -> anyhow::Result<()> {
        let Self { file, config, listeners, tls, outwards, stopping, desk, stopped } = self;
        let metrics = Arc::new(Metrics::default());
        let engine = Engine::new(config.plugins.cache.clone(), config.plugins.stack_bytes, Arc::clone(&metrics))?;
        let (changes, mut inbox) = mpsc::unbounded_channel();
        let to = changes.clone();
        // Nobody listens any more where the gateway stops.
        let loaded = move |loaded| drop(to.send(Change::Loaded(loaded)));
        let compiler = Compiler::start(Arc::clone(&engine), config.plugins.compile_time, loaded)?;
        let to = changes.clone();
        engine.on_suspension(move |used| {
            let (used, digest) = (used.name.clone(), used.version.digest);
            let _ = to.send(Change::Suspended { used, digest });
        });
        let mut folder = Folder::new(&config.plugins);
        let first = folder.scan_now();
        let (terms, terms_receiver) = watch::channel(Terms::new(&config.server, tls.clone()));
        let mut control = Control {
            text: std::fs::read(&file).ok(),
            pending: None,
            tables: Tables::new(),
            services: Arc::new(Services::new(tokio::runtime::Handle::current())),
            keys: Arc::new(KeySets::load(&config.keys, &KeySets::default())),
            key_watch: None,
            tls,
            tls_watch: None,
            outwards,
            outward_watch: None,
            plugins: BTreeMap::new(),
            uses: BTreeMap::new(),
            workers: Vec::new(),
            terms,
            held: Arc::default(),
            metrics: Arc::clone(&metrics),
            status: Arc::default(),
            file: file.clone(),
            config: Arc::clone(&config),
            engine,
            compiler,
            pool: Arc::new(Pool::new(config.plugins.offload_threads, config.plugins.offload_queue)),
            crowded: BTreeSet::new(),
            folder_watch: None,
        };
        let (mut inboxes, mut workers) = (Vec::new(), Vec::new());
        let (asker, questions) = Asker::new();
        let mut questions = Some(questions);
        for index in 0..config.server.workers {
            let (inbox, connections) = Inbox::new();
            let (updates, receiver) = mpsc::unbounded_channel();
            inboxes.push(inbox);
            control.workers.push(updates);
            workers.push(worker::spawn(Start {
                index,
                connections,
                updates: receiver,
                questions: questions.take(),
                terms: terms_receiver.clone(),
                metrics: Arc::clone(&metrics),
                leaving: Arc::clone(&stopping),
            })?);
        }
        control.first(first, &mut inbox).await;
        control.watch_files();
        if let Some(desk) = desk {
            let (status, services) = (Arc::clone(&control.status), Arc::clone(&control.services));
            let (engine, stopping) = (Arc::clone(&control.engine), Arc::clone(&stopping));
            let desk_of = Desk::new(&metrics, status, services, engine, stopping, asker);
            tokio::spawn(admin::serve(tokio::net::TcpListener::from_std(desk)?, desk_of));
        }
        let house = server::House { inboxes, metrics, terms: terms_receiver.clone() };
        let acceptor = acceptor(listeners, house, stopped.clone())?;
        let to = changes.clone();
        control.folder_watch = Some(folder::watch(folder, move |event| drop(to.send(Change::Folder(event))))?);
        control.again();
        let (to, files) = (changes.clone(), move || vec![file.clone()]);
        let _file = files::watch("config-watch", files, move || drop(to.send(Change::Config)))?;
        tokio::spawn(stop_on(stopped, stopping, changes.clone()));
        // Whoever started us waits for it.
        let _ = ready.send(Ok(Strings { changes, terms: terms_receiver }));
        control.work(inbox).await;
        for thread in workers.into_iter().chain([acceptor]) {
            // The admin listener goes on answering while requests in flight end.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        Ok(())
    }
}

/// Tells the control loop that the operator wants to stop.
async fn stop_on(
    mut stopped: watch::Receiver<bool>,
    stopping: Arc<AtomicBool>,
    changes: mpsc::UnboundedSender<Change>,
) {
    // The sender is dropped only where the process ends.
    let _ = stopped.wait_for(|stopped| *stopped).await;
    stopping.store(true, Relaxed);
    let _ = changes.send(Change::Stop);
}

fn acceptor(
    listeners: Vec<Listener>,
    house: server::House,
    stop: watch::Receiver<bool>,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("accept".into()).spawn(move || {
        if let Err(fault) = runtime.block_on(server::accept(listeners, house, stop)) {
            tracing::error!(reason = %fault, "accepting ended");
        }
    })
}

impl Control {
    /// Loads what the folder has at the start and makes the first plan. A plugin that fails, or takes too long to compile, is
    /// missing: its APIs answer 503 until it or a better one is there.
    async fn first(&mut self, events: Vec<Event>, inbox: &mut mpsc::UnboundedReceiver<Change>) {
        let mut fits = self.first_versions(events, inbox).await;
        let config = Arc::clone(&self.config);
        let prepared = loop {
            let chosen = versions(&config, |name| fits.get(name).cloned());
            match self.ground(&self.keys).prepare(&config, chosen).await {
                Ok(prepared) => break prepared,
                Err(fault) => {
                    let version = fits.remove(&fault.plugin);
                    self.reject(
                        &fault.plugin,
                        version.as_ref().map(|version| version.digest),
                        &fault.fault.to_string(),
                    );
                    self.plugins.entry(fault.plugin).or_default().candidate = version;
                }
            }
        };
        for (name, version) in fits {
            let plugin = self.plugins.entry(name).or_default();
            *plugin = Plugin {
                newest: Some(version.digest),
                live: Some(Arc::clone(&version)),
                since: Some(status::unix_seconds()),
                versions: 1,
                ..Plugin::default()
            };
            plugin.note(Some(version.hex()), "live", None);
        }
        for (name, used) in uses(&config).filter(|(name, _)| !prepared.uses.contains_key(name)) {
            tracing::warn!(plugin = &*used.plugin, r#use = %name, "plugin is missing: its API answers 503 until it is there");
        }
        self.publish(config, prepared).await;
        self.tell();
    }

    /// The versions of the folder's files at the start, as far as they are there in time: the others are changes later.
    async fn first_versions(
        &mut self,
        events: Vec<Event>,
        inbox: &mut mpsc::UnboundedReceiver<Change>,
    ) -> BTreeMap<Arc<str>, Arc<Version>> {
        let until = Instant::now() + self.config.plugins.compile_time;
        let mut loading = BTreeSet::new();
        for event in events {
            let Event::Seen { name, bytes, digest, noticed } = event else {
                self.folder(event).await;
                continue;
            };
            self.plugins.entry(Arc::clone(&name)).or_default().newest = Some(digest);
            loading.insert(Arc::clone(&name));
            self.compiler.load(Source { name, bytes, digest, noticed });
        }
        let mut fits = BTreeMap::new();
        let mut notice = Some(Instant::now() + NOTICE);
        while !loading.is_empty() {
            let wake = notice.map_or(until, |notice| notice.min(until));
            let Ok(change) = tokio::time::timeout_at(wake.into(), inbox.recv()).await else {
                let plugins = loading.iter().map(|name| &**name).collect::<Vec<_>>().join(", ");
                if notice.take().is_some() && Instant::now() < until {
                    tracing::info!(plugins, "plugins are being compiled before the gateway serves");
                    continue;
                }
                tracing::warn!(plugins, "starting without plugins that are still being compiled");
                break;
            };
            // Nothing else can change before the start is over.
            let Some(Change::Loaded(loaded)) = change else { continue };
            if self.plugins.get(&loaded.name).is_none_or(|plugin| plugin.newest != Some(loaded.digest)) {
                continue;
            }
            loading.remove(&loaded.name);
            if matches!(loaded.version, Err(LoadFault::Crowd)) {
                self.crowded.insert(Arc::clone(&loaded.name));
            }
            let version = loaded.version.map_err(|fault| fault.to_string());
            match version.and_then(|version| check_pin(&self.config, &version).map(|()| version)) {
                Ok(version) => drop(fits.insert(loaded.name, version)),
                Err(fault) => self.reject(&loaded.name, Some(loaded.digest), &fault),
            }
        }
        fits
    }
}
