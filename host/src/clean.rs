//! Nothing ambiguous is ever forwarded: a request's head gets one meaning here, or is refused before anything reads it.
//!
//! hyper checks the syntax of a message; this checks what a proxy must refuse beyond that and what hyper lets through.
//! Two things cannot be seen here, because hyper has settled them before: a `Content-Length` beside `Transfer-Encoding`
//! is dropped and the connection closed after the answer, and a fragment (`#…`) of a target is dropped.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode, Uri};

mod authority;
mod fields;
mod path;
#[cfg(test)]
mod tests;

pub use authority::authority;
pub(crate) use fields::{named, tokens};
pub use path::{path, target};

/// How a client speaks to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that need not be written.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// How large a request's head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most header fields; several of one name count each.
    pub fields: usize,
    /// The most bytes of all names and values, with the four that HTTP/1 needs to write each field.
    pub head_bytes: usize,
    /// The most bytes of path and query.
    pub target_bytes: usize,
}

/// What a clean request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleaned {
    /// A request and a response.
    Exchange,
    /// Another protocol on this connection, named by the one `upgrade` field; there is no body. HTTP/1.1 only.
    Upgrade,
}

/// Why a request's head has no one meaning. The texts may be shown to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the names mean")]
pub enum Unclean {
    #[error("the method `CONNECT` is not implemented")]
    Connect,
    #[error("the method `TRACE` is not allowed")]
    Trace,
    /// Not a fault: `OPTIONS *` asks about the server itself and is answered 204 with `allow`.
    #[error("the request is about the server as a whole")]
    Asterisk,
    /// Not a fault: a client that looks for what stands between it and a service has found us.
    #[error("the request goes no further than here")]
    LastHop,
    #[error("the `max-forwards` is not one decimal number")]
    MaxForwards,
    #[error("the request target is not a path, and not a URI with a path")]
    TargetForm,
    #[error("the request target's scheme is neither `http` nor `https`")]
    TargetScheme,
    #[error("the request target is too long")]
    TargetTooLong,
    #[error("the request target has a character that must be percent-encoded")]
    Character,
    #[error("the request target has a `%` that begins no percent-encoded byte")]
    Escape,
    #[error("the path has a percent-encoded separator, a backslash or an encoded NUL")]
    Separator,
    #[error("the path leads above its root")]
    AboveRoot,
    #[error("the path has parameters on an empty segment, `.` or `..`")]
    Parameters,
    #[error("there is no `host` field")]
    HostMissing,
    #[error("there is more than one `host` field")]
    HostSeveral,
    #[error("the `host` field differs from the request target's authority")]
    HostDiffers,
    #[error("the authority is not a name or address with an optional port")]
    Authority,
    #[error("the authority has user information")]
    UserInformation,
    #[error("there are too many header fields")]
    FieldsTooMany,
    #[error("the header fields are too large")]
    FieldsTooLarge,
    #[error("there is more than one `{0}` field")]
    FieldSeveral(&'static str),
    #[error("a field's value begins or ends with a space")]
    FieldSpace,
    #[error("the `content-length` is not one decimal number")]
    ContentLength,
    #[error("a `transfer-encoding` has no place here")]
    TransferEncoding,
    #[error("the only transfer coding of a request is `chunked`")]
    TransferCoding,
    #[error("HTTP/2 has no connection fields")]
    ConnectionField,
    #[error("the `connection` field is not a list of names, or names a field that is for every recipient")]
    ConnectionNames,
    #[error("a request with a body cannot ask for an upgrade")]
    UpgradeBody,
    #[error("the only expectation that is met is `100-continue`")]
    Expectation,
}

impl Unclean {
    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Connect | Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::Trace => StatusCode::METHOD_NOT_ALLOWED,
            Self::Asterisk | Self::LastHop => StatusCode::NO_CONTENT,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::FieldsTooMany | Self::FieldsTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::TargetForm
            | Self::TargetScheme
            | Self::Character
            | Self::Escape
            | Self::Separator
            | Self::AboveRoot
            | Self::Parameters
            | Self::HostMissing
            | Self::HostSeveral
            | Self::HostDiffers
            | Self::Authority
            | Self::UserInformation
            | Self::FieldSeveral(_)
            | Self::FieldSpace
            | Self::MaxForwards
            | Self::ContentLength
            | Self::TransferEncoding
            | Self::ConnectionField
            | Self::ConnectionNames
            | Self::UpgradeBody => StatusCode::BAD_REQUEST,
        }
    }

    /// A few words for a person, the same for every request that it happens to; the error's own text is the detail.
    pub fn title(self) -> &'static str {
        match self {
            Self::Connect => "Method not implemented",
            Self::Trace => "Method not allowed",
            Self::Asterisk | Self::LastHop => "No content",
            Self::TargetTooLong => "Request target too long",
            Self::TargetForm | Self::TargetScheme | Self::Character | Self::Escape => "Malformed request target",
            Self::Separator | Self::AboveRoot | Self::Parameters => "Ambiguous path",
            Self::HostMissing | Self::HostSeveral | Self::HostDiffers => "Host missing or ambiguous",
            Self::Authority | Self::UserInformation => "Malformed authority",
            Self::FieldsTooMany | Self::FieldsTooLarge => "Header fields too large",
            Self::FieldSeveral(_) | Self::FieldSpace | Self::MaxForwards => "Ambiguous header field",
            Self::ContentLength | Self::TransferEncoding => "Ambiguous message framing",
            Self::TransferCoding => "Transfer coding not implemented",
            Self::ConnectionField | Self::ConnectionNames | Self::UpgradeBody => "Malformed connection field",
            Self::Expectation => "Expectation not met",
        }
    }
}

