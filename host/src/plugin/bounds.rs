//! What one instance may take of memory and of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use wasmtime::Result;

use crate::config;

/// Log lines of one instance in one second; the rest is counted and dropped.
const MOST_LINES_A_SECOND: u32 = 20;
/// A longer log line is cut.
pub(super) const MOST_LINE_BYTES: usize = 2048;

/// The longest beginning of a text that has at most so many bytes.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// A text that a plugin had a hand in, as a part of one log line.
pub(super) fn line(text: &str) -> String {
    cut(text, MOST_LINE_BYTES).replace(char::is_control, " ")
}

/// How many lines an instance has logged in this second.
pub(super) struct Lines {
    since: Instant,
    count: u32,
}

impl Lines {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, count: 0 }
    }

    /// Whether one more may be written.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since).as_secs() >= 1 {
            *self = Self { since: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= MOST_LINES_A_SECOND
    }
}

/// What the instances of a use have together.
#[derive(Debug, Default)]
pub struct Footprint {
    /// Instances that are there.
    pub instances: AtomicUsize,
    /// Bytes of their linear memories.
    pub memory_bytes: AtomicUsize,
}

/// Bounds an instance's memories and tables, those of each kind together, and its parts.
pub(super) struct Memory {
    most_bytes: usize,
    most_elements: usize,
    most_parts: usize,
    elements: usize,
    pub(super) bytes: usize,
    /// Whether growth was denied since this was last cleared.
    pub(super) denied: bool,
    footprint: Arc<Footprint>,
}

impl Memory {
    /// The memory of an instance of which the host allows so much, and that counts into this.
    pub(super) fn new(allowed: &config::Plugin, footprint: &Arc<Footprint>) -> Self {
        footprint.instances.fetch_add(1, Relaxed);
        Self {
            most_bytes: allowed.memory_bytes,
            most_elements: usize::try_from(allowed.table_elements).unwrap_or(usize::MAX),
            most_parts: allowed.parts.into(),
            elements: 0,
            bytes: 0,
            denied: false,
            footprint: Arc::clone(footprint),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.footprint.instances.fetch_sub(1, Relaxed);
        self.footprint.memory_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

impl wasmtime::ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _most: Option<usize>) -> Result<bool> {
        let grown = self.bytes.saturating_add(desired.saturating_sub(current));
        let fits = grown <= self.most_bytes;
        if fits {
            self.footprint.memory_bytes.fetch_add(grown - self.bytes, Relaxed);
            self.bytes = grown;
        } else {
            self.denied = true;
        }
        Ok(fits)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _most: Option<usize>) -> Result<bool> {
        let grown = self.elements.saturating_add(desired.saturating_sub(current));
        let fits = grown <= self.most_elements;
        if fits {
            self.elements = grown;
        } else {
            self.denied = true;
        }
        Ok(fits)
    }

    fn instances(&self) -> usize {
        self.most_parts
    }

    fn tables(&self) -> usize {
        self.most_parts
    }

    fn memories(&self) -> usize {
        self.most_parts
    }
}
