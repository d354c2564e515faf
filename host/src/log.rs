//! The access log, one line per request, and the log of everything else.
//!
//! Lines of requests are gathered per worker and written together, so that a request costs no system call for its line.

use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderValue, Method, Version};

use crate::config::{self, LogFormat, LogLevel};
use crate::metrics::{Outcome, Series, Span};

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
    lines: RefCell<Vec<u8>>,
    json: bool,
    on: bool,
}

impl AccessLog {
    /// Lines go to standard output.
    #[must_use]
    pub fn new(log: &config::Log) -> Self {
        let json = is_json(log.format, std::io::stdout().is_terminal());
        Self { lines: RefCell::new(Vec::with_capacity(FULL_BYTES + 1024)), json, on: log.access }
    }

    /// Writes what has come together. Call it now and then.
    pub fn flush(&self) {
        let mut lines = self.lines.borrow_mut();
        if !lines.is_empty() {
            // Nothing can be done, and nobody told, where standard output is gone.
            let _ = std::io::stdout().lock().write_all(&lines);
            lines.clear();
        }
    }

    fn write(&self, record: &Record) {
        if !self.on {
            return;
        }
        let mut lines = self.lines.borrow_mut();
        if self.json {
            record.json(&mut lines)
        } else {
            record.text(&mut lines)
        }
        let full = lines.len() >= FULL_BYTES;
        drop(lines);
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

/// What is known of one request. Its line is written when it is dropped, whatever became of the request.
pub struct Record {
    log: Rc<AccessLog>,
    began: Instant,
    /// The client's address, as text.
    pub client: Rc<str>,
    /// The request's id.
    pub id: HeaderValue,
    /// As it was sent.
    pub method: Method,
    /// The target as it was sent, or the cleaned one.
    pub target: http::Uri,
    /// HTTP/1.1, HTTP/2, …
    pub version: Version,
    /// The API's name.
    pub api: Option<Arc<str>>,
    /// The API's cells on this worker.
    pub series: Option<Arc<Series>>,
    /// The caller's subject.
    pub caller: Option<Box<str>>,
    /// Where it went.
    pub service: Option<Arc<str>>,
    /// Which endpoint of it.
    pub endpoint: Option<SocketAddr>,
    /// Tries beyond the first.
    pub retries: u32,
    /// The status; 0: there was no answer.
    pub status: u16,
    /// Bytes of the response's body.
    pub bytes: u64,
    /// Who answered.
    pub outcome: Outcome,
    /// Why, where it was refused; never shown to the client.
    pub reason: Option<Box<str>>,
}

impl Record {
    /// Begins the record of a request.
    #[must_use]
    pub fn new(
        log: &Rc<AccessLog>,
        client: Rc<str>,
        head: &http::request::Parts,
        id: HeaderValue,
        now: Instant,
    ) -> Self {
        Self {
            log: Rc::clone(log),
            began: now,
            client,
            id,
            method: head.method.clone(),
            target: head.uri.clone(),
            version: head.version,
            api: None,
            series: None,
            caller: None,
            service: None,
            endpoint: None,
            retries: 0,
            status: 0,
            bytes: 0,
            outcome: Outcome::Left,
            reason: None,
        }
    }

    fn json(&self, line: &mut Vec<u8>) {
        let mut fields = Fields { line, first: true };
        fields.begin("time");
        fields.line.push(b'"');
        timestamp(fields.line, SystemTime::now());
        fields.line.push(b'"');
        fields.text("id", self.id.as_bytes());
        fields.text("client", self.client.as_bytes());
        fields.text("method", self.method.as_str().as_bytes());
        fields.text("path", self.target.path().as_bytes());
        if let Some(query) = self.target.query() {
            fields.text("query", query.as_bytes());
        }
        fields.text("protocol", protocol(self.version).as_bytes());
        if let Some(api) = &self.api {
            fields.text("api", api.as_bytes());
        }
        if let Some(caller) = &self.caller {
            fields.text("caller", caller.as_bytes());
        }
        if let Some(service) = &self.service {
            fields.text("service", service.as_bytes());
        }
        if let Some(endpoint) = &self.endpoint {
            fields.begin("endpoint");
            let _ = write!(fields.line, "\"{endpoint}\"");
        }
        if self.retries > 0 {
            fields.number("retries", self.retries.into());
        }
        fields.number("status", self.status.into());
        fields.number("bytes", self.bytes);
        fields.begin("milliseconds");
        milliseconds(fields.line, self.began.elapsed().as_micros());
        fields.text("outcome", self.outcome.name().as_bytes());
        if let Some(reason) = &self.reason {
            fields.text("reason", reason.as_bytes());
        }
        line.extend_from_slice(b"}\n");
    }

    fn text(&self, line: &mut Vec<u8>) {
        timestamp(line, SystemTime::now());
        let _ = write!(line, " {:>3} {:>6} ", self.status, self.method);
        escape(line, self.target.path().as_bytes());
        let _ = write!(line, " {} B ", self.bytes);
        milliseconds(line, self.began.elapsed().as_micros());
        let _ = write!(line, " ms  {}", self.client);
        for (name, value) in [("api", self.api.as_deref()), ("caller", self.caller.as_deref())] {
            if let Some(value) = value {
                let _ = write!(line, " {name}=");
                escape(line, value.as_bytes());
            }
        }
        if let (Some(service), Some(endpoint)) = (&self.service, &self.endpoint) {
            let _ = write!(line, " -> {service} {endpoint}");
        }
        if self.outcome != Outcome::Forwarded {
            let _ = write!(line, " [{}]", self.outcome.name());
        }
        if let Some(reason) = &self.reason {
            line.extend_from_slice(b" ");
            escape(line, reason.as_bytes());
        }
        line.push(b'\n');
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(series) = &self.series {
            series.request(self.outcome, self.status);
            series.span(Span::Total, self.began.elapsed());
        }
        self.log.write(self);
    }
}

struct Fields<'a> {
    line: &'a mut Vec<u8>,
    first: bool,
}

impl Fields<'_> {
    fn begin(&mut self, name: &str) {
        self.line.extend_from_slice(if self.first { b"{\"" } else { b",\"" });
        self.first = false;
        self.line.extend_from_slice(name.as_bytes());
        self.line.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &str, text: &[u8]) {
        self.begin(name);
        self.line.push(b'"');
        escape(self.line, text);
        self.line.push(b'"');
    }

