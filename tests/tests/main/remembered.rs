//! Remembered verdicts: what is asked again, what never is, and what ends a memory.

use gatewright_tests::{Gateway, Key, guest, setup, token, unix_seconds, until, upstream};

/// One worker, so that one instance counts all calls.
const ASKED: &str = r#"
    server = { workers = 1 }
    service.none.endpoints = ["127.0.0.1:9"]
    [[api]]
    name = "shop"
    services = ["none"]
    [api.routing]
    plugin = "one"
"#;

const REMEMBER: &str = "(call $remember (i32.const 60000))";

/// A routing plugin that answers how often it was called so far (up to nine times), then whatever its `$more` says.
///
/// It declares `x-key`; `configure` and `more` are instructions.
fn counting(configure: &str, more: &str) -> Vec<u8> {
    guest(&format!(
        r#"(import "gatewright:policy/inputs@0.1.0" "header" (func $header (param i32 i32) (result i32)))
        (import "gatewright:policy/inputs@0.1.0" "all-headers" (func $all-headers))
        (import "gatewright:policy/inputs@0.1.0" "body" (func $declare-body (param i32 i32 i32)))
        (import "gatewright:policy/verdicts@0.1.0" "remember" (func $remember (param i32)))
        (import "gatewright:policy/clock@0.1.0" "now" (func $now (result f64)))
        (import "gatewright:policy/clock@0.1.0" "passed" (func $passed (param f64) (result i32)))
        (import "gatewright:policy/random@0.1.0" "number" (func $number (result i32)))
        (data (i32.const 4096) "x-key")
        (global $calls (mut i32) (i32.const 0))
        (func $configure (result i32)
            (drop (call $header (i32.const 4096) (i32.const 5)))
            {configure}
            (call $ok))
        (func $route (result i32)
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            {more}
            (i32.store8 (i32.const 8192) (i32.add (i32.const 48) (global.get $calls)))
            (call $respond (i32.const 200) (i32.const 8192) (i32.const 1)))"#
    ))
}

async fn says(gateway: &Gateway, key: Option<&str>, calls: &str) {
    let call = gateway.get("/");
    let call = if let Some(key) = key { call.field("x-key", key) } else { call };
    call.await.is(200).says(calls);
}

