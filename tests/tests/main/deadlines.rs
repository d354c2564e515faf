//! How long all of a request may take.

use gatewright_tests::{Reply, gateway, upstream};

const SHOP: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n";
const SHORT: &str = "request_timeout = \"300ms\"\n";

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_504() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &format!("{SHOP}{SHORT}"));
    let _gate = orders.holds();
    gateway.get("/").await.is(504).problem("The request took too long").tells("proxy-status", "http_response_timeout");
    // Nor does a client gain time by sending its body slowly.
    let (call, _writer) = gateway.post("/").streamed();
    call.await.is(504);
    orders.answers(|_| Reply::text("orders"));
    gateway.get("/").await.is(200);
}

#[tokio::test]
async fn an_answer_that_has_begun_is_cut_off() {
    let orders = upstream("orders");
    for (more, whole) in [("", true), (SHORT, false)] {
        let gateway = gateway([&orders], &format!("{SHOP}{more}"));
        for connection in [gateway.http1().await, gateway.http2().await] {
            let (reply, mut writer) = Reply::streamed();
            orders.answers_once(reply);
            let mut coming = connection.get("/").coming().await.unwrap();
            let began = tokio::time::Instant::now();
            let ended = loop {
                writer.offer("x", std::time::Duration::from_millis(20)).await;
                match coming.chunk().await {
                    Ok(Some(_)) if began.elapsed() < std::time::Duration::from_secs(1) => {}
                    Ok(_) => break true,
                    Err(_) => break false,
                }
            };
            assert_eq!(ended, whole);
        }
    }
}

#[tokio::test]
async fn an_upgraded_connection_has_no_such_end() {
    let orders = upstream("orders");
    orders.answers(|_| Reply::echo("chat"));
    let gateway = gateway([&orders], &format!("{SHOP}{SHORT}"));
    let mut raw = gateway.raw().await;
    raw.write("GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n").await;
    raw.answer().await.is(101);
    assert!(raw.is_silent_for(std::time::Duration::from_millis(600)).await);
    raw.write("hello").await;
    assert_eq!(raw.bytes(5).await, b"hello");
}
