//! What operators see of plugins.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::plugin::Use;

/// One plugin, as `/plugins` shows it.
#[derive(Clone, Serialize, Default)]
pub struct PluginStatus {
    /// `live`, `failed` (a newer file was rejected), `rolled-back` (a newer one was suspended within its probation), `waiting`
    /// (named, and not there) or `unused`.
    pub state: &'static str,
    /// Whether the configuration names it.
    #[serde(skip)]
    pub is_named: bool,
    /// The digest of the version that serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// When that went live, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// From the file's last byte to live, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live_after_ms: Option<u64>,
    /// Versions that went live since the start.
    pub versions: u64,
    /// Why the newest file does not serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Whether a newer file is still being compiled.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub loading: bool,
    /// Whether the file is gone from the folder.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
    /// Verdicts that needed no call, since the start.
    pub remembered: u64,
    /// The last files that were seen under its name, the newest first.
    pub seen: VecDeque<SeenStatus>,
    /// Its uses.
    pub uses: Vec<UseStatus>,
}

/// A file that was seen, and what became of it.
#[derive(Clone, Serialize)]
pub struct SeenStatus {
    /// Its digest; none: it was not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// When that became of it, in seconds since 1970.
    pub at: u64,
    /// `live`, `rejected` or `rolled-back`, as the swaps in the metrics.
    pub outcome: &'static str,
    /// Why it does not serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One use of a plugin.
#[derive(Clone, Serialize)]
pub struct UseStatus {
    /// The API.
    pub api: Arc<str>,
    /// The stage.
    pub stage: &'static str,
    /// Calls so far.
    pub calls: u64,
    /// Those that gave no verdict.
    pub failures: u64,
    /// Whether it is suspended.
    pub suspended: bool,
    /// How often it was.
    pub suspensions: u64,
    /// Instances that are there, over all workers.
    pub instances: usize,
    /// Bytes of their linear memories.
    pub memory_bytes: usize,
}

impl UseStatus {
    fn of(used: &Use, now: Instant) -> Self {
        Self {
            api: Arc::clone(&used.name.api),
            stage: used.name.stage.name(),
            calls: used.counts.calls.load(Relaxed),
            failures: used.counts.failures.load(Relaxed),
            suspended: used.is_suspended(now),
            suspensions: used.counts.suspensions.load(Relaxed),
            instances: used.footprint.instances.load(Relaxed),
            memory_bytes: used.footprint.memory_bytes.load(Relaxed),
        }
    }
}

/// The plugins by name, and the uses that are live.
type Told = (BTreeMap<Arc<str>, PluginStatus>, Vec<Arc<Use>>);

/// What the control thread last said, for whoever looks.
#[derive(Default)]
pub struct Status {
    plugins: Mutex<Told>,
}

impl Status {
    pub(super) fn set(&self, plugins: BTreeMap<Arc<str>, PluginStatus>, uses: Vec<Arc<Use>>) {
        *self.plugins.lock().unwrap_or_else(PoisonError::into_inner) = (plugins, uses);
    }

    /// The plugins by name, with counters of this moment.
    #[must_use]
    pub fn plugins(&self, now: Instant) -> BTreeMap<Arc<str>, PluginStatus> {
        let (mut plugins, uses) = self.plugins.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for used in uses {
            if let Some(plugin) = plugins.get_mut(&used.version.name) {
                plugin.remembered = used.remembered();
                plugin.uses.push(UseStatus::of(&used, now));
            }
        }
        plugins
    }
}

/// Seconds since 1970.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
