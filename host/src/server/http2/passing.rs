//! A response's body on its way into a stream, as fast as its client opens the window.
//!
//! The system's buffers say nothing of streams whose clients open none: what waits for a window was never offered to them.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;

use crate::forward::Outgoing;
use crate::request::Pause;

/// So much of a part that a client lets through is not nothing: whoever opens a few bytes at a time gains no time.
const PROGRESS_BYTES: usize = 16 * 1024;

/// A body that passes.
pub(super) struct Passing {
    body: Outgoing,
    stream: SendStream<Bytes>,
    /// What waits for the window.
    part: Option<Part>,
    /// Bytes of it that went since the wait began.
    gone: usize,
    pause: Pause,
}

/// A part of a body.
struct Part {
    bytes: Bytes,
    /// Whether nothing follows.
    is_last: bool,
}

impl Passing {
    /// A part of it may wait for `patience`.
    pub(super) fn new(body: Outgoing, stream: SendStream<Bytes>, patience: Duration) -> Self {
        Self { body, stream, part: None, gone: 0, pause: Pause::new(patience) }
    }

    /// Passes on what there is. An error: the stream has been reset, by whichever side.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            if let Poll::Ready(reason) = self.stream.poll_reset(cx)? {
                return Poll::Ready(Err(reason.into()));
            }
            if self.part.is_some() {
                ready!(self.poll_room(cx))?;
            }
            if let Some(part) = self.part.take() {
                let is_last = part.is_last;
                self.send(part)?;
                if self.part.is_some() {
                    continue;
                }
                if is_last {
                    return Poll::Ready(Ok(()));
                }
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.offer(bytes),
                    Err(frame) => {
                        self.stream.reserve_capacity(0);
                        return Poll::Ready(self.stream.send_trailers(frame.into_trailers().unwrap_or_default()));
                    }
                },
                Some(Err(fault)) => {
                    let reason = reason(&fault);
                    self.stream.send_reset(reason);
                    return Poll::Ready(Err(reason.into()));
                }
                None => return Poll::Ready(self.stream.send_data(Bytes::new(), true)),
            }
        }
    }

    /// Asks for room when there is something to send, and for little: what is kept for it others of the connection lack.
    fn offer(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.stream.reserve_capacity(1);
        }
        self.part = Some(Part { bytes, is_last: self.body.is_end_stream() });
    }

    /// Sends what the window has room for. The rest waits here, where it is seen how long: h2 would keep it for ever.
    fn send(&mut self, Part { mut bytes, is_last }: Part) -> Result<(), h2::Error> {
        self.stream.reserve_capacity(bytes.len());
        let now = bytes.split_to(bytes.len().min(self.stream.capacity()));
        self.gone += now.len();
        if bytes.is_empty() || self.gone >= PROGRESS_BYTES {
            self.gone = 0;
            self.pause.reset();
        }
        self.stream.send_data(now, is_last && bytes.is_empty())?;
        if !bytes.is_empty() {
            self.stream.reserve_capacity(1);
            self.part = Some(Part { bytes, is_last });
        }
        Ok(())
    }

    /// Waits until some of the part may be sent.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        if self.part.as_ref().is_some_and(|part| part.bytes.is_empty()) {
            return Poll::Ready(Ok(()));
        }
        while self.stream.capacity() == 0 {
            match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(room)) => {
                    if room? > 0 {
                        break;
                    }
                }
                Poll::Ready(None) => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
                Poll::Pending => {
                    ready!(self.pause.poll(cx));
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(Reason::CANCEL.into()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if self.part.is_some() {
            self.body.cut_off();
        }
    }
}

/// What the client is told of a body that ends early: what the service said, where it speaks HTTP/2 too.
fn reason(fault: &dyn Error) -> Reason {
    let causes = std::iter::successors(fault.source(), |cause| (*cause).source());
    let said = causes.filter_map(|cause| cause.downcast_ref::<h2::Error>()).next();
    said.and_then(h2::Error::reason).unwrap_or(Reason::INTERNAL_ERROR)
}
