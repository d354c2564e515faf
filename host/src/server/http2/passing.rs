//! A response's body on its way into a stream, as fast as its client opens the window.
//!
//! The system's buffers say nothing of streams whose clients open none: what waits for a window was never offered to them.

use std::error::Error;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};

use crate::forward::Outgoing;
use crate::going::{Going, Halt};

/// A body that passes.
pub(super) struct Passing(Going<Outgoing>);

impl Passing {
    /// A part of it may wait for `patience`.
    pub(super) fn new(body: Outgoing, stream: SendStream<Bytes>, patience: Duration) -> Self {
        let mut going = Going::new(body, stream);
        going.hurry(patience);
        Self(going)
    }

    /// Passes on what there is. An error: the stream has been reset, by whichever side.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        Poll::Ready(match ready!(self.0.poll(cx)) {
            Ok(()) => Ok(()),
            Err(Halt::Unwanted(fault)) => Err(fault),
            Err(Halt::Broken(fault)) => {
                let reason = reason(&fault);
                self.0.reset(reason);
                Err(reason.into())
            }
        })
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if self.0.waits() {
            self.0.body().cut_off();
        }
    }
}

/// What the client is told of a body that ends early. Only that a service has cancelled it means the same to the client: other
/// reasons are about the gateway's own connection (RFC 9113, section 7), and some would have the client send its request again.
fn reason(fault: &dyn Error) -> Reason {
    let causes = std::iter::successors(fault.source(), |cause| (*cause).source());
    let said = causes.filter_map(|cause| cause.downcast_ref::<h2::Error>()).next();
    match said.filter(|said| said.is_remote()).and_then(h2::Error::reason) {
        Some(Reason::CANCEL) => Reason::CANCEL,
        _ => Reason::INTERNAL_ERROR,
    }
}
