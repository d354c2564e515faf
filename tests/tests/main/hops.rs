//! A request's way through several gateways: its trace, how many hops it may go, and what is said of where it failed.

use gatewright_tests::{gateway, setup, upstream};

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
