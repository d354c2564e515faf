//! One connection to an endpoint, of either version of HTTP, and how a request is sent on it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::uri::Scheme;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use tokio::time::Sleep;

use crate::coming::Coming;
use crate::forward::answer::{Answer, Unanswered};
use crate::forward::http2::{self, Upload};
use crate::forward::interim::Ear;
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
        // What is waited with has room for the request.
        let mut waiting = match &mut self.sender {
            Sender::Http1(sender) => {
                if let Some(ear) = ear {
                    ear.listen(&mut request);
                }
                Waiting::Http1(Box::pin(sender.try_send_request(request)))
            }
            Sender::Http2 { sender, upload, .. } => Waiting::Http2(Box::pin(sender.send(request, ear, upload))),
        };
        let timer = &mut self.timer;
        poll_fn(move |cx| match waiting.poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => poll_until(timer, until, cx).map(|()| None),
        })
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

/// A request that waits for its response.
enum Waiting<'c> {
    Http1(Waited<'c, Result<Response<Incoming>, TrySendError<Request<Body>>>>),
    Http2(Waited<'c, Answer>),
}

type Waited<'c, T> = Pin<Box<dyn Future<Output = T> + 'c>>;

impl Waiting<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        match self {
            Self::Http1(answer) => match ready!(answer.as_mut().poll(cx)) {
                Ok(response) => Poll::Ready(Ok(response.map(Coming::Http1))),
                Err(fault) => Poll::Ready(Err(Unanswered::from(fault))),
            },
            Self::Http2(answer) => answer.as_mut().poll(cx),
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
