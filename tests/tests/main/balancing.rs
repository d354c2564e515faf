//! Which endpoint of a service: algorithms, health, ejection and retries.

use std::time::{Duration, Instant};

use gatewright_tests::{
    Answer, Gateway, Place, RawUpstream, Reply, Upstream, gateway, raw_upstream, setup, until, upstream,
};
use tokio::task::JoinHandle;

/// One API for one service with these settings, on one worker: a worker has its own turn.
pub(crate) fn shop(service: &str) -> String {
    shop_on(1, service)
}

/// The same on so many workers.
pub(crate) fn shop_on(workers: usize, service: &str) -> String {
    format!(
        "server = {{ workers = {workers} }}\n[service.orders]\n{service}\n[[api]]\nname = \"shop\"\nservice = \"orders\"\n"
    )
}

async fn get(gateway: &Gateway, times: usize) {
    for _ in 0..times {
        gateway.get("/").await.is(200);
    }
}

#[tokio::test]
async fn requests_go_round_by_weight() {
    let (light, heavy) = (upstream("orders"), upstream("orders").weighing(3));
    let gateway = gateway([&light, &heavy], &shop("balance = \"round-robin\""));
    get(&gateway, 16).await;
    assert_eq!((light.count(), heavy.count()), (4, 12));
}

/// Lets one request after the other go until this endpoint, which answers none, has one in hand; answers all of them.
pub(crate) async fn reaches(slow: &Upstream, quick: &Upstream, gateway: &Gateway) -> Vec<JoinHandle<Answer>> {
    let mut held = Vec::new();
    while slow.count() == 0 {
        let before = quick.count();
        held.push(tokio::spawn(gateway.get("/").into_future()));
        until("one of them", async || (slow.count() == 1 || quick.count() > before).then_some(())).await;
    }
    held
}

#[tokio::test]
async fn the_busy_endpoint_is_spared() {
    let (slow, quick) = (upstream("orders"), upstream("orders"));
    let gateway = gateway([&slow, &quick], &shop("balance = \"least-busy\""));
    let gate = slow.holds();
    // From now on it is the busier one.
    let held = reaches(&slow, &quick, &gateway).await;
    get(&gateway, 10).await;
    assert_eq!(slow.count(), 1);
    gate.open();
    for held in held {
        held.await.unwrap().is(200);
    }
}

#[tokio::test]
async fn when_an_endpoint_is_killed_the_others_serve_and_it_comes_back() {
    let (one, two) = (upstream("orders"), upstream("orders"));
    let text = shop("ejection = { failures = 2, time = \"200ms\", most_time = \"1s\" }");
    let gateway = gateway([&one, &two], &text);
    get(&gateway, 4).await;
    one.kill().await;
    let before = one.count();
    get(&gateway, 20).await;
    assert_eq!(one.count(), before);
    one.start();
    until("the endpoint is asked again", async || {
        gateway.get("/").await.is(200);
        (one.count() > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_that_fails_in_a_row_is_ejected_but_never_the_last() {
    let (bad, good) = (upstream("orders"), upstream("orders"));
    bad.answers(|_| Reply::status(503));
    let text = shop("ejection = { failures = 3, time = \"1h\", most_time = \"1h\" }");
    let gateway = gateway([&bad, &good], &text);
    let mut failed = 0;
    for _ in 0..20 {
        failed += usize::from(gateway.get("/").await.status == 503);
    }
    assert_eq!((failed, bad.count()), (3, 3));
    gateway.endpoint_is("orders", bad.address(), "ejected").await;
    good.answers(|_| Reply::status(503));
    for _ in 0..10 {
        gateway.get("/").await.is(503);
    }
    // One of two is the most: the other one goes on.
    assert_eq!((bad.count(), good.count()), (3, 27));
}

#[tokio::test]
async fn where_nobody_listens_it_is_502() {
    let orders = upstream("orders");
    orders.kill().await;
    let gateway = gateway([&orders], &shop(""));
    gateway.get("/").await.is(502).problem("The service cannot be reached");
    orders.start();
    gateway.get("/").await.is(200);
}

#[tokio::test]
async fn a_service_that_closes_without_an_answer_is_502_and_not_asked_twice() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop(""));
    orders.answers_once(Reply::close());
    gateway.post("/").body("once").await.is(502);
    assert_eq!(orders.only().text(), "once");
    gateway.get("/").await.is(200);
}

#[tokio::test]
async fn a_slow_service_is_504_in_its_time() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop("timeout = \"200ms\""));
    let _gate = orders.holds();
    let start = Instant::now();
    gateway.get("/").await.is(504).problem("The service did not answer in time");
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(orders.count(), 1);
}

