//! Every answer of our own, and its status: the only way off the path.
//!
//! A refusal becomes a problem document (RFC 9457) with the request's id. What caused it goes to the log, never to a client.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::clean::Unclean;
use crate::forward::ConnectFault;
use crate::forward::headers::REQUEST_ID;
use crate::metrics::Outcome;
use crate::plugin::verdict::{Rejection, Violation};
use crate::plugin::{Failure, NoVerdict, Stage, Unclear};

mod grpc;
mod proxy_status;

pub use grpc::media_type as grpc_media_type;
use proxy_status::PROXY_STATUS;

/// The problem type of a request over a limit (draft-ietf-httpapi-ratelimit-headers, section 8).
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
/// Challenges in one answer; an API has rarely more than two auth plugins.
const MOST_CHALLENGES: usize = 16;
/// What the gateway as a whole takes.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// What a client is told to wait when it cannot be known.
const RETRY_SECONDS: u32 = 1;

/// Why a request goes no further.
#[derive(Debug)]
pub enum Refusal {
    /// It has no one meaning.
    Unclean(Unclean),
    /// It has come through so many gateways that it must be going round.
    Loop,
    /// It belongs to no API.
    NoApi,
    /// A plugin of its API is not there yet.
    Waiting(Stage),
    /// Its address failed to authenticate too often.
    FailedTooOften {
        /// Seconds.
        retry_after: u32,
    },
    /// It carries no credential that a plugin knows; one challenge per plugin.
    NoCredential(Vec<HeaderValue>),
    /// A plugin said no.
    Rejected(Stage, Box<Rejected>),
    /// A plugin gave no verdict, and its failure mode is closed.
    Failed(Stage, Failure),
    /// A part that a plugin declared is not one exact text.
    Unclear(Stage, Unclear),
    /// It is over a limit.
    Limited(Box<Limited>),
    /// Its body is longer than the API or a plugin takes.
    BodyTooLong,
    /// Its body is of no type that the plugin knows, or has a content coding.
    MediaType,
    /// Its body paused for too long.
    BodySlow,
    /// Its body broke off.
    BodyBroken,
    /// There is no room for another body in memory.
    NoRoom,
    /// No endpoint is healthy.
    NoEndpoint,
    /// The service has as many requests in flight, or as many connections, as it may, or this machine has no more of them.
    CircuitOpen(String),
    /// No endpoint could be connected to.
    NoConnection(ConnectFault),
    /// The endpoint broke off.
    Broken(String),
    /// What the endpoint said is no HTTP.
    Garbled(String),
    /// The endpoint did not answer in time.
    Slow,
    /// All of it took longer than the API lets a request take.
    Late,
}

/// A plugin's no, as fields and parts of a problem document.
#[derive(Debug)]
pub struct Rejected {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// Title and detail in one line.
    message: String,
}

impl Rejected {
    /// Translates a plugin's refusal; `challenges` stand in for a `www-authenticate` that a 401 lacks.
    #[must_use]
    pub fn new(rejection: &Rejection, id: &HeaderValue, challenges: &[HeaderValue]) -> Box<Self> {
        let mut headers = HeaderMap::with_capacity(rejection.headers.len() + 2);
        for (name, value) in &rejection.headers {
            headers.append(name.clone(), value.clone());
        }
        if rejection.status == StatusCode::UNAUTHORIZED && !headers.contains_key(header::WWW_AUTHENTICATE) {
            append_challenges(&mut headers, challenges);
        }
        let body = match rejection.status.is_redirection() {
            true => Bytes::new(),
            false => Problem {
                kind: rejection.problem.as_deref(),
                title: &rejection.title,
                status: rejection.status.as_u16(),
                detail: rejection.detail.as_deref(),
                violations: &rejection.violations,
                ..Problem::new(id)
            }
            .bytes(),
        };
        let message = match &rejection.detail {
            Some(detail) => format!("{}: {detail}", rejection.title),
            None => rejection.title.to_string(),
        };
        Box::new(Self { status: rejection.status, headers, body, message })
    }
}

