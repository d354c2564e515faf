//! A request's body, as it comes or held in memory.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;

use super::budget::{Budget, Room};
use super::pace::{Pace, Pause};
use crate::coming::{Coming, ComingFault};
use crate::forward::headers::{self, Stripped};
use crate::refusal::Refusal;
use crate::server::{Asking, Busy, Ending};

/// A request's body. Small, as most requests have none and all are moved about.
pub enum Body {
    /// There is none.
    Empty,
    /// It comes as the client sends it.
    Streaming(Box<Streaming>),
    /// All of it is here.
    Held(Box<Held>),
}

/// A body that was read into memory.
#[derive(Clone)]
pub struct Held {
    /// The whole of it.
    pub bytes: Bytes,
    trailers: Option<HeaderMap>,
    _room: Rc<Room>,
}

/// A body that is still coming.
pub struct Streaming {
    coming: Coming,
    /// Bytes that may still come.
    left: u64,
    pause: Pause,
    pace: Pace,
    /// What no client may say, in trailers either.
    stripped: Option<Rc<Stripped>>,
    /// The connection that it comes over; none: it has a length, and so no trailers.
    connection: Option<Ending>,
    /// The same, which is told when it has come whole.
    upload: Option<Ending>,
    /// Asks the client for it when it is first read and nothing of it is there.
    asking: Option<Asking>,
    broken: Broken,
}

/// Whether a body that is still coming is known not to come whole.
#[derive(Clone, Default)]
pub struct Broken(Rc<Cell<bool>>);

impl Broken {
    /// It is.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.0.get()
    }
}

impl Streaming {
    pub(super) fn new(coming: Coming) -> Self {
        let (pause, pace) = (Pause::new(Duration::MAX), Pace::new(0));
        let (left, broken) = (u64::MAX, Broken::default());
        Self { coming, left, pause, pace, stripped: None, connection: None, upload: None, asking: None, broken }
    }
}

impl Body {
    /// Says over which connection it comes: that ends if it has trailers, and if it is answered before it is known whether it has.
    /// The client is asked for it where it waits for that.
    pub fn comes_over(&mut self, busy: &Busy) {
        let Self::Streaming(streaming) = self else { return };
        streaming.asking = busy.asking();
        let upload = busy.ending();
        upload.uploads(true);
        streaming.upload = Some(upload);
        if streaming.size_hint().exact().is_none() {
            let connection = busy.ending();
            connection.awaits_trailers(true);
            streaming.connection = Some(connection);
        }
    }

    /// Lets in at most `most` bytes, with no pause longer than `pause`, at least `rate` bytes a second on average, and no
    /// trailer that is `stripped`.
    ///
    /// # Errors
    /// It says itself that it is longer.
    pub fn bound(&mut self, most: u64, (pause, rate): (Duration, u64), stripped: &Rc<Stripped>) -> Result<(), Refusal> {
        let Self::Streaming(streaming) = self else { return Ok(()) };
        if streaming.coming.size_hint().lower() > most {
            return Err(Refusal::BodyTooLong);
        }
        streaming.left = most;
        streaming.pause = Pause::new(pause);
        streaming.pace = Pace::new(rate);
        streaming.stripped = Some(Rc::clone(stripped));
        Ok(())
    }

    /// What will tell whether it breaks off; none: it is all there.
    #[must_use]
    pub fn broken(&self) -> Option<Broken> {
        match self {
            Self::Streaming(streaming) => Some(streaming.broken.clone()),
            Self::Empty | Self::Held(_) => None,
        }
    }

    /// Reads all of it into memory.
    pub(super) async fn hold(&mut self, most: usize, budget: &Budget) -> Result<(), Refusal> {
        let streaming = match self {
            Self::Streaming(streaming) => streaming,
            Self::Held(held) if held.bytes.len() > most => return Err(Refusal::BodyTooLong),
            Self::Held(_) | Self::Empty => return Ok(()),
        };
        let expected = streaming.size_hint().exact();
        if expected.is_some_and(|length| length > most as u64) {
            return Err(Refusal::BodyTooLong);
        }
        let mut room = budget.take(expected.map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX)))?;
        let mut bytes = BytesMut::with_capacity(room.bytes);
        let mut trailers = None;
        while let Some(frame) = streaming.frame().await {
            match frame.map_err(BodyFault::refusal)?.into_data() {
                Ok(data) => {
                    if bytes.len() + data.len() > most {
                        return Err(Refusal::BodyTooLong);
                    }
                    room.grow(bytes.len() + data.len())?;
                    bytes.extend_from_slice(&data);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        *self = Self::Held(Box::new(Held { bytes: bytes.freeze(), trailers, _room: Rc::new(room) }));
        Ok(())
    }
}

/// Why a body did not come whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyFault {
    /// It is longer than the API takes.
    #[error("request body too long")]
    TooLong,
    /// It paused for too long.
    #[error("request body too slow")]
    Slow,
    /// The client broke off or sent nonsense.
    #[error("request body broken: {0}")]
    Broken(#[from] ComingFault),
}

impl BodyFault {
    fn refusal(self) -> Refusal {
        match self {
            Self::TooLong => Refusal::BodyTooLong,
            Self::Slow => Refusal::BodySlow,
            Self::Broken(_) => Refusal::BodyBroken,
        }
    }
}

impl Streaming {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let asking = self.asking.take();
        match Pin::new(&mut self.coming).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.pause.reset();
                if let Some(upload) = self.upload.take_if(|_| self.coming.is_end_stream()) {
                    upload.uploads(false);
                }
                let Some(frame) = frame else {
                    if let Some(connection) = &self.connection {
                        connection.awaits_trailers(false);
                    }
                    return Poll::Ready(None);
                };
                let mut frame = frame?;
                if let Some(trailers) = frame.trailers_mut() {
                    // hyper takes an empty line within them for their end, and forgets what it read behind it: where that is
                    // a request to somebody before us, the answers behind it would go to the wrong clients.
                    if let Some(connection) = &self.connection {
                        connection.after_this();
                    }
                    headers::trailers(trailers);
                    if let Some(stripped) = &self.stripped {
                        stripped.remove(trailers, false);
                    }
                }
                if let Some(length) = frame.data_ref().map(Bytes::len) {
                    match self.left.checked_sub(length as u64) {
                        Some(left) => self.left = left,
                        None => return Poll::Ready(Some(Err(BodyFault::TooLong))),
                    }
                    self.pace.came(length, Instant::now());
                    if self.pace.is_slow() {
                        return Poll::Ready(Some(Err(BodyFault::Slow)));
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Pending => {
                // Whoever sends without being asked does not wait for it (RFC 9110, section 10.1.1).
                if let Some(asking) = asking {
                    asking.ask();
                }
                self.pace.wait(Instant::now());
                ready!(self.pause.poll(cx));
                Poll::Ready(Some(Err(BodyFault::Slow)))
            }
        }
    }
}

impl http_body::Body for Streaming {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let polled = self.poll_part(cx);
        if let Poll::Ready(Some(Err(_))) = polled {
            self.broken.0.set(true);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.coming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.coming.size_hint()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streaming(streaming) => Pin::new(&mut **streaming).poll_frame(cx),
            Self::Held(held) if !held.bytes.is_empty() => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut held.bytes)))))
            }
            Self::Held(held) => Poll::Ready(held.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(streaming) => streaming.is_end_stream(),
            Self::Held(held) => held.bytes.is_empty() && held.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(streaming) => streaming.size_hint(),
            Self::Held(held) => SizeHint::with_exact(held.bytes.len() as u64),
        }
    }
}
