//! One request through everything: a token, a limit, a schema, a version and an endpoint.

use gatewright_tests::{gateway, token, upstream};

const SHOP: &str = r#"
    [[api]]
    name = "shop"
    paths = ["/shop"]
    services = ["orders"]
    [[api.auth]]
    plugin = "jwt"
    settings = { keys = "demo", realm = "shop", headers = { x-user = "sub" }, scopes = ["orders"] }
    [[api.limit]]
    name = "per-caller"
    by = "caller"
    requests = 3
    per = "1h"
    [[api.validation]]
    plugin = "json-schema"
    [[api.validation.settings.rules]]
    methods = ["POST"]
    path = "/shop/v1/orders"
    body = { type = "object", required = ["item"] }
    [api.routing]
    plugin = "versions"
    [api.routing.settings]
    base = "/shop"
    from = { path = true }
    strip = "base"
    [api.routing.settings.versions.1]
    deprecated = "2026-01-01"
    [[api.routing.settings.routes]]
    path = "/orders/{*rest}"
    service = "orders"
"#;

#[tokio::test]
async fn a_request_goes_all_the_way_and_each_stage_may_stop_it() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let token = token("ada").scopes("orders").signed();
    let order = |body: &str| {
        gateway.post("/shop/v1/orders").bearer(&token).field("x-user", "root").field("x_user", "root").json(body)
    };
    let answer = order(r#"{"item": "tea"}"#).await.is(200).says("orders");
    let answer = answer.has("deprecation", "@1767225600").tells("ratelimit", "\"per-caller\";r=2");
    assert!(answer.field("x-user").is_none());
    let seen = orders.only();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str(), seen.text().as_str()),
        ("POST", "/orders", r#"{"item": "tea"}"#)
    );
    assert_eq!(seen.field("x-user"), Some("ada"));
    assert_eq!((seen.field("authorization"), seen.field("x_user")), (None, None));
    // Each stage in turn.
    gateway.post("/shop/v1/orders").json("{}").await.is(401);
    gateway.post("/shop/v1/orders").as_caller("bob").json("{}").await.is(403);
    let invalid = order("{}").await.is(400);
    assert_eq!(invalid.json()["violations"][0]["at"], "", "{invalid}");
    gateway.get("/shop/v2/orders").bearer(&token).await.is(404);
    order(r#"{"item": "tea"}"#).await.is(429);
    gateway.get("/elsewhere").await.is(404);
    assert_eq!(orders.count(), 1);
}
