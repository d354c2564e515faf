//! HTTP/2 with prior knowledge: what is malformed, too large or too slow.

use std::time::Duration;

use gatewright_tests::frames::{END_HEADERS, END_STREAM, Frame, PADDED, PREFACE, fields, frame, kind};
use gatewright_tests::{Gateway, Progress, Raw, gateway, upstream};

pub(crate) const SHOP: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n";

pub(crate) const GOOD: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "shop.example"), (":path", "/")];

/// A whole request without a body.
pub(crate) fn request(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, block)
}

/// A connection that has begun.
pub(crate) async fn connect(gateway: &Gateway) -> Raw {
    let mut raw = gateway.raw().await;
    raw.write(PREFACE).await;
    raw
}

/// A good request on a stream of its own is answered 200.
pub(crate) async fn is_served(raw: &mut Raw, stream: u32) {
    raw.write(request(stream, &fields(GOOD))).await;
    let head = raw.frame(|frame| frame.kind == kind::HEADERS && frame.stream == stream).await;
    assert_eq!(head.expect("a response").status(), Some(200));
}

/// Frames that break the rules for all of a connection.
fn breaking() -> Vec<(&'static str, Vec<u8>)> {
    let good = &fields(GOOD)[..];
    let began = &frame(kind::HEADERS, 0, 1, good)[..];
    vec![
        ("a frame that is too large", frame(kind::HEADERS, END_HEADERS, 1, &[0; 20_000])),
        ("fields of the connection", frame(kind::HEADERS, END_HEADERS, 0, good)),
        ("a stream of the server's", request(2, good)),
        ("a stream of the past", [request(5, good), request(3, good)].concat()),
        ("data of no stream", frame(kind::DATA, 0, 1, b"x")),
        ("data after the end", [request(1, good), frame(kind::DATA, END_STREAM, 1, b"x")].concat()),
        ("a reset of no stream", frame(kind::RST_STREAM, 0, 1, &[0; 4])),
        ("half a setting", frame(kind::SETTINGS, 0, 0, &[0; 5])),
        ("settings of a stream", frame(kind::SETTINGS, 0, 1, &[0; 6])),
        ("a setting that cannot be", frame(kind::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2])),
        ("a window that cannot be", frame(kind::SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])),
        ("half a ping", frame(kind::PING, 0, 0, &[0; 7])),
        ("a ping of a stream", frame(kind::PING, 0, 1, &[0; 8])),
        ("a window that grows by nothing", frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("a window without end", frame(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        ("fields that go on from nowhere", frame(kind::CONTINUATION, END_HEADERS, 1, good)),
        ("something between fields", [began, &frame(kind::PING, 0, 0, &[0; 8])].concat()),
        ("fields that go on elsewhere", [began, &frame(kind::CONTINUATION, END_HEADERS, 3, b"")].concat()),
        ("a push by the client", [request(1, good), frame(kind::PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])].concat()),
        ("a field of no table", request(1, &[0x80])),
        ("a field beyond the table", request(1, &[0xff, 0x80, 0x01])),
        ("half a field", request(1, &[0, 5, b'x'])),
        ("more padding than payload", frame(kind::HEADERS, END_HEADERS | PADDED, 1, &[255, 0])),
        ("a pseudo-field that is none", request(1, &with(&[(":evil", "x")]))),
        ("an upper-case name", request(1, &with(&[("X-Evil", "y")]))),
        ("a name with a space", request(1, &with(&[("x evil", "y")]))),
        ("a field that ends another", request(1, &with(&[("x", "y\r\nevil: z")]))),
        ("a NUL", request(1, &with(&[("x", "y\0z")]))),
        ("fields without end", [began.to_vec(), frame(kind::CONTINUATION, 0, 1, b"").repeat(10_000)].concat()),
    ]
}