/// Which limits a request is over.
#[derive(Debug)]
pub struct Limited {
    /// `RateLimit`, `RateLimit-Policy` and `Retry-After`.
    pub headers: HeaderMap,
    /// Their names.
    pub names: Vec<std::sync::Arc<str>>,
}

/// A problem document (RFC 9457) with our extensions.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    violations: &'a [Violation],
    #[serde(rename = "violated-policies", skip_serializing_if = "<[_]>::is_empty")]
    violated: &'a [std::sync::Arc<str>],
    request_id: &'a str,
}

impl<'a> Problem<'a> {
    fn new(id: &'a HeaderValue) -> Self {
        Self {
            kind: None,
            title: "",
            status: 500,
            detail: None,
            violations: &[],
            violated: &[],
            request_id: id.to_str().unwrap_or_default(),
        }
    }

    fn bytes(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

impl Refusal {
    /// A call that ended without a verdict, where the failure mode is closed.
    #[must_use]
    pub fn no_verdict(stage: Stage, none: NoVerdict) -> Self {
        match none {
            NoVerdict::Unclear(unclear) => Self::Unclear(stage, unclear),
            NoVerdict::Failed(failure) => Self::Failed(stage, failure),
        }
    }

    /// The status, and what a client is told.
    fn public(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unclean(unclean) => (unclean.status(), unclean.title()),
            Self::Loop => (StatusCode::LOOP_DETECTED, "The request goes round in a loop"),
            Self::NoApi => (StatusCode::NOT_FOUND, "No API here"),
            Self::Waiting(_) | Self::Failed(..) => {
                (StatusCode::SERVICE_UNAVAILABLE, "The policy of this API is not available")
            }
            Self::FailedTooOften { .. } => (StatusCode::TOO_MANY_REQUESTS, "Too many failed authentications"),
            Self::NoCredential(_) => (StatusCode::UNAUTHORIZED, "A credential is needed"),
            Self::Rejected(_, rejected) => (rejected.status, ""),
            Self::Unclear(..) => (StatusCode::BAD_REQUEST, "A part of the request is ambiguous"),
            Self::Limited(_) => (StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            Self::BodyTooLong => (StatusCode::PAYLOAD_TOO_LARGE, "The body is too long"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body's type or coding is not supported"),
            Self::BodySlow => (StatusCode::REQUEST_TIMEOUT, "The body came too slowly"),
            Self::BodyBroken => (StatusCode::BAD_REQUEST, "The body broke off"),
            Self::NoRoom => (StatusCode::SERVICE_UNAVAILABLE, "Too many bodies at once"),
            Self::NoEndpoint => (StatusCode::SERVICE_UNAVAILABLE, "The service is not available"),
            Self::CircuitOpen(_) => (StatusCode::SERVICE_UNAVAILABLE, "The service is overloaded"),
            Self::NoConnection(_) => (StatusCode::BAD_GATEWAY, "The service cannot be reached"),
            Self::Broken(_) => (StatusCode::BAD_GATEWAY, "The service broke off"),
            Self::Garbled(_) => (StatusCode::BAD_GATEWAY, "The service did not answer as HTTP"),
            Self::Slow => (StatusCode::GATEWAY_TIMEOUT, "The service did not answer in time"),
            Self::Late => (StatusCode::GATEWAY_TIMEOUT, "The request took too long"),
        }
    }

    /// What a client is told, the same for every request that it happens to; empty where a plugin says it.
    #[must_use]
    pub fn title(&self) -> &'static str {
        self.public().1
    }

    /// Who refused.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unclean(_) | Self::Loop | Self::NoApi => Outcome::Clean,
            Self::FailedTooOften { .. } | Self::NoCredential(_) => Outcome::Auth,
            Self::Waiting(stage) | Self::Rejected(stage, _) | Self::Failed(stage, _) | Self::Unclear(stage, _) => {
                match stage {
                    Stage::Auth => Outcome::Auth,
                    Stage::Validation => Outcome::Validation,
                    Stage::Routing => Outcome::Routing,
                }
            }
            Self::Limited(_) => Outcome::Limit,
            Self::BodyTooLong | Self::MediaType | Self::BodySlow | Self::BodyBroken | Self::NoRoom => {
                Outcome::Validation
            }
            Self::NoEndpoint
            | Self::CircuitOpen(_)
            | Self::NoConnection(_)
            | Self::Broken(_)
            | Self::Garbled(_)
            | Self::Slow
            | Self::Late => Outcome::Service,
        }
    }

