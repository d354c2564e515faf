//! What a client got, and what it should have got.

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use crate::within;

/// A response that came whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// The header fields.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// What came after it.
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// It has this status.
    ///
    /// # Panics
    /// It has another.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self}");
        self
    }

    /// It has exactly one field of this name, with this value.
    ///
    /// # Panics
    /// It has not.
    #[track_caller]
    pub fn has(self, name: &str, value: &str) -> Self {
        assert_eq!(self.fields(name), [value], "{name}: {self}");
        self
    }

    /// It has a field of this name whose value has this part.
    ///
    /// # Panics
    /// It has not.
    #[track_caller]
    pub fn tells(self, name: &str, part: &str) -> Self {
        assert!(self.fields(name).iter().any(|value| value.contains(part)), "{name}: … {part} …: {self}");
        self
    }

    /// It has no field of this name.
    ///
    /// # Panics
    /// It has one.
    #[track_caller]
    pub fn lacks(self, name: &str) -> Self {
        assert!(!self.headers.contains_key(name), "{name}: {self}");
        self
    }

    /// Its body is this text.
    ///
    /// # Panics
    /// It is another.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert_eq!(self.text(), text, "{self}");
        self
    }

    /// It is a problem document of the gateway's with this title.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn problem(self, title: &str) -> Self {
        let answer = self.has("content-type", "application/problem+json");
        let (problem, status) = (answer.json(), answer.status.as_u16());
        assert_eq!(problem["title"], title, "{answer}");
        assert_eq!(problem["status"], status, "{answer}");
        let id = answer.field("x-request-id").expect("a request id");
        assert_eq!(problem["request_id"], id, "{answer}");
        answer
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|fault| panic!("{fault}: {self}"))
    }

    /// One sample of what `/metrics` answers, by its name and labels as they are written; 0: there is none.
    ///
    /// # Panics
    /// It is no number.
    #[must_use]
    #[track_caller]
    pub fn sample(&self, name: &str) -> f64 {
        let text = self.text();
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.map_or(0.0, |value| value.parse().unwrap())
    }

    /// The value of the only or first field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The values of all fields of this name.
    #[must_use]
    pub fn fields(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, self.text())
    }
}

/// A response whose head came; its body is still coming.
#[must_use]
pub struct Coming {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    version: Version,
    body: Incoming,
    trailers: Option<HeaderMap>,
}

impl Coming {
    pub(crate) fn new(response: http::Response<Incoming>) -> Self {
        let (Parts { status, headers, version, .. }, body) = response.into_parts();
        Self { status, headers, version, body, trailers: None }
    }

    /// The next part of the body as text; none: it is over, `Err`: it broke off.
    ///
    /// # Errors
    /// The connection ended before the body.
    pub async fn chunk(&mut self) -> Result<Option<String>, hyper::Error> {
        while let Some(frame) = within("a part of a body", self.body.frame()).await {
            match frame?.into_data() {
                Ok(data) => return Ok(Some(String::from_utf8_lossy(&data).into_owned())),
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
        }
        Ok(None)
    }

    /// The next part of the body as bytes, however large; none: it is over, or broke off.
    pub async fn bytes(&mut self) -> Option<Bytes> {
        let frame = within("a part of a body", self.body.frame()).await?;
        frame.ok()?.into_data().ok()
    }

    /// The whole response.
    ///
    /// # Errors
    /// The connection ended before the body.
    pub async fn whole(mut self) -> Result<Answer, hyper::Error> {
        let mut body = BytesMut::new();
        while let Some(frame) = within("the rest of a body", self.body.frame()).await {
            match frame?.into_data() {
                Ok(data) => body.extend_from_slice(&data),
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
        }
        let Self { status, headers, version, trailers, .. } = self;
        Ok(Answer { status, version, headers, body: body.freeze(), trailers })
    }
}
