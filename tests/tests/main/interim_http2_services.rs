//! Responses before the response (1xx) of services that speak HTTP/2.

use gatewright_tests::frames::{END_HEADERS, END_STREAM, fields, frame, kind};
use gatewright_tests::{Gateway, Hearer, Raw, RawUpstream, gateway, raw_upstream};

use crate::http2_services::asked;

const SHOP: &str = "server.workers = 1\nservice.orders.http2 = true\n[[api]]\nname = \"shop\"\nservice = \"orders\"\n";
const GET: &str = "GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n";

fn passing_on(orders: &RawUpstream) -> Gateway {
    gateway([orders], &format!("service.orders.interim_responses = true\n{SHOP}"))
}

/// Says something before the answer on a stream, with a link of this number.
async fn say(service: &mut Raw, stream: u32, status: &str, number: usize) {
    let link = format!("</{number}.css>; rel=preload");
    let said = [
        (":status", status),
        ("link", &link),
        ("x-request-id", "mine"),
        ("access-control-allow-origin", "*"),
        ("proxy-authenticate", "basic"),
    ];
    service.write(frame(kind::HEADERS, END_HEADERS, stream, &fields(said))).await;
}

/// Answers on a stream, with nothing but a status.
async fn answer(service: &mut Raw, stream: u32) {
    service.write(frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &[0x88])).await;
}

#[tokio::test]
async fn a_client_of_http_1_1_gets_them() {
    let orders = raw_upstream("orders");
    let gateway = passing_on(&orders);
    let mut client = Raw::connect(gateway.address).await;
    client.write(GET).await;
    let mut service = asked(&orders).await;
    for number in 0..2 {
        say(&mut service, 1, "103", number).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 103 Early Hints\r\n"), "{head}");
        assert!(head.contains(&format!("link: </{number}.css>; rel=preload\r\n")), "{head}");
        assert!(head.contains("via: 2.0 gatewright\r\n"), "{head}");
        for gone in ["x-request-id", "access-control-allow-origin"] {
            assert!(!head.contains(gone), "{head}");
        }
    }
    answer(&mut service, 1).await;
    assert_eq!(client.answer().await.is(200).field("link"), None);
}

#[tokio::test]
async fn a_client_of_http_2_gets_them_each_stream_its_own() {
    let orders = raw_upstream("orders");
    let gateway = passing_on(&orders);
    let client = Hearer::connect(gateway.address).await;
    let mut first = client.get("/1").await;
    let mut service = asked(&orders).await;
    let mut second = client.get("/2").await;
    service.frame(|frame| frame.kind == kind::HEADERS && frame.stream == 3).await.expect("the same connection");
    for (stream, number) in [(3, 1), (1, 2), (3, 3), (1, 4)] {
        say(&mut service, stream, "103", number).await;
        let hearing = if stream == 1 { &mut first } else { &mut second };
        let said = hearing.interim().await.expect("hints");
        assert_eq!(said.status(), 103);
        assert_eq!(said.headers()["link"], format!("</{number}.css>; rel=preload"));
        assert!(!said.headers().contains_key("access-control-allow-origin"));
    }
    for (stream, hearing) in [(1, &mut first), (3, &mut second)] {
        answer(&mut service, stream).await;
        assert!(hearing.interim().await.is_none());
    }
    assert_eq!(
        (first.answer().await.status(), second.answer().await.status()),
        (200.try_into().unwrap(), 200.try_into().unwrap())
    );
}

#[tokio::test]
async fn what_is_between_two_connections_goes_no_further_and_all_at_once_is_in_order() {
    let orders = raw_upstream("orders");
    let gateway = passing_on(&orders);
    let mut hearing = Hearer::connect(gateway.address).await.get("/").await;
    let mut service = asked(&orders).await;
    for (number, status) in ["100", "101", "102", "103"].into_iter().enumerate() {
        say(&mut service, 1, status, number).await;
    }
    answer(&mut service, 1).await;
    for expected in [102, 103] {
        assert_eq!(hearing.interim().await.expect("it is passed on").status(), expected);
    }
    assert!(hearing.interim().await.is_none());
    assert_eq!(hearing.answer().await.status(), 200);
}

#[tokio::test]
async fn clients_of_other_services_get_none() {
    let orders = raw_upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let mut hearing = Hearer::connect(gateway.address).await.get("/").await;
    let mut service = asked(&orders).await;
    say(&mut service, 1, "103", 1).await;
    say(&mut service, 1, "103", 2).await;
    answer(&mut service, 1).await;
    assert!(hearing.interim().await.is_none());
    let answer = hearing.answer().await;
    assert_eq!((answer.status().as_u16(), answer.headers().get("link")), (200, None));
}
