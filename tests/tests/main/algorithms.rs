//! Whose turn it is: at random, by latency, by key.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use gatewright_tests::{Call, Gateway, Reply, Upstream, gateway, upstream};

use crate::balancing::{reaches, shop};

/// Endpoints of one service that say who they are.
fn named<const COUNT: usize>() -> [Upstream; COUNT] {
    std::array::from_fn(|at| {
        let endpoint = upstream("orders");
        endpoint.answers(move |_| Reply::text(&at.to_string()));
        endpoint
    })
}

/// Who answers.
async fn place(call: Call) -> String {
    call.await.is(200).text()
}

#[tokio::test]
async fn a_random_endpoint_may_be_any() {
    let endpoints = named::<3>();
    let gateway = gateway(&endpoints, &shop("balance = \"random\""));
    for _ in 0..120 {
        gateway.get("/").await.is(200);
    }
    let counts: Vec<usize> = endpoints.iter().map(Upstream::count).collect();
    // A third of 120 is 40 with a deviation of 5: five of them happen once in a million runs.
    assert!(counts.iter().all(|count| (14..=66).contains(count)), "{counts:?}");
}

#[tokio::test]
async fn the_slow_endpoint_is_spared_after_one_answer() {
    let [slow, quick] = named();
    let gateway = gateway([&slow, &quick], &shop("balance = \"peak-ewma\""));
    let gate = slow.holds();
    let held = reaches(&slow, &quick, &gateway).await;
    // What is held takes longer than all of these together.
    for _ in 0..100 {
        gateway.get("/").await.is(200);
    }
    gate.open();
    for held in held {
        held.await.unwrap().is(200);
    }
    for _ in 0..20 {
        gateway.get("/").await.is(200);
    }
    assert_eq!(slow.count(), 1);
    let latency = |service: &serde_json::Value, at: usize| service["endpoints"][at]["latency"].as_f64().unwrap();
    let service = gateway.service("orders").await;
    assert!(latency(&service, 0) > latency(&service, 1), "{service}");
    assert_eq!(service["algorithm"], "peak-ewma");
}

/// That calls of one key meet one endpoint and that not all keys meet the same; which endpoints those are.
async fn keeps(call: impl Fn(usize) -> Call) -> Vec<String> {
    let mut places = Vec::new();
    for key in 0..24 {
        places.push(place(call(key)).await);
        for _ in 0..2 {
            assert_eq!(Some(&place(call(key)).await), places.last(), "key {key}");
        }
    }
    assert!(places.iter().collect::<BTreeSet<_>>().len() > 1, "{places:?}");
    places
}

#[tokio::test]
async fn requests_with_one_value_of_a_field_meet_one_endpoint() {
    let endpoints = named::<3>();
    let gateway = gateway(&endpoints, &shop("balance = \"maglev\"\naffinity = { header = \"x-session\" }"));
    keeps(|key| gateway.get("/").field("x-session", &key.to_string())).await;
    // Those without it go anywhere.
    let mut places = BTreeSet::new();
    while places.len() < 3 {
        places.insert(place(gateway.get("/")).await);
    }
}

#[tokio::test]
async fn requests_with_one_cookie_meet_one_endpoint() {
    let endpoints = named::<3>();
    let gateway = gateway(&endpoints, &shop("balance = \"maglev\"\naffinity = { cookie = \"sid\" }"));
    keeps(|key| gateway.get("/").field("cookie", &format!("theme=dark; sid={key}"))).await;
}

#[tokio::test]
async fn requests_of_one_client_meet_one_endpoint() {
    let endpoints = named::<3>();
    let text = shop("balance = \"maglev\"\naffinity = \"address\"");
    let gateway = gateway(&endpoints, &text.replace("workers = 1", "workers = 2, trusted = [\"127.0.0.1\"]"));
    keeps(|key| gateway.get("/").field("x-forwarded-for", &format!("192.0.2.{key}"))).await;
}

#[tokio::test]
async fn what_the_routing_plugin_says_goes_before_what_the_configuration_says() {
    let endpoints = named::<3>();
    let text = r#"
        [service.orders]
        balance = "maglev"
        affinity = { header = "x-session" }
        [[api]]
        name = "shop"
        services = ["orders"]
        [api.routing]
        plugin = "versions"
        [[api.routing.settings.routes]]
        path = "/{*rest}"
        service = "orders"
        affinity = { header = "x-tenant" }
    "#;
    let gateway = gateway(&endpoints, text);
    let turn = std::cell::Cell::new(0);
    keeps(|key| {
        turn.set(turn.get() + 1);
        gateway.get("/").field("x-tenant", &key.to_string()).field("x-session", &turn.get().to_string())
    })
    .await;
}

fn address(endpoints: &[Upstream], place: &str) -> SocketAddr {
    endpoints[place.parse::<usize>().unwrap()].address()
}

async fn is_out(gateway: &Gateway, address: SocketAddr) {
    gateway.endpoint_is("orders", address, "ejected").await;
}

#[tokio::test]
async fn only_the_keys_of_an_ejected_endpoint_go_elsewhere() {
    let endpoints = named::<4>();
    let text = shop(
        "balance = \"maglev\"\naffinity = { header = \"x-session\" }\n\
         ejection = { failures = 1, time = \"1h\", most_time = \"1h\" }",
    );
    let gateway = gateway(&endpoints, &text);
    let call = |key: usize| gateway.get("/").field("x-session", &key.to_string());
    let before = keeps(call).await;
    let gone = before[0].clone();
    endpoints[gone.parse::<usize>().unwrap()].answers_once(Reply::status(503));
    call(0).await.is(503);
    is_out(&gateway, address(&endpoints, &gone)).await;
    let after = keeps(call).await;
    for (before, after) in before.iter().zip(&after) {
        assert!(*after != gone && (before == after || *before == gone), "{before} {after}");
    }
}
