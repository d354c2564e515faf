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
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::{Sleep, sleep_until, timeout_at};

use crate::config;
use crate::request::Body;
use crate::server::LocalExecutor;

/// What requests are sent with.
enum Sender {
    /// One request at a time.
    Http1(http1::SendRequest<Body>),
    /// One of many at a time.
    Http2(http2::SendRequest<Body>),
}

/// A request's response; or why there is none, with the request where nothing of it was sent.
type Answer = Result<Response<Incoming>, TrySendError<http::Request<Body>>>;

/// The most bytes of a response's head.
const HEAD_BYTES: usize = 64 * 1024;
/// The same for HTTP/2.
const HEAD_LIST_BYTES: u32 = 64 * 1024;
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
            Rc::strong_count(pool) > 1 || !pool.idle.borrow().is_empty() || pool.shared.borrow().is_some()
        });
    }
}

#[derive(Clone, Copy)]
struct Bounds {
    connect_timeout: Duration,
    idle_connections: usize,
    idle_timeout: Duration,
    http2: bool,
}

impl Bounds {
    fn of(settings: &config::Service) -> Self {
        Self {
            connect_timeout: settings.connect_timeout,
            idle_connections: settings.idle_connections,
            idle_timeout: settings.idle_timeout,
            http2: settings.http2,
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
        match &mut self.sender {
            Sender::Http1(sender) => answered(pin!(sender.try_send_request(request)), &mut self.timer, until).await,
            Sender::Http2(sender) => answered(pin!(sender.try_send_request(request)), &mut self.timer, until).await,
        }
    }

    /// Whether it takes requests of HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }
}

/// An answer; none where there is none at `until`.
async fn answered(
    mut answer: Pin<&mut impl Future<Output = Answer>>,
    timer: &mut Pin<Box<Sleep>>,
    until: Instant,
) -> Option<Answer> {
    poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => poll_until(timer, until, cx).map(|()| None),
    })
    .await
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
    /// Of HTTP/2 one connection is enough, and when it was used last.
    shared: RefCell<Option<(http2::SendRequest<Body>, Instant)>>,
    /// Held by whoever opens it: others wait, and share it.
    opening: tokio::sync::Mutex<()>,
}

/// A connection of HTTP/1.1 that waits for a request.
struct Idle {
    sender: http1::SendRequest<Body>,
    timer: Pin<Box<Sleep>>,
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
            http2: false,
        };
        let name = address.to_string().into();
        Self {
            address,
            name,
            bounds: RefCell::new(bounds),
            idle: RefCell::default(),
            shared: RefCell::default(),
            opening: tokio::sync::Mutex::default(),
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
        if self.bounds.borrow().http2 && !upgrade {
            return self.share(until, now).await;
        }
        while let Some(Idle { mut sender, timer, .. }) = self.kept(now) {
            let ready = sender.is_ready()
                || timeout_at((Instant::now() + super::READY).into(), sender.ready())
                    .await
                    .is_ok_and(|ready| ready.is_ok());
            if ready {
                return Ok((Connection { sender: Sender::Http1(sender), timer }, true));
            }
        }
        self.connect(until).await.map(|connection| (connection, false))
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

    async fn connect(&self, until: Instant) -> Result<Connection, ConnectFault> {
        let until = self.opened_by(until);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES.max(128 * 1024))
            .max_headers(HEAD_FIELDS)
            .handshake(TokioIo::new(self.open(until).await?))
            .await
            .map_err(|fault| ConnectFault::Handshake(self.address, fault))?;
        // A fault of the connection reaches whoever has a request on it.
        spawn_local(async move { connection.with_upgrades().await.ok() });
        Ok(Connection { sender: Sender::Http1(sender), timer: Box::pin(sleep_until(until.into())) })
    }

    /// The connection of HTTP/2 that all requests share.
    async fn share(&self, until: Instant, now: Instant) -> Result<(Connection, bool), ConnectFault> {
        let connection =
            |sender| Connection { sender: Sender::Http2(sender), timer: Box::pin(sleep_until(until.into())) };
        if let Some(sender) = self.shared(now) {
            return Ok((connection(sender), true));
        }
        let opened = self.opened_by(until);
        let opening = timeout_at(opened.into(), self.opening.lock()).await;
        let _opening = opening.map_err(|_| ConnectFault::Slow(self.address))?;
        // Somebody else may have opened one meanwhile: it is as good as new.
        if let Some(sender) = self.shared(now) {
            return Ok((connection(sender), true));
        }
        let handshake = http2::Builder::new(LocalExecutor)
            .max_header_list_size(HEAD_LIST_BYTES)
            .handshake(TokioIo::new(self.open(opened).await?));
        let (sender, driven) = timeout_at(opened.into(), handshake)
            .await
            .map_err(|_| ConnectFault::Slow(self.address))?
            .map_err(|fault| ConnectFault::Handshake(self.address, fault))?;
        spawn_local(async move { driven.await.ok() });
        *self.shared.borrow_mut() = Some((sender.clone(), now));
        Ok((connection(sender), false))
    }

    fn shared(&self, now: Instant) -> Option<http2::SendRequest<Body>> {
        let mut shared = self.shared.borrow_mut();
        let (sender, used) = shared.as_mut().filter(|(sender, _)| !sender.is_closed())?;
        *used = now;
        Some(sender.clone())
    }

    /// Opens another connection for the next request: the one that is shared does not answer. What is in flight on it may go on.
    pub(super) fn leave(&self) {
        self.shared.borrow_mut().take();
    }

    /// When a connection that is opened now must be there.
    fn opened_by(&self, until: Instant) -> Instant {
        until.min(Instant::now() + self.bounds.borrow().connect_timeout)
    }

    async fn open(&self, until: Instant) -> Result<TcpStream, ConnectFault> {
        let address = self.address;
        let stream = timeout_at(until.into(), TcpStream::connect(address))
            .await
            .map_err(|_| ConnectFault::Slow(address))?
            .map_err(|fault| ConnectFault::Refused(address, fault))?;
        // Without it small requests wait for acknowledgements; where it fails, they do.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    /// Takes back a connection whose response was read to its end.
    pub(super) fn keep(&self, connection: Connection, now: Instant) {
        let Connection { sender: Sender::Http1(sender), timer } = connection else { return };
        let mut idle = self.idle.borrow_mut();
        if !sender.is_closed() && idle.len() < self.bounds.borrow().idle_connections {
            idle.push(Idle { sender, timer, since: now });
        }
    }

    fn expire(&self, now: Instant) {
        let timeout = self.bounds.borrow().idle_timeout;
        let is_good = |closed: bool, since| !closed && now.saturating_duration_since(since) <= timeout;
        self.idle.borrow_mut().retain(|idle| is_good(idle.sender.is_closed(), idle.since));
        // Requests that are in flight on it hold it as well.
        let mut shared = self.shared.borrow_mut();
        if shared.as_ref().is_some_and(|(sender, used)| !is_good(sender.is_closed(), *used)) {
            *shared = None;
        }
    }
}
