//! Connections to endpoints, kept per worker: no lock, and no other thread ever wakes for one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::Scheme;
use hyper::client::conn::http1;
use tokio::time::{Sleep, sleep_until, timeout_at};

use crate::balance::{self, Circuit};
use crate::config;
use crate::forward::http2;
use crate::request::Body;
use crate::tls::Outward;

mod connection;
mod open;
mod room;
mod warm;

pub(super) use connection::Connection;
use connection::Sender;
pub use open::ConnectFault;
use room::{Line, Room};
pub use warm::Warming;

/// All pools of one worker, by service and endpoint: they outlive reloads.
#[derive(Default)]
pub struct Pools(RefCell<HashMap<Place, Rc<Pool>>>);

/// A service's name and one of its endpoints.
type Place = (Arc<str>, SocketAddr);

impl Pools {
    /// The pool of one endpoint; the settings of the newest configuration hold.
    pub(super) fn of(
        self: &Rc<Self>,
        service: &balance::Service,
        address: SocketAddr,
        tls: Option<&Arc<Outward>>,
    ) -> Rc<Pool> {
        let mut pools = self.0.borrow_mut();
        let (settings, circuit) = (service.settings(), service.state().circuit());
        let key = (Arc::clone(&settings.name), address);
        let new = || Rc::new(Pool::new(address, Arc::clone(circuit), Rc::downgrade(self)));
        let pool = pools.entry(key).or_insert_with(new);
        *pool.bounds.borrow_mut() = Bounds::of(settings);
        pool.secure(tls);
        pool.count_in(circuit);
        Rc::clone(pool)
    }

    /// Closes connections that were idle for too long, and forgets pools that nobody uses. Call it now and then.
    pub fn tidy(&self, now: Instant) {
        self.0.borrow_mut().retain(|_, pool| {
            pool.expire(now);
            pool.give_up();
            Rc::strong_count(pool) > 1 || !pool.idle.borrow().is_empty() || pool.shared.borrow().is_some()
        });
    }
}

#[derive(Clone, Copy)]
struct Bounds {
    connect_timeout: Duration,
    idle_connections: usize,
    idle_timeout: Duration,
    lifetime: Duration,
    http2: bool,
    ping: Option<config::Ping>,
}

impl Bounds {
    fn of(settings: &config::Service) -> Self {
        Self {
            connect_timeout: settings.connect_timeout,
            idle_connections: settings.idle_connections,
            idle_timeout: settings.idle_timeout,
            lifetime: settings.connection_lifetime,
            http2: settings.http2,
            ping: settings.http2_ping,
        }
    }
}

/// One worker's connections to one endpoint.
pub struct Pool {
    address: SocketAddr,
    name: Rc<str>,
    bounds: RefCell<Bounds>,
    /// The one that was used last is last.
    idle: RefCell<Vec<Idle>>,
    /// Of HTTP/2 one connection is enough.
    shared: RefCell<Option<Shared>>,
    /// Held by whoever opens it: others wait, and share it.
    opening: tokio::sync::Mutex<()>,
    /// None: in clear.
    tls: RefCell<Option<Arc<Outward>>>,
    /// What its connections count in.
    circuit: RefCell<Arc<Circuit>>,
    line: Line,
    /// All of the worker's.
    pools: Weak<Pools>,
}

/// A connection of HTTP/1.1 that waits for a request.
struct Idle {
    sender: http1::SendRequest<Body>,
    timer: Pin<Box<Sleep>>,
    opened: Instant,
    since: Instant,
}

/// The connection of HTTP/2 that requests share.
struct Shared {
    sender: http2::Sender,
    scheme: Scheme,
    opened: Instant,
    /// When a request went on it last.
    used: Instant,
}

impl Idle {
    /// Ready for a request; none where it has ended meanwhile.
    async fn ready(mut self) -> Option<Connection> {
        let ready = self.sender.is_ready()
            || timeout_at((Instant::now() + super::READY).into(), self.sender.ready())
                .await
                .is_ok_and(|ready| ready.is_ok());
        ready.then(|| self.into())
    }
}

impl From<Idle> for Connection {
    fn from(Idle { sender, timer, opened, .. }: Idle) -> Self {
        Self { sender: Sender::Http1(sender), timer, opened }
    }
}

impl Pool {
    fn new(address: SocketAddr, circuit: Arc<Circuit>, pools: Weak<Pools>) -> Self {
        let bounds = Bounds {
            connect_timeout: Duration::from_secs(2),
            idle_connections: 64,
            idle_timeout: Duration::from_secs(55),
            lifetime: Duration::from_hours(1),
            http2: false,
            ping: None,
        };
        let name = address.to_string().into();
        Self {
            address,
            name,
            bounds: RefCell::new(bounds),
            idle: RefCell::default(),
            shared: RefCell::default(),
            opening: tokio::sync::Mutex::default(),
            tls: RefCell::default(),
            circuit: RefCell::new(circuit),
            line: Line::default(),
            pools,
        }
    }

    /// The endpoint.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint as text.
    pub(super) fn name(&self) -> &Rc<str> {
        &self.name
    }

    /// A connection that is ready for a request, and whether it has served one before. What asks for an upgrade goes in
    /// HTTP/1.1.
    pub(super) async fn connection(
        &self,
        upgrade: bool,
        until: Instant,
        now: Instant,
    ) -> Result<(Connection, bool), ConnectFault> {
        // What is seldom done is done in a box: the future of every request has room for all that is not.
        if self.bounds.borrow().http2 && !upgrade {
            return match self.shared(until, now) {
                Some(connection) => Ok((connection, true)),
                None => Box::pin(self.share(until, now)).await,
            };
        }
        match self.kept(now) {
            Some(idle) if idle.sender.is_ready() => Ok((idle.into(), true)),
            idle => Box::pin(self.next_http1(idle, until, now)).await,
        }
    }

