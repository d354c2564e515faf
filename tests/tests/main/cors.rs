//! What browsers are told of an API, so that pages of other origins may use it.

use gatewright_tests::{Call, Gateway, Reply, gateway, setup, upstream};

/// An API with everything that may stand in the way of a browser.
const SHOP: &str = r#"
    [[api]]
    name = "shop"
    paths = ["/shop"]
    service = "orders"
    body = "1KiB"
    auth = [{ plugin = "jwt", settings = { keys = "demo" } }]
    [api.cors]
    origins = ["https://shop.example", "https://*.shop.example"]
    methods = ["GET", "PUT"]
    headers = ["authorization", "x-own"]
    expose = ["x-request-id"]
    credentials = true
    max_age = "5m"
"#;

const ORIGIN: &str = "https://shop.example";

/// What a browser asks before it sends a `PUT`.
fn preflight(gateway: &Gateway, origin: &str) -> Call {
    let call = gateway.call("OPTIONS", "/shop/1").field("origin", origin);
    call.field("access-control-request-method", "PUT").field("access-control-request-headers", "authorization")
}

#[tokio::test]
async fn a_preflight_is_answered_before_auth_and_reaches_no_service() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    for origin in [ORIGIN, "https://a.shop.example"] {
        preflight(&gateway, origin)
            .await
            .is(204)
            .says("")
            .has("access-control-allow-origin", origin)
            .has("access-control-allow-methods", "GET, PUT")
            .has("access-control-allow-headers", "authorization, x-own")
            .has("access-control-allow-credentials", "true")
            .has("access-control-max-age", "300")
            .has("vary", "origin, access-control-request-method, access-control-request-headers")
            .lacks("access-control-expose-headers")
            .lacks("content-type");
    }
    let answered = r#"gatewright_requests_total{api="shop",outcome="cors",status="2xx"}"#;
    gateway.metric_is(answered, |count| count == 2.0).await;
    assert_eq!(orders.count(), 0);
}

#[tokio::test]
async fn a_preflight_works_over_http_2_too() {
    let gateway = gateway([&upstream("orders")], SHOP);
    let call = gateway.http2().await.call("OPTIONS", "/shop/1").field("origin", ORIGIN);
    let answer = call.field("access-control-request-method", "PUT").await.is(204);
    assert_eq!(answer.has("access-control-allow-origin", ORIGIN).version, http::Version::HTTP_2);
}

#[tokio::test]
async fn a_stranger_is_told_nothing() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    for origin in ["https://evil.example", "https://shop.example.evil.example", "http://shop.example", "null"] {
        let answer = preflight(&gateway, origin).await.is(204).tells("vary", "origin");
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{answer}");
        let answer = gateway.get("/shop").as_caller("ada").field("origin", origin).await.is(200);
        let answer = answer.has("vary", "origin").says("orders");
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{answer}");
    }
}

#[tokio::test]
async fn options_of_other_kinds_go_their_way() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    gateway.call("OPTIONS", "/shop").as_caller("ada").field("origin", ORIGIN).await.is(200).says("orders");
    gateway.call("OPTIONS", "/shop").field("access-control-request-method", "PUT").await.is(401);
    assert_eq!(orders.only().method, "OPTIONS");
}

#[tokio::test]
async fn a_services_own_words_to_browsers_are_replaced() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    orders.answers(|_| {
        let reply = Reply::text("x").field("access-control-allow-origin", "*").field("vary", "accept");
        reply.field("access-control-allow-methods", "DELETE").field("access-control-expose-headers", "x-secret")
    });
    gateway
        .get("/shop")
        .as_caller("ada")
        .field("origin", ORIGIN)
        .await
        .is(200)
        .has("access-control-allow-origin", ORIGIN)
        .has("access-control-allow-credentials", "true")
        .has("access-control-expose-headers", "x-request-id")
        .lacks("access-control-allow-methods")
        .tells("vary", "accept")
        .tells("vary", "origin");
    // Caches must keep the answers to others apart as well.
    gateway.get("/shop").as_caller("ada").await.is(200).lacks("access-control-allow-origin").tells("vary", "origin");
}

