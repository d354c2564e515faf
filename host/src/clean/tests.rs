#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says so by failing")]

use std::convert::Infallible;

use http::request::{Builder, Parts};
use http::{Request, Response, Version};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const BOUNDS: Bounds = Bounds { fields: 20, head_bytes: 1000, target_bytes: 100 };

#[test]
fn authorities_have_one_spelling() {
    let table = [
        ("example.org", "example.org"),
        ("Example.ORG:80", "example.org"),
        ("example.org:443", "example.org:443"),
        ("Example.org:8080", "example.org:8080"),
        ("example.org.", "example.org"),
        ("example.org.:8080", "example.org:8080"),
        ("my_service", "my_service"),
        ("192.0.2.1:80", "192.0.2.1"),
        ("[::1]", "[::1]"),
        ("[2001:DB8:0:0::1]:80", "[2001:db8::1]"),
        ("[::1]:8080", "[::1]:8080"),
    ];
    for (raw, clean) in table {
        assert_eq!(authority(raw.as_bytes(), Scheme::Http).as_deref(), Ok(clean), "{raw}");
    }
    assert_eq!(authority(b"example.org:443", Scheme::Https).as_deref(), Ok("example.org"));
}

#[test]
fn what_is_no_authority_is_refused() {
    let refused = [
        "",
        ".",
        ":80",
        "a..b",
        ".a",
        "a,b",
        "a b",
        "a/b",
        "a%41",
        "caf\u{e9}",
        "a:",
        "a:0",
        "a:080",
        "a:65536",
        "a:123456",
        "a:+80",
        "a:80:80",
        "[::1",
        "[::1]x",
        "[::1]:",
        "[fe80::1%25eth0]",
        "[v1.a]",
        "::1",
        "a..",
    ];
    for raw in refused {
        assert_eq!(authority(raw.as_bytes(), Scheme::Http), Err(Unclean::Authority), "{raw}");
    }
    for raw in ["user@example.org", "user:pass@example.org:80"] {
        assert_eq!(authority(raw.as_bytes(), Scheme::Http), Err(Unclean::UserInformation), "{raw}");
    }
    assert_eq!(authority(b"a\xff", Scheme::Http), Err(Unclean::Authority));
}

fn get(target: &str) -> Builder {
    Request::get(target).header("host", "example.org")
}

fn parts(builder: Builder) -> Parts {
    builder.body(()).unwrap().into_parts().0
}

fn cleaned(builder: Builder) -> Result<(Cleaned, Parts), Unclean> {
    let mut parts = parts(builder);
    head(&mut parts, Scheme::Http, &BOUNDS).map(|cleaned| (cleaned, parts))
}

fn fault(builder: Builder) -> Unclean {
    cleaned(builder).unwrap_err()
}

#[test]
fn the_target_becomes_a_path_and_the_host_one_field() {
    let (asked, parts) = cleaned(get("/a/../b?x=1").header("accept", "*/*")).unwrap();
    assert_eq!((asked, parts.uri.to_string().as_str()), (Cleaned::Exchange, "/b?x=1"));
    let absolute = Request::get("http://Example.org:80/a?b").header("host", "example.org");
    let (_, parts) = cleaned(absolute).unwrap();
    assert_eq!((parts.uri.to_string().as_str(), &parts.headers["host"]), ("/a?b", &"example.org".parse().unwrap()));
    let (_, parts) = cleaned(Request::get("https://a.example?x").version(Version::HTTP_2)).unwrap();
    assert_eq!((parts.uri.to_string().as_str(), &parts.headers["host"]), ("/?x", &"a.example".parse().unwrap()));
    assert_eq!(parts.uri.authority(), None);
}

#[test]
fn a_target_of_an_authority_and_a_fragment_is_the_root() {
    for target in ["http://example.org#a", "http://example.org", "http://example.org/#a"] {
        let (_, parts) = cleaned(get(target)).unwrap();
        assert_eq!((parts.uri.to_string().as_str(), parts.uri.path()), ("/", "/"), "{target}");
    }
}

#[test]
fn a_request_without_one_host_is_refused() {
    assert_eq!(fault(Request::get("/")), Unclean::HostMissing);
    assert_eq!(fault(Request::get("/").version(Version::HTTP_10)), Unclean::HostMissing);
    assert_eq!(fault(get("/").header("host", "example.org")), Unclean::HostSeveral);
    assert_eq!(fault(get("http://other.example/")), Unclean::HostDiffers);
    assert_eq!(fault(get("http://other.example/").version(Version::HTTP_2)), Unclean::HostDiffers);
    assert_eq!(fault(Request::get("http://u@a.example/")), Unclean::UserInformation);
    assert_eq!(fault(Request::get("/").header("host", "")), Unclean::Authority);
}

