//! Places on a connection, as many as its service takes streams at a time. A request without one waits here and not in h2's own
//! line: that it could neither leave when it is given up, nor change for another connection's when this one ends.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem;
use std::rc::{Rc, Weak};

use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use tokio::sync::oneshot;

use super::closed;

/// The places of a connection.
pub(super) struct Places {
    /// Says how many there are. Never sends a request, so that it never waits for one.
    connection: SendRequest<Bytes>,
    taken: Cell<usize>,
    line: RefCell<VecDeque<oneshot::Sender<Place>>>,
}

/// A place for one stream, free again when this is dropped.
pub(in crate::forward) struct Place(Weak<Places>);

impl Places {
    pub(super) fn new(connection: SendRequest<Bytes>) -> Self {
        Self { connection, taken: Cell::default(), line: RefCell::default() }
    }

    /// The connection.
    pub(super) fn connection(&self) -> &SendRequest<Bytes> {
        &self.connection
    }

    /// A place, in the order in which they are asked for.
    ///
    /// # Errors
    /// The connection takes no more requests.
    pub(super) async fn take(self: &Rc<Self>) -> Result<Place, h2::Error> {
        self.hand_out();
        if self.line.borrow().is_empty() && self.is_room() {
            return Ok(self.place());
        }
        if let Some(fault) = closed(&self.connection) {
            return Err(fault);
        }
        let (sender, place) = oneshot::channel();
        {
            let mut line = self.line.borrow_mut();
            // Those that were given up go before it grows.
            if line.len() == line.capacity() {
                line.retain(|other| !other.is_closed());
            }
            line.push_back(sender);
        }
        place.await.map_err(|_| closed(&self.connection).unwrap_or_else(|| Reason::CANCEL.into()))
    }

    /// Hands out what has come free: also where the service says that it takes more streams, or none any more.
    pub(super) fn hand_out(self: &Rc<Self>) {
        if self.line.borrow().is_empty() {
            return;
        }
        if closed(&self.connection).is_some() {
            self.line.take();
            return;
        }
        while self.is_room() {
            let Some(next) = self.line.borrow_mut().pop_front() else { break };
            if let Err(place) = next.send(self.place()) {
                // It was given up: the next one in line is not to be served from within.
                mem::forget(place);
                self.taken.set(self.taken.get() - 1);
            }
        }
    }

    /// One stream is tried whatever the service says: else nothing would ever happen again.
    fn is_room(&self) -> bool {
        self.taken.get() < self.connection.current_max_send_streams().max(1)
    }

    fn place(self: &Rc<Self>) -> Place {
        self.taken.set(self.taken.get() + 1);
        Place(Rc::downgrade(self))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(places) = self.0.upgrade() {
            places.taken.set(places.taken.get() - 1);
            places.hand_out();
        }
    }
}
