//! Whether a service that says nothing is still there.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use h2::{Ping, PingPong};
use tokio::time::{Sleep, sleep};

use super::heard::Last;
use crate::config;

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
