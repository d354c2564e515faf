//! A version that fails soon after its swap makes place for the one before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Control, status};
use crate::plugin::{UseName, Version};

/// The version that a live one took the place of.
pub(super) struct Probation {
    before: Arc<Version>,
    time: Duration,
    until: Instant,
}

impl Probation {
    /// None where there is no probation.
    pub(super) fn new(before: Arc<Version>, time: Duration) -> Option<Self> {
        (!time.is_zero()).then(|| Self { before, time, until: Instant::now() + time })
    }
}

/// A version that did not stand its probation.
pub(super) struct RolledBack {
    pub(super) digest: [u8; 32],
    pub(super) reason: String,
}

/// For ever, where there is no moment.
pub(super) async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

impl super::plugins::Plugin {
    /// Whether its newest file is one that did not stand its probation.
    pub(super) fn is_rolled_back(&self) -> bool {
        self.rolled_back.as_ref().is_some_and(|known| Some(known.digest) == self.newest)
    }
}

impl Control {
    /// When the next probation ends.
    pub(super) fn probation_ends(&self) -> Option<Instant> {
        self.plugins.values().filter_map(|plugin| Some(plugin.probation.as_ref()?.until)).min()
    }

    /// Lets go of the versions that nobody goes back to any more.
    pub(super) fn end_probations(&mut self, now: Instant) {
        for plugin in self.plugins.values_mut() {
            plugin.probation.take_if(|probation| probation.until <= now);
        }
    }

    /// Goes back to the version before one whose use was suspended within its probation. The way back is taken once: the
    /// version before is on probation no more.
    pub(super) async fn suspended(&mut self, used: &UseName, digest: [u8; 32], now: Instant) {
        let version = self.uses.get(used).map(|live| Arc::clone(&live.version));
        let Some(failed) = version.filter(|version| version.digest == digest) else { return };
        let Some(plugin) = self.plugins.get_mut(&failed.name) else { return };
        let Some(Probation { before, time, .. }) = plugin.probation.take_if(|known| now < known.until) else { return };
        let (name, digest, serving) = (Arc::clone(&failed.name), failed.hex(), before.hex());
        if let Err(reason) = self.swap(&name, &before).await {
            tracing::error!(plugin = &*name, digest, before = serving, reason, "no way back to the version before");
            return;
        }
        let reason = format!("rolled back: its use {used} was suspended within {time:?} of its swap");
        self.metrics.swap(&name, "rolled-back");
        tracing::error!(plugin = &*name, digest, serving, reason, "plugin rolled back");
        let Some(plugin) = self.plugins.get_mut(&name) else { return };
        plugin.note(Some(failed.hex()), "rolled-back", Some(&reason));
        plugin.live = Some(before);
        plugin.candidate = None;
        plugin.since = Some(status::unix_seconds());
        plugin.live_after_ms = None;
        if plugin.newest == Some(failed.digest) {
            plugin.fault = Some(reason.clone());
        }
        plugin.rolled_back = Some(RolledBack { digest: failed.digest, reason });
    }
}
