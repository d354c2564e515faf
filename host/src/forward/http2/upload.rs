//! A request's body on its way into a stream, as fast as the service opens the window.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_local};

use crate::going::{Going, Halt};
use crate::request::{Body, BodyFault};

/// What of a body is sent while its response is waited for, or comes. None: it is sent for its own sake.
#[must_use = "dropping it ends it, and resets the stream"]
pub(in crate::forward) struct Upload(Option<Sending>);

/// A body that is being sent.
struct Sending {
    task: JoinHandle<Result<(), BodyFault>>,
    /// Says that the response has come, and how long the service may still let a part of the body wait.
    left: oneshot::Sender<Duration>,
}

impl Upload {
    /// Begins to send a body. None: that is done with, because all of it is sent or the service wants no more.
    ///
    /// # Errors
    /// The body is broken, and the stream reset.
    pub(super) async fn begin(body: Body, stream: SendStream<Bytes>) -> Result<Option<Self>, BodyFault> {
        let (left, leaving) = oneshot::channel();
        let mut passing = Passing { going: Going::new(body, stream), leaving: Some(leaving) };
        match poll_fn(|cx| Poll::Ready(passing.poll(cx))).await {
            Poll::Ready(Ok(())) => Ok(None),
            Poll::Ready(Err(Halt::Broken(fault))) => Err(fault),
            Poll::Ready(Err(Halt::Unwanted(_))) => Ok(None),
            Poll::Pending => Ok(Some(Self(Some(Sending { task: spawn_local(passing.finish()), left })))),
        }
    }

    /// What is wrong with the body; none where nothing was.
    pub(super) async fn fault(&mut self) -> Option<BodyFault> {
        let ended = self.0.take_if(|sending| sending.task.is_finished())?;
        ended.task.await.ok()?.err()
    }

    /// Sends the rest although all of the response has come, as long as the service wants it, and lets no part wait for longer
    /// than `patience`: nothing else bounds it any more.
    pub(in crate::forward) fn leave(mut self, patience: Duration) {
        if let Some(sending) = self.0.take() {
            // It fails where all is sent.
            let _ = sending.left.send(patience);
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(sending) = &self.0 {
            sending.task.abort();
        }
    }
}

/// A body that is sent as long as its response is waited for, and a little longer.
struct Passing {
    going: Going<Body>,
    /// None: that has been said.
    leaving: Option<oneshot::Receiver<Duration>>,
}

impl Passing {
    /// # Errors
    /// The body is broken.
    async fn finish(mut self) -> Result<(), BodyFault> {
        match poll_fn(|cx| self.poll(cx)).await {
            Ok(()) => Ok(()),
            Err(Halt::Broken(fault)) => Err(fault),
            Err(Halt::Unwanted(fault)) => {
                tracing::debug!(reason = %fault, "request body not sent to its end");
                Ok(())
            }
        }
    }

    /// Passes on what there is. What is broken resets the stream.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Halt<BodyFault>>> {
        if let Some(leaving) = &mut self.leaving
            && let Poll::Ready(left) = Pin::new(leaving).poll(cx)
        {
            self.leaving = None;
            if let Ok(patience) = left {
                self.going.hurry(patience);
            }
        }
        let polled = self.going.poll(cx);
        if let Poll::Ready(Err(Halt::Broken(_))) = polled {
            self.going.reset(Reason::CANCEL);
        }
        polled
    }
}
