//! What becomes of each plugin of the folder.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::plan::versions;
use super::probation::{Probation, RolledBack};
use super::status::{PluginStatus, SeenStatus};
use super::{Control, status};
use crate::config::Config;
use crate::plugin::folder::Event;
use crate::plugin::{LoadFault, Loaded, Source, Version, hex};

/// Files of a plugin that are remembered for operators.
const MOST_SEEN: usize = 16;

/// One plugin of the folder.
#[derive(Default)]
pub(super) struct Plugin {
    /// The version that serves, or would if it were used.
    pub(super) live: Option<Arc<Version>>,
    /// A version that does not fit the live configuration; tried again with the next one.
    pub(super) candidate: Option<Arc<Version>>,
    /// The digest of the newest file: an older one that finishes compiling later is ignored.
    pub(super) newest: Option<[u8; 32]>,
    pub(super) fault: Option<String>,
    /// The version that served before, until the live one has stood its probation.
    pub(super) probation: Option<Probation>,
    /// A version that did not stand it: not tried again.
    pub(super) rolled_back: Option<RolledBack>,
    pub(super) removed: bool,
    pub(super) since: Option<u64>,
    pub(super) live_after_ms: Option<u64>,
    pub(super) versions: u64,
    /// The last files, the newest first.
    pub(super) seen: VecDeque<SeenStatus>,
}

impl Plugin {
    /// Notes what became of a file.
    pub(super) fn note(&mut self, digest: Option<String>, outcome: &'static str, reason: Option<&str>) {
        self.seen.truncate(MOST_SEEN - 1);
        let reason = reason.map(str::to_owned);
        self.seen.push_front(SeenStatus { digest, at: status::unix_seconds(), outcome, reason });
    }

    /// What operators see of it, its uses not yet.
    pub(super) fn status(&self, is_named: bool) -> PluginStatus {
        let state = match (&self.live, &self.fault, is_named) {
            (_, Some(_), _) if self.is_rolled_back() => "rolled-back",
            (_, Some(_), _) => "failed",
            (Some(_), None, true) => "live",
            (None, None, true) => "waiting",
            (_, None, false) => "unused",
        };
        PluginStatus {
            state,
            is_named,
            digest: self.live.as_ref().map(|live| live.hex()),
            since: self.since,
            live_after_ms: self.live_after_ms,
            versions: self.versions,
            fault: self.fault.clone(),
            loading: self.is_loading(),
            removed: self.removed,
            remembered: 0,
            seen: self.seen.clone(),
            uses: Vec::new(),
        }
    }

    /// Whether the newest file is still being made a version.
    fn is_loading(&self) -> bool {
        let known = [&self.live, &self.candidate].into_iter().flatten().any(|known| Some(known.digest) == self.newest);
        self.newest.is_some() && !known && self.fault.is_none()
    }
}

impl Control {
    pub(super) async fn folder(&mut self, event: Event) {
        match event {
            Event::Seen { name, bytes, digest, noticed } => {
                let plugin = self.plugins.entry(Arc::clone(&name)).or_default();
                plugin.newest = Some(digest);
                plugin.removed = false;
                plugin.fault = None;
                let live = plugin.live.as_ref().filter(|live| live.digest == digest).cloned();
                if let Some(live) = live {
                    // Back to what serves: nothing to do but to forget what failed in between.
                    plugin.candidate = None;
                    tracing::info!(plugin = &*name, digest = live.hex(), "plugin file is the live one again");
                    return;
                }
                if let Some(known) = plugin.rolled_back.as_ref().filter(|known| known.digest == digest) {
                    let reason = known.reason.clone();
                    return self.reject(&name, Some(digest), &reason);
                }
                self.compiler.load(Source { name, bytes, digest, noticed });
            }
            Event::Refused { name, reason } => self.reject(&name, None, &reason.to_string()),
            Event::Removed { name } => {
                let plugin = self.plugins.entry(Arc::clone(&name)).or_default();
                plugin.removed = true;
                plugin.newest = None;
                plugin.candidate = None;
                self.metrics.swap(&name, "removed");
                match &plugin.live {
                    Some(live) => tracing::warn!(
                        plugin = &*name,
                        digest = live.hex(),
                        "plugin file removed; the last good version goes on serving"
                    ),
                    None => {
                        self.plugins.remove(&name);
                    }
                }
            }
            Event::Lost(fault) => tracing::error!(reason = %fault, "plugin folder"),
            Event::Found => tracing::info!("plugin folder can be listed again"),
        }
    }

