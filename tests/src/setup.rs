//! A gateway in the making: a folder with its configuration, its plugins and its secret.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};

use toml::{Table, Value};

use crate::gateway::Gateway;
use crate::plugins::{REFERENCE, reference, target};
use crate::raw::RawUpstream;
use crate::recorder::Recorder;
use crate::upstream::Upstream;

/// What the key set `demo` of every gateway in a test is made of.
pub const SECRET: &str = "a secret that is long enough for any HMAC, 0123456789abcdef";
/// The file that holds it.
const SECRET_FILE: &str = "demo.secret";
/// Gateways that run at one time: each reserves terabytes of addresses for its plugins' memories.
const MOST_AT_ONCE: usize = 8;

/// An endpoint of a service.
pub struct Place {
    service: String,
    address: SocketAddr,
    weight: u32,
}

impl Place {
    /// An endpoint of this service at this address, whatever is there.
    #[must_use]
    pub fn new(service: &str, address: SocketAddr) -> Self {
        Self { service: service.to_owned(), address, weight: 1 }
    }
}

impl From<&Upstream> for Place {
    fn from(upstream: &Upstream) -> Self {
        let (service, address, weight) = upstream.place();
        Self { service, address, weight }
    }
}

impl From<&RawUpstream> for Place {
    fn from(upstream: &RawUpstream) -> Self {
        Self::new(upstream.name(), upstream.address())
    }
}

impl From<&Recorder> for Place {
    fn from(recorder: &Recorder) -> Self {
        Self::new(recorder.name(), recorder.address())
    }
}

/// A gateway in the making.
#[must_use]
pub struct Setup {
    text: String,
    places: Vec<Place>,
    folder: tempfile::TempDir,
}

/// A gateway with this configuration, not started yet. What the configuration does not say is filled in:
///
/// - `[server]` and `[admin]` listen on ports that the system chooses; there are two workers.
/// - every endpoint of [`Setup::to`] is one of the service of its name, which needs no table of its own.
/// - `[keys.demo]` is the secret with which [`Call::as_caller`](crate::Call::as_caller) signs, granted to the plugin `jwt`.
/// - the reference plugins that it names are in its folder, and no plugin is stopped for being slow on a busy machine.
pub fn setup(text: &str) -> Setup {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    std::fs::write(folder.path().join(SECRET_FILE), SECRET).unwrap();
    Setup { text: text.to_owned(), places: Vec::new(), folder }
}

impl Setup {
    /// With this endpoint.
    pub fn to(mut self, place: impl Into<Place>) -> Self {
        self.places.push(place.into());
        self
    }

    /// With this plugin in its folder.
    pub fn plugin(self, name: &str, bytes: &[u8]) -> Self {
        std::fs::write(self.folder.path().join("plugins").join(format!("{name}.wasm")), bytes).unwrap();
        self
    }

    /// With this file beside its configuration.
    pub fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.folder.path().join(name), text).unwrap();
        self
    }

    /// Starts it in this process.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(self) -> Gateway {
        let (folder, places) = self.write(Voice::Quiet);
        Gateway::start(folder, places)
    }

    /// Writes it all down for commands that start no gateway, and answers the folder: `gateway.toml`, and `plugins/`.
    #[must_use]
    pub fn files(self) -> tempfile::TempDir {
        self.write(Voice::Quiet).0
    }

    /// Writes the configuration and answers its folder, for a gateway in a process of its own.
    pub(crate) fn write(self, voice: Voice) -> (tempfile::TempDir, Vec<Place>) {
        let Self { text, places, folder } = self;
        let table = complete(&text, &places, voice);
        for name in plugins(&table).iter().filter(|name| REFERENCE.contains(&name.as_str())) {
            let file = folder.path().join("plugins").join(format!("{name}.wasm"));
            if !file.exists() {
                std::fs::write(file, reference(name)).unwrap();
            }
        }
        std::fs::write(config_file(folder.path()), table.to_string()).unwrap();
        (folder, places)
    }
}

