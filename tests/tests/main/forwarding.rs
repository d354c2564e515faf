//! There and back: what a service and a client see of each other.

use std::time::Duration;

use gatewright_tests::{Place, Progress, Reply, gateway, raw_upstream, setup, upstream, within};

const SHOP: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n";

#[tokio::test]
async fn a_service_sees_where_a_request_came_from() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    gateway
        .get("/a?b=c")
        .from("127.0.0.7")
        .field("x-forwarded-for", "6.6.6.6")
        .field("x-forwarded-proto", "https")
        .field("x-forwarded-host", "evil.example")
        .field("forwarded", "for=6.6.6.6")
        .await
        .is(200);
    let seen = orders.only();
    assert_eq!(seen.target, "/a?b=c");
    assert_eq!(seen.field("host"), Some("shop.example"));
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.7"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.field("x-forwarded-host"), Some("shop.example"));
    assert!(seen.field("forwarded").unwrap().contains("for=127.0.0.7"), "{seen:?}");
    assert!(seen.field("via").unwrap().contains("gatewright"), "{seen:?}");
    assert_eq!(seen.field("x-request-id").unwrap().len(), 32);
}

#[tokio::test]
async fn a_trusted_peer_is_believed() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &format!("server = {{ trusted = [\"127.0.0.0/8\"] }}\n{SHOP}"));
    gateway.get("/").field("x-forwarded-for", "203.0.113.7").field("x-forwarded-proto", "https").await.is(200);
    let seen = orders.only();
    assert_eq!(seen.field("x-forwarded-for"), Some("203.0.113.7, 127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
}

#[tokio::test]
async fn what_is_for_one_connection_goes_no_further() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    orders.answers_once(
        Reply::text("x").field("keep-alive", "timeout=5").field("connection", "x-own").field("x-own", "1"),
    );
    gateway
        .get("/")
        .field("connection", "x-mine, keep-alive")
        .field("x-mine", "1")
        .field("keep-alive", "5")
        .field("proxy-authorization", "Basic eA==")
        .field("proxy", "http://evil.example")
        .field("te", "trailers, gzip")
        .await
        .is(200)
        .lacks("keep-alive")
        .lacks("x-own");
    let seen = orders.only();
    for name in ["x-mine", "keep-alive", "proxy-authorization", "proxy", "upgrade"] {
        assert_eq!(seen.field(name), None, "{name}");
    }
    assert_ne!(seen.field("te"), Some("trailers, gzip"));
}

#[tokio::test]
async fn every_answer_has_the_requests_id() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], "[[api]]\nname = \"shop\"\npaths = [\"/a\"]\nservice = \"orders\"\n");
    let answer = gateway.get("/a").await.is(200);
    let id = answer.field("x-request-id").map(str::to_owned);
    assert_eq!(id.as_deref(), orders.only().field("x-request-id"));
    gateway.get("/elsewhere").await.is(404).problem("No API here");
}

#[tokio::test]
async fn a_request_streams_to_the_service_as_it_comes() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let (call, mut writer) = gateway.post("/").streamed();
    let sending = tokio::spawn(call.into_future());
    writer.write("first").await;
    orders.sees("the first part", |seen| seen.text() == "first").await;
    writer.write(", last").await;
    writer.trailers(&[("x-sum", "11")]).await;
    sending.await.unwrap().is(200);
    let seen = orders.only();
    assert_eq!((seen.text().as_str(), seen.progress), ("first, last", Progress::Whole));
}

