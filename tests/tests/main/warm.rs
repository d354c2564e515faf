//! Connections that are opened before requests need them.

use gatewright_tests::{Gateway, Upstream, gateway, setup, until, upstream};

use crate::balancing::shop_on;

const WORKERS: usize = 2;

fn shop(service: &str) -> String {
    shop_on(WORKERS, service)
}

async fn sees_connections(upstream: &Upstream, count: usize) {
    until(&format!("{count} connections"), async || (upstream.connections() >= count).then_some(())).await;
}

pub(crate) async fn has_connections(gateway: &Gateway, count: usize) {
    let what = format!("{count} connections");
    until(&what, async || (gateway.service("orders").await["connections"] == count).then_some(())).await;
}

/// Waits until every worker was unable to open all that it wanted to.
async fn is_cold(gateway: &Gateway) {
    until("no more", async || (gateway.service("orders").await["cold"] == WORKERS).then_some(())).await;
}

/// Two requests at one time on each worker.
async fn get(gateway: &Gateway, orders: &Upstream) {
    let (gate, before) = (orders.holds(), orders.count());
    let clients = [gateway.http2().await, gateway.http2().await];
    let calls = clients.iter().flat_map(|client| [client.get("/"), client.get("/")]);
    let calls: Vec<_> = calls.map(|call| tokio::spawn(call.into_future())).collect();
    orders.sees_requests(before + calls.len()).await;
    gate.open();
    for call in calls {
        call.await.unwrap().is(200);
    }
}

#[tokio::test]
async fn the_first_requests_find_connections_on_every_worker() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop("warm = 2"));
    sees_connections(&orders, 2 * WORKERS).await;
    assert_eq!((orders.count(), gateway.service("orders").await["connections"].as_u64()), (0, Some(4)));
    get(&gateway, &orders).await;
    assert_eq!(orders.connections(), 2 * WORKERS);
}

#[tokio::test]
async fn nothing_is_opened_beforehand_unless_it_is_asked_for() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop(""));
    gateway.get("/").await.is(200);
    assert_eq!(orders.connections(), 1);
}

#[tokio::test]
async fn one_connection_of_http_2_is_enough() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop("warm = 2\nhttp2 = true"));
    sees_connections(&orders, WORKERS).await;
    get(&gateway, &orders).await;
    assert_eq!(orders.connections(), WORKERS);
}

#[tokio::test]
async fn an_endpoint_that_a_file_adds_is_warmed_and_one_that_a_reload_adds() {
    let [one, two, three] = [(); 3].map(|()| upstream("orders"));
    let listed = |endpoints: &[&Upstream]| {
        let addresses: Vec<_> = endpoints.iter().map(|one| format!("\"{one}\"")).collect();
        format!("endpoints = [{}]\n", addresses.join(", "))
    };
    let text = shop("endpoints_file = \"orders.toml\"\nwarm = 2");
    let gateway = setup(&text).file("orders.toml", &listed(&[&one])).start();
    sees_connections(&one, 2 * WORKERS).await;
    gateway.write("orders.toml", listed(&[&one, &two]));
    sees_connections(&two, 2 * WORKERS).await;
    gateway.configure(&shop(&format!("{}warm = 2", listed(&[&one, &two, &three])))).await;
    sees_connections(&three, 2 * WORKERS).await;
    assert_eq!([&one, &two, &three].map(|one| (one.connections(), one.count())), [(2 * WORKERS, 0); 3]);
}

#[tokio::test]
async fn an_endpoint_that_comes_back_is_warmed() {
    let orders = upstream("orders");
    let text = shop("warm = 2\nprobe = { tcp = true, interval = \"50ms\", rise = 1, fall = 1 }");
    let gateway = gateway([&orders], &text);
    has_connections(&gateway, 2 * WORKERS).await;
    orders.kill().await;
    gateway.endpoint_is("orders", orders.address(), "unhealthy").await;
    has_connections(&gateway, 0).await;
    orders.start();
    has_connections(&gateway, 2 * WORKERS).await;
    assert_eq!(orders.count(), 0);
}

#[tokio::test]
async fn what_does_not_come_about_blames_nobody() {
    let orders = upstream("orders");
    orders.kill().await;
    let gateway = gateway([&orders], &shop("warm = 2\nejection = { failures = 1 }"));
    is_cold(&gateway).await;
    let service = gateway.service("orders").await;
    let endpoint = &service["endpoints"][0];
    assert_eq!((&endpoint["failures"]["connect"], &endpoint["state"]), (&0.into(), &"healthy".into()));
    orders.start();
    gateway.get("/").await.is(200);
}

#[tokio::test]
async fn no_more_is_opened_beforehand_than_a_service_may_have() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop("warm = 5\nconnections = 3"));
    is_cold(&gateway).await;
    has_connections(&gateway, 3).await;
    assert_eq!(orders.connections(), 3);
}
