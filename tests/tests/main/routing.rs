//! Which service: versions, sunsets and canaries by the `versions` plugin.

use gatewright_tests::{Gateway, Upstream, gateway, setup, upstream};

const VERSIONED: &str = r#"
    [[api]]
    name = "shop"
    services = ["one", "two", "gone"]
    [api.routing]
    plugin = "versions"
    [api.routing.settings]
    base = "/shop"
    from = { path = true, header = "api-version", parameter = "version", vendor = "shop" }
    default = "2"
    strip = "base"
    [api.routing.settings.versions.0]
    sunset = "2020-01-01"
    successor = "/shop/v1"
    [api.routing.settings.versions.1]
    deprecated = "2026-01-01"
    sunset = "2126-12-31T23:59:59Z"
    successor = "/shop/v2"
    sunset_docs = "https://shop.example/docs"
    [api.routing.settings.versions.2]
    [[api.routing.settings.routes]]
    path = "/orders/{*rest}"
    versions = ["0"]
    service = "gone"
    [[api.routing.settings.routes]]
    path = "/orders/{*rest}"
    versions = ["1"]
    service = "one"
    [[api.routing.settings.routes]]
    path = "/orders/{*rest}"
    versions = ["2"]
    service = "two"
    [[api.routing.settings.routes]]
    path = "/receipts/{id}"
    methods = ["GET"]
    service = "two"
    rewrite = "/receipt-of/{id}"
"#;

fn shop() -> ([Upstream; 3], Gateway) {
    let services = ["one", "two", "gone"].map(upstream);
    let gateway = gateway(&services, VERSIONED);
    (services, gateway)
}

#[tokio::test]
async fn the_version_is_in_the_path_a_field_or_a_media_type() {
    let ([one, _two, _gone], gateway) = shop();
    gateway.get("/shop/v1/orders/7?full=yes").await.is(200).says("one").lacks("vary");
    gateway.get("/shop/v2/orders/7").await.is(200).says("two");
    gateway.get("/shop/orders/7").await.is(200).says("two");
    for version in ["1", "v1"] {
        gateway
            .get("/shop/orders/7")
            .field("api-version", version)
            .await
            .is(200)
            .says("one")
            .tells("vary", "api-version");
    }
    for accept in [
        "application/json; version=1",
        "application/vnd.shop.v1+json",
        "text/html;q=0.9, application/vnd.shop.order.v1+json",
    ] {
        gateway.get("/shop/orders/7").field("accept", accept).await.is(200).says("one");
    }
    assert_eq!(one.seen()[0].target, "/orders/7?full=yes", "base and version are stripped");
}

#[tokio::test]
async fn an_old_version_says_when_it_ends() {
    let (_services, gateway) = shop();
    let answer = gateway.get("/shop/v1/orders/7").await.is(200);
    let answer = answer.has("deprecation", "@1767225600").has("sunset", "Tue, 31 Dec 2126 23:59:59 GMT");
    let links = answer.fields("link").join(", ");
    assert!(links.contains("</shop/v2>; rel=\"successor-version\""), "{links}");
    assert!(links.contains("<https://shop.example/docs>; rel=\"sunset\""), "{links}");
    gateway.get("/shop/v2/orders/7").await.is(200).lacks("deprecation").lacks("sunset").lacks("link");
}

#[tokio::test]
async fn a_version_after_its_end_is_410() {
    let ([_one, _two, gone], gateway) = shop();
    gateway.get("/shop/v0/orders/7").await.is(410).tells("link", "</shop/v1>; rel=\"successor-version\"");
    assert_eq!(gone.count(), 0);
}

#[tokio::test]
async fn what_no_route_is_for_is_404_and_a_wrong_method_405() {
    let (_services, gateway) = shop();
    gateway.get("/shop/v9/orders/7").await.is(404);
    gateway.get("/shop/orders/7").field("api-version", "9").await.is(400);
    gateway.get("/shop/v2/users").await.is(404);
    gateway.get("/elsewhere").await.is(404);
    gateway.call("DELETE", "/shop/v2/receipts/7").await.is(405).tells("allow", "GET");
}

#[tokio::test]
async fn a_path_is_rewritten_for_the_service() {
    let ([_one, two, _gone], gateway) = shop();
    gateway.get("/shop/v2/receipts/a%20b?print").await.is(200);
    assert_eq!(two.only().target, "/receipt-of/a%20b?print");
}

fn canary(per_mille: u16, affinity: &str) -> String {
    format!(
        r#"
        [[api]]
        name = "shop"
        services = ["stable", "next"]
        [api.routing]
        plugin = "versions"
        [[api.routing.settings.routes]]
        path = "/{{*rest}}"
        service = "stable"
        shares = [{{ service = "next", per_mille = {per_mille} }}]
        {affinity}
        "#
    )
}

#[tokio::test]
async fn a_canary_gets_its_share() {
    let (stable, next) = (upstream("stable"), upstream("next"));
    let gateway = gateway([&stable, &next], &canary(250, ""));
    let connection = gateway.http1().await;
    for _ in 0..400 {
        connection.get("/").await.is(200);
    }
    // A quarter of 400 is 100 with a deviation of 8.7: five of them happen once in a million runs.
    assert!((56..=144).contains(&next.count()), "{} of 400", next.count());
    assert_eq!(stable.count() + next.count(), 400);
}

#[tokio::test]
async fn one_key_stays_on_one_side_of_a_canary() {
    let (stable, next) = (upstream("stable"), upstream("next"));
    let gateway = gateway([&stable, &next], &canary(500, "affinity = { header = \"x-session\" }"));
    let mut sides = std::collections::BTreeSet::new();
    for session in 0..24 {
        let ask = || async { gateway.get("/").field("x-session", &session.to_string()).await.is(200).text() };
        let side = ask().await;
        for _ in 0..3 {
            assert_eq!(ask().await, side, "session {session}");
        }
        sides.insert(side);
    }
    assert_eq!(sides.len(), 2, "24 sessions are on both sides");
}

#[tokio::test]
async fn a_share_may_be_all_or_nothing() {
    let (stable, next) = (upstream("stable"), upstream("next"));
    let gateway = setup(&canary(1000, "")).to(&stable).to(&next).start();
    for _ in 0..10 {
        gateway.get("/").await.is(200).says("next");
    }
    gateway.configure(&canary(0, "")).await;
    for _ in 0..10 {
        gateway.get("/").await.is(200).says("stable");
    }
}

#[tokio::test]
async fn the_host_and_the_path_pick_the_api() {
    let [one, two, three] = ["one", "two", "three"].map(upstream);
    let gateway = gateway(
        [&one, &two, &three],
        r#"
        [[api]]
        name = "one"
        hosts = ["shop.example"]
        paths = ["/a"]
        service = "one"
        [[api]]
        name = "two"
        hosts = ["shop.example"]
        paths = ["/a/b"]
        service = "two"
        [[api]]
        name = "three"
        hosts = ["*.shop.example"]
        service = "three"
        "#,
    );
    gateway.get("/a").await.is(200).says("one");
    gateway.get("/a/x").await.is(200).says("one");
    gateway.get("/a/b/c").await.is(200).says("two");
    gateway.get("/a/bc").await.is(200).says("one");
    gateway.get("/ab").await.is(404).problem("No API here");
    gateway.get("/a").field("host", "www.shop.example").await.is(200).says("three");
    gateway.get("/a").field("host", "SHOP.example:80").await.is(200).says("one");
    gateway.get("/a").field("host", "other.example").await.is(404);
}
