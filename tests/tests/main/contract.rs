//! What the contract offers a plugin: inputs, log, clock and randomness.

use std::time::{SystemTime, UNIX_EPOCH};

use gatewright_tests::{Gateway, guest, setup, token, upstream};
use serde_json::Value;

use crate::command::gatewright;

const ROUTED: &str = r#"
    plans = ["gold"]
    [[api]]
    name = "shop"
    services = ["orders"]
    anonymous = true
    auth = [{ plugin = "jwt", settings = { keys = "demo", plan = "plan", attributes = { tenant = "tenant" } } }]
    routing = { plugin = "one" }
"#;

/// Declares every input, and answers with their values, each in brackets; `-` where the request has no such part.
const TELLS: &str = r#"
    (import "gatewright:policy/inputs@0.1.0" "method" (func $method (result i32)))
    (import "gatewright:policy/inputs@0.1.0" "scheme" (func $scheme (result i32)))
    (import "gatewright:policy/inputs@0.1.0" "authority" (func $authority (result i32)))
    (import "gatewright:policy/inputs@0.1.0" "path" (func $path (result i32)))
    (import "gatewright:policy/inputs@0.1.0" "query" (func $query (result i32)))
    (import "gatewright:policy/inputs@0.1.0" "query-parameter" (func $query-parameter (param i32 i32) (result i32)))
    (import "gatewright:policy/inputs@0.1.0" "header" (func $header (param i32 i32) (result i32)))
    (import "gatewright:policy/inputs@0.1.0" "cookie" (func $cookie (param i32 i32) (result i32)))
    (import "gatewright:policy/inputs@0.1.0" "client-address" (func $client-address (result i32)))
    (import "gatewright:policy/inputs@0.1.0" "caller-subject" (func $caller-subject (result i32)))
    (import "gatewright:policy/inputs@0.1.0" "caller-plan" (func $caller-plan (result i32)))
    (import "gatewright:policy/inputs@0.1.0" "caller-scopes" (func $caller-scopes (result i32)))
    (import "gatewright:policy/inputs@0.1.0" "caller-attribute" (func $caller-attribute (param i32 i32) (result i32)))
    (data (i32.const 4096) "tenant")
    (func $configure (result i32)
        (drop (call $method))
        (drop (call $scheme))
        (drop (call $authority))
        (drop (call $path))
        (drop (call $query))
        (drop (call $query-parameter (i32.const 4096) (i32.const 6)))
        (drop (call $header (i32.const 4096) (i32.const 6)))
        (drop (call $cookie (i32.const 4096) (i32.const 6)))
        (drop (call $client-address))
        (drop (call $caller-subject))
        (drop (call $caller-plan))
        (drop (call $caller-scopes))
        (drop (call $caller-attribute (i32.const 4096) (i32.const 6)))
        ;; Declaring twice answers the same slot.
        (if (i32.ne (call $path) (i32.const 3)) (then unreachable))
        (call $ok))
    (global $end (mut i32) (i32.const 0))
    (func $put (param $byte i32)
        (i32.store8 (global.get $end) (local.get $byte))
        (global.set $end (i32.add (global.get $end) (i32.const 1))))
    (func $route (result i32)
        (local $slot i32)
        (global.set $end (i32.const 8192))
        (loop $next
            (if (call $has (local.get $slot))
                (then
                    (call $put (i32.const 0x5b))
                    (memory.copy (global.get $end) (call $value (local.get $slot)) (call $value-length (local.get $slot)))
                    (global.set $end (i32.add (global.get $end) (call $value-length (local.get $slot))))
                    (call $put (i32.const 0x5d)))
                (else (call $put (i32.const 0x2d))))
            (local.set $slot (i32.add (local.get $slot) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $slot) (global.get $count))))
        (call $respond (i32.const 200) (i32.const 8192) (i32.sub (global.get $end) (i32.const 8192))))
"#;

fn telling() -> Gateway {
    setup(ROUTED).to(&upstream("orders")).plugin("one", &guest(TELLS)).start()
}

