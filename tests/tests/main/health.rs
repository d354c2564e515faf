//! What takes an endpoint out, what brings it back, and how that is seen.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use bytes::Bytes;
use gatewright_tests::{Gateway, Place, Reply, Upstream, gateway, setup, until, upstream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::balancing::shop;
use crate::command::gatewright;

/// Requests that are no probes.
fn asked(upstream: &Upstream) -> usize {
    upstream.seen().iter().filter(|seen| seen.target == "/").count()
}

async fn endpoint(gateway: &Gateway, at: usize) -> Value {
    gateway.service("orders").await["endpoints"][at].clone()
}

#[tokio::test]
async fn a_probe_asks_with_its_fields_and_looks_at_the_status_and_the_body() {
    let orders = upstream("orders");
    let text = r#"probe = { http = "/healthz", headers = ["x-probe: yes"], status = ["200-204", "418"],
        body = "well", interval = "20ms", timeout = "1s", rise = 1, fall = 1 }"#;
    orders.answers(|_| Reply::status(418).body("all is well"));
    let gateway = gateway([&orders], &shop(&text.replace('\n', "")));
    let seen = orders.sees("a probe", |seen| seen.target == "/healthz").await;
    assert_eq!((seen.field("x-probe"), seen.field("host")), (Some("yes"), Some("orders")));
    gateway.endpoint_is("orders", orders.address(), "healthy").await;
    for (status, body, reason) in [(200, "ill", "\"well\""), (205, "well", "205")] {
        orders.answers(move |_| Reply::status(status).body(body));
        gateway.endpoint_is("orders", orders.address(), "unhealthy").await;
        until("the reason", async || {
            let endpoint = endpoint(&gateway, 0).await;
            endpoint["reason"].as_str().is_some_and(|text| text.contains(reason)).then_some(())
        })
        .await;
        orders.answers(|_| Reply::status(200).body("well again"));
        gateway.endpoint_is("orders", orders.address(), "healthy").await;
    }
    let changes = format!("gatewright_endpoint_changes_total{{service=\"orders\",endpoint=\"{orders}\"}}");
    assert_eq!(gateway.metric(&changes).await, 4.0);
}

/// A gRPC server that knows its health only: what it answers is its serving status, or with 100 added a gRPC status.
struct Health {
    address: SocketAddr,
    status: Arc<AtomicU8>,
    asked: Arc<AtomicUsize>,
}

async fn grpc_health(service: &'static str) -> Health {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (status, asked) = (Arc::new(AtomicU8::new(1)), Arc::new(AtomicUsize::new(0)));
    let health = Health { address, status: Arc::clone(&status), asked: Arc::clone(&asked) };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (status, asked) = (Arc::clone(&status), Arc::clone(&asked));
            let answer = service_fn(move |request: Request<Incoming>| {
                asked.fetch_add(1, Ordering::SeqCst);
                check(request, service, status.load(Ordering::SeqCst))
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), answer));
        }
    });
    health
}

type Trailers = Ready<Option<Result<HeaderMap, Infallible>>>;
type Answer = Response<WithTrailers<Full<Bytes>, Trailers>>;

async fn check(request: Request<Incoming>, service: &str, status: u8) -> Result<Answer, Infallible> {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.uri().authority().unwrap(), "carts.internal");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body[5..], *format!("\n{}{service}", char::from(service.len() as u8)).as_bytes());
    let grpc_status = status.saturating_sub(100);
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from(u16::from(grpc_status)))]);
    let message: &[u8] = if grpc_status == 0 { &[0, 0, 0, 0, 2, 8, status] } else { &[] };
    let body = Full::new(Bytes::copy_from_slice(message)).with_trailers(ready(Some(Ok(trailers))));
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}

