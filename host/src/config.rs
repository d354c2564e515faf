//! The checked configuration: what the rest of the code sees cannot be invalid.
//!
//! [`Config::load`] reads a TOML file and answers a `Config`, or every fault in it at once, each with file, line and key.
//! A key, its meaning for people, its default and its bounds are written down once: where it is read, beside the type that
//! it ends in. [`schema`] comes from the same calls.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use toml::de::DeTable;

mod api;
mod cors;
mod groups;
mod keys;
mod kinds;
mod limit;
mod plugin;
mod reference;
mod server;
mod service;
mod source;
mod table;
mod texts;
mod tls;

#[cfg(test)]
mod tests;

pub use api::{Api, OnFailure, Routing, Use};
pub use cors::{Cors, Origin};
pub use keys::{Algorithm, KeySet, SecretSource};
pub use limit::{Limit, LimitKey, Over, Rate};
pub use plugin::{Isolation, Placement, Plugin, Plugins};
pub use server::{Cidr, Log, LogFormat, LogLevel, Server, Trace};
pub use service::{
    Affinity, Balance, Dns, DnsQuestion, Ejection, Endpoint, Endpoints, FailureKind, HttpProbe, Ping, Probe, ProbeKind,
    Retry, Service, ServiceTls,
};
pub use source::Fault;

pub use tls::{Certificate, ClientCertificates, ServerTls, TlsVersion};

use groups::{List, Named, record};
use kinds::{Name, Role};
use source::{Source, Space};
use table::{Kind, Table};

/// A configuration is written by people: what is larger than this is some other file.
const MOST_BYTES: u64 = 16 << 20;

/// Everything that an operator can say.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where clients come in, and on what terms.
    pub server: Server,
    /// Where operators look in; `None`: no admin listener.
    pub admin: Option<SocketAddr>,
    /// What is written, and how.
    pub log: Log,
    /// Where plugins come from.
    pub plugins: Plugins,
    /// What the host allows each plugin; one that is not here gets [`Plugin::default`].
    pub plugin: BTreeMap<Arc<str>, Plugin>,
    /// Named key sets.
    pub keys: BTreeMap<Arc<str>, KeySet>,
    /// The plans that callers may have.
    pub plans: BTreeSet<Arc<str>>,
    /// The services by name.
    pub services: BTreeMap<Arc<str>, Service>,
    /// The APIs in the order of the file. Hosts and prefixes are unambiguous.
    pub apis: Vec<Api>,
}

impl Config {
    /// Reads and checks a configuration file. Relative paths in it start at its folder.
    ///
    /// # Errors
    ///
    /// Every fault in the file, in the order of its lines; a file that cannot be read is one fault.
    pub fn load(path: &Path) -> Result<Self, Vec<Fault>> {
        let name = path.display().to_string();
        let text = text_of(path).map_err(|what| vec![Fault::of_file(&name, what)])?;
        Self::parse(&text, &name, path.parent().unwrap_or(Path::new("")))
    }

    /// Checks a configuration text. `file` is what faults call it, `base` is where relative paths start.
    ///
    /// # Errors
    ///
    /// Every fault in the text, in the order of its lines; a text that is not TOML is one fault.
    pub fn parse(text: &str, file: &str, base: &Path) -> Result<Self, Vec<Fault>> {
        parse(text, file, base, Self::read)
    }

    fn read(t: &mut Table<'_>) -> Option<Self> {
        let plans = List { of: Name(Role::Declares(Space::Plan)), least: 0 };
        let plugin = Named { keys: Role::Declares(Space::Plugin), of: record(|t| Some(Plugin::read(t))) };
        let keys = Named { keys: Role::Declares(Space::Keys), of: record(KeySet::read) };
        let service = Named { keys: Role::Declares(Space::Service), of: record(Service::read) };
        let plans = t.or("plans", "The plans that callers may have: what `plans` of a limit may name.", vec![], &plans);
        let services = t.given("service", "The services by name.", &service).unwrap_or_default();
        let names: BTreeSet<Arc<str>> = services.keys().cloned().collect();
        let apis = List { of: record(|t| Api::read(t, &names)), least: 0 };
        Some(Self {
            server: t.section("server", "Where clients come in, and on what terms.", Server::read),
            admin: t.given("admin", "Where operators look in; absent: nowhere.", &record(|t| Some(server::admin(t)))),
            log: t.section("log", "What is written, and how.", Log::read),
            plugins: t.section("plugins", "Where plugins come from.", Plugins::read),
            plugin: t.given("plugin", "What the host allows each plugin, by name.", &plugin).unwrap_or_default(),
            keys: t.given("keys", "Named key sets: keys never enter a plugin.", &keys).unwrap_or_default(),
            plans: plans.into_iter().collect(),
            services,
            apis: t
                .given("api", "The APIs: which requests they take, and what stands in their way.", &apis)
                .unwrap_or_default(),
        })
    }
}

/// The endpoints of a file that lists those of one service, as its table in the configuration would.
///
/// # Errors
///
/// Every fault in the file, in the order of its lines; a file that cannot be read is one fault.
pub fn endpoints(path: &Path, service: &str) -> Result<Vec<Endpoint>, Vec<Fault>> {
    let name = path.display().to_string();
    let text = text_of(path).map_err(|what| vec![Fault::of_file(&name, what)])?;
    parse(&text, &name, path.parent().unwrap_or(Path::new("")), |t| service::listed(t, service))
}

fn parse<T>(
    text: &str,
    file: &str,
    base: &Path,
    read: impl FnOnce(&mut Table<'_>) -> Option<T>,
) -> Result<T, Vec<Fault>> {
    let source = Source::new(text, file, base);
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            source.fault(error.span().map_or(0, |span| span.start), "", error.message());
            return Err(source.faults());
        }
    };
    let mut root = Table::root(&source, document.get_ref());
    let value = read(&mut root);
    root.finish();
    source.settle();
    match (value, source.faults()) {
        (Some(value), faults) if faults.is_empty() => Ok(value),
        (_, faults) => Err(faults),
    }
}

/// The JSON Schema (2020-12) of the configuration file, for editors, with descriptions and defaults.
#[must_use]
pub fn schema() -> String {
    let mut schema = record(Config::read).schema();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".into(), json!("Gatewright configuration"));
    }
    format!("{schema:#}\n")
}

/// The same for people: a page in Markdown.
#[must_use]
pub fn reference() -> String {
    reference::page(&record(Config::read).schema())
}

/// The text of a file, or why there is none.
fn text_of(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("larger than {}MiB", MOST_BYTES >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        format!("not UTF-8 in line {}", good.iter().filter(|byte| **byte == b'\n').count() + 1)
    })
}
