//! The cells of all workers, and their sums at a scrape.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;

use super::{BUCKETS, CLASSES, Cell, FIRST_BUCKET_BITS, Outcome, Recalled, Recalls, Series, Span};

/// Cells by the name of an API or a plugin and the number of the worker that writes them.
type Cells<T> = BTreeMap<(Arc<str>, usize), Arc<T>>;

/// Everything that workers count.
#[derive(Debug, Default)]
pub(super) struct Workers {
    series: Mutex<Cells<Series>>,
    recalls: Mutex<Cells<Recalls>>,
}

impl Workers {
    pub(super) fn series(&self, api: &Arc<str>, worker: usize) -> Arc<Series> {
        Arc::clone(lock(&self.series).entry((Arc::clone(api), worker)).or_default())
    }

    pub(super) fn recalls(&self, plugin: &Arc<str>, worker: usize) -> Arc<Recalls> {
        Arc::clone(lock(&self.recalls).entry((Arc::clone(plugin), worker)).or_default())
    }

    pub(super) fn recalled(&self, plugin: &str, what: Recalled) -> u64 {
        let cells = lock(&self.recalls);
        let of_plugin = cells.iter().filter(|((name, _), _)| **name == *plugin);
        of_plugin.filter_map(|(_, cells)| cells.0.get(what as usize)).map(Cell::get).sum()
    }

    fn sums(&self) -> BTreeMap<Arc<str>, Sums> {
        let mut sums: BTreeMap<Arc<str>, Sums> = BTreeMap::new();
        for ((api, _), series) in &*lock(&self.series) {
            sums.entry(Arc::clone(api)).or_default().add(series);
        }
        sums
    }
}

fn lock<T>(cells: &Mutex<Cells<T>>) -> MutexGuard<'_, Cells<T>> {
    cells.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Collector for Workers {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let sums = self.sums();
        requests(&mut encoder, &sums)?;
        durations(&mut encoder, &sums)?;
        recalls(&mut encoder, self)
    }
}

fn recalls(encoder: &mut DescriptorEncoder, workers: &Workers) -> fmt::Result {
    let help = "Questions to plugins whose verdicts may be remembered, by what became of them.";
    let mut family = encoder.encode_descriptor("remembered_verdicts", help, None, MetricType::Counter)?;
    let plugins: BTreeSet<Arc<str>> = lock(&workers.recalls).keys().map(|(plugin, _)| Arc::clone(plugin)).collect();
    for plugin in &plugins {
        for what in Recalled::ALL {
            let labels = [("plugin", &**plugin), ("event", what.name())];
            ConstCounter::new(workers.recalled(plugin, what)).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn requests(encoder: &mut DescriptorEncoder, sums: &BTreeMap<Arc<str>, Sums>) -> fmt::Result {
    let help = "Requests by API, the stage that answered, and status class.";
    let mut family = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
    for (api, sums) in sums {
        for (outcome, classes) in Outcome::ALL.iter().zip(&sums.requests) {
            for (status, count) in CLASSES.iter().zip(classes).filter(|(_, count)| **count > 0) {
                let labels = [("api", &**api), ("outcome", outcome.name()), ("status", status)];
                ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    Ok(())
}

fn durations(encoder: &mut DescriptorEncoder, sums: &BTreeMap<Arc<str>, Sums>) -> fmt::Result {
    let help = "Time by API and stage; `total` is until the response's last byte.";
    let mut family = encoder.encode_descriptor("stage", help, Some(&Unit::Seconds), MetricType::Histogram)?;
    for (api, sums) in sums {
        for (span, durations) in Span::ALL.iter().zip(&sums.spans) {
            let labels = [("api", &**api), ("stage", span.name())];
            let count = durations.buckets.iter().sum();
            let seconds = durations.nanoseconds as f64 / 1e9;
            let buckets: Vec<_> = bounds().zip(durations.buckets).collect();
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(seconds, count, &buckets, None)?;
        }
    }
    Ok(())
}

/// The buckets' upper bounds in seconds.
fn bounds() -> impl Iterator<Item = f64> {
    let bits = (FIRST_BUCKET_BITS..).take(BUCKETS - 1);
    bits.map(|bits| 2f64.powi(bits.cast_signed()) / 1e9).chain([f64::INFINITY])
}

/// What all workers counted for one API.
#[derive(Default)]
struct Sums {
    requests: [[u64; CLASSES.len()]; Outcome::ALL.len()],
    spans: [Durations; Span::ALL.len()],
}

/// Durations of one kind.
#[derive(Default)]
struct Durations {
    buckets: [u64; BUCKETS],
    nanoseconds: u64,
}

impl Sums {
    fn add(&mut self, series: &Series) {
        let cells = series.requests.iter().flatten();
        self.requests.iter_mut().flatten().zip(cells).for_each(|(sum, cell)| *sum += cell.get());
        for (sum, histogram) in self.spans.iter_mut().zip(&series.spans) {
            sum.buckets.iter_mut().zip(&histogram.buckets).for_each(|(sum, cell)| *sum += cell.get());
            sum.nanoseconds += histogram.nanoseconds.get();
        }
    }
}
