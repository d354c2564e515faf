//! Key sets follow their files.

use std::sync::Arc;

use super::KeySets;
use crate::files;

/// Refreshes the sets when their files change, on a thread of its own named `keys`, and tells `changed` the names of
/// the sets that have new keys.
///
/// # Errors
///
/// The thread cannot be started. Where the system gives no notices of changes, files are read every 5 s.
pub fn watch(sets: Arc<KeySets>, changed: impl Fn(&[Arc<str>]) + Send + 'static) -> std::io::Result<files::Watch> {
    let files = Arc::clone(&sets);
    let read = move || {
        let names = sets.refresh();
        if !names.is_empty() {
            changed(&names);
        }
    };
    files::watch("keys", move || files.files().map(Into::into).collect(), read)
}
