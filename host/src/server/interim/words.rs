//! Interim responses that wait for the task that answers their stream.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use http::{HeaderMap, Response, StatusCode};

use super::left::Left;

/// What a field counts for beside its letters (RFC 9113, section 6.5.2).
const FIELD_BYTES: usize = 32;

/// The interim responses of one stream that wait to be sent.
#[derive(Default)]
pub(in crate::server) struct Words(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: Vec<Response<()>>,
    left: Left,
    /// Whether the client holds its request's body back until it is asked for it.
    holds_back: bool,
    /// Wakes the task that answers the stream.
    waker: Option<Waker>,
}

impl Words {
    /// Those of a stream whose client may hold its request's body back.
    pub(in crate::server) fn new(holds_back: bool) -> Self {
        Self(Mutex::new(State { holds_back, ..State::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something may be said from now on.
    pub(super) fn open(&self) {
        self.state().left = Left::all();
    }

    /// Nothing more may.
    pub(super) fn close(&self) {
        self.state().left = Left::default();
    }

    /// The answer goes out, or never will. Whoever speaks may live longer than the task, of which it keeps nothing.
    pub(in crate::server) fn end(&self) {
        *self.state() = State::default();
    }

    /// Whether the client holds its request's body back.
    pub(super) fn hold_back(&self) -> bool {
        self.state().holds_back
    }

    /// Asks for the body, where the client still waits for that.
    pub(super) fn ask(&self) {
        let mut state = self.state();
        if std::mem::take(&mut state.holds_back) {
            state.push(StatusCode::CONTINUE, HeaderMap::new());
        }
    }

    /// Whether more may be said.
    pub(super) fn are_heard(&self) -> bool {
        self.state().left.is_some()
    }

    pub(super) fn say(&self, status: StatusCode, fields: HeaderMap) {
        let bytes = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum();
        let mut state = self.state();
        if state.left.take(bytes) {
            state.push(status, fields);
        }
    }

    /// Takes those that wait. Where more may come the task is woken for them.
    pub(in crate::server) fn take(&self, cx: &Context<'_>) -> Vec<Response<()>> {
        let mut state = self.state();
        if (state.left.is_some() || state.holds_back)
            && !state.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker()))
        {
            state.waker = Some(cx.waker().clone());
        }
        std::mem::take(&mut state.waiting)
    }
}

impl State {
    fn push(&mut self, status: StatusCode, fields: HeaderMap) {
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        self.waiting.push(response);
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::left::{MOST, MOST_BYTES};
    use super::*;

    fn hints(value: &str) -> HeaderMap {
        [(http::header::LINK, value.parse().expect("a value"))].into_iter().collect()
    }

    /// Says hints with values of so many bytes, and answers how many would be sent.
    fn said(words: &Words, bytes: usize, times: usize) -> usize {
        (0..times).for_each(|_| words.say(StatusCode::EARLY_HINTS, hints(&"x".repeat(bytes))));
        words.take(&Context::from_waker(Waker::noop())).len()
    }

    #[test]
    fn they_are_heard_while_they_may_be_and_in_bounds() {
        let words = Words::default();
        assert_eq!(said(&words, 1, 1), 0, "nobody asked for any");
        words.open();
        assert_eq!(said(&words, 1, MOST + 1), MOST);
        assert!(!words.are_heard());
        words.open();
        assert_eq!(said(&words, MOST_BYTES, 1), 0, "with its name it is too long");
        assert_eq!(said(&words, MOST_BYTES / 4, 5), 3);
        words.close();
        assert_eq!(said(&words, 1, 1), 0);
    }

    #[test]
    fn a_body_that_is_held_back_is_asked_for_once_and_before_the_answer() {
        let asked = |words: &Words| {
            words.ask();
            words.take(&Context::from_waker(Waker::noop())).len()
        };
        let words = Words::new(true);
        words.open();
        words.close();
        assert_eq!((asked(&words), asked(&words), asked(&Words::new(false))), (1, 0, 0));
        let words = Words::new(true);
        words.end();
        assert_eq!(asked(&words), 0);
    }
}
