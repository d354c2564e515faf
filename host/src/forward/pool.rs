//! Connections to endpoints, kept per worker: no lock, and no other thread ever wakes for one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::Response;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::{Sleep, timeout_at};

use crate::config;
use crate::request::Body;

/// What requests are sent with.
type Sender = http1::SendRequest<Body>;
/// A request's response; or why there is none, with the request where nothing of it was sent.
type Answer = Result<Response<Incoming>, TrySendError<http::Request<Body>>>;

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

/// A connection to an endpoint, with the one timer of all its requests.
pub(super) struct Connection {
    sender: Sender,
    timer: Pin<Box<Sleep>>,
}

impl Connection {
    /// Sends a request and waits for its response; none where there is none at `until`.
    pub(super) async fn send(&mut self, request: http::Request<Body>, until: Instant) -> Option<Answer> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => poll_until(&mut self.timer, until, cx).map(|()| None),
        })
        .await
    }
}

/// Ready at `until`. A timer that was set for an earlier moment is set anew only when that comes: as long as responses come
/// in time, most requests do not touch it.
fn poll_until(timer: &mut Pin<Box<Sleep>>, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
    if timer.deadline() > until.into() {
        timer.as_mut().reset(until.into());
    }
    loop {
        ready!(timer.as_mut().poll(cx));
        if timer.deadline() >= until.into() {
            return Poll::Ready(());
        }
        timer.as_mut().reset(until.into());
    }
}

/// One worker's connections to one endpoint.
pub struct Pool {
    address: SocketAddr,
    name: Rc<str>,
    bounds: RefCell<Bounds>,
    /// The one that was used last is last.
    idle: RefCell<Vec<Idle>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFault {
    /// The system says no.
    #[error("cannot connect to {0}: {1}")]
    Refused(SocketAddr, std::io::Error),
    /// Nobody answers.
    #[error("no connection to {0} in time")]
    Slow(SocketAddr),
    /// hyper says no.
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
        let name = address.to_string().into();
        Self { address, name, bounds: RefCell::new(bounds), idle: RefCell::default() }
    }

    /// The endpoint.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint as text.
    pub(super) fn name(&self) -> &Rc<str> {
        &self.name
    }

    /// A connection that is ready for a request, and whether it has served one before.
    pub(super) async fn connection(&self, until: Instant, now: Instant) -> Result<(Connection, bool), ConnectFault> {
        while let Some(mut connection) = self.kept(now) {
            let ready = connection.sender.is_ready()
                || timeout_at((Instant::now() + super::READY).into(), connection.sender.ready())
                    .await
                    .is_ok_and(|ready| ready.is_ok());
            if ready {
                return Ok((connection, true));
            }
        }
        self.connect(until).await.map(|connection| (connection, false))
    }

    fn kept(&self, now: Instant) -> Option<Connection> {
        let timeout = self.bounds.borrow().idle_timeout;
        let idle = self.idle.borrow_mut().pop()?;
        if now.saturating_duration_since(idle.since) > timeout {
            // All others have been idle for longer.
            self.idle.borrow_mut().clear();
            return None;
        }
        Some(idle.connection)
    }

    async fn connect(&self, until: Instant) -> Result<Connection, ConnectFault> {
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
        Ok(Connection { sender, timer: Box::pin(tokio::time::sleep_until(until.into())) })
    }

    /// Takes back a connection whose response was read to its end.
    pub(super) fn keep(&self, connection: Connection, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        if !connection.sender.is_closed() && idle.len() < self.bounds.borrow().idle_connections {
            idle.push(Idle { connection, since: now });
        }
    }

    fn expire(&self, now: Instant) {
        let timeout = self.bounds.borrow().idle_timeout;
        self.idle
            .borrow_mut()
            .retain(|idle| !idle.connection.sender.is_closed() && now.saturating_duration_since(idle.since) <= timeout);
    }
}
