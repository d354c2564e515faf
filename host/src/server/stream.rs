//! A client's connection as bytes: says which protocol it speaks, and notes when bytes come.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;

use super::activity::Activity;
use super::gather::poll_write_parts;
use super::interim::Moment;
use crate::clean::Scheme;

/// What an HTTP/2 client with prior knowledge says first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long what a client still sends is read behind the last answer of its connection.
const LINGER: Duration = Duration::from_secs(5);
/// Enough for most heads, so that one read sees all of it.
const FIRST_BYTES: usize = 4096;

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// What bytes come over.
pub(super) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Io {
    pub(super) fn scheme(&self) -> Scheme {
        match self {
            Self::Plain(_) => Scheme::Http,
            Self::Tls(_) => Scheme::Https,
        }
    }

    /// What was agreed on in the handshake (ALPN, RFC 7301).
    pub(super) fn agreed(&self) -> Option<Protocol> {
        let Self::Tls(stream) = self else { return None };
        match stream.get_ref().1.alpn_protocol()? {
            b"h2" => Some(Protocol::Http2),
            _ => Some(Protocol::Http1),
        }
    }

    /// The client's certificate, verified in the handshake.
    pub(super) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        let Self::Tls(stream) = self else { return None };
        stream.get_ref().1.peer_certificates()?.first()
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A connection, with what was read of it to find out the protocol.
pub(super) struct Stream {
    inner: Io,
    first: Bytes,
    activity: Arc<Activity>,
    /// Whether all that was written before has been flushed.
    flushed: bool,
    /// Until when it is read though nothing more is written; none: more may be.
    lingers: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    pub(super) fn new(inner: Io, activity: Arc<Activity>) -> Self {
        Self { inner, first: Bytes::new(), activity, flushed: true, lingers: None }
    }

    /// Reads until it is clear how the client speaks. Has no timer of its own.
    pub(super) async fn sniff(&mut self) -> io::Result<Protocol> {
        let mut first = BytesMut::with_capacity(FIRST_BYTES);
        loop {
            if self.inner.read_buf(&mut first).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let preface = first.iter().zip(PREFACE).all(|(one, other)| one == other);
            if !preface || first.len() >= PREFACE.len() {
                self.first = first.freeze();
                return Ok(if preface { Protocol::Http2 } else { Protocol::Http1 });
            }
        }
    }

    /// Reads what comes of a body that nobody wants, until the client has seen its answer and closes: if this side closed before,
    /// that would reset the connection, and the answer might be lost on the way (RFC 9112, section 9.6).
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(end) = &mut self.lingers else { return Poll::Ready(Ok(())) };
        let mut space = [0; 8 * 1024];
        while end.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                // It has closed, or broken off.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Lets interim responses that wait go first.
    fn poll_interim(&mut self, cx: &mut Context<'_>, moment: Moment) -> Poll<io::Result<()>> {
        let written = self.activity.interim.poll_write(&mut self.inner, cx, moment);
        self.activity.offered(written.is_ready().then_some(0));
        written
    }
}

/// How many bytes a client took; none: it takes no more for now.
fn taken(written: &Poll<io::Result<usize>>) -> Option<usize> {
    match written {
        Poll::Ready(written) => Some(written.as_ref().map_or(0, |count| *count)),
        Poll::Pending => None,
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let count = self.first.len().min(buffer.remaining());
            buffer.put_slice(self.first.get(..count).unwrap_or_default());
            self.first.advance(count);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.activity.bytes();
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.activity.interim.waits() {
            let flushed = self.flushed;
            ready!(self.poll_interim(cx, Moment::Write { flushed }))?;
        }
        self.flushed = false;
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.activity.offered(taken(&written));
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.activity.interim.waits() {
            let flushed = self.flushed;
            ready!(self.poll_interim(cx, Moment::Write { flushed }))?;
        }
        self.flushed = false;
        let written = poll_write_parts(Pin::new(&mut self.inner), cx, parts);
        self.activity.offered(taken(&written));
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushed = true;
        if self.activity.interim.waits() {
            ready!(self.poll_interim(cx, Moment::Flush))?;
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingers.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            if !self.activity.uploads() {
                return Poll::Ready(Ok(()));
            }
            self.lingers = Some(Box::pin(sleep(LINGER)));
        }
        self.poll_rest(cx)
    }
}
