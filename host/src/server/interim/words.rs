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
    /// Wakes the task that answers the stream.
    waker: Option<Waker>,
}

impl Words {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something may be said from now on.
    pub(super) fn open(&self) {
        self.state().left = Left::all();
    }

    /// Nothing more may. Whoever speaks may live longer than the task, of which it keeps nothing.
    pub(super) fn close(&self) {
        let mut state = self.state();
        (state.left, state.waker) = (Left::default(), None);
    }

    /// Whether more may be said.
    pub(super) fn are_heard(&self) -> bool {
        self.state().left.is_some()
    }

    pub(super) fn say(&self, status: StatusCode, fields: HeaderMap) {
        let bytes = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum();
        let mut state = self.state();
        if !state.left.take(bytes) {
            return;
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        state.waiting.push(response);
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
    }

    /// Takes those that wait. Where more may come the task is woken for them.
    pub(in crate::server) fn take(&self, cx: &Context<'_>) -> Vec<Response<()>> {
        let mut state = self.state();
        if state.left.is_some() && !state.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        std::mem::take(&mut state.waiting)
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
}
