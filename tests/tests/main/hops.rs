//! A request's way through several gateways: its trace, how many hops it may go, and what is said of where it failed.

use gatewright_tests::{Answer, Place, Reply, gateway, raw_upstream, setup, upstream};

use crate::command::gatewright;

const SHOP: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The parts of a `traceparent`: version, trace, hop, flags.
fn parts(parent: &str) -> [&str; 4] {
    let parts: Vec<&str> = parent.split('-').collect();
    parts.try_into().unwrap_or_else(|_| panic!("{parent}"))
}

#[tokio::test]
async fn a_trace_goes_on_through_the_gateway() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let sent = format!("00-{TRACE}-b7ad6b7169203331-00");
    let state = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7";
    for connection in [gateway.http1().await, gateway.http2().await] {
        connection.get("/").field("traceparent", &sent).field("tracestate", state).await.is(200);
    }
    let hops: Vec<String> = orders
        .seen()
        .iter()
        .map(|seen| {
            assert_eq!(seen.field("tracestate"), Some(state));
            let [version, trace, hop, flags] = parts(seen.field("traceparent").unwrap());
            assert_eq!((version, trace, flags), ("00", TRACE, "00"));
            hop.to_owned()
        })
        .collect();
    let [one, other] = &hops[..] else { panic!("{hops:?}") };
    assert!(one != "b7ad6b7169203331" && one != other, "every hop has a name of its own: {hops:?}");
}

#[tokio::test]
async fn a_trace_that_cannot_be_read_begins_anew() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let zeros = format!("00-{TRACE}-0000000000000000-01");
    for sent in [None, Some("nonsense"), Some(&zeros)] {
        let call = gateway.get("/").field("tracestate", "a=1");
        let call = sent.into_iter().fold(call, |call, sent| call.field("traceparent", sent));
        let answer = call.await.is(200);
        let seen = orders.seen().pop().unwrap();
        let [version, trace, hop, flags] = parts(seen.field("traceparent").unwrap());
        assert_eq!((version, hop.len(), flags), ("00", 16, "01"));
        assert_eq!(Some(trace), answer.field("x-request-id"), "it has the name of its first request");
        assert_eq!(seen.field("tracestate"), None, "the state of a trace that ended");
    }
}

#[tokio::test]
async fn traces_may_begin_here_or_be_none_of_the_gateways_business() {
    let orders = upstream("orders");
    let sent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let passed = async |setting: &str| {
        let gateway = gateway([&orders], &format!("server = {{ trace = \"{setting}\" }}\n{SHOP}"));
        gateway.get("/").field("traceparent", &sent).field("tracestate", "a=1").await.is(200);
        gateway.get("/").await.is(200);
        let seen = orders.seen().into_iter().rev().take(2);
        let told = seen.map(|seen| ["traceparent", "tracestate"].map(|name| seen.field(name).map(str::to_owned)));
        let [without, with] = told.collect::<Vec<_>>().try_into().unwrap();
        (with, without)
    };
    let (with, without) = passed("off").await;
    assert_eq!((with, without), ([Some(sent.clone()), Some("a=1".into())], [None, None]));
    let ([parent, state], _) = passed("begin").await;
    assert!(!parent.unwrap().contains(TRACE) && state.is_none());
}

#[tokio::test]
async fn the_access_log_says_which_trace_a_request_belongs_to() {
    let orders = upstream("orders");
    let mut gateway = gatewright().start(setup(SHOP).to(&orders)).await;
    gateway.get("/").field("traceparent", &format!("00-{TRACE}-b7ad6b7169203331-01")).await.is(200);
    assert_eq!(gateway.line().await["trace"], TRACE);
    gateway.get("/").await.is(200);
    let line = gateway.line().await;
    assert_eq!(line["trace"], line["id"]);
    // Of what goes no further as well: its client's trace has it.
    gateway.get("/%zz").field("traceparent", &format!("00-{TRACE}-b7ad6b7169203331-01")).await.is(400);
    assert_eq!(gateway.line().await["trace"], TRACE);
}