    /// What the log says beyond the status.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Unclean(unclean) => Some(unclean.to_string()),
            Self::Waiting(stage) => Some(format!("a plugin for {stage} is missing")),
            Self::Failed(_, failure) => Some(failure.to_string()),
            Self::Unclear(_, unclear) => Some(unclear.to_string()),
            Self::Limited(limited) => Some(format!("over {}", limited.names.join(", "))),
            Self::NoConnection(cause) => Some(cause.to_string()),
            Self::Broken(cause) | Self::Garbled(cause) | Self::CircuitOpen(cause) => Some(cause.clone()),
            Self::NoEndpoint => Some("there is no healthy endpoint".into()),
            Self::Slow => Some("no answer in the service's time".into()),
            Self::Late => Some("no end in the API's `request_timeout`".into()),
            Self::NoRoom => Some("no room for another body".into()),
            Self::Rejected(_, rejected) if rejected.status.is_server_error() => Some(rejected.message.clone()),
            _ => None,
        }
    }

    /// What a client is told of this one request.
    fn detail(&self) -> Option<String> {
        match self {
            Self::Unclear(_, unclear) => Some(unclear.to_string()),
            Self::Unclean(unclean) => Some(unclean.to_string()),
            _ => None,
        }
    }

    /// Whether nothing more can be read from the connection with one meaning.
    fn closes(&self) -> bool {
        matches!(
            self,
            Self::Unclean(_)
                | Self::BodyTooLong
                | Self::BodySlow
                | Self::BodyBroken
                | Self::MediaType
                | Self::NoRoom
                | Self::Late
        )
    }

    /// The answer, and its body.
    #[must_use]
    pub fn answer(self, id: &HeaderValue) -> Response<Bytes> {
        let (status, title) = self.public();
        let (closes, proxy_status) = (self.closes(), self.proxy_status());
        if status == StatusCode::NO_CONTENT {
            return no_content(proxy_status);
        }
        let detail = self.detail();
        let mut headers = HeaderMap::with_capacity(6);
        let body = match self {
            Self::Rejected(_, rejected) => {
                headers = rejected.headers;
                rejected.body
            }
            Self::Limited(limited) => {
                headers = limited.headers;
                let kind = Some(QUOTA_EXCEEDED);
                Problem { kind, title, status: status.as_u16(), violated: &limited.names, ..Problem::new(id) }.bytes()
            }
            other => {
                other.fields(&mut headers);
                Problem { title, status: status.as_u16(), detail: detail.as_deref(), ..Problem::new(id) }.bytes()
            }
        };
        if !body.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        }
        headers.insert(REQUEST_ID.clone(), id.clone());
        headers.insert(&PROXY_STATUS, proxy_status);
        if closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// Fields that belong to the kind of refusal.
    fn fields(&self, headers: &mut HeaderMap) {
        match self {
            Self::NoCredential(challenges) => append_challenges(headers, challenges),
            Self::FailedTooOften { retry_after } => {
                headers.insert(header::RETRY_AFTER, (*retry_after).into());
            }
            Self::NoEndpoint | Self::CircuitOpen(_) | Self::NoRoom | Self::Waiting(_) | Self::Failed(..) => {
                headers.insert(header::RETRY_AFTER, RETRY_SECONDS.into());
            }
            Self::Unclean(Unclean::Connect | Unclean::Trace) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(METHODS));
            }
            _ => {}
        }
    }
}

/// The answer to who asks the gateway itself what it takes.
fn no_content(proxy_status: HeaderValue) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(METHODS));
    response.headers_mut().insert(&PROXY_STATUS, proxy_status);
    response
}

fn append_challenges(headers: &mut HeaderMap, challenges: &[HeaderValue]) {
    for challenge in challenges.iter().take(MOST_CHALLENGES) {
        headers.append(header::WWW_AUTHENTICATE, challenge.clone());
    }
}
