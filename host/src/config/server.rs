//! `[server]`, `[admin]` and `[log]`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;

use super::groups::{List, OneOrMany, OrFalse, record};
use super::kinds::{Address, Count, Flag, Parsed, SPAN, Size, TIMEOUT, Words};
use super::limit::Rate;
use super::source::Space;
use super::table::Table;
use super::texts;
use super::tls::ServerTls;

/// Tokio and the kernel take more, but nobody has more cores.
const MOST_WORKERS: usize = 1024;
const LISTENER: Address<'static> = Address { space: Space::Listener, scope: "" };
const CIDR: Parsed<Cidr> = Parsed {
    what: "a network like `10.0.0.0/8`",
    parse: texts::cidr,
    show: |cidr| json!(format!("{}/{}", cidr.address, cidr.bits)),
};

/// The listeners, workers, timers and bounds of the edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// At least one.
    pub listen: Vec<SocketAddr>,
    /// Where they come in with TLS; `None`: nowhere.
    pub tls: Option<ServerTls>,
    /// Worker threads, at least one.
    pub workers: usize,
    /// Peers whose forwarding fields are kept.
    pub trusted: Vec<Cidr>,
    /// What becomes of a request's `traceparent`.
    pub trace: Trace,
    /// How long requests in flight may take after SIGTERM.
    pub shutdown: Duration,
    /// How long a client may take to send a request's head.
    pub head_timeout: Duration,
    /// How long a connection may be silent between requests.
    pub idle_timeout: Duration,
    /// How long a request body may pause.
    pub body_timeout: Duration,
    /// The most bytes of a request's head.
    pub head_bytes: usize,
    /// The most fields of a request.
    pub head_fields: usize,
    /// The most bytes of a request's target.
    pub target_bytes: usize,
    /// Open client connections in total.
    pub connections: usize,
    /// Open client connections of one address (IPv6: of one /64), trusted peers not counted.
    pub connections_per_address: usize,
    /// Whether every connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// How long a client may take no bytes of an answer that waits for it.
    pub send_timeout: Duration,
    /// Bytes a second that a client must take of answers that wait for it, after a grace of five seconds; zero: any.
    pub send_rate: u64,
    /// Bytes a second that a request body must bring on average, after the first five seconds; zero: any.
    pub body_rate: u64,
    /// Streams that one HTTP/2 client may have open.
    pub http2_streams: usize,
    /// How long the gateway still takes connections after SIGTERM, while `/readyz` fails already.
    pub linger: Duration,
    /// Bytes of request bodies that may be held for plugins at one time, over all workers.
    pub buffer_bytes: usize,
    /// The most failed authentications of one address before it is answered 429 at once; `None`: any.
    pub failed_auth: Option<Rate>,
}

/// What becomes of a request's `traceparent` (W3C Trace Context).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// The client's trace goes on, whoever it is; without one that can be read one begins.
    Continue,
    /// A trace begins with every request.
    Begin,
    /// It passes as it is, and none is written.
    Off,
}

/// A network: an address and how many leading bits of it count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The network's address; the bits that do not count are zero.
    pub address: IpAddr,
    /// Leading bits that count: at most 32 for IPv4, 128 for IPv6.
    pub bits: u8,
}

