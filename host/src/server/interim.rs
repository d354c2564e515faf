//! What is said to a client before its answer: interim responses (1xx).
//!
//! hyper's server of HTTP/1.1 cannot send them. They go between hyper and the client's connection, where they break into no other
//! message: hyper flushes when it has written all that it has, and it tries to flush before it waits for an answer. So what was
//! flushed and is not answered yet is between two messages, and what is to be said waits for that or is not said: it is advice.
//! Over HTTP/2 they are frames of their stream, and [`Words`] wait for the task that answers it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use http::{HeaderMap, StatusCode};
use tokio::io::AsyncWrite;

use super::activity::Activity;

mod left;
mod words;

use left::Left;
pub(super) use words::Words;

/// The interim responses of a connection of HTTP/1.1 that wait to be written.
#[derive(Default)]
pub(super) struct Interim {
    /// Whether there are any: all that a connection without them looks at.
    waits: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: BytesMut,
    /// Whether a part of them has been written: then the rest must be.
    begun: bool,
    /// Counts the requests that may have some.
    turn: u64,
    /// Whether the answer to the last of these has not begun.
    open: bool,
    /// What more it may have.
    left: Left,
}

impl State {
    fn end(&mut self) {
        (self.bytes, self.begun) = (BytesMut::new(), false);
    }
}

/// When they could be written.
#[derive(Clone, Copy)]
pub(super) enum Moment {
    /// hyper has written all that it has.
    Flush,
    /// hyper writes, and `flushed` before: all that it writes is about the last request.
    Write { flushed: bool },
}

impl Interim {
    /// Whether there are any.
    pub(super) fn waits(&self) -> bool {
        self.waits.load(Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes them where this is the moment for it; forgets them where that is over. Ready: hyper's bytes may follow.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        cx: &mut Context<'_>,
        moment: Moment,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state();
        let may = match moment {
            Moment::Flush => state.open,
            Moment::Write { flushed } => flushed,
        };
        if !may && !state.begun {
            if !state.open {
                state.end();
                self.waits.store(false, Relaxed);
            }
            return Poll::Ready(Ok(()));
        }
        while !state.bytes.is_empty() {
            let count = ready!(Pin::new(&mut *stream).poll_write(cx, &state.bytes))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            state.bytes.advance(count);
            state.begun = true;
        }
        state.end();
        self.waits.store(false, Relaxed);
        Poll::Ready(Ok(()))
    }
}

/// One request's leave to say something before its answer, until this is dropped.
#[must_use = "nothing is said any more once this is dropped"]
pub struct Early(Voice);

/// What asks a client of HTTP/2 for its request's body, which it holds back until then (`expect: 100-continue`). Over HTTP/1.1
/// hyper does.
pub struct Asking(Arc<Words>);

impl Asking {
    /// None: nobody waits for it.
    pub(super) fn on_stream(words: &Arc<Words>) -> Option<Self> {
        words.hold_back().then(|| Self(Arc::clone(words)))
    }

    /// Somebody wants the body.
    pub fn ask(self) {
        self.0.ask();
    }
}

/// What speaks for a request, as long as it may.
#[derive(Clone)]
pub struct Voice(Way);

/// How what it says gets to the client.
#[derive(Clone)]
enum Way {
    /// Between the answers of a connection of HTTP/1.1.
    Turn { activity: Arc<Activity>, turn: u64, waker: Option<Waker> },
    /// On a stream of HTTP/2.
    Stream(Arc<Words>),
}

impl Early {
    /// The request is the last that came on its connection of HTTP/1.1; `waker` wakes that.
    pub(super) fn new(activity: Arc<Activity>, waker: Option<Waker>) -> Self {
        let mut state = activity.interim.state();
        state.turn += 1;
        (state.open, state.left) = (true, Left::all());
        let turn = state.turn;
        drop(state);
        Self(Voice(Way::Turn { activity, turn, waker }))
    }

    /// The request came on a stream of HTTP/2.
    pub(super) fn on_stream(words: Arc<Words>) -> Self {
        words.open();
        Self(Voice(Way::Stream(words)))
    }

    /// For whoever hears the service.
    #[must_use]
    pub fn voice(&self) -> Voice {
        self.0.clone()
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        match &self.0.0 {
            Way::Turn { activity, turn, .. } => {
                let mut state = activity.interim.state();
                if state.turn == *turn {
                    state.open = false;
                }
            }
            Way::Stream(words) => words.close(),
        }
    }
}

impl Voice {
    /// Whether anything more can be said.
    #[must_use]
    pub fn may_speak(&self) -> bool {
        match &self.0 {
            Way::Turn { activity, turn, .. } => {
                let state = activity.interim.state();
                state.turn == *turn && state.open && state.left.is_some()
            }
            Way::Stream(words) => words.are_heard(),
        }
    }

    /// Says an interim response of these fields, as soon as that is possible and if it still is then.
    pub fn say(&self, status: StatusCode, fields: HeaderMap) {
        match &self.0 {
            Way::Turn { .. } => self.say_bytes(&head(status, &fields)),
            Way::Stream(words) => words.say(status, fields),
        }
    }

    /// Says it as it is written in HTTP/1.1.
    fn say_bytes(&self, head: &[u8]) {
        let Way::Turn { activity, waker, .. } = &self.0 else { return };
        if !self.may_speak() {
            return;
        }
        let mut state = activity.interim.state();
        if !state.left.take(head.len()) {
            return;
        }
        state.bytes.extend_from_slice(head);
        drop(state);
        activity.interim.waits.store(true, Relaxed);
        if let Some(waker) = waker {
            waker.wake_by_ref();
        }
    }
}

/// The bytes of an interim response in HTTP/1.1.
fn head(status: StatusCode, fields: &HeaderMap) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in fields {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[cfg(test)]
mod tests;
