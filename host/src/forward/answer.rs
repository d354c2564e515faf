//! What comes of a request that was given to a connection.

use std::error::Error;

use h2::Reason;
use http::{Request, Response};
use hyper::client::conn::TrySendError;

use crate::coming::Coming;
use crate::request::{Body, BodyFault};

/// A request's response; or why there is none.
pub(super) type Answer = Result<Response<Coming>, Unanswered>;

/// Why a request has no response.
pub(super) struct Unanswered {
    pub(super) cause: Cause,
    /// The request, where nothing of it was sent: then it may go elsewhere whatever it is.
    pub(super) unsent: Option<Request<Body>>,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    /// On a connection of HTTP/1.1.
    #[error(transparent)]
    Http1(hyper::Error),
    /// On a connection of HTTP/2, or on the request's stream.
    #[error("http2 error")]
    Http2(#[source] h2::Error),
    /// The connection was left before it was the request's turn.
    #[error("http2 error: another request had no answer")]
    Left,
    /// The service answers no pings.
    #[error("http2 error: no answer to a ping")]
    Silent,
    /// The request's own body is broken: that is not the service's fault.
    #[error("{0}")]
    Body(#[source] BodyFault),
}

impl Cause {
    /// For the log: what it is, and where that is from.
    pub(super) fn said(&self) -> String {
        self.source().map_or_else(|| self.to_string(), |source| format!("{self}: {source}"))
    }

    /// What is wrong with the request's body, if that is it.
    pub(super) fn of_body(&self) -> Option<&BodyFault> {
        match self {
            Self::Http1(fault) => fault.source()?.downcast_ref(),
            Self::Body(fault) => Some(fault),
            Self::Http2(_) | Self::Left | Self::Silent => None,
        }
    }

    /// Whether the service says that it has done nothing of the request: it ends the connection and has not come to this stream, or
    /// it refuses the stream (RFC 9113, sections 6.8 and 8.7).
    pub(super) fn is_unprocessed(&self) -> bool {
        let Self::Http2(fault) = self else { return false };
        let ends = fault.is_go_away() && fault.reason() == Some(Reason::NO_ERROR);
        fault.is_remote() && (ends || self.is_refused())
    }

    /// Whether the service refuses the stream, and may take the next one.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::Http2(fault) if fault.is_reset() && fault.reason() == Some(Reason::REFUSED_STREAM))
    }

    /// Whether what came is no HTTP.
    pub(super) fn is_garbled(&self) -> bool {
        matches!(self, Self::Http1(fault) if fault.is_parse())
    }
}

impl From<Cause> for Unanswered {
    fn from(cause: Cause) -> Self {
        Self { cause, unsent: None }
    }
}

impl From<TrySendError<Request<Body>>> for Unanswered {
    fn from(mut fault: TrySendError<Request<Body>>) -> Self {
        let unsent = fault.take_message();
        Self { cause: Cause::Http1(fault.into_error()), unsent }
    }
}
