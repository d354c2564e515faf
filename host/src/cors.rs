//! What browsers let scripts of other origins do: the answers of the Fetch standard's CORS protocol
//! (<https://fetch.spec.whatwg.org/#http-cors-protocol>), given by the gateway in a service's stead.
//!
//! It keeps nobody out: who is no browser sends any `origin`. It is what lets pages of one origin read another's answers.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use crate::config::{self, Origin};

#[cfg(test)]
mod tests;

/// What one API says.
pub struct Cors {
    origins: Vec<Origin>,
    methods: HeaderValue,
    headers: HeaderValue,
    expose: HeaderValue,
    credentials: bool,
    /// Seconds.
    max_age: HeaderValue,
}

/// What is said of the answer to one request.
pub struct Sharing {
    cors: Rc<Cors>,
    /// Whose scripts may read it, as the browser is told.
    origin: Option<HeaderValue>,
    preflight: bool,
}

impl Cors {
    /// By the configuration.
    #[must_use]
    pub fn new(settings: &config::Cors) -> Self {
        let list = |names: &[String]| {
            HeaderValue::try_from(names.join(", ")).expect("the configuration has only names in these lists")
        };
        Self {
            origins: settings.origins.clone(),
            methods: list(&settings.methods),
            headers: list(&settings.headers),
            expose: list(&settings.expose),
            credentials: settings.credentials,
            max_age: settings.max_age.as_secs().into(),
        }
    }

    /// What is said of the answer to a request with this head.
    #[must_use]
    pub fn sharing(self: &Rc<Self>, head: &Parts) -> Sharing {
        let preflight = head.method == Method::OPTIONS
            && head.headers.contains_key(header::ORIGIN)
            && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        Sharing { cors: Rc::clone(self), origin: self.shown_to(&head.headers), preflight }
    }

    /// The origin that is told to a request's sender. Everybody is told `*`, also who does not ask: then caches need not
    /// keep answers apart.
    fn shown_to(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.is_for_all() {
            return Some(HeaderValue::from_static("*"));
        }
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let origin = origins.next().filter(|_| origins.next().is_none())?;
        self.origins.iter().any(|allowed| allowed.takes(origin.as_bytes())).then(|| origin.clone())
    }

    fn is_for_all(&self) -> bool {
        self.origins.contains(&Origin::Any)
    }
}

impl Origin {
    /// Whether this is, or covers, an origin as a browser wrote it: compared byte by byte, as the Fetch standard does.
    fn takes(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact.as_bytes() == origin,
            Self::Below(start, end) => {
                let below = origin.strip_prefix(start.as_bytes()).and_then(|rest| rest.strip_suffix(end.as_bytes()));
                below.is_some_and(|name| !name.is_empty() && name.split(|byte| *byte == b'.').all(is_label))
            }
        }
    }
}

fn is_label(label: &[u8]) -> bool {
    let inside = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    !label.is_empty() && label.iter().all(inside)
}

impl Sharing {
    /// Whether a browser asks what it may do, before it sends the request itself.
    #[must_use]
    pub fn is_preflight(&self) -> bool {
        self.preflight
    }

    /// The answer to a browser that asks, before [`Sharing::write`]. Where its origin may nothing, it says nothing.
    #[must_use]
    pub fn preflight() -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    }

    /// Writes what is said into an answer, in the place of what a service says.
    pub fn write(&self, answer: &mut HeaderMap) {
        drop_services(answer);
        if self.preflight {
            const ASKED: &str = "origin, access-control-request-method, access-control-request-headers";
            answer.append(header::VARY, HeaderValue::from_static(ASKED));
        } else if !self.cors.is_for_all() && !varies_by_origin(answer) {
            answer.append(header::VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = &self.origin else { return };
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.cors.credentials {
            answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        let fields: &[(HeaderName, &HeaderValue)] = match self.preflight {
            true => &[
                (header::ACCESS_CONTROL_ALLOW_METHODS, &self.cors.methods),
                (header::ACCESS_CONTROL_ALLOW_HEADERS, &self.cors.headers),
                (header::ACCESS_CONTROL_MAX_AGE, &self.cors.max_age),
            ],
            false => &[(header::ACCESS_CONTROL_EXPOSE_HEADERS, &self.cors.expose)],
        };
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            answer.insert(name.clone(), (*value).clone());
        }
    }
}

/// Drops what a service says to browsers: two voices would be none, since a browser takes just one `*-origin`.
fn drop_services(answer: &mut HeaderMap) {
    let said: Vec<HeaderName> =
        answer.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    for name in said {
        answer.remove(name);
    }
}

/// Whether caches are told already that the answer depends on who asks.
fn varies_by_origin(answer: &HeaderMap) -> bool {
    let named = answer.get_all(header::VARY).iter().flat_map(crate::clean::tokens);
    named.into_iter().any(|name| name == b"*" || name.eq_ignore_ascii_case(b"origin"))
}
