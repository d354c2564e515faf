//! A client's connection of HTTP/2: each of its streams brings one request, which a task of its own answers.
//!
//! It is hyper's server of HTTP/2 over again, on the same crate, because hyper's has no way to send an interim response. What it
//! has beside are tighter bounds, and one on streams whose clients open no window.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, Handshake, SendResponse};
use h2::{Reason, RecvStream};
use http::header::EXPECT;
use http::{Method, Request};
use tokio::task::spawn_local;

use super::Terms;
use super::interim::Words;
use super::links::Link;
use super::stream::Stream;
use crate::coming::Coming;
use crate::forward::headers::Peer;
use crate::gateway::{Worker, handle};

mod answer;
mod passing;

use answer::Reply;

/// What a client may send unasked on one stream: enough for a fast line.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same on all streams together: several services may stand still before other bodies have to wait.
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
/// What the bytes that are missing to 256 in unread parts may come to: so many small ones may wait for their services.
const SMALL_PARTS_BYTES: usize = 4 * 1024 * 1024;
/// The largest frame, as hyper has it: the smallest that may be.
const FRAME_BYTES: u32 = 16 * 1024;
/// What of a stream's answer may wait to be written: a client may ask for many that it does not read.
const SEND_BYTES: usize = 64 * 1024;
/// How many streams that were answered before their request's end are known for a second: what the client still sends on them is
/// no fault of its.
const LEFT_STREAMS: usize = 256;
/// Streams that may be reset for what is wrong with them, as hyper has it: then the connection ends (RUSTSEC-2024-0003).
const FAULTY_STREAMS: usize = 1024;

/// A connection, from its settings to its end.
pub(super) struct Http2 {
    state: State,
    /// Whether it ends when what is in flight on it has.
    draining: bool,
    requests: Requests,
}

enum State {
    Greeting(Handshake<Stream, Bytes>),
    Serving(Connection<Stream, Bytes>),
}

/// What a connection's requests have in common.
pub(super) struct Requests {
    pub(super) worker: Rc<Worker>,
    pub(super) peer: Rc<Peer>,
    pub(super) link: Rc<Link>,
    /// How long a part of an answer may wait for its stream's window.
    pub(super) patience: Duration,
}

impl Http2 {
    pub(super) fn new(stream: Stream, terms: &Terms, requests: Requests) -> Self {
        let handshake = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .data_frame_budget(SMALL_PARTS_BYTES)
            .max_concurrent_reset_streams(LEFT_STREAMS)
            .max_frame_size(FRAME_BYTES)
            .max_send_buffer_size(SEND_BYTES)
            .max_local_error_reset_streams(Some(FAULTY_STREAMS))
            .max_concurrent_streams(terms.http2_streams)
            .max_header_list_size(u32::try_from(terms.head_bytes).unwrap_or(u32::MAX))
            .handshake(stream);
        Self { state: State::Greeting(handshake), draining: false, requests }
    }

    /// Takes no new streams any more, and ends when those that it has do.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        if let State::Serving(connection) = &mut self.state {
            connection.graceful_shutdown();
        }
    }

    /// Says before it ends at once which requests are never answered, so that the client may send those again (RFC 9113, section
    /// 6.8). It is not waited for.
    pub(super) async fn leave(&mut self) {
        let State::Serving(connection) = &mut self.state else { return };
        connection.abrupt_shutdown(Reason::NO_ERROR);
        let _ = poll_fn(|cx| Poll::Ready(connection.poll_closed(cx))).await;
    }
}

impl Future for Http2 {
    type Output = Result<(), h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Greeting(handshake) => {
                    let mut connection = ready!(Pin::new(handshake).poll(cx))?;
                    if this.draining {
                        connection.graceful_shutdown();
                    }
                    this.state = State::Serving(connection);
                }
                State::Serving(connection) => match ready!(connection.poll_accept(cx)).transpose()? {
                    Some((request, stream)) => this.requests.begin(request, stream),
                    None => return Poll::Ready(Ok(())),
                },
            }
        }
    }
}

impl Requests {
    /// A request has come: it is answered in a task of its own.
    fn begin(&self, request: Request<RecvStream>, stream: SendResponse<Bytes>) {
        // Other expectations are refused.
        let words = Arc::new(Words::new(request.headers().contains_key(EXPECT)));
        let busy = self.link.busy_on_stream(Arc::clone(&words));
        let is_head = request.method() == Method::HEAD;
        let (head, body) = request.into_parts();
        let coming = Coming::of_stream(body, &head.headers);
        let answering = handle(&self.worker, &self.peer, Request::from_parts(head, coming), busy);
        let reply = Reply { stream, words, is_head, date: self.link.date(), patience: self.patience };
        spawn_local(reply.finish(answering));
    }
}
