//! Compiled code on disk, so that a plugin that was compiled once is live at once.
//!
//! An entry's name says what it was compiled from (the file's digest, the engine and its settings) and what it holds (the
//! BLAKE3 of the compiled code: of a large plugin that is megabytes, which a swap waits for). The folder must belong to us and be
//! closed to others, and an entry that does not hold what its name says is thrown away: code that is loaded here runs outside of
//! the sandbox.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use rustix::fs::OFlags;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::engine::hex;

/// Entries that are kept; those that were not used for the longest time go first.
const MOST_ENTRIES: usize = 128;
/// A larger entry is not ours: compiled code is a few times the size of the largest plugin.
const MOST_ENTRY_BYTES: u64 = 1 << 30;
const SUFFIX: &str = ".compiled";

/// The folder of compiled code.
pub(super) struct Cache {
    folder: PathBuf,
}

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheFault {
    #[error("cannot be used: {0}")]
    Io(#[from] io::Error),
    #[error("belongs to another user")]
    Owner,
    #[error("others may write to it (mode {0:o})")]
    Mode(u32),
    #[error("is no folder")]
    Kind,
}

impl Cache {
    /// Opens the folder, and makes it where it is missing.
    pub(super) fn open(folder: &Path) -> Result<Self, CacheFault> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let about = fs::symlink_metadata(folder)?;
        if !about.is_dir() {
            return Err(CacheFault::Kind);
        }
        if about.uid() != rustix::process::geteuid().as_raw() {
            return Err(CacheFault::Owner);
        }
        if about.mode() & 0o022 != 0 {
            return Err(CacheFault::Mode(about.mode() & 0o777));
        }
        Ok(Self { folder: folder.to_path_buf() })
    }

    /// The compiled code of a file, where it is there and whole.
    pub(super) fn load(&self, engine: &Engine, digest: &[u8; 32]) -> Option<Component> {
        let prefix = prefix(engine, digest);
        let names = fs::read_dir(&self.folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let name = names.filter(|name| name.starts_with(&prefix) && name.ends_with(SUFFIX)).min()?;
        let path = self.folder.join(&name);
        let held = name.strip_prefix(&prefix)?.strip_suffix(SUFFIX)?;
        match read(&path, held) {
            Ok(()) => match deserialize(engine, &path) {
                Ok(component) => Some(component),
                Err(reason) => self.discard(&path, &reason.to_string()),
            },
            Err(reason) => self.discard(&path, &reason.to_string()),
        }
    }

    fn discard(&self, path: &Path, reason: &str) -> Option<Component> {
        tracing::warn!(entry = %path.display(), reason, "compiled code thrown away, compiling again");
        // Where it cannot be removed it is found bad again.
        let _ = fs::remove_file(path);
        None
    }

    /// Keeps compiled code. A fault costs the next start some time and nothing else.
    pub(super) fn store(&self, engine: &Engine, digest: &[u8; 32], component: &Component) {
        let stored = component
            .serialize()
            .map_err(|fault| io::Error::other(fault.to_string()))
            .and_then(|code| self.write(&prefix(engine, digest), &code));
        if let Err(fault) = stored {
            tracing::warn!(folder = %self.folder.display(), reason = %fault, "compiled code cannot be kept");
        }
        self.prune();
    }

    fn write(&self, prefix: &str, code: &[u8]) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let held = hex(blake3::hash(code).as_bytes());
        let draft = self.folder.join(format!(".{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed)));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .and_then(|mut file| file.write_all(code))
            .and_then(|()| fs::rename(&draft, self.folder.join(format!("{prefix}{held}{SUFFIX}"))));
        if written.is_err() {
            // There is nothing to remove where it was not made.
            let _ = fs::remove_file(&draft);
        }
        written
    }

    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut entries: Vec<(SystemTime, PathBuf)> = entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let used = fs::symlink_metadata(&path).ok()?.modified().ok()?;
                path.to_str()?.ends_with(SUFFIX).then_some((used, path))
            })
            .collect();
        entries.sort();
        for (_, path) in entries.iter().rev().skip(MOST_ENTRIES) {
            // Another gateway may have been first.
            let _ = fs::remove_file(path);
        }
    }
}

/// What an entry of this file for this engine begins with.
fn prefix(engine: &Engine, digest: &[u8; 32]) -> String {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    format!("{}-{:016x}-", hex(digest), settings.finish())
}

/// Checks that an entry is ours, regular, and holds what its name says.
fn read(path: &Path, held: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
    let about = file.metadata()?;
    let ours = about.uid() == rustix::process::geteuid().as_raw() && about.permissions().mode() & 0o022 == 0;
    if !about.is_file() || !ours || about.len() > MOST_ENTRY_BYTES {
        return Err(io::Error::other("not a file of ours"));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&mut file)?;
    if hex(hasher.finalize().as_bytes()) != held {
        return Err(io::Error::other("damaged"));
    }
    // So that pruning knows what is used; where it fails, the entry is compiled again some day.
    let _ = file.set_modified(SystemTime::now());
    Ok(())
}

#[allow(unsafe_code, reason = "compiled code can only be trusted, not checked")]
fn deserialize(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file was written by this program, into a folder that only this user may write to, and holds what was
    // written: its digest is in its name. The engine refuses code of another version or with other settings.
    unsafe { Component::deserialize_file(engine, path) }
}
