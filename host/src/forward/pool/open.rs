//! How connections to an endpoint are opened: TCP, perhaps TLS, and HTTP of one version or the other.

use std::net::SocketAddr;
use std::time::Instant;

use http::uri::Scheme;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::{sleep_until, timeout_at};
use tokio_rustls::client::TlsStream;

use super::room::{Permit, Placed};
use super::{Connection, Pool, Sender, Shared};
use crate::balance;
use crate::forward::http2;
use crate::tls::{Outward, Speaks};

/// The most bytes of a response's head.
const HEAD_BYTES: usize = 64 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFault {
    /// The system says no.
    #[error("cannot connect to {0}: {1}")]
    Refused(SocketAddr, std::io::Error),
    /// Nobody answers.
    #[error("no connection to {0} in time")]
    Slow(SocketAddr),
    /// The endpoint is not who it must be, or speaks no TLS.
    #[error("no TLS with {0}: {1}")]
    Tls(SocketAddr, std::io::Error),
    /// hyper says no.
    #[error("no HTTP with {0}: {1}")]
    Http1(SocketAddr, hyper::Error),
    /// h2 says no.
    #[error("no HTTP with {0}: {1}")]
    Http2(SocketAddr, h2::Error),
    /// The service has as many connections as it may, or too many requests wait for one: nothing that the endpoint is to be
    /// judged by.
    #[error("no room for a connection to {0}")]
    Crowded(SocketAddr),
}

impl ConnectFault {
    /// Whether it says nothing about the endpoint.
    pub(in crate::forward) fn is_ours(&self) -> bool {
        match self {
            Self::Refused(_, fault) => balance::is_ours(fault),
            Self::Crowded(_) => true,
            Self::Slow(_) | Self::Tls(..) | Self::Http1(..) | Self::Http2(..) => false,
        }
    }
}

/// What HTTP can be spoken over.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

impl Pool {
    /// A new connection of HTTP/1.1.
    pub(super) async fn new_http1(
        &self,
        permit: Permit,
        (until, opened): (Instant, Instant),
    ) -> Result<Connection, ConnectFault> {
        let stream = self.open(opened).await?;
        let tls = self.tls.borrow().clone();
        match tls {
            None => self.http1(stream, permit, until).await,
            Some(tls) => self.http1(self.shake_hands(&tls, stream, true, opened).await?, permit, until).await,
        }
    }

    /// A new connection that requests of HTTP/2 share, or one of HTTP/1.1 where the service agrees on no other.
    pub(super) async fn new_http2(
        &self,
        permit: Permit,
        (until, opened): (Instant, Instant),
        now: Instant,
    ) -> Result<Connection, ConnectFault> {
        let stream = self.open(opened).await?;
        let tls = self.tls.borrow().clone();
        let Some(tls) = tls else { return self.http2((stream, permit), Scheme::HTTP, (until, opened), now).await };
        let stream = self.shake_hands(&tls, stream, false, opened).await?;
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => self.http2((stream, permit), Scheme::HTTPS, (until, opened), now).await,
            _ => self.http1(stream, permit, until).await,
        }
    }

    async fn http1<S: Stream>(&self, stream: S, permit: Permit, until: Instant) -> Result<Connection, ConnectFault> {
        let (stream, here) = Placed::new(stream, permit);
        // A response may have the 100 fields that are hyper's default: for another number it allocates twice a response.
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES.max(128 * 1024))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|fault| ConnectFault::Http1(self.address, fault))?;
        // A fault of the connection reaches whoever has a request on it.
        spawn_local(async move {
            let _ = connection.with_upgrades().await;
            drop(here);
        });
        let (sender, timer) = (Sender::Http1(sender), Box::pin(sleep_until(until.into())));
        Ok(Connection { sender, timer, opened: Instant::now() })
    }

    async fn http2<S: Stream>(
        &self,
        (stream, permit): (S, Permit),
        scheme: Scheme,
        (until, opened): (Instant, Instant),
        now: Instant,
    ) -> Result<Connection, ConnectFault> {
        let (stream, here) = Placed::new(stream, permit);
        let ping = self.bounds.borrow().ping;
        let (sender, driven) = timeout_at(opened.into(), http2::open(stream, ping))
            .await
            .map_err(|_| ConnectFault::Slow(self.address))?
            .map_err(|fault| ConnectFault::Http2(self.address, fault))?;
        spawn_local(async move {
            let _ = driven.await;
            drop(here);
        });
        let opened = Instant::now();
        let connection = Sender::http2(&sender, &scheme);
        *self.shared.borrow_mut() = Some(Shared { sender, scheme, opened, used: now });
        Ok(Connection { sender: connection, timer: Box::pin(sleep_until(until.into())), opened })
    }

    async fn shake_hands(
        &self,
        tls: &Outward,
        stream: TcpStream,
        http1: bool,
        until: Instant,
    ) -> Result<TlsStream<TcpStream>, ConnectFault> {
        let speaks = if http1 { Speaks::Http1 } else { Speaks::Any };
        timeout_at(until.into(), tls.shake_hands(stream, speaks))
            .await
            .map_err(|_| ConnectFault::Slow(self.address))?
            .map_err(|fault| ConnectFault::Tls(self.address, fault))
    }

    /// When a connection that is opened now must be there.
    pub(super) fn opened_by(&self, until: Instant) -> Instant {
        until.min(Instant::now() + self.bounds.borrow().connect_timeout)
    }

    async fn open(&self, until: Instant) -> Result<TcpStream, ConnectFault> {
        let address = self.address;
        let stream = timeout_at(until.into(), TcpStream::connect(address))
            .await
            .map_err(|_| ConnectFault::Slow(address))?
            .map_err(|fault| ConnectFault::Refused(address, fault))?;
        // Without it small requests wait for acknowledgements; where it fails, they do.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}
