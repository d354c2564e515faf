//! What is known of one request, and its line.

use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderValue, Method, Uri, Version};

use super::AccessLog;
use super::line::{Calendar, Fields, decimal, escape, milliseconds};
use crate::forward::headers::Trace;
use crate::metrics::{Outcome, Series, Span};
use crate::request::{Granted, Request};

/// Whom a request is counted for on one worker.
pub struct Tally {
    /// The API's name; empty for requests that belong to none.
    pub name: Arc<str>,
    /// What is counted.
    pub series: Arc<Series>,
}

/// What is known of one request.
pub struct Record {
    log: Rc<AccessLog>,
    began: Instant,
    /// The client's address, as text.
    pub client: Rc<str>,
    /// The request's id.
    pub id: HeaderValue,
    /// Where it is in its trace.
    pub trace: Option<Trace>,
    /// As it was sent.
    pub method: Method,
    /// The cleaned target, or what was sent where that cannot be cleaned.
    pub target: Uri,
    /// HTTP/1.1, HTTP/2, …
    pub version: Version,
    /// Whom it is counted for.
    pub tally: Rc<Tally>,
    /// Who is calling.
    pub caller: Option<Granted>,
    /// Where it went.
    pub service: Option<Arc<str>>,
    /// Which endpoint of it.
    pub endpoint: Option<Rc<str>>,
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
    /// Begins the record of a request, counted for nobody so far.
    #[must_use]
    pub fn new(log: &Rc<AccessLog>, tally: &Rc<Tally>, request: &Request, id: HeaderValue, now: Instant) -> Self {
        Self {
            log: Rc::clone(log),
            began: now,
            client: Rc::clone(&request.address),
            id,
            trace: None,
            method: request.head.method.clone(),
            target: Uri::default(),
            version: request.head.version,
            tally: Rc::clone(tally),
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

    /// Counts the request and writes its line: it ended, in whatever way.
    pub fn end(&self, now: Instant) {
        self.tally.series.request(self.outcome, self.status);
        self.tally.series.span(Span::Total, now.saturating_duration_since(self.began));
        self.log.write(self, now);
    }

    fn caller(&self) -> Option<&str> {
        Some(self.caller.as_ref()?.grant()?.subject())
    }

    fn microseconds(&self, now: Instant) -> u128 {
        now.saturating_duration_since(self.began).as_micros()
    }

    pub(super) fn json(&self, line: &mut Vec<u8>, calendar: &mut Calendar, now: Instant) {
        line.extend_from_slice(b"{\"time\":\"");
        calendar.write(line, now);
        line.push(b'"');
        let mut fields = Fields(line);
        fields.plain(",\"id\":", self.id.as_bytes());
        if let Some(trace) = &self.trace {
            fields.plain(",\"trace\":", trace.id());
        }
        fields.plain(",\"client\":", self.client.as_bytes());
        fields.plain(",\"method\":", self.method.as_str().as_bytes());
        fields.text(",\"path\":", self.target.path().as_bytes());
        if let Some(query) = self.target.query() {
            fields.text(",\"query\":", query.as_bytes());
        }
        fields.plain(",\"protocol\":", protocol(self.version).as_bytes());
        if !self.tally.name.is_empty() {
            fields.text(",\"api\":", self.tally.name.as_bytes());
        }
        if let Some(caller) = self.caller() {
            fields.text(",\"caller\":", caller.as_bytes());
        }
        if let Some(service) = &self.service {
            fields.text(",\"service\":", service.as_bytes());
        }
        if let Some(endpoint) = &self.endpoint {
            fields.plain(",\"endpoint\":", endpoint.as_bytes());
        }
        if self.retries > 0 {
            fields.number(",\"retries\":", self.retries.into());
        }
        fields.number(",\"status\":", self.status.into());
        fields.number(",\"bytes\":", self.bytes);
        line.extend_from_slice(b",\"milliseconds\":");
        milliseconds(line, self.microseconds(now));
        let mut fields = Fields(line);
        fields.plain(",\"outcome\":", self.outcome.name().as_bytes());
        if let Some(reason) = &self.reason {
            fields.text(",\"reason\":", reason.as_bytes());
        }
        line.extend_from_slice(b"}\n");
    }

    pub(super) fn text(&self, line: &mut Vec<u8>, calendar: &mut Calendar, now: Instant) {
        calendar.write(line, now);
        let _ = write!(line, " {:>3} {:>6} ", self.status, self.method);
        escape(line, self.target.path().as_bytes());
        line.push(b' ');
        decimal(line, self.bytes);
        line.extend_from_slice(b" B ");
        milliseconds(line, self.microseconds(now));
        let _ = write!(line, " ms  {}", self.client);
        let api = Some(&*self.tally.name).filter(|name| !name.is_empty());
        for (name, value) in [("api", api), ("caller", self.caller())] {
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
            line.push(b' ');
            escape(line, reason.as_bytes());
        }
        line.push(b'\n');
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}
