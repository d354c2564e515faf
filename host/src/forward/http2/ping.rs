//! Whether a service that says nothing is still there.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::config;

/// When something came last.
type Last = Rc<Cell<Instant>>;

/// A stream of which it is noted when something came, where that is asked for.
pub(super) struct Heard<S> {
    stream: S,
    last: Option<Last>,
}

impl<S> Heard<S> {
    pub(super) fn new(stream: S, noted: bool) -> (Self, Option<Last>) {
        let last = noted.then(|| Rc::new(Cell::new(Instant::now())));
        (Self { stream, last: last.clone() }, last)
    }
}

/// The pings of a connection: one goes out when nothing has come for a while, whether requests are in flight or not, as the next
/// request is to find the connection dead, not to find that out.
pub(super) struct Pinging {
    pings: PingPong,
    rule: config::Ping,
    last: Last,
    sleep: Pin<Box<Sleep>>,
    /// Whether an answer is waited for.
    asked: bool,
}

impl Pinging {
    pub(super) fn new(pings: PingPong, rule: config::Ping, last: Last) -> Self {
        Self { pings, rule, last, sleep: Box::pin(sleep(rule.after)), asked: false }
    }

    /// Pings when it is time for that. Ready: there was no answer in time.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // What it fails with ends the connection as well.
            if self.asked && matches!(self.pings.poll_pong(cx), Poll::Ready(Ok(_))) {
                self.asked = false;
                self.rest();
            }
            ready!(self.sleep.as_mut().poll(cx));
            if self.asked {
                return Poll::Ready(());
            }
            if self.last.get().elapsed() < self.rule.after {
                self.rest();
            } else if self.pings.send_ping(Ping::opaque()).is_ok() {
                self.asked = true;
                self.sleep.as_mut().reset((Instant::now() + self.rule.timeout).into());
            } else {
                return Poll::Pending;
            }
        }
    }

    /// Until it has been silent for as long as it may.
    fn rest(&mut self) {
        self.sleep.as_mut().reset((self.last.get() + self.rule.after).into());
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Some(last) = self.last.as_ref().filter(|_| read.is_ready()) {
            last.set(Instant::now());
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
