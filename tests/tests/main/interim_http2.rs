//! Responses before the response (1xx) to clients of HTTP/2.

use gatewright_tests::frames::{END_HEADERS, END_STREAM, PREFACE, fields, frame, kind};
use gatewright_tests::{Authority, Hearer, Raw, TlsClient, gateway, raw_upstream, setup};
use http::{HeaderMap, Response};

const SHOP: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n";
const PASSED_ON: &str = "service.orders.interim_responses = true\n[[api]]\nname = \"shop\"\nservice = \"orders\"\n";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nx-final: yes\r\ncontent-length: 2\r\n\r\nok";

/// An interim response with hints, of this many.
fn hints(number: usize) -> String {
    HINTS.replace("a.css", &format!("{number}.css"))
}

/// The status of an interim response, and its fields by their names.
fn said(response: Option<Response<()>>) -> (u16, Vec<(String, String)>) {
    let response = response.expect("an interim response");
    (response.status().as_u16(), listed(response.headers()))
}

fn listed(headers: &HeaderMap) -> Vec<(String, String)> {
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let mut fields: Vec<_> = headers.iter().map(field).collect();
    fields.sort();
    fields
}

/// What a client gets of [`hints`].
fn hinted(number: usize) -> (u16, Vec<(String, String)>) {
    let link = format!("</{number}.css>; rel=preload");
    (103, vec![("link".into(), link), ("via".into(), "1.1 gatewright".into())])
}

#[tokio::test]
async fn interim_responses_are_passed_on_before_the_answer_where_the_service_says_so() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], PASSED_ON);
    let client = Hearer::connect(gateway.address).await;
    let mut hearing = client.get("/").await;
    let mut service = orders.accept().await;
    service.head().await;
    for number in 0..3 {
        service.write(hints(number)).await;
        assert_eq!(said(hearing.interim().await), hinted(number), "before there is an answer");
    }
    service.write(OK).await;
    assert!(hearing.interim().await.is_none());
    let answer = hearing.answer().await;
    assert_eq!((answer.status().as_u16(), answer.body().as_str()), (200, "ok"));
    assert_eq!((answer.headers().get("link"), &answer.headers()["x-final"]), (None, &"yes".parse().unwrap()));
    assert!(answer.headers().contains_key("date"), "the service said none");
    // On the same connections, and all at once.
    let mut hearing = client.get("/").await;
    service.head().await;
    service.write([&hints(1), &hints(2), OK].concat()).await;
    assert_eq!(said(hearing.interim().await), hinted(1));
    assert_eq!(said(hearing.interim().await), hinted(2));
    assert!(hearing.interim().await.is_none());
    assert_eq!(hearing.answer().await.body(), "ok");
}

#[tokio::test]
async fn what_is_meant_for_one_connection_or_is_the_gateways_to_say_goes_no_further() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], PASSED_ON);
    let mut hearing = Hearer::connect(gateway.address).await.get("/").await;
    let mut service = orders.accept().await;
    service.head().await;
    let marked = "HTTP/1.1 102 Whatever\r\nconnection: x-hop, keep-alive\r\nx-hop: 1\r\nkeep-alive: 5\r\nx-request-id: me\r\n\
                  content-length: 3\r\naccess-control-allow-origin: *\r\ntransfer-encoding: chunked\r\nupgrade: h2c\r\n\
                  te: trailers\r\nproxy-connection: close\r\nx-kept: yes\r\n\r\n";
    service.write("HTTP/1.1 100 Continue\r\n\r\n").await.write(marked).await;
    let kept = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = (102, vec![kept("via", "1.1 gatewright"), kept("x-kept", "yes")]);
    assert_eq!(said(hearing.interim().await), expected);
    service.write(OK).await;
    assert!(hearing.interim().await.is_none());
    assert_eq!(hearing.answer().await.status(), 200);
}

#[tokio::test]
async fn clients_of_other_services_get_none() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let mut hearing = Hearer::connect(gateway.address).await.get("/").await;
    let mut service = orders.accept().await;
    service.head().await;
    service.write([HINTS, OK].concat()).await;
    assert!(hearing.interim().await.is_none());
    let answer = hearing.answer().await;
    assert_eq!((answer.status().as_u16(), answer.headers().get("link")), (200, None));
}

#[tokio::test]
async fn each_stream_hears_its_own() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], PASSED_ON);
    let client = Hearer::connect(gateway.address).await;
    let (mut hearings, mut services) = (Vec::new(), Vec::new());
    for number in 0..4 {
        hearings.push(client.get(&format!("/{number}")).await);
        let mut service = orders.accept().await;
        assert!(service.head().await.starts_with(&format!("GET /{number} ")));
        services.push(service);
    }
    for (number, service) in services.iter_mut().enumerate().rev() {
        service.write(hints(number)).await;
        assert_eq!(said(hearings[number].interim().await), hinted(number));
    }
    for (hearing, service) in hearings.into_iter().zip(&mut services) {
        service.write(OK).await;
        assert_eq!(hearing.answer().await.body(), "ok");
    }
}

