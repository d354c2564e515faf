//! The edge under pressure: too many connections, clients that take nothing, load balancers in front, and restarts.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use gatewright_tests::{Call, Raw, Reply, gateway, setup, until, upstream, within};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::command::gatewright;

const SHOP: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n";
const REQUEST: &str = "GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n";

async fn is_served(raw: &mut Raw) -> bool {
    raw.write(REQUEST).await;
    raw.answer().await.status == 200
}

#[tokio::test]
async fn one_address_has_no_more_connections_than_it_may() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &format!("server = {{ connections_per_address = 2 }}\n{SHOP}"));
    let (mut one, mut two) = (gateway.raw().await, gateway.raw().await);
    assert!(is_served(&mut one).await && is_served(&mut two).await);
    // Closed without an answer.
    assert!(gateway.raw().await.end().await.is_empty());
    gateway.get("/").from("127.0.0.2").await.is(200);
    drop(one);
    until("a place for another", async || {
        let served = gateway.get("/").tried().await;
        served.is_ok().then_some(())
    })
    .await;
    assert!(is_served(&mut two).await, "those that are open stay");
}

#[tokio::test]
async fn another_configuration_bounds_the_next_connection() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let (mut one, mut two) = (gateway.raw().await, gateway.raw().await);
    assert!(is_served(&mut one).await && is_served(&mut two).await);
    for bound in ["connections_per_address = 2", "connections = 2"] {
        gateway.configure(&format!("server = {{ {bound} }}\n{SHOP}")).await;
        until("no more connections", async || gateway.raw().await.end().await.is_empty().then_some(())).await;
        gateway.configure(SHOP).await;
        until("more connections", async || gateway.get("/").tried().await.is_ok().then_some(())).await;
    }
    gateway.configure(&format!("server = {{ connections_per_address = 1, trusted = [\"127.0.0.1\"] }}\n{SHOP}")).await;
    gateway.get("/").await.is(200);
    assert!(is_served(&mut one).await && is_served(&mut two).await, "those that are open stay");
}

#[tokio::test]
async fn another_configuration_says_how_long_an_end_may_take() {
    let orders = upstream("orders");
    let gate = orders.holds();
    let program = gatewright().start(setup(SHOP).to(&orders)).await;
    let call = tokio::spawn(program.get("/").tried());
    orders.sees_requests(1).await;
    program.replace("shutdown = \"5s\"", "shutdown = \"100ms\"").await;
    program.replace("level = \"info\"", "level = \"error\"").await;
    program.terminate();
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.errors.contains("configuration applied"), "{}", ended.errors);
    assert!(!ended.errors.contains("cut off"), "warnings are not logged any more: {}", ended.errors);
    assert!(call.await.unwrap().is_err(), "it was cut off");
    gate.open();
}