#[tokio::test]
async fn without_cors_a_service_speaks_for_itself() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], "[[api]]\nname = \"shop\"\nservice = \"orders\"");
    orders.answers(|seen| match seen.method.as_str() {
        "OPTIONS" => Reply::status(204).field("access-control-allow-methods", "DELETE"),
        _ => Reply::text("x").field("access-control-allow-origin", "*"),
    });
    preflight(&gateway, ORIGIN).await.is(204).has("access-control-allow-methods", "DELETE").lacks("vary");
    gateway.get("/").field("origin", ORIGIN).await.is(200).has("access-control-allow-origin", "*").lacks("vary");
}

#[tokio::test]
async fn a_problem_can_be_read_by_a_page() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let page = |call: Call| call.field("origin", ORIGIN);
    let readable = |answer: gatewright_tests::Answer| {
        answer.has("access-control-allow-origin", ORIGIN).has("vary", "origin").tells("content-type", "problem+json")
    };
    readable(page(gateway.get("/shop")).await.is(401));
    readable(page(gateway.get("/shop").bearer("nonsense")).await.is(401));
    readable(page(gateway.post("/shop").as_caller("ada").body(vec![b'x'; 1025])).await.is(413));
    orders.kill().await;
    readable(page(gateway.get("/shop").as_caller("ada")).await.is(502));
    // What belongs to no API has nobody who could say so.
    page(gateway.get("/elsewhere")).await.is(404).lacks("access-control-allow-origin");
}

#[tokio::test]
async fn limits_by_address_stand_before_preflights_and_limits_by_caller_behind() {
    let orders = upstream("orders");
    let limit = |by: &str| {
        let limit = format!("limit = [{{ name = \"few\", by = \"{by}\", requests = 2, per = \"1h\" }}]\n[api.cors]");
        gateway([&orders], &SHOP.replace("[api.cors]", &limit))
    };
    let by_address = limit("address");
    preflight(&by_address, ORIGIN).await.is(204);
    preflight(&by_address, ORIGIN).await.is(204);
    preflight(&by_address, ORIGIN).await.is(429).has("access-control-allow-origin", ORIGIN);
    let by_caller = limit("caller");
    for _ in 0..4 {
        preflight(&by_caller, ORIGIN).await.is(204);
    }
    for status in [200, 200, 429] {
        let call = by_caller.get("/shop").as_caller("ada").field("origin", ORIGIN);
        call.await.is(status).has("access-control-allow-origin", ORIGIN);
    }
}

#[tokio::test]
async fn a_preflight_needs_no_plugin() {
    let gateway = setup(&SHOP.replace("jwt", "missing")).to(&upstream("orders")).start();
    preflight(&gateway, ORIGIN).await.is(204).has("access-control-allow-origin", ORIGIN);
    gateway.get("/shop").field("origin", ORIGIN).await.is(503).has("access-control-allow-origin", ORIGIN);
}

#[tokio::test]
async fn everybody_is_told_everybody() {
    let text = "[[api]]\nname = \"shop\"\nservice = \"orders\"\ncors = { origins = [\"*\"] }";
    let orders = upstream("orders");
    let gateway = gateway([&orders], text);
    gateway.get("/").await.is(200).has("access-control-allow-origin", "*").lacks("vary");
    gateway.get("/").field("origin", ORIGIN).await.is(200).has("access-control-allow-origin", "*").lacks("vary");
    preflight(&gateway, ORIGIN)
        .await
        .is(204)
        .has("access-control-allow-origin", "*")
        .has("access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE")
        .has("access-control-allow-headers", "authorization, content-type")
        .lacks("access-control-allow-credentials");
}

#[tokio::test]
async fn another_configuration_tells_browsers_something_else() {
    let gateway = gateway([&upstream("orders")], SHOP);
    preflight(&gateway, ORIGIN).await.is(204).has("access-control-allow-methods", "GET, PUT");
    gateway.configure(&SHOP.replace("\"PUT\"", "\"DELETE\"")).await;
    preflight(&gateway, ORIGIN).await.is(204).has("access-control-allow-methods", "GET, DELETE");
    gateway.misconfigure(&SHOP.replace("\"https://shop.example\", \"https://*.shop.example\"", "\"*\"")).await;
    preflight(&gateway, ORIGIN).await.is(204).has("access-control-allow-methods", "GET, DELETE");
}
