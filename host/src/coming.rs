//! A message's body as its connection hands it over: a request's from a client, a response's from a service.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::header::{CONTENT_LENGTH, HeaderMap};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// What comes behind a message's head.
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

/// A number that is no length: whatever has a [`Coming`] is no larger for it.
const UNKNOWN: u64 = u64::MAX;

/// Why a body did not come whole.
#[derive(Debug, thiserror::Error)]
pub enum ComingFault {
    /// Its sender broke off or sent nonsense, over HTTP/1.
    #[error("{0}")]
    Http1(#[from] hyper::Error),
    /// Its sender reset the stream or sent nonsense, over HTTP/2.
    #[error("{0}")]
    Http2(#[from] h2::Error),
}

impl From<Incoming> for Coming {
    fn from(incoming: Incoming) -> Self {
        Self::Http1(incoming)
    }
}

impl Coming {
    /// The body behind these fields, over HTTP/2.
    #[must_use]
    pub fn of_stream(stream: RecvStream, head: &HeaderMap) -> Self {
        Self::Http2(FrameBody::new(stream, head))
    }
}

impl FrameBody {
    /// That it is as long as the fields say is h2's to watch; where the stream has ended it is empty all the same, as that of an
    /// answer to `HEAD` is.
    fn new(stream: RecvStream, head: &HeaderMap) -> Self {
        let said = head.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let length = if stream.is_end_stream() { 0 } else { said.unwrap_or(UNKNOWN) };
        Self { stream, length, data_ended: false }
    }

    /// What is reset is not whole, whatever the reason: a server that wants no more of a request after its whole response says
    /// that there is no error (RFC 9113, section 8.1), and its response has ended before that for h2.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // The sender may send as much again. It fails where the stream has ended, and then it may not anyway.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    if self.length != UNKNOWN {
                        self.length = self.length.saturating_sub(data.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(fault)) => return Poll::Ready(Some(Err(fault))),
                None => self.data_ended = true,
            }
        }
        self.stream.poll_trailers(cx).map(|trailers| trailers.map(|trailers| trailers.map(Frame::trailers)).transpose())
    }
}

impl Body for Coming {
    type Data = Bytes;
    type Error = ComingFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ComingFault>>> {
        match self.get_mut() {
            Self::Http1(incoming) => Pin::new(incoming).poll_frame(cx).map_err(ComingFault::from),
            Self::Http2(body) => body.poll_frame(cx).map_err(ComingFault::from),
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