#[tokio::test]
async fn options_go_as_far_as_they_say() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let options = |hops: &str| gateway.call("OPTIONS", "/").field("max-forwards", hops);
    options("0").await.is(204).tells("allow", "OPTIONS").says("");
    options("nonsense").await.is(400).problem("Ambiguous header field");
    gateway.call("TRACE", "/").field("max-forwards", "0").await.is(405);
    options("3").await.is(200).says("orders");
    assert_eq!(orders.only().field("max-forwards"), Some("2"));
    // For other methods it has no meaning.
    gateway.get("/").field("max-forwards", "0").await.is(200);
}

/// An answer says this kind of failure, and nothing of what stands behind the gateway.
fn fails(answer: Answer, status: u16, error: &str) {
    let answer = answer.is(status).has("proxy-status", &format!("gatewright; error={error}"));
    let named = format!("{:?} {}", answer.headers, answer.text());
    assert!(!named.contains("127.0.0.1") && !named.contains("orders"), "{answer}");
}

#[tokio::test]
async fn an_answer_of_the_gateways_own_says_what_failed() {
    let orders = upstream("orders");
    let service = "[service.orders]\ntimeout = \"300ms\"\nin_flight = 1\n";
    let limit = "limit = [{ name = \"few\", by = \"caller\", requests = 9, per = \"1h\" }]";
    let auth = "paths = [\"/shop\"]\nbody = \"1KiB\"\nauth = [{ plugin = \"jwt\", settings = { keys = \"demo\" } }]";
    let gateway = gateway([&orders], &format!("{service}{SHOP}{auth}\n{limit}"));
    let shop = || gateway.get("/shop").as_caller("ada");
    shop().await.is(200).lacks("proxy-status");
    fails(gateway.get("/shop").await, 401, "http_request_denied");
    fails(gateway.get("/shop").bearer("nonsense").await, 401, "http_request_denied");
    fails(gateway.get("/elsewhere").await, 404, "destination_not_found");
    fails(gateway.get("/%zz").await, 400, "http_request_error");
    fails(gateway.post("/shop").body(vec![b'x'; 1025]).await, 413, "http_request_error");
    fails(gateway.get("/shop").field("via", &["1.1 gatewright"; 4].join(", ")).await, 508, "proxy_loop_detected");
    fails(gateway.call("OPTIONS", "/shop").field("max-forwards", "0").await, 204, "proxy_internal_response");
    orders.answers_once(Reply::close());
    fails(gateway.post("/shop").as_caller("ada").await, 502, "connection_terminated");
    let gate = orders.holds();
    let slow = tokio::spawn(shop().into_future());
    orders.sees_requests(3).await;
    fails(shop().await, 503, "connection_limit_reached");
    fails(slow.await.unwrap(), 504, "http_response_timeout");
    gate.open();
    orders.kill().await;
    fails(shop().await, 502, "connection_refused");
    while shop().await.status != 429 {}
    fails(shop().await, 429, "http_request_denied");
}

#[tokio::test]
async fn a_service_that_does_not_speak_http_is_told_apart() {
    let orders = raw_upstream("orders");
    let gateway = setup(SHOP).to(Place::from(&orders)).start();
    let asking = tokio::spawn(gateway.post("/").into_future());
    let mut service = orders.accept().await;
    service.head().await;
    service.write("SSH-2.0-OpenSSH_9.9\r\n\r\n").await;
    let answer = asking.await.unwrap().problem("The service did not answer as HTTP");
    fails(answer, 502, "http_protocol_error");
}

#[tokio::test]
async fn what_a_proxy_behind_the_gateway_says_of_failures_goes_on() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    orders.answers(|_| Reply::status(502).field("proxy-status", "inner; error=dns_timeout"));
    gateway.get("/").await.is(502).has("proxy-status", "inner; error=dns_timeout");
}
