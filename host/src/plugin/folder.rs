//! The watched folder: a file `NAME.wasm` in it is the plugin NAME, and becomes known when it is whole and quiet.
//!
//! Files are looked at when the system notices a change and every two seconds besides. One whose state (size, times,
//! inode) stayed the same for the quiet time is read once; what is hashed is what is handed over.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::config::Plugins;

mod look;
#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]
mod tests;
mod watch;

pub use look::FileFault;
use look::{Look, Named, Stamp, Taken};
pub use watch::{Watch, watch};

/// The first scan waits at most this much longer than the quiet time for files that are still being written.
const MOST_FIRST_WAIT: Duration = Duration::from_secs(1);
/// The memory of a file that was read is kept for the next one if it is no larger.
const MOST_SPARE_BYTES: usize = 8 << 20;

/// The folder and what is known of its files.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    quiet: Duration,
    most_bytes: u64,
    files: BTreeMap<OsString, File>,
    fault: Option<FolderFault>,
    /// The file that was read last. When everybody else is done with it, its memory is room for the next one: memory that is new
    /// has to be cleared by the system first, and of a large plugin that takes longer than all the rest of its swap.
    spare: Bytes,
}

/// What happened in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A plugin is there, or its content is another than the last that was told.
    Seen {
        /// The file's name without `.wasm`.
        name: Arc<str>,
        /// The whole file.
        bytes: Bytes,
        /// The SHA-256 of these bytes.
        digest: [u8; 32],
        /// When the last change of the file was noticed: the way from there to live is what people wait for.
        noticed: Instant,
    },
    /// A file is there that is not taken; told once for each reason. What was seen under this name before stays good.
    Refused {
        /// The plugin's name, or the whole file name where it is none.
        name: Arc<str>,
        /// Why.
        reason: FileFault,
    },
    /// A file that was seen or refused is gone.
    Removed {
        /// As it was told before.
        name: Arc<str>,
    },
    /// The folder cannot be listed. Nothing counts as removed, and it is tried again every two seconds.
    Lost(FolderFault),
    /// It can be listed again.
    Found,
}

/// Why the folder cannot be listed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plugin folder {folder:?} cannot be listed: {reason}")]
pub struct FolderFault {
    /// The folder as it was configured.
    pub folder: PathBuf,
    /// What the system says.
    pub reason: String,
}

/// One file that is ours to mind.
#[derive(Debug)]
struct File {
    name: Arc<str>,
    progress: Progress,
    told: Told,
}

/// How far we are with the file's present state.
#[derive(Clone, Copy, Debug)]
enum Progress {
    /// To be looked at afresh.
    New,
    /// In this state since then; to be read when that was long enough.
    Waiting { stamp: Stamp, since: Instant },
    /// Read in this state.
    Settled(Stamp),
}

/// What was told of the file last.
#[derive(Debug, PartialEq)]
enum Told {
    Nothing,
    Seen([u8; 32]),
    Refused(FileFault),
    /// Something that is to be told again.
    Forgotten,
}

/// When a scan happens, and what was noticed before it.
#[derive(Clone, Copy)]
struct Moment<'a> {
    now: Instant,
    wall: SystemTime,
    touched: &'a BTreeMap<OsString, Instant>,
}

impl Folder {
    /// The folder of a configuration; nothing is looked at yet.
    pub fn new(plugins: &Plugins) -> Folder {
        Folder {
            path: plugins.folder.clone(),
            quiet: plugins.quiet,
            most_bytes: plugins.file_bytes,
            files: BTreeMap::new(),
            fault: None,
            spare: Bytes::new(),
        }
    }

    /// Looks at everything now and answers all at once, for the start: [`watch`] goes on from there. Files that lie
    /// still are taken at once; for others it waits, but at most the quiet time and a second.
    pub fn scan_now(&mut self) -> Vec<Event> {
        let deadline = Instant::now() + self.quiet + MOST_FIRST_WAIT;
        let mut events = Vec::new();
        loop {
            events.extend(self.scan(Instant::now(), SystemTime::now(), &BTreeMap::new()));
            match self.due() {
                Some(due) if due <= deadline => std::thread::sleep(due.saturating_duration_since(Instant::now())),
                _ => return events,
            }
        }
    }

    /// Tells of a plugin's file again, though it has not changed.
    fn again(&mut self, name: &str) {
        for file in self.files.values_mut().filter(|file| *file.name == *name) {
            (file.progress, file.told) = (Progress::New, Told::Forgotten);
        }
    }

