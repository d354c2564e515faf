//! Connections of HTTP/2 to services, each shared by many requests.
//!
//! It is hyper's client of HTTP/2 over again, on the same crate, because hyper's reads over interim responses. Its bounds are
//! those of a connection that many clients share, who know nothing of each other.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;

use super::answer::{Answer, Cause, Unanswered};
use super::interim::Ear;
use crate::coming::Coming;
use crate::config;
use crate::request::Body;

mod heard;
mod ping;
mod upload;

use heard::{Heard, Writing};
use ping::Pinging;
pub(super) use upload::Upload;

/// What a service may send unasked on one stream: about what the system's buffers take of a connection of HTTP/1.1.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same on all streams together: more than they can fill. Many clients share a connection, and what the slow ones of them do
/// not read must not keep the responses of the others from coming.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// What the bytes that are missing to 256 in unread parts may come to: so small ones may wait, as events for clients that
/// stand still, before the connection ends for them.
const SMALL_PARTS_BYTES: usize = 64 * 1024 * 1024;
/// The largest frame, as hyper has it: the smallest that may be.
const FRAME_BYTES: u32 = 16 * 1024;
/// What of a request's body may wait to be written.
const SEND_BYTES: usize = 64 * 1024;
/// The most bytes of a response's head.
const HEAD_LIST_BYTES: u32 = 64 * 1024;
/// Requests that may be in flight before the service has said how many, as hyper has it: services are to take as many at least
/// (RFC 9113, section 6.5.2).
const STREAMS_AT_FIRST: usize = 100;
/// How many streams whose clients have left are known for a second: what the service still sends on them is no fault of its.
const LEFT_STREAMS: usize = 4096;

/// What requests are sent with; the connection ends when all are gone, and what they sent is answered.
#[derive(Clone)]
pub(super) struct Sender(Rc<Shared>);

/// What the senders of a connection have in common.
struct Shared {
    /// Never sends a request, so that it never waits for one.
    connection: SendRequest<Bytes>,
    /// Sends all of them, one after the other: whose turn it is, until the service has taken it.
    turn: Mutex<SendRequest<Bytes>>,
    /// Whether those whose turn has not come are to go elsewhere.
    left: Cell<bool>,
    /// Whether the connection ended because the service answered no ping.
    silent: Rc<Cell<bool>>,
    writing: Rc<Writing>,
}

/// A connection at work, to its end.
pub(super) struct Driven<S> {
    connection: Connection<Heard<S>, Bytes>,
    pinging: Option<Pinging>,
    silent: Rc<Cell<bool>>,
}

/// Opens a connection over this stream. Nothing moves on it but as it is driven.
pub(super) async fn open<S>(stream: S, ping: Option<config::Ping>) -> Result<(Sender, Driven<S>), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let writing = Rc::<Writing>::default();
    let (stream, heard) = Heard::new(stream, ping.is_some(), Rc::clone(&writing));
    let (sender, mut connection) = Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES)
        .max_send_buffer_size(SEND_BYTES)
        .max_header_list_size(HEAD_LIST_BYTES)
        .initial_max_send_streams(STREAMS_AT_FIRST)
        .max_concurrent_reset_streams(LEFT_STREAMS)
        // What a service does to one stream is no reason to end all others: their clients have no part in it.
        .max_local_error_reset_streams(None)
        .data_frame_budget(SMALL_PARTS_BYTES)
        .enable_push(false)
        .handshake(stream)
        .await?;
    let pinging = ping.zip(heard).zip(connection.ping_pong());
    let pinging = pinging.map(|((ping, heard), pings)| Pinging::new(pings, ping, heard));
    let silent = Rc::<Cell<bool>>::default();
    let (connection, driven) = (sender.clone(), Driven { connection, pinging, silent: Rc::clone(&silent) });
    let shared = Shared { connection, turn: Mutex::new(sender), left: Cell::default(), silent, writing };
    Ok((Sender(Rc::new(shared)), driven))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Driven<S> {
    type Output = Result<(), h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let this = self.get_mut();
        if this.pinging.as_mut().is_some_and(|pinging| pinging.poll(cx).is_ready()) {
            this.silent.set(true);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.connection).poll(cx)
    }
}

