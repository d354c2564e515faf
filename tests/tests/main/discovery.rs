//! Endpoints that are found while the gateway runs: by name and from a file.

use gatewright_tests::{Gateway, Upstream, setup, until, upstream};

mod names;

use crate::balancing::shop;
use names::{Names, Record, names};

fn srv(names: &Names) -> String {
    let server = names.address();
    shop(&format!(
        "dns = {{ srv = \"_http._tcp.orders.test\", servers = [\"{server}\"], least_time = \"50ms\", timeout = \"300ms\" }}"
    ))
}

/// Waits until these are the endpoints of the service, in any order.
async fn has(gateway: &Gateway, endpoints: &[&Upstream]) {
    let addresses: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    has_addresses(gateway, &addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// The same, by their addresses.
async fn has_addresses(gateway: &Gateway, addresses: &[&str]) {
    let mut expected = addresses.to_vec();
    expected.sort_unstable();
    until("the endpoints", async || {
        let service = gateway.service("orders").await;
        let known = service["endpoints"].as_array().unwrap().iter();
        let mut known: Vec<_> = known.map(|one| one["address"].as_str().unwrap().to_owned()).collect();
        known.sort();
        (known == expected).then_some(())
    })
    .await;
}

async fn get(gateway: &Gateway, times: usize) {
    for _ in 0..times {
        gateway.get("/").await.is(200);
    }
}

fn record(priority: u16, weight: u16, port: u16) -> Record {
    Record::Srv { priority, weight, port, target: "pod.orders.test" }
}

fn port(upstream: &Upstream) -> u16 {
    upstream.address().port()
}

#[tokio::test]
async fn the_addresses_of_a_name_are_endpoints_before_the_first_request() {
    let orders = upstream("orders");
    let names = names();
    names.set("orders.test", &[Record::A([127, 0, 0, 1])]);
    let (port, server) = (port(&orders), names.address());
    let text = format!("dns = {{ name = \"orders.test\", port = {port}, servers = [\"{server}\"] }}");
    let gateway = setup(&shop(&text)).start();
    get(&gateway, 4).await;
    assert_eq!(orders.count(), 4);
    assert_eq!(gateway.service("orders").await["search"], serde_json::json!({ "by": "dns" }));
}

#[tokio::test]
async fn addresses_of_both_kinds_are_endpoints() {
    let orders = upstream("orders");
    let names = names();
    let here = std::net::Ipv6Addr::LOCALHOST.octets();
    names.set("orders.test", &[Record::A([127, 0, 0, 1]), Record::Aaaa(here)]);
    let (port, server) = (port(&orders), names.address());
    let text = format!("dns = {{ name = \"orders.test\", port = {port}, servers = [\"{server}\"] }}");
    let gateway = setup(&shop(&text)).start();
    has_addresses(&gateway, &[&orders.to_string(), &format!("[::1]:{port}")]).await;
    // Nobody listens at the other one.
    get(&gateway, 4).await;
    assert_eq!(orders.count(), 4);
}

#[tokio::test]
async fn records_come_and_go_and_their_weights_and_priorities_count() {
    let [one, two, three] = [(); 3].map(|()| upstream("orders"));
    let names = names();
    names.set("pod.orders.test", &[Record::A([127, 0, 0, 1])]);
    names.set(
        "_http._tcp.orders.test",
        &[record(10, 1, port(&one)), record(10, 3, port(&two)), record(20, 1, port(&three))],
    );
    let gateway = setup(&srv(&names)).start();
    get(&gateway, 8).await;
    assert_eq!((one.count(), two.count(), three.count()), (2, 6, 0));
    names.set("_http._tcp.orders.test", &[record(10, 1, port(&three))]);
    has(&gateway, &[&three]).await;
    get(&gateway, 4).await;
    assert_eq!((one.count(), two.count(), three.count()), (2, 6, 4));
}

#[tokio::test]
async fn the_last_good_answer_is_kept_while_nobody_answers_or_the_name_is_gone() {
    let [one, two] = [(); 2].map(|()| upstream("orders"));
    let names = names();
    names.set("pod.orders.test", &[Record::A([127, 0, 0, 1])]);
    names.set("_http._tcp.orders.test", &[record(1, 1, port(&one))]);
    let gateway = setup(&srv(&names)).start();
    get(&gateway, 1).await;
    let fails = async |what: &str| {
        until(what, async || gateway.service("orders").await["search"]["fault"].as_str().map(drop)).await;
        get(&gateway, 3).await;
    };
    names.silence(true);
    fails("nobody answers").await;
    names.silence(false);
    names.set("_http._tcp.orders.test", &[]);
    fails("the name is gone").await;
    assert_eq!(one.count(), 7);
    names.set("_http._tcp.orders.test", &[record(1, 1, port(&two))]);
    has(&gateway, &[&two]).await;
    until("the fault is over", async || gateway.service("orders").await["search"]["fault"].is_null().then_some(()))
        .await;
    get(&gateway, 1).await;
    assert_eq!(two.count(), 1);
}

#[tokio::test]
async fn an_answer_is_asked_for_again_when_its_time_is_over_and_not_before() {
    let orders = upstream("orders");
    let names = names();
    names.set("orders.test", &[Record::A([127, 0, 0, 1])]);
    names.lives(3600);
    let (port, server) = (port(&orders), names.address());
    let text = format!(
        "dns = {{ name = \"orders.test\", port = {port}, servers = [\"{server}\"], least_time = \"1ms\", most_time = \"2h\" }}"
    );
    let long = setup(&shop(&text)).start();
    get(&long, 1).await;
    assert_eq!(names.asked(), 2, "A and AAAA");
    names.lives(1);
    let short = setup(&shop(&text)).start();
    get(&short, 1).await;
    until("it is asked again", async || (names.asked() >= 6).then_some(())).await;
    get(&long, 1).await;
}

fn listed(endpoints: &[&Upstream]) -> String {
    let addresses: Vec<String> = endpoints.iter().map(|one| format!("\"{one}\"")).collect();
    format!("endpoints = [{}]\n", addresses.join(", "))
}

#[tokio::test]
async fn endpoints_in_a_file_are_added_drained_and_removed_without_a_failed_request() {
    let orders = [(); 2].map(|()| upstream("orders"));
    let text = shop("endpoints_file = \"orders.toml\"");
    let gateway = setup(&text).file("orders.toml", &listed(&[&orders[0]])).start();
    are_exchanged(&gateway, &orders, async |these| gateway.write("orders.toml", listed(these))).await;
}

#[tokio::test]
async fn endpoints_of_the_configuration_are_added_drained_and_removed_without_a_failed_request() {
    let orders = [(); 2].map(|()| upstream("orders"));
    let text = |these: &[&Upstream]| shop(&listed(these));
    let gateway = setup(&text(&[&orders[0]])).start();
    are_exchanged(&gateway, &orders, async |these| gateway.configure(&text(these)).await).await;
}

/// Lists another endpoint beside the old one, and then that alone, while the old one has a request in hand.
async fn are_exchanged(gateway: &Gateway, [old, new]: &[Upstream; 2], list: impl AsyncFn(&[&Upstream])) {
    get(gateway, 2).await;
    let gate = old.holds();
    let held = tokio::spawn(gateway.get("/slow").into_future());
    old.sees_requests(3).await;
    list(&[old, new]).await;
    has(gateway, &[old, new]).await;
    list(&[new]).await;
    has(gateway, &[new]).await;
    let draining = gateway.service("orders").await["draining"].clone();
    assert_eq!(draining, serde_json::json!([[old.address().to_string(), 1]]));
    get(gateway, 5).await;
    assert_eq!((old.count(), new.count()), (3, 5));
    gate.open();
    held.await.unwrap().is(200);
    until("it is drained", async || gateway.service("orders").await["draining"].is_null().then_some(())).await;
}

#[tokio::test]
async fn a_file_with_faults_changes_nothing_and_says_why() {
    let [one, two] = [(); 2].map(|()| upstream("orders"));
    let gateway = setup(&shop("endpoints_file = \"orders.toml\"")).file("orders.toml", &listed(&[&one])).start();
    get(&gateway, 1).await;
    gateway.write("orders.toml", "endpoints = [\"nowhere\"]\n");
    until("the fault", async || {
        let service = gateway.service("orders").await;
        let fault = service["search"]["fault"].as_str()?;
        fault.contains("orders.toml:1: `endpoints[0]`: not host:port").then_some(())
    })
    .await;
    get(&gateway, 2).await;
    assert_eq!(one.count(), 3);
    gateway.write("orders.toml", listed(&[&two]));
    has(&gateway, &[&two]).await;
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_503_at_once_and_the_gateway_starts() {
    let names = names();
    let gateway = setup(&srv(&names)).start();
    gateway.get("/").await.is(503).has("retry-after", "1");
}
