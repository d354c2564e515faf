//! File descriptors: how many the process may have, and how many of them clients get.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for listeners, files, the admin listener and its clients.
const RESERVED: u64 = 128;

/// Raises the soft limit to the hard one, and answers how many client connections fit: each may need one to a service.
#[must_use]
pub(super) fn raise(wanted: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Where it cannot be raised, what there is counts.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let limit = if raised { maximum } else { current };
    let fit =
        limit.map_or(usize::MAX, |limit| usize::try_from(limit.saturating_sub(RESERVED) / 2).unwrap_or(usize::MAX));
    if fit < wanted {
        tracing::warn!(wanted, fit, "fewer client connections than configured: `ulimit -n` allows no more");
    }
    wanted.min(fit.max(1))
}
