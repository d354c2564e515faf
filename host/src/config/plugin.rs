//! `[plugins]` and `[plugin.NAME]`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::groups::{List, OrFalse};
use super::kinds::{Count, FILE, Name, Parsed, Role, SPAN, Size, Time, Words};
use super::source::{Source, Space};
use super::table::Table;
use super::texts;

/// What the engine has room for, and one page.
const MEMORY: Size<usize> = Size(64 << 10..=1 << 30);
/// Half of what the threads have that call plugins; less than a C library needs is of no use.
const STACK: Size<usize> = Size(64 << 10..=2 << 20);
/// What the engine has room for.
const TABLE_ELEMENTS: Count<u32> = Count(1..=100_000);
/// What the engine has room for.
const PARTS: Count<u16> = Count(1..=64);
/// One call holds up every request of its worker: nobody can want more.
const CALL: Time = Time(Duration::from_micros(100), Duration::from_mins(1));
/// A compile takes seconds for the largest plugins that we know.
const COMPILE: Time = Time(Duration::from_millis(1), Duration::from_hours(1));
/// More threads than cores help nobody; each has instances of its own.
const THREADS: Count<u16> = Count(1..=64);
const SHA256: Parsed<[u8; 32]> = Parsed {
    what: "64 lower-case hexadecimal digits",
    parse: texts::sha256,
    show: |digest| json!(digest.map(|byte| format!("{byte:02x}")).concat()),
};

/// Where plugins come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Plugins {
    /// The watched folder, absolute or relative to the configuration file (resolved here).
    pub folder: PathBuf,
    /// Where compiled code is kept; `None`: nowhere.
    pub cache: Option<PathBuf>,
    /// How long a file must be unchanged before it is read.
    pub quiet: Duration,
    /// The largest file that is taken.
    pub file_bytes: u64,
    /// The most stack that one call may take.
    pub stack_bytes: usize,
    /// The longest that compiling one file may take.
    pub compile_time: Duration,
    /// A version that is suspended this soon after its swap makes place for the one before it; zero: never.
    pub probation: Duration,
    /// Threads that run the calls of offloaded plugins.
    pub offload_threads: usize,
    /// Calls of one use that may wait for such a thread.
    pub offload_queue: usize,
}

impl Plugins {
    /// What a call may take of stack where nothing else is said.
    pub const STACK_BYTES: usize = 512 << 10;

    pub(super) fn read(t: &mut Table<'_>) -> Self {
        let folder = t.or("folder", "The watched folder; NAME.wasm in it is the plugin NAME.", "plugins".into(), &FILE);
        let cache = "Where compiled code is kept; `false`: nowhere. \
                     Default: gatewright/compiled in $XDG_CACHE_HOME, else in ~/.cache.";
        let quiet = "How long a file must be unchanged before it is read.";
        let compile = "The longest that compiling one file may take, and that a start waits for all of them. A compile cannot \
                       be stopped: its file is rejected, it goes on beside the next with the lowest priority, with at most two \
                       others, and what comes of it is taken if the file is still the newest.";
        let probation = "A version that is suspended this soon after its swap makes place for the one before it; \
                         `0s`: never.";
        let queue = "Calls of one use that may wait for such a thread; more are failures of the kind `overload`.";
        let cache = t.given("cache", cache, &OrFalse(FILE)).map(|path| path.map(|path| t.resolve(path)));
        Self {
            folder: t.resolve(folder),
            cache: cache.unwrap_or_else(user_cache),
            quiet: t.or("quiet", quiet, Duration::from_millis(20), &Time(Duration::ZERO, Duration::from_secs(10))),
            file_bytes: t.or("file_bytes", "The largest file that is taken.", 32 << 20, &Size(1 << 10..=1 << 30)),
            stack_bytes: t.or("stack", "The most stack that one call may take.", Self::STACK_BYTES, &STACK),
            compile_time: t.or("compile_time", compile, Duration::from_mins(1), &COMPILE),
            probation: t.or("probation", probation, Duration::from_secs(30), &SPAN),
            offload_threads: t
                .or("offload_threads", "Threads for plugins that are placed `offload`.", 2, &THREADS)
                .into(),
            offload_queue: t.or("offload_queue", queue, 64, &Count(1..=65_535_u16)).into(),
        }
    }
}