#[tokio::test]
async fn no_more_than_a_few_interim_responses_are_passed_on_and_none_behind_the_answer() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], &format!("service.orders.timeout = \"300ms\"\n{PASSED_ON}"));
    let client = Hearer::connect(gateway.address).await;
    let mut hearing = client.get("/").await;
    let mut service = orders.accept().await;
    service.head().await;
    let answered = tokio::spawn(async move {
        let mut count = 0;
        while hearing.interim().await.is_some() {
            count += 1;
        }
        (count, hearing.answer().await)
    });
    while !answered.is_finished() {
        service.write(HINTS).await;
        tokio::task::yield_now().await;
    }
    let (count, answer) = answered.await.unwrap();
    assert_eq!((count, answer.status().as_u16()), (16, 504));
    // Longer than all of them may be.
    let mut hearing = client.get("/").await;
    let mut service = orders.accept().await;
    service.head().await;
    let long = HINTS.replace("a.css", &"x".repeat(16 * 1024));
    service.write([&long, HINTS, OK].concat()).await;
    assert_eq!(hearing.interim().await.expect("the short one").headers()["link"], "</a.css>; rel=preload");
    assert!(hearing.interim().await.is_none());
    assert_eq!(hearing.answer().await.body(), "ok");
}

#[tokio::test]
async fn an_interim_response_of_a_try_that_failed_does_no_harm() {
    let orders = [raw_upstream("orders"), raw_upstream("orders")];
    let gateway = gateway(&orders, PASSED_ON);
    let mut hearing = Hearer::connect(gateway.address).await.get("/").await;
    let (mut first, other) = tokio::select! {
        first = orders[0].accept() => (first, &orders[1]),
        first = orders[1].accept() => (first, &orders[0]),
    };
    first.head().await;
    first.write(hints(1)).await;
    assert_eq!(said(hearing.interim().await), hinted(1));
    first.reset();
    let mut second = other.accept().await;
    second.head().await;
    second.write([&hints(2), OK].concat()).await;
    assert_eq!(said(hearing.interim().await), hinted(2));
    assert_eq!(hearing.answer().await.body(), "ok");
}

#[tokio::test]
async fn nothing_is_said_on_a_stream_that_its_client_has_reset() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], PASSED_ON);
    let mut raw = Raw::connect(gateway.address).await;
    let get = [(":method", "GET"), (":scheme", "http"), (":authority", "shop.example"), (":path", "/")];
    let request = |stream| frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &fields(get));
    raw.write(PREFACE).await.write(request(1)).await;
    let mut service = orders.accept().await;
    service.head().await;
    service.write(HINTS).await;
    let hints = raw.frame(|frame| frame.kind == kind::HEADERS).await.expect("hints");
    assert_eq!((hints.stream, hints.flags), (1, END_HEADERS));
    raw.write(frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8])).await;
    raw.write(frame(kind::PING, 0, 0, b"have it?")).await;
    raw.frame(|frame| frame.kind == kind::PING).await.expect("it has come");
    service.write(HINTS.repeat(3)).await;
    raw.write(request(3)).await;
    let mut service = orders.accept().await;
    service.head().await;
    service.write(OK).await;
    let answer = raw.frame(|frame| frame.kind == kind::HEADERS).await.expect("an answer");
    assert_eq!((answer.stream, answer.status()), (3, Some(200)));
}

#[tokio::test]
async fn interim_responses_are_passed_on_over_tls() {
    let (orders, authority) = (raw_upstream("orders"), Authority::new());
    let pair = authority.server(&["shop.example"]);
    let tls = "[server.tls]\nlisten = \"127.0.0.1:0\"\ncertificates = [{ certificate = \"a.pem\", key = \"a.key\" }]\n";
    let text = PASSED_ON.replace("[[api]]", &format!("{tls}[[api]]"));
    let gateway = setup(&text).to(&orders).file("a.pem", &pair.certificate).file("a.key", &pair.key).start();
    let stream = TlsClient::trusting(&authority).connect(gateway.tls.unwrap(), "shop.example", "h2").await.unwrap();
    let mut hearing = Hearer::over(stream).await.get("/").await;
    let mut service = orders.accept().await;
    service.head().await;
    service.write(hints(1)).await;
    assert_eq!(said(hearing.interim().await), hinted(1));
    service.write(OK).await;
    assert_eq!(hearing.answer().await.body(), "ok");
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_for_its_body_is_asked_when_somebody_wants_it() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let client = Hearer::connect(gateway.address).await;
    let (mut hearing, mut body) = client.post("/", true).await;
    let mut service = orders.accept().await;
    let head = service.head().await;
    assert!(!head.contains("expect"), "{head}");
    assert_eq!(said(hearing.interim().await), (100, Vec::new()));
    body.send_data("hello".into(), false).unwrap();
    service.until("hello\r\n").await;
    body.send_data("bye".into(), true).unwrap();
    service.until("0\r\n\r\n").await;
    service.write(OK).await;
    assert!(hearing.interim().await.is_none(), "it was asked once");
    assert_eq!(hearing.answer().await.body(), "ok");
    // One that does not wait.
    let (mut hearing, mut body) = client.post("/", false).await;
    service.head().await;
    body.send_data("hello".into(), true).unwrap();
    service.until("0\r\n\r\n").await;
    service.write(OK).await;
    assert!(hearing.interim().await.is_none());
    assert_eq!(hearing.answer().await.body(), "ok");
}

#[tokio::test]
async fn a_body_that_nobody_wants_is_not_asked_for() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let client = Hearer::connect(gateway.address).await;
    let (mut hearing, _body) = client.post("/%2f", true).await;
    assert!(hearing.interim().await.is_none());
    assert_eq!(hearing.answer().await.status(), 400);
}
