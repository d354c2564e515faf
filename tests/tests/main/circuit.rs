//! What bounds a service beyond its requests in flight: its connections, and the requests that wait for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use gatewright_tests::{Answer, Connection, Gateway, Raw, Reply, Upstream, gateway, until, upstream};
use tokio::task::JoinHandle;

use crate::balancing::shop_on;

/// Waits until the service has so many connections, and so many requests that wait for one.
async fn has(gateway: &Gateway, connections: u64, pending: u64) {
    until(&format!("{connections} connections, {pending} pending"), async || {
        let service = gateway.service("orders").await;
        let is = |key: &str, count: u64| service[key].as_u64() == Some(count);
        (is("connections", connections) && is("pending", pending)).then_some(())
    })
    .await;
}

fn spawn_get(gateway: &Gateway) -> JoinHandle<Answer> {
    tokio::spawn(gateway.get("/").into_future())
}

async fn refused(gateway: &Gateway, bound: &str) -> f64 {
    gateway.metric(&format!("gatewright_circuit_open_total{{service=\"orders\",bound=\"{bound}\"}}")).await
}

async fn is_not_blamed(gateway: &Gateway) {
    assert_eq!(gateway.service("orders").await["endpoints"][0]["failures"]["connect"], 0);
}

#[tokio::test]
async fn a_request_beyond_the_connections_waits_until_one_comes_free() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop_on(2, "connections = 2"));
    let gate = orders.holds();
    let calls: Vec<_> = (0..2).map(|_| spawn_get(&gateway)).collect();
    orders.sees_requests(2).await;
    has(&gateway, 2, 0).await;
    let third = spawn_get(&gateway);
    has(&gateway, 2, 1).await;
    assert_eq!(orders.count(), 2);
    gate.open();
    for call in calls.into_iter().chain([third]) {
        call.await.unwrap().is(200);
    }
    has(&gateway, 2, 0).await;
    for bound in ["in_flight", "connections", "pending"] {
        assert_eq!(refused(&gateway, bound).await, 0.0);
    }
}

#[tokio::test]
async fn those_that_wait_get_the_connection_one_after_the_other() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop_on(1, "connections = 1"));
    let gate = orders.holds();
    let mut calls = Vec::new();
    for number in 0..5 {
        calls.push(tokio::spawn(gateway.get(&format!("/{number}")).into_future()));
        has(&gateway, 1, number).await;
    }
    orders.sees_requests(1).await;
    gate.open();
    for call in calls {
        call.await.unwrap().is(200);
    }
    let targets: Vec<_> = orders.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/0", "/1", "/2", "/3", "/4"]);
    assert_eq!(orders.connections(), 1);
}

#[tokio::test]
async fn a_request_beyond_those_that_wait_is_refused_at_once() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop_on(2, "connections = 1\npending = 2\nconnect_timeout = \"1h\""));
    let gate = orders.holds();
    let mut calls = vec![spawn_get(&gateway)];
    orders.sees_requests(1).await;
    calls.extend([spawn_get(&gateway), spawn_get(&gateway)]);
    has(&gateway, 1, 2).await;
    let refusal = gateway.get("/").await.is(503).problem("The service is overloaded").has("retry-after", "1");
    refusal.tells("proxy-status", "connection_limit_reached");
    assert_eq!(refused(&gateway, "pending").await, 1.0);
    gate.open();
    for call in calls {
        call.await.unwrap().is(200);
    }
    has(&gateway, 1, 0).await;
    assert_eq!(orders.count(), 3);
    is_not_blamed(&gateway).await;
}

#[tokio::test]
async fn who_waits_in_vain_is_refused_and_the_endpoint_is_not_blamed() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop_on(1, "connections = 1\nconnect_timeout = \"100ms\""));
    let gate = orders.holds();
    let held = spawn_get(&gateway);
    orders.sees_requests(1).await;
    gateway.get("/").await.is(503).problem("The service is overloaded");
    assert_eq!(refused(&gateway, "connections").await, 1.0);
    is_not_blamed(&gateway).await;
    gate.open();
    held.await.unwrap().is(200);
    gateway.get("/").await.is(200);
    assert_eq!(orders.count(), 2);
}

#[tokio::test]
async fn those_that_would_share_a_connection_wait_in_vain_together() {
    let orders = upstream("orders");
    let service = "http2 = true\nconnections = 1\nconnect_timeout = \"200ms\"";
    let gateway = gateway([&orders], &shop_on(1, service));
    let raw = upgraded(&gateway, &orders).await;
    let calls: Vec<_> = (0..3).map(|_| spawn_get(&gateway)).collect();
    for call in calls {
        call.await.unwrap().is(503).problem("The service is overloaded");
    }
    assert_eq!(refused(&gateway, "connections").await, 3.0);
    is_not_blamed(&gateway).await;
    raw.reset();
    gives_back(&gateway, &orders).await;
}

/// A connection that speaks another protocol, through to the service.
async fn upgraded(gateway: &Gateway, orders: &Upstream) -> Raw {
    orders.answers_once(Reply::echo("chat"));
    let mut raw = gateway.raw().await;
    raw.write("GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n").await;
    raw.answer().await.is(101);
    raw
}

#[tokio::test]
async fn a_request_whose_connection_is_being_opened_is_pending() {
    let orders = gatewright_tests::raw_upstream("orders");
    let authority = gatewright_tests::Authority::new();
    let tls = "tls = { authorities = \"ca.pem\" }\npending = 1\nconnect_timeout = \"1h\"";
    let gateway = gatewright_tests::setup(&shop_on(1, tls)).file("ca.pem", &authority.certificate).to(&orders).start();
    let opening = spawn_get(&gateway);
    // It says nothing to the first word of TLS.
    let silent = orders.accept().await;
    has(&gateway, 1, 1).await;
    gateway.get("/").await.is(503).problem("The service is overloaded");
    silent.reset();
    opening.await.unwrap().is(502);
    has(&gateway, 0, 0).await;
}

