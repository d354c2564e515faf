//! Responses before the response (1xx).

use gatewright_tests::{RawUpstream, gateway, raw_upstream};

const SHOP: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";

/// Reads a request's head on the next connection, and answers it after these bytes.
async fn answer_after(orders: &RawUpstream, interim: &str) {
    let mut service = orders.accept().await;
    service.head().await;
    let answer = "HTTP/1.1 200 OK\r\nx-final: yes\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    service.write([interim, answer].concat()).await;
}

#[tokio::test]
async fn no_interim_response_of_a_service_is_taken_for_the_answer() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let call = tokio::spawn(gateway.get("/").into_future());
    answer_after(&orders, &[HINTS, "HTTP/1.1 102 Processing\r\n\r\n", HINTS].concat()).await;
    call.await.unwrap().is(200).has("x-final", "yes").lacks("link").says("ok");
    // Neither an HTTP/2 client nor one that never expected a 100 sees any.
    let http2 = gateway.http2().await;
    for interim in [HINTS, "HTTP/1.1 100 Continue\r\n\r\n"] {
        let call = tokio::spawn(http2.get("/").into_future());
        answer_after(&orders, interim).await;
        call.await.unwrap().is(200).lacks("link").says("ok");
    }
}

#[tokio::test]
async fn a_service_that_says_nothing_but_interim_responses_is_slow() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], &format!("service.orders.timeout = \"300ms\"\n{SHOP}"));
    let call = tokio::spawn(gateway.get("/").into_future());
    let mut service = orders.accept().await;
    service.head().await;
    while !call.is_finished() {
        service.write(HINTS).await;
        tokio::task::yield_now().await;
    }
    call.await.unwrap().is(504);
}

#[tokio::test]
async fn a_service_that_changes_the_protocol_unasked_is_refused() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let call = tokio::spawn(gateway.get("/").into_future());
    let mut service = orders.accept().await;
    service.head().await;
    service.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
    call.await.unwrap().is(502);
}
