//! One look at what lies in the folder under one name, and reading it without being led astray.

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// The longest name of a plugin, in bytes.
const MOST_NAME_BYTES: usize = 64;

/// Why a file is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum FileFault {
    #[error("precompiled code is never taken from here; drop in the component itself (`.wasm`)")]
    Precompiled,
    #[error("not a plugin's name: a lower-case letter or digit, then at most 63 of those, `-`, `_` and `.`")]
    Name,
    #[error("{0}, not a regular file")]
    NotAFile(&'static str),
    #[error("a symbolic link that leads out of the folder")]
    Outside,
    #[error("a symbolic link that leads nowhere")]
    DeadLink,
    #[error("{bytes} bytes; {most} are the most")]
    TooLong { bytes: u64, most: u64 },
    #[error("cannot be read: {0}")]
    Unreadable(String),
}

/// What a name in the folder is to us.
#[derive(Debug, PartialEq, Eq)]
pub enum Named {
    /// Nothing: a temporary file, a hidden one, something else.
    Other,
    /// A plugin of this name.
    Plugin(Arc<str>),
    /// Meant for us, it seems, and not taken.
    Refused(Arc<str>, FileFault),
}

/// Tells what a file name is.
pub fn named(file: &OsStr) -> Named {
    let Some(file) = file.to_str() else { return Named::Other };
    if !file.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Named::Other;
    }
    match file.rsplit_once('.') {
        Some((name, "wasm")) if is_plugin_name(name) => Named::Plugin(name.into()),
        Some((_, "wasm")) => Named::Refused(file.escape_debug().to_string().into(), FileFault::Name),
        Some((_, "cwasm")) => Named::Refused(file.escape_debug().to_string().into(), FileFault::Precompiled),
        _ => Named::Other,
    }
}

fn is_plugin_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    name.len() <= MOST_NAME_BYTES
        && name.bytes().all(inner)
        && name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
}

/// What tells two states of files apart without reading them. The change time is the kernel's: nobody can set it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &Metadata) -> Stamp {
        Stamp {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }

    /// Whether the file has not changed for so long, by the wall clock. A change that lies in the future proves
    /// nothing.
    pub fn is_older_than(&self, age: Duration, wall: SystemTime) -> bool {
        let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(self.changed.0), u32::try_from(self.changed.1)) else {
            return false;
        };
        let changed = UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds));
        changed.and_then(|changed| wall.duration_since(changed).ok()).is_some_and(|passed| passed >= age)
    }
}

/// What lies under a name.
#[derive(Debug)]
pub enum Look {
    /// Nothing, any more.
    Gone,
    /// A regular file: where it really is, and its state.
    File(PathBuf, Stamp),
    /// Something that is not taken.
    Refused(FileFault),
}

/// Looks at `path`, which lies directly in `root`; `root` has no symbolic links in it. Opens nothing: opening a device
/// does things.
pub fn look(root: &Path, path: PathBuf) -> Look {
    let place = match std::fs::symlink_metadata(&path) {
        Ok(file) if file.is_symlink() => follow(root, &path),
        Ok(file) => Ok((path, file)),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Look::Gone,
        Err(fault) => Err(unreadable(&fault)),
    };
    match place {
        Ok((path, file)) if file.is_file() => Look::File(path, Stamp::of(&file)),
        Ok((_, file)) => Look::Refused(FileFault::NotAFile(kind(&file))),
        Err(fault) => Look::Refused(fault),
    }
}

/// Follows a link as long as it stays within the folder.
fn follow(root: &Path, link: &Path) -> Result<(PathBuf, Metadata), FileFault> {
    let dead = |fault: io::Error| match fault.kind() {
        io::ErrorKind::NotFound => FileFault::DeadLink,
        _ => unreadable(&fault),
    };
    let target = link.canonicalize().map_err(dead)?;
    if !target.starts_with(root) {
        return Err(FileFault::Outside);
    }
    let file = std::fs::symlink_metadata(&target).map_err(dead)?;
    Ok((target, file))
}

fn kind(file: &Metadata) -> &'static str {
    let kind = file.file_type();
    match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () if kind.is_symlink() => "a symbolic link",
        () => "a device",
    }
}

fn unreadable(fault: &io::Error) -> FileFault {
    FileFault::Unreadable(fault.to_string())
}

/// What came of reading a file.
#[derive(Debug)]
pub enum Taken {
    /// The whole content of the one state that was looked at.
    Whole(Vec<u8>),
    /// It is no longer in that state.
    Changed,
    /// It is not taken.
    Refused(FileFault),
}

/// Reads the file that was looked at, whole, once, and only if nobody changes it meanwhile. Never blocks on what is no
/// file. `room` is memory for it: an empty vector with any capacity.
pub fn take(path: &Path, stamp: Stamp, most: u64, room: Vec<u8>) -> Taken {
    match read(path, stamp, most, room) {
        Ok(taken) => taken,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Taken::Changed,
        // It was no link a moment ago.
        Err(fault) if fault.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => Taken::Changed,
        Err(fault) => Taken::Refused(unreadable(&fault)),
    }
}

fn read(path: &Path, stamp: Stamp, most: u64, mut bytes: Vec<u8>) -> io::Result<Taken> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let is_same = |file: &File| file.metadata().map(|now| now.is_file() && Stamp::of(&now) == stamp);
    if !is_same(&file)? {
        return Ok(Taken::Changed);
    }
    if stamp.bytes > most {
        return Ok(Taken::Refused(FileFault::TooLong { bytes: stamp.bytes, most }));
    }
    bytes.reserve_exact(usize::try_from(stamp.bytes).unwrap_or_default());
    // One more, to see that there is no more.
    (&mut file).take(stamp.bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == stamp.bytes && is_same(&file)? {
        true => Ok(Taken::Whole(bytes)),
        false => Ok(Taken::Changed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plugins_name_with_wasm_is_a_plugin() {
        let longest = "a".repeat(64);
        for name in ["a", "0", "jwt-auth", "a_b.c", "a.tmp", &longest] {
            assert_eq!(named(format!("{name}.wasm").as_ref()), Named::Plugin(name.into()));
        }
        for file in [
            ".wasm",
            ".a.wasm",
            ".a.wasm.x1Y2",
            "a.wasm~",
            "a.wasm.tmp",
            "#a.wasm#",
            "a",
            "a.WASM",
            "_a.wasm",
            "a.wasm ",
            "",
        ] {
            assert_eq!(named(file.as_ref()), Named::Other, "{file}");
        }
        for file in ["A.wasm", "a b.wasm", "a\u{e9}.wasm", &format!("{longest}a.wasm"), "aB.wasm"] {
            assert_eq!(named(file.as_ref()), Named::Refused((*file).into(), FileFault::Name));
        }
        assert_eq!(named("a\nb.wasm".as_ref()), Named::Refused("a\\nb.wasm".into(), FileFault::Name));
        assert_eq!(named("a.cwasm".as_ref()), Named::Refused("a.cwasm".into(), FileFault::Precompiled));
    }
}
