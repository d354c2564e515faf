//! What bounds a service beyond its requests in flight: open connections, and the requests that wait for one.
//!
//! A connection lives as long as its [`Slot`], which whoever reads and writes the socket keeps. Slots are counted over all
//! workers and endpoints; where none is left those that wait get the next ones in the order in which they came, whatever
//! their worker. Nothing here is touched by a request that finds an idle connection.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

/// The bounds and what is counted against them.
#[derive(Debug)]
pub struct Circuit {
    most_connections: AtomicUsize,
    most_pending: AtomicUsize,
    connections: AtomicUsize,
    pending: AtomicUsize,
    /// Requests that waited for a slot in vain.
    late: AtomicU64,
    /// Requests that there was no room to wait for.
    crowded: AtomicU64,
    /// Connections that were to be opened beforehand and were not.
    cold: AtomicU64,
    /// The length of the queue, for those who only ask whether there is one.
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
}

/// Those who wait for a slot, by their tickets.
#[derive(Debug, Default)]
struct Queue {
    next: u64,
    waiters: BTreeMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    sender: oneshot::Sender<Slot>,
    starves: bool,
    /// Whether a connection is given up for it.
    promised: bool,
}

impl Default for Circuit {
    /// Without bounds.
    fn default() -> Self {
        Self {
            most_connections: AtomicUsize::new(usize::MAX),
            most_pending: AtomicUsize::new(usize::MAX),
            connections: AtomicUsize::default(),
            pending: AtomicUsize::default(),
            late: AtomicU64::default(),
            crowded: AtomicU64::default(),
            cold: AtomicU64::default(),
            waiting: AtomicUsize::default(),
            queue: Mutex::default(),
        }
    }
}

impl Circuit {
    /// These bounds hold from now on; what is open stays open.
    pub(super) fn bound(self: &Arc<Self>, connections: usize, pending: usize) {
        self.most_pending.store(pending, Relaxed);
        self.most_connections.store(connections, SeqCst);
        self.grant();
    }

    /// Open connections over all endpoints and workers, and those that are being opened.
    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// Requests that wait for a connection.
    pub fn pending(&self) -> usize {
        self.pending.load(Relaxed)
    }

    /// Requests that were refused because no connection came free in their time.
    pub fn late(&self) -> u64 {
        self.late.load(Relaxed)
    }

    /// Requests that were refused because too many were pending.
    pub fn crowded(&self) -> u64 {
        self.crowded.load(Relaxed)
    }

    /// Connections that were to be opened beforehand and did not come about.
    pub fn cold(&self) -> u64 {
        self.cold.load(Relaxed)
    }

    /// Counts one of those.
    pub fn count_cold(&self) {
        self.cold.fetch_add(1, Relaxed);
    }

    /// Counts a request that waited for a slot in vain.
    pub fn count_late(&self) {
        self.late.fetch_add(1, Relaxed);
    }

    /// A place for one more request that waits for a connection; `None` where there are too many.
    pub fn pend(self: &Arc<Self>) -> Option<Pending> {
        let most = self.most_pending.load(Relaxed);
        let pending = self.pending.fetch_update(Relaxed, Relaxed, |now| (now < most).then_some(now + 1));
        if pending.is_err() {
            self.crowded.fetch_add(1, Relaxed);
        }
        pending.ok().map(|_| Pending(Arc::clone(self)))
    }

    /// A slot for one more connection; `None` where there is none, or others wait for it already.
    pub fn connect(self: &Arc<Self>) -> Option<Slot> {
        if self.waiting.load(SeqCst) > 0 { None } else { self.take() }
    }

    /// Waits in line for a slot. One who starves has no connection that might come free for it: others give up one for it
    /// even if they are busy themselves ([`Circuit::claim`]).
    pub fn wait(self: &Arc<Self>, starves: bool) -> Waiting {
        let (sender, receiver) = oneshot::channel();
        let mut queue = self.queue();
        let ticket = queue.next;
        queue.next += 1;
        queue.waiters.insert(ticket, Waiter { sender, starves, promised: false });
        self.waiting.store(queue.waiters.len(), SeqCst);
        drop(queue);
        // What came free before the queue was seen.
        self.grant();
        Waiting { circuit: Arc::clone(self), ticket, receiver }
    }

    /// Whether the first in line starves and nobody has given up a connection for it yet.
    pub fn starves(&self) -> bool {
        self.first(|first| first.starves && !first.promised)
    }

    /// Whether to give up a connection for the first in line: one that is idle for anybody, one that is `busy` for one who
    /// starves. It is asked of one only.
    pub fn claim(&self, busy: bool) -> bool {
        self.first(|first| (first.starves || !busy) && !std::mem::replace(&mut first.promised, true))
    }

    fn first(&self, test: impl FnOnce(&mut Waiter) -> bool) -> bool {
        self.waiting.load(SeqCst) > 0 && self.queue().waiters.values_mut().next().is_some_and(test)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>) -> Option<Slot> {
        let most = self.most_connections.load(SeqCst);
        let taken = self.connections.fetch_update(SeqCst, SeqCst, |now| (now < most).then_some(now + 1));
        taken.ok().map(|_| Slot(Arc::clone(self)))
    }

    /// Gives what is free to those who wait.
    fn grant(self: &Arc<Self>) {
        while self.waiting.load(SeqCst) > 0 {
            let Some(slot) = self.take() else { return };
            let mut queue = self.queue();
            let first = queue.waiters.pop_first();
            self.waiting.store(queue.waiters.len(), SeqCst);
            drop(queue);
            match first {
                // One who has left meanwhile sends it back, and dropping it asks for the next one.
                Some((_, waiter)) => drop(waiter.sender.send(slot)),
                None => drop(slot),
            }
        }
    }
}

/// One connection to the service, until this is dropped.
#[must_use = "dropping it says that the connection is closed"]
#[derive(Debug)]
pub struct Slot(Arc<Circuit>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, SeqCst);
        self.0.grant();
    }
}

/// One request that waits for a connection, until this is dropped.
#[must_use = "dropping it says that the request waits no more"]
#[derive(Debug)]
pub struct Pending(Arc<Circuit>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Relaxed);
    }
}

/// A place in line; a future that is ready with the slot.
#[must_use = "dropping it leaves the line"]
#[derive(Debug)]
pub struct Waiting {
    circuit: Arc<Circuit>,
    ticket: u64,
    receiver: oneshot::Receiver<Slot>,
}

impl Future for Waiting {
    type Output = Slot;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Slot> {
        // The sender leaves the queue only with a slot, or with this value.
        match Pin::new(&mut self.receiver).poll(cx) {
            Poll::Ready(Ok(slot)) => Poll::Ready(slot),
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut queue = self.circuit.queue();
        queue.waiters.remove(&self.ticket);
        self.circuit.waiting.store(queue.waiters.len(), SeqCst);
    }
}

#[cfg(test)]
mod tests;