    fn number(&mut self, name: &str, number: u64) {
        self.begin(name);
        decimal(self.line, number);
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// Text as the inside of a JSON string; what is not UTF-8 becomes U+FFFD. Also keeps control characters off a terminal.
fn escape(line: &mut Vec<u8>, text: &[u8]) {
    if text.iter().all(|byte| (0x20..0x7f).contains(byte) && !matches!(byte, b'"' | b'\\')) {
        line.extend_from_slice(text);
        return;
    }
    for character in String::from_utf8_lossy(text).chars() {
        match character {
            '"' => line.extend_from_slice(b"\\\""),
            '\\' => line.extend_from_slice(b"\\\\"),
            character if character.is_control() => {
                let _ = write!(line, "\\u{:04x}", u32::from(character));
            }
            character => line.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn decimal(line: &mut Vec<u8>, number: u64) {
    let mut buffer = itoa::Buffer::new();
    line.extend_from_slice(buffer.format(number).as_bytes());
}

fn milliseconds(line: &mut Vec<u8>, microseconds: u128) {
    decimal(line, u64::try_from(microseconds / 1000).unwrap_or(u64::MAX));
    line.push(b'.');
    digits(line, u32::try_from(microseconds % 1000).unwrap_or(0), 3);
}

fn digits(line: &mut Vec<u8>, number: u32, count: u32) {
    for place in (0..count).rev() {
        let digit = number / 10_u32.pow(place) % 10;
        line.push(b'0' + u8::try_from(digit).unwrap_or(0));
    }
}

/// RFC 3339 in UTC with milliseconds; the date is civil_from_days of Howard Hinnant's "chrono-Compatible Low-Level Date
/// Algorithms".
fn timestamp(line: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, u32::try_from(since.as_secs() % 86_400).unwrap_or(0));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let part = |number: u64| u32::try_from(number).unwrap_or(0);
    digits(line, part(year), 4);
    for (separator, number) in [
        (b'-', part(month)),
        (b'-', part(day)),
        (b'T', seconds / 3600),
        (b':', seconds / 60 % 60),
        (b':', seconds % 60),
    ] {
        line.push(separator);
        digits(line, number, 2);
    }
    line.push(b'.');
    digits(line, since.subsec_millis(), 3);
    line.push(b'Z');
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_798_761_599, "2026-12-31T23:59:59.007Z"),
        ] {
            let mut line = Vec::new();
            timestamp(&mut line, UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(7));
            assert_eq!(String::from_utf8(line).unwrap(), text);
        }
    }

    #[test]
    fn hostile_text_stays_inside_its_string() {
        let mut line = Vec::new();
        let mut fields = Fields { line: &mut line, first: true };
        fields.text("path", b"/a\"b\\c\x1b[31m\n\xff");
        line.push(b'}');
        let parsed: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(parsed["path"], "/a\"b\\c\u{1b}[31m\n\u{fffd}");
    }
}
