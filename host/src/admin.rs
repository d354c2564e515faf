//! What operators look at: metrics, health, plugins and services. Loopback only, unless it is configured otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use self::states::States;
use crate::balance::Services;
use crate::control::Status;
use crate::gateway::Asker;
use crate::metrics::Metrics;
use crate::plugin::Engine;

mod explain;
mod states;

pub use explain::{MOST_BYTES, TEXT_TYPE};

/// How long an operator's client may take for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// What `/metrics` is written in.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What there is.
const NOWHERE: &str = "/livez /readyz /metrics /plugins /services, DELETE of /remembered, and POST to /explain\n";

/// What is there to be emptied only.
const REMEMBERED: &str = "/remembered";

/// What the admin listener shows.
#[derive(Clone)]
pub struct Desk {
    registry: Arc<Registry>,
    status: Arc<Status>,
    services: Arc<Services>,
    engine: Arc<Engine>,
    stopping: Arc<AtomicBool>,
    asker: Asker,
}

/// Answers operators for as long as the process lives.
pub async fn serve(listener: TcpListener, desk: Desk) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let desk = desk.clone();
        tokio::spawn(async move {
            let answer = hyper::service::service_fn(|request: Request<Incoming>| {
                let desk = desk.clone();
                async move {
                    Ok::<_, std::convert::Infallible>(match (request.method(), request.uri().path()) {
                        (&Method::POST, explain::PATH) => desk.explain(request).await,
                        (method, path) => desk.answer(method, path),
                    })
                }
            });
            // A client that breaks off hurts nobody.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

impl Desk {
    /// Shows what is counted, what the control thread last said of plugins, the services and their endpoints, and whether
    /// the gateway is about to end; has the engine's plugins' verdicts forgotten, and requests explained.
    #[must_use]
    pub fn new(
        metrics: &Metrics,
        status: Arc<Status>,
        services: Arc<Services>,
        engine: Arc<Engine>,
        stopping: Arc<AtomicBool>,
        asker: Asker,
    ) -> Self {
        let mut registry = metrics.registry();
        registry.register_collector(Box::new(States { status: Arc::clone(&status), services: Arc::clone(&services) }));
        Self { registry: Arc::new(registry), status, services, engine, stopping, asker }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        // Not POST, which a page in an operator's browser could send here unasked.
        if *method == Method::DELETE && path == REMEMBERED {
            self.engine.forget();
            tracing::info!("remembered verdicts are forgotten");
            return text(StatusCode::OK, "forgotten\n");
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD, DELETE of /remembered, and POST to /explain\n",
            );
        }
        match path {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.stopping.load(Relaxed) => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
            "/readyz" => self.ready(),
            "/metrics" => {
                let mut response = text(StatusCode::OK, &self.metrics());
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
                response
            }
            "/plugins" => json(&self.status.plugins(Instant::now())),
            "/services" => json(&self.services.snapshot(Instant::now())),
            _ => text(StatusCode::NOT_FOUND, NOWHERE),
        }
    }

    /// Ready when every plugin that is named serves.
    fn ready(&self) -> Response<Full<Bytes>> {
        let plugins = self.status.plugins(Instant::now());
        let missing = plugins.iter().filter(|(_, plugin)| plugin.is_named && plugin.digest.is_none());
        let missing: Vec<String> = missing
            .map(|(name, plugin)| match &plugin.fault {
                Some(fault) => format!("{name} ({fault})"),
                None => name.to_string(),
            })
            .collect();
        match missing.is_empty() {
            true => text(StatusCode::OK, "ok\n"),
            false => text(StatusCode::SERVICE_UNAVAILABLE, &format!("plugins are missing: {}\n", missing.join(", "))),
        }
    }

    fn metrics(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("a String takes whatever is written");
        text
    }
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn json(value: &impl serde::Serialize) -> Response<Full<Bytes>> {
    let bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    let mut response = Response::new(Full::new(bytes.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
