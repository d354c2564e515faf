//! Streams of a connection of HTTP/2 to a service: how they begin, wait and end.

use gatewright_tests::frames::{END_HEADERS, END_STREAM, Frame, fields, frame, kind};
use gatewright_tests::{Gateway, Hearer, Raw, RawUpstream, gateway, raw_upstream, until};

use crate::http2_services::asked;

pub(crate) const SHOP: &str =
    "server.workers = 1\nservice.orders.http2 = true\n[[api]]\nname = \"shop\"\nservice = \"orders\"\n";
pub(crate) const POST: &str = "POST / HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n";
/// RFC 9113, section 7.
const CANCEL: Option<u32> = Some(8);

/// The service's end of the next connection, on which it takes one stream at a time, up to the first request.
async fn asked_one_by_one(orders: &RawUpstream) -> Raw {
    let mut service = orders.accept().await;
    service.until("SM\r\n\r\n").await;
    service.write(frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1])).await;
    head(&mut service, 1).await;
    service
}

/// Reads up to a stream's head.
async fn head(service: &mut Raw, stream: u32) -> Frame {
    service.frame(|frame| frame.kind == kind::HEADERS && frame.stream == stream).await.expect("a request")
}

/// Answers with nothing but a status.
async fn answer(service: &mut Raw, stream: u32) {
    service.write(frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &[0x88])).await;
}

/// Why this stream was reset.
async fn reset(service: &mut Raw, stream: u32) -> Option<u32> {
    service.frame(|frame| frame.kind == kind::RST_STREAM && frame.stream == stream).await.expect("a reset").code()
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_reset() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let client = Hearer::connect(gateway.address).await;
    let hearing = client.get("/").await;
    let mut service = asked(&orders).await;
    drop(hearing);
    assert_eq!(reset(&mut service, 1).await, CANCEL, "before its answer");
    let mut hearing = client.get("/").await;
    head(&mut service, 3).await;
    service.write(frame(kind::HEADERS, END_HEADERS, 3, &fields([(":status", "200")]))).await;
    assert!(hearing.interim().await.is_none());
    drop(hearing);
    assert_eq!(reset(&mut service, 3).await, CANCEL, "within it");
    // With a body on its way.
    let mut client = Raw::connect(gateway.address).await;
    client.write(POST).await.write("5\r\nhello\r\n").await;
    head(&mut service, 5).await;
    drop(client);
    assert_eq!(reset(&mut service, 5).await, CANCEL);
    let next = tokio::spawn(gateway.get("/").into_future());
    head(&mut service, 7).await;
    answer(&mut service, 7).await;
    next.await.unwrap().is(200);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_the_clients_fault() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], &format!("{SHOP}body = 8\n"));
    let mut client = Raw::connect(gateway.address).await;
    client.write(POST).await.write("5\r\nhello\r\n").await;
    let mut service = asked(&orders).await;
    let data = service.frame(|frame| frame.kind == kind::DATA).await.expect("its first part");
    assert_eq!(data.payload, b"hello");
    client.write("5\r\nhello\r\n").await;
    client.answer().await.is(413);
    assert_eq!(reset(&mut service, 1).await, CANCEL);
    assert_eq!(gateway.service("orders").await["connections"], 1, "it is none of the connection's");
}

#[tokio::test]
async fn requests_wait_until_the_service_takes_another_stream() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let client = Hearer::connect(gateway.address).await;
    let first = client.get("/1").await;
    let mut service = asked_one_by_one(&orders).await;
    service.frame(|frame| frame.kind == kind::SETTINGS && frame.flags == 1).await.expect("it is known");
    let mut hearings = Vec::new();
    for number in 2..5 {
        hearings.push(client.get(&format!("/{number}")).await);
        in_flight(&gateway, number).await;
    }
    // The first in line has its stream already, and is given up: the others do not suffer from that.
    drop(hearings.remove(0));
    in_flight(&gateway, 3).await;
    answer(&mut service, 1).await;
    assert_eq!(first.answer().await.status(), 200);
    head(&mut service, 3).await;
    assert_eq!(reset(&mut service, 3).await, CANCEL);
    for (stream, hearing) in [5, 7].into_iter().zip(hearings) {
        head(&mut service, stream).await;
        answer(&mut service, stream).await;
        assert_eq!(hearing.answer().await.status(), 200);
    }
}

#[tokio::test]
async fn a_service_may_take_more_streams_than_it_said_before() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let client = Hearer::connect(gateway.address).await;
    let mut hearings = vec![client.get("/1").await];
    let mut service = asked_one_by_one(&orders).await;
    service.frame(|frame| frame.kind == kind::SETTINGS && frame.flags == 1).await.expect("it is known");
    for number in 2..5 {
        hearings.push(client.get(&format!("/{number}")).await);
        in_flight(&gateway, number).await;
    }
    // Two more, although nothing is answered.
    service.write(frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 3])).await;
    head(&mut service, 3).await;
    head(&mut service, 5).await;
    answer(&mut service, 5).await;
    head(&mut service, 7).await;
    for stream in [1, 3, 7] {
        answer(&mut service, stream).await;
    }
    for hearing in hearings {
        assert_eq!(hearing.answer().await.status(), 200);
    }
}

