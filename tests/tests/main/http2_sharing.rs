//! What many clients have on one connection of HTTP/2 to a service, and what one of them does to the others: nothing.

use std::time::Duration;

use gatewright_tests::frames::{END_HEADERS, END_STREAM, Frame, fields, frame, kind};
use gatewright_tests::{Gateway, Hearer, Raw, gateway, raw_upstream, reference, setup};

use crate::http2::{GOOD, connect, request};
use crate::http2_service_streams::{POST, SHOP, in_flight};
use crate::http2_services::asked;

/// The largest part (RFC 9113, section 4.2).
const PART: usize = 16 * 1024;

/// Begins an answer.
async fn begin(service: &mut Raw, stream: u32) {
    service.write(frame(kind::HEADERS, END_HEADERS, stream, &[0x88])).await;
}

/// A request on the shared connection is answered as if nothing had happened on it.
async fn is_served(gateway: &Gateway, service: &mut Raw) {
    let next = tokio::spawn(gateway.get("/").into_future());
    let head = head(service).await;
    service.write(frame(kind::HEADERS, END_HEADERS | END_STREAM, head.stream, &[0x88])).await;
    next.await.unwrap().is(200);
}

/// The next request's head.
async fn head(service: &mut Raw) -> Frame {
    service.frame(|frame| frame.kind == kind::HEADERS).await.expect("a request")
}

/// How often the endpoint broke off.
async fn resets(gateway: &Gateway) -> u64 {
    gateway.service("orders").await["endpoints"][0]["failures"]["reset"].as_u64().expect("a count")
}

#[tokio::test]
async fn what_clients_do_not_read_keeps_no_others_answer_from_coming() {
    /// What one stream may bring unread, and more streams than a window of a few MiB is enough for.
    const UNREAD: usize = 256 * 1024;
    const STREAMS: usize = 40;
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let mut client = connect(&gateway).await;
    let mut service = None;
    for number in 0..STREAMS {
        client.write(request(u32::try_from(2 * number + 1).unwrap(), &fields(GOOD))).await;
        let service = match &mut service {
            None => {
                let service = service.insert(asked(&orders).await);
                // From now on the gateway's windows are as large as it said.
                service.write(frame(kind::SETTINGS, 1, 0, &[])).await
            }
            Some(service) => {
                head(service).await;
                service
            }
        };
        let stream = u32::try_from(2 * number + 1).unwrap();
        begin(service, stream).await;
        for _ in 0..UNREAD / PART {
            service.write(frame(kind::DATA, 0, stream, &[b'x'; PART])).await;
        }
    }
    is_served(&gateway, &mut service.unwrap()).await;
}

#[tokio::test]
async fn requests_that_are_given_up_do_not_pile_up_before_a_busy_service() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let client = Hearer::connect(gateway.address).await;
    let first = client.get("/1").await;
    let mut service = orders.accept().await;
    service.until("SM\r\n\r\n").await;
    service.write(frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1])).await;
    assert_eq!(head(&mut service).await.stream, 1);
    service.frame(|frame| frame.kind == kind::SETTINGS && frame.flags == 1).await.expect("it is known");
    for _ in 0..20 {
        let given_up = client.get("/2").await;
        in_flight(&gateway, 2).await;
        drop(given_up);
        in_flight(&gateway, 1).await;
    }
    let last = client.get("/3").await;
    in_flight(&gateway, 2).await;
    service.write(frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &[0x88])).await;
    assert_eq!(first.answer().await.status(), 200);
    // One of those stood in line already.
    assert_eq!([head(&mut service).await.stream, head(&mut service).await.stream], [3, 5]);
    service.write(frame(kind::HEADERS, END_HEADERS | END_STREAM, 5, &[0x88])).await;
    assert_eq!(last.answer().await.status(), 200);
}

#[tokio::test]
async fn nor_before_one_that_reads_nothing() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let (call, mut writer) = gateway.post("/").streamed();
    let posting = tokio::spawn(call.into_future());
    let mut service = orders.accept().await;
    service.until("SM\r\n\r\n").await;
    // It may be sent as much as there is, and then it reads none of it.
    service.write(frame(kind::SETTINGS, 0, 0, &[0, 4, 0x3f, 0, 0, 0])).await;
    service.write(frame(kind::WINDOW_UPDATE, 0, 0, &[0x3f, 0, 0, 0])).await;
    head(&mut service).await;
    while writer.offer(vec![b'x'; PART], Duration::from_millis(300)).await {}
    let client = Hearer::connect(gateway.address).await;
    for _ in 0..20 {
        let given_up = client.get("/1").await;
        in_flight(&gateway, 2).await;
        drop(given_up);
        in_flight(&gateway, 1).await;
    }
    let last = client.get("/2").await;
    in_flight(&gateway, 2).await;
    posting.abort();
    let head = head(&mut service).await;
    assert_eq!(head.stream, 3, "the service hears nothing of the others");
    service.write(frame(kind::HEADERS, END_HEADERS | END_STREAM, head.stream, &[0x88])).await;
    assert_eq!(last.answer().await.status(), 200);
}