#[tokio::test]
async fn a_response_streams_to_the_client_as_it_comes() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let (reply, mut writer) = Reply::streamed();
    orders.answers_once(reply);
    let mut coming = gateway.get("/").coming().await.unwrap();
    assert_eq!(coming.status, 200);
    writer.write("first").await;
    assert_eq!(coming.chunk().await.unwrap().as_deref(), Some("first"));
    writer.write("second").await;
    assert_eq!(coming.chunk().await.unwrap().as_deref(), Some("second"));
    writer.end();
    assert_eq!(coming.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn both_ways_at_once() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let (reply, mut down) = Reply::streamed();
    orders.answers_once(reply.early());
    let (call, mut up) = gateway.post("/").streamed();
    let coming = tokio::spawn(call.coming());
    let mut coming = coming.await.unwrap().unwrap();
    for round in 0..3 {
        up.write(format!("up {round};")).await;
        orders.sees("what the client wrote", |seen| seen.text().ends_with(&format!("up {round};"))).await;
        down.write(format!("down {round}")).await;
        assert_eq!(coming.chunk().await.unwrap(), Some(format!("down {round}")));
    }
    up.end();
    orders.sees("the end", |seen| seen.progress == Progress::Whole).await;
    down.end();
    assert_eq!(coming.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_service_back() {
    const PART: usize = 256 * 1024;
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let (reply, mut writer) = Reply::streamed();
    orders.answers_once(reply);
    let mut coming = gateway.get("/").coming().await.unwrap();
    let mut offered = 0;
    // Sockets and the gateway hold some; a gateway without back-pressure would hold everything.
    while writer.offer(vec![b'x'; PART], Duration::from_millis(500)).await {
        offered += PART;
        assert!(offered < 64 << 20, "it takes everything");
    }
    let mut read = 0;
    while read < offered {
        read += coming.bytes().await.expect("more").len();
    }
    assert!(writer.offer("more", Duration::from_secs(10)).await);
}

#[tokio::test]
async fn a_service_that_does_not_read_holds_the_client_back() {
    const PART: usize = 256 * 1024;
    let orders = raw_upstream("orders");
    let gateway = setup(&format!("{SHOP}body = false")).to(Place::from(&orders)).start();
    let (call, mut writer) = gateway.post("/").streamed();
    let sending = tokio::spawn(call.into_future());
    let mut service = orders.accept().await;
    service.head().await;
    let mut offered = 0;
    while writer.offer(vec![b'x'; PART], Duration::from_millis(500)).await {
        offered += PART;
        assert!(offered < 64 << 20, "it takes everything");
    }
    service.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    sending.await.unwrap().is(200);
}

#[tokio::test]
async fn head_204_and_304_have_no_body() {
    let orders = raw_upstream("orders");
    let gateway = setup(SHOP).to(Place::from(&orders)).start();
    let mut client = gateway.raw().await;
    let mut service = None;
    for (method, reply) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
    ] {
        client.write(format!("{method} / HTTP/1.1\r\nhost: shop.example\r\n\r\n")).await;
        if service.is_none() {
            service = Some(orders.accept().await);
        }
        let service = service.as_mut().unwrap();
        assert!(service.head().await.starts_with(method));
        service.write(reply).await;
        let head = client.head().await;
        assert_eq!(head.get(9..12), reply.get(9..12), "{head}");
        if method == "HEAD" {
            assert!(head.contains("content-length: 5\r\n"), "{head}");
        } else if reply.ends_with("ok") {
            assert_eq!(client.bytes(2).await, b"ok");
        }
    }
}

#[tokio::test]
async fn expect_100_is_met_by_the_gateway() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let mut client = gateway.raw().await;
    client.write("POST / HTTP/1.1\r\nhost: shop.example\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    client.answer().await.is(100);
    client.write("hello").await;
    client.answer().await.is(200);
    let seen = orders.only();
    assert_eq!((seen.text().as_str(), seen.field("expect")), ("hello", None));
}

#[tokio::test]
async fn a_refused_request_is_not_asked_for_its_body() {
    let orders = upstream("orders");
    let text = format!("{SHOP}[[api.auth]]\nplugin = \"jwt\"\nsettings = {{ keys = \"demo\" }}");
    let gateway = gateway([&orders], &text);
    let mut client = gateway.raw().await;
    client.write("POST / HTTP/1.1\r\nhost: shop.example\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    client.answer().await.is(401);
}

#[tokio::test]
async fn http_2_with_prior_knowledge_is_spoken() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let connection = gateway.http2().await;
    let gate = orders.holds();
    let calls: Vec<_> = (0..8).map(|number| connection.get(&format!("/{number}"))).collect();
    let calls: Vec<_> = calls.into_iter().map(|call| tokio::spawn(call.into_future())).collect();
    orders.sees_requests(8).await;
    gate.open();
    for call in calls {
        let answer = call.await.unwrap().is(200).says("orders");
        assert_eq!(answer.version, http::Version::HTTP_2);
    }
    let seen = &orders.seen()[0];
    assert_eq!(seen.field("host"), Some("shop.example"));
    let answer = connection.call("POST", "/").field("te", "trailers").body("x").await.is(200);
    assert_eq!(answer.version, http::Version::HTTP_2);
}

#[tokio::test]
async fn an_upgraded_connection_carries_another_protocol() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    orders.answers(|seen| match seen.field("upgrade") {
        Some(protocol) => Reply::echo(protocol),
        None => Reply::status(426),
    });
    let mut client = gateway.raw().await;
    client.write("GET /chat HTTP/1.1\r\nhost: shop.example\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n").await;
    let answer = client.answer().await.is(101);
    assert_eq!(answer.field("upgrade"), Some("websocket"), "{}", answer.head);
    for said in ["hello", "\0\u{1}binary"] {
        client.write(said).await;
        assert_eq!(client.bytes(said.len()).await, said.as_bytes());
    }
    client.finish().await;
    assert!(client.end().await.is_empty());
    // A service that stays with HTTP says so.
    orders.answers(|_| Reply::text("no"));
    gateway.get("/chat").field("connection", "upgrade").field("upgrade", "websocket").await.is(200).says("no");
}

