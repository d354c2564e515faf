//! Is the request valid: bodies and query parameters by the `json-schema` plugin, and what any body is held to.

use gatewright_tests::{Gateway, Upstream, gateway, upstream};
use serde_json::json;

const ORDERS: &str = r#"
    [[api]]
    name = "shop"
    service = "orders"
    body = "4KiB"
    [[api.validation]]
    plugin = "json-schema"
    [api.validation.settings]
    most_bytes = 1024
    [[api.validation.settings.rules]]
    methods = ["POST"]
    path = "/orders"
    body = { type = "object", required = ["item", "quantity"], additionalProperties = false, properties = { item = { type = "string", minLength = 1 }, quantity = { type = "integer", minimum = 1, maximum = 100 } } }
    [[api.validation.settings.rules]]
    methods = ["GET"]
    path = "/orders"
    query = { page = { type = "integer", minimum = 1 } }
    query_required = ["page"]
    extra_query = "refuse"
"#;

fn shop() -> (Upstream, Gateway) {
    let orders = upstream("orders");
    let gateway = gateway([&orders], ORDERS);
    (orders, gateway)
}

#[tokio::test]
async fn a_valid_body_passes_unchanged() {
    let (orders, gateway) = shop();
    let body = "{ \"item\": \"caf\u{e9}\",\n  \"quantity\": 2 }";
    gateway.post("/orders").json(body).await.is(200);
    let seen = orders.only();
    assert_eq!(seen.text(), body);
    assert_eq!(seen.field("content-length"), Some(body.len().to_string().as_str()));
}

#[tokio::test]
async fn an_invalid_body_is_400_with_every_fault_and_its_pointer() {
    let (orders, gateway) = shop();
    let answer = gateway.post("/orders").json(r#"{"item": "", "quantity": 200, "price": 1}"#).await.is(400);
    let answer = answer.has("content-type", "application/problem+json");
    let problem = answer.json();
    let violations = problem["violations"].as_array().unwrap();
    let at = |pointer: &str| violations.iter().any(|one| one["in"] == "body" && one["at"] == pointer);
    assert!(at("/item") && at("/quantity"), "{answer}");
    assert!(violations.len() >= 3, "{answer}");
    assert_eq!(orders.count(), 0);
}

#[tokio::test]
async fn what_is_no_json_is_400() {
    let (orders, gateway) = shop();
    for body in ["", "{", "{\"item\": 1, \"item\": \"a\", \"quantity\": 1}", "nul"] {
        gateway.post("/orders").json(body).await.is(400);
    }
    assert_eq!(orders.count(), 0);
}

#[tokio::test]
async fn a_query_parameter_is_checked_as_its_type() {
    let (orders, gateway) = shop();
    gateway.get("/orders?page=2").await.is(200);
    for (query, name) in [("", "page"), ("?page=0", "page"), ("?page=two", "page"), ("?page=1&sort=id", "sort")] {
        let answer = gateway.get(&format!("/orders{query}")).await.is(400);
        let violation = &answer.json()["violations"][0];
        assert_eq!((&violation["in"], &violation["at"]), (&json!("query"), &json!(name)), "{query}: {answer}");
    }
    assert_eq!(orders.only().target, "/orders?page=2");
}

#[tokio::test]
async fn a_body_that_is_too_long_for_the_plugin_is_413() {
    let (orders, gateway) = shop();
    let long = format!("{{\"item\": \"{}\", \"quantity\": 1}}", "a".repeat(2000));
    gateway.post("/orders").json(&long).await.is(413).problem("The body is too long");
    // The same without a length.
    let (call, mut writer) = gateway.post("/orders").field("content-type", "application/json").streamed();
    let sending = tokio::spawn(call.into_future());
    writer.write(long.clone()).await;
    sending.await.unwrap().is(413);
    assert_eq!(orders.count(), 0);
}

#[tokio::test]
async fn a_body_that_is_too_long_for_the_api_is_413() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], "[[api]]\nname = \"shop\"\nservice = \"orders\"\nbody = \"1KiB\"");
    gateway.post("/").body(vec![b'a'; 1024]).await.is(200);
    gateway.post("/").body(vec![b'a'; 1025]).await.is(413).has("connection", "close");
    assert_eq!(orders.count(), 1);
    let (call, mut writer) = gateway.post("/").streamed();
    let sending = tokio::spawn(call.into_future());
    orders.sees_requests(2).await;
    writer.write(vec![b'a'; 1025]).await;
    sending.await.unwrap().is(413);
}

#[tokio::test]
async fn other_types_and_codings_are_415() {
    let (orders, gateway) = shop();
    let body = r#"{"item": "tea", "quantity": 1}"#;
    gateway.post("/orders").field("content-type", "text/plain").body(body).await.is(415);
    gateway.post("/orders").body(body).await.is(415);
    gateway.post("/orders").json(body).field("content-encoding", "gzip").await.is(415);
    gateway
        .post("/orders")
        .field("content-type", "application/merge-patch+json; charset=utf-8")
        .body(body)
        .await
        .is(200);
    assert_eq!(orders.count(), 1);
}

#[tokio::test]
async fn nothing_is_answered_behind_a_held_body_with_trailers() {
    let (orders, gateway) = shop();
    let mut raw = gateway.raw().await;
    let head = "POST /orders HTTP/1.1\r\nhost: shop.example\r\ncontent-type: application/json\r\n";
    // To whoever ends lines at a line feed, the trailer is a request of its own: each answer after the first would be another's.
    let chunks = "transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\nGET /b HTTP/1.1\r\nhost: shop.example\r\n\r\n";
    raw.write(format!("{head}{chunks}GET /orders?page=1 HTTP/1.1\r\nhost: shop.example\r\n\r\n")).await;
    assert_eq!(raw.answer().await.is(400).field("connection"), Some("close"));
    assert!(raw.end().await.is_empty());
    assert_eq!(orders.count(), 0);
}