#[tokio::test]
async fn signals_of_other_servers_end_nothing_and_a_hang_up_reads_the_configuration() {
    let orders = upstream("orders");
    let gate = orders.holds();
    let program = gatewright().start(setup(SHOP).to(&orders)).await;
    let call = tokio::spawn(program.get("/").into_future());
    orders.sees_requests(1).await;
    let applied = r#"gatewright_reloads_total{outcome="applied"}"#;
    for count in 1..=2 {
        [Signal::USR1, Signal::USR2, Signal::HUP].into_iter().for_each(|signal| program.signal(signal));
        let reloads = async || program.admin("/metrics").await.is(200).sample(applied);
        until("it is read again", async || (reloads().await >= f64::from(count)).then_some(())).await;
    }
    gate.open();
    call.await.unwrap().is(200);
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

#[tokio::test]
async fn trusted_peers_stand_for_many_clients() {
    let orders = upstream("orders");
    let text = format!("server = {{ connections_per_address = 1, trusted = [\"127.0.0.1\"] }}\n{SHOP}");
    let gateway = gateway([&orders], &text);
    let (mut one, mut two) = (gateway.raw().await, gateway.raw().await);
    assert!(is_served(&mut one).await && is_served(&mut two).await);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_closed() {
    let orders = upstream("orders");
    // More than the buffers of all sockets on the way.
    orders.answers(|_| Reply::text("").body(vec![b'x'; 64 << 20]));
    let gateway = gateway([&orders], &format!("server = {{ send_timeout = \"100ms\" }}\n{SHOP}"));
    let mut raw = gateway.raw().await;
    raw.write(REQUEST).await;
    gateway.metric_is("gatewright_connections_total", |count| count == 1.0).await;
    gateway.metric_is("gatewright_connections_open", |open| open == 0.0).await;
    let sample = r#"gatewright_requests_total{api="shop",outcome="forwarded",status="2xx"}"#;
    gateway.metric_is(sample, |count| count == 1.0).await;
}

#[tokio::test]
async fn a_load_balancer_says_whose_connection_it_is() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &format!("server = {{ proxy_protocol = true }}\n{SHOP}"));
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\xc0\0\x02\x01\x04\xd2\x01\xbb";
    for (header, client) in [
        (&b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 443\r\n"[..], "192.0.2.7"),
        (&v2[..], "192.0.2.8"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    ] {
        let mut raw = gateway.raw().await;
        raw.write([header, REQUEST.as_bytes()].concat()).await;
        raw.answer().await.is(200);
        let seen = orders.seen();
        assert_eq!(seen.last().unwrap().field("x-forwarded-for"), Some(client));
    }
    // Whoever comes without it is not let in.
    for bytes in [REQUEST, "PROXY TCP4 1.2.3 4\r\n", "\r\n\r\n"] {
        let mut raw = gateway.raw().await;
        raw.write(bytes).await;
        raw.finish().await;
        assert!(raw.end().await.is_empty());
    }
    assert_eq!(orders.count(), 3);
}

#[tokio::test]
async fn readiness_fails_first_and_connections_are_taken_meanwhile() {
    let orders = upstream("orders");
    let shop = setup(&format!("server = {{ linger = \"1h\" }}\n{SHOP}")).to(&orders);
    let program = gatewright().start(shop).await;
    program.admin("/readyz").await.is(200);
    let (kept, streams) = (program.http1().await, program.http2().await);
    assert_eq!(kept.get("/").await.is(200).field("connection"), None);
    streams.get("/").await.is(200);
    program.terminate();
    until("readiness fails", async || (program.admin("/readyz").await.status == 503).then_some(())).await;
    program.get("/").await.is(200);
    // Who has a connection is told to open the next one elsewhere.
    assert_eq!(kept.get("/").await.is(200).field("connection"), Some("close"));
    for _ in 0..2 {
        assert_eq!(streams.get("/").await.is(200).field("connection"), None);
    }
    // Whoever cannot wait asks again.
    program.terminate();
    assert_eq!(program.ended().await.code, Some(0));
}

#[tokio::test]
async fn a_replacement_with_the_same_socket_loses_no_request() {
    let orders = upstream("orders");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let start = async || {
        let shop = setup(&format!("server = {{ listen = \"{address}\" }}\n{SHOP}")).to(&orders);
        gatewright().socket(&socket).start(shop).await
    };
    let old = start().await;
    assert_eq!(old.address, address);
    let (ending, mut clients) = (Arc::new(AtomicBool::new(false)), Vec::new());
    for _ in 0..4 {
        let ending = Arc::clone(&ending);
        clients.push(tokio::spawn(async move {
            let mut count = 0_u32;
            while !ending.load(Relaxed) {
                Call::get(address, "/").await.is(200);
                count += 1;
            }
            count
        }));
    }
    orders.sees_requests(20).await;
    let new = start().await;
    old.terminate();
    assert_eq!(old.ended().await.code, Some(0));
    let before = orders.count();
    orders.sees_requests(before + 20).await;
    ending.store(true, Relaxed);
    for client in clients {
        assert!(client.await.unwrap() > 0);
    }
    new.terminate();
    assert_eq!(new.ended().await.code, Some(0));
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_no_request() {
    // Each of these is a line of six kibibytes, far more of them than a pipe and the gateway's own memory for lines take.
    let long = format!("/{}", "x".repeat(6 * 1024));
    let orders = upstream("orders");
    let program = gatewright().with_an_unread_log().start(setup(SHOP).to(&orders)).await;
    let connection = program.http1().await;
    for _ in 0..1000 {
        connection.get(&long).await.is(200);
    }
    let dropped = program.admin("/metrics").await.is(200).sample(r#"gatewright_log_lines_dropped_total{log="access"}"#);
    assert!((1.0..1000.0).contains(&dropped), "{dropped}");
    program.reads_log();
    program.terminate();
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0));
    let told =
        ended.errors.lines().any(|line| line.contains("lines were dropped") && line.contains("\"log\":\"access\""));
    assert!(told, "{}", ended.errors);
}

#[tokio::test]
async fn whoever_sends_first_and_reads_then_sees_its_answer_too() {
    let orders = upstream("orders");
    // Beyond what all buffers on the way take.
    let body = "x".repeat(8 << 20);
    let text = "[[api]]\nname = \"shop\"\npaths = [\"/shop\"]\nservice = \"orders\"\nbody = \"1MiB\"\n";
    let gateway = gateway([&orders], text);
    for (path, status) in [("/nowhere", 404), ("/shop", 413)] {
        let sized = format!("content-length: {}\r\n\r\n{body}", body.len());
        let chunked = format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        for rest in [sized, chunked] {
            let mut client = TcpStream::connect(gateway.address).await.unwrap();
            let request = format!("POST {path} HTTP/1.1\r\nhost: shop.example\r\n{rest}");
            within("all of it is taken", client.write_all(request.as_bytes())).await.unwrap();
            let mut answer = String::new();
            within("its answer", client.read_to_string(&mut answer)).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_log_on_a_full_disk_costs_its_lines_only_and_is_told_once() {
    const LINES: &str = r#"gatewright_log_lines_dropped_total{log="access"}"#;
    let orders = upstream("orders");
    let program = gatewright().on_a_full_disk().start(setup(SHOP).to(&orders)).await;
    // Lines are written when a worker ticks: the second one may be behind the first.
    for count in 1..=2 {
        program.get("/").await.is(200);
        let dropped = async || program.admin("/metrics").await.is(200).sample(LINES);
        until("the line is given up", async || (dropped().await >= f64::from(count)).then_some(())).await;
    }
    program.terminate();
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0));
    let told = ended.errors.lines().filter(|line| line.contains("the log cannot be written"));
    assert_eq!(told.count(), 1, "{}", ended.errors);
}
