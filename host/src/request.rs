//! A request on its way: its head, its body, who sent it and who is calling.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Sleep;

use crate::forward::headers::{self, Client, Peer, Stripped};
use crate::plugin::verdict::{Caller, Grant, Identified};
use crate::plugin::{BodyInput, Verdict, View};
use crate::refusal::Refusal;

/// What the stages depend on beside the request.
pub struct Scene<'a> {
    /// Room for bodies that a plugin declared.
    pub budget: &'a Budget,
    /// The request's id.
    pub id: &'a HeaderValue,
    /// When the request's head had been read.
    pub now: Instant,
    /// The same moment as limits count it.
    pub nanoseconds: u64,
}

/// A request on its way.
pub struct Request {
    /// Cleaned; `host` is the authority, the target is in origin form.
    pub head: Parts,
    /// What is left of its body.
    pub body: Body,
    /// The other end of its connection.
    pub peer: Rc<Peer>,
    /// Who is asking, as far as trusted peers can tell.
    pub client: Client,
    /// The client's address as text.
    pub address: Rc<str>,
    /// Whether it asks for another protocol on its connection.
    pub upgrade: bool,
    /// Who is calling; none: an anonymous caller.
    pub caller: Option<Granted>,
}

/// A caller and the plugin that says so.
#[derive(Clone)]
pub struct Granted {
    /// The plugin: a subject means nothing without it.
    pub plugin: Arc<str>,
    verdict: Verdict<Identified>,
}

impl Granted {
    /// None where the verdict is no grant.
    #[must_use]
    pub fn new(plugin: Arc<str>, verdict: Verdict<Identified>) -> Option<Self> {
        matches!(*verdict, Ok(Identified::Granted(_))).then_some(Self { plugin, verdict })
    }

    /// What the plugin granted.
    #[must_use]
    pub fn grant(&self) -> Option<&Grant> {
        match &*self.verdict {
            Ok(Identified::Granted(grant)) => Some(grant),
            _ => None,
        }
    }
}

impl Request {
    /// As it came: not cleaned, nothing of it bounded, from whoever has the connection.
    #[must_use]
    pub fn new(request: http::Request<Incoming>, peer: Rc<Peer>) -> Self {
        let (head, incoming) = request.into_parts();
        let body = match incoming.is_end_stream() {
            true => Body::Empty,
            false => Body::Streaming(Streaming::new(incoming)),
        };
        let (client, address) = (peer.itself(), Rc::clone(&peer.name));
        Self { head, body, peer, client, address, upgrade: false, caller: None }
    }

    /// Who is calling.
    #[must_use]
    pub fn caller(&self) -> Option<&Caller> {
        Some(&self.caller.as_ref()?.grant()?.caller)
    }

    /// What plugins may see of it.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View {
            head: &self.head,
            scheme: self.client.scheme.as_str(),
            client: &self.address,
            certificate: self.peer.certificate.as_deref(),
            caller: self.caller(),
            body: match &self.body {
                Body::Held(held) => Some(&held.bytes),
                Body::Empty | Body::Streaming(_) => None,
            },
        }
    }

    /// Reads the whole body into memory where a plugin declared it.
    ///
    /// # Errors
    /// It is longer than the plugin or the API takes, not of a declared type, stalls, breaks off, or there is no room.
    pub async fn hold(&mut self, declared: &BodyInput, budget: &Budget) -> Result<(), Refusal> {
        if matches!(self.body, Body::Empty) {
            return Ok(());
        }
        if !declared.takes(&self.head.headers) {
            return if declared.pass_others { Ok(()) } else { Err(Refusal::MediaType) };
        }
        let streaming = match &mut self.body {
            Body::Streaming(streaming) => streaming,
            Body::Held(held) if held.bytes.len() > declared.most_bytes => return Err(Refusal::BodyTooLong),
            Body::Held(_) | Body::Empty => return Ok(()),
        };
        let most = declared.most_bytes;
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
        self.body = Body::Held(Held { bytes: bytes.freeze(), trailers, _room: Rc::new(room) });
        Ok(())
    }
}

