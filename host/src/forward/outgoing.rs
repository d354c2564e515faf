//! A response's body on its way to the client, and what ends with it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::{Pool, Sender};
use crate::balance::{Lease, Outcome};
use crate::limit::Admission;
use crate::log::Record;
use crate::request::Pause;
use crate::server::Busy;

/// What a request holds at its endpoint until the response's last byte has passed.
#[must_use = "dropping it gives up the connection"]
pub struct Ending {
    lease: Lease,
    sender: Option<Sender>,
    pool: Rc<Pool>,
    body_timeout: Duration,
}

impl Ending {
    pub(super) fn new(lease: Lease, sender: Sender, pool: Rc<Pool>, body_timeout: Duration) -> Self {
        Self { lease, sender: Some(sender), pool, body_timeout }
    }

    fn broke(&mut self, outcome: Outcome) {
        self.sender = None;
        self.lease.report(outcome, Instant::now());
    }

    /// The response was read to its end: the connection serves others.
    fn finish(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.pool.keep(sender);
        }
    }
}

/// A response's body. The request's line is written when this is dropped, by whoever and whenever.
pub struct Outgoing {
    source: Source,
    record: Box<Record>,
    _admission: Option<Admission>,
    busy: Option<Busy>,
}

enum Source {
    Own(Bytes),
    Service(Box<Flow>),
}

struct Flow {
    incoming: Incoming,
    ending: Ending,
    pause: Pause,
}

/// Why a response's body ends early: the client's connection is closed, so that it can tell.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingFault {
    /// The service broke off.
    #[error("the service broke off: {0}")]
    Broken(#[from] hyper::Error),
    /// The service paused for too long.
    #[error("the service paused for too long")]
    Slow,
}

impl Outgoing {
    /// A body of the gateway's own.
    #[must_use]
    pub fn own(body: Bytes, record: Box<Record>) -> Self {
        Self { source: Source::Own(body), record, _admission: None, busy: None }
    }

    /// A service's body; its place within the limits is kept until its end.
    #[must_use]
    pub fn service(incoming: Incoming, mut ending: Ending, admission: Admission, record: Box<Record>) -> Self {
        if incoming.is_end_stream() {
            ending.finish();
        }
        let pause = Pause::new(ending.body_timeout);
        let source = Source::Service(Box::new(Flow { incoming, ending, pause }));
        Self { source, record, _admission: Some(admission), busy: None }
    }
}

impl Outgoing {
    /// The client's connection is busy until this body is dropped.
    pub fn hold(&mut self, busy: Busy) {
        self.busy = Some(busy);
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
            Source::Service(flow) => ready!(flow.poll(cx)),
        };
        match &frame {
            Some(Ok(frame)) => {
                this.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Some(Err(fault)) => this.record.reason = Some(fault.to_string().into()),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(bytes) => bytes.is_empty(),
            Source::Service(flow) => flow.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Service(flow) => flow.incoming.size_hint(),
        }
    }
}

impl Flow {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutgoingFault>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.pause.reset();
                match &frame {
                    Some(Err(_)) => self.ending.broke(Outcome::Reset),
                    None => self.ending.finish(),
                    Some(Ok(_)) if self.incoming.is_end_stream() => self.ending.finish(),
                    Some(Ok(_)) => {}
                }
                let trimmed = |mut frame: Frame<Bytes>| {
                    frame.trailers_mut().map(super::headers::trailers);
                    frame
                };
                Poll::Ready(frame.map(|frame| frame.map(trimmed).map_err(OutgoingFault::from)))
            }
            Poll::Pending => {
                ready!(self.pause.poll(cx));
                self.ending.broke(Outcome::Timeout);
                Poll::Ready(Some(Err(OutgoingFault::Slow)))
            }
        }
    }
}