/// The configuration's file.
pub(crate) fn config_file(folder: &Path) -> PathBuf {
    folder.join("gateway.toml")
}

/// A configuration with another address in place of one that it has once.
///
/// # Panics
/// It has it more often, or not at all.
#[must_use]
pub fn moved(text: &str, from: SocketAddr, to: &str) -> String {
    let from = format!("\"{from}\"");
    assert_eq!(text.matches(&from).count(), 1, "{from}");
    text.replace(&from, &format!("\"{to}\""))
}

/// What a gateway logs, where its test does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    /// Faults: it shares its streams with the tests.
    Quiet,
    /// Every request as well.
    Full,
}

/// Fills in what a test need not say.
pub(crate) fn complete(text: &str, places: &[Place], voice: Voice) -> Table {
    let mut table: Table = text.parse().unwrap_or_else(|fault| panic!("{fault}\n{text}"));
    for (path, value) in [
        ("server.listen", Value::from("127.0.0.1:0")),
        ("server.workers", 2.into()),
        ("server.shutdown", "5s".into()),
        ("admin.listen", "127.0.0.1:0".into()),
        ("log.format", "json".into()),
        ("log.access", (voice == Voice::Full).into()),
        ("log.level", if voice == Voice::Full { "info" } else { "error" }.into()),
        ("plugins.folder", "plugins".into()),
        ("plugins.compile_time", "10m".into()),
        ("plugins.cache", target().join("test-cache").to_string_lossy().into_owned().into()),
    ] {
        default(&mut table, path, value);
    }
    for place in places {
        let endpoint = Table::from_iter([
            ("address".to_owned(), Value::from(place.address.to_string())),
            ("weight".to_owned(), i64::from(place.weight).into()),
        ]);
        let service = table_at(&mut table, &["service", &place.service]);
        let endpoints = service.entry("endpoints").or_insert_with(|| Value::Array(Vec::new()));
        endpoints.as_array_mut().unwrap().push(endpoint.into());
    }
    for name in plugins(&table) {
        let names_keys =
            table.contains_key("keys") || table.get("plugin").is_some_and(|plugin| plugin.get(&name).is_some());
        if name == "jwt" && !names_keys {
            default(&mut table, "keys.demo.secret_file", SECRET_FILE.into());
            default(&mut table, "plugin.jwt.keys", Value::Array(vec!["demo".into()]));
        }
    }
    table
}

/// Sets a key of a path unless it is there.
fn default(table: &mut Table, path: &str, value: Value) {
    let keys: Vec<&str> = path.split('.').collect();
    let (key, tables) = keys.split_last().unwrap();
    table_at(table, tables).entry(*key).or_insert(value);
}

fn table_at<'a>(mut table: &'a mut Table, path: &[&str]) -> &'a mut Table {
    for key in path {
        table = table.entry(*key).or_insert_with(|| Table::new().into()).as_table_mut().unwrap();
    }
    table
}

/// The plugins that a configuration names.
fn plugins(table: &Table) -> Vec<String> {
    fn find(value: &Value, names: &mut Vec<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| find(item, names)),
            Value::Table(table) => {
                names.extend(table.get("plugin").and_then(Value::as_str).map(str::to_owned));
                table.iter().filter(|(key, _)| *key != "settings").for_each(|(_, value)| find(value, names));
            }
            _ => {}
        }
    }
    let mut names = Vec::new();
    if let Some(apis) = table.get("api") {
        find(apis, &mut names);
    }
    names.sort();
    names.dedup();
    names
}

/// One of [`MOST_AT_ONCE`] places for a running gateway. A test that runs several at a time takes several.
pub(crate) struct Running(());

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

impl Running {
    /// Waits for a place.
    pub(crate) fn wait() -> Self {
        let mut running = RUNNING.lock().unwrap();
        while *running >= MOST_AT_ONCE {
            running = ENDED.wait(running).unwrap();
        }
        *running += 1;
        Self(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap() -= 1;
        ENDED.notify_one();
    }
}
