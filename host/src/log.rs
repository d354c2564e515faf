//! The access log, one line per request, and the log of everything else.
//!
//! Lines of requests are gathered per worker and written together, so that a request costs no system call for its line; and
//! all lines are written by threads of their own, so that a log that nobody reads costs lines, not requests.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use crate::config::{self, LogFormat, LogLevel};

mod line;
mod outlet;
mod record;

use line::Calendar;
use outlet::Outlet;
pub use record::{Record, Tally};

/// Lines are written when so many bytes have come together, or at the worker's next tick. Each time a thread wakes, which costs
/// as much as two requests.
const FULL_BYTES: usize = 64 * 1024;
/// Room for them, and for the line that made them too many.
const ROOM_BYTES: usize = FULL_BYTES + 1024;

/// What is let through to [`EVENTS`].
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// How long the end of the process waits for its last lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Standard output, where the lines of requests go.
static ACCESS: LazyLock<Outlet> = LazyLock::new(|| Outlet::new("access", std::io::stdout()));

/// Standard error, where everything else goes.
static EVENTS: LazyLock<Outlet> = LazyLock::new(|| Outlet::new("events", std::io::stderr()));

/// Waits a moment for what was logged to be written: call it before the process ends.
pub fn finish() {
    [&*ACCESS, &*EVENTS].into_iter().for_each(|outlet| outlet.flush(LAST_LINES));
}

/// Lines that were dropped, by log, since the process began: nobody read them fast enough, or they could not be written.
#[must_use]
pub fn dropped() -> [(&'static str, u64); 2] {
    [("access", ACCESS.dropped()), ("events", EVENTS.dropped())]
}

/// Starts the log of everything that is not a request. Only the first call of a process has an effect.
pub fn start(log: &config::Log) {
    let (level, handle) = reload::Layer::new(filter(log.level));
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(|| &*EVENTS);
    let events = tracing_subscriber::registry().with(level);
    let started = match is_json(log.format, terminal) {
        true => events.with(lines.json().flatten_event(true).with_current_span(false)).try_init(),
        false => events.with(lines.with_ansi(terminal).with_target(false)).try_init(),
    };
    if started.is_ok() {
        LEVEL.get_or_init(|| handle);
    }
}

/// Lets through from now on what is of this level at least.
pub fn set_level(level: LogLevel) {
    if let Some(known) = LEVEL.get() {
        // Where it fails the log is gone.
        let _ = known.modify(|known| *known = filter(level));
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    }
}

fn is_json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    }
}

/// Where one worker's access lines go.
pub struct AccessLog {
    pending: RefCell<Pending>,
    json: bool,
    on: bool,
}

/// Lines that are not written yet, and the clock that they are dated by.
struct Pending {
    lines: Vec<u8>,
    calendar: Calendar,
}

impl AccessLog {
    /// Lines go to standard output.
    #[must_use]
    pub fn new(log: &config::Log) -> Self {
        let json = is_json(log.format, std::io::stdout().is_terminal());
        let calendar = Calendar::new(Instant::now(), SystemTime::now());
        let pending = Pending { lines: Vec::with_capacity(ROOM_BYTES), calendar };
        Self { pending: RefCell::new(pending), json, on: log.access }
    }

    /// Writes what has come together, and looks at the wall clock again. Call it now and then.
    pub fn flush(&self) {
        let mut pending = self.pending.borrow_mut();
        pending.calendar = Calendar::new(Instant::now(), SystemTime::now());
        if !pending.lines.is_empty() {
            ACCESS.take(std::mem::replace(&mut pending.lines, Vec::with_capacity(ROOM_BYTES)));
        }
    }

    /// Takes the line of a request that ended at `now`.
    fn write(&self, record: &Record, now: Instant) {
        if !self.on {
            return;
        }
        let mut pending = self.pending.borrow_mut();
        let Pending { lines, calendar } = &mut *pending;
        if self.json {
            record.json(lines, calendar, now)
        } else {
            record.text(lines, calendar, now)
        }
        let full = lines.len() >= FULL_BYTES;
        drop(pending);
        if full {
            self.flush();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}
