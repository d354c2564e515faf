//! A message's body on its way into a stream of HTTP/2, as fast as the other end opens the window: a request's to a service, a
//! response's to a client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

use crate::request::Pause;

/// So much of a part that the other end lets through is not nothing: whoever opens a few bytes at a time gains no time.
const PROGRESS_BYTES: usize = 16 * 1024;

/// A body that goes.
pub struct Going<B> {
    body: B,
    stream: SendStream<Bytes>,
    /// What waits for the window. It waits here, where it is seen how long: h2 would keep it for ever.
    part: Option<Part>,
    /// Bytes of it that went since the wait began.
    gone: usize,
    /// How long a part may wait; none: as long as the stream is there.
    pause: Option<Pause>,
}

/// A part of a body.
struct Part {
    bytes: Bytes,
    /// Whether nothing follows.
    is_last: bool,
}

/// Why a body did not go to its end.
pub enum Halt<E> {
    /// It broke off itself. The stream is still there, to be reset.
    Broken(E),
    /// The other end has reset the stream, its connection has ended, or a part had to wait for too long.
    Unwanted(h2::Error),
}

impl<E> From<h2::Error> for Halt<E> {
    fn from(fault: h2::Error) -> Self {
        Self::Unwanted(fault)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Going<B> {
    /// A body whose parts may wait for any time.
    pub fn new(body: B, stream: SendStream<Bytes>) -> Self {
        Self { body, stream, part: None, gone: 0, pause: None }
    }

    /// From now on a part may wait for so long.
    pub fn hurry(&mut self, patience: Duration) {
        self.pause = Some(Pause::new(patience));
    }

    /// The body.
    pub fn body(&mut self) -> &mut B {
        &mut self.body
    }

    /// Whether a part of it waits.
    pub fn waits(&self) -> bool {
        self.part.is_some()
    }

    /// Says why it does not go to its end.
    pub fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// Sends what there is and may be sent.
    ///
    /// # Errors
    /// It does not go to its end.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Halt<B::Error>>> {
        loop {
            if let Poll::Ready(reason) = self.stream.poll_reset(cx)? {
                return Poll::Ready(Err(Halt::Unwanted(reason.into())));
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
                        self.stream.send_trailers(frame.into_trailers().unwrap_or_default())?;
                        return Poll::Ready(Ok(()));
                    }
                },
                Some(Err(fault)) => return Poll::Ready(Err(Halt::Broken(fault))),
                None => {
                    self.stream.send_data(Bytes::new(), true)?;
                    return Poll::Ready(Ok(()));
                }
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

    /// Sends what the window has room for.
    fn send(&mut self, Part { mut bytes, is_last }: Part) -> Result<(), h2::Error> {
        self.stream.reserve_capacity(bytes.len());
        let now = bytes.split_to(bytes.len().min(self.stream.capacity()));
        self.gone += now.len();
        if bytes.is_empty() || self.gone >= PROGRESS_BYTES {
            self.gone = 0;
            if let Some(pause) = &mut self.pause {
                pause.reset();
            }
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
                    let Some(pause) = &mut self.pause else { return Poll::Pending };
                    ready!(pause.poll(cx));
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(Reason::CANCEL.into()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
