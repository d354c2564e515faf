//! A service of a test: a real HTTP/1.1 server that notes what it is asked and answers as it is told.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::call::Content;
use crate::connection::Stream;
use crate::reply::{Gate, Manner, Reply};
use crate::time::{runtime, until};

/// A request as a service saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The version that it came in.
    pub version: http::Version,
    /// All fields.
    pub headers: HeaderMap,
    /// What has come of its body.
    pub body: Vec<u8>,
    /// What came after its body.
    pub trailers: Option<HeaderMap>,
    /// How far its body is.
    pub progress: Progress,
}

/// How far a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More may come.
    Coming,
    /// All of it is here.
    Whole,
    /// No more will come, and it is not whole.
    Broken,
}

impl Seen {
    /// The value of the only field of this name; none: there is none.
    ///
    /// # Panics
    /// There are several.
    #[must_use]
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        let values: Vec<_> = self.headers.get_all(name).iter().collect();
        assert!(values.len() < 2, "{name}: {values:?}");
        values.first().map(|value| value.to_str().unwrap())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A service's endpoint.
pub struct Upstream {
    name: String,
    /// Kept while the endpoint is down.
    port: Port,
    weight: u32,
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

type Script = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

struct Shared {
    seen: Mutex<Vec<Seen>>,
    once: Mutex<VecDeque<Reply>>,
    script: Mutex<Script>,
    connections: Mutex<usize>,
    tls: Mutex<Option<TlsAcceptor>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An endpoint of the service of this name. It answers 200 with its name until it is told otherwise.
///
/// # Panics
/// The machine has no port.
#[must_use]
pub fn upstream(name: &str) -> Upstream {
    let text = name.to_owned();
    let shared = Shared {
        seen: Mutex::default(),
        once: Mutex::default(),
        script: Mutex::new(Arc::new(move |_| Reply::text(&text))),
        connections: Mutex::new(0),
        tls: Mutex::default(),
    };
    let upstream = Upstream {
        name: name.to_owned(),
        port: port(),
        weight: 1,
        shared: Arc::new(shared),
        running: Mutex::default(),
    };
    upstream.start();
    upstream
}

/// A port of this machine that nobody else gets as long as this lives. Somebody who names it may listen on it, and stop.
pub struct Port {
    /// The port, on the loopback address.
    pub address: SocketAddr,
    /// Bound and never listened on.
    _reservation: Socket,
}

/// A port that nobody listens on.
///
/// # Panics
/// The machine has none.
#[must_use]
pub fn port() -> Port {
    let reservation = bind(([127, 0, 0, 1], 0).into());
    let address = reservation.local_addr().unwrap().as_socket().unwrap();
    Port { address, _reservation: reservation }
}

/// A socket with a port of its own that nobody listens on yet.
pub(crate) fn bind(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

impl Upstream {
    /// With this weight among the endpoints of its service.
    #[must_use]
    pub fn weighing(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Begins new connections with a handshake of TLS from now on.
    pub fn secures(&self, acceptor: TlsAcceptor) {
        *lock(&self.shared.tls) = Some(acceptor);
    }

    /// Answers every request like this from now on.
    pub fn answers(&self, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        *lock(&self.shared.script) = Arc::new(script);
    }

    /// Answers the next request that has no such answer yet like this.
    pub fn answers_once(&self, reply: Reply) {
        lock(&self.shared.once).push_back(reply);
    }

    /// Lets every request wait from now on until the gate is open.
    #[must_use]
    pub fn holds(&self) -> Gate {
        let (gate, name) = (Gate::closed(), self.name.clone());
        let closed = gate.clone();
        self.answers(move |_| Reply::text(&name).behind(&closed));
        gate
    }

    /// The requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// How many requests came so far.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.shared.seen).len()
    }

    /// How many connections came so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        *lock(&self.shared.connections)
    }

    /// The only request so far.
    ///
    /// # Panics
    /// There was none, or there were several.
    #[must_use]
    #[track_caller]
    pub fn only(&self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }

    /// Waits until a request is like this, and answers it.
    ///
    /// # Panics
    /// None comes in time.
    pub async fn sees(&self, what: &str, like: impl Fn(&Seen) -> bool) -> Seen {
        until(what, async || self.seen().into_iter().find(&like)).await
    }

    /// Waits until so many requests came.
    ///
    /// # Panics
    /// They do not come in time.
    pub async fn sees_requests(&self, count: usize) {
        until(&format!("{count} requests at {}", self.name), async || (self.count() >= count).then_some(())).await;
    }

    /// Closes the port and all connections, at once.
    ///
    /// # Panics
    /// It is down.
    pub async fn kill(&self) {
        let Running { stop, ended } = lock(&self.running).take().expect("running");
        let _ = stop.send(());
        ended.await.unwrap();
    }

    /// Listens on its port again.
    pub fn start(&self) {
        let socket = bind(self.port.address);
        socket.listen(1024).unwrap();
        socket.set_nonblocking(true).unwrap();
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let ended = runtime().spawn(serve(socket.into(), shared, stopped));
        *lock(&self.running) = Some(Running { stop, ended });
    }

    /// Its service, address and weight.
    pub(crate) fn place(&self) -> (String, SocketAddr, u32) {
        (self.name.clone(), self.port.address, self.weight)
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.port.address.fmt(f)
    }
}

async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                *lock(&shared.connections) += 1;
                connections.spawn(connection(stream, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
            // Also when the endpoint is dropped.
            _ = &mut stopped => break,
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let acceptor = lock(&shared.tls).clone();
    let Some(acceptor) = acceptor else {
        let http2 = speaks_http2(&stream).await;
        return speak(stream, http2, shared).await;
    };
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    speak(stream, http2, shared).await;
}

async fn speak(stream: impl Stream, http2: bool, shared: Arc<Shared>) {
    let answer = hyper::service::service_fn(move |request| answer(request, Arc::clone(&shared)));
    if http2 {
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = connection.serve_connection(TokioIo::new(stream), answer).await;
        return;
    }
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    // A gateway that closes its connections is as it should be.
    let _ = connection.with_upgrades().await;
}

/// Whether a connection begins as HTTP/2 with prior knowledge does.
async fn speaks_http2(stream: &TcpStream) -> bool {
    let mut first = [0; 3];
    matches!(stream.peek(&mut first).await, Ok(3)) && first == *b"PRI"
}

/// Why a connection is closed without an answer.
#[derive(Debug)]
struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed")
    }
}

impl std::error::Error for Closed {}

async fn answer(mut request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Content>, Closed> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let seen = Seen {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        version: head.version,
        headers: head.headers,
        body: Vec::new(),
        trailers: None,
        progress: Progress::Coming,
    };
    let once = lock(&shared.once).pop_front();
    let reply = once.unwrap_or_else(|| {
        let script = Arc::clone(&lock(&shared.script));
        script(&seen)
    });
    let place = {
        let mut all = lock(&shared.seen);
        all.push(seen);
        all.len() - 1
    };
    // A task of its own: it also notes that a body broke off, when this request's future is gone.
    let noted = tokio::spawn(note(body, Arc::clone(&shared), place));
    if reply.manner != Manner::Early {
        let _ = noted.await;
    }
    if let Some(gate) = &reply.gate {
        gate.opened().await;
    }
    match reply.manner {
        Manner::Close => return Err(Closed),
        Manner::Echo => drop(tokio::spawn(echo(upgrade))),
        Manner::Early | Manner::After => {}
    }
    let mut response = Response::new(reply.body);
    *response.status_mut() = reply.status.try_into().unwrap();
    *response.headers_mut() = reply.headers;
    Ok(response)
}

/// Notes a body as it comes.
async fn note(mut body: Incoming, shared: Arc<Shared>, place: usize) {
    let progress = loop {
        let frame = match body.frame().await {
            None => break Progress::Whole,
            Some(Err(_)) => break Progress::Broken,
            Some(Ok(frame)) => frame,
        };
        let seen = &mut lock(&shared.seen)[place];
        match frame.into_data() {
            Ok(data) => seen.body.extend_from_slice(&data),
            Err(frame) => seen.trailers = frame.into_trailers().ok(),
        }
    };
    lock(&shared.seen)[place].progress = progress;
}

/// Says back what it hears.
async fn echo(upgrade: hyper::upgrade::OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
    let _ = tokio::io::copy(&mut read, &mut write).await;
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut write).await;
}