/// Waits until so many requests are at the service, or wait for it.
pub(crate) async fn in_flight(gateway: &Gateway, count: usize) {
    until("they are in flight", async || (gateway.service("orders").await["in_flight"] == count).then_some(())).await;
}

#[tokio::test]
async fn a_request_that_was_not_sent_goes_on_the_next_connection() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let client = Hearer::connect(gateway.address).await;
    let first = client.get("/1").await;
    let mut service = asked_one_by_one(&orders).await;
    service.frame(|frame| frame.kind == kind::SETTINGS && frame.flags == 1).await.expect("it is known");
    let second = client.get("/2").await;
    in_flight(&gateway, 2).await;
    let third = client.get("/3").await;
    in_flight(&gateway, 3).await;
    // The second has a stream that the service never takes; the third waits for one.
    service.write(frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])).await;
    let mut other = asked(&orders).await;
    for stream in [1, 3] {
        if stream > 1 {
            head(&mut other, stream).await;
        }
        answer(&mut other, stream).await;
    }
    for hearing in [second, third] {
        assert_eq!(hearing.answer().await.status(), 200);
    }
    let failures = gateway.service("orders").await["endpoints"][0]["failures"]["reset"].clone();
    assert_eq!(failures, 0, "nothing went wrong");
    answer(&mut service, 1).await;
    assert_eq!(first.answer().await.status(), 200, "what it took it may answer");
}

#[tokio::test]
async fn a_stream_that_is_refused_is_asked_for_again_but_not_for_ever() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let call = tokio::spawn(gateway.post("/").into_future());
    let mut service = asked(&orders).await;
    service.write(frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 7])).await;
    head(&mut service, 3).await;
    answer(&mut service, 3).await;
    call.await.unwrap().is(200);
    let refused = tokio::spawn(gateway.get("/").into_future());
    for stream in [5, 7, 9, 11] {
        head(&mut service, stream).await;
        service.write(frame(kind::RST_STREAM, 0, stream, &[0, 0, 0, 7])).await;
    }
    refused.await.unwrap().is(502);
    let next = tokio::spawn(gateway.get("/").into_future());
    head(&mut service, 13).await;
    answer(&mut service, 13).await;
    next.await.unwrap().is(200);
}

#[tokio::test]
async fn a_request_body_comes_as_the_service_opens_its_window() {
    /// What a stream and a connection may carry before a word of the service (RFC 9113, section 6.9.2).
    const WINDOW: usize = 65_535;
    const BYTES: usize = 100_000;
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let call = tokio::spawn(gateway.post("/").body(vec![b'x'; BYTES]).into_future());
    let mut service = asked(&orders).await;
    data(&mut service, WINDOW).await;
    service.write(frame(kind::PING, 0, 0, b"no more?")).await;
    let next = service.frame(|frame| [kind::DATA, kind::PING].contains(&frame.kind)).await.expect("an answer");
    assert_eq!(next.kind, kind::PING, "no more than that");
    for stream in [0, 1] {
        service.write(frame(kind::WINDOW_UPDATE, 0, stream, &[0, 1, 0, 0])).await;
    }
    assert!(data(&mut service, BYTES - WINDOW).await, "that is all");
    answer(&mut service, 1).await;
    call.await.unwrap().is(200);
}

/// Reads so many bytes of a body; whether its stream ends with the last.
async fn data(service: &mut Raw, bytes: usize) -> bool {
    let mut left = bytes;
    loop {
        let frame = service.frame(|frame| frame.kind == kind::DATA).await.expect("a part of the body");
        left = left.checked_sub(frame.payload.len()).expect("no more than that");
        if left == 0 {
            return frame.flags & END_STREAM != 0;
        }
    }
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], &format!("service.orders.idle_timeout = \"50ms\"\n{SHOP}"));
    let call = tokio::spawn(gateway.get("/").into_future());
    let mut service = asked(&orders).await;
    answer(&mut service, 1).await;
    call.await.unwrap().is(200);
    let ended = service.frame(|frame| frame.kind == kind::GOAWAY).await.expect("a word of it");
    assert_eq!(ended.code(), Some(0));
    service.end().await;
}

#[tokio::test]
async fn an_upload_goes_on_behind_an_answer_that_is_whole() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let mut client = Raw::connect(gateway.address).await;
    client.write(POST).await.write("5\r\nhello\r\n").await;
    let mut service = asked(&orders).await;
    data(&mut service, 5).await;
    answer(&mut service, 1).await;
    client.answer().await.is(200);
    client.write("3\r\nyou\r\n0\r\n\r\n").await;
    data(&mut service, 3).await;
}

#[tokio::test]
async fn a_service_may_answer_and_want_no_more() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let mut client = Raw::connect(gateway.address).await;
    client.write(POST).await.write("5\r\nhello\r\n").await;
    let mut service = asked(&orders).await;
    let head = frame(kind::HEADERS, END_HEADERS, 1, &fields([(":status", "200"), ("content-length", "2")]));
    let rest = [frame(kind::DATA, END_STREAM, 1, b"ok"), frame(kind::RST_STREAM, 0, 1, &[0; 4])].concat();
    service.write([head, rest].concat()).await;
    assert_eq!(client.answer().await.is(200).body, "ok");
}
