//! Accepting: one thread takes every connection and gives it to the worker that has the fewest.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr, TcpStream as StdStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use super::Terms;
use crate::metrics::{Metrics, Open};

/// The listen queue: a burst of connections waits in it.
const BACKLOG: i32 = 1024;
/// How long accepting pauses when the process has no file descriptor left.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);

/// A connection on its way to a worker.
pub struct Accepted {
    pub(super) stream: StdStream,
    pub(super) peer: SocketAddr,
    /// Whether the client begins with a TLS handshake.
    pub(super) tls: bool,
    /// Counts it for as long as it is open.
    pub(super) counted: Counted,
}

/// An open connection's places in the counts of the process, its worker and its address.
pub(super) type Counted = (Open, Load, Option<Guest>);

/// Open connections by address.
#[derive(Clone, Default)]
struct Guests(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of an address's connections.
pub(super) struct Guest {
    guests: Guests,
    address: IpAddr,
}

impl Guests {
    /// None where the address has `most` already.
    fn welcome(&self, address: IpAddr, most: usize) -> Option<Guest> {
        let address = block(address);
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = guests.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Guest { guests: self.clone(), address })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut guests = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = guests.entry(self.address) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// What is counted as one address: of IPv6 a /64, which is what one customer gets.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

/// One connection in a worker's count.
pub(super) struct Load(Arc<AtomicUsize>);

impl Load {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Where a worker gets its connections from.
pub struct Inbox {
    connections: mpsc::UnboundedSender<Accepted>,
    load: Arc<AtomicUsize>,
}

/// The other end of an [`Inbox`].
pub type Connections = mpsc::UnboundedReceiver<Accepted>;

impl Inbox {
    /// Both ends.
    #[must_use]
    pub fn new() -> (Self, Connections) {
        let (connections, receiver) = mpsc::unbounded_channel();
        (Self { connections, load: Arc::default() }, receiver)
    }
}

/// A socket that clients come in at.
pub struct Listener {
    /// The socket.
    pub socket: std::net::TcpListener,
    /// Whether clients begin with a TLS handshake.
    pub tls: bool,
}

/// Binds a listener. Port 0 is any free one.
///
/// # Errors
/// The address cannot be bound.
pub fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Where accepted connections go.
pub struct House {
    /// The workers.
    pub inboxes: Vec<Inbox>,
    /// Counts connections.
    pub metrics: Arc<Metrics>,
    /// How many may be open.
    pub terms: watch::Receiver<Terms>,
}

/// Accepts on all listeners until `stop` says so, and spreads the connections.
///
/// # Errors
/// A listener cannot be registered with the runtime.
pub async fn accept(listeners: Vec<Listener>, house: House, stop: watch::Receiver<bool>) -> std::io::Result<()> {
    let (house, guests) = (Rc::new(house), Guests::default());
    let loops = LocalSet::new();
    for listener in listeners {
        let socket = TcpListener::from_std(listener.socket)?;
        loops.spawn_local(accept_on((socket, listener.tls), Rc::clone(&house), guests.clone(), stop.clone()));
    }
    loops.await;
    Ok(())
}

async fn accept_on(
    (listener, tls): (TcpListener, bool),
    house: Rc<House>,
    guests: Guests,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(fault) => {
                // The connection is gone already, or descriptors have run out: then spinning helps nobody.
                if fault.kind() != std::io::ErrorKind::ConnectionAborted {
                    tracing::warn!(reason = %fault, "cannot accept");
                    tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
                }
                continue;
            }
        };
        let (most, most_per_address, trusted) = {
            let terms = house.terms.borrow();
            (terms.connections, terms.connections_per_address, terms.trusts(peer.ip()))
        };
        if house.metrics.open() >= most as u64 {
            tracing::debug!(%peer, most, "too many connections");
            continue;
        }
        let guest = if trusted { None } else { guests.welcome(peer.ip(), most_per_address) };
        if guest.is_none() && !trusted {
            tracing::debug!(%peer, most = most_per_address, "too many connections of one address");
            continue;
        }
        let Some(inbox) = house.inboxes.iter().min_by_key(|inbox| inbox.load.load(Relaxed)) else { return };
        let Ok(stream) = stream.into_std() else { continue };
        let counted = (house.metrics.connection(), Load::new(&inbox.load), guest);
        let accepted = Accepted { stream, peer, tls, counted };
        if inbox.connections.send(accepted).is_err() {
            return;
        }
    }
}
