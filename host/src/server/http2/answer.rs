//! One stream: what is said before the answer, its head, and then its body.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::header::{CONTENT_LENGTH, DATE, Entry};
use http::{Response, StatusCode};
use http_body::Body as _;

use super::passing::Passing;
use crate::forward::{Outgoing, headers};
use crate::server::date::Date;
use crate::server::interim::Words;

/// The way back of one request.
pub(super) struct Reply {
    pub(super) stream: SendResponse<Bytes>,
    /// What is to be said before the answer.
    pub(super) words: Arc<Words>,
    /// Whether the answer is one to HEAD.
    pub(super) is_head: bool,
    pub(super) date: Rc<Date>,
    /// How long a part of the answer may wait for the client's window.
    pub(super) patience: Duration,
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.words.end();
    }
}

impl Reply {
    /// Sends the answer, to its last byte or until the client does not want it. What is dropped with the stream unsent resets it.
    pub(super) async fn finish(self, answering: impl Future<Output = Result<Response<Outgoing>, Infallible>>) {
        if let Err(fault) = self.send(answering).await {
            tracing::debug!(reason = %fault, "stream ended");
        }
    }

    async fn send(
        mut self,
        answering: impl Future<Output = Result<Response<Outgoing>, Infallible>>,
    ) -> Result<(), h2::Error> {
        let response = self.answered(answering).await?;
        match self.begin(response)? {
            Some(mut passing) => poll_fn(|cx| passing.poll(cx)).await,
            None => Ok(()),
        }
    }

    /// The answer, where the client does not leave before.
    async fn answered(
        &mut self,
        answering: impl Future<Output = Result<Response<Outgoing>, Infallible>>,
    ) -> Result<Response<Outgoing>, h2::Error> {
        let mut answering = pin!(answering);
        poll_fn(|cx| {
            // First: a client that has left needs no answer, and h2 would send it what is said before.
            if let Poll::Ready(reason) = self.stream.poll_reset(cx)? {
                return Poll::Ready(Err(reason.into()));
            }
            let answered = answering.as_mut().poll(cx);
            self.say(cx);
            answered.map(|Ok(response)| Ok(response))
        })
        .await
    }

    /// Sends what is to be said before the answer.
    fn say(&mut self, cx: &mut Context<'_>) {
        for response in self.words.take(cx) {
            if let Err(fault) = self.stream.send_informational(response) {
                tracing::debug!(reason = %fault, "interim response not sent");
            }
        }
    }

    /// Sends the answer's head. None: that is all of it.
    fn begin(mut self, response: Response<Outgoing>) -> Result<Option<Passing>, h2::Error> {
        let (head, body) = response.into_parts();
        let mut head = Response::from_parts(head, ());
        let never = matches!(head.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let fields = head.headers_mut();
        headers::to_http2(fields);
        if let Entry::Vacant(entry) = fields.entry(DATE)
            && let Some(date) = self.date.value(SystemTime::now())
        {
            entry.insert(date);
        }
        let empty = body.is_end_stream();
        if !empty
            && !never
            && let Some(length) = body.size_hint().exact()
        {
            fields.entry(CONTENT_LENGTH).or_insert_with(|| length.into());
        }
        let whole = empty || body.is_own() && (never || self.is_head);
        match self.stream.send_response(head, whole) {
            Ok(_) if whole => Ok(None),
            Ok(stream) => Ok(Some(Passing::new(body, stream, self.patience))),
            Err(fault) => {
                self.stream.send_reset(Reason::INTERNAL_ERROR);
                Err(fault)
            }
        }
    }
}