#[tokio::test]
async fn a_plugin_gets_the_parts_that_it_declared_and_none_for_what_is_not_there() {
    let gateway = telling();
    let all = token("ada").scopes("a b").claim("plan", "gold").claim("tenant", "acme").signed();
    let call = gateway.call("PUT", "/a%2d/./b?x=1&tenant=a+%62%20c").field("host", "SHOP.example:80").bearer(&all);
    let call = call.field("tenant", "one").field("Tenant", "two").field("cookie", "a=b; tenant=x%20y");
    let said = "[PUT][http][shop.example][/a-/b][x=1&tenant=a+%62%20c][a b c][one, two][x%20y][127.0.0.1][ada][gold][a b][acme]";
    call.await.is(200).says(said);
    gateway.get("/").await.is(200).says("[GET][http][shop.example][/]----[127.0.0.1]----");
    // Empty is not absent.
    let call = gateway.get("/?tenant").field("tenant", "").field("cookie", "tenant=").as_caller("ada");
    call.await.is(200).says("[GET][http][shop.example][/][tenant][][][][127.0.0.1][ada]-[]-");
}

#[tokio::test]
async fn what_is_not_one_exact_text_is_400() {
    let gateway = telling();
    gateway.get("/?tenant=a&tenant=b").await.is(400).problem("A part of the request is ambiguous");
    gateway.get("/?tenant=a&%74enant=b").await.is(400);
    gateway.get("/?tenant=%ff").await.is(400);
    gateway.get("/").field("cookie", "tenant=a; tenant=b").await.is(400);
    gateway.get("/").field("cookie", "tenant=a").field("cookie", "tenant=b").await.is(400);
    let mut raw = gateway.raw().await;
    raw.write(b"GET / HTTP/1.1\r\nhost: shop.example\r\ntenant: \xff\r\n\r\n").await.answer().await.is(400);
}

#[tokio::test]
async fn an_auth_plugin_cannot_depend_on_the_caller() {
    let text = "[[api]]\nname = \"shop\"\nservice = \"orders\"\nauth = [{ plugin = \"one\" }]";
    let early = guest(
        r#"(import "gatewright:policy/inputs@0.1.0" "caller-subject" (func $caller (result i32)))
        (func $configure (result i32) (drop (call $caller)) (call $ok))
        (func $identify (result i32) (call $ok))"#,
    );
    let gateway = setup(text).to(&upstream("orders")).plugin("one", &early).start();
    assert!(gateway.rejects("one").await.contains("an auth plugin cannot depend on the caller"));
    gateway.get("/").await.is(503);
}

/// Answers with every header field, a line each.
const ALL_HEADERS: &str = r#"
    (import "gatewright:policy/inputs@0.1.0" "all-headers" (func $all-headers))
    (func $configure (result i32) (call $all-headers) (call $ok))
    (global $end (mut i32) (i32.const 0))
    (func $put (param $from i32) (param $length i32) (param $after i32)
        (memory.copy (global.get $end) (local.get $from) (local.get $length))
        (global.set $end (i32.add (global.get $end) (local.get $length)))
        (i32.store8 (global.get $end) (local.get $after))
        (global.set $end (i32.add (global.get $end) (i32.const 1))))
    (func $route (result i32)
        (local $field i32)
        (global.set $end (i32.const 8192))
        (local.set $field (global.get $headers))
        (loop $next
            (call $put (i32.load (local.get $field)) (i32.load offset=4 (local.get $field)) (i32.const 0x3d))
            (call $put (i32.load offset=8 (local.get $field)) (i32.load offset=12 (local.get $field)) (i32.const 0x0a))
            (local.set $field (i32.add (local.get $field) (i32.const 16)))
            (br_if $next (i32.lt_u (local.get $field)
                (i32.add (global.get $headers) (i32.mul (global.get $headers-count) (i32.const 16))))))
        (call $respond (i32.const 200) (i32.const 8192) (i32.sub (global.get $end) (i32.const 8192))))
"#;

