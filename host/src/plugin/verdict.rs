//! What plugins answer, in the host's own words and already checked: every contract version is translated into these.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::Failure;

mod destinations;
mod grant;

pub use destinations::Destinations;
pub use grant::Grant;

/// A verdict, shared with what remembers it.
pub type Verdict<T> = Rc<Result<T, Rejection>>;

/// One verdict, by stage.
#[derive(Clone, Debug)]
pub(super) enum Answered {
    Identified(Verdict<Identified>),
    Checked(Verdict<()>),
    Routed(Verdict<Decision>),
}

impl Answered {
    /// Whether the request goes no further.
    pub(super) fn is_refusal(&self) -> bool {
        self.rejection().is_some()
    }

    /// Why it does not.
    pub(super) fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Identified(verdict) => verdict.as_ref().as_ref().err(),
            Self::Checked(verdict) => verdict.as_ref().as_ref().err(),
            Self::Routed(verdict) => verdict.as_ref().as_ref().err(),
        }
    }

    /// About how many bytes its texts and fields have.
    pub(super) fn bytes(&self) -> usize {
        if let Some(rejection) = self.rejection() {
            return rejection.bytes();
        }
        match self {
            Self::Identified(verdict) => match &**verdict {
                Ok(Identified::Granted(grant)) => grant.bytes(),
                _ => 0,
            },
            Self::Checked(_) => 0,
            Self::Routed(verdict) => match &**verdict {
                Ok(Decision::Forward(target)) => target.bytes(),
                Ok(Decision::Respond(answer)) => answer.body.len() + fields_bytes(&answer.headers),
                Err(_) => 0,
            },
        }
    }
}

/// Name, value, and what holds them.
const FIELD_BYTES: usize = 72;

fn fields_bytes(fields: &[(HeaderName, HeaderValue)]) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum()
}

fn text_bytes(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

/// What an auth plugin says of a request.
#[derive(Debug, PartialEq)]
pub enum Identified {
    /// No credential of this plugin's kind: the next one is asked.
    NotMine,
    /// Somebody.
    Granted(Grant),
}

/// A plugin's refusal.
#[derive(Debug, PartialEq)]
pub struct Rejection {
    /// 300 to 599.
    pub status: StatusCode,
    /// The same for every request that it happens to.
    pub title: String,
    /// What is wrong with this one.
    pub detail: Option<String>,
    /// The kind of problem as a URI; none: `about:blank`.
    pub problem: Option<String>,
    /// Further fields.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Each fault by itself.
    pub violations: Vec<Violation>,
}

impl Rejection {
    fn bytes(&self) -> usize {
        let violations: usize = self.violations.iter().map(Violation::bytes).sum();
        let texts = text_bytes(self.detail.as_ref()) + text_bytes(self.problem.as_ref());
        self.title.len() + texts + violations + fields_bytes(&self.headers)
    }
}

impl Violation {
    fn bytes(&self) -> usize {
        self.part.len() + self.at.len() + self.message.len() + size_of::<Self>()
    }
}

/// One fault of a request.
#[derive(Debug, PartialEq, serde::Serialize)]
pub struct Violation {
    /// `body`, `path`, `query`, `header` or `cookie`.
    #[serde(rename = "in")]
    pub part: String,
    /// A JSON Pointer or a name.
    pub at: String,
    /// What is wrong there.
    pub message: String,
}

/// What becomes of a request.
#[derive(Debug, PartialEq)]
pub enum Decision {
    /// A service gets it.
    Forward(Target),
    /// It is answered here.
    Respond(Answer),
}

/// A service and the way to ask it.
#[derive(Debug, PartialEq)]
pub struct Target {
    /// What it has in common with the targets of many other requests.
    pub destination: Arc<Destination>,
    /// A cleaned path, with a query where it replaces that too.
    pub path: Option<PathAndQuery>,
    /// What the service balances by.
    pub affinity: Option<String>,
}

/// A service, and what is done to requests and responses on the way.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// A service's name, not yet looked up.
    pub service: String,
    /// Services that take a part; at most 1000 per mille together.
    pub shares: Vec<Share>,
    /// Changes to the request's fields.
    pub request: Option<Edits>,
    /// Changes to the response's fields.
    pub response: Option<Edits>,
    /// The most time until the response begins.
    pub timeout: Option<Duration>,
}

