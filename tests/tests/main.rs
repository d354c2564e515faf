//! The tests of the whole.

#![allow(missing_docs, reason = "a test's name is its sentence")]

use gatewright_tests::{echo, gateway, token, until};

fn guarded(address: std::net::SocketAddr) -> String {
    format!(
        r#"
[keys.demo]
secret_file = "secret"
[plugin.jwt]
keys = ["demo"]
[service.users]
endpoints = ["{address}"]
[[api]]
name = "users"
service = "users"
[[api.auth]]
plugin = "jwt"
settings = {{ keys = "demo", scopes = ["users:read"], headers = {{ x-user = "sub" }} }}
[[api.limit]]
name = "per-caller"
by = "caller"
requests = 3
per = "1h"
"#
    )
}

#[test]
fn a_good_token_reaches_the_service_without_itself_and_without_forged_fields() {
    let users = echo();
    let gateway = gateway(&["jwt"], &guarded(users.address));
    let answer = gateway.get("/a/../users//7", &format!("{}x-user: eve\r\nx_user: eve\r\n", token("users:read")));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("GET /users/7 HTTP/1.1"), "{answer}");
    assert!(answer.contains("x-user: ada"), "{answer}");
    assert!(!answer.contains("eve") && !answer.contains("Bearer"), "{answer}");
}

#[test]
fn no_token_is_401_with_a_challenge_and_a_missing_scope_403() {
    let users = echo();
    let gateway = gateway(&["jwt"], &guarded(users.address));
    let answer = gateway.get("/", "");
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("www-authenticate: Bearer"), "{answer}");
    assert!(gateway.get("/", "authorization: Bearer x.y.z\r\n").starts_with("HTTP/1.1 401"));
    assert!(gateway.get("/", &token("other")).starts_with("HTTP/1.1 403"));
}

#[test]
fn a_caller_over_its_limit_is_429() {
    let users = echo();
    let gateway = gateway(&["jwt"], &guarded(users.address));
    for _ in 0..3 {
        assert!(gateway.get("/", &token("users:read")).starts_with("HTTP/1.1 200"));
    }
    let answer = gateway.get("/", &token("users:read"));
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after:"), "{answer}");
}

#[test]
fn a_missing_plugin_is_503_until_it_is_dropped_in_and_garbage_leaves_it_serving() {
    let users = echo();
    let gateway = gateway(&[], &guarded(users.address));
    assert!(gateway.get("/", "").starts_with("HTTP/1.1 503"));
    assert!(gateway.admin("/readyz").starts_with("HTTP/1.1 503"));
    gateway.drop_reference("jwt");
    until("live", || gateway.get("/", "").starts_with("HTTP/1.1 401"));
    gateway.drop_in("jwt.wasm", b"garbage");
    until("rejected", || gateway.admin("/plugins").contains("not a WebAssembly component"));
    assert!(gateway.get("/", &token("users:read")).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_request_without_one_meaning_is_refused_and_the_connection_closed() {
    let users = echo();
    let gateway = gateway(
        &[],
        &format!(
            "[service.users]\nendpoints = [\"{}\"]\n[[api]]\nname = \"users\"\nservice = \"users\"\n",
            users.address
        ),
    );
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET /%2e%2e/x HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /a%2fb HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\nx",
    ] {
        let answer = gateway.send(request);
        assert!(answer.starts_with("HTTP/1.1 400"), "{request:?}: {answer}");
    }
}
