//! Named key sets and the verification of JSON Web Tokens against them. Keys are read from files or the environment,
//! stay in the host, and are exchanged while requests run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};

use crate::config;
use crate::config::{Algorithm, SecretSource};

mod claims;
mod key;
mod read;
#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]
mod signers;
mod verify;
mod watch;

pub use key::{Key, KeyFault};
pub use read::SourceFault;
pub use verify::{BadPointer, Failure, MOST_TOKEN_BYTES, Rule, Rules, Verified, Verifier};
pub use watch::watch;

/// Longer sources are refused: 1 MiB is hundreds of keys.
const MOST_SOURCE_BYTES: u64 = 1024 * 1024;

/// Numbers every [`Keys`] of the process, so that two different ones never have the same number.
static GENERATIONS: AtomicU64 = AtomicU64::new(0);

/// All key sets of a configuration by name.
#[derive(Debug, Default)]
pub struct KeySets(BTreeMap<Arc<str>, Arc<KeySet>>);

impl KeySets {
    /// Reads the sets of a configuration. A set of the same name and source is taken over from `previous` and
    /// refreshed: its keys survive, and so do verdicts remembered with them. One that cannot be read is there without
    /// keys (and logs an error): tokens are then answered [`Failure::KeysUnavailable`] until the source is repaired.
    pub fn load(sources: &BTreeMap<Arc<str>, config::KeySet>, previous: &KeySets) -> KeySets {
        let set = |(name, source): (&Arc<str>, &config::KeySet)| {
            let kept = previous.get(name).filter(|set| set.source == *source).cloned();
            let set = kept.unwrap_or_else(|| Arc::new(KeySet::new(name.clone(), source.clone())));
            set.refresh();
            (name.clone(), set)
        };
        KeySets(sources.iter().map(set).collect())
    }

    /// The set of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<KeySet>> {
        self.0.get(name)
    }

    /// The sets in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<KeySet>> {
        self.0.values()
    }

    /// Reads every source again and answers the names of the sets whose keys changed.
    pub fn refresh(&self) -> Vec<Arc<str>> {
        self.iter().filter(|set| set.refresh()).map(|set| set.name.clone()).collect()
    }

    /// The files that sets are read from.
    fn files(&self) -> impl Iterator<Item = &Path> {
        self.iter().filter_map(|set| file(&set.source))
    }
}

/// A named set of keys, exchanged as a whole when its source changes.
#[derive(Debug)]
pub struct KeySet {
    name: Arc<str>,
    source: config::KeySet,
    current: ArcSwap<Keys>,
    last_read: Mutex<LastRead>,
}

/// What came of reading the source.
#[derive(Debug)]
enum LastRead {
    Never,
    /// There was no content to be had.
    Nothing(SourceFault),
    /// This content (its SHA-256) was good, or not.
    Content([u8; 32], Result<(), SourceFault>),
}

impl LastRead {
    fn fault(&self) -> Option<&SourceFault> {
        match self {
            LastRead::Nothing(fault) | LastRead::Content(_, Err(fault)) => Some(fault),
            LastRead::Never | LastRead::Content(_, Ok(())) => None,
        }
    }
}

/// The keys of a set at one time.
#[derive(Debug)]
pub struct Keys {
    generation: u64,
    keys: Vec<Key>,
    ignored: Vec<String>,
}

/// How a set is doing, for the admin API.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct State {
    /// The set's name.
    pub name: Arc<str>,
    /// The generation of its keys.
    pub generation: u64,
    /// How many keys it has.
    pub keys: usize,
    /// Keys of the document that are passed over, and why.
    pub ignored: Vec<String>,
    /// Why the source as it is now was not taken; the keys are then those of the last good one.
    pub fault: Option<String>,
}