impl Target {
    fn bytes(&self) -> usize {
        let path = self.path.as_ref().map_or(0, |path| path.as_str().len());
        self.destination.bytes() + path + text_bytes(self.affinity.as_ref())
    }
}

impl Destination {
    fn bytes(&self) -> usize {
        let shares: usize = self.shares.iter().map(|share| share.service.len() + size_of::<Share>()).sum();
        let edits: usize = [&self.request, &self.response].into_iter().flatten().map(Edits::bytes).sum();
        self.service.len() + shares + edits
    }
}

impl Edits {
    fn bytes(&self) -> usize {
        let removed: usize = self.remove.iter().map(|name| name.as_str().len() + FIELD_BYTES / 2).sum();
        removed + fields_bytes(&self.set) + fields_bytes(&self.add)
    }
}

/// A part of the requests.
#[derive(Debug, PartialEq, Eq)]
pub struct Share {
    /// The service that takes it.
    pub service: String,
    /// How many of a thousand.
    pub per_mille: u16,
}

/// Changes to header fields, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// These go.
    pub remove: Vec<HeaderName>,
    /// These replace all of their name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// These join what is there.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

/// An answer of a routing plugin's own.
#[derive(Debug, PartialEq)]
pub struct Answer {
    /// 200 to 599.
    pub status: StatusCode,
    /// Its fields.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Its whole body.
    pub body: Bytes,
}

/// A status of at least `least` and at most 599.
///
/// # Errors
/// It is another.
pub fn status(code: u16, least: u16) -> Result<StatusCode, Failure> {
    let fault = || Failure::answer(format!("status {code} is not {least} to 599"));
    if !(least..=599).contains(&code) {
        return Err(fault());
    }
    StatusCode::from_u16(code).map_err(|_| fault())
}

/// Fields that one list of an answer may have: no client or service takes a head of many more.
const MOST_FIELDS: usize = 100;

/// The fields of one list of an answer.
///
/// # Errors
/// There are too many, a name is none or belongs to the connection, or a value has control characters or outer spaces.
pub fn fields(fields: Vec<(String, String)>) -> Result<Vec<(HeaderName, HeaderValue)>, Failure> {
    if fields.len() > MOST_FIELDS {
        return Err(Failure::answer(format!("{} fields in one list; {MOST_FIELDS} are the most", fields.len())));
    }
    let mut checked = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        checked.push((field_name(&name)?, field_value(value)?));
    }
    Ok(checked)
}

/// A field's name, where plugins may touch it.
pub(super) fn field_name(name: &str) -> Result<HeaderName, Failure> {
    let name =
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| Failure::answer(format!("{name:?} is no field name")))?;
    if is_connection_field(&name) {
        return Err(Failure::answer(format!("field {name} belongs to the connection")));
    }
    Ok(name)
}

/// A field's value without control characters; bytes beyond ASCII pass as they are.
pub(super) fn field_value(value: String) -> Result<HeaderValue, Failure> {
    let bare = value.trim_matches([' ', '\t']).len() == value.len();
    match HeaderValue::from_maybe_shared(Bytes::from(value)) {
        Ok(value) if bare => Ok(value),
        _ => Err(Failure::answer("a field value has control characters or outer spaces")),
    }
}

/// Fields that frame messages or belong to one connection: no plugin touches them.
fn is_connection_field(name: &HeaderName) -> bool {
    const OTHERS: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];
    [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
    ]
    .contains(name)
        || OTHERS.contains(&name.as_str())
}
