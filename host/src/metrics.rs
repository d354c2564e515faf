//! What is counted, and how it is shown to Prometheus.
//!
//! The path counts into cells of its own worker, plain stores without a lock or a label look-up; a scrape adds the workers'
//! cells up. What is off the path counts into families of prometheus-client. Labels come from enums and from names of the
//! configuration, never from a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use self::workers::Workers;

mod workers;

/// How a request ended: the stage that answered it, or that it was forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Outcome {
    /// A service answered.
    Forwarded,
    /// It had no one meaning, or belonged to no API.
    Clean,
    /// A browser asked what it may do.
    Cors,
    /// The auth stage answered.
    Auth,
    /// A limit answered.
    Limit,
    /// The validation stage answered.
    Validation,
    /// The routing stage answered.
    Routing,
    /// No endpoint, or the service failed.
    Service,
    /// The client left before there was an answer.
    Left,
}

impl Outcome {
    const ALL: [Self; 9] = [
        Self::Forwarded,
        Self::Clean,
        Self::Cors,
        Self::Auth,
        Self::Limit,
        Self::Validation,
        Self::Routing,
        Self::Service,
        Self::Left,
    ];

    /// The label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Clean => "clean",
            Self::Cors => "cors",
            Self::Auth => "auth",
            Self::Limit => "limit",
            Self::Validation => "validation",
            Self::Routing => "routing",
            Self::Service => "service",
            Self::Left => "left",
        }
    }
}

/// What a duration is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Span {
    /// All auth plugins.
    Auth,
    /// All limits, with the waiting of those that delay.
    Limit,
    /// All validation plugins, reading a body included.
    Validation,
    /// The routing plugin.
    Routing,
    /// From the routed request to the response's head.
    Service,
    /// From the request's head to the response's last byte.
    Total,
}

impl Span {
    const ALL: [Self; 6] = [Self::Auth, Self::Limit, Self::Validation, Self::Routing, Self::Service, Self::Total];

    fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Limit => "limit",
            Self::Validation => "validation",
            Self::Routing => "routing",
            Self::Service => "service",
            Self::Total => "total",
        }
    }
}

/// A counter with one writer: a load and a store instead of a locked addition.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds; only ever on the worker that the cell belongs to.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds are powers of two from 2^10 ns (1 µs) to 2^34 ns (17 s); the last bucket has none.
const BUCKETS: usize = 26;
const FIRST_BUCKET_BITS: u32 = 10;

/// Durations of one kind on one worker.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Cell; BUCKETS],
    nanoseconds: Cell,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bits = u64::BITS - nanoseconds.saturating_sub(1).leading_zeros();
        let bucket = (bits.saturating_sub(FIRST_BUCKET_BITS) as usize).min(BUCKETS - 1);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.add(1);
        }
        self.nanoseconds.add(nanoseconds);
    }
}

/// Status classes by their hundreds; without an answer there is none.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// What one worker counts for one API.
#[derive(Debug, Default)]
pub struct Series {
    requests: [[Cell; CLASSES.len()]; Outcome::ALL.len()],
    spans: [Histogram; Span::ALL.len()],
}

impl Series {
    /// Counts a request that ended; status 0: there was no answer.
    pub fn request(&self, outcome: Outcome, status: u16) {
        let class = usize::from(status / 100).min(CLASSES.len() - 1);
        if let Some(cell) = self.requests.get(outcome as usize).and_then(|classes| classes.get(class)) {
            cell.add(1);
        }
    }

    /// Counts a duration.
    pub fn span(&self, span: Span, time: Duration) {
        if let Some(histogram) = self.spans.get(span as usize) {
            histogram.observe(time);
        }
    }
}

/// What became of a request's question to a plugin that promised that its verdicts may be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Recalled {
    /// The verdict was remembered: no call.
    Hit,
    /// It was not: a call.
    Miss,
    /// A verdict that was still good had to make room.
    Evicted,
    /// Not remembered, for the plugin saw a body.
    WithheldBody,
    /// Not remembered, for it read the clock.
    WithheldClock,
    /// Not remembered, for it drew randomness.
    WithheldRandom,
    /// Not remembered, for there were no keys to verify with.
    WithheldKeys,
}

impl Recalled {
    const ALL: [Self; 7] = [
        Self::Hit,
        Self::Miss,
        Self::Evicted,
        Self::WithheldBody,
        Self::WithheldClock,
        Self::WithheldRandom,
        Self::WithheldKeys,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Evicted => "evicted",
            Self::WithheldBody => "withheld-body",
            Self::WithheldClock => "withheld-clock",
            Self::WithheldRandom => "withheld-random",
            Self::WithheldKeys => "withheld-keys",
        }
    }
}

/// What one worker counts of one plugin's remembered verdicts.
#[derive(Debug, Default)]
pub struct Recalls([Cell; Recalled::ALL.len()]);

impl Recalls {
    /// Counts one.
    pub fn count(&self, what: Recalled) {
        self.add(what, 1);
    }

    /// Counts several.
    pub fn add(&self, what: Recalled, count: u64) {
        if let Some(cell) = self.0.get(what as usize) {
            cell.add(count);
        }
    }
}

