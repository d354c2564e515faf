//! A request in the making.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};

use crate::answer::{Answer, Coming};
use crate::connection::Connection;
use crate::reply::{Writer, channel};
use crate::{token, within};

/// A body on its way.
pub(crate) type Content = BoxBody<Bytes, std::io::Error>;

/// A whole body.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Content {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// The authority that a request asks for, unless the test says another.
const HOST: HeaderValue = HeaderValue::from_static("shop.example");

/// A request in the making: awaiting it sends it and answers what came back.
#[must_use = "a call is made by awaiting it"]
pub struct Call {
    to: To,
    from: Option<IpAddr>,
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Content,
}

enum To {
    Address(SocketAddr),
    Connection(Connection),
}

impl Call {
    fn new(to: To, method: &str, target: &str) -> Self {
        let headers = HeaderMap::from_iter([(header::HOST, HOST)]);
        let method = method.parse().unwrap();
        Self { to, from: None, method, target: target.to_owned(), headers, body: whole("") }
    }

    /// A `GET` on a connection of its own to any address.
    pub fn get(address: SocketAddr, target: &str) -> Self {
        Self::to(address, "GET", target)
    }

    /// A request with this method on a connection of its own to any address.
    ///
    /// # Panics
    /// It is no method.
    pub fn to(address: SocketAddr, method: &str, target: &str) -> Self {
        Self::new(To::Address(address), method, target)
    }

    pub(crate) fn on(connection: Connection, method: &str, target: &str) -> Self {
        Self::new(To::Connection(connection), method, target)
    }

    /// With this field; `host` is replaced, all others are added to.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        let (name, value) = (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        match name {
            header::HOST => drop(self.headers.insert(name, value)),
            name => drop(self.headers.append(name, value)),
        }
        self
    }

    /// With a good token of this subject, signed with the shared secret of all tests.
    pub fn as_caller(self, subject: &str) -> Self {
        self.bearer(&token(subject).signed())
    }

    /// With this token.
    pub fn bearer(self, token: &str) -> Self {
        self.field("authorization", &format!("Bearer {token}"))
    }

    /// From this address of the machine: all of `127.0.0.0/8` are.
    pub fn from(mut self, address: &str) -> Self {
        self.from = Some(address.parse().unwrap());
        self
    }

    /// With this body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = whole(body);
        self
    }

    /// With this JSON as its body.
    pub fn json(self, json: &str) -> Self {
        self.field("content-type", "application/json").body(json.to_owned())
    }

    /// With a body that comes as the test writes it.
    pub fn streamed(mut self) -> (Self, Writer) {
        let (body, writer) = channel();
        self.body = body;
        (self, writer)
    }

    /// Sends it and answers the response's head.
    ///
    /// # Errors
    /// The connection ended without a response.
    pub async fn coming(self) -> Result<Coming, hyper::Error> {
        let connection = match self.to {
            To::Address(address) => Connection::http1(address, self.from).await,
            To::Connection(connection) => connection,
        };
        let mut headers = self.headers;
        let uri = match connection.is_http2() {
            false => self.target,
            true => {
                let host = headers.remove(header::HOST).unwrap();
                format!("{}://{}{}", connection.scheme(), host.to_str().unwrap(), self.target)
            }
        };
        let mut request = Request::builder().method(self.method).uri(uri).body(self.body).unwrap();
        *request.headers_mut() = headers;
        within("a response", connection.send(request)).await.map(Coming::new)
    }

    /// Sends it and answers the response, or why there is none.
    ///
    /// # Errors
    /// The connection ended before the response did.
    pub async fn tried(self) -> Result<Answer, hyper::Error> {
        self.coming().await?.whole().await
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    /// # Panics
    /// The connection ended before the response did.
    fn into_future(self) -> Self::IntoFuture {
        let what = format!("{} {}", self.method, self.target);
        Box::pin(async move { self.tried().await.unwrap_or_else(|fault| panic!("{what}: {fault:?}")) })
    }
}
