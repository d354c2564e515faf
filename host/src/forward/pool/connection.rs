//! One connection to an endpoint, of either version of HTTP, and how a request is sent on it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::uri::Scheme;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use crate::coming::Coming;
use crate::forward::answer::{Answer, Unanswered};
use crate::forward::http2::{self, Upload};
use crate::forward::interim::Ear;
use crate::place::boxed;
use crate::request::Body;

/// What requests are sent with.
pub(super) enum Sender {
    /// One request at a time.
    Http1(http1::SendRequest<Body>),
    /// One of many at a time.
    Http2 {
        sender: http2::Sender,
        scheme: Scheme,
        /// What is left of the request's body.
        upload: Option<Upload>,
    },
}

impl Sender {
    pub(super) fn http2(sender: &http2::Sender, scheme: &Scheme) -> Self {
        Self::Http2 { sender: sender.clone(), scheme: scheme.clone(), upload: None }
    }
}

/// A connection to an endpoint, with the one timer of all its requests.
pub(in crate::forward) struct Connection {
    pub(super) sender: Sender,
    pub(super) timer: Pin<Box<Sleep>>,
    pub(super) opened: Instant,
}

impl Connection {
    /// Sends a request and waits for its response, while `ear` hears what is said before; none where there is none at `until`.
    pub(in crate::forward) fn send(
        &mut self,
        mut request: Request<Body>,
        ear: Option<Ear>,
        until: Instant,
    ) -> impl Future<Output = Option<Answer>> + use<'_> {
        let waiting = match &mut self.sender {
            Sender::Http1(sender) => {
                if let Some(ear) = ear {
                    ear.listen(&mut request);
                }
                Waiting::Http1 { answer: sender.try_send_request(request) }
            }
            Sender::Http2 { sender, upload, .. } => {
                Waiting::Http2 { answer: Box::into_pin(boxed(|| sender.send(request, ear, upload))) }
            }
        };
        Sent { waiting, timer: &mut self.timer, until }
    }

    /// What is left of the request's body goes on without this, as [`Upload::leave`] says.
    pub(in crate::forward) fn leave_upload(&mut self, patience: Duration) {
        if let Sender::Http2 { upload, .. } = &mut self.sender
            && let Some(upload) = upload.take()
        {
            upload.leave(patience);
        }
    }

    /// The scheme of its requests where they are of HTTP/2.
    pub(in crate::forward) fn http2(&self) -> Option<&Scheme> {
        match &self.sender {
            Sender::Http1(_) => None,
            Sender::Http2 { scheme, .. } => Some(scheme),
        }
    }
}

pin_project! {
    /// A request on its way, until its time is over.
    struct Sent<'c, F> {
        #[pin]
        waiting: Waiting<'c, F>,
        timer: &'c mut Pin<Box<Sleep>>,
        until: Instant,
    }
}

impl<F: Future<Output = Answered>> Future for Sent<'_, F> {
    type Output = Option<Answer>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
        let this = self.project();
        match this.waiting.poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => poll_until(this.timer, *this.until, cx).map(|()| None),
        }
    }
}

pin_project! {
    /// A request that waits for its response.
    #[project = Waited]
    enum Waiting<'c, F> {
        Http1 { #[pin] answer: F },
        Http2 { answer: Pin<Box<dyn Future<Output = Answer> + 'c>> },
    }
}

/// What hyper says of a request.
type Answered = Result<Response<Incoming>, TrySendError<Request<Body>>>;

impl<F: Future<Output = Answered>> Future for Waiting<'_, F> {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        match self.project() {
            Waited::Http1 { answer } => match ready!(answer.poll(cx)) {
                Ok(response) => Poll::Ready(Ok(response.map(Coming::Http1))),
                Err(fault) => Poll::Ready(Err(Unanswered::from(fault))),
            },
            Waited::Http2 { answer } => answer.as_mut().poll(cx),
        }
    }
}

/// Ready at `until`. A timer that was set for an earlier moment is set anew only when that comes: as long as responses come
/// in time, most requests do not touch it.
fn poll_until(timer: &mut Pin<Box<Sleep>>, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
    if timer.deadline() > until.into() {
        timer.as_mut().reset(until.into());
    }
    loop {
        ready!(timer.as_mut().poll(cx));
        if timer.deadline() >= until.into() {
            return Poll::Ready(());
        }
        timer.as_mut().reset(until.into());
    }
}