/// What became of a plugin file.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SwapLabels {
    plugin: Arc<str>,
    outcome: &'static str,
}

/// Which plugin.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PluginLabels {
    plugin: Arc<str>,
}

/// How a call of a plugin failed.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FailureLabels {
    plugin: Arc<str>,
    kind: &'static str,
}

/// What became of a configuration.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReloadLabels {
    outcome: &'static str,
}

/// Every series of the workers, and what the rest of the process counts.
#[derive(Debug, Default)]
pub struct Metrics {
    workers: Arc<Workers>,
    swaps: Family<SwapLabels, Counter>,
    live_after: Family<PluginLabels, Gauge<f64, AtomicU64>>,
    failures: Family<FailureLabels, Counter>,
    reloads: Family<ReloadLabels, Counter>,
    connections: Counter,
    open: Gauge<u64, AtomicU64>,
    upgraded: Gauge<u64, AtomicU64>,
}

impl Metrics {
    /// The cells of one API on one worker; the same for as long as the process lives.
    #[must_use]
    pub fn series(&self, api: &Arc<str>, worker: usize) -> Arc<Series> {
        self.workers.series(api, worker)
    }

    /// The cells of one plugin on one worker; the same for as long as the process lives.
    #[must_use]
    pub fn recalls(&self, plugin: &Arc<str>, worker: usize) -> Arc<Recalls> {
        self.workers.recalls(plugin, worker)
    }

    /// How many verdicts of a plugin were answered from memory.
    #[must_use]
    pub fn remembered(&self, plugin: &str) -> u64 {
        self.workers.recalled(plugin, Recalled::Hit)
    }

    /// Counts what became of a plugin file: `live`, `rejected`, `removed`, `rolled-back`.
    pub fn swap(&self, plugin: &Arc<str>, outcome: &'static str) {
        self.swaps.get_or_create(&SwapLabels { plugin: Arc::clone(plugin), outcome }).inc();
    }

    /// Notes how long the newest version of a plugin took from the last change of its file until it served.
    pub fn live_after(&self, plugin: &Arc<str>, time: Duration) {
        self.live_after.get_or_create(&PluginLabels { plugin: Arc::clone(plugin) }).set(time.as_secs_f64());
    }

    /// Counts a call that gave no verdict, by its kind.
    pub fn failure(&self, plugin: &Arc<str>, kind: &'static str) {
        self.failures.get_or_create(&FailureLabels { plugin: Arc::clone(plugin), kind }).inc();
    }

    /// Counts a reload of the configuration: `applied` or `rejected`.
    pub fn reload(&self, outcome: &'static str) {
        self.reloads.get_or_create(&ReloadLabels { outcome }).inc();
    }

    /// Counts a client connection for as long as the answer lives.
    pub fn connection(&self) -> Open {
        self.connections.inc();
        self.open.inc();
        Open(self.open.clone())
    }

    /// Counts an upgraded client connection for as long as the answer lives.
    pub fn upgraded(&self) -> Open {
        self.upgraded.inc();
        Open(self.upgraded.clone())
    }

    /// Client connections that are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.get()
    }

    /// What a scrape shows of all this; every name in it begins with `gatewright_`, and a counter's ends with `_total`.
    #[must_use]
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("gatewright");
        registry.register("plugin_swaps", "Plugin files by what became of them", self.swaps.clone());
        let live_after = "Time from the last change of a plugin's file to its serving, of the newest version";
        registry.register_with_unit("plugin_live_after", live_after, Unit::Seconds, self.live_after.clone());
        registry.register("plugin_failures", "Calls of a plugin that gave no verdict", self.failures.clone());
        registry.register("reloads", "Configurations by what became of them", self.reloads.clone());
        registry.register("connections", "Client connections accepted", self.connections.clone());
        registry.register("connections_open", "Client connections open", self.open.clone());
        registry.register("connections_upgraded", "Client connections upgraded", self.upgraded.clone());
        registry.register_collector(Box::new(Arc::clone(&self.workers)));
        registry
    }
}

/// One open client connection.
#[must_use]
pub struct Open(Gauge<u64, AtomicU64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_that_bounds_them() {
        let histogram = Histogram::default();
        for nanoseconds in [0, 1024, 1025, 1 << 34, (1 << 34) + 1] {
            histogram.observe(Duration::from_nanos(nanoseconds));
        }
        assert_eq!(histogram.buckets[0].get(), 2);
        assert_eq!(histogram.buckets[1].get(), 1);
        assert_eq!(histogram.buckets[24].get(), 1);
        assert_eq!(histogram.buckets[25].get(), 1);
    }

    #[test]
    fn workers_are_added_up_and_labels_escaped() {
        let metrics = Metrics::default();
        let api: Arc<str> = "a\"b".into();
        metrics.series(&api, 0).request(Outcome::Forwarded, 200);
        metrics.series(&api, 1).request(Outcome::Forwarded, 204);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &metrics.registry()).unwrap();
        assert!(text.contains(r#"gatewright_requests_total{api="a\"b",outcome="forwarded",status="2xx"} 2"#), "{text}");
    }
}