impl Sender {
    /// Whether it takes no more requests: it has ended, or its service has said that it will.
    pub(super) fn is_closed(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        matches!(self.0.connection.clone().poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    /// Whether both are of the same connection.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Sends those elsewhere whose turn has not come yet.
    pub(super) fn leave(&self) {
        self.0.left.set(true);
    }

    /// Sends a request as soon as the service takes another stream, and waits for its response; `ear` hears what is said before.
    /// What is left of its body is sent on behind this, as `upload`. The stream is reset where this is dropped before its end.
    pub(super) async fn send(&self, request: Request<Body>, ear: Option<Ear>, upload: &mut Option<Upload>) -> Answer {
        let again = again(&request);
        let (response, rest) = self.begin(request).await?;
        if let Some((body, stream)) = rest {
            *upload = Upload::begin(body, stream).await.map_err(Cause::Body)?;
        }
        match answered(response, ear).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                let coming = Coming::of_stream(body, &head.headers);
                Ok(Response::from_parts(head, coming))
            }
            Err(fault) => {
                let cause = self.cause(fault, upload.as_mut()).await;
                let unsent = again.filter(|_| cause.is_unprocessed());
                Err(Unanswered { cause, unsent })
            }
        }
    }

    /// Sends a request's head when it is its turn; answers the way of its response, and of its body where it has one.
    async fn begin(
        &self,
        request: Request<Body>,
    ) -> Result<(ResponseFuture, Option<(Body, SendStream<Bytes>)>), Unanswered> {
        // Where the service has closed the connection, and that has come already, it is noticed before anything is sent in vain.
        give_way().await;
        let mut sender = self.0.turn.lock().await;
        // h2 takes any number of requests that the system has no room for, given up or not.
        self.0.writing.free().await;
        if self.0.left.get() {
            return Err(Unanswered { cause: Cause::Left, unsent: Some(request) });
        }
        // Where the last one was given up before the service took it, h2 still keeps it in line: another one behind it for each
        // that is given up would have no bound.
        if let Err(fault) = poll_fn(|cx| sender.poll_ready(cx)).await {
            return Err(Unanswered { cause: self.ended(fault), unsent: Some(request) });
        }
        let (head, body) = request.into_parts();
        let mut head = Request::from_parts(head, ());
        say_length(&mut head, body.size_hint().exact());
        let whole = body.is_end_stream();
        let (response, stream) = sender.send_request(head, whole).map_err(Cause::Http2)?;
        // Until the service takes it, the next ones wait. What goes wrong meanwhile its response says.
        let _ = poll_fn(|cx| sender.poll_ready(cx)).await;
        Ok((response, (!whole).then_some((body, stream))))
    }

    /// Why a stream has no response: the service, or the request's own body.
    async fn cause(&self, fault: h2::Error, upload: Option<&mut Upload>) -> Cause {
        match upload {
            Some(upload) => upload.fault().await.map_or_else(|| self.ended(fault), Cause::Body),
            None => self.ended(fault),
        }
    }

    fn ended(&self, fault: h2::Error) -> Cause {
        if self.0.silent.get() { Cause::Silent } else { Cause::Http2(fault) }
    }
}

/// Lets the tasks run that have been woken already.
async fn give_way() {
    let mut given = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The response, and before it what is said before it.
async fn answered(mut response: ResponseFuture, ear: Option<Ear>) -> Result<Response<RecvStream>, h2::Error> {
    poll_fn(|cx| {
        if let Some(ear) = &ear {
            while let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
                let interim = interim?;
                ear.hear(interim.status(), interim.version(), interim.headers());
            }
        }
        Pin::new(&mut response).poll(cx)
    })
    .await
}

/// The request once more, for the case that the service does nothing of it: where its body is not one that is still coming.
fn again(request: &Request<Body>) -> Option<Request<Body>> {
    let body = match request.body() {
        Body::Empty => Body::Empty,
        Body::Held(held) => Body::Held(held.clone()),
        Body::Streaming(_) => return None,
    };
    let mut again = Request::new(body);
    again.method_mut().clone_from(request.method());
    again.uri_mut().clone_from(request.uri());
    again.headers_mut().clone_from(request.headers());
    *again.version_mut() = request.version();
    *again.extensions_mut() = request.extensions().clone();
    Some(again)
}

/// Says how long a request's body is, where nobody does; that it is empty only where one would be expected.
fn say_length(head: &mut Request<()>, length: Option<u64>) {
    let bare = matches!(*head.method(), Method::GET | Method::HEAD | Method::DELETE | Method::CONNECT);
    if let Some(length) = length.filter(|length| *length != 0 || !bare) {
        head.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_how_long_its_body_is_where_there_is_one_or_could_be() {
        let cases =
            [("GET", Some(0), None), ("GET", Some(3), Some("3")), ("POST", Some(0), Some("0")), ("POST", None, None)];
        for (method, length, said) in cases {
            let mut head = Request::builder().method(method).body(()).unwrap();
            say_length(&mut head, length);
            let field = head.headers().get(CONTENT_LENGTH).map(|value| value.to_str().unwrap());
            assert_eq!(field, said, "{method} {length:?}");
        }
        let mut head = Request::post("/").header(CONTENT_LENGTH, "5").body(()).unwrap();
        say_length(&mut head, Some(6));
        assert_eq!(head.headers()[CONTENT_LENGTH], "5", "the client's word");
    }
}