/// Gives a request's head one meaning.
///
/// Afterwards `parts.uri` is in origin form with a normalised [`path`] and the query as sent; `parts.headers` has
/// exactly one `host`, from the target's authority (absolute form, `:authority`) or the `Host` field, as [`authority`]
/// writes it; several `cookie` fields are one (RFC 9113, section 8.2.3); and fields that `Connection` named are gone,
/// so that no plugin sees what the service does not. `Connection` itself and the other connection fields stay until the
/// request is forwarded. `OPTIONS` has one hop fewer to go where it counts them (`max-forwards`).
///
/// `scheme` is the listener's, and says which port is the default one: a target's scheme says nothing that can be
/// believed.
///
/// # Errors
///
/// The first reason for which the head is ambiguous, or has an answer of its own (`CONNECT`, `TRACE`,
/// `OPTIONS *`, and `OPTIONS` that may go no further). HTTP/1.0 without `Host` is refused as well: what has no authority
/// belongs to no API.
pub fn head(parts: &mut Parts, scheme: Scheme, bounds: &Bounds) -> Result<Cleaned, Unclean> {
    match parts.method {
        Method::CONNECT => return Err(Unclean::Connect),
        Method::TRACE => return Err(Unclean::Trace),
        _ => {}
    }
    if parts.uri.path_and_query().is_some_and(|target| target.as_str().len() > bounds.target_bytes) {
        return Err(Unclean::TargetTooLong);
    }
    let seen = fields::Seen::read(&parts.headers, parts.version, bounds)?;
    let cleaned = seen.cleaned()?;
    let host = host(&parts.uri, seen.host, scheme)?;
    let (connection, cookies) = (seen.connection, seen.cookies);
    if let Some(host) = host {
        parts.headers.insert(header::HOST, host);
    }
    if connection {
        fields::drop_named(&mut parts.headers)?;
    }
    if cookies > 1 {
        join_cookies(&mut parts.headers);
    }
    origin_form(parts)?;
    if parts.method == Method::OPTIONS {
        fields::count_hop(&mut parts.headers)?;
    }
    Ok(cleaned)
}

/// The `host` field to write, or none where the one that is there stays.
fn host(uri: &Uri, field: Option<&HeaderValue>, scheme: Scheme) -> Result<Option<HeaderValue>, Unclean> {
    if uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(Unclean::TargetScheme);
    }
    let sent = field.map(HeaderValue::as_bytes);
    if uri.authority().is_none() && sent.is_some_and(authority::is_clean_name) {
        return Ok(None);
    }
    let field = sent.map(|sent| authority(sent, scheme)).transpose()?;
    let Some(target) = uri.authority() else {
        let host = field.ok_or(Unclean::HostMissing)?;
        let kept = sent == Some(host.as_bytes());
        return if kept { Ok(None) } else { value(host.into_owned()).map(Some) };
    };
    let target = authority(target.as_str().as_bytes(), scheme)?;
    if field.is_some_and(|field| field != target) {
        return Err(Unclean::HostDiffers);
    }
    value(target.into_owned()).map(Some)
}

fn value(authority: String) -> Result<HeaderValue, Unclean> {
    HeaderValue::from_maybe_shared(Bytes::from(authority)).map_err(|_| Unclean::Authority)
}

/// Brings the target into origin form, with a normalised path.
fn origin_form(parts: &mut Parts) -> Result<(), Unclean> {
    let Some(sent) = parts.uri.path_and_query() else { return Err(Unclean::TargetForm) };
    if sent.as_str() == "*" {
        let options = parts.method == Method::OPTIONS;
        return Err(if options { Unclean::Asterisk } else { Unclean::TargetForm });
    }
    let normalised = path(sent.path())?;
    path::check_query(sent.query())?;
    match normalised {
        // `http://example.org?a=b` has no path of its own to keep.
        Cow::Borrowed(_) if sent.as_str().starts_with('/') => {
            if parts.uri.authority().is_some() {
                let origin = Uri::from(sent.clone());
                // Nothing is left for a path of `http://example.org#a`, which only a URI with an authority calls `/`.
                parts.uri = if origin.path().is_empty() { Uri::default() } else { origin };
            }
        }
        changed => parts.uri = Uri::from(path::assemble(&changed, sent.query())?),
    }
    Ok(())
}

/// HTTP/2 clients may split `cookie` to compress it better; a service must get it whole.
fn join_cookies(headers: &mut HeaderMap) {
    let mut joined = Vec::new();
    // An empty one would leave a space at the end, which is not there any more for whoever reads it next.
    for cookie in headers.get_all(header::COOKIE).iter().filter(|cookie| !cookie.is_empty()) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(cookie.as_bytes());
    }
    let joined =
        HeaderValue::from_maybe_shared(Bytes::from(joined)).expect("values of fields joined by `; ` are a value");
    headers.insert(header::COOKIE, joined);
}