#[tokio::test]
async fn what_breaks_the_rules_of_http_2_ends_the_connection() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    for (what, bytes) in breaking() {
        let mut raw = connect(&gateway).await;
        raw.write(bytes).await;
        let goaway = raw.frame(|frame| frame.kind == kind::GOAWAY).await;
        assert!(goaway.as_ref().and_then(Frame::code).is_some_and(|code| code != 0), "{what}: {goaway:?}");
        raw.end().await;
    }
    let mut raw = gateway.raw().await;
    raw.write("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").await.end().await;
    is_served(&mut connect(&gateway).await, 1).await;
}

fn with(more: &[(&'static str, &'static str)]) -> Vec<u8> {
    fields(GOOD.iter().chain(more).copied())
}

pub(crate) fn without(name: &str, more: &[(&'static str, &'static str)]) -> Vec<u8> {
    fields(GOOD.iter().filter(|(known, _)| *known != name).chain(more).copied())
}

#[tokio::test]
async fn a_malformed_request_costs_its_stream_and_goes_no_further() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    for (count, (what, block)) in [
        ("no method", without(":method", &[])),
        ("no path", without(":path", &[])),
        ("no scheme", without(":scheme", &[])),
        ("an empty path", without(":path", &[(":path", "")])),
        ("no authority", without(":authority", &[])),
        ("two paths", with(&[(":path", "/b")])),
        ("a pseudo-field of responses", with(&[(":status", "200")])),
        ("a pseudo-field after others", without(":path", &[("x", "y"), (":path", "/")])),
        ("another host", with(&[("host", "other.example")])),
        ("a connection field", with(&[("connection", "close")])),
        ("a transfer coding", with(&[("transfer-encoding", "chunked")])),
        ("an upgrade", with(&[("upgrade", "websocket")])),
        ("another te", with(&[("te", "gzip")])),
        ("a path that climbs", without(":path", &[(":path", "/../a")])),
        ("a path with an encoded slash", without(":path", &[(":path", "/a%2fb")])),
        ("two authorizations", with(&[("authorization", "a"), ("authorization", "b")])),
        ("a length of nothing", with(&[("content-length", "5")])),
        ("a length that is none", with(&[("content-length", "x")])),
        ("two lengths", with(&[("content-length", "1"), ("content-length", "2")])),
        ("CONNECT with a path", without(":method", &[(":method", "CONNECT")])),
    ]
    .into_iter()
    .enumerate()
    {
        let mut raw = connect(&gateway).await;
        raw.write(request(1, &block)).await;
        let ended = raw.frame(|frame| [kind::HEADERS, kind::RST_STREAM, kind::GOAWAY].contains(&frame.kind)).await;
        let ended = ended.unwrap_or_else(|| panic!("{what}: the connection ended"));
        let refused = ended.status() == Some(400) || ended.kind == kind::RST_STREAM;
        assert!(ended.stream == 1 && refused, "{what}: {ended:?}");
        // Others of the connection do not notice.
        is_served(&mut raw, 3).await;
        assert_eq!(orders.count(), count + 1, "{what}");
    }
}

#[tokio::test]
async fn a_body_of_another_length_than_was_said_never_arrives_whole() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    for body in ["abc", "abcdefg"] {
        let mut raw = connect(&gateway).await;
        let before = orders.count();
        let block = without(":method", &[(":method", "POST"), ("content-length", "5")]);
        raw.write(frame(kind::HEADERS, END_HEADERS, 1, &block)).await;
        raw.write(frame(kind::DATA, END_STREAM, 1, body.as_bytes())).await;
        let ended =
            raw.frame(|frame| frame.stream == 1 && [kind::HEADERS, kind::RST_STREAM].contains(&frame.kind)).await;
        let ended = ended.unwrap_or_else(|| panic!("{body}: the connection ended"));
        assert!(ended.status() == Some(400) || ended.kind == kind::RST_STREAM, "{body}: {ended:?}");
        is_served(&mut raw, 3).await;
        let seen = orders.seen().split_off(before);
        assert!(seen.iter().all(|seen| seen.method == "GET" || seen.progress != Progress::Whole), "{body}: {seen:?}");
    }
}

