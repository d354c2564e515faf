//! Services that speak HTTP/2, and gRPC through it end to end.

use gatewright_tests::frames::{END_HEADERS, END_STREAM, fields, frame, kind};
use gatewright_tests::{
    Gateway, Progress, Raw, RawUpstream, Reply, Upstream, gateway, raw_upstream, setup, until, upstream,
};
use http::Version;

use crate::command::gatewright;
use crate::upgrades::upgrade;

const SHOP: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n";

fn speaking_http2(orders: &Upstream, more: &str) -> Gateway {
    gateway([orders], &format!("server.workers = 1\nservice.orders.http2 = true\n{more}{SHOP}"))
}

#[tokio::test]
async fn a_service_is_spoken_to_in_http_2_by_setting() {
    let orders = upstream("orders");
    let gateway = speaking_http2(&orders, "");
    for connection in [gateway.http1().await, gateway.http2().await] {
        connection.call("POST", "/a?b=c").field("te", "trailers").body("hello").await.is(200).says("orders");
    }
    for seen in orders.seen() {
        assert_eq!((seen.version, seen.text().as_str()), (Version::HTTP_2, "hello"));
        assert_eq!(seen.target, "http://shop.example/a?b=c");
        assert_eq!((seen.field("host"), seen.field("connection")), (None, None));
        assert_eq!(seen.field("te"), Some("trailers"));
    }
    assert_eq!(orders.count(), 2);
}

#[tokio::test]
async fn many_requests_share_one_connection() {
    let orders = upstream("orders");
    let gateway = speaking_http2(&orders, "");
    let gate = orders.holds();
    let connection = gateway.http2().await;
    let calls: Vec<_> = (0..20).map(|n| tokio::spawn(connection.get(&format!("/{n}")).into_future())).collect();
    orders.sees_requests(20).await;
    gate.open();
    for call in calls {
        call.await.unwrap().is(200);
    }
    assert_eq!(orders.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_broke_is_replaced() {
    let orders = upstream("orders");
    let gateway = speaking_http2(&orders, "");
    gateway.get("/").await.is(200);
    orders.kill().await;
    gateway.get("/").await.is(502);
    orders.start();
    until("it is there again", async || (gateway.get("/").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn upgrades_go_in_http_1_1_all_the_same() {
    let orders = upstream("orders");
    let gateway = speaking_http2(&orders, "");
    orders.answers(|_| Reply::echo("websocket"));
    upgrade(gateway.raw().await).await;
}

#[tokio::test]
async fn a_call_of_grpc_has_its_trailers() {
    let orders = upstream("orders");
    let gateway = speaking_http2(&orders, "");
    let (reply, mut writer) = Reply::streamed();
    orders.answers_once(reply.field("content-type", "application/grpc"));
    let client = gateway.http2().await;
    let call =
        client.call("POST", "/shop.Orders/Get").field("content-type", "application/grpc").field("te", "trailers");
    let call = tokio::spawn(call.body("\0\0\0\0\x01a").into_future());
    writer.write("\0\0\0\0\x01b").await;
    writer.trailers(&[("grpc-status", "5"), ("grpc-message", "none")]).await;
    let answer = call.await.unwrap().is(200).says("\0\0\0\0\x01b");
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "5");
    assert_eq!(orders.only().field("te"), Some("trailers"));
}

#[tokio::test]
async fn a_stream_of_grpc_passes_both_ways_message_by_message() {
    let orders = upstream("orders");
    let gateway = speaking_http2(&orders, "");
    let (reply, mut answers) = Reply::streamed();
    orders.answers_once(reply.early());
    let client = gateway.http2().await;
    let (call, mut questions) = client.call("POST", "/shop.Orders/Chat").field("te", "trailers").streamed();
    let mut coming = call.coming().await.unwrap();
    for message in ["one", "two", "three"] {
        questions.write(message).await;
        orders.sees(message, |seen| seen.text().ends_with(message)).await;
        answers.write(message).await;
        assert_eq!(coming.chunk().await.unwrap().as_deref(), Some(message));
    }
    questions.end();
    orders.sees("the end", |seen| seen.progress == Progress::Whole).await;
    answers.trailers(&[("grpc-status", "0")]).await;
    assert_eq!(coming.whole().await.unwrap().trailers.unwrap()["grpc-status"], "0");
}

const PINGED: &str = r#"
    server.workers = 1
    service.orders = { http2 = true, http2_ping = "100ms", http2_ping_timeout = "100ms", timeout = "1h", idle_timeout = "1h" }
    [[api]]
    name = "shop"
    service = "orders"
"#;

/// The service's end of the next connection, up to the gateway's first request.
pub(crate) async fn asked(orders: &RawUpstream) -> Raw {
    let mut raw = orders.accept().await;
    raw.until("SM\r\n\r\n").await;
    raw.write(frame(kind::SETTINGS, 0, 0, &[])).await;
    raw.frame(|frame| frame.kind == kind::HEADERS).await.unwrap();
    raw
}

/// Answers the first request with the entry of the static table for status 200 (RFC 7541, appendix A).
async fn answer(raw: &mut Raw) {
    raw.write(frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &[0x88])).await;
}

#[tokio::test]
async fn a_connection_that_went_silent_under_a_request_is_left() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], PINGED);
    let lost = tokio::spawn(gateway.get("/").into_future());
    let _silent = orders.accept().await;
    lost.await.unwrap().is(502);
    let next = tokio::spawn(gateway.get("/").into_future());
    answer(&mut asked(&orders).await).await;
    next.await.unwrap().is(200);
}

#[tokio::test]
async fn a_connection_that_went_silent_while_it_was_idle_costs_no_request() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], PINGED);
    let first = tokio::spawn(gateway.get("/").into_future());
    let mut silent = asked(&orders).await;
    answer(&mut silent).await;
    first.await.unwrap().is(200);
    until("it is closed", async || (gateway.service("orders").await["connections"] == 0).then_some(())).await;
    let next = tokio::spawn(gateway.get("/").into_future());
    answer(&mut asked(&orders).await).await;
    next.await.unwrap().is(200);
}

#[tokio::test]
async fn a_connection_whose_service_answers_pings_is_kept() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], PINGED);
    let slow = tokio::spawn(gateway.get("/").into_future());
    let mut raw = asked(&orders).await;
    for _ in 0..3 {
        let ping = raw.frame(|frame| frame.kind == kind::PING && frame.flags == 0).await.unwrap();
        raw.write(frame(kind::PING, 1, 0, &ping.payload)).await;
    }
    answer(&mut raw).await;
    slow.await.unwrap().is(200);
}

#[tokio::test]
async fn an_answer_that_has_all_its_bytes_is_whole_before_its_service_says_so() {
    let orders = raw_upstream("orders");
    let mut program = gatewright().start(setup(PINGED).to(&orders)).await;
    let call = tokio::spawn(program.get("/").into_future());
    let mut raw = asked(&orders).await;
    raw.write(frame(kind::HEADERS, END_HEADERS, 1, &fields([(":status", "200"), ("content-length", "2")]))).await;
    raw.write(frame(kind::DATA, 0, 1, b"ok")).await;
    call.await.unwrap().is(200).says("ok");
    let line = program.line().await;
    assert!(line["bytes"] == 2 && line["reason"].is_null(), "{line}");
    raw.write(frame(kind::DATA, END_STREAM, 1, &[])).await;
}
