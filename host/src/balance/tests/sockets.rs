//! Probes against real sockets.

use std::sync::atomic::AtomicU16;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;

/// No test waits longer than this for a change; none comes near.
const PATIENCE: Duration = Duration::from_secs(20);

/// An endpoint whose answer can be changed.
#[derive(Default)]
struct Site {
    /// The status of its answers; zero: garbage.
    status: AtomicU16,
    asked: AtomicUsize,
}

impl Site {
    async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let site = Arc::clone(&self);
            tokio::spawn(async move { site.answer(stream).await });
        }
    }

    async fn answer(&self, mut stream: TcpStream) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        let head = String::from_utf8(head).ok()?;
        let good = head.starts_with("GET /up?now HTTP/1.1\r\n") && head.contains("host: orders.test\r\n");
        let answer = match self.status.load(Ordering::SeqCst) {
            0 => "nonsense\r\n\r\n".to_owned(),
            status if good => format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok"),
            _ => "HTTP/1.1 418 X\r\n\r\n".to_owned(),
        };
        stream.write_all(answer.as_bytes()).await.ok()
    }
}

pub(super) fn http() -> ProbeKind {
    let (path, host) = ("/up?now".into(), "orders.test".into());
    ProbeKind::Http(HttpProbe { path, host, headers: vec![], status: vec![(200, 299)], body: None })
}

async fn site(status: u16) -> (Arc<Site>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let site = Arc::new(Site { status: AtomicU16::new(status), asked: AtomicUsize::new(0) });
    tokio::spawn(Arc::clone(&site).serve(listener));
    (site, address)
}

/// An address that refuses connections, and that no one else can get, until the socket listens.
fn closed() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn probed(addresses: &[SocketAddr], probe: Probe) -> config::Service {
    let endpoints = addresses.iter().map(|address| Endpoint { address: *address, weight: 1, tier: 1 }).collect();
    let endpoints = Endpoints::Listed(endpoints);
    config::Service { endpoints, probe: Some(probe), ..settings(&[]) }
}

async fn changed(endpoint: &EndpointState, seen: u64) -> u64 {
    tokio::time::timeout(PATIENCE, endpoint.changed(seen)).await.unwrap()
}

#[test]
fn an_endpoint_falls_and_rises_with_its_status() {
    let world = World::new();
    world.runtime.block_on(async {
        let (site, address) = site(503).await;
        let service = world.apply(&probed(&[address], probe(http(), 2, 3)));
        let endpoint = &Arc::clone(&service.endpoints()[0]);
        assert_eq!(changed(endpoint, 0).await, 1);
        assert_eq!(state(endpoint), State::Unhealthy(ProbeFailure::Status(503)));
        assert_eq!(site.asked.load(Ordering::SeqCst), 3, "it falls at the third failure");
        site.status.store(204, Ordering::SeqCst);
        assert_eq!(changed(endpoint, 1).await, 2);
        assert_eq!(state(endpoint), State::Healthy);
        assert!(site.asked.load(Ordering::SeqCst) >= 5, "two successes raise it");
    });
}

#[test]
fn a_probe_tells_why_it_failed() {
    let world = World::new();
    world.runtime.block_on(async {
        let (nonsense, silent) = (site(0).await.1, TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (_socket, gone) = closed();
        let mut rule = probe(http(), 1, 1);
        assert!(matches!(super::probe::probe(gone, &rule, None).await, Err(ProbeFailure::Connect(_))));
        assert!(matches!(super::probe::probe(nonsense, &rule, None).await, Err(ProbeFailure::Protocol(_))));
        rule.timeout = Duration::from_millis(20);
        let silent = silent.local_addr().unwrap();
        assert_eq!(super::probe::probe(silent, &rule, None).await, Err(ProbeFailure::Timeout(rule.timeout)));
        rule.kind = ProbeKind::Tcp;
        assert_eq!(super::probe::probe(silent, &rule, None).await, Ok(()));
    });
}

#[test]
fn an_endpoint_without_a_listener_falls_and_its_neighbour_serves() {
    let world = World::new();
    world.runtime.block_on(async {
        let (_site, alive) = site(200).await;
        let (socket, gone) = closed();
        let service = world.apply(&probed(&[gone, alive], probe(ProbeKind::Tcp, 1, 2)));
        let balancer = Balancer::new(Arc::clone(&service), 1, world.now);
        changed(&service.endpoints()[0], 0).await;
        assert!((0..20).all(|_| where_to(&balancer, &[], world.now) == Ok(alive)));
        let listener = socket.listen(16).unwrap();
        changed(&service.endpoints()[0], 1).await;
        assert!((0..2).any(|_| where_to(&balancer, &[], world.now) == Ok(gone)));
        drop(listener);
    });
}

#[test]
fn an_endpoint_that_left_is_no_longer_probed() {
    let world = World::new();
    world.runtime.block_on(async {
        let ((_, stays), (left, leaves)) = (site(200).await, site(200).await);
        // Requests in flight may hold the old value for long; that must not keep its probes.
        let _held = world.apply(&probed(&[stays, leaves], probe(http(), 1, 1)));
        let metrics = world.runtime.metrics();
        let (sites, probes) = (2, 2);
        tokio::time::timeout(PATIENCE, async {
            while left.asked.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            assert!(metrics.num_alive_tasks() >= sites + probes);
            world.apply(&probed(&[stays], probe(http(), 1, 1)));
            while metrics.num_alive_tasks() > sites + probes {
                tokio::task::yield_now().await;
            }
            let asked = left.asked.load(Ordering::SeqCst);
            world.services.apply(&BTreeMap::new(), world.now);
            while metrics.num_alive_tasks() > sites {
                tokio::task::yield_now().await;
            }
            assert_eq!(left.asked.load(Ordering::SeqCst), asked);
        })
        .await
        .unwrap();
    });
}

#[test]
fn probes_end_with_the_registry() {
    let World { services, runtime, now } = World::new();
    runtime.block_on(async {
        let rule = probe(ProbeKind::Tcp, 1, 1);
        let map = BTreeMap::from([("orders".into(), probed(&[address(1), address(2)], rule))]);
        drop(services.apply(&map, now));
        drop(services);
        tokio::time::timeout(PATIENCE, async {
            while runtime.metrics().num_alive_tasks() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    });
}