#[tokio::test]
async fn a_flood_of_streams_that_are_reset_at_once_ends_the_connection() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let mut raw = connect(&gateway).await;
    let block = fields(GOOD);
    let flood: Vec<u8> = (0..5_000)
        .flat_map(|number| [request(2 * number + 1, &block), frame(kind::RST_STREAM, 0, 2 * number + 1, &[0, 0, 0, 8])])
        .flatten()
        .collect();
    raw.write(flood).await;
    let goaway = raw.frame(|frame| frame.kind == kind::GOAWAY).await;
    assert_eq!(goaway.and_then(|frame| frame.code()), Some(11), "calm down");
    raw.end().await;
    is_served(&mut connect(&gateway).await, 1).await;
    assert!(orders.count() < 2_500, "{} of 5000 were let in", orders.count());
}

#[tokio::test]
async fn so_many_streams_at_a_time_and_no_more() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let gate = orders.holds();
    let mut raw = connect(&gateway).await;
    let block = fields(GOOD);
    raw.write((0..129).flat_map(|number| request(2 * number + 1, &block)).collect::<Vec<_>>()).await;
    let refused = raw.frame(|frame| frame.kind == kind::RST_STREAM).await.expect("the 129th is refused");
    assert_eq!((refused.stream, refused.code()), (257, Some(7)));
    orders.sees_requests(128).await;
    gate.open();
    for _ in 0..128 {
        assert_eq!(raw.frame(|frame| frame.kind == kind::HEADERS).await.unwrap().status(), Some(200));
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &format!("server = {{ head_bytes = \"8KiB\", head_fields = 20 }}\n{SHOP}"));
    let connection = gateway.http2().await;
    let many = (0..30).fold(connection.get("/"), |call, number| call.field(&format!("x-{number}"), "y"));
    many.await.is(431);
    connection.get("/").field("x", &"y".repeat(9_000)).await.is(431);
    connection.get("/").await.is(200);
    assert_eq!(orders.count(), 1);
}

#[tokio::test]
async fn a_client_that_is_silent_is_not_waited_for() {
    let orders = upstream("orders");
    let text = format!("server = {{ head_timeout = \"300ms\", idle_timeout = \"300ms\" }}\n{SHOP}");
    let gateway = gateway([&orders], &text);
    let half = frame(kind::HEADERS, 0, 1, &fields(GOOD));
    for bytes in [&b""[..], &PREFACE[..30], PREFACE, &[PREFACE, &half[..12]].concat(), &[PREFACE, &half].concat()] {
        let mut raw = gateway.raw().await;
        raw.write(bytes).await.end().await;
    }
    let mut raw = connect(&gateway).await;
    is_served(&mut raw, 1).await;
    let word = raw.frame(|frame| frame.kind == kind::GOAWAY).await.expect("which requests are answered");
    assert_eq!((&word.payload[..4], word.code()), (&[0, 0, 0, 1][..], Some(0)));
    assert_eq!(raw.end().await, b"");
    // One that keeps saying that it is there, and asks for nothing.
    let mut raw = connect(&gateway).await;
    while raw.is_silent_for(Duration::from_millis(20)).await {
        raw.write(frame(kind::PING, 0, 0, b"at home?")).await;
    }
    raw.end().await;
}

#[tokio::test]
async fn a_body_that_pauses_is_408() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &format!("server = {{ body_timeout = \"300ms\" }}\n{SHOP}"));
    let (call, mut writer) = gateway.http2().await.call("POST", "/").streamed();
    let sending = tokio::spawn(call.into_future());
    writer.write("half").await;
    sending.await.unwrap().is(408);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_413() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &format!("{SHOP}body = \"1KiB\""));
    let connection = gateway.http2().await;
    connection.call("POST", "/").body(vec![b'x'; 1024]).await.is(200);
    connection.call("POST", "/").field("content-length", "1025").body(vec![b'x'; 1025]).await.is(413);
    let (call, mut writer) = connection.call("POST", "/").streamed();
    let sending = tokio::spawn(call.into_future());
    orders.sees_requests(2).await;
    writer.write(vec![b'x'; 1025]).await;
    sending.await.unwrap().is(413);
    connection.get("/").await.is(200);
}
