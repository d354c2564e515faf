//! Accept: listeners, workers, and the life of a client's connection.
//!
//! One thread accepts and gives each connection to the worker that has the fewest; from then on no other thread touches it.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};

use crate::clean::Scheme;
use crate::config;
use crate::forward::Outgoing;
use crate::forward::headers::Peer;
use crate::gateway::{Worker, handle};
use crate::metrics::{Metrics, Open};

mod activity;
mod links;
mod stream;

pub use activity::Busy;
use links::{Link, Links};
use stream::{Protocol, Stream};

/// How often a worker writes its access lines and closes what is idle.
const TICK: Duration = Duration::from_millis(250);
/// The listen queue: a burst of connections waits in it.
const BACKLOG: i32 = 1024;
/// How long accepting pauses when the process has no file descriptor left.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);
/// Streams that one HTTP/2 client may have open.
const MOST_STREAMS: u32 = 128;

/// A connection on its way to a worker.
pub struct Accepted {
    stream: StdStream,
    peer: SocketAddr,
    open: Open,
    load: Load,
}

/// One connection in a worker's count.
struct Load(Arc<AtomicUsize>);

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

/// Accepts on all listeners until `stop` says so, and spreads the connections.
///
/// # Errors
/// A listener cannot be registered with the runtime.
pub async fn accept(
    listeners: Vec<std::net::TcpListener>,
    inboxes: Vec<Inbox>,
    metrics: Arc<Metrics>,
    most: usize,
    stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let inboxes = Rc::new(inboxes);
    let loops = LocalSet::new();
    for listener in listeners {
        let listener = TcpListener::from_std(listener)?;
        let (inboxes, metrics, stop) = (Rc::clone(&inboxes), Arc::clone(&metrics), stop.clone());
        loops.spawn_local(accept_on(listener, inboxes, metrics, most, stop));
    }
    loops.await;
    Ok(())
}

async fn accept_on(
    listener: TcpListener,
    inboxes: Rc<Vec<Inbox>>,
    metrics: Arc<Metrics>,
    most: usize,
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
        if metrics.open() >= most as u64 {
            tracing::debug!(%peer, most, "too many connections");
            continue;
        }
        let Some(inbox) = inboxes.iter().min_by_key(|inbox| inbox.load.load(Relaxed)) else { return };
        let Ok(stream) = stream.into_std() else { continue };
        let accepted = Accepted { stream, peer, open: metrics.connection(), load: Load::new(&inbox.load) };
        if inbox.connections.send(accepted).is_err() {
            return;
        }
    }
}

/// What a connection is held to.
#[derive(Clone)]
pub struct Terms {
    head_timeout: Duration,
    idle_timeout: Duration,
    head_fields: usize,
    head_bytes: usize,
    trusted: Arc<[config::Cidr]>,
}

impl Terms {
    /// By the configuration.
    #[must_use]
    pub fn new(server: &config::Server) -> Self {
        Self {
            head_timeout: server.head_timeout,
            idle_timeout: server.idle_timeout,
            head_fields: server.head_fields,
            head_bytes: server.head_bytes,
            trusted: server.trusted.clone().into(),
        }
    }
}

/// Serves a worker's connections until `stop` says so; then those in flight have `grace` to end.
pub async fn serve(
    worker: Rc<Worker>,
    mut connections: Connections,
    terms: watch::Receiver<Terms>,
    mut stop: watch::Receiver<bool>,
    grace: Duration,
) {
    let links = Rc::new(Links::default());
    let ticking = spawn_local(tick(Rc::clone(&worker), Rc::clone(&links)));
    loop {
        tokio::select! {
            accepted = connections.recv() => {
                let Some(accepted) = accepted else { break };
                let terms = terms.borrow().clone();
                let link = links.open(terms.head_timeout, terms.idle_timeout);
                spawn_local(connection(Rc::clone(&worker), accepted, terms, link));
            }
            // The sender lives as long as the process serves.
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    links.drain();
    if tokio::time::timeout(grace, links.ended()).await.is_err() {
        tracing::warn!(connections = links.count(), "connections were cut off: their requests took too long to end");
    }
    ticking.abort();
    tidy(&worker);
}

/// Looks after a worker's connections and log, again and again.
async fn tick(worker: Rc<Worker>, links: Rc<Links>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        ticks.tick().await;
        let now = Instant::now();
        links.clock.advance(now.saturating_duration_since(last), TICK);
        last = now;
        links.close_overdue();
        tidy(&worker);
    }
}

fn tidy(worker: &Worker) {
    worker.gateway.borrow().log.flush();
    worker.pools.tidy(Instant::now());
}

/// One client's connection, from its first byte to its last.
async fn connection(worker: Rc<Worker>, accepted: Accepted, terms: Terms, link: Link) {
    let Accepted { stream, peer: address, open, load } = accepted;
    let _counted = (open, load);
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    // Without it small answers wait for acknowledgements; where it fails, they do.
    let _ = stream.set_nodelay(true);
    let peer = Rc::new(Peer::new(address.ip(), Scheme::Http, &terms.trusted));
    let activity = Arc::clone(link.activity());
    let mut stream = Stream::new(stream, Arc::clone(&activity));
    let sniffed = link.drive(pin!(stream.sniff()), |_| link.close()).await;
    let Some(Ok(protocol)) = sniffed else { return };
    if protocol == Protocol::Http2 {
        activity.frames();
    }
    let answer = hyper::service::service_fn(move |request| {
        let busy = activity.request();
        let answer = handle(Rc::clone(&worker), Rc::clone(&peer), request, busy);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let ended = match protocol {
        Protocol::Http1 => http1(stream, &terms, answer, &link).await,
        Protocol::Http2 => http2(stream, &terms, answer, &link).await,
    };
    if let Some(Err(fault)) = ended {
        // The client's: it broke off, or sent what is no HTTP.
        tracing::debug!(reason = %fault, "connection ended");
    }
}

async fn http1<S>(stream: Stream, terms: &Terms, answer: S, link: &Link) -> Option<hyper::Result<()>>
where
    S: HttpService<Incoming, ResBody = Outgoing> + 'static,
    S::Error: std::error::Error + Send + Sync,
{
    let connection = hyper::server::conn::http1::Builder::new()
        .max_headers(terms.head_fields)
        .max_header_size(terms.head_bytes)
        .max_buf_size(terms.head_bytes.max(64 * 1024) + 8192)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    link.drive(pin!(connection), |connection| connection.graceful_shutdown()).await
}

async fn http2<S>(stream: Stream, terms: &Terms, answer: S, link: &Link) -> Option<hyper::Result<()>>
where
    S: HttpService<Incoming, ResBody = Outgoing> + 'static,
    S::Future: 'static,
    S::Error: std::error::Error + Send + Sync,
{
    let connection = hyper::server::conn::http2::Builder::new(LocalExecutor)
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(u32::try_from(terms.head_bytes).unwrap_or(u32::MAX))
        .serve_connection(TokioIo::new(stream), answer);
    link.drive(pin!(connection), |connection| connection.graceful_shutdown()).await
}

/// Runs a connection's streams on its own worker.
#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}
