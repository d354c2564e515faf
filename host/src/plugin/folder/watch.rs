//! The thread that looks after the folder: woken by the system's notices, by files that become due, and by the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::look::{self, Named};
use super::{Event, Folder};
use crate::files::may_be_change;

/// How often the folder is looked at without any notice: notices can be lost, and a folder may appear later.
const RESCAN: Duration = Duration::from_secs(2);

/// Two scans are at least this far apart, however many notices come: a busy writer must not keep a core busy.
const LEAST_GAP: Duration = Duration::from_millis(4);

/// Watches as long as it lives.
#[derive(Debug)]
#[must_use = "watching ends when this is dropped"]
pub struct Watch(Arc<Notices>);

impl Watch {
    /// Tells of a plugin's file again, though it has not changed.
    pub fn again(&self, name: &Arc<str>) {
        let mut state = self.0.lock();
        state.again.insert(Arc::clone(name));
        state.something = true;
        self.0.bell.notify_all();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.bell.notify_all();
    }
}

/// Watches the folder on a thread of its own named `plugin-folder` and hands over what happens, in order. `deliver` may
/// block: changes meanwhile are not lost, and only the last state of a file counts.
///
/// # Errors
///
/// The thread cannot be started. Where the system gives no notices of changes, the folder is looked at every two
/// seconds.
pub fn watch(folder: Folder, deliver: impl FnMut(Event) + Send + 'static) -> std::io::Result<Watch> {
    let notices = Arc::new(Notices::default());
    let watcher = watcher(notices.clone());
    let thread = std::thread::Builder::new().name("plugin-folder".to_owned());
    let for_thread = notices.clone();
    thread.spawn(move || run(folder, watcher, &for_thread, deliver))?;
    Ok(Watch(notices))
}

/// What was noticed since the last scan. Bounded: only files that concern us are remembered, each once.
#[derive(Debug, Default)]
struct Notices {
    state: Mutex<Noticed>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Noticed {
    something: bool,
    ended: bool,
    touched: BTreeMap<OsString, Instant>,
    /// Plugins whose files are to be told again.
    again: BTreeSet<Arc<str>>,
}

impl Notices {
    fn lock(&self) -> MutexGuard<'_, Noticed> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, event: notify::Result<notify::Event>) {
        let mut state = self.lock();
        for path in event.map(|event| event.paths).unwrap_or_default() {
            if let Some(file) = path.file_name()
                && look::named(file) != Named::Other
            {
                state.touched.insert(file.to_owned(), Instant::now());
            }
        }
        state.something = true;
        self.bell.notify_all();
    }

    /// Waits for a notice, but not before `earliest` and not after `latest`, and answers what was noticed; `None`: watching
    /// is over.
    fn wait(&self, earliest: Instant, latest: Instant) -> Option<Noticed> {
        let mut state = self.lock();
        loop {
            if state.ended {
                return None;
            }
            let wake = if state.something { earliest } else { latest };
            let left = wake.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(std::mem::take(&mut *state));
            }
            state = self.bell.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn watcher(notices: Arc<Notices>) -> Option<RecommendedWatcher> {
    let notice = move |event: notify::Result<notify::Event>| {
        if may_be_change(&event) {
            notices.note(event);
        }
    };
    notify::recommended_watcher(notice)
        .inspect_err(|fault| tracing::warn!(%fault, "plugin folder is not watched, only looked at every two seconds"))
        .ok()
}

fn run(mut folder: Folder, mut watcher: Option<RecommendedWatcher>, notices: &Notices, mut deliver: impl FnMut(Event)) {
    let mut touched = BTreeMap::new();
    let mut last_watch: Option<Instant> = None;
    loop {
        let now = Instant::now();
        if last_watch.is_none_or(|last| now.duration_since(last) >= RESCAN) {
            last_watch = Some(now);
            // Each time anew: the folder may have been replaced. One that is not there is told by the scan.
            if let Some(watcher) = &mut watcher {
                let _ = watcher.watch(&folder.path, RecursiveMode::NonRecursive);
            }
        }
        for event in folder.scan(now, SystemTime::now(), &touched) {
            if notices.lock().ended {
                return;
            }
            deliver(event);
        }
        let latest = now + RESCAN;
        let due = folder.due().map_or(latest, |due| due.min(latest));
        match notices.wait(now + LEAST_GAP, due) {
            Some(noticed) => {
                noticed.again.iter().for_each(|name| folder.again(name));
                touched = noticed.touched;
            }
            None => return,
        }
    }
}