#[test]
fn methods_and_targets_of_their_own_have_answers_of_their_own() {
    let method = |method: &str, target: &str| fault(get(target).method(method));
    assert_eq!(method("CONNECT", "example.org:443"), Unclean::Connect);
    assert_eq!(method("TRACE", "/"), Unclean::Trace);
    assert_eq!(method("OPTIONS", "*"), Unclean::Asterisk);
    assert_eq!(method("GET", "*"), Unclean::TargetForm);
    assert_eq!(method("GET", "example.org"), Unclean::TargetForm);
    assert_eq!(method("GET", "ftp://example.org/"), Unclean::TargetScheme);
    assert_eq!(method("GET", &format!("/{}", "a".repeat(100))), Unclean::TargetTooLong);
}

#[test]
fn options_go_as_many_hops_as_they_say() {
    let options = |value: &str| get("/").method("OPTIONS").header("max-forwards", value);
    for (sent, left) in [("1", "0"), ("10", "9"), ("007", "6"), ("99999999999999999999", "18446744073709551614")] {
        assert_eq!(cleaned(options(sent)).unwrap().1.headers["max-forwards"], left);
    }
    assert_eq!(fault(options("0")), Unclean::LastHop);
    assert_eq!(fault(options("000")), Unclean::LastHop);
    for sent in ["", "-1", "+1", "1, 1", "x", "1 "] {
        assert_eq!(fault(options(sent)), Unclean::MaxForwards, "{sent}");
    }
    assert_eq!(fault(options("1").header("max-forwards", "1")), Unclean::MaxForwards);
    // Other methods do not count their hops.
    assert_eq!(cleaned(get("/").header("max-forwards", "0")).unwrap().1.headers["max-forwards"], "0");
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let many = (0..20).fold(get("/"), |request, _| request.header("x", "y"));
    assert_eq!(fault(many), Unclean::FieldsTooMany);
    assert_eq!(fault(get("/").header("x", "y".repeat(1000))), Unclean::FieldsTooLarge);
}

#[test]
fn ambiguous_fields_are_refused() {
    let field = |name: &str, value: &str| fault(get("/").header(name, value));
    let twice = |name: &str, value: &str| fault(get("/").header(name, value).header(name, value));
    assert_eq!(twice("authorization", "Basic YTpi"), Unclean::FieldSeveral("authorization"));
    assert_eq!(twice("content-type", "text/plain"), Unclean::FieldSeveral("content-type"));
    assert_eq!(twice("content-length", "1"), Unclean::ContentLength);
    for length in ["+1", "-1", "1, 1", "", "1 ", "01", "00", "99999999999999999999"] {
        assert_eq!(field("content-length", length), Unclean::ContentLength, "{length}");
    }
    assert_eq!(field("content_length", "1"), Unclean::ContentLength);
    assert_eq!(field("Transfer.Encoding", "chunked"), Unclean::TransferEncoding);
    assert!(cleaned(get("/").header("content-lengths", "1").header("xontent-length", "1")).is_ok());
    assert_eq!(twice("transfer-encoding", "chunked"), Unclean::TransferEncoding);
    assert_eq!(field("transfer-encoding", "gzip, chunked"), Unclean::TransferCoding);
    assert_eq!(field("transfer-encoding", "chunked, chunked"), Unclean::TransferEncoding);
    assert_eq!(field("transfer-encoding", "xchunked"), Unclean::TransferEncoding);
    assert_eq!(
        fault(get("/").header("transfer-encoding", "chunked").version(Version::HTTP_10)),
        Unclean::TransferEncoding
    );
    assert_eq!(
        fault(get("/").header("transfer-encoding", "chunked").header("content-length", "1")),
        Unclean::TransferEncoding
    );
    assert_eq!(field("expect", "200-maybe"), Unclean::Expectation);
    assert!(cleaned(get("/").header("transfer-encoding", "Chunked").header("expect", "100-continue")).is_ok());
}

#[test]
fn connection_drops_what_it_names_but_nothing_that_is_for_everybody() {
    let named = get("/").header("connection", "close, X-Hop,, keep-alive").header("x-hop", "1").header("x-on", "1");
    let (_, parts) = cleaned(named).unwrap();
    assert!(!parts.headers.contains_key("x-hop") && parts.headers.contains_key("x-on"));
    for name in ["Host", "content-length", "content-type", "authorization", "X-Forwarded-For", "cookie", "bad name"] {
        assert_eq!(fault(get("/").header("connection", name)), Unclean::ConnectionNames, "{name}");
    }
}

