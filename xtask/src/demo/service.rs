//! The demo's services: one small HTTP server per endpoint, which tells what reached it and can be made to fail.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// How long an endpoint stays away after `POST /demo/fail`.
pub const AWAY: Duration = Duration::from_secs(20);

/// One endpoint of a demo service.
struct Place {
    service: String,
    address: SocketAddr,
    /// Told when a client asked this endpoint to fail, after that client has its answer.
    failing: Notify,
}

/// The endpoints of the demo, up until this value is dropped.
#[must_use = "dropping it closes the services"]
pub struct Services {
    tasks: JoinSet<()>,
}

impl Services {
    /// No service yet.
    pub fn new() -> Self {
        Self { tasks: JoinSet::new() }
    }

    /// Opens one endpoint of a service, on port 0 any free one, and answers where it is. Needs a tokio runtime.
    ///
    /// Every request, `/healthz` too, is answered 200 with a JSON object of what arrived; `POST /demo/fail` closes the endpoint
    /// with all its connections for [`AWAY`].
    ///
    /// # Errors
    ///
    /// The address is taken.
    pub async fn open(&mut self, service: &str, address: SocketAddr) -> Result<SocketAddr> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("the demo service {service} needs {address}"))?;
        let address = listener.local_addr()?;
        let place = Arc::new(Place { service: service.to_string(), address, failing: Notify::new() });
        self.tasks.spawn(live(place, listener));
        Ok(address)
    }

    /// Never ends: for `select!` with a signal.
    pub async fn serve(&mut self) {
        while self.tasks.join_next().await.is_some() {}
        std::future::pending().await
    }
}

impl Default for Services {
    fn default() -> Self {
        Self::new()
    }
}

/// Serves until asked to fail, is away for a while, comes back.
async fn live(place: Arc<Place>, listener: TcpListener) {
    let mut listener = Some(listener);
    loop {
        match listener.take() {
            Some(open) => serve(&place, open).await,
            None => {
                tokio::time::sleep(AWAY).await;
                listener = TcpListener::bind(place.address).await.ok();
            }
        }
    }
}

/// Accepts until asked to fail; then the listener and every connection are dropped.
async fn serve(place: &Arc<Place>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = place.failing.notified() => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(place.clone(), stream))),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

async fn connection(place: Arc<Place>, stream: TcpStream) {
    let fails = AtomicBool::new(false);
    let answering = service_fn(|request: Request<Incoming>| async {
        let (head, mut body) = request.into_parts();
        while let Some(Ok(_)) = body.frame().await {}
        Ok::<_, Infallible>(if head.method == Method::POST && head.uri.path() == "/demo/fail" {
            fails.store(true, Ordering::Relaxed);
            farewell(&place)
        } else {
            answer(&place, &head)
        })
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answering).await;
    if fails.load(Ordering::Relaxed) {
        place.failing.notify_one();
    }
}

fn farewell(place: &Place) -> Response<Full<Bytes>> {
    let mut response = json_response(&json!({
        "service": place.service,
        "endpoint": place.address.to_string(),
        "away_seconds": AWAY.as_secs(),
    }));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn answer(place: &Place, request: &Parts) -> Response<Full<Bytes>> {
    json_response(&json!({
        "service": place.service,
        "endpoint": place.address.to_string(),
        "method": request.method.as_str(),
        "path": request.uri.path_and_query().map_or("/", |target| target.as_str()),
        "identity": identity(request),
    }))
}

/// What the gateway says about the caller: the `x-` fields that are not about the connection or the request itself.
fn identity(request: &Parts) -> Value {
    let told = request.headers.iter().filter(|(name, _)| {
        let name = name.as_str();
        name.starts_with("x-") && !name.starts_with("x-forwarded-") && name != "x-request-id"
    });
    let text = |value: &HeaderValue| Value::from(String::from_utf8_lossy(value.as_bytes()).into_owned());
    Value::Object(told.map(|(name, value)| (name.to_string(), text(value))).collect::<Map<_, _>>())
}

fn json_response(body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn ask(address: SocketAddr, head: &str) -> Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("{head}\r\nHost: demo\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    fn in_a_runtime(test: impl Future<Output = Result<()>>) -> Result<()> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test)
    }

    #[test]
    fn an_endpoint_tells_what_reached_it() -> Result<()> {
        in_a_runtime(async {
            let mut services = Services::new();
            let address = services.open("users", "127.0.0.1:0".parse()?).await?;
            let head = "GET /users/7?full=1 HTTP/1.1\r\nX-User: ada\r\nX-Forwarded-For: 10.0.0.1\r\nConnection: close";
            let answer = ask(address, head).await?;
            let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap_or_default())?;
            let expected = json!({
                "service": "users", "endpoint": address.to_string(), "method": "GET", "path": "/users/7?full=1",
                "identity": { "x-user": "ada" },
            });
            assert_eq!(body, expected);
            Ok(())
        })
    }

    #[test]
    fn an_endpoint_that_was_told_to_fail_answers_that_and_is_away() -> Result<()> {
        in_a_runtime(async {
            let mut services = Services::new();
            let address = services.open("users", "127.0.0.1:0".parse()?).await?;
            let mut idle = TcpStream::connect(address).await?;
            let answer = ask(address, "POST /demo/fail HTTP/1.1").await?;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("away_seconds"), "{answer}");
            // The end of a connection that was open shows that the listener is gone too.
            assert!(matches!(idle.read(&mut [0; 1]).await, Ok(0) | Err(_)));
            assert!(TcpStream::connect(address).await.is_err());
            Ok(())
        })
    }
}