    /// This connection when it is ready, or the next that is, or a new one of HTTP/1.1, or one that comes free before there is
    /// room for that.
    async fn next_http1(
        &self,
        idle: Option<Idle>,
        until: Instant,
        now: Instant,
    ) -> Result<(Connection, bool), ConnectFault> {
        if let Some(connection) = self.reuse(idle, now).await {
            return Ok((connection, true));
        }
        let _pending = self.pend()?;
        let opened = self.opened_by(until);
        match self.room(opened).await? {
            Room::Permit(permit) => Ok((self.new_http1(permit, (until, opened)).await?, false)),
            Room::Connection(connection) => Ok((connection, true)),
        }
    }

    /// The first that is ready for a request, of this connection of HTTP/1.1 and all others that wait for one.
    async fn reuse(&self, mut idle: Option<Idle>, now: Instant) -> Option<Connection> {
        while let Some(next) = idle {
            if let Some(connection) = next.ready().await {
                return Some(connection);
            }
            idle = self.kept(now);
        }
        None
    }

    fn kept(&self, now: Instant) -> Option<Idle> {
        let timeout = self.bounds.borrow().idle_timeout;
        let idle = self.idle.borrow_mut().pop()?;
        if now.saturating_duration_since(idle.since) > timeout {
            // All others have been idle for longer.
            self.idle.borrow_mut().clear();
            return None;
        }
        Some(idle)
    }

    /// The connection of HTTP/2 that all requests share, or one of HTTP/1.1 where the service agrees on no other.
    async fn share(&self, until: Instant, now: Instant) -> Result<(Connection, bool), ConnectFault> {
        if let Some(connection) = self.reuse(self.kept(now), now).await {
            return Ok((connection, true));
        }
        let _pending = self.pend()?;
        let opened = self.opened_by(until);
        let opening = timeout_at(opened.into(), self.opening.lock()).await;
        let _opening = opening.map_err(|_| self.unopened())?;
        // Somebody else may have opened one meanwhile.
        if let Some(connection) = self.shared(until, now) {
            return Ok((connection, true));
        }
        match self.room(opened).await? {
            Room::Permit(permit) => Ok((self.new_http2(permit, (until, opened), now).await?, false)),
            Room::Connection(connection) => Ok((connection, true)),
        }
    }

    /// How connections are opened from now on; those of another way are used no more.
    fn secure(&self, tls: Option<&Arc<Outward>>) {
        let is_same = match (&*self.tls.borrow(), tls) {
            (None, None) => true,
            (Some(known), Some(tls)) => Arc::ptr_eq(known, tls),
            _ => false,
        };
        if !is_same {
            *self.tls.borrow_mut() = tls.cloned();
            self.idle.borrow_mut().clear();
            self.shared.borrow_mut().take();
        }
    }

    /// A service that was gone and is back counts anew.
    fn count_in(&self, circuit: &Arc<Circuit>) {
        if !Arc::ptr_eq(&self.circuit.borrow(), circuit) {
            *self.circuit.borrow_mut() = Arc::clone(circuit);
            self.idle.borrow_mut().clear();
            self.shared.borrow_mut().take();
        }
    }

    fn shared(&self, until: Instant, now: Instant) -> Option<Connection> {
        let mut shared = self.shared.borrow_mut();
        let shared = shared.as_mut().filter(|shared| !shared.sender.is_closed())?;
        shared.used = now;
        let sender = Sender::http2(&shared.sender, &shared.scheme);
        Some(Connection { sender, timer: Box::pin(sleep_until(until.into())), opened: shared.opened })
    }

    /// Opens another connection for the next request where this is the one that is shared: it does not answer. What is in flight on
    /// it may go on; what waits for a stream goes to the other.
    pub(super) fn leave(&self, connection: &Connection) {
        let Sender::Http2 { sender: left, .. } = &connection.sender else { return };
        left.leave();
        drop(self.shared.borrow_mut().take_if(|shared| shared.sender.is_same(left)));
    }

    /// Takes back a connection whose response was read to its end, unless it is too old.
    pub(super) fn keep(&self, connection: Connection, now: Instant) {
        let Connection { sender, timer, opened } = connection;
        let sender = match sender {
            Sender::Http1(sender) => sender,
            // Others have it already.
            Sender::Http2 { .. } => return,
        };
        if sender.is_closed() || now.saturating_duration_since(opened) >= self.bounds.borrow().lifetime {
            return;
        }
        let kept = Idle { sender, timer, opened, since: now };
        let kept = if self.line.wanted.get() { self.pass_on(kept) } else { Some(kept) };
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.bounds.borrow().idle_connections {
            idle.extend(kept);
        }
    }

    fn expire(&self, now: Instant) {
        let Bounds { idle_timeout, lifetime, .. } = *self.bounds.borrow();
        let is_good = |closed: bool, used, opened| {
            let past = |since| now.saturating_duration_since(since);
            !closed && past(used) <= idle_timeout && past(opened) < lifetime
        };
        self.idle.borrow_mut().retain(|idle| is_good(idle.sender.is_closed(), idle.since, idle.opened));
        // Requests that are in flight on it hold it as well.
        let is_good = |shared: &mut Shared| is_good(shared.sender.is_closed(), shared.used, shared.opened);
        drop(self.shared.borrow_mut().take_if(|shared| !is_good(shared)));
    }
}
