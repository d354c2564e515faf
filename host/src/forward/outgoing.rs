//! A response's body on its way to the client, and what ends with it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::pool::{Connection, Pool};
use crate::balance::{Lease, Outcome};
use crate::coming::{Coming, ComingFault};
use crate::limit::Permits;
use crate::log::Record;
use crate::metrics;
use crate::request::{Broken, Pause};
use crate::server::Busy;

/// What lasts until the last byte of the response has passed, or the client has left. When it is dropped, by whoever and
/// whenever, the request is counted and its line is written.
pub struct Exchange {
    /// What is known of the request.
    pub record: Record,
    /// What it holds at its endpoint.
    pub ending: Option<Ending>,
    /// Its places within the limits.
    pub permits: Permits,
    /// When all of it must have passed; none: when it has.
    pub deadline: Option<Pin<Box<Sleep>>>,
    /// Keeps the client's connection open.
    pub busy: Busy,
}

impl Exchange {
    /// The client's connection is busy until this is dropped.
    #[must_use]
    pub fn new(record: Record, busy: Busy) -> Self {
        Self { record, ending: None, permits: Permits::default(), deadline: None, busy }
    }

    /// There is an answer.
    pub fn answered(&mut self, outcome: metrics::Outcome, status: StatusCode) {
        self.record.outcome = outcome;
        self.record.status = status.as_u16();
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let now = Instant::now();
        if let Some(ending) = self.ending.take() {
            ending.end(now);
        }
        self.record.end(now);
    }
}

/// What a request holds at its endpoint until the response's last byte has passed.
#[must_use = "dropping it gives up the connection"]
pub struct Ending {
    lease: Lease,
    connection: Connection,
    pool: Rc<Pool>,
    pause: Pause,
    read: Read,
    /// Whether the client has broken off its request; none: that was all there.
    request: Option<Broken>,
}

/// How much of a response has been read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// A part.
    Part,
    /// All, with trailers over HTTP/1.1: hyper may have lost what came behind them, so the connection serves nobody else.
    Trailers,
    /// All: the connection serves others.
    Whole,
}

impl Ending {
    pub(super) fn new(
        lease: Lease,
        (connection, pool): (Connection, Rc<Pool>),
        body_timeout: Duration,
        request: Option<Broken>,
    ) -> Self {
        Self { lease, connection, pool, pause: Pause::new(body_timeout), read: Read::Part, request }
    }

    fn end(mut self, now: Instant) {
        if self.read == Read::Whole {
            self.connection.leave_upload(self.pause.most());
            self.pool.keep(self.connection, now);
        }
    }
}

/// A response's body.
pub struct Outgoing {
    source: Source,
    exchange: Box<Exchange>,
}

enum Source {
    Own(Bytes),
    Service(Coming),
}

/// Why a response's body ends early: the client's connection is closed, so that it can tell.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingFault {
    /// The service broke off.
    #[error("the service broke off: {0}")]
    Broken(#[from] ComingFault),
    /// The client broke off its request, or was too slow or said too much, while the service answered it.
    #[error("the request broke off before its response had ended")]
    Request,
    /// The service paused for too long.
    #[error("the service paused for too long")]
    Slow,
    /// All of the request took longer than its API lets it.
    #[error("the request took too long")]
    Late,
}

impl Outgoing {
    /// Whether the client's connection ends with it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.exchange.busy.is_last()
    }

    /// Whether it is the gateway's own.
    #[must_use]
    pub fn is_own(&self) -> bool {
        matches!(self.source, Source::Own(_))
    }

    /// A part of it that was taken never reaches its client.
    pub fn cut_off(&mut self) {
        let reason = || "the client's side ended before the response".into();
        self.exchange.record.reason.get_or_insert_with(reason);
    }

    /// A body of the gateway's own.
    #[must_use]
    pub fn own(body: Bytes, exchange: Box<Exchange>) -> Self {
        Self { source: Source::Own(body), exchange }
    }

    /// A service's body.
    #[must_use]
    pub fn service(coming: Coming, mut exchange: Box<Exchange>) -> Self {
        if let Some(ending) = exchange.ending.as_mut()
            && coming.is_end_stream()
        {
            ending.read = Read::Whole;
        }
        Self { source: Source::Service(coming), exchange }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // An HTTP/2 service may say only later that no more bytes come than it announced.
        let (sent, own) = (self.size_hint().exact() == Some(0), self.is_own());
        match self.exchange.ending.as_mut().filter(|ending| ending.read == Read::Part) {
            Some(ending) if sent && !own => ending.read = Read::Whole,
            Some(_) if !sent => self.cut_off(),
            _ => {}
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = OutgoingFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutgoingFault>>> {
        let this = self.get_mut();
        let frame = match &mut this.source {
            Source::Own(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Source::Own(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Source::Service(coming) => {
                let deadline = this.exchange.deadline.as_mut();
                if deadline.is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
                    Some(Err(OutgoingFault::Late))
                } else {
                    ready!(poll_service(coming, this.exchange.ending.as_mut(), cx))
                }
            }
        };
        match &frame {
            Some(Ok(frame)) => this.exchange.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(fault)) => this.exchange.record.reason = Some(fault.to_string().into()),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(bytes) => bytes.is_empty(),
            Source::Service(coming) => coming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Service(coming) => coming.size_hint(),
        }
    }
}

/// The next part of a service's body; whether it is the last, and what goes wrong, is noted in `ending`.
fn poll_service(
    coming: &mut Coming,
    ending: Option<&mut Ending>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, OutgoingFault>>> {
    let polled = Pin::new(&mut *coming).poll_frame(cx);
    let Some(ending) = ending else { return polled.map(|frame| frame.map(|frame| frame.map_err(Into::into))) };
    let Poll::Ready(frame) = polled else {
        ready!(ending.pause.poll(cx));
        ending.lease.report(Outcome::Timeout, Instant::now());
        return Poll::Ready(Some(Err(OutgoingFault::Slow)));
    };
    ending.pause.reset();
    match &frame {
        Some(Err(_)) if ending.request.as_ref().is_some_and(Broken::is_broken) => {
            return Poll::Ready(Some(Err(OutgoingFault::Request)));
        }
        Some(Err(_)) => ending.lease.report(Outcome::Reset, Instant::now()),
        None => ending.read = Read::Whole,
        Some(Ok(_)) if coming.is_end_stream() => ending.read = Read::Whole,
        Some(Ok(frame)) if frame.is_trailers() => ending.read = Read::Trailers,
        Some(Ok(_)) => {}
    }
    let trimmed = |mut frame: Frame<Bytes>| {
        frame.trailers_mut().map(super::headers::trailers);
        frame
    };
    Poll::Ready(frame.map(|frame| frame.map(trimmed).map_err(OutgoingFault::from)))
}
