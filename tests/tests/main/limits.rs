//! How often, and how many at a time.

use std::time::{Duration, Instant};

use gatewright_tests::{Gateway, Upstream, gateway, token, until, upstream};

/// An API with tokens and these limits.
fn limited(limits: &str) -> String {
    format!(
        r#"
        plans = ["free", "gold"]
        [[api]]
        name = "shop"
        service = "orders"
        anonymous = true
        [[api.auth]]
        plugin = "jwt"
        settings = {{ keys = "demo", plan = "plan", attributes = {{ tenant = "tenant" }} }}
        {limits}
        "#
    )
}

const PER_CALLER: &str = r#"
    [[api.limit]]
    name = "per-caller"
    by = "caller"
    requests = 2
    per = "1h"
"#;

#[tokio::test]
async fn a_caller_over_its_limit_is_429_and_told_when_to_come_back() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &limited(PER_CALLER));
    let policy = "\"per-caller\";q=2;w=3600";
    let first = gateway.get("/orders/2").as_caller("ada").await.is(200).has("ratelimit-policy", policy);
    assert!(first.field("ratelimit").unwrap().starts_with("\"per-caller\";r=1;t="), "{first}");
    gateway.get("/orders/2").as_caller("ada").await.is(200).tells("ratelimit", "\"per-caller\";r=0;t=");
    let over = gateway.get("/orders/2").as_caller("ada").await.is(429).has("ratelimit-policy", policy);
    let over = over.problem("Too many requests").tells("ratelimit", "\"per-caller\";r=0;t=").lacks("connection");
    let wait: u32 = over.field("retry-after").unwrap().parse().unwrap();
    assert!((1790..=1800).contains(&wait), "half an hour for one request: {over}");
    let problem = over.json();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["violated-policies"], serde_json::json!(["per-caller"]));
    // Another caller, and nobody, have limits of their own.
    gateway.get("/orders/2").as_caller("bob").await.is(200);
    gateway.get("/orders/2").await.is(200);
    assert_eq!(orders.count(), 4);
}

#[tokio::test]
async fn anonymous_callers_are_counted_by_address() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &limited(PER_CALLER));
    for status in [200, 200, 429] {
        gateway.get("/").await.is(status);
    }
    gateway.get("/").from("127.0.0.2").await.is(200);
    gateway.get("/").as_caller("ada").await.is(200);
}

#[tokio::test]
async fn an_address_over_its_limit_is_stopped_before_auth() {
    let orders = upstream("orders");
    let limit = "[[api.limit]]\nname = \"per-address\"\nby = \"address\"\nrequests = 2\nper = \"1h\"";
    let gateway = gateway([&orders], &limited(limit));
    for status in [200, 200, 429] {
        gateway.get("/").as_caller("ada").await.is(status);
    }
    gateway.get("/").as_caller("bob").await.is(429);
    gateway.get("/").from("127.0.0.9").as_caller("ada").await.is(200);
    let jwt = gateway.plugin("jwt", |_| true).await;
    let asked = jwt.json["uses"][0]["calls"].as_u64().unwrap() + jwt.number("remembered");
    assert_eq!(asked, 3, "a flood never reaches a plugin: {}", jwt.json);
}

#[tokio::test]
async fn plans_have_limits_of_their_own() {
    let orders = upstream("orders");
    let limit = r#"
        [[api.limit]]
        name = "plans"
        by = "caller"
        plans = { free = { requests = 1, per = "1h" }, gold = { requests = 3, per = "1h" } }
    "#;
    let gateway = gateway([&orders], &limited(limit));
    let free = token("ada").claim("plan", "free").signed();
    let gold = token("bob").claim("plan", "gold").signed();
    for (token, statuses) in [(&free, &[200, 429][..]), (&gold, &[200, 200, 200, 429])] {
        for status in statuses {
            gateway.get("/").bearer(token).await.is(*status);
        }
    }
}

#[tokio::test]
async fn callers_with_one_attribute_share_what_it_has() {
    let orders = upstream("orders");
    let limit = "[[api.limit]]\nname = \"tenants\"\nby = \"attribute:tenant\"\nrequests = 2\nper = \"1h\"";
    let gateway = gateway([&orders], &limited(limit));
    for (subject, status) in [("carol", 200), ("dave", 200), ("carol", 429), ("dave", 429)] {
        gateway.get("/").bearer(&token(subject).claim("tenant", "acme").signed()).await.is(status);
    }
    gateway.get("/").bearer(&token("eve").claim("tenant", "other").signed()).await.is(200);
}

