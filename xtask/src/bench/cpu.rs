//! CPU time from `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// What a process and all its descendants have used so far, in user and kernel mode, all threads. Exact to 10 ms.
///
/// # Errors
///
/// The process has ended.
pub(super) fn of_tree(root: u32) -> Result<Duration> {
    let stats = fs::read_dir("/proc")?.flatten().filter_map(|entry| {
        let id = entry.file_name().to_str()?.parse::<u32>().ok()?;
        Stat::parse(id, &fs::read_to_string(entry.path().join("stat")).ok()?)
    });
    let stats = stats.collect::<Vec<_>>();
    stats.iter().find(|stat| stat.id == root).with_context(|| format!("process {root} has ended"))?;
    let mut tree = BTreeSet::from([root]);
    // Ids wrap around, so a child may stand before its parent: until nothing is added.
    while stats.iter().any(|stat| tree.contains(&stat.parent) && tree.insert(stat.id)) {}
    let ticks: u64 = stats.iter().filter(|stat| tree.contains(&stat.id)).map(|stat| stat.ticks).sum();
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// What we need of `/proc/ID/stat` (proc_pid_stat(5)).
#[derive(Debug, PartialEq)]
struct Stat {
    id: u32,
    parent: u32,
    /// Fields 14 and 15, in clock ticks.
    ticks: u64,
}

impl Stat {
    fn parse(id: u32, text: &str) -> Option<Self> {
        // The name is in parentheses and may hold anything; field 3 follows the last one.
        let mut fields = text.get(text.rfind(')')? + 1..)?.split_whitespace().skip(1);
        let parent = fields.next()?.parse().ok()?;
        let mut times = fields.skip(9);
        let user: u64 = times.next()?.parse().ok()?;
        let kernel: u64 = times.next()?.parse().ok()?;
        Some(Self { id, parent, ticks: user + kernel })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_a_name_that_lies() {
        let text = "7 (a) b (c) S 3 7 7 0 -1 4194560 100 0 0 0 41 2 9 9 20 0 5 0 100";
        assert_eq!(Stat::parse(7, text), Some(Stat { id: 7, parent: 3, ticks: 43 }));
    }

    #[test]
    fn we_have_a_time_and_a_process_that_is_not_there_has_none() {
        assert!(of_tree(std::process::id()).is_ok());
        assert!(of_tree(u32::MAX).is_err());
    }
}