impl KeySet {
    fn new(name: Arc<str>, source: config::KeySet) -> KeySet {
        let current = ArcSwap::from_pointee(Keys::new(read::Read::default()));
        KeySet { name, source, current, last_read: Mutex::new(LastRead::Never) }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The keys of now. A request takes them once.
    pub fn current(&self) -> Arc<Keys> {
        self.current.load_full()
    }

    /// The generation of the keys of now.
    pub fn generation(&self) -> u64 {
        self.current.load().generation
    }

    /// How it is doing.
    pub fn state(&self) -> State {
        let fault = self.last_read.lock().unwrap_or_else(PoisonError::into_inner).fault().map(ToString::to_string);
        let keys = self.current();
        State {
            name: self.name.clone(),
            generation: keys.generation,
            keys: keys.len(),
            ignored: keys.ignored.clone(),
            fault,
        }
    }

    /// Reads the source again; whether the keys changed. A source that is bad or gone leaves the last good keys in
    /// place and logs one error, however often it is read.
    pub fn refresh(&self) -> bool {
        let mut last = self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, keys) = match content(&self.source) {
            Err(fault) => (LastRead::Nothing(fault), None),
            Ok(bytes) => {
                let digest: [u8; 32] = Sha256::digest(&bytes).into();
                if matches!(*last, LastRead::Content(known, _) if known == digest) {
                    return false;
                }
                match Keys::read(&self.source, &bytes) {
                    Ok(keys) => (LastRead::Content(digest, Ok(())), Some(keys)),
                    Err(fault) => (LastRead::Content(digest, Err(fault)), None),
                }
            }
        };
        match next.fault() {
            Some(fault) if last.fault() != Some(fault) => match self.current().is_empty() {
                true => tracing::error!(keys = %self.name, %fault, "key source refused: there are no keys"),
                false => tracing::error!(keys = %self.name, %fault, "key source refused: the old keys are kept"),
            },
            _ => {}
        }
        *last = next;
        keys.is_some_and(|keys| self.exchange(keys))
    }

    fn exchange(&self, keys: Keys) -> bool {
        tracing::info!(keys = %self.name, count = keys.len(), generation = keys.generation, "keys read");
        for reason in &keys.ignored {
            tracing::warn!(keys = %self.name, %reason, "key ignored");
        }
        self.current.store(Arc::new(keys));
        true
    }
}

impl Keys {
    /// The keys that a source of this kind holds.
    ///
    /// # Errors
    ///
    /// As [`KeySet::state`] shows them: the bytes are not of the kind, or hold keys and none is usable.
    pub fn read(source: &config::KeySet, bytes: &[u8]) -> Result<Keys, SourceFault> {
        read::read(source, bytes).map(Keys::new)
    }

    fn new(read: read::Read) -> Keys {
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        Keys { generation, keys: read.keys, ignored: read.ignored }
    }

    /// A number that no other keys of this process have, later ones a larger one: what a remembered verdict depends on.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that may have signed a token of this algorithm and key name.
    fn candidates(&self, algorithm: Algorithm, id: Option<&str>) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| {
            let named = match (key.id.as_deref(), id) {
                (Some(known), Some(asked)) => known == asked,
                (None, _) | (_, None) => true,
            };
            named && key.algorithm == algorithm
        })
    }
}

/// The file of a source; `None` for an environment variable.
fn file(source: &config::KeySet) -> Option<&Path> {
    match source {
        config::KeySet::Jwks(file)
        | config::KeySet::Pem { file, .. }
        | config::KeySet::Secret { from: SecretSource::File(file), .. } => Some(file),
        config::KeySet::Secret { from: SecretSource::Environment(_), .. } => None,
    }
}

fn content(source: &config::KeySet) -> Result<Vec<u8>, SourceFault> {
    match source {
        config::KeySet::Secret { from: SecretSource::Environment(name), .. } => {
            std::env::var(name).map(String::into_bytes).map_err(|_| SourceFault::NotSet)
        }
        config::KeySet::Jwks(file)
        | config::KeySet::Pem { file, .. }
        | config::KeySet::Secret { from: SecretSource::File(file), .. } => file_content(file),
    }
}

fn file_content(file: &PathBuf) -> Result<Vec<u8>, SourceFault> {
    let unreadable = |fault: std::io::Error| SourceFault::Unreadable(format!("{}: {fault}", file.display()));
    // A FIFO would block the reader for ever.
    if !std::fs::metadata(file).map_err(unreadable)?.is_file() {
        return Err(SourceFault::NotAFile);
    }
    let mut bytes = Vec::new();
    File::open(file).and_then(|open| open.take(MOST_SOURCE_BYTES + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    match bytes.len() as u64 > MOST_SOURCE_BYTES {
        true => Err(SourceFault::TooLong { most: MOST_SOURCE_BYTES }),
        false => Ok(bytes),
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]
mod tests;