#[tokio::test]
async fn a_limit_of_the_api_counts_everybody() {
    let orders = upstream("orders");
    let limit = "[[api.limit]]\nname = \"all\"\nby = \"api\"\nrequests = 3\nper = \"1h\"";
    let gateway = gateway([&orders], &limited(limit));
    gateway.get("/").as_caller("ada").await.is(200);
    gateway.get("/").from("127.0.0.5").await.is(200);
    gateway.get("/").as_caller("bob").await.is(200);
    gateway.get("/").as_caller("carol").await.is(429);
}

#[tokio::test]
async fn all_limits_are_checked_before_any_is_charged() {
    let orders = upstream("orders");
    let limits = r#"
        [[api.limit]]
        name = "wide"
        by = "caller"
        requests = 100
        per = "1h"
        [[api.limit]]
        name = "narrow"
        by = "caller"
        requests = 1
        per = "1h"
    "#;
    let gateway = gateway([&orders], &limited(limits));
    gateway
        .get("/")
        .as_caller("ada")
        .await
        .is(200)
        .tells("ratelimit", "\"wide\";r=99")
        .tells("ratelimit", "\"narrow\";r=0");
    for _ in 0..3 {
        let over = gateway.get("/").as_caller("ada").await.is(429).tells("ratelimit", "\"narrow\";r=0");
        assert_eq!(over.json()["violated-policies"], serde_json::json!(["narrow"]));
    }
}

#[tokio::test]
async fn a_limit_that_delays_lets_requests_wait_for_their_turn() {
    let orders = upstream("orders");
    let limit = r#"
        [[api.limit]]
        name = "slowly"
        by = "caller"
        requests = 1
        per = "200ms"
        over = "delay"
        most_delay = "5s"
    "#;
    let gateway = gateway([&orders], &limited(limit));
    gateway.get("/").as_caller("ada").await.is(200);
    let start = Instant::now();
    for _ in 0..3 {
        gateway.get("/").as_caller("ada").await.is(200);
    }
    // Three turns; the first of them may have begun before the clock was looked at.
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_would_wait_too_long_is_429_at_once() {
    let orders = upstream("orders");
    let limit = r#"
        [[api.limit]]
        name = "slowly"
        by = "caller"
        requests = 1
        per = "1h"
        over = "delay"
        most_delay = "1s"
    "#;
    let gateway = gateway([&orders], &limited(limit));
    gateway.get("/").as_caller("ada").await.is(200);
    gateway.get("/").as_caller("ada").await.is(429);
    assert_eq!(orders.count(), 1);
}

const TWO_AT_A_TIME: &str = r#"
    [[api.limit]]
    name = "two-at-a-time"
    by = "caller"
    concurrent = 2
"#;

/// Two requests of `ada` that the service holds, and the gate that lets them go.
async fn two_held(
    gateway: &Gateway,
    orders: &Upstream,
) -> (gatewright_tests::Gate, [tokio::task::JoinHandle<gatewright_tests::Answer>; 2]) {
    let gate = orders.holds();
    let held = [0, 1].map(|_| tokio::spawn(gateway.get("/").as_caller("ada").into_future()));
    orders.sees_requests(2).await;
    (gate, held)
}

#[tokio::test]
async fn only_so_many_requests_of_a_caller_are_let_in_at_a_time() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &limited(TWO_AT_A_TIME));
    let (gate, held) = two_held(&gateway, &orders).await;
    let over = gateway.get("/").as_caller("ada").await.is(429).problem("Too many requests");
    assert_eq!(over.json()["violated-policies"], serde_json::json!(["two-at-a-time"]));
    gate.open();
    for held in held {
        held.await.unwrap().is(200);
    }
    gateway.get("/").as_caller("ada").await.is(200);
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_back() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &limited(TWO_AT_A_TIME));
    let gate = orders.holds();
    let mut leaving = Vec::new();
    for _ in 0..2 {
        let mut raw = gateway.raw().await;
        let token = token("ada").signed();
        raw.write(format!("GET / HTTP/1.1\r\nhost: shop.example\r\nauthorization: Bearer {token}\r\n\r\n")).await;
        leaving.push(raw);
    }
    orders.sees_requests(2).await;
    gateway.get("/").as_caller("ada").await.is(429);
    drop(leaving);
    gate.open();
    until("a place", async || (gateway.get("/").as_caller("ada").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn counters_survive_a_reload() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &limited(PER_CALLER));
    gateway.get("/").as_caller("ada").await.is(200);
    gateway.get("/").as_caller("ada").await.is(200);
    gateway
        .configure(&format!(
            "{}\n[[api]]\nname = \"more\"\npaths = [\"/more\"]\nservice = \"orders\"",
            limited(PER_CALLER)
        ))
        .await;
    gateway.get("/more").await.is(200);
    gateway.get("/").as_caller("ada").await.is(429);
}
