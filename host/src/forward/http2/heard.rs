//! The bytes of a connection, and what is noted of them.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// When something came last.
pub(super) type Last = Rc<Cell<Instant>>;

/// A stream of which it is noted whether it takes bytes, and, where that is asked for, when something came.
pub(super) struct Heard<S> {
    stream: S,
    last: Option<Last>,
    writing: Rc<Writing>,
}

/// Whether a service reads what it is sent.
#[derive(Default)]
pub(super) struct Writing {
    waits: Cell<bool>,
    free: Notify,
}

impl Writing {
    /// Waits until the system takes bytes for it, or the connection has ended.
    pub(super) async fn free(&self) {
        while self.waits.get() {
            self.free.notified().await;
        }
    }

    fn note(&self, waits: bool) {
        if self.waits.replace(waits) && !waits {
            self.free.notify_waiters();
        }
    }
}

impl<S> Heard<S> {
    pub(super) fn new(stream: S, noted: bool, writing: Rc<Writing>) -> (Self, Option<Last>) {
        let last = noted.then(|| Rc::new(Cell::new(Instant::now())));
        (Self { stream, last: last.clone(), writing }, last)
    }
}

impl<S> Drop for Heard<S> {
    fn drop(&mut self) {
        self.writing.note(false);
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
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.writing.note(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.writing.note(written.is_pending());
        written
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