#[tokio::test]
async fn a_grpc_service_is_asked_as_grpc_asks() {
    let health = grpc_health("carts.v1").await;
    let probe =
        r#"{ grpc = "carts.v1", host = "carts.internal", interval = "20ms", timeout = "2s", rise = 1, fall = 1 }"#;
    let gateway = setup(&shop(&format!("probe = {probe}"))).to(Place::new("orders", health.address)).start();
    until("a probe", async || (health.asked.load(Ordering::SeqCst) > 0).then_some(())).await;
    for (status, reason) in [(2, "serving status 2"), (105, "grpc status 5")] {
        gateway.endpoint_is("orders", health.address, "healthy").await;
        health.status.store(status, Ordering::SeqCst);
        gateway.endpoint_is("orders", health.address, "unhealthy").await;
        until("the reason", async || (endpoint(&gateway, 0).await["reason"] == reason).then_some(())).await;
        health.status.store(1, Ordering::SeqCst);
    }
    gateway.endpoint_is("orders", health.address, "healthy").await;
}

#[tokio::test]
async fn one_that_fails_every_second_request_is_ejected_and_the_ejections_are_counted() {
    let (bad, good) = (upstream("orders"), upstream("orders"));
    let turn = AtomicUsize::new(0);
    bad.answers(move |_| match turn.fetch_add(1, Ordering::SeqCst) % 2 {
        0 => Reply::status(503),
        _ => Reply::text("well"),
    });
    let ejection = "{ failures = 1000, failed_percent = 50, window = \"1h\", window_requests = 10, time = \"1h\", most_time = \"1h\" }";
    let gateway = gateway([&bad, &good], &shop(&format!("ejection = {ejection}")));
    for _ in 0..40 {
        gateway.get("/").await;
    }
    gateway.endpoint_is("orders", bad.address(), "ejected").await;
    assert_eq!((bad.count(), good.count()), (11, 29));
    let labels = format!("service=\"orders\",endpoint=\"{bad}\"");
    assert_eq!(gateway.metric(&format!("gatewright_endpoint_ejections_total{{{labels}}}")).await, 1.0);
    let failures = format!("gatewright_endpoint_failures_total{{{labels},kind=\"status\"}}");
    assert_eq!(gateway.metric(&failures).await, 6.0);
}

/// How many of 20 requests each of two endpoints got, the first of which always answers 500, and what that one is then. A 500 is
/// tried again at the other one.
async fn with_500s(ejection: &str) -> ((usize, usize), Value) {
    let (bad, good) = (upstream("orders"), upstream("orders"));
    bad.answers(|_| Reply::status(500));
    let ejection = format!("ejection = {{ {ejection} failures = 3, time = \"1h\", most_time = \"1h\" }}");
    let retry = "retry = { on = [\"500-599\"], backoff = \"0s\" }";
    let gateway = gateway([&bad, &good], &shop(&format!("{ejection}\n{retry}")));
    for _ in 0..20 {
        gateway.get("/").await.is(200);
    }
    ((bad.count(), good.count()), endpoint(&gateway, 0).await)
}

#[tokio::test]
async fn one_that_always_answers_500_is_ejected_where_a_500_is_a_failure() {
    let (counts, endpoint) = with_500s("on = [\"500-599\"],").await;
    assert_eq!((counts, &endpoint["state"]), ((3, 20), &"ejected".into()));
    assert_eq!(endpoint["failures"]["status"], 3);
}

#[tokio::test]
async fn one_that_answers_500_is_not_ejected_where_nothing_is_said_of_it() {
    let (counts, endpoint) = with_500s("").await;
    assert_eq!((counts, &endpoint["state"]), ((10, 20), &"healthy".into()));
    assert_eq!(endpoint["failures"]["status"], 0);
}