#[tokio::test]
async fn probes_take_endpoints_out_and_bring_them_back() {
    let (one, two) = (upstream("orders"), upstream("orders"));
    let text = shop(
        r#"probe = { http = "/healthz", host = "orders.internal", interval = "50ms", timeout = "1s", rise = 1, fall = 2 }"#,
    );
    let gateway = gateway([&one, &two], &text);
    one.sees("a probe", |seen| seen.target == "/healthz" && seen.field("host") == Some("orders.internal")).await;
    let asked = |upstream: &Upstream| upstream.seen().iter().filter(|seen| seen.target == "/").count();
    get(&gateway, 4).await;
    assert_eq!((asked(&one), asked(&two)), (2, 2));
    one.answers(|_| Reply::status(500));
    gateway.endpoint_is("orders", one.address(), "unhealthy").await;
    get(&gateway, 6).await;
    assert_eq!((asked(&one), asked(&two)), (2, 8));
    let sample = format!("gatewright_endpoint_healthy{{service=\"orders\",endpoint=\"{one}\"}}");
    assert_eq!(gateway.metric(&sample).await, 0.0);
    one.answers(|_| Reply::text("back"));
    gateway.endpoint_is("orders", one.address(), "healthy").await;
    get(&gateway, 4).await;
    assert_eq!(asked(&one), 4);
}

#[tokio::test]
async fn where_no_endpoint_is_healthy_it_is_503_at_once() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop(r#"probe = { tcp = true, interval = "50ms", rise = 1, fall = 1 }"#));
    get(&gateway, 1).await;
    orders.kill().await;
    gateway.endpoint_is("orders", orders.address(), "unhealthy").await;
    gateway.get("/").await.is(503).problem("The service is not available").has("retry-after", "1");
    orders.start();
    gateway.endpoint_is("orders", orders.address(), "healthy").await;
    get(&gateway, 1).await;
}

#[tokio::test]
async fn health_survives_a_reload() {
    let (bad, good) = (upstream("orders"), upstream("orders"));
    bad.answers(|_| Reply::status(503));
    let text = shop("ejection = { failures = 1, time = \"1h\", most_time = \"1h\" }");
    let gateway = gateway([&bad, &good], &text);
    gateway.get("/").await;
    gateway.get("/").await;
    gateway.endpoint_is("orders", bad.address(), "ejected").await;
    gateway.configure(&format!("{text}\n[[api]]\nname = \"more\"\npaths = [\"/more\"]\nservice = \"orders\"")).await;
    gateway.endpoint_is("orders", bad.address(), "ejected").await;
    get(&gateway, 6).await;
    assert_eq!(bad.count(), 1);
}

#[tokio::test]
async fn a_service_takes_so_many_requests_at_a_time() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &shop("in_flight = 1"));
    let gate = orders.holds();
    let held = tokio::spawn(gateway.get("/").into_future());
    orders.sees_requests(1).await;
    gateway.get("/").await.is(503).problem("The service is overloaded");
    gate.open();
    held.await.unwrap().is(200);
    get(&gateway, 1).await;
}

async fn serve_one(orders: &RawUpstream) -> gatewright_tests::Raw {
    let mut connection = orders.accept().await;
    connection.head().await;
    connection.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    connection
}

#[tokio::test]
async fn connections_are_kept_and_one_that_was_closed_meanwhile_costs_nothing() {
    let orders = raw_upstream("orders");
    let gateway = setup(&shop("retry = false")).to(Place::from(&orders)).start();
    let call = || tokio::spawn(gateway.post("/").body("x").into_future());
    let first = call();
    let mut connection = serve_one(&orders).await;
    first.await.unwrap().is(200);
    // The second one comes on the same connection.
    let second = call();
    connection.bytes(1).await;
    connection.head().await;
    connection.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    second.await.unwrap().is(200);
    for end in [Raw::Finish, Raw::Reset] {
        match end {
            Raw::Finish => connection.finish().await,
            Raw::Reset => connection.reset(),
        }
        let next = call();
        connection = serve_one(&orders).await;
        next.await.unwrap().is(200);
    }
}

/// How a service's connection ends.
enum Raw {
    Finish,
    Reset,
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_is_another_ones_turn() {
    let good = upstream("orders");
    let dead = upstream("orders");
    dead.kill().await;
    let gateway = gateway([&dead, &good], &shop("ejection = false"));
    get(&gateway, 10).await;
    assert_eq!(good.count(), 10);
    let service = gateway.service("orders").await;
    assert!(service["endpoints"][0]["failures"]["connect"].as_u64().unwrap() >= 5, "{service}");
}
