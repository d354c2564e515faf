//! What a service answers in a test.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use tokio::sync::watch;

use crate::call::{Content, whole};
use crate::within;

/// Something that waits until the test opens it. Copies are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// A closed one.
    #[must_use]
    pub fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Lets all through, now and later.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub async fn opened(&self) {
        let mut opened = self.0.subscribe();
        let _ = opened.wait_for(|open| *open).await;
    }
}

/// What a service answers.
#[must_use]
pub struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Content,
    pub(crate) gate: Option<Gate>,
    pub(crate) manner: Manner,
}

/// How a service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// When it has the whole request.
    After,
    /// At once, while the request's body may still be coming.
    Early,
    /// Not at all: it closes the connection.
    Close,
    /// By changing to a protocol that says back what it hears.
    Echo,
}

impl Reply {
    /// With this status and no body.
    pub fn status(status: u16) -> Self {
        Self { status, headers: HeaderMap::new(), body: whole(""), gate: None, manner: Manner::After }
    }

    /// 200 with this text.
    pub fn text(text: &str) -> Self {
        Self::status(200).body(text.to_owned())
    }

    /// 200 with a body that comes as the test writes it.
    pub fn streamed() -> (Self, Writer) {
        let (body, writer) = channel();
        (Self { body, ..Self::status(200) }, writer)
    }

    /// None: the connection is closed when the request has come.
    pub fn close() -> Self {
        Self { manner: Manner::Close, ..Self::status(500) }
    }

    /// 101, and from then on it says back what it hears.
    pub fn echo(protocol: &str) -> Self {
        let reply = Self::status(101).field("connection", "upgrade").field("upgrade", protocol);
        Self { manner: Manner::Echo, ..reply }
    }

    /// With this field.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        let (name, value) = (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self.headers.append(name, value);
        self
    }

    /// With this body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = whole(body);
        self
    }

    /// Not before the gate is open.
    pub fn behind(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// Before the request's body has come.
    pub fn early(self) -> Self {
        Self { manner: Manner::Early, ..self }
    }
}

/// Writes a body, part by part.
pub struct Writer(Sender<Bytes, std::io::Error>);

/// A body and its writer.
pub(crate) fn channel() -> (Content, Writer) {
    let (sender, body) = Channel::<Bytes, std::io::Error>::new(1);
    (body.boxed(), Writer(sender))
}

impl Writer {
    /// Writes a part; comes back when there is room for another one.
    ///
    /// # Panics
    /// Nobody takes it.
    pub async fn write(&mut self, part: impl Into<Bytes>) {
        within("room for a part of a body", self.0.send_data(part.into())).await.unwrap();
    }

    /// Writes a part if there is room for it soon; false: there is not.
    pub async fn offer(&mut self, part: impl Into<Bytes>, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.0.send_data(part.into())).await.is_ok_and(|sent| sent.is_ok())
    }

    /// Ends the body with these trailers.
    ///
    /// # Panics
    /// Nobody takes them.
    pub async fn trailers(mut self, trailers: &[(&'static str, &'static str)]) {
        let trailers =
            trailers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        within("room for trailers", self.0.send_trailers(trailers.collect())).await.unwrap();
    }

    /// Ends the body.
    pub fn end(self) {}

    /// Breaks off in the middle of the body.
    pub fn abort(self) {
        self.0.abort(std::io::ErrorKind::ConnectionReset.into());
    }
}
