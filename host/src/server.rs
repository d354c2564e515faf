//! Accept: listeners, workers, and the life of a client's connection.
//!
//! One thread accepts and gives each connection to the worker that has the fewest; from then on no other thread touches it.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;

use crate::config;
use crate::forward::Outgoing;
use crate::forward::headers::Peer;
use crate::gateway::{Worker, handle};
use crate::tls::{ClientCertificate, Tls};

mod accept;
mod activity;
mod date;
mod descriptors;
mod gather;
mod http2;
mod interim;
mod links;
pub mod proxied;
mod stream;
mod taking;

pub use accept::{Accepted, Connections, House, Inbox, Listener, accept, bind};
pub use activity::Ending;
use descriptors::raise;
pub(crate) use gather::poll_write_parts;
use http2::{Http2, Requests};
pub use interim::{Asking, Early, Voice};
pub use links::Busy;
use links::{Link, Links};
use stream::{Io, Protocol, Stream};

/// How often a worker writes its access lines and closes what is idle.
const TICK: Duration = Duration::from_millis(250);

/// What a connection is held to.
#[derive(Clone)]
pub struct Terms {
    head_fields: usize,
    head_bytes: usize,
    trusted: Arc<[config::Cidr]>,
    tls: Option<Arc<Tls>>,
    most: links::Most,
    http2_streams: u32,
    proxy_protocol: bool,
    /// The most connections of all clients.
    connections: usize,
    /// The most connections of one address.
    connections_per_address: usize,
    /// How long requests in flight have to end when the gateway does.
    grace: Duration,
    /// How long the gateway goes on when it is told to end.
    pub linger: Duration,
}

impl Terms {
    /// By the configuration.
    #[must_use]
    pub fn new(server: &config::Server, tls: Option<Arc<Tls>>) -> Self {
        Self {
            head_fields: server.head_fields,
            head_bytes: server.head_bytes,
            trusted: server.trusted.clone().into(),
            tls,
            most: links::Most {
                head: server.head_timeout,
                idle: server.idle_timeout,
                send: server.send_timeout,
                send_rate: server.send_rate,
            },
            http2_streams: u32::try_from(server.http2_streams).unwrap_or(u32::MAX),
            proxy_protocol: server.proxy_protocol,
            connections: raise(server.connections),
            connections_per_address: server.connections_per_address,
            grace: server.shutdown,
            linger: server.linger,
        }
    }

    /// Whether a peer stands for many clients.
    fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(peer))
    }
}

/// Serves a worker's connections until no more are accepted; then those in flight have a while to end.
pub async fn serve(worker: Rc<Worker>, mut connections: Connections, terms: watch::Receiver<Terms>) {
    let links = Rc::new(Links::default());
    let ticking = spawn_local(tick(Rc::clone(&worker), Rc::clone(&links)));
    // What was accepted before the end is served: the other side closes only behind it.
    while let Some(accepted) = connections.recv().await {
        let terms = terms.borrow().clone();
        let Accepted { stream, peer, tls, counted } = accepted;
        let link = links.open(terms.most, counted);
        spawn_local(connection(Rc::clone(&worker), (stream, peer, tls), terms, link));
    }
    links.drain();
    let grace = terms.borrow().grace;
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
async fn connection(
    worker: Rc<Worker>,
    (stream, address, tls): (std::net::TcpStream, SocketAddr, bool),
    terms: Terms,
    link: Rc<Link>,
) {
    let Ok(mut stream) = TcpStream::from_std(stream) else { return };
    // Without it small answers wait for acknowledgements; where it fails, they do.
    let _ = stream.set_nodelay(true);
    let mut address = address.ip();
    if terms.proxy_protocol {
        match link.drive(pin!(proxied::header(&mut stream)), |_| {}).await {
            Some(Ok(said)) => address = said.map_or(address, |said| said.ip()),
            Some(Err(fault)) => return tracing::debug!(peer = %address, reason = %fault, "connection refused"),
            None => return,
        }
    }
    let io = if tls { shake_hands(stream, &terms, &link).await } else { Some(Io::Plain(stream)) };
    let Some(io) = io else { return };
    let mut peer = Peer::new(address, io.scheme(), &terms.trusted);
    peer.certificate = io.certificate().map(|certificate| Rc::new(ClientCertificate::new(certificate)));
    let peer = Rc::new(peer);
    let activity = Arc::clone(link.activity());
    let agreed = io.agreed();
    let mut stream = Stream::new(io, Arc::clone(&activity));
    let protocol = match agreed {
        Some(protocol) => protocol,
        None => match link.drive(pin!(stream.sniff()), |_| {}).await {
            Some(Ok(protocol)) => protocol,
            _ => return,
        },
    };
    if protocol == Protocol::Http2 {
        activity.frames();
    }
    let served = Rc::clone(&link);
    match protocol {
        Protocol::Http1 => {
            let answer = hyper::service::service_fn(move |request| handle(&worker, &peer, request, served.busy()));
            note(http1(stream, &terms, answer, &link).await);
        }
        Protocol::Http2 => {
            let requests = Requests { worker, peer, link: served, patience: terms.most.send };
            let mut connection = pin!(Http2::new(stream, &terms, requests));
            let ended = link.drive(connection.as_mut(), |connection| connection.get_mut().drain()).await;
            if ended.is_none() {
                connection.leave().await;
            }
            note(ended);
        }
    }
}

/// Notes what ended a connection: the client, which broke off or sent what is no HTTP.
fn note(ended: Option<Result<(), impl Display>>) {
    if let Some(Err(fault)) = ended {
        tracing::debug!(reason = %fault, "connection ended");
    }
}

/// The TLS handshake, in the time of a request's head.
async fn shake_hands(stream: TcpStream, terms: &Terms, link: &Link) -> Option<Io> {
    let acceptor = TlsAcceptor::from(terms.tls.as_ref()?.current());
    match link.drive(pin!(acceptor.accept(stream)), |_| {}).await? {
        Ok(stream) => Some(Io::Tls(Box::new(stream))),
        Err(fault) => {
            tracing::debug!(reason = %fault, "no TLS with a client");
            None
        }
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
