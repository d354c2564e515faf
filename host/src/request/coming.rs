//! A request's body as its client's connection hands it over.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, HeaderMap};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::body::BodyFault;

/// What comes from a client behind a request's head.
pub enum Coming {
    /// Over HTTP/1.
    Http1(Incoming),
    /// Over HTTP/2.
    Http2(FrameBody),
}

/// The data and trailers of one stream of HTTP/2.
pub struct FrameBody {
    stream: RecvStream,
    /// Bytes that are still to come, where the head says how many; [`UNKNOWN`]: it does not.
    length: u64,
    /// Whether all data has come.
    data_ended: bool,
}

/// A number that is no length: a whole request with its [`Coming`] is no larger for it.
const UNKNOWN: u64 = u64::MAX;

impl From<Incoming> for Coming {
    fn from(incoming: Incoming) -> Self {
        Self::Http1(incoming)
    }
}

impl Coming {
    /// The body of a request with these fields. That it is as long as they say is h2's to watch.
    #[must_use]
    pub fn http2(stream: RecvStream, head: &HeaderMap) -> Self {
        let said = head.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let length = if stream.is_end_stream() { 0 } else { said.unwrap_or(UNKNOWN) };
        Self::Http2(FrameBody { stream, length, data_ended: false })
    }
}

impl FrameBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // The client may send as much again. It fails where the stream has ended, and then it may not anyway.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    if self.length != UNKNOWN {
                        self.length = self.length.saturating_sub(data.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(fault)) => return Poll::Ready(Some(Err(broken(fault)))),
                None => self.data_ended = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx)).map_err(broken).transpose();
        Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)))
    }
}

/// Why a body did not come whole. A client that breaks off and says that there is no error is cancelling: hyper takes that for the
/// body's end, which it is where a server says it (RFC 9113, section 8.1), and a service would get half a body as a whole one.
fn broken(fault: h2::Error) -> h2::Error {
    if fault.reason() == Some(Reason::NO_ERROR) { Reason::CANCEL.into() } else { fault }
}

impl Body for Coming {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match self.get_mut() {
            Self::Http1(incoming) => Pin::new(incoming).poll_frame(cx).map_err(BodyFault::from),
            Self::Http2(body) => body.poll_frame(cx).map_err(BodyFault::from),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(incoming) => incoming.is_end_stream(),
            Self::Http2(body) => body.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(incoming) => incoming.size_hint(),
            Self::Http2(body) if body.length == UNKNOWN => SizeHint::default(),
            Self::Http2(body) => SizeHint::with_exact(body.length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_no_larger_than_what_comes_over_http_1() {
        assert_eq!(size_of::<Coming>(), size_of::<Incoming>());
    }
}
