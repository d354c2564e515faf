//! Another protocol on both connections: bytes pass both ways until one side ends or both are silent for too long.

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Response;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::task::spawn_local;
use tokio::time::timeout_at;

use super::outgoing::Ending;
use crate::coming::Coming;
use crate::metrics::Open;
use crate::request::Request;
use crate::server::Busy;

/// The client's half of an upgrade that a service has not accepted yet.
pub(super) struct Client(OnUpgrade);

/// What an upgraded connection holds until it ends: no plugin is among it.
pub(super) struct Held {
    /// The client's connection: counted as any other, closed with any other, and waited for when the gateway ends.
    pub(super) busy: Busy,
    /// Its place at the endpoint.
    pub(super) lease: Option<Ending>,
    /// Its place in the count of upgraded connections.
    pub(super) open: Open,
}

impl Client {
    /// None where the client's connection cannot be upgraded.
    pub(super) fn of(request: &Request) -> Option<Self> {
        request.head.extensions.get::<OnUpgrade>().cloned().map(Self)
    }

    /// Joins both connections once the response's head has passed, until both have been silent for `idle`.
    pub(super) fn join(self, response: &mut Response<Coming>, held: Held, idle: Duration) {
        let service = hyper::upgrade::on(response);
        spawn_local(async move {
            let Held { busy, lease: _lease, open: _open } = held;
            let Ok((client, service)) = tokio::try_join!(self.0, service) else { return };
            // Either side may break off at any time; there is nobody left to tell.
            busy.drive(pin!(relay(client, service, idle))).await;
        });
    }
}

/// Passes bytes both ways.
async fn relay(client: Upgraded, service: Upgraded, idle: Duration) {
    let last = Cell::new(Instant::now());
    let mut client = Noted { inner: TokioIo::new(client), last: &last };
    let mut service = Noted { inner: TokioIo::new(service), last: &last };
    let mut passing = pin!(copy_bidirectional(&mut client, &mut service));
    loop {
        let until = last.get() + idle;
        let ended = timeout_at(until.into(), passing.as_mut()).await.is_ok();
        if ended || last.get() + idle <= until {
            return;
        }
    }
}

/// One side, of which it is noted when bytes came last.
struct Noted<'a> {
    inner: TokioIo<Upgraded>,
    last: &'a Cell<Instant>,
}

impl AsyncRead for Noted<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if read.is_ready() {
            self.last.set(Instant::now());
        }
        read
    }
}

impl AsyncWrite for Noted<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