/// The user's own cache folder, which only the user can write.
fn user_cache() -> Option<PathBuf> {
    let folder = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    Some(cache.join("gatewright").join("compiled"))
}

/// What the host allows one plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct Plugin {
    /// Key sets that it may name; not empty grants the `jwt` interface.
    pub keys: BTreeSet<Arc<str>>,
    /// The longest one call may run, in time of the processor: what keeps it from running is not held against it.
    pub call_time: Duration,
    /// The longest `configure` may run, in time of the processor.
    pub configure_time: Duration,
    /// The most linear memory of one instance.
    pub memory_bytes: usize,
    /// The most elements of the tables of one instance, together.
    pub table_elements: u32,
    /// The most core instances that one instance consists of; and the most memories, and the most tables.
    pub parts: u16,
    /// The most bytes that one answer may hold.
    pub answer_bytes: usize,
    /// Kept between calls, or new for every request.
    pub isolation: Isolation,
    /// On the worker, or on a small pool of threads.
    pub placement: Placement,
    /// The longest that a verdict is remembered, whatever the plugin says; zero: never.
    pub remember: Duration,
    /// The SHA-256 that the file must have; `None`: any.
    pub sha256: Option<[u8; 32]>,
}

/// How instances are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// One instance per worker and use, kept between calls.
    Reused,
    /// A new configured instance for every request.
    Fresh,
}

/// Where calls run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On the worker that has the request.
    Inline,
    /// On a bounded pool of threads.
    Offload,
}

impl Default for Plugin {
    /// What a plugin is allowed that the configuration says nothing of.
    fn default() -> Self {
        Self::read(&mut Table::absent(&Source::nowhere()))
    }
}

impl Plugin {
    pub(super) fn read(t: &mut Table<'_>) -> Self {
        let keys = List { of: Name(Role::Refers(Space::Keys)), least: 0 };
        let isolations = Words(&[("reused", Isolation::Reused), ("fresh", Isolation::Fresh)]);
        let placements = Words(&[("inline", Placement::Inline), ("offload", Placement::Offload)]);
        let isolation = "`reused`: an instance per worker is kept; `fresh`: a new one for every request.";
        let placement = "`inline`: on the worker; `offload`: on a few threads, for plugins that are slow by nature. \
                         Waiting for a place among them counts against the time of a call.";
        let remember = "The longest a verdict is remembered, whatever the plugin says; `0s`: never.";
        let elements = "The most elements of the tables of one instance, together.";
        let parts =
            "The most core instances that one instance consists of; and the most memories, and the most tables.";
        let configure = Time(Duration::from_millis(1), Duration::from_mins(5));
        Self {
            keys: t.or("keys", "Key sets that it may name.", vec![], &keys).into_iter().collect(),
            call_time: t.or(
                "call_time",
                "The longest one call may run, in time of the processor.",
                Duration::from_millis(5),
                &CALL,
            ),
            configure_time: t.or(
                "configure_time",
                "The longest `configure` may run, in time of the processor.",
                Duration::from_secs(1),
                &configure,
            ),
            memory_bytes: t.or("memory", "The most memory of one instance.", 64 << 20, &MEMORY),
            table_elements: t.or("table_elements", elements, 100_000, &TABLE_ELEMENTS),
            parts: t.or("parts", parts, 64, &PARTS),
            answer_bytes: t.or("answer", "The most that one answer may hold.", 1 << 20, &Size(1 << 10..=1 << 30)),
            isolation: t.or("isolation", isolation, Isolation::Reused, &isolations),
            placement: t.or("placement", placement, Placement::Inline, &placements),
            remember: t.or("remember", remember, Duration::from_secs(60), &SPAN),
            sha256: t.given("sha256", "The SHA-256 that the file must have, in hexadecimal. Default: any.", &SHA256),
        }
    }
}
