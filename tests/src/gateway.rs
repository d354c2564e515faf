//! A gateway that runs in this process, on the product's own code.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use gatewright::control::{self, Running};
use serde_json::Value;
use tempfile::TempDir;

use crate::call::Call;
use crate::connection::Connection;
use crate::plugins::sha256;
use crate::raw::Raw;
use crate::setup::{Place, Setup, Voice, complete, config_file, setup};
use crate::time::looked;
use crate::until;

/// A gateway that runs; it stops when this is dropped.
pub struct Gateway {
    /// Where clients come in.
    pub address: SocketAddr,
    /// All the places where clients come in; the first is `address`.
    pub addresses: Vec<SocketAddr>,
    /// Where clients come in with TLS, if they do.
    pub tls: Option<SocketAddr>,
    /// Where operators look in.
    pub admin: SocketAddr,
    folder: TempDir,
    places: Vec<Place>,
    running: Option<Running>,
    _place: crate::setup::Running,
}

/// What the admin API says of a plugin.
#[derive(Clone, Debug)]
pub struct PluginState {
    /// `live`, `failed`, `waiting` or `unused`.
    pub state: String,
    /// The digest of the version that serves.
    pub digest: Option<String>,
    /// Why the newest file does not.
    pub fault: Option<String>,
    /// All of it.
    pub json: Value,
}

/// Starts a gateway with these endpoints and this configuration, which [`setup`] completes.
///
/// # Panics
/// It does not start.
#[must_use]
pub fn gateway<P: Into<Place>>(places: impl IntoIterator<Item = P>, text: &str) -> Gateway {
    places.into_iter().fold(setup(text), Setup::to).start()
}

impl Gateway {
    pub(crate) fn start(folder: TempDir, places: Vec<Place>) -> Self {
        let place = crate::setup::Running::wait();
        let running = control::start(&config_file(folder.path())).unwrap_or_else(|fault| panic!("{fault}"));
        let addresses = running.addresses.clone();
        let tls = running.tls_addresses.first().copied();
        let (address, admin) = (addresses[0], running.admin.expect("an admin listener"));
        Self { address, addresses, tls, admin, folder, places, running: Some(running), _place: place }
    }

    // ---- What clients do. ----

    /// A `GET` on a connection of its own.
    pub fn get(&self, target: &str) -> Call {
        self.call("GET", target)
    }

    /// A `POST` on a connection of its own.
    pub fn post(&self, target: &str) -> Call {
        self.call("POST", target)
    }

    /// A request with this method on a connection of its own.
    pub fn call(&self, method: &str, target: &str) -> Call {
        Call::to(self.address, method, target)
    }

    /// A `GET` that comes in at this place.
    pub fn get_at(&self, address: SocketAddr, target: &str) -> Call {
        Call::to(address, "GET", target)
    }

    /// A connection over HTTP/1.1 that is kept.
    pub async fn http1(&self) -> Connection {
        Connection::http1(self.address, None).await
    }

    /// A connection over HTTP/2 with prior knowledge.
    pub async fn http2(&self) -> Connection {
        Connection::http2(self.address).await
    }

    /// A connection for bytes of the test's own.
    pub async fn raw(&self) -> Raw {
        Raw::connect(self.address).await
    }

    // ---- What operators do. ----

    /// What the admin listener answers.
    pub fn admin(&self, target: &str) -> Call {
        Call::to(self.admin, "GET", target)
    }

    /// Has all remembered verdicts forgotten.
    pub async fn forget(&self) {
        Call::to(self.admin, "DELETE", "/remembered").await.is(200);
    }