    /// Looks at every file, at this time by the monotonic and the wall clock. `touched`: files that changed since the
    /// last scan, and when that was noticed.
    fn scan(&mut self, now: Instant, wall: SystemTime, touched: &BTreeMap<OsString, Instant>) -> Vec<Event> {
        let mut events = Vec::new();
        let (root, names) = match self.list() {
            Ok(listing) => listing,
            Err(reason) => {
                let fault = FolderFault { folder: self.path.clone(), reason: reason.to_string() };
                if self.fault.replace(fault.clone()).as_ref() != Some(&fault) {
                    events.push(Event::Lost(fault));
                }
                return events;
            }
        };
        if self.fault.take().is_some() {
            events.push(Event::Found);
        }
        self.forget_all_but(&names, &mut events);
        // All looks before the first read: reading takes time, and `now` would be long over.
        let look = |file: OsString| (look::look(&root, root.join(&file)), file);
        for (look, file) in names.into_iter().map(look).collect::<Vec<_>>() {
            events.extend(match look::named(&file) {
                Named::Other => None,
                Named::Refused(name, reason) => file_of(&mut self.files, file, name).refuse(reason),
                Named::Plugin(name) => self.step(file, name, look, Moment { now, wall, touched }),
            });
        }
        events
    }

    /// When a file will have been quiet for long enough; `None`: none is waiting.
    fn due(&self) -> Option<Instant> {
        let since = |file: &File| match file.progress {
            Progress::Waiting { since, .. } => Some(since + self.quiet),
            Progress::New | Progress::Settled(_) => None,
        };
        self.files.values().filter_map(since).min()
    }

    /// Where the folder really is, and the names in it that concern us.
    fn list(&self) -> std::io::Result<(PathBuf, BTreeSet<OsString>)> {
        let root = self.path.canonicalize()?;
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(&root)? {
            let name = entry?.file_name();
            if look::named(&name) != Named::Other {
                names.insert(name);
            }
        }
        Ok((root, names))
    }

    fn forget_all_but(&mut self, names: &BTreeSet<OsString>, events: &mut Vec<Event>) {
        self.files.retain(|file, known| {
            let stays = names.contains(file);
            if !stays && known.told != Told::Nothing {
                events.push(Event::Removed { name: known.name.clone() });
            }
            stays
        });
    }

    /// Goes on with one file: waits for its quiet, then takes it.
    fn step(&mut self, file: OsString, name: Arc<str>, look: Look, moment: Moment<'_>) -> Option<Event> {
        let (quiet, most_bytes) = (self.quiet, self.most_bytes);
        let touched = moment.touched.get(&file).copied();
        let known = file_of(&mut self.files, file, name);
        let (path, stamp) = match look {
            Look::File(path, stamp) => (path, stamp),
            // The next scan finds it gone.
            Look::Gone => return None,
            Look::Refused(reason) => {
                known.progress = Progress::New;
                return known.refuse(reason);
            }
        };
        let since = match (known.progress, touched) {
            (Progress::Settled(last), None) if last == stamp => return None,
            (Progress::Waiting { stamp: last, since }, None) if last == stamp => since,
            (Progress::New, None) if stamp.is_older_than(quiet, moment.wall) => {
                moment.now.checked_sub(quiet).unwrap_or(moment.now)
            }
            _ => touched.unwrap_or(moment.now),
        };
        known.progress = Progress::Waiting { stamp, since };
        if moment.now.saturating_duration_since(since) < quiet {
            return None;
        }
        let taken = look::take(&path, stamp, most_bytes, room(std::mem::take(&mut self.spare)));
        let event = known.settle(taken, stamp, since, moment.now);
        if let Some(Event::Seen { bytes, .. }) = &event
            && bytes.len() <= MOST_SPARE_BYTES
        {
            self.spare = bytes.clone();
        }
        event
    }
}

fn file_of(files: &mut BTreeMap<OsString, File>, file: OsString, name: Arc<str>) -> &mut File {
    files.entry(file).or_insert(File { name, progress: Progress::New, told: Told::Nothing })
}

/// The memory of a file that nobody needs any more.
fn room(spare: Bytes) -> Vec<u8> {
    let Ok(mut room) = spare.try_into_mut() else { return Vec::new() };
    room.clear();
    room.into()
}

impl File {
    /// Minds what came of reading the file in this state, whose last change was noticed at `since`.
    fn settle(&mut self, taken: Taken, stamp: Stamp, since: Instant, now: Instant) -> Option<Event> {
        match taken {
            Taken::Whole(bytes) => {
                self.progress = Progress::Settled(stamp);
                self.see(bytes, since)
            }
            Taken::Changed => {
                self.progress = Progress::Waiting { stamp, since: now };
                None
            }
            Taken::Refused(reason) => {
                // What cannot be read now may be readable later without any change of the file.
                let may_pass = matches!(reason, FileFault::Unreadable(_));
                self.progress = if may_pass { Progress::New } else { Progress::Settled(stamp) };
                self.refuse(reason)
            }
        }
    }

    fn see(&mut self, bytes: Vec<u8>, noticed: Instant) -> Option<Event> {
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        if self.told == Told::Seen(digest) {
            return None;
        }
        self.told = Told::Seen(digest);
        Some(Event::Seen { name: self.name.clone(), bytes: bytes.into(), digest, noticed })
    }

    fn refuse(&mut self, reason: FileFault) -> Option<Event> {
        let told = Told::Refused(reason.clone());
        if self.told == told {
            return None;
        }
        self.told = told;
        Some(Event::Refused { name: self.name.clone(), reason })
    }
}
