//! Clients that are slow on purpose, hundreds at once: each is closed, and others notice nothing of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use gatewright_tests::{Call, Connection, Gateway, Raw, Reply, Upstream, gateway, upstream};
use tokio::sync::Mutex;

/// How many are slow at one time.
const SLOW: usize = 500;
/// How often a slow client does the least that it can.
const DRIP: Duration = Duration::from_millis(250);
/// Bytes of an answer: more than what the buffers on the way to a slow reader take.
const LARGE: usize = 512 * 1024;
const SHOP: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n";

/// What slow clients are slow in.
#[derive(Clone, Copy)]
enum Mode {
    /// They send a head without end.
    Head,
    /// They send a body that stops.
    Pausing,
    /// They send a body byte by byte.
    Dripping,
    /// They take an answer byte by byte.
    Reading,
    /// They take an answer steadily, never pausing for long.
    Sipping,
}

impl Mode {
    /// What clients are held to.
    fn settings(self) -> &'static str {
        match self {
            Self::Sipping => r#"server = { send_timeout = "1h", send_rate = "1MiB", idle_timeout = "1h" }"#,
            _ => {
                r#"server = { head_timeout = "1s", body_timeout = "1s", send_timeout = "1s", send_rate = 0, idle_timeout = "1h" }"#
            }
        }
    }
}

#[tokio::test]
async fn five_hundred_slow_heads_are_closed_and_nobody_notices() {
    besiege(Mode::Head).await;
}

#[tokio::test]
async fn five_hundred_bodies_that_stop_are_closed_and_nobody_notices() {
    besiege(Mode::Pausing).await;
}

#[tokio::test]
async fn five_hundred_bodies_that_drip_are_closed_and_nobody_notices() {
    besiege(Mode::Dripping).await;
}

#[tokio::test]
async fn five_hundred_slow_readers_are_closed_and_nobody_notices() {
    besiege(Mode::Reading).await;
}

#[tokio::test]
async fn five_hundred_readers_that_sip_are_closed_and_nobody_notices() {
    besiege(Mode::Sipping).await;
}

async fn besiege(mode: Mode) {
    /// They are many: one siege at a time is enough for a small machine.
    static ONE: Mutex<()> = Mutex::const_new(());
    let _one = ONE.lock().await;
    let orders = orders();
    let gateway = gateway([&orders], &format!("{}\n{SHOP}", mode.settings()));
    let over = Arc::new(AtomicBool::new(false));
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        slow.push(tokio::spawn(is_slow(begun(&gateway, mode).await, mode, Arc::clone(&over))));
    }
    gateway.metric_is("gatewright_connections_total", |count| count >= SLOW as f64).await;
    let behaved = tokio::spawn(behaves(gateway.http1().await, gateway.address, Arc::clone(&over)));
    // The one that behaves has two.
    gateway.metric_is("gatewright_connections_open", |open| open <= 2.0).await;
    over.store(true, Relaxed);
    for slow in slow {
        slow.await.unwrap();
    }
    assert!(behaved.await.unwrap() > 0, "somebody was served meanwhile");
    gateway.get("/").await.is(200);
}

fn orders() -> Upstream {
    let orders = upstream("orders");
    orders.answers(|seen| match seen.target.as_str() {
        "/large" => Reply::text("").body(vec![b'x'; LARGE]),
        _ => Reply::text("orders"),
    });
    orders
}

/// A slow client that has begun.
async fn begun(gateway: &Gateway, mode: Mode) -> Raw {
    let mut raw = Raw::connect_narrow(gateway.address).await;
    let first = match mode {
        Mode::Head => "GET / HTTP/1.1\r\nhost: shop.example\r\nx: ",
        Mode::Pausing | Mode::Dripping => "POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 100000\r\n\r\nx",
        Mode::Reading | Mode::Sipping => "GET /large HTTP/1.1\r\nhost: shop.example\r\n\r\n",
    };
    raw.write(first).await;
    raw
}

/// Goes on as slowly as it can until it is over: then the gateway has closed the connection.
async fn is_slow(mut raw: Raw, mode: Mode, over: Arc<AtomicBool>) {
    while !over.load(Relaxed) {
        match mode {
            Mode::Head | Mode::Dripping => drop(raw.write("y").await),
            Mode::Pausing => {}
            Mode::Reading => drop(raw.reads(8).await),
            Mode::Sipping => drop(raw.reads(4096).await),
        }
        tokio::time::sleep(DRIP).await;
    }
    if matches!(mode, Mode::Reading | Mode::Sipping) {
        // What the system still holds for it comes through a window of a few segments, and may take minutes.
        return;
    }
    let said = String::from_utf8_lossy(&raw.end().await).into_owned();
    match mode {
        Mode::Head => assert!(said.is_empty(), "{said}"),
        // What it wrote behind the answer may have cost it that.
        Mode::Dripping if said.is_empty() => {}
        Mode::Pausing | Mode::Dripping => assert!(said.starts_with("HTTP/1.1 408 "), "{said}"),
        Mode::Reading | Mode::Sipping => {}
    }
}

/// A client as clients are: on a kept connection and on new ones, every request is answered. Answers how many.
async fn behaves(kept: Connection, address: SocketAddr, over: Arc<AtomicBool>) -> usize {
    let mut count = 0;
    while !over.load(Relaxed) {
        kept.get("/").await.is(200).says("orders");
        Call::get(address, "/").await.is(200).says("orders");
        count += 1;
        tokio::time::sleep(DRIP / 10).await;
    }
    count
}