#[tokio::test]
async fn a_higher_bound_lets_those_in_that_wait() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop_on(1, "connections = 1\nconnect_timeout = \"1h\""));
    let gate = orders.holds();
    let calls = [spawn_get(&gateway), spawn_get(&gateway)];
    has(&gateway, 1, 1).await;
    gateway.configure(&shop_on(1, "connections = 2\nconnect_timeout = \"1h\"")).await;
    orders.sees_requests(2).await;
    has(&gateway, 2, 0).await;
    gate.open();
    for call in calls {
        call.await.unwrap().is(200);
    }
}

#[tokio::test]
async fn an_idle_connection_to_another_endpoint_makes_room() {
    let (one, two) = (upstream("orders"), upstream("orders"));
    let gateway = gateway([&one, &two], &shop_on(1, "connections = 1"));
    for _ in 0..4 {
        gateway.get("/").await.is(200);
    }
    assert_eq!((one.count(), two.count()), (2, 2));
    assert_eq!(one.connections() + two.connections(), 4);
    has(&gateway, 1, 0).await;
}

#[tokio::test]
async fn what_is_idle_at_one_worker_makes_room_for_another() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop_on(2, "connections = 1"));
    let clients = [gateway.http1().await, gateway.http1().await];
    for client in clients.iter().chain(&clients) {
        client.get("/").await.is(200);
    }
    assert_eq!(orders.connections(), 4, "each worker opened its own");
    has(&gateway, 1, 0).await;
}

/// Requests one after the other until told to stop.
async fn busy(client: Connection, stop: Arc<AtomicBool>) {
    let ask = || async {
        while !stop.load(Relaxed) {
            client.get("/busy").await.is(200);
        }
    };
    tokio::join!(ask(), ask(), ask(), ask());
}

#[tokio::test]
async fn a_busy_worker_does_not_starve_another() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop_on(2, "connections = 1\nconnect_timeout = \"15s\""));
    let (stop, other) = (Arc::new(AtomicBool::new(false)), gateway.http2().await);
    let load = tokio::spawn(busy(gateway.http2().await, Arc::clone(&stop)));
    orders.sees_requests(20).await;
    other.get("/other").await.is(200);
    let before = orders.count();
    orders.sees_requests(before + 20).await;
    stop.store(true, Relaxed);
    load.await.unwrap();
    assert!(orders.connections() >= 3);
}

async fn gives_back(gateway: &Gateway, orders: &Upstream) {
    has(gateway, 0, 0).await;
    orders.answers(|_| Reply::text("again"));
    gateway.get("/").await.is(200).says("again");
    has(gateway, 1, 0).await;
}

#[tokio::test]
async fn connections_that_do_not_come_about_are_not_counted() {
    let orders = upstream("orders");
    orders.kill().await;
    let gateway = gateway([&orders], &shop_on(1, "connections = 1"));
    for _ in 0..3 {
        gateway.get("/").await.is(502);
    }
    orders.start();
    gives_back(&gateway, &orders).await;
}

#[tokio::test]
async fn connections_that_die_are_not_counted() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop_on(1, "connections = 2"));
    gateway.get("/").await.is(200);
    let _gate = orders.holds();
    let calls = [spawn_get(&gateway), spawn_get(&gateway)];
    orders.sees_requests(3).await;
    has(&gateway, 2, 0).await;
    orders.kill().await;
    for call in calls {
        call.await.unwrap().is(502);
    }
    has(&gateway, 0, 0).await;
    // One that is idle as well.
    orders.start();
    gives_back(&gateway, &orders).await;
    orders.kill().await;
    orders.start();
    gives_back(&gateway, &orders).await;
}

#[tokio::test]
async fn connections_of_clients_that_left_are_not_counted() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop_on(1, "connections = 1"));
    let gate = orders.holds();
    let mut raw = gateway.raw().await;
    raw.write("GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n").await;
    orders.sees_requests(1).await;
    let mut waiting = gateway.raw().await;
    waiting.write("GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n").await;
    has(&gateway, 1, 1).await;
    waiting.reset();
    has(&gateway, 1, 0).await;
    raw.reset();
    gives_back(&gateway, &orders).await;
    gate.open();
    assert_eq!(orders.count(), 2);
}

#[tokio::test]
async fn an_upgraded_connection_is_counted_until_it_ends() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop_on(1, "connections = 1\nconnect_timeout = \"1h\""));
    let mut raw = upgraded(&gateway, &orders).await;
    let waiting = spawn_get(&gateway);
    has(&gateway, 1, 1).await;
    raw.write("hello").await;
    assert_eq!(raw.bytes(5).await, b"hello");
    raw.finish().await;
    waiting.await.unwrap().is(200);
    has(&gateway, 1, 0).await;
}

#[tokio::test]
async fn a_shared_connection_of_http_2_counts_once() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop_on(1, "http2 = true\nconnections = 1\npending = 30"));
    let gate = orders.holds();
    let calls: Vec<_> = (0..20).map(|_| spawn_get(&gateway)).collect();
    orders.sees_requests(20).await;
    has(&gateway, 1, 0).await;
    gate.open();
    for call in calls {
        call.await.unwrap().is(200);
    }
    orders.kill().await;
    orders.start();
    gives_back(&gateway, &orders).await;
}