#[tokio::test]
async fn who_waits_on_a_connection_that_is_left_goes_to_the_next() {
    let orders = raw_upstream("orders");
    // What is wanted quickly comes first.
    let text = r#"
        server.workers = 1
        service.orders.http2 = true
        [[api]]
        name = "shop"
        services = ["orders"]
        [api.routing]
        plugin = "versions"
        [api.routing.settings]
        [[api.routing.settings.routes]]
        path = "/quick"
        service = "orders"
        timeout_ms = 300
        [[api.routing.settings.routes]]
        path = "/{*rest}"
        service = "orders"
    "#;
    let gateway = setup(text).plugin("versions", &reference("versions")).to(&orders).start();
    let client = Hearer::connect(gateway.address).await;
    let quick = client.get("/quick").await;
    let mut service = orders.accept().await;
    service.until("SM\r\n\r\n").await;
    service.write(frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1])).await;
    head(&mut service).await;
    service.frame(|frame| frame.kind == kind::SETTINGS && frame.flags == 1).await.expect("it is known");
    let _first = client.get("/first").await;
    in_flight(&gateway, 2).await;
    let second = client.get("/second").await;
    in_flight(&gateway, 3).await;
    assert_eq!(quick.answer().await.status(), 504);
    let mut next = asked(&orders).await;
    next.write(frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &[0x88])).await;
    assert_eq!(second.answer().await.status(), 200);
}

#[tokio::test]
async fn what_a_service_says_to_clients_that_have_left_ends_no_connection() {
    const CLIENTS: usize = 4;
    const REQUESTS: usize = 100;
    const WAVES: usize = 4;
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let first = tokio::spawn(gateway.get("/").into_future());
    let mut service = asked(&orders).await;
    service.write(frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &[0x88])).await;
    first.await.unwrap().is(200);
    for _ in 0..WAVES {
        let mut leaving = Vec::new();
        for _ in 0..CLIENTS {
            let client = Hearer::connect(gateway.address).await;
            for _ in 0..REQUESTS {
                leaving.push(client.get("/").await);
            }
        }
        let mut streams = Vec::new();
        for _ in 0..CLIENTS * REQUESTS {
            streams.push(head(&mut service).await.stream);
        }
        drop(leaving);
        for _ in &streams {
            service.frame(|frame| frame.kind == kind::RST_STREAM).await.expect("its client has left");
        }
        // It did not know yet.
        for stream in streams {
            begin(&mut service, stream).await;
            service.write(frame(kind::DATA, END_STREAM, stream, b"late")).await;
        }
        is_served(&gateway, &mut service).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_reset_is_not_whole_whatever_the_reason() {
    // RFC 9113, section 7.
    let [no_error, internal_error, refused_stream, cancel, enhance_your_calm] = [0_u32, 2, 7, 8, 11];
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let mut client = connect(&gateway).await;
    let mut http1 = gateway.raw().await;
    http1.write("GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n").await;
    let mut service = asked(&orders).await;
    begin(&mut service, 1).await;
    service.write(frame(kind::DATA, 0, 1, b"half")).await;
    http1.until("half\r\n").await;
    service.write(frame(kind::RST_STREAM, 0, 1, &[0; 4])).await;
    assert_eq!(http1.end().await, b"", "no last chunk");
    assert_eq!(resets(&gateway).await, 1);
    let told = [
        (no_error, internal_error),
        // The client would take it for leave to ask again.
        (refused_stream, internal_error),
        (enhance_your_calm, internal_error),
        (cancel, cancel),
    ];
    for (number, (code, told)) in (0..).zip(told) {
        client.write(request(2 * number + 1, &fields(GOOD))).await;
        let stream = head(&mut service).await.stream;
        begin(&mut service, stream).await;
        service.write(frame(kind::DATA, 0, stream, b"half")).await;
        client.frame(|frame| frame.kind == kind::DATA).await.expect("half an answer");
        service.write(frame(kind::RST_STREAM, 0, stream, &code.to_be_bytes())).await;
        let end = client.frame(|frame| frame.kind == kind::RST_STREAM || frame.flags & END_STREAM != 0).await.unwrap();
        assert_eq!((end.kind, end.code()), (kind::RST_STREAM, Some(told)), "{code}");
    }
}

/// Posts half of a body that will be too long.
async fn post(gateway: &Gateway) -> Raw {
    let mut client = gateway.raw().await;
    client.write(POST).await.write("5\r\nhello\r\n").await;
    client
}

#[tokio::test]
async fn a_request_that_breaks_off_while_it_is_answered_is_not_the_services_fault() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], &format!("{SHOP}body = 8\n"));
    let mut client = post(&gateway).await;
    let mut service = asked(&orders).await;
    service.frame(|frame| frame.kind == kind::DATA).await.expect("its first part");
    begin(&mut service, 1).await;
    service.write(frame(kind::DATA, 0, 1, b"half")).await;
    client.until("half\r\n").await;
    client.write("5\r\nhello\r\n").await;
    client.end().await;
    let reset = service.frame(|frame| frame.kind == kind::RST_STREAM).await.expect("a reset");
    assert_eq!(reset.code(), Some(8));
    assert_eq!(resets(&gateway).await, 0, "the client is to blame");
}

#[tokio::test]
async fn nor_is_it_over_http_1() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], "[[api]]\nname = \"shop\"\nservice = \"orders\"\nbody = 8\n");
    let mut client = post(&gateway).await;
    let mut service = orders.accept().await;
    service.until("hello\r\n").await;
    service.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    client.until("half\r\n").await;
    client.write("5\r\nhello\r\n").await;
    client.end().await;
    service.end().await;
    assert_eq!(resets(&gateway).await, 0, "the client is to blame");
}

#[tokio::test]
async fn an_upload_that_nobody_takes_behind_its_answer_ends() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], &format!("service.orders.body_timeout = \"100ms\"\n{SHOP}"));
    // More than the window of the service.
    let call = tokio::spawn(gateway.post("/").body(vec![b'x'; 100_000]).into_future());
    let mut service = asked(&orders).await;
    service.write(frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &[0x88])).await;
    call.await.unwrap().is(200);
    let reset = service.frame(|frame| frame.kind == kind::RST_STREAM).await.expect("a reset");
    assert_eq!((reset.stream, reset.code()), (1, Some(8)));
}
