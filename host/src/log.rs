//! The access log, one line per request, and the log of everything else.
//!
//! Lines of requests are gathered per worker and written together, so that a request costs no system call for its line.

use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::time::{Instant, SystemTime};

use crate::config::{self, LogFormat, LogLevel};

mod line;
mod record;

use line::Calendar;
pub use record::{Record, Tally};

/// Lines are written when so many bytes have come together, or at the worker's next tick.
const FULL_BYTES: usize = 32 * 1024;

/// Starts the log of everything that is not a request. Only the first call of a process has an effect.
pub fn start(log: &config::Log) {
    let level = match log.level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
    };
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    let _ = match is_json(log.format, std::io::stderr().is_terminal()) {
        true => builder.json().flatten_event(true).with_current_span(false).try_init(),
        false => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
    };
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
        let pending = Pending { lines: Vec::with_capacity(FULL_BYTES + 1024), calendar };
        Self { pending: RefCell::new(pending), json, on: log.access }
    }

    /// Writes what has come together, and looks at the wall clock again. Call it now and then.
    pub fn flush(&self) {
        let mut pending = self.pending.borrow_mut();
        pending.calendar = Calendar::new(Instant::now(), SystemTime::now());
        if !pending.lines.is_empty() {
            // Nothing can be done, and nobody told, where standard output is gone.
            let _ = std::io::stdout().lock().write_all(&pending.lines);
            pending.lines.clear();
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
