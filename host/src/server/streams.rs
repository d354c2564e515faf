//! Streams of HTTP/2 whose clients open no window for their answers: each ends by itself, and its connection goes on.
//!
//! The system's buffers say nothing of these: what waits for a window was never offered to them.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::spawn_local;

use crate::request::Pause;

/// How far a stream's answer is.
#[derive(Default)]
pub(super) struct Steps {
    /// Whether a part of it waits for the client: odd numbers; even ones: for the service. It changes with every step.
    count: Cell<u64>,
    /// Whether the client took nothing for too long.
    given_up: Cell<bool>,
}

impl Steps {
    /// A part of the answer is the client's to take, or it has taken all that there was.
    pub(super) fn offered(&self, waits: bool) {
        let now = self.count.get();
        if (now % 2 == 1) != waits {
            self.count.set(now.wrapping_add(1));
        }
    }

    /// Whether the stream ended because its client took nothing for too long.
    pub(super) fn given_up(&self) -> bool {
        self.given_up.get()
    }
}

/// The steps of the stream whose request has just come, for the task that it will be.
#[derive(Default)]
pub(super) struct Next(Cell<Option<Rc<Steps>>>);

impl Next {
    /// A request has come.
    pub(super) fn begin(&self) -> Rc<Steps> {
        let steps = Rc::default();
        self.0.set(Some(Rc::clone(&steps)));
        steps
    }
}

/// Runs a connection's streams on its own worker, each as long as its client takes what it gets.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) next: Rc<Next>,
    /// How long a part of an answer may wait.
    pub(super) most: Duration,
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        // hyper gives a stream to be run right behind the call with its request.
        match self.next.0.take() {
            Some(steps) => drop(spawn_local(Watched { stream, steps, last: 0, pause: Pause::new(self.most) })),
            None => drop(spawn_local(stream)),
        }
    }
}

pin_project! {
    /// A stream that is dropped, and so reset, when its client takes nothing for too long.
    struct Watched<F> {
        #[pin]
        stream: F,
        steps: Rc<Steps>,
        last: u64,
        pause: Pause,
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let now = this.steps.count.get();
        if now != *this.last {
            *this.last = now;
            this.pause.reset();
        }
        if now.is_multiple_of(2) {
            return Poll::Pending;
        }
        ready!(this.pause.poll(cx));
        this.steps.given_up.set(true);
        Poll::Ready(())
    }
}
