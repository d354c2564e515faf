//! Noticing that a file changed: replaced by a rename, rewritten, or swapped behind a symbolic link as Kubernetes does it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

/// A file is read when its folder was quiet for this long: a half-written secret is a wrong secret.
const QUIET: Duration = Duration::from_millis(50);

/// A folder that is never quiet does not keep new content away for longer than this.
const MOST_WAIT: Duration = Duration::from_secs(1);

/// How often files are read without any notice: notices can be lost, and links may lead to folders that are not
/// watched.
const RESCAN: Duration = Duration::from_secs(5);

/// Watches as long as it lives.
#[derive(Debug)]
#[must_use = "watching ends when this is dropped"]
pub struct Watch(Sender<Notice>);

impl Drop for Watch {
    fn drop(&mut self) {
        // The thread may have ended by itself.
        let _ = self.0.send(Notice::Stop);
    }
}

enum Notice {
    Changed,
    Stop,
}

/// Calls `read` at once, and again when one of `files` may have changed, on a thread of its own of this name.
///
/// # Errors
/// The thread cannot be started. Where the system gives no notices of changes, files are read every 5 s.
pub fn watch(
    name: &'static str,
    files: impl Fn() -> Vec<PathBuf> + Send + 'static,
    read: impl Fn() + Send + 'static,
) -> std::io::Result<Watch> {
    let (sender, notices) = channel();
    let watcher = watcher(name, sender.clone());
    let run = move || run(&files, watcher, &notices, &read);
    std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
    Ok(Watch(sender))
}

fn watcher(name: &'static str, sender: Sender<Notice>) -> Option<RecommendedWatcher> {
    let notice = move |event: notify::Result<notify::Event>| {
        if may_be_change(&event) {
            // The thread may have ended.
            let _ = sender.send(Notice::Changed);
        }
    };
    notify::recommended_watcher(notice)
        .inspect_err(|fault| tracing::warn!(name, %fault, "files are not watched, only read every few seconds"))
        .ok()
}

/// Whether a notice may be one of a change. That somebody opened or read a file is none: we do so ourselves, and would read again
/// because we have read.
pub(crate) fn may_be_change(event: &notify::Result<notify::Event>) -> bool {
    let kind = event.as_ref().map(|event| event.kind);
    !matches!(kind, Ok(EventKind::Access(AccessKind::Open(_) | AccessKind::Read)))
}

fn run(
    files: &dyn Fn() -> Vec<PathBuf>,
    mut watcher: Option<RecommendedWatcher>,
    notices: &Receiver<Notice>,
    read: &dyn Fn(),
) {
    loop {
        // Each time anew: a folder may have been replaced. A folder that is not there is read again by and by.
        if let Some(watcher) = &mut watcher {
            for folder in folders(&files()) {
                let _ = watcher.watch(&folder, RecursiveMode::NonRecursive);
            }
        }
        read();
        match notices.recv_timeout(RESCAN) {
            Ok(Notice::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Notice::Changed) => {
                if let Notice::Stop = wait_for_quiet(notices) {
                    return;
                }
            }
        }
    }
}

fn wait_for_quiet(notices: &Receiver<Notice>) -> Notice {
    let begin = Instant::now();
    while begin.elapsed() < MOST_WAIT {
        match notices.recv_timeout(QUIET) {
            Ok(Notice::Changed) => {}
            Ok(Notice::Stop) | Err(RecvTimeoutError::Disconnected) => return Notice::Stop,
            Err(RecvTimeoutError::Timeout) => break,
        }
    }
    Notice::Changed
}

/// The folders of the files, and of what they are links to.
fn folders(files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let folder = |file: &Path| match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    files
        .iter()
        .flat_map(|file| [Some(folder(file)), file.canonicalize().ok().map(|real| folder(&real))])
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use notify::Event;
    use notify::event::{AccessMode, CreateKind, ModifyKind};

    use super::*;

    #[test]
    fn to_open_a_file_is_no_change_and_all_else_may_be_one() {
        let notice = |kind| may_be_change(&Ok(Event::new(kind)));
        for opened in [AccessKind::Read, AccessKind::Open(AccessMode::Any), AccessKind::Open(AccessMode::Read)] {
            assert!(!notice(EventKind::Access(opened)), "{opened:?}");
        }
        assert!(notice(EventKind::Access(AccessKind::Close(AccessMode::Write))));
        assert!(notice(EventKind::Create(CreateKind::File)) && notice(EventKind::Modify(ModifyKind::Any)));
        assert!(may_be_change(&Err(notify::Error::generic("notices were lost"))));
    }
}
