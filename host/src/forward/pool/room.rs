//! Room for another connection, within what a service may have: where there is none, a request waits for one to come free.
//!
//! A worker hands a connection that comes free to the request that has waited longest for that endpoint. A request that finds
//! no connection of its worker to its endpoint at all closes one that is idle at another endpoint. What other workers have is
//! rebalanced at every tick: each gives up an idle connection for the first in line of all, and where it has none idle the next
//! one that comes free, if that one has none.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::{ConnectFault, Connection, Idle, Pool, Pools};
use crate::balance::{Circuit, Pending, Slot};
use crate::server::poll_write_parts;

/// What a new connection has, or stands in for it.
pub(super) enum Room {
    /// A place for another connection.
    Permit(Permit),
    /// One that came free meanwhile.
    Connection(Connection),
}

/// A new connection's place at its service, and among those of its pool.
pub(super) struct Permit {
    slot: Slot,
    here: Here,
}

/// Held as long as a connection may serve requests of its pool.
pub(super) type Here = Arc<()>;

/// What the requests of one pool wait for.
#[derive(Default)]
pub(super) struct Line {
    waiting: RefCell<VecDeque<oneshot::Sender<Idle>>>,
    /// Whether a connection that comes free is anybody's: else it is kept without another look.
    pub(super) wanted: Cell<bool>,
    here: Here,
}

impl Line {
    /// Connections of this pool that are open or being opened.
    pub(super) fn open(&self) -> usize {
        Arc::strong_count(&self.here) - 1
    }
}

impl Pool {
    /// A place for a request that waits for a connection.
    pub(super) fn pend(&self) -> Result<Pending, ConnectFault> {
        self.circuit.borrow().pend().ok_or(ConnectFault::Crowded(self.address))
    }

    /// A place for another connection, if there is one at once.
    pub(super) fn permit(&self) -> Result<Permit, ConnectFault> {
        let slot = self.circuit.borrow().connect();
        slot.map(|slot| self.permitted(slot)).ok_or(ConnectFault::Crowded(self.address))
    }

    fn permitted(&self, slot: Slot) -> Permit {
        Permit { slot, here: Arc::clone(&self.line.here) }
    }

    /// Waits for a place for another connection, or for a connection.
    pub(super) async fn room(&self, until: Instant) -> Result<Room, ConnectFault> {
        if let Ok(permit) = self.permit() {
            return Ok(Room::Permit(permit));
        }
        let circuit = Arc::clone(&self.circuit.borrow());
        match timeout_at(until.into(), self.wait(&circuit)).await {
            Ok(room) => Ok(room),
            Err(_) => {
                circuit.count_late();
                Err(ConnectFault::Crowded(self.address))
            }
        }
    }

    /// Why another request's connection did not come in time: it waits for room itself, or is slow.
    pub(super) fn unopened(&self) -> ConnectFault {
        if self.line.open() > 0 {
            return ConnectFault::Slow(self.address);
        }
        self.circuit.borrow().count_late();
        ConnectFault::Crowded(self.address)
    }

    async fn wait(&self, circuit: &Arc<Circuit>) -> Room {
        let starves = self.line.open() == 0;
        let mut slot = pin!(circuit.wait(starves));
        if starves && let Some(pools) = self.pools.upgrade() {
            pools.yield_one(circuit);
        }
        loop {
            let mut idle = self.line.join();
            let idle = tokio::select! {
                biased;
                Ok(idle) = &mut idle => idle,
                slot = &mut slot => return Room::Permit(self.permitted(slot)),
            };
            if let Some(connection) = idle.ready().await {
                return Room::Connection(connection);
            }
        }
    }

    /// Passes on a connection that came free; answers it where nobody wants it.
    pub(super) fn pass_on(&self, mut idle: Idle) -> Option<Idle> {
        if self.circuit.borrow().claim(true) {
            return None;
        }
        while let Some(waiting) = self.line.waiting.borrow_mut().pop_front() {
            match waiting.send(idle) {
                Ok(()) => return None,
                Err(left) => idle = left,
            }
        }
        self.line.wanted.set(false);
        Some(idle)
    }

    /// Gives up a connection for the first in line: one that is idle, else the next one that comes free.
    pub(super) fn give_up(&self) {
        if self.line.open() == 0 {
            return;
        }
        let circuit = self.circuit.borrow();
        if !self.idle.borrow().is_empty() {
            if circuit.claim(false) {
                self.close_idle();
            }
        } else if circuit.starves() {
            match self.shared.borrow_mut().take() {
                // It ends with its last request.
                Some(_) => drop(circuit.claim(true)),
                None => self.line.wanted.set(true),
            }
        }
    }

    /// Closes the connection that has been idle for longest; false: there is none.
    fn close_idle(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        !idle.is_empty() && idle.drain(..1).next().is_some()
    }
}

impl Line {
    /// A place behind those who wait already.
    fn join(&self) -> oneshot::Receiver<Idle> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|other| !other.is_closed());
        waiting.push_back(sender);
        self.wanted.set(true);
        receiver
    }
}

impl Pools {
    /// Closes one idle connection to this service.
    fn yield_one(&self, circuit: &Arc<Circuit>) {
        let pools = self.0.borrow();
        let mut siblings = pools.values().filter(|pool| Arc::ptr_eq(&pool.circuit.borrow(), circuit));
        if siblings.any(|pool| pool.close_idle()) {
            circuit.claim(false);
        }
    }
}

/// A stream with its connection's place at the service, which it keeps through an upgrade as well.
pub(super) struct Placed<S> {
    stream: S,
    _slot: Slot,
}

impl<S> Placed<S> {
    pub(super) fn new(stream: S, permit: Permit) -> (Self, Here) {
        (Self { stream, _slot: permit.slot }, permit.here)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Placed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Placed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write_parts(Pin::new(&mut self.stream), cx, parts)
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
