//! An endpoint of a drill, as a process of its own: `gatewright-endpoint ADDRESS JOURNAL`.
//!
//! It answers 200 until it is told otherwise: `PUT /manner/slow`, `fail`, `cut` or `well`. The body of each POST is a line of
//! the journal before it is answered.

use std::convert::Infallible;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use http_body_util::channel::Channel;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Longer than a try may take.
const SLOW: Duration = Duration::from_secs(2);

#[derive(Clone, Copy)]
enum Manner {
    Well,
    Slow,
    Fail,
    /// Half of a body, and then the connection is closed.
    Cut,
}

struct Endpoint {
    manner: Mutex<Manner>,
    journal: Mutex<std::fs::File>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, journal] = &*arguments else { anyhow::bail!("an address and a journal") };
    let journal = std::fs::File::options().create(true).append(true).open(journal).context("the journal")?;
    let endpoint = Arc::new(Endpoint { manner: Mutex::new(Manner::Well), journal: Mutex::new(journal) });
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address.parse()?)?;
    let listener: TcpListener = socket.listen(1024)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let endpoint = Arc::clone(&endpoint);
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let endpoint = Arc::clone(&endpoint);
                async move { Ok::<_, Infallible>(endpoint.answer(request).await) }
            });
            // A client that breaks off hurts nobody.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

impl Endpoint {
    async fn answer(&self, request: Request<Incoming>) -> Response<Channel<Bytes>> {
        let (head, body) = request.into_parts();
        if head.method == Method::PUT {
            let manner = match head.uri.path() {
                "/manner/slow" => Manner::Slow,
                "/manner/fail" => Manner::Fail,
                "/manner/cut" => Manner::Cut,
                _ => Manner::Well,
            };
            *self.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
            return whole(StatusCode::OK);
        }
        if let (true, Ok(body)) = (head.method == Method::POST, body.collect().await) {
            let mut line = body.to_bytes().to_vec();
            line.push(b'\n');
            let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
            if journal.write_all(&line).is_err() {
                return whole(StatusCode::INSUFFICIENT_STORAGE);
            }
        }
        let manner = *self.manner.lock().unwrap_or_else(PoisonError::into_inner);
        match manner {
            // Whether it is well is what a drill finds out by requests, but for one that does not answer at all.
            _ if head.uri.path() == "/healthz" => whole(StatusCode::OK),
            Manner::Well => whole(StatusCode::OK),
            Manner::Fail => whole(StatusCode::INTERNAL_SERVER_ERROR),
            Manner::Slow => {
                tokio::time::sleep(SLOW).await;
                whole(StatusCode::OK)
            }
            Manner::Cut => cut(),
        }
    }
}

fn whole(status: StatusCode) -> Response<Channel<Bytes>> {
    let (mut sender, body) = Channel::new(1);
    // There is room for one part.
    let _ = sender.try_send(http_body::Frame::data(Bytes::from_static(b"well\n")));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_LENGTH, 5.into());
    response
}

fn cut() -> Response<Channel<Bytes>> {
    let (mut sender, body) = Channel::new(1);
    tokio::spawn(async move {
        // There is room for the second part when the connection has taken the first one. It runs on this thread, and writes all it
        // has before anybody else does anything.
        for part in ["ha", "lf"] {
            let _ = sender.send_data(Bytes::from_static(part.as_bytes())).await;
        }
    });
    let mut response = Response::new(body);
    response.headers_mut().insert(http::header::CONTENT_LENGTH, 1000.into());
    response
}