async fn events(gateway: &Gateway, plugin: &str, event: &str) -> f64 {
    gateway.metric(&format!(r#"gatewright_remembered_verdicts_total{{plugin="{plugin}",event="{event}"}}"#)).await
}

#[tokio::test]
async fn the_same_inputs_are_answered_without_a_call() {
    let gateway = setup(ASKED).plugin("one", &counting(REMEMBER, "")).start();
    for (key, calls) in [
        (Some("a"), "1"),
        (Some("a"), "1"),
        (Some("b"), "2"),
        (None, "3"),
        (Some(""), "4"),
        (None, "3"),
        (Some("a"), "1"),
    ] {
        says(&gateway, key, calls).await;
    }
    // Fields of one name are one text, and not the text of the first.
    gateway.get("/").field("x-key", "a").field("x-key", "b").await.is(200).says("5");
    gateway.get("/").field("x-key", "a, b").await.is(200).says("5");
    // What was not declared changes nothing.
    gateway.get("/elsewhere?x=1").field("x-key", "a").field("x-other", "1").await.is(200).says("1");
    assert_eq!((events(&gateway, "one", "hit").await, events(&gateway, "one", "miss").await), (5.0, 5.0));
    let state = gateway.plugin("one", |_| true).await;
    assert_eq!(state.json["uses"][0]["calls"], 5);
    assert_eq!(state.json["remembered"], 5);
}

#[tokio::test]
async fn without_a_promise_or_against_the_operators_will_nothing_is_remembered() {
    let gateway = setup(ASKED).plugin("one", &counting("", "")).start();
    says(&gateway, Some("a"), "1").await;
    says(&gateway, Some("a"), "2").await;
    let never = format!("{ASKED}\n[plugin.one]\nremember = \"0s\"\n");
    let gateway = setup(&never).plugin("one", &counting(REMEMBER, "")).start();
    says(&gateway, Some("a"), "1").await;
    says(&gateway, Some("a"), "2").await;
}

#[tokio::test]
async fn a_call_that_reads_the_clock_or_draws_randomness_is_made_again() {
    for (more, event) in [("(drop (call $now))", "withheld-clock"), ("(drop (call $number))", "withheld-random")] {
        let gateway = setup(ASKED).plugin("one", &counting(REMEMBER, more)).start();
        says(&gateway, Some("a"), "1").await;
        says(&gateway, Some("a"), "2").await;
        assert_eq!(events(&gateway, "one", event).await, 2.0);
        assert_eq!(events(&gateway, "one", "hit").await, 0.0);
    }
}

#[tokio::test]
async fn a_verdict_on_a_body_is_not_remembered_and_one_without_is() {
    let declares = format!("{REMEMBER} (call $declare-body (i32.const 100) (i32.const 0) (i32.const 0))");
    let gateway = setup(ASKED).plugin("one", &counting(&declares, "")).start();
    gateway.post("/").field("x-key", "a").body("x").await.is(200).says("1");
    gateway.post("/").field("x-key", "a").body("x").await.is(200).says("2");
    says(&gateway, Some("a"), "3").await;
    says(&gateway, Some("a"), "3").await;
    gateway.post("/").field("x-key", "a").body("x").await.is(200).says("4");
    assert_eq!(events(&gateway, "one", "withheld-body").await, 3.0);
}

#[tokio::test]
async fn all_headers_are_inputs_where_they_were_declared() {
    let gateway = setup(ASKED).plugin("one", &counting(&format!("{REMEMBER} (call $all-headers)"), "")).start();
    says(&gateway, Some("a"), "1").await;
    says(&gateway, Some("a"), "1").await;
    gateway.get("/").field("x-key", "a").field("x-other", "1").await.is(200).says("2");
}

#[tokio::test]
async fn an_operator_may_have_everything_forgotten() {
    let gateway = setup(ASKED).plugin("one", &counting(REMEMBER, "")).start();
    says(&gateway, Some("a"), "1").await;
    says(&gateway, Some("a"), "1").await;
    gateway.forget().await;
    says(&gateway, Some("a"), "2").await;
    says(&gateway, Some("a"), "2").await;
}

#[tokio::test]
async fn a_new_version_and_new_settings_begin_anew() {
    let gateway = setup(ASKED).plugin("one", &counting(REMEMBER, "")).start();
    says(&gateway, Some("a"), "1").await;
    // The same, and another file: it begins to count at five.
    let later = counting(&format!("{REMEMBER} (global.set $calls (i32.const 4))"), "");
    gateway.swap_in("one", &later).await;
    says(&gateway, Some("a"), "5").await;
    says(&gateway, Some("b"), "6").await;
    says(&gateway, Some("a"), "5").await;
    // An instance of other settings has counted nothing yet, and its verdicts are its own.
    gateway.configure(&format!("{ASKED}\nsettings = {{ other = true }}\n")).await;
    says(&gateway, Some("b"), "5").await;
}

#[tokio::test]
async fn two_apis_and_two_configurations_never_meet() {
    let length = "(global.set $calls (global.get $settings-length))";
    let text = r#"
        server = { workers = 1 }
        service.none.endpoints = ["127.0.0.1:9"]
        [[api]]
        name = "one"
        paths = ["/one"]
        services = ["none"]
        routing = { plugin = "one", settings = {} }
        [[api]]
        name = "two"
        paths = ["/two"]
        services = ["none"]
        routing = { plugin = "one", settings = { a = 1 } }
    "#;
    let gateway = setup(text).plugin("one", &counting(&format!("{REMEMBER} {length}"), "")).start();
    for _ in 0..2 {
        // `{}` has two characters, `{"a":1}` seven.
        gateway.get("/one").field("x-key", "a").await.is(200).says("3");
        gateway.get("/two").field("x-key", "a").await.is(200).says("8");
    }
    assert_eq!(events(&gateway, "one", "hit").await, 2.0);
}

#[tokio::test]
async fn who_is_calling_is_a_part_of_what_was_asked() {
    let orders = upstream("orders");
    let one = guest(
        r#"(import "gatewright:policy/inputs@0.1.0" "caller-subject" (func $caller (result i32)))
        (import "gatewright:policy/verdicts@0.1.0" "remember" (func $remember (param i32)))
        (data (i32.const 4112) "nobody wants eve")
        (func $configure (result i32)
            (drop (call $caller))
            (call $remember (i32.const 60000))
            (call $ok))
        (func $check (result i32)
            (if (i32.eq (i32.load8_u (call $value (i32.const 0))) (i32.const 101))
                (then (return (call $refuse (i32.const 403) (i32.const 4112) (i32.const 16)))))
            (call $ok))"#,
    );
    let text = r#"
        server = { workers = 1 }
        [[api]]
        name = "shop"
        service = "orders"
        [[api.auth]]
        plugin = "jwt"
        settings = { keys = "demo" }
        [[api.validation]]
        plugin = "one"
    "#;
    let gateway = setup(text).to(&orders).plugin("one", &one).start();
    for _ in 0..2 {
        gateway.get("/").as_caller("ada").await.is(200);
        gateway.get("/").as_caller("eve").await.is(403).problem("nobody wants eve");
    }
    assert_eq!(events(&gateway, "one", "hit").await, 2.0);
}

#[tokio::test]
async fn a_credential_of_another_kind_is_remembered_as_such() {
    let orders = upstream("orders");
    let text = r#"
        server = { workers = 1 }
        [[api]]
        name = "shop"
        service = "orders"
        anonymous = true
        [[api.auth]]
        plugin = "jwt"
        settings = { keys = "demo" }
    "#;
    let gateway = setup(text).to(&orders).start();
    for _ in 0..3 {
        gateway.get("/").await.is(200);
    }
    assert_eq!(events(&gateway, "jwt", "hit").await, 2.0);
}

const TOKENS: &str = r#"
    server = { workers = 1, failed_auth = false }
    [keys.accounts]
    secret_file = "secret"
    [plugin.jwt]
    keys = ["accounts"]
    [[api]]
    name = "shop"
    service = "orders"
    [[api.auth]]
    plugin = "jwt"
    settings = { keys = "accounts", leeway_seconds = 0 }
"#;

const ONE_SECRET: &str = "one secret that is long enough for HS256";

#[tokio::test]
async fn a_token_is_verified_once_and_not_good_a_moment_longer() {
    let orders = upstream("orders");
    let gateway = setup(TOKENS).to(&orders).file("secret", ONE_SECRET).start();
    let ends = unix_seconds() + 3;
    let token = token("ada").claim("exp", ends).signed_by(&Key::secret(ONE_SECRET));
    gateway.get("/").bearer(&token).await.is(200);
    gateway.get("/").bearer(&token).await.is(200);
    assert_eq!(events(&gateway, "jwt", "hit").await, 1.0);
    let connection = gateway.http1().await;
    until("the token is over", async || {
        let before = unix_seconds();
        let status = connection.get("/").bearer(&token).await.status.as_u16();
        // What was answered 200 was asked before the end.
        assert!(status == 401 || before < ends, "good after its end");
        (status == 401).then_some(())
    })
    .await;
    assert!(unix_seconds() >= ends, "bad before its end");
}

#[tokio::test]
async fn new_keys_end_what_was_verified_with_the_old_ones() {
    let orders = upstream("orders");
    let gateway = setup(TOKENS).to(&orders).file("secret", ONE_SECRET).start();
    let token = token("ada").signed_by(&Key::secret(ONE_SECRET));
    gateway.get("/").bearer(&token).await.is(200);
    gateway.get("/").bearer(&token).await.is(200);
    gateway.write("secret", "another secret that is long enough for HS256");
    until("the new keys count", async || (gateway.get("/").bearer(&token).await.status == 401).then_some(())).await;
}

#[tokio::test]
async fn a_moment_that_passes_ends_a_verdict_that_asked_for_it() {
    let orders = upstream("orders");
    let ends = unix_seconds() + 3;
    // 1970-01-01 plus whole days and seconds, as the plugin reads it.
    let text = format!(
        r#"
        server = {{ workers = 1 }}
        [[api]]
        name = "shop"
        services = ["orders"]
        [api.routing]
        plugin = "one"
        settings = {ends}
        "#
    );
    // Calls until the moment in its settings go to the service, later ones are gone.
    let one = guest(
        r#"(import "gatewright:policy/verdicts@0.1.0" "remember" (func $remember (param i32)))
        (import "gatewright:policy/clock@0.1.0" "passed" (func $passed (param f64) (result i32)))
        (data (i32.const 4096) "orders")
        (data (i32.const 4112) "gone")
        (global $ends (mut f64) (f64.const 0))
        (func $configure (result i32)
            (local $at i32)
            (call $remember (i32.const 60000))
            (loop $digit
                (global.set $ends (f64.add (f64.mul (global.get $ends) (f64.const 10))
                    (f64.convert_i32_u (i32.sub
                        (i32.load8_u (i32.add (global.get $settings) (local.get $at))) (i32.const 48)))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $digit (i32.lt_u (local.get $at) (global.get $settings-length))))
            (global.set $ends (f64.mul (global.get $ends) (f64.const 1000)))
            (call $ok))
        (func $route (result i32)
            (if (call $passed (global.get $ends))
                (then (return (call $refuse (i32.const 410) (i32.const 4112) (i32.const 4)))))
            (call $forward (i32.const 4096) (i32.const 6)))"#,
    );
    let gateway = setup(&text).to(&orders).plugin("one", &one).start();
    gateway.get("/").await.is(200);
    gateway.get("/").await.is(200);
    assert_eq!(events(&gateway, "one", "hit").await, 1.0);
    let connection = gateway.http1().await;
    until("the moment passes", async || {
        let before = unix_seconds();
        let status = connection.get("/").await.status.as_u16();
        assert!(status == 410 || before < ends, "not gone after the moment");
        (status == 410).then_some(())
    })
    .await;
    assert!(unix_seconds() >= ends, "gone before the moment");
}

#[tokio::test]
async fn a_remembered_target_is_drawn_anew_each_time() {
    let (orders, canary) = (upstream("orders"), upstream("canary"));
    let text = r#"
        server = { workers = 1 }
        [[api]]
        name = "shop"
        services = ["orders", "canary"]
        [api.routing]
        plugin = "versions"
        [[api.routing.settings.routes]]
        path = "/{*rest}"
        service = "orders"
        shares = [{ service = "canary", percent = 50 }]
    "#;
    let gateway = setup(text).to(&orders).to(&canary).start();
    let connection = gateway.http1().await;
    for _ in 0..60 {
        connection.get("/a").await.is(200);
    }
    // That one of them gets none of sixty happens once in 10^18 runs.
    assert!(orders.count() > 0 && canary.count() > 0, "{} and {}", orders.count(), canary.count());
    assert_eq!(events(&gateway, "versions", "miss").await, 1.0);
}