#[tokio::test]
async fn one_that_answers_503_is_not_ejected_where_only_connections_count() {
    let (bad, good) = (upstream("orders"), upstream("orders"));
    bad.answers(|_| Reply::status(503));
    let ejection = "ejection = { on = [\"connect\", \"reset\"], failures = 3, time = \"1h\", most_time = \"1h\" }";
    let gateway = gateway([&bad, &good], &shop(ejection));
    for _ in 0..20 {
        gateway.get("/").await;
    }
    assert_eq!((bad.count(), good.count()), (10, 10));
    bad.kill().await;
    for _ in 0..6 {
        gateway.get("/").await.is(200);
    }
    gateway.endpoint_is("orders", bad.address(), "ejected").await;
}

#[tokio::test]
async fn every_change_of_an_endpoint_is_a_line_of_the_log() {
    let (bad, good) = (upstream("orders"), upstream("orders"));
    bad.answers_once(Reply::status(503));
    let text = shop("ejection = { failures = 1, time = \"50ms\", most_time = \"50ms\" }");
    let gateway = gatewright().start(setup(&text).to(&bad).to(&good)).await;
    until("it is out and back", async || {
        gateway.get("/").await;
        (gateway.admin("/services").await.json()[0]["endpoints"][0]["changes"] == 2).then_some(())
    })
    .await;
    gateway.terminate();
    let log = gateway.ended().await.errors;
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let changes = events.filter(|event| event["message"] == "endpoint changed").map(|event| {
        assert_eq!((&event["service"], &event["endpoint"]), (&"orders".into(), &bad.to_string().into()));
        ["level", "state", "reason"].map(|key| event[key].as_str().unwrap_or_default().to_owned())
    });
    let expected = [["WARN", "ejected", "1 failures in a row"], ["INFO", "healthy", "ejection is over"]];
    assert_eq!(changes.collect::<Vec<_>>(), expected, "{log}");
}

#[tokio::test]
async fn where_too_few_are_left_the_ejected_come_back_but_not_what_probes_say_is_dead() {
    let orders = [(); 4].map(|()| upstream("orders"));
    let text = shop(
        "probe = { tcp = true, interval = \"20ms\", rise = 1, fall = 1 }\nejection = { failures = 1, time = \"1h\", most_time = \"1h\", panic_percent = 50 }",
    );
    let gateway = gateway(&orders, &text);
    orders[0].answers_once(Reply::status(503));
    for _ in 0..4 {
        gateway.get("/").await;
    }
    gateway.endpoint_is("orders", orders[0].address(), "ejected").await;
    assert_eq!(gateway.service("orders").await["panics"], false);
    orders[1].kill().await;
    gateway.endpoint_is("orders", orders[1].address(), "unhealthy").await;
    gateway.endpoint_is("orders", orders[0].address(), "ejected").await;
    orders[2].kill().await;
    gateway.endpoint_is("orders", orders[0].address(), "healthy").await;
    orders[3].kill().await;
    gateway.endpoint_is("orders", orders[3].address(), "unhealthy").await;
    let service = gateway.service("orders").await;
    assert_eq!(service["panics"], true, "{service}");
    assert_eq!(gateway.metric("gatewright_service_panics{service=\"orders\"}").await, 1.0);
    let before = orders[0].count();
    for _ in 0..8 {
        gateway.get("/").await.is(200);
    }
    assert_eq!(orders[0].count(), before + 8);
}

#[tokio::test]
async fn one_that_comes_back_starts_slowly() {
    let (old, new) = (upstream("orders"), upstream("orders"));
    let probe = "probe = { tcp = true, interval = \"20ms\", rise = 1, fall = 1 }\nslow_start = \"10h\"";
    let gateway = gateway([&old, &new], &shop(probe));
    new.kill().await;
    gateway.endpoint_is("orders", new.address(), "unhealthy").await;
    new.start();
    gateway.endpoint_is("orders", new.address(), "healthy").await;
    let (before, endpoint) = (asked(&new), endpoint(&gateway, 1).await);
    assert_eq!(endpoint["share"], 0.1, "{endpoint}");
    for _ in 0..22 {
        gateway.get("/").await.is(200);
    }
    assert_eq!(asked(&new) - before, 2);
}