    /// Has files looked at again that found too many others waiting.
    pub(super) fn again(&mut self) {
        if let Some(watch) = &self.folder_watch {
            std::mem::take(&mut self.crowded).iter().for_each(|name| watch.again(name));
        }
    }

    pub(super) async fn loaded(&mut self, loaded: Loaded) {
        let Loaded { name, digest, noticed, version } = loaded;
        let plugin = self.plugins.entry(Arc::clone(&name)).or_default();
        if plugin.newest != Some(digest) {
            return;
        }
        let version = match version {
            Ok(version) => version,
            Err(fault) => {
                if matches!(fault, LoadFault::Crowd) {
                    self.crowded.insert(Arc::clone(&name));
                }
                return self.reject(&name, Some(digest), &fault.to_string());
            }
        };
        plugin.candidate = Some(Arc::clone(&version));
        if let Some(pending) = self.pending.clone()
            && self.try_config(&pending).await.is_ok()
        {
            self.pending = None;
            tracing::info!(file = %self.file.display(), "configuration applied: the plugin that it waited for is there");
            self.metrics.reload("applied");
            return;
        }
        match self.swap(&name, &version).await {
            Ok(()) => self.went_live(&name, &version, noticed),
            Err(fault) => self.reject(&name, Some(digest), &fault),
        }
    }

    /// Tries a version under the live configuration.
    pub(super) async fn swap(&mut self, name: &Arc<str>, version: &Arc<Version>) -> Result<(), String> {
        let config = Arc::clone(&self.config);
        check_pin(&config, version)?;
        let choose = |wanted: &str| {
            if *wanted == **name { Some(Arc::clone(version)) } else { self.live(wanted) }
        };
        let prepared = self.ground(&self.keys).prepare(&config, versions(&config, choose)).await;
        let prepared = prepared.map_err(|fault| fault.fault.to_string())?;
        self.publish(config, prepared).await;
        Ok(())
    }

    pub(super) fn went_live(&mut self, name: &Arc<str>, version: &Arc<Version>, noticed: Instant) {
        let used = self.uses.values().any(|used| used.version.name == *name);
        let Some(plugin) = self.plugins.get_mut(name) else { return };
        let before = plugin.live.take().filter(|before| before.digest != version.digest);
        let time = noticed.elapsed();
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        *plugin = Plugin {
            live: Some(Arc::clone(version)),
            // A newer file may be on its way.
            newest: plugin.newest,
            since: Some(status::unix_seconds()),
            live_after_ms: Some(milliseconds),
            versions: plugin.versions + 1,
            seen: std::mem::take(&mut plugin.seen),
            probation: before.and_then(|before| Probation::new(before, self.config.plugins.probation)),
            ..Plugin::default()
        };
        plugin.note(Some(version.hex()), "live", None);
        self.metrics.swap(name, "live");
        self.metrics.live_after(name, time);
        tracing::info!(plugin = &**name, digest = version.hex(), milliseconds, used, "plugin is live");
    }

    pub(super) fn reject(&mut self, name: &Arc<str>, digest: Option<[u8; 32]>, reason: &str) {
        let plugin = self.plugins.entry(Arc::clone(name)).or_default();
        plugin.fault = Some(reason.to_owned());
        let digest = digest.map(|digest| hex(&digest));
        plugin.note(digest.clone(), "rejected", Some(reason));
        let serving = plugin.live.as_ref().map(|live| live.hex());
        self.metrics.swap(name, "rejected");
        tracing::error!(plugin = &**name, digest, serving, reason, "plugin file rejected");
    }

    fn live(&self, name: &str) -> Option<Arc<Version>> {
        self.plugins.get(name)?.live.clone()
    }
}

/// A plugin's pinned digest.
pub(crate) fn check_pin(config: &Config, version: &Version) -> Result<(), String> {
    match config.plugin.get(&version.name).and_then(|plugin| plugin.sha256) {
        Some(pin) if pin != version.digest => {
            Err(format!("its SHA-256 is {}, and `plugin.{}.sha256` is {}", version.hex(), version.name, hex(&pin)))
        }
        _ => Ok(()),
    }
}
