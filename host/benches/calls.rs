//! What one question to a plugin costs: three declared inputs go in, a checked verdict comes out.
//!
//! `cargo bench -p gatewright` runs it, after `cargo xtask guests` has built the plugins.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use anyhow::Context as _;
use criterion::{Criterion, Throughput};
use gatewright::config::{self, Config, Plugins};
use gatewright::plugin::{Engine, Local, Stage, Use, UseName, View};
use http::request::Parts;
use sha2::{Digest as _, Sha256};

/// As in the gateway's own binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Two stages, with a plugin in each that declares three inputs: path, method and query; path and two fields.
const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"

[service.orders]
endpoints = ["127.0.0.1:1"]

[[api]]
name = "orders"
services = ["orders"]

[[api.validation]]
plugin = "json-schema"

[[api.validation.settings.rules]]
methods = ["GET"]
path = "/orders/{id}"
extra_query = "refuse"

[api.routing]
plugin = "versions"

[api.routing.settings]
from = { header = "api-version", parameter = "version" }
default = "2"

[api.routing.settings.versions.1]
[api.routing.settings.versions.2]

[[api.routing.settings.routes]]
path = "/orders/{id}"
service = "orders"
"#;

/// What both plugins must declare: the figures are about calls with so many inputs.
const INPUTS: usize = 3;
/// Requests of a working set that is larger than a processor's first caches.
const MANY: usize = 1_000;

/// What a call on this thread answers: it never waits.
fn at_once<T>(call: impl Future<Output = T>) -> Option<T> {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

/// A plugin in its stage on one worker.
struct Asked {
    local: Local,
    now: Instant,
}

impl Asked {
    /// `remembers`: whether verdicts may be remembered, as long as the plugin promises.
    fn new(engine: &Arc<Engine>, stage: Stage, remembers: bool) -> anyhow::Result<Self> {
        let config = configuration(remembers)?;
        let api = config.apis.first().context("there is one API")?;
        let used = match (stage, &api.routing) {
            (Stage::Validation, _) => api.validation.first(),
            (Stage::Routing, config::Routing::Plugin(used)) => Some(used),
            _ => None,
        };
        let used = used.with_context(|| format!("nothing is configured for {stage}"))?;
        let file = plugins().join(format!("{}.wasm", used.plugin));
        let bytes = std::fs::read(&file)
            .with_context(|| format!("{}; `cargo xtask guests` builds the plugins", file.display()))?;
        let digest = Sha256::digest(&bytes).into();
        let version = Arc::new(engine.load(Arc::clone(&used.plugin), bytes.into(), digest)?);
        let name = UseName { api: Arc::clone(&api.name), stage, index: 0 };
        let host = config.plugin.get(&used.plugin).context("the plugin has settings")?;
        let (shared, instances) = Use::prepare(engine, &version, name, used, host, Arc::new(BTreeMap::new()), 1)?;
        anyhow::ensure!(shared.declaration.inputs.len() == INPUTS, "{} does not declare {INPUTS} inputs", used.plugin);
        Ok(Self { local: Local::new(shared, instances.into_iter().next(), 0), now: Instant::now() })
    }

    /// One question; whether the request may go on.
    fn ask(&self, head: &Parts) -> bool {
        let id = http::HeaderValue::from_static("bench");
        let view = View::of(&id, head, "192.0.2.1");
        match self.local.shared.name.stage {
            Stage::Validation => {
                matches!(at_once(self.local.check(&view, self.now)), Some(Ok(verdict)) if verdict.is_ok())
            }
            Stage::Routing => {
                matches!(at_once(self.local.route(&view, self.now)), Some(Ok(verdict)) if verdict.is_ok())
            }
            Stage::Auth => false,
        }
    }

    /// Measures questions about requests in turn, after one round of them.
    fn bench(&self, criterion: &mut Criterion, name: &str, requests: &[Parts]) -> anyhow::Result<()> {
        let calls = || self.local.shared.counts.calls.load(std::sync::atomic::Ordering::Relaxed);
        anyhow::ensure!(requests.iter().all(|head| self.ask(head)), "a request is refused");
        let (before, remembers) = (calls(), name.contains("remembered"));
        anyhow::ensure!(requests.iter().all(|head| self.ask(head)), "a request is refused");
        anyhow::ensure!((calls() == before) == remembers, "{name}: what is measured is something else");
        let mut turn = requests.iter().cycle();
        let mut group = criterion.benchmark_group(self.local.shared.name.stage.name());
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bencher| {
            bencher.iter(|| self.ask(black_box(turn.next().expect("there are requests"))));
        });
        group.finish();
        Ok(())
    }
}

fn configuration(remembers: bool) -> anyhow::Result<Config> {
    let remember = if remembers { "60s" } else { "0s" };
    let plugins = ["json-schema", "versions"].map(|name| format!("\n[plugin.{name}]\nremember = \"{remember}\"\n"));
    let config = Config::parse(&format!("{CONFIG}{}", plugins.concat()), "calls.toml", Path::new(""));
    config.map_err(|faults| anyhow::Error::msg(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

/// Where `cargo xtask guests` puts plugins, unless `GATEWRIGHT_PLUGINS` says otherwise.
fn plugins() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins");
    std::env::var_os("GATEWRIGHT_PLUGINS").map_or_else(built, PathBuf::from)
}

fn request(id: usize) -> anyhow::Result<Parts> {
    let request = http::Request::get(format!("/orders/{id}"))
        .header("host", "shop.example")
        .header("user-agent", "calls/1")
        .header("accept", "application/json; version=2")
        .header("api-version", "2");
    Ok(request.body(())?.into_parts().0)
}

/// As many questions as `GATEWRIGHT_CALLS` says, for a tool that counts instructions: `routing called 1000`. Its difference for
/// two counts is what the questions cost.
fn counted(wanted: &str) -> anyhow::Result<()> {
    let [stage, how, count] = wanted.split(' ').collect::<Vec<_>>()[..] else {
        anyhow::bail!("GATEWRIGHT_CALLS: {wanted:?} is no stage, `called` or `remembered`, and count")
    };
    let stage =
        Stage::ALL.into_iter().find(|known| known.name() == stage).context("GATEWRIGHT_CALLS: no such stage")?;
    let cache = std::env::var_os("GATEWRIGHT_CACHE").map(PathBuf::from);
    let engine = Engine::new(cache, Plugins::STACK_BYTES, Arc::default())?;
    let (asked, head) = (Asked::new(&engine, stage, how == "remembered")?, request(1)?);
    for _ in 0..count.parse::<u32>()? {
        anyhow::ensure!(asked.ask(black_box(&head)), "the request is refused");
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    if let Ok(wanted) = std::env::var("GATEWRIGHT_CALLS") {
        return counted(&wanted);
    }
    let mut criterion = Criterion::default().configure_from_args();
    let cache = tempfile::tempdir()?;
    let engine = Engine::new(Some(cache.path().to_path_buf()), Plugins::STACK_BYTES, Arc::default())?;
    let one = [request(1)?];
    let many = (0..MANY).map(request).collect::<anyhow::Result<Vec<_>>>()?;
    for stage in [Stage::Validation, Stage::Routing] {
        Asked::new(&engine, stage, false)?.bench(&mut criterion, "called", &one)?;
        let remembering = Asked::new(&engine, stage, true)?;
        remembering.bench(&mut criterion, "remembered", &one)?;
        remembering.bench(&mut criterion, "remembered, one of a thousand", &many)?;
    }
    criterion.final_summary();
    Ok(())
}