/// A request's body.
pub enum Body {
    /// There is none.
    Empty,
    /// It comes as the client sends it.
    Streaming(Streaming),
    /// All of it is here.
    Held(Held),
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
    incoming: Incoming,
    /// Bytes that may still come.
    left: u64,
    pause: Pause,
    /// What no client may say, in trailers either.
    stripped: Option<Rc<Stripped>>,
}

impl Streaming {
    fn new(incoming: Incoming) -> Self {
        Self { incoming, left: u64::MAX, pause: Pause::new(Duration::MAX), stripped: None }
    }
}

impl Body {
    /// Lets in at most `most` bytes, with no pause longer than `pause`, and no trailer that is `stripped`.
    ///
    /// # Errors
    /// It says itself that it is longer.
    pub fn bound(&mut self, most: u64, pause: Duration, stripped: &Rc<Stripped>) -> Result<(), Refusal> {
        let Self::Streaming(streaming) = self else { return Ok(()) };
        if streaming.incoming.size_hint().lower() > most {
            return Err(Refusal::BodyTooLong);
        }
        streaming.left = most;
        streaming.pause = Pause::new(pause);
        streaming.stripped = Some(Rc::clone(stripped));
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
    Broken(#[from] hyper::Error),
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

impl http_body::Body for Streaming {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.pause.reset();
                let Some(frame) = frame else { return Poll::Ready(None) };
                let mut frame = frame?;
                if let Some(trailers) = frame.trailers_mut() {
                    headers::trailers(trailers);
                    if let Some(stripped) = &self.stripped {
                        stripped.remove(trailers, false);
                    }
                }
                if let Some(data) = frame.data_ref() {
                    match self.left.checked_sub(data.len() as u64) {
                        Some(left) => self.left = left,
                        None => return Poll::Ready(Some(Err(BodyFault::TooLong))),
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Pending => {
                ready!(self.pause.poll(cx));
                Poll::Ready(Some(Err(BodyFault::Slow)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streaming(streaming) => Pin::new(streaming).poll_frame(cx),
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

/// Ends a wait that takes too long. Costs nothing until something has to be waited for.
pub struct Pause {
    most: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pause {
    /// At most so long.
    #[must_use]
    pub fn new(most: Duration) -> Self {
        Self { most, sleep: None }
    }

    /// Something came: the next wait has the whole time again.
    pub fn reset(&mut self) {
        self.sleep = None;
    }

    /// Ready when the wait has been too long.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let most = self.most;
        self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(most))).as_mut().poll(cx)
    }
}

/// How many bytes of bodies may be held at one time, over all workers.
#[derive(Debug)]
pub struct Budget {
    taken: Arc<AtomicUsize>,
    most: usize,
}

impl Budget {
    /// `taken` is shared by all budgets of the process, so that a reload forgets nothing.
    #[must_use]
    pub fn new(taken: Arc<AtomicUsize>, most: usize) -> Self {
        Self { taken, most }
    }

    fn take(&self, bytes: usize) -> Result<Room, Refusal> {
        let mut room = Room { taken: Arc::clone(&self.taken), most: self.most, bytes: 0 };
        room.grow(bytes)?;
        Ok(room)
    }
}

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
struct Room {
    taken: Arc<AtomicUsize>,
    most: usize,
    bytes: usize,
}

impl Room {
    fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let more = bytes.saturating_sub(self.bytes);
        let before = self.taken.fetch_add(more, Relaxed);
        self.bytes += more;
        if before.saturating_add(more) > self.most { Err(Refusal::NoRoom) } else { Ok(()) }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_of_the_budget_comes_back() {
        let taken = Arc::new(AtomicUsize::new(0));
        let budget = Budget::new(Arc::clone(&taken), 10);
        let room = budget.take(8).unwrap();
        assert!(budget.take(3).is_err());
        assert_eq!(taken.load(Relaxed), 8);
        drop(room);
        assert_eq!(taken.load(Relaxed), 0);
    }
}
