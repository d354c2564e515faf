//! Connections to endpoints, kept per worker: no lock, and no other thread ever wakes for one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout_at;

use crate::config;
use crate::request::Body;

/// What requests are sent with.
pub(super) type Sender = http1::SendRequest<Body>;

/// The most bytes of a response's head.
const HEAD_BYTES: usize = 64 * 1024;
/// The most fields of a response.
const HEAD_FIELDS: usize = 200;

/// All pools of one worker, by service and endpoint: they outlive reloads.
#[derive(Default)]
pub struct Pools(RefCell<HashMap<Place, Rc<Pool>>>);

/// A service's name and one of its endpoints.
type Place = (Arc<str>, SocketAddr);

impl Pools {
    /// The pool of one endpoint; the settings of the newest configuration hold.
    pub(super) fn of(&self, settings: &config::Service, address: SocketAddr) -> Rc<Pool> {
        let mut pools = self.0.borrow_mut();
        let key = (Arc::clone(&settings.name), address);
        let pool = pools.entry(key).or_insert_with(|| Rc::new(Pool::new(address)));
        *pool.bounds.borrow_mut() = Bounds::of(settings);
        Rc::clone(pool)
    }

    /// Closes connections that were idle for too long, and forgets pools that nobody uses. Call it now and then.
    pub fn tidy(&self, now: Instant) {
        self.0.borrow_mut().retain(|_, pool| {
            pool.expire(now);
            Rc::strong_count(pool) > 1 || !pool.idle.borrow().is_empty()
        });
    }
}

#[derive(Clone, Copy)]
struct Bounds {
    connect_timeout: Duration,
    idle_connections: usize,
    idle_timeout: Duration,
}

impl Bounds {
    fn of(settings: &config::Service) -> Self {
        Self {
            connect_timeout: settings.connect_timeout,
            idle_connections: settings.idle_connections,
            idle_timeout: settings.idle_timeout,
        }
    }
}

/// One worker's connections to one endpoint.
pub struct Pool {
    address: SocketAddr,
    bounds: RefCell<Bounds>,
    /// The one that was used last is last.
    idle: RefCell<Vec<Idle>>,
}

struct Idle {
    sender: Sender,
    since: Instant,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectFault {
    #[error("cannot connect to {0}: {1}")]
    Refused(SocketAddr, std::io::Error),
    #[error("no connection to {0} in time")]
    Slow(SocketAddr),
    #[error("no HTTP with {0}: {1}")]
    Handshake(SocketAddr, hyper::Error),
}

impl Pool {
    fn new(address: SocketAddr) -> Self {
        let bounds = Bounds {
            connect_timeout: Duration::from_secs(2),
            idle_connections: 64,
            idle_timeout: Duration::from_secs(55),
        };
        Self { address, bounds: RefCell::new(bounds), idle: RefCell::default() }
    }

    /// A connection that is ready for a request, and whether it has served one before.
    pub(super) async fn sender(&self, until: Instant) -> Result<(Sender, bool), ConnectFault> {
        while let Some(mut sender) = self.kept() {
            let ready = sender.is_ready()
                || timeout_at((Instant::now() + super::READY).into(), sender.ready())
                    .await
                    .is_ok_and(|ready| ready.is_ok());
            if ready {
                return Ok((sender, true));
            }
        }
        self.connect(until).await.map(|sender| (sender, false))
    }

    fn kept(&self) -> Option<Sender> {
        let now = Instant::now();
        let timeout = self.bounds.borrow().idle_timeout;
        let idle = self.idle.borrow_mut().pop()?;
        if now.saturating_duration_since(idle.since) > timeout {
            // All others have been idle for longer.
            self.idle.borrow_mut().clear();
            return None;
        }
        Some(idle.sender)
    }

    async fn connect(&self, until: Instant) -> Result<Sender, ConnectFault> {
        let address = self.address;
        let until = until.min(Instant::now() + self.bounds.borrow().connect_timeout);
        let stream = timeout_at(until.into(), TcpStream::connect(address))
            .await
            .map_err(|_| ConnectFault::Slow(address))?
            .map_err(|fault| ConnectFault::Refused(address, fault))?;
        // Without it small requests wait for acknowledgements; where it fails, they do.
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES.max(128 * 1024))
            .max_headers(HEAD_FIELDS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|fault| ConnectFault::Handshake(address, fault))?;
        // A fault of the connection reaches whoever has a request on it.
        spawn_local(async move { connection.with_upgrades().await.ok() });
        Ok(sender)
    }

    /// Takes back a connection whose response was read to its end.
    pub(super) fn keep(&self, sender: Sender) {
        let mut idle = self.idle.borrow_mut();
        if !sender.is_closed() && idle.len() < self.bounds.borrow().idle_connections {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    fn expire(&self, now: Instant) {
        let timeout = self.bounds.borrow().idle_timeout;
        self.idle
            .borrow_mut()
            .retain(|idle| !idle.sender.is_closed() && now.saturating_duration_since(idle.since) <= timeout);
    }
}
