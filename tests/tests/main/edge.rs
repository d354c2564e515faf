//! Listeners, workers and what comes in over IPv6.

use std::collections::BTreeMap;

use gatewright_tests::{Place, gateway, guest, setup, upstream, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SHOP: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n";

#[tokio::test]
async fn clients_come_in_over_ipv6_too() {
    let orders = upstream("orders");
    let limit = "limit = [{ name = \"address\", by = \"address\", requests = 2, per = \"1h\" }]";
    let gateway = gateway([&orders], &format!("server = {{ listen = [\"[::1]:0\", \"127.0.0.1:0\"] }}\n{SHOP}{limit}"));
    let [six, four] = gateway.addresses[..] else { panic!("two listeners: {:?}", gateway.addresses) };
    assert!(six.is_ipv6() && four.is_ipv4());
    gateway.get_at(six, "/six").field("host", &six.to_string()).await.is(200);
    gateway.get_at(four, "/four").await.is(200);
    let [by_six, by_four] = &orders.seen()[..] else { panic!("two requests") };
    assert_eq!(by_six.field("x-forwarded-for"), Some("::1"));
    assert_eq!(by_six.field("host"), Some(six.to_string().as_str()));
    assert!(by_six.field("forwarded").unwrap().contains("for=\"[::1]\""), "{by_six:?}");
    assert_eq!(by_four.field("x-forwarded-for"), Some("127.0.0.1"));
    // Each address has its own count.
    gateway.get_at(six, "/").await.is(200);
    gateway.get_at(six, "/").await.is(429);
    gateway.get_at(four, "/").await.is(200);
}

#[tokio::test]
async fn a_service_may_be_reached_over_ipv6() {
    let listener = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
    let gateway = setup(SHOP).to(Place::new("orders", listener.local_addr().unwrap())).start();
    let asking = tokio::spawn(gateway.get("/").into_future());
    let (mut service, _) = within("a connection", listener.accept()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(within("a head", service.read_buf(&mut head)).await.unwrap(), 0);
    }
    service.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nsix").await.unwrap();
    asking.await.unwrap().is(200).says("six");
}

#[tokio::test]
async fn connections_are_spread_over_the_workers() {
    const WORKERS: usize = 3;
    const CONNECTIONS: usize = 12;
    // A worker has an instance of its own, which counts its calls and says how many by as many stars.
    let counts = guest(
        r#"(global $calls (mut i32) (i32.const 0))
        (data (i32.const 4096) "************")
        (func $route (result i32)
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (call $respond (i32.const 200) (i32.const 4096) (global.get $calls)))"#,
    );
    let text = format!(
        "server = {{ workers = {WORKERS} }}\n[[api]]\nname = \"shop\"\nservices = [\"orders\"]\nrouting = {{ plugin = \"one\" }}"
    );
    let gateway = setup(&text).to(&upstream("orders")).plugin("one", &counts).start();
    let (mut connections, mut said) = (Vec::new(), BTreeMap::<usize, usize>::new());
    for _ in 0..CONNECTIONS {
        let connection = gateway.http1().await;
        *said.entry(connection.get("/").await.is(200).body.len()).or_default() += 1;
        connections.push(connection);
    }
    let fair: BTreeMap<_, _> = (1..=CONNECTIONS / WORKERS).map(|calls| (calls, WORKERS)).collect();
    assert_eq!(said, fair, "each worker has as many as the others");
}
