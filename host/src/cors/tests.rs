#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says so by failing")]

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// What is said to a request, by an API that lets these origins in.
fn answer(origins: &[Origin], credentials: bool, request: &[(&str, &str)], mut answer: HeaderMap) -> HeaderMap {
    let cors = Rc::new(Cors::new(&config::Cors {
        origins: origins.to_vec(),
        methods: vec!["GET".into(), "PUT".into()],
        headers: vec!["authorization".into(), "x-a".into()],
        expose: vec!["x-total".into()],
        credentials,
        max_age: Duration::from_mins(1),
    }));
    let mut head = http::Request::new(()).into_parts().0;
    for (name, value) in request {
        match *name {
            "method" => head.method = value.parse().unwrap(),
            name => drop(head.headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap())),
        }
    }
    cors.sharing(&head).write(&mut answer);
    answer
}

fn told(headers: &HeaderMap) -> Vec<String> {
    let mut told: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    told.sort();
    told
}

fn shop() -> Vec<Origin> {
    vec![Origin::Exact("https://shop.example".into()), Origin::Below("https://".into(), ".shop.example:8443".into())]
}

#[test]
fn an_origin_is_let_in_as_it_is_written() {
    let lets = |origin: &str| {
        let said = answer(&shop(), false, &[("origin", origin)], HeaderMap::new());
        assert_eq!(said["vary"], "origin");
        said.get("access-control-allow-origin").is_some_and(|said| said == origin)
    };
    for origin in ["https://shop.example", "https://a.shop.example:8443", "https://a-1.b_c.shop.example:8443"] {
        assert!(lets(origin), "{origin}");
    }
    for origin in [
        "http://shop.example",
        "https://shop.example:8443",
        "https://shop.example/",
        "https://Shop.example",
        "https://shop.example.evil.example",
        "https://.shop.example:8443",
        "https://evil.example/.shop.example:8443",
        "https://evil.example:1.shop.example:8443",
        "https://evil.example#.shop.example:8443",
        "https://user@a.shop.example:8443",
        "https://a..shop.example:8443",
        "https://evilshop.example:8443",
        "https://a.shop.example",
        "https://shop.example, https://shop.example",
        "null",
        "*",
        "",
    ] {
        assert!(!lets(origin), "{origin}");
    }
}

#[test]
fn two_origins_are_none() {
    let twice = [("origin", "https://shop.example"), ("origin", "https://shop.example")];
    assert_eq!(told(&answer(&shop(), false, &twice, HeaderMap::new())), ["vary: origin"]);
}

#[test]
fn an_answer_says_what_may_be_read() {
    let said = answer(&shop(), true, &[("origin", "https://shop.example")], HeaderMap::new());
    assert_eq!(
        told(&said),
        [
            "access-control-allow-credentials: true",
            "access-control-allow-origin: https://shop.example",
            "access-control-expose-headers: x-total",
            "vary: origin",
        ]
    );
}

#[test]
fn everybody_is_told_the_same_where_everybody_may() {
    for request in [&[][..], &[("origin", "https://a.example")]] {
        let said = answer(&[Origin::Any], false, request, HeaderMap::new());
        assert_eq!(told(&said), ["access-control-allow-origin: *", "access-control-expose-headers: x-total"]);
    }
}

#[test]
fn a_preflight_is_one_by_three_things() {
    let asks = [("method", "OPTIONS"), ("origin", "https://shop.example"), ("access-control-request-method", "PUT")];
    let said = told(&answer(&shop(), false, &asks, HeaderMap::new()));
    assert_eq!(
        said,
        [
            "access-control-allow-headers: authorization, x-a",
            "access-control-allow-methods: GET, PUT",
            "access-control-allow-origin: https://shop.example",
            "access-control-max-age: 60",
            "vary: origin, access-control-request-method, access-control-request-headers",
        ]
    );
    for missing in 0..asks.len() {
        let rest: Vec<_> = asks.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, part)| *part).collect();
        let said = answer(&shop(), false, &rest, HeaderMap::new());
        assert!(!said.contains_key("access-control-allow-methods"), "{rest:?}");
    }
}

#[test]
fn a_service_has_no_voice_beside() {
    let service = || {
        let fields = [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-origin", "https://evil.example"),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "x-secret"),
            ("access-control-allow-private-network", "true"),
            ("vary", "accept, Origin"),
            ("x-other", "1"),
        ];
        fields.into_iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
    };
    let stranger = answer(&shop(), false, &[("origin", "https://evil.example")], service().collect());
    assert_eq!(told(&stranger), ["vary: accept, Origin", "x-other: 1"]);
    let said = answer(&shop(), false, &[("origin", "https://shop.example")], service().collect());
    assert_eq!(said.get_all("access-control-allow-origin").iter().collect::<Vec<_>>(), ["https://shop.example"]);
    assert!(!said.contains_key("access-control-allow-credentials"));
}

proptest! {
    #[test]
    fn whose_name_ends_otherwise_is_let_in_never(name in "[!-~]{0,20}") {
        let below = Origin::Below("https://".into(), ".shop.example".into());
        let origin = format!("https://{name}.shop.example");
        let host = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte));
        prop_assert_eq!(below.takes(origin.as_bytes()), host && name.split('.').all(|label| !label.is_empty()));
        let longer = format!("{origin}{name}");
        prop_assert!(name.ends_with(".shop.example") || name.is_empty() || !below.takes(longer.as_bytes()));
    }
}
