//! WebSocket and server-sent events: how long they live, what they count as, and how they end.

use gatewright_tests::frames::{END_HEADERS, PREFACE, fields, frame, kind};
use gatewright_tests::{Raw, Reply, Upstream, gateway, setup, until, upstream};

use crate::command::gatewright;

const SHOP: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n";
const UPGRADED: &str = "gatewright_connections_upgraded";

fn echoing() -> Upstream {
    let orders = upstream("orders");
    orders.answers(|seen| match seen.field("upgrade") {
        Some(protocol) => Reply::echo(protocol),
        None => Reply::text("orders"),
    });
    orders
}

/// Asks for another protocol, which is echoed.
pub(crate) async fn upgrade(mut raw: Raw) -> Raw {
    raw.write("GET /chat HTTP/1.1\r\nhost: shop.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
    let answer = raw.answer().await.is(101);
    assert!(answer.field("connection").is_some_and(|said| said.eq_ignore_ascii_case("upgrade")), "{answer:?}");
    is_echoed(&mut raw).await;
    raw
}

async fn is_echoed(raw: &mut Raw) {
    raw.write("hello").await;
    assert_eq!(raw.bytes(5).await, b"hello");
}

#[tokio::test]
async fn an_upgraded_connection_counts_until_it_ends() {
    let orders = echoing();
    let text = format!("server.connections_per_address = 1\nservice.orders.in_flight = 1\n{SHOP}");
    let gateway = gateway([&orders], &text);
    let mut raw = upgrade(gateway.raw().await).await;
    gateway.metric_is(UPGRADED, |count| count == 1.0).await;
    gateway.metric_is("gatewright_connections_open", |count| count == 1.0).await;
    // As one of its address, and at its service.
    assert!(gateway.raw().await.end().await.is_empty());
    gateway.get("/").from("127.0.0.2").await.is(503);
    raw.finish().await;
    assert!(raw.end().await.is_empty());
    gateway.metric_is(UPGRADED, |count| count == 0.0).await;
    gateway.metric_is("gatewright_connections_open", |count| count == 0.0).await;
    gateway.get("/").await.is(200);
}

#[tokio::test]
async fn one_that_is_silent_both_ways_is_closed() {
    let orders = echoing();
    // The time between requests is another one.
    let times = "server.idle_timeout = \"50ms\"\nservice.orders.upgrade_timeout = \"1500ms\"";
    let gateway = gateway([&orders], &format!("{times}\n{SHOP}"));
    let mut raw = upgrade(gateway.raw().await).await;
    let began = tokio::time::Instant::now();
    while began.elapsed() < std::time::Duration::from_millis(2500) {
        is_echoed(&mut raw).await;
        assert!(raw.is_silent_for(std::time::Duration::from_millis(200)).await, "closed while bytes pass");
    }
    assert!(raw.end().await.is_empty());
    gateway.metric_is(UPGRADED, |count| count == 0.0).await;
}

#[tokio::test]
async fn a_gateway_that_ends_waits_for_it_but_not_for_ever() {
    let orders = echoing();
    let shop = || setup(&format!("server = {{ linger = \"0s\", shutdown = \"1h\" }}\n{SHOP}")).to(&orders);
    let program = gatewright().start(shop()).await;
    let mut raw = upgrade(Raw::connect(program.address).await).await;
    program.terminate();
    until("no more connections", async || {
        let connected = tokio::net::TcpStream::connect(program.address).await;
        connected.is_err().then_some(())
    })
    .await;
    is_echoed(&mut raw).await;
    raw.finish().await;
    assert_eq!(program.ended().await.code, Some(0));

    let shop = setup(&format!("server = {{ linger = \"0s\", shutdown = \"300ms\" }}\n{SHOP}")).to(&orders);
    let program = gatewright().start(shop).await;
    let mut raw = upgrade(Raw::connect(program.address).await).await;
    program.terminate();
    assert!(raw.end().await.is_empty());
    assert_eq!(program.ended().await.code, Some(0));
}

#[tokio::test]
async fn one_that_begins_while_the_gateway_lingers_is_one_too() {
    let orders = echoing();
    let shop = setup(&format!("server = {{ linger = \"1h\" }}\n{SHOP}")).to(&orders);
    let program = gatewright().start(shop).await;
    program.terminate();
    until("it lingers", async || (program.admin("/readyz").await.status == 503).then_some(())).await;
    let mut raw = upgrade(Raw::connect(program.address).await).await;
    raw.finish().await;
    assert!(raw.end().await.is_empty());
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

#[tokio::test]
async fn events_pass_one_by_one() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    for connection in [gateway.http1().await, gateway.http2().await] {
        let (reply, mut events) = Reply::streamed();
        orders.answers_once(reply.field("content-type", "text/event-stream"));
        let mut coming = connection.get("/events").field("accept", "text/event-stream").coming().await.unwrap();
        for event in ["data: one\n\n", "data: two\n\n", ": still here\n\n"] {
            events.write(event).await;
            assert_eq!(coming.chunk().await.unwrap().as_deref(), Some(event));
        }
        events.end();
        assert_eq!(coming.chunk().await.unwrap().unwrap_or_default(), "");
    }
}

#[tokio::test]
async fn websockets_over_http_2_are_refused_and_the_connection_goes_on() {
    let orders = echoing();
    let gateway = gateway([&orders], SHOP);
    let mut raw = gateway.raw().await;
    raw.write(PREFACE).await;
    let settings = raw.frame(|frame| frame.kind == kind::SETTINGS).await.unwrap();
    // SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441, section 3) is not said.
    assert!(!settings.payload.chunks(6).any(|setting| setting.starts_with(&[0, 8])));
    let target = [(":scheme", "http"), (":authority", "shop.example"), (":path", "/chat")];
    let head = |more: &[(&'static str, &'static str)]| fields([more, &target].concat());
    let connect = head(&[(":method", "CONNECT"), (":protocol", "websocket")]);
    raw.write(frame(kind::HEADERS, END_HEADERS, 1, &connect)).await;
    let refused = raw.frame(|frame| frame.stream == 1).await.unwrap();
    assert_eq!((refused.kind, refused.code()), (kind::RST_STREAM, Some(1)));
    raw.write(frame(kind::HEADERS, END_HEADERS | 1, 3, &head(&[(":method", "GET")]))).await;
    let answer = raw.frame(|frame| frame.stream == 3).await.unwrap();
    assert_eq!(answer.status(), Some(200));
    assert_eq!(orders.count(), 1);
}