    /// A file beside the configuration.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file beside the configuration, in one step.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let draft = self.file(&format!(".draft-{}", number()));
        std::fs::write(&draft, bytes).unwrap();
        std::fs::rename(draft, self.file(name)).unwrap();
    }

    /// Writes another configuration, completed like the first; it may take a moment until it is in force.
    pub fn edit(&self, text: &str) {
        self.write("gateway.toml", complete(text, &self.places, Voice::Quiet).to_string());
    }

    /// Another configuration comes into force.
    ///
    /// # Panics
    /// It does not.
    pub async fn configure(&self, text: &str) {
        self.reload(text, "applied").await;
    }

    /// Another configuration is rejected.
    ///
    /// # Panics
    /// It is not.
    pub async fn misconfigure(&self, text: &str) {
        self.reload(text, "rejected").await;
    }

    async fn reload(&self, text: &str, outcome: &str) {
        let sample = format!("gatewright_reloads_total{{outcome=\"{outcome}\"}}");
        let before = self.metric(&sample).await;
        self.edit(text);
        self.metric_is(&sample, |now| now > before).await;
    }

    /// Drops a plugin into the folder, in one step.
    pub fn drop_in(&self, name: &str, bytes: &[u8]) {
        let draft = self.file("plugins").join(format!(".draft-{}", number()));
        std::fs::write(&draft, bytes).unwrap();
        std::fs::rename(draft, self.plugin_file(name)).unwrap();
    }

    /// Drops a plugin into the folder and waits until it serves.
    ///
    /// # Panics
    /// It does not.
    pub async fn swap_in(&self, name: &str, bytes: &[u8]) {
        self.drop_in(name, bytes);
        self.serves(name, bytes).await;
    }

    /// A plugin's file.
    #[must_use]
    pub fn plugin_file(&self, name: &str) -> PathBuf {
        self.file("plugins").join(format!("{name}.wasm"))
    }

    /// Waits until this version of a plugin serves.
    ///
    /// # Panics
    /// It does not.
    pub async fn serves(&self, name: &str, bytes: &[u8]) {
        let digest = sha256(bytes);
        self.plugin(name, |plugin| plugin.digest.as_ref() == Some(&digest) && plugin.fault.is_none()).await;
    }

    /// Waits until a plugin is like this, and answers what the admin API says of it.
    ///
    /// # Panics
    /// It does not become so.
    pub async fn plugin(&self, name: &str, like: impl Fn(&PluginState) -> bool) -> PluginState {
        let mut last = Value::Null;
        let seen = looked(async || {
            last = self.admin("/plugins").await.is(200).json();
            let state = PluginState::of(last.get(name)?)?;
            like(&state).then_some(state)
        });
        seen.await.unwrap_or_else(|| panic!("plugin {name} is not so: {last}"))
    }

    /// Waits until a plugin's newest file is rejected, and answers why.
    ///
    /// # Panics
    /// It is not.
    pub async fn rejects(&self, name: &str) -> String {
        self.plugin(name, |plugin| plugin.fault.is_some()).await.fault.expect("a fault")
    }

    /// What `/services` says of a service.
    ///
    /// # Panics
    /// There is no such service.
    pub async fn service(&self, name: &str) -> Value {
        let services = self.admin("/services").await.is(200).json();
        let found = services.as_array().unwrap().iter().find(|service| service["name"] == name).cloned();
        found.unwrap_or_else(|| panic!("{name}: {services}"))
    }

    /// Waits until an endpoint of a service is in this state.
    ///
    /// # Panics
    /// It does not become so.
    pub async fn endpoint_is(&self, service: &str, address: SocketAddr, state: &str) {
        let what = format!("endpoint {address} is {state}");
        until(&what, async || {
            let service = self.service(service).await;
            let mut endpoints = service["endpoints"].as_array().unwrap().iter();
            endpoints.any(|one| one["address"] == address.to_string() && one["state"] == state).then_some(())
        })
        .await;
    }

    /// The whole of `/metrics`.
    pub async fn metrics(&self) -> String {
        self.admin("/metrics").await.is(200).text()
    }

    /// One sample of `/metrics`, by its name and labels as they are written; 0: there is none.
    ///
    /// # Panics
    /// It is no number.
    pub async fn metric(&self, sample: &str) -> f64 {
        self.admin("/metrics").await.is(200).sample(sample)
    }

    /// Waits until a sample is like this.
    ///
    /// # Panics
    /// It does not become so.
    pub async fn metric_is(&self, sample: &str, like: impl Fn(f64) -> bool) {
        until(sample, async || like(self.metric(sample).await).then_some(())).await;
    }

    /// Stops it, and comes back when it has ended.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end();
    }
}

impl PluginState {
    fn of(json: &Value) -> Option<Self> {
        let text = |key: &str| json[key].as_str().map(str::to_owned);
        Some(Self { state: text("state")?, digest: text("digest"), fault: text("fault"), json: json.clone() })
    }

    /// A number of it.
    ///
    /// # Panics
    /// It has none of this name.
    #[must_use]
    pub fn number(&self, key: &str) -> u64 {
        self.json[key].as_u64().unwrap_or_else(|| panic!("{key}: {}", self.json))
    }
}

fn number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    NUMBER.fetch_add(1, Relaxed)
}
