//! What is counted, and how it is shown to Prometheus.
//!
//! The path counts into cells of its own worker, plain stores without a lock or a label look-up; a scrape adds the workers'
//! cells up. Labels come from enums and from names of the configuration, never from a request.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How a request ended: the stage that answered it, or that it was forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Outcome {
    /// A service answered.
    Forwarded,
    /// It had no one meaning, or belonged to no API.
    Clean,
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
    const ALL: [Self; 8] = [
        Self::Forwarded,
        Self::Clean,
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
    /// All limits, waiting not counted.
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
#[derive(Default)]
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
#[derive(Default)]
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

/// Status classes 1xx to 5xx, and none.
const CLASSES: usize = 6;

/// What one worker counts for one API.
#[derive(Default)]
pub struct Series {
    requests: [[Cell; CLASSES]; Outcome::ALL.len()],
    spans: [Histogram; Span::ALL.len()],
}

impl Series {
    /// Counts a request that ended; status 0: there was no answer.
    pub fn request(&self, outcome: Outcome, status: u16) {
        let class = usize::from(status / 100).min(CLASSES - 1);
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

/// An API's name and a worker's number.
type Place = (Arc<str>, usize);

/// Every series, and what the rest of the process counts.
#[derive(Default)]
pub struct Metrics {
    series: Mutex<BTreeMap<Place, Arc<Series>>>,
    swaps: Mutex<BTreeMap<(Arc<str>, &'static str), u64>>,
    failures: Mutex<BTreeMap<(Arc<str>, &'static str), u64>>,
    reloads: Mutex<BTreeMap<&'static str, u64>>,
    connections: AtomicU64,
    open: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// The cells of one API on one worker; the same for as long as the process lives.
    #[must_use]
    pub fn series(&self, api: &Arc<str>, worker: usize) -> Arc<Series> {
        Arc::clone(lock(&self.series).entry((Arc::clone(api), worker)).or_default())
    }

    /// Counts what became of a plugin file: `live`, `rejected`, `removed`, `rolled-back`.
    pub fn swap(&self, plugin: &Arc<str>, outcome: &'static str) {
        *lock(&self.swaps).entry((Arc::clone(plugin), outcome)).or_default() += 1;
    }

    /// Counts a call that gave no verdict, by its kind.
    pub fn failure(&self, plugin: &Arc<str>, kind: &'static str) {
        *lock(&self.failures).entry((Arc::clone(plugin), kind)).or_default() += 1;
    }

    /// Counts a reload of the configuration: `applied` or `rejected`.
    pub fn reload(&self, outcome: &'static str) {
        *lock(&self.reloads).entry(outcome).or_default() += 1;
    }

    /// Counts a client connection for as long as the answer lives.
    pub fn connection(self: &Arc<Self>) -> Open {
        self.connections.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        Open(Arc::clone(self))
    }

    /// Client connections that are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }
}

/// One open client connection.
#[must_use]
pub struct Open(Arc<Metrics>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// Writes the Prometheus text format; the same families in the same order each time.
pub struct Exposition(String);

impl Exposition {
    /// Starts with what the process counts itself.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let mut text = Self(String::with_capacity(16 * 1024));
        text.requests(metrics);
        text.spans(metrics);
        text.family("gatewright_plugin_swaps_total", "counter", "Plugin files by what became of them.");
        for ((plugin, outcome), count) in &*lock(&metrics.swaps) {
            text.sample("gatewright_plugin_swaps_total", &[("plugin", plugin), ("outcome", outcome)], count);
        }
        text.family("gatewright_plugin_failures_total", "counter", "Calls of a plugin that gave no verdict.");
        for ((plugin, kind), count) in &*lock(&metrics.failures) {
            text.sample("gatewright_plugin_failures_total", &[("plugin", plugin), ("kind", kind)], count);
        }
        text.family("gatewright_reloads_total", "counter", "Configurations by what became of them.");
        for (outcome, count) in &*lock(&metrics.reloads) {
            text.sample("gatewright_reloads_total", &[("outcome", outcome)], count);
        }
        text.family("gatewright_connections_total", "counter", "Client connections accepted.");
        text.sample("gatewright_connections_total", &[], metrics.connections.load(Relaxed));
        text.family("gatewright_connections_open", "gauge", "Client connections open.");
        text.sample("gatewright_connections_open", &[], metrics.open());
        text
    }

    fn requests(&mut self, metrics: &Metrics) {
        self.family(
            "gatewright_requests_total",
            "counter",
            "Requests by API, the stage that answered, and status class.",
        );
        let mut totals: BTreeMap<(Arc<str>, usize, usize), u64> = BTreeMap::new();
        for ((api, _), series) in &*lock(&metrics.series) {
            for (outcome, classes) in series.requests.iter().enumerate() {
                for (class, cell) in classes.iter().enumerate() {
                    *totals.entry((Arc::clone(api), outcome, class)).or_default() += cell.get();
                }
            }
        }
        for ((api, outcome, class), count) in totals.iter().filter(|(_, count)| **count > 0) {
            let outcome = Outcome::ALL.get(*outcome).map_or("", |outcome| outcome.name());
            let class = if *class == 0 { "none".to_owned() } else { format!("{class}xx") };
            self.sample("gatewright_requests_total", &[("api", api), ("outcome", outcome), ("status", &class)], count);
        }
    }

    fn spans(&mut self, metrics: &Metrics) {
        const NAME: &str = "gatewright_stage_seconds";
        self.family(NAME, "histogram", "Time by API and stage; `total` is until the response's last byte.");
        let mut totals: BTreeMap<(Arc<str>, usize), ([u64; BUCKETS], u64)> = BTreeMap::new();
        for ((api, _), series) in &*lock(&metrics.series) {
            for (span, histogram) in series.spans.iter().enumerate() {
                let (buckets, sum) = totals.entry((Arc::clone(api), span)).or_insert(([0; BUCKETS], 0));
                buckets.iter_mut().zip(&histogram.buckets).for_each(|(total, cell)| *total += cell.get());
                *sum += histogram.nanoseconds.get();
            }
        }
        for ((api, span), (buckets, sum)) in &totals {
            let span = Span::ALL.get(*span).map_or("", |span| span.name());
            let labels: [(&str, &str); 2] = [("api", api), ("stage", span)];
            let mut count = 0;
            for (bits, bucket) in (FIRST_BUCKET_BITS..).zip(buckets) {
                count += bucket;
                let last = (bits - FIRST_BUCKET_BITS) as usize == BUCKETS - 1;
                let bound = if last { "+Inf".to_owned() } else { (2f64.powi(bits.cast_signed()) / 1e9).to_string() };
                self.sample(&format!("{NAME}_bucket"), &[labels[0], labels[1], ("le", &bound)], count);
            }
            self.sample(&format!("{NAME}_sum"), &labels, *sum as f64 / 1e9);
            self.sample(&format!("{NAME}_count"), &labels, count);
        }
    }

    /// Begins a family.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        use fmt::Write;
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a sample; label values are escaped.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl fmt::Display) {
        use fmt::Write;
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// The whole text.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
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
        let text = Exposition::new(&metrics).finish();
        assert!(text.contains(r#"gatewright_requests_total{api="a\"b",outcome="forwarded",status="2xx"} 2"#), "{text}");
    }
}