impl Server {
    pub(super) fn read(t: &mut Table<'_>) -> Self {
        let local = vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8080)];
        let traces = Words(&[("continue", Trace::Continue), ("begin", Trace::Begin), ("off", Trace::Off)]);
        let workers = "Worker threads. Default: one per core.";
        let failed = "The most failed authentications of one address before it is answered 429 at once. Left out, it is on with its own defaults; `false`: any.";
        Self {
            listen: t.or(
                "listen",
                "Addresses for clients; port 0 is any free one.",
                local,
                &OneOrMany(list(LISTENER, 1)),
            ),
            tls: t.given("tls", "Where clients come in with TLS, and who we are to them.", &record(ServerTls::read)),
            workers: t.given("workers", workers, &Count(1..=MOST_WORKERS)).unwrap_or_else(cores),
            trusted: t.or("trusted", "Networks of peers whose forwarding fields are kept.", vec![], &list(CIDR, 0)),
            trace: t.or(
                "trace",
                "`traceparent`: `continue`: the client's trace goes on, or one begins; `begin`: one begins; `off`: it passes.",
                Trace::Continue,
                &traces,
            ),
            shutdown: t.or("shutdown", "How long requests in flight may take after SIGTERM.", seconds(30), &SPAN),
            head_timeout: t.or("head_timeout", "The longest a request's head may take.", seconds(10), &TIMEOUT),
            idle_timeout: t.or("idle_timeout", "The longest silence between requests.", seconds(60), &TIMEOUT),
            body_timeout: t.or("body_timeout", "The longest a request body may pause.", seconds(30), &TIMEOUT),
            head_bytes: t.or("head_bytes", "The largest head of a request.", 32 << 10, &Size(8 << 10..=1 << 20)),
            head_fields: t.or("head_fields", "The most fields of a request.", 100, &Count(1..=10_000)),
            target_bytes: t.or("target_bytes", "The longest target of a request.", 8 << 10, &Size(64..=64 << 10)),
            connections: t.or("connections", "Open client connections.", 10_000, &Count(1..=10_000_000)),
            connections_per_address: t.or(
                "connections_per_address",
                "Open client connections of one address (IPv6: one /64); trusted peers are not counted.",
                1_000,
                &Count(1..=10_000_000),
            ),
            proxy_protocol: t.or(
                "proxy_protocol",
                "Whether every connection begins with a header of the PROXY protocol (1 or 2), which says whose it is.",
                false,
                &Flag,
            ),
            send_timeout: t.or(
                "send_timeout",
                "The longest a client may take no bytes of an answer.",
                seconds(60),
                &TIMEOUT,
            ),
            send_rate: t.or(
                "send_rate",
                "Bytes a second that a client must take of an answer that waits for it, after five seconds of grace; 0: any.",
                256,
                &Size(0..=1 << 30),
            ),
            body_rate: t.or(
                "body_rate",
                "Bytes a second that a request body must bring on average, after its first five seconds; 0: any.",
                256,
                &Size(0..=1 << 30),
            ),
            http2_streams: t.or(
                "http2_streams",
                "Streams that one HTTP/2 client may have open.",
                128,
                &Count(1..=10_000),
            ),
            linger: t.or(
                "linger",
                "How long connections are still taken after SIGTERM while `/readyz` fails already.",
                Duration::ZERO,
                &SPAN,
            ),
            buffer_bytes: t.or(
                "buffer_bytes",
                "Request bodies held for plugins at one time, over all workers.",
                64 << 20,
                &Size(0..=1 << 40),
            ),
            failed_auth: t
                .given("failed_auth", failed, &OrFalse(record(Rate::of_failed_auth)))
                .unwrap_or_else(|| Rate::of_failed_auth(&mut t.absence())),
        }
    }
}

/// The address of the admin listener.
pub(super) fn admin(t: &mut Table<'_>) -> SocketAddr {
    let local = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9900);
    t.or("listen", "The address for operators: never one that clients reach.", local, &LISTENER)
}

/// What is written, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// One line per request.
    pub access: bool,
    /// The least level that is written.
    pub level: LogLevel,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Readable on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the field's")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

impl Log {
    pub(super) fn read(t: &mut Table<'_>) -> Self {
        let formats = Words(&[("auto", LogFormat::Auto), ("json", LogFormat::Json), ("text", LogFormat::Text)]);
        let levels = Words(&[
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
        ]);
        Self {
            format: t.or("format", "`auto`: readable on a terminal, JSON elsewhere.", LogFormat::Auto, &formats),
            access: t.or("access", "Whether every request is one line.", true, &Flag),
            level: t.or("level", "The least level that is written.", LogLevel::Info, &levels),
        }
    }
}

fn list<K>(of: K, least: usize) -> List<K> {
    List { of, least }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
