//! A request's body on its way into a stream, as fast as the service opens the window.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;
use tokio::task::{JoinHandle, spawn_local};

use crate::request::{Body, BodyFault};

/// What of a body is sent while its response is waited for, or comes. None: it is sent for its own sake.
#[must_use = "dropping it ends it, and resets the stream"]
pub(in crate::forward) struct Upload(Option<JoinHandle<Result<(), BodyFault>>>);

impl Upload {
    /// Begins to send a body. None: that is done with, because all of it is sent or the service wants no more.
    ///
    /// # Errors
    /// The body is broken, and the stream reset.
    pub(super) async fn begin(body: Body, stream: SendStream<Bytes>) -> Result<Option<Self>, BodyFault> {
        let mut passing = Passing { body, stream, part: None };
        match poll_fn(|cx| Poll::Ready(passing.poll(cx))).await {
            Poll::Ready(Ok(())) => Ok(None),
            Poll::Ready(Err(End::Broken(fault))) => Err(fault),
            Poll::Ready(Err(End::Unwanted(_))) => Ok(None),
            Poll::Pending => Ok(Some(Self(Some(spawn_local(passing.finish()))))),
        }
    }

    /// What is wrong with the body; none where nothing was.
    pub(super) async fn fault(&mut self) -> Option<BodyFault> {
        let ended = self.0.take_if(|task| task.is_finished())?;
        ended.await.ok()?.err()
    }

    /// Sends the rest although all of the response has come, as long as the service wants it.
    pub(in crate::forward) fn leave(mut self) {
        self.0.take();
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// A body that passes.
struct Passing {
    body: Body,
    stream: SendStream<Bytes>,
    /// What waits for the window.
    part: Option<Part>,
}

/// A part of a body.
struct Part {
    bytes: Bytes,
    /// Whether nothing follows.
    is_last: bool,
}

/// Why a body was not sent to its end.
enum End {
    Broken(BodyFault),
    /// The service has reset the stream, or its connection has ended: its response says so.
    Unwanted(h2::Error),
}

impl From<h2::Error> for End {
    fn from(fault: h2::Error) -> Self {
        Self::Unwanted(fault)
    }
}

impl Passing {
    /// # Errors
    /// The body is broken.
    async fn finish(mut self) -> Result<(), BodyFault> {
        match poll_fn(|cx| self.poll(cx)).await {
            Ok(()) => Ok(()),
            Err(End::Broken(fault)) => Err(fault),
            Err(End::Unwanted(fault)) => {
                tracing::debug!(reason = %fault, "request body not sent to its end");
                Ok(())
            }
        }
    }

    /// Passes on what there is. What is broken resets the stream.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        loop {
            if let Poll::Ready(reason) = self.stream.poll_reset(cx)? {
                return Poll::Ready(Err(End::Unwanted(reason.into())));
            }
            if self.part.is_some() {
                ready!(self.poll_room(cx))?;
            }
            if let Some(Part { bytes, is_last }) = self.part.take() {
                self.stream.send_data(bytes, is_last)?;
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
                Some(Err(fault)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(End::Broken(fault)));
                }
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

    /// Waits until some of the part may be sent: h2 sends the rest as the window opens.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        if self.part.as_ref().is_some_and(|part| part.bytes.is_empty()) {
            return Poll::Ready(Ok(()));
        }
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(room) => {
                    if room? > 0 {
                        break;
                    }
                }
                None => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
            }
        }
        Poll::Ready(Ok(()))
    }
}
