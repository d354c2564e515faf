//! Fields behind a body, on the way to a service and back.

use gatewright_tests::{Progress, Reply, gateway, raw_upstream, upstream};

const SHOP: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n";

#[tokio::test]
async fn trailers_go_both_ways() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let (reply, down) = Reply::streamed();
    orders.answers_once(reply.field("trailer", "x-status"));
    let (call, up) = gateway.post("/").field("te", "trailers").field("trailer", "x-sum").streamed();
    up.trailers(&[("x-sum", "0")]).await;
    let sending = tokio::spawn(call.into_future());
    orders.sees("the end", |seen| seen.progress == Progress::Whole).await;
    down.trailers(&[("x-status", "fine")]).await;
    let answer = sending.await.unwrap().is(200);
    assert_eq!(orders.only().trailers.unwrap()["x-sum"], "0");
    assert_eq!(answer.trailers.unwrap()["x-status"], "fine");
}

#[tokio::test]
async fn no_request_behind_trailers_is_answered_even_if_they_come_behind_the_answer() {
    const BEGUN: &str = "POST / HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    const NEXT: &str = "GET /next HTTP/1.1\r\nhost: shop.example\r\n\r\n";
    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let mut client = gateway.raw().await;
    client.write(BEGUN).await;
    let mut service = orders.accept().await;
    // A body that has come whole, without any: the connection goes on.
    service.until("hello\r\n").await;
    client.write("0\r\n\r\n").await;
    service.until("0\r\n\r\n").await;
    service.write(OK).await;
    assert_eq!(client.answer().await.is(200).field("connection"), None);
    // The service has heard enough, and nobody knows yet what will follow.
    client.write(BEGUN).await;
    service.until("hello\r\n").await;
    service.write(OK).await;
    assert_eq!(client.answer().await.is(200).field("connection"), Some("close"));
    client.write(["0\r\nx-sum: 1\r\n\r\n", NEXT].concat()).await;
    assert!(client.end().await.is_empty());
}

#[tokio::test]
async fn trailers_cannot_smuggle_identity() {
    let orders = upstream("orders");
    let text = format!(
        "{SHOP}anonymous = true\n[[api.auth]]\nplugin = \"jwt\"\nsettings = {{ keys = \"demo\", headers = {{ x-user = \"sub\" }} }}"
    );
    let gateway = gateway([&orders], &text);
    let (call, up) = gateway.post("/").field("trailer", "x-user").streamed();
    up.trailers(&[("x-user", "root"), ("x-sum", "1")]).await;
    call.await.is(200);
    let trailers = orders.only().trailers.unwrap_or_default();
    assert!(!trailers.contains_key("x-user"), "{trailers:?}");
}