#[tokio::test]
async fn a_plugin_may_see_every_field_byte_for_byte() {
    let gateway = setup(ROUTED).to(&upstream("orders")).plugin("one", &guest(ALL_HEADERS)).start();
    let mut raw = gateway.raw().await;
    raw.write(b"GET / HTTP/1.1\r\nHost: shop.example\r\nX-B: 2\r\nX-A: \xe9\r\nX-B: 1\r\n\r\n").await;
    let answer = raw.answer().await.is(200);
    let mut lines: Vec<&str> = answer.body.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["host=shop.example", "x-a=\u{fffd}", "x-b=1", "x-b=2"], "{}", answer.body);
    assert!(answer.body.find("x-b=2") < answer.body.find("x-b=1"), "{}", answer.body);
}

/// Promises to remember, asks the clock and chance, says so in the log, and answers 24 bytes: the time, whether the past and the
/// future are over, two random numbers.
const ASKS: &str = r#"
    (import "gatewright:policy/clock@0.1.0" "now" (func $now (result f64)))
    (import "gatewright:policy/clock@0.1.0" "passed" (func $passed (param f64) (result i32)))
    (import "gatewright:policy/random@0.1.0" "number" (func $random (result i32)))
    (import "gatewright:policy/verdicts@0.1.0" "remember" (func $remember (param i32)))
    (import "gatewright:policy/log@0.1.0" "error" (func $error (param i32 i32)))
    (import "gatewright:policy/log@0.1.0" "warn" (func $warn (param i32 i32)))
    (import "gatewright:policy/log@0.1.0" "info" (func $info (param i32 i32)))
    (import "gatewright:policy/log@0.1.0" "debug" (func $debug (param i32 i32)))
    (data (i32.const 4096) "a \"word\"\nof mine")
    (func $configure (result i32) (call $remember (i32.const 60000)) (call $ok))
    (func $route (result i32)
        (call $remember (i32.const 1000))
        (call $error (i32.const 4096) (i32.const 16))
        (call $warn (i32.const 4096) (i32.const 16))
        (call $info (i32.const 4096) (i32.const 16))
        (call $debug (i32.const 4096) (i32.const 16))
        (f64.store (i32.const 8192) (call $now))
        (i32.store (i32.const 8200) (call $passed (f64.const 1)))
        (i32.store (i32.const 8204) (call $passed (f64.const 1e15)))
        (i32.store (i32.const 8208) (call $random))
        (i32.store (i32.const 8212) (call $random))
        (call $respond (i32.const 200) (i32.const 8192) (i32.const 24)))
"#;

#[tokio::test]
async fn a_plugin_has_a_log_a_clock_and_randomness() {
    let one = guest(ASKS);
    let program = gatewright().start(setup(ROUTED).to(&upstream("orders")).plugin("one", &one)).await;
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() * 1000.0;
    let before = now();
    let answer = program.get("/").await.is(200);
    let id = answer.field("x-request-id").unwrap().to_owned();
    let body: [u8; 24] = answer.body[..].try_into().unwrap();
    let told = f64::from_le_bytes(body[..8].try_into().unwrap());
    assert!(before.floor() <= told && told <= now() && told.fract() == 0.0, "{before} {told}");
    let numbers: Vec<u32> = body[8..].chunks(4).map(|part| u32::from_le_bytes(part.try_into().unwrap())).collect();
    assert_eq!(numbers[..2], [1, 0], "the past is over, the future is not");
    assert_ne!(numbers[2], numbers[3]);
    program.terminate();
    let ended = program.ended().await;
    let lines = ended.errors.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let said: Vec<Value> = lines.filter(|line| line["target"] == "plugin").collect();
    let levels: Vec<_> = said.iter().map(|line| line["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["ERROR", "WARN", "INFO"], "the log's level is info");
    for line in said {
        assert_eq!(line["message"], "a \"word\"\nof mine");
        let marks = ["plugin", "api", "stage", "request"].map(|mark| line[mark].as_str().unwrap());
        assert_eq!(marks, ["one", "shop", "routing", &*id]);
    }
}