#[test]
fn an_upgrade_is_asked_for_in_one_way_only() {
    let upgrade = |protocol: &str| get("/").header("connection", "keep-alive, Upgrade").header("upgrade", protocol);
    assert_eq!(cleaned(upgrade("websocket")).unwrap().0, Cleaned::Upgrade);
    assert_eq!(cleaned(upgrade("websocket").header("content-length", "0")).unwrap().0, Cleaned::Upgrade);
    assert_eq!(cleaned(upgrade("h2c").header("content-length", "3")).unwrap().0, Cleaned::Exchange);
    assert_eq!(cleaned(upgrade("websocket").version(Version::HTTP_10)).unwrap().0, Cleaned::Exchange);
    assert_eq!(cleaned(get("/").header("upgrade", "websocket")).unwrap().0, Cleaned::Exchange);
    assert_eq!(fault(upgrade("websocket").header("content-length", "3")), Unclean::UpgradeBody);
    assert_eq!(fault(upgrade("websocket").header("transfer-encoding", "chunked")), Unclean::UpgradeBody);
    assert_eq!(fault(upgrade("websocket").header("upgrade", "other")), Unclean::FieldSeveral("upgrade"));
}

#[test]
fn http2_has_no_connection_fields_and_its_cookies_are_joined() {
    let request = || get("/").version(Version::HTTP_2);
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"] {
        assert_eq!(fault(request().header(name, "close")), Unclean::ConnectionField, "{name}");
    }
    assert_eq!(fault(request().header("x", " y")), Unclean::FieldSpace);
    let (_, parts) =
        cleaned(request().header("cookie", "a=1").header("te", "trailers").header("cookie", "b=2")).unwrap();
    assert_eq!(parts.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    let (_, parts) = cleaned(request().header("cookie", "a=1").header("cookie", "")).unwrap();
    assert_eq!(parts.headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1"]);
}

/// Sends bytes to hyper's server with [`head`] behind it; answers the status line's code and whether hyper closes.
async fn status_of(raw: &[u8]) -> (u16, bool) {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
        let mut parts = request.into_parts().0;
        let status = head(&mut parts, Scheme::Http, &BOUNDS).map_or_else(Unclean::status, |_| StatusCode::OK);
        Ok::<_, Infallible>(Response::builder().status(status).body(Empty::<Bytes>::new()).unwrap())
    });
    let mut server_side = hyper::server::conn::http1::Builder::new();
    let connection = server_side.half_close(true).serve_connection(TokioIo::new(server), service);
    let talk = async {
        client.write_all(raw).await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (_, answer) = tokio::join!(connection, talk);
    let status = answer.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_default();
    (status, answer.contains("connection: close"))
}

#[tokio::test(flavor = "current_thread")]
async fn what_hyper_lets_through_is_caught_here() {
    let table: [(&[u8], u16); 13] = [
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", 200),
        (b"GET / HTTP/1.1\nhost: a\n\n", 200),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        (b"GET /caf\xc3\xa9 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"GET /?\xc3\xa9 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"GET /%2e%2e/x HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", 400),
        (b"GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", 204),
    ];
    for (raw, status) in table {
        assert_eq!(status_of(raw).await.0, status, "{}", raw.escape_ascii());
    }
}

#[tokio::test(flavor = "current_thread")]
async fn hyper_closes_after_a_length_beside_a_coding() {
    for fields in ["content-length: 3\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 3"]
    {
        let raw = format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n0\r\n\r\n");
        assert_eq!(status_of(raw.as_bytes()).await, (200, true), "{fields}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_an_authority_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(clean) = authority(&bytes, Scheme::Https) {
            let again = authority(clean.as_bytes(), Scheme::Https);
            prop_assert_eq!(again.as_deref(), Ok(clean.as_ref()));
        }
    }

    #[test]
    fn a_clean_head_is_clean_again(target in "/[ab./%2e]{0,12}(\\?[a%20]{0,4})?", host in "[aB.]{1,6}(:(80|443|9))?") {
        let Ok(request) = Request::get(&target).header("host", host).body(()) else { return Ok(()) };
        let mut parts = request.into_parts().0;
        if head(&mut parts, Scheme::Http, &BOUNDS).is_ok() {
            let once = (parts.uri.clone(), parts.headers.clone());
            prop_assert!(head(&mut parts, Scheme::Http, &BOUNDS).is_ok());
            prop_assert_eq!((parts.uri, parts.headers), once);
        }
    }
}