#[tokio::test]
async fn http_2_cannot_be_smuggled_in_by_an_upgrade() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let upgrade = "connection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    for protocol in ["h2c", "H2C", "websocket, h2c", "h2c-14"] {
        let mut client = gateway.raw().await;
        client.write(format!("GET / HTTP/1.1\r\nhost: shop.example\r\n{upgrade}upgrade: {protocol}\r\n\r\n")).await;
        client.answer().await;
    }
    for seen in orders.seen() {
        assert_eq!((seen.field("upgrade"), seen.field("http2-settings")), (None, None), "{seen:?}");
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_breaks_off_at_the_client_too() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let (reply, mut writer) = Reply::streamed();
    orders.answers_once(reply);
    let mut coming = gateway.get("/").coming().await.unwrap();
    writer.write("half").await;
    assert_eq!(coming.chunk().await.unwrap().as_deref(), Some("half"));
    writer.abort();
    assert!(coming.chunk().await.is_err(), "a client must be able to tell");
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_request_at_the_service() {
    let orders = raw_upstream("orders");
    let gateway = setup(SHOP).to(Place::from(&orders)).start();
    let mut client = gateway.raw().await;
    client.write("GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n").await;
    let mut service = orders.accept().await;
    service.head().await;
    drop(client);
    within("the end of the connection", service.end()).await;
    gateway
        .metric_is(r#"gatewright_requests_total{api="shop",outcome="left",status="none"}"#, |count| count == 1.0)
        .await;
}

#[tokio::test]
async fn a_service_that_pauses_too_long_in_its_body_is_cut_off() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &format!("[service.orders]\nbody_timeout = \"200ms\"\n{SHOP}"));
    let (reply, mut writer) = Reply::streamed();
    orders.answers_once(reply);
    let mut coming = gateway.get("/").coming().await.unwrap();
    writer.write("half").await;
    assert_eq!(coming.chunk().await.unwrap().as_deref(), Some("half"));
    assert!(coming.chunk().await.is_err());
}

#[tokio::test]
async fn a_request_that_goes_round_is_508() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let hops = |count: usize| vec!["1.1 gatewright"; count].join(", ");
    gateway.get("/").field("via", &hops(3)).await.is(200);
    gateway.get("/").field("via", &hops(4)).await.is(508);
    assert_eq!(orders.only().target, "/");
}

#[tokio::test]
async fn a_service_of_http_1_0_is_answered_in_the_gateways_own_version_on_a_connection_that_stays() {
    let orders = raw_upstream("orders");
    let gateway = setup(SHOP).to(Place::from(&orders)).start();
    let mut client = gateway.raw().await;
    for _ in 0..2 {
        client.write("GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n").await;
        let mut service = orders.accept().await;
        service.head().await;
        service.write("HTTP/1.0 200 OK\r\n\r\nold").await;
        drop(service);
        let answer = client.answer().await.is(200);
        assert!(answer.head.starts_with("HTTP/1.1 200"), "{}", answer.head);
        assert!(answer.field("via").unwrap().starts_with("1.0 "), "{}", answer.head);
    }
}

#[tokio::test]
async fn a_response_may_have_a_hundred_fields_and_no_more() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let mut client = gateway.raw().await;
    for (count, status) in [(100, 200), (101, 502)] {
        client.write("GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n").await;
        let mut service = orders.accept().await;
        service.head().await;
        let fields: String = (2..count).map(|number| format!("x-{number}: {number}\r\n")).collect();
        service.write(format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n{fields}\r\nok")).await;
        let answer = client.answer().await.is(status);
        let passed = (2..count).filter(|number| answer.field(&format!("x-{number}")) == Some(&number.to_string()));
        assert_eq!(passed.count(), if status == 200 { 98 } else { 0 }, "{}", answer.head);
    }
}
