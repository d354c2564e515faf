//! What is said to a client of HTTP/1.1 before its answer: interim responses (1xx), which hyper's server cannot send.
//!
//! They go between hyper and the client's connection, where they break into no other message: hyper flushes when it has written
//! all that it has, and it tries to flush before it waits for an answer. So what was flushed and is not answered yet is between
//! two messages, and what is to be said waits for that or is not said: it is advice.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;

use super::activity::Activity;

/// Interim responses to one request: a service may say more, and nobody hears it.
const MOST: usize = 16;
/// Their bytes, in all: hints for a page are fewer.
const MOST_BYTES: usize = 16 * 1024;

/// A connection's interim responses that wait to be written.
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
    /// How many more it may have, and of how many bytes.
    left: (usize, usize),
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

/// What speaks for a request, as long as it may.
#[derive(Clone)]
pub struct Voice {
    activity: Arc<Activity>,
    turn: u64,
    waker: Option<Waker>,
}

impl Early {
    /// The request is the last that came on its connection; `waker` wakes that.
    pub(super) fn new(activity: Arc<Activity>, waker: Option<Waker>) -> Self {
        let mut state = activity.interim.state();
        state.turn += 1;
        (state.open, state.left) = (true, (MOST, MOST_BYTES));
        let turn = state.turn;
        drop(state);
        Self(Voice { activity, turn, waker })
    }

    /// For whoever hears the service.
    #[must_use]
    pub fn voice(&self) -> Voice {
        self.0.clone()
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        let mut state = self.0.activity.interim.state();
        if state.turn == self.0.turn {
            state.open = false;
        }
    }
}

impl Voice {
    /// Whether anything more can be said.
    #[must_use]
    pub fn may_speak(&self) -> bool {
        let state = self.activity.interim.state();
        state.turn == self.turn && state.open && state.left.0 > 0
    }

    /// Says a whole interim response, as soon as that is possible and if it still is then.
    pub fn say(&self, head: &[u8]) {
        if !self.may_speak() {
            return;
        }
        let mut state = self.activity.interim.state();
        let Some(left) = state.left.1.checked_sub(head.len()) else { return };
        state.left = (state.left.0.saturating_sub(1), left);
        state.bytes.extend_from_slice(head);
        drop(state);
        self.activity.interim.waits.store(true, Relaxed);
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests;
