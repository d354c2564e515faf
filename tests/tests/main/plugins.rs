//! The life of a plugin: dropped in, overwritten, broken, removed, and what one costs that fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use gatewright_tests::{
    Gateway, Setup, Upstream, component_of, guest, hostile, reference, setup, sha256, until, upstream,
};

pub(crate) const ROUTED: &str = r#"
    [[api]]
    name = "shop"
    services = ["orders"]
    [api.routing]
    plugin = "one"
"#;

/// A routing plugin that answers every request with this text.
pub(crate) fn says(text: &str) -> Vec<u8> {
    guest(&saying(text))
}

/// What it is made of.
pub(crate) fn saying(text: &str) -> String {
    let length = text.len();
    format!(
        r#"(data (i32.const 4096) "{text}")
        (func $route (result i32) (call $respond (i32.const 200) (i32.const 4096) (i32.const {length})))"#
    )
}

pub(crate) fn routed(one: &[u8]) -> (Upstream, Gateway) {
    let orders = upstream("orders");
    let gateway = setup(ROUTED).to(&orders).plugin("one", one).start();
    (orders, gateway)
}

pub(crate) fn swaps(outcome: &str) -> String {
    format!("gatewright_plugin_swaps_total{{plugin=\"one\",outcome=\"{outcome}\"}}")
}

#[tokio::test]
async fn a_bad_file_that_nothing_names_keeps_nobody_from_being_ready() {
    let (_orders, gateway) = routed(&says("first"));
    gateway.drop_in("unused", b"no plugin");
    gateway.plugin("unused", |plugin| plugin.state == "failed").await;
    gateway.admin("/readyz").await.is(200);
    // Nor does a bad one in place of one that serves.
    gateway.drop_in("one", b"no plugin");
    gateway.plugin("one", |plugin| plugin.state == "failed").await;
    gateway.admin("/readyz").await.is(200);
    gateway.get("/").await.is(200).says("first");
}

#[tokio::test]
async fn readiness_tells_why_a_plugin_is_missing() {
    let gateway = setup(ROUTED).to(&upstream("orders")).plugin("one", b"no plugin").start();
    let ready = gateway.admin("/readyz").await.is(503).text();
    assert!(ready.starts_with("plugins are missing: one (not a WebAssembly component"), "{ready}");
}

#[tokio::test]
async fn a_plugin_that_is_missing_is_503_until_it_is_dropped_in() {
    let orders = upstream("orders");
    let gateway = setup(ROUTED).to(&orders).start();
    gateway.get("/").await.is(503).problem("The policy of this API is not available");
    gateway.admin("/readyz").await.is(503).says("plugins are missing: one\n");
    assert_eq!(gateway.plugin("one", |_| true).await.state, "waiting");
    gateway.swap_in("one", &says("first")).await;
    gateway.get("/").await.is(200).says("first");
    gateway.admin("/readyz").await.is(200);
    let plugin = gateway.plugin("one", |plugin| plugin.state == "live").await;
    let milliseconds = plugin.number("live_after_ms");
    assert!(milliseconds < 10_000, "{}", plugin.json);
    let seconds = gateway.metric("gatewright_plugin_live_after_seconds{plugin=\"one\"}").await;
    assert_eq!((seconds * 1000.0) as u64, milliseconds);
}

#[tokio::test]
async fn overwriting_swaps_it() {
    let (_orders, gateway) = routed(&says("first"));
    gateway.get("/").await.is(200).says("first");
    gateway.swap_in("one", &says("second")).await;
    gateway.get("/").await.is(200).says("second");
    // Written in place, as `cp` does it.
    std::fs::write(gateway.plugin_file("one"), says("third")).unwrap();
    gateway.serves("one", &says("third")).await;
    gateway.get("/").await.is(200).says("third");
    let plugin = gateway.plugin("one", |_| true).await;
    assert_eq!((plugin.state.as_str(), plugin.number("versions")), ("live", 3));
    assert_eq!(gateway.metric(&swaps("live")).await, 2.0);
}

/// A component of the contract's shape but for one member of a record.
fn of_another_shape() -> Vec<u8> {
    let contract = include_str!("../../../wit/v0.1/policy.wit").replace("status: u16,", "status: u16, more: u32,");
    let world = "package test:guest; world guest { export gatewright:policy/routing@0.1.0; }";
    let module = r#"(module
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "gatewright:policy/routing@0.1.0#configure") (param i32 i32) (result i32) (i32.const 0))
        (func (export "gatewright:policy/routing@0.1.0#route")
            (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 0)))"#;
    component_of(&[&contract, world], module)
}

#[tokio::test]
async fn what_is_no_plugin_leaves_the_last_good_one_serving_and_says_why() {
    let (_orders, gateway) = routed(&says("good"));
    let half = says("half");
    for (count, (what, bytes, reason)) in [
        ("garbage", b"garbage".to_vec(), "expected=[ 0x0, 0x61, 0x73, 0x6d, ]"),
        ("nothing", Vec::new(), "not a WebAssembly component"),
        ("half a file", half[..half.len() / 2].to_vec(), "not a WebAssembly component"),
        ("a core module", wat("(module)"), "not a WebAssembly component"),
        ("another shape", of_another_shape(), "cannot be used for routing"),
    ]
    .into_iter()
    .enumerate()
    {
        gateway.drop_in("one", &bytes);
        let seen = gateway.plugin("one", |plugin| plugin.fault.as_ref().is_some_and(|fault| fault.contains(reason)));
        let plugin = seen.await;
        assert_eq!(plugin.state, "failed", "{what}");
        assert_eq!(plugin.fault.as_ref().unwrap().lines().count(), 1, "{what}");
        assert_eq!(plugin.digest, Some(sha256(&says("good"))), "{what}");
        gateway.metric_is(&swaps("rejected"), |rejected| rejected >= (count + 1) as f64).await;
        gateway.get("/").await.is(200).says("good");
    }
    gateway.admin("/readyz").await.is(200);
    gateway.swap_in("one", &says("better")).await;
    gateway.get("/").await.is(200).says("better");
}

fn wat(text: &str) -> Vec<u8> {
    ::wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn a_half_written_file_is_taken_when_it_is_whole() {
    use std::io::Write;
    let (_orders, gateway) = routed(&says("good"));
    let whole = says("whole");
    let (first, rest) = whole.split_at(whole.len() / 2);
    let mut file = std::fs::File::create(gateway.plugin_file("one")).unwrap();
    file.write_all(first).unwrap();
    gateway.rejects("one").await;
    gateway.get("/").await.is(200).says("good");
    file.write_all(rest).unwrap();
    drop(file);
    gateway.serves("one", &whole).await;
    gateway.get("/").await.is(200).says("whole");
}

#[tokio::test]
async fn a_removed_file_goes_on_serving() {
    let (_orders, gateway) = routed(&says("good"));
    std::fs::remove_file(gateway.plugin_file("one")).unwrap();
    gateway.plugin("one", |plugin| plugin.json["removed"] == true).await;
    gateway.get("/").await.is(200).says("good");
    gateway.metric_is(&swaps("removed"), |removed| removed == 1.0).await;
    gateway.swap_in("one", &says("new")).await;
    gateway.get("/").await.is(200).says("new");
}

#[tokio::test]
async fn precompiled_code_and_strange_names_are_refused() {
    let (_orders, gateway) = routed(&says("good"));
    std::fs::write(gateway.file("plugins").join("one.cwasm"), "x").unwrap();
    std::fs::write(gateway.file("plugins").join("One.wasm"), says("bad")).unwrap();
    assert!(gateway.rejects("one.cwasm").await.contains("precompiled"));
    assert!(gateway.rejects("One.wasm").await.contains("not a plugin's name"));
    gateway.get("/").await.is(200).says("good");
}

#[tokio::test]
async fn fifty_swaps_under_load_cost_no_request_and_each_answer_is_of_one_version() {
    const SWAPS: usize = 50;
    let gateway = swapped(&format!("server = {{ workers = 2, failed_auth = false }}\n{ROUTED}"), SWAPS).await;
    let plugin = gateway.plugin("one", |_| true).await;
    assert_eq!(plugin.number("versions"), SWAPS as u64 + 1);
}

/// Swaps the plugin `one` of this configuration so often under load, which costs no request; each answer is of one version.
pub(crate) async fn swapped(text: &str, swaps: usize) -> Arc<Gateway> {
    let orders = upstream("orders");
    let gateway = Arc::new(setup(text).to(&orders).plugin("one", &says("version 0")).start());
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4).map(|_| tokio::spawn(load(Arc::clone(&gateway), Arc::clone(&stop)))).collect();
    for swap in 1..=swaps {
        gateway.swap_in("one", &says(&format!("version {swap}"))).await;
        // From now on no request begins with the old one.
        gateway.get("/").await.is(200).says(&format!("version {swap}"));
    }
    stop.store(true, Relaxed);
    let mut seen = BTreeSet::new();
    let mut requests = 0;
    for client in clients {
        let said = client.await.unwrap();
        requests += said.len();
        seen.extend(said);
    }
    let known: BTreeSet<String> = (0..=swaps).map(|swap| format!("version {swap}")).collect();
    assert!(seen.is_subset(&known), "{seen:?}");
    assert!(requests >= swaps && seen.len() > swaps / 2, "{requests} requests, {} versions", seen.len());
    gateway
}

/// Asks again and again on a connection that is kept, and answers what was said.
async fn load(gateway: Arc<Gateway>, stop: Arc<AtomicBool>) -> Vec<String> {
    let connection = gateway.http1().await;
    let mut said = Vec::new();
    while !stop.load(Relaxed) {
        said.push(connection.get("/").await.is(200).text());
    }
    said
}

/// Fails as the field `x-do` says: `1` a trap, `22` a loop without end, `333` memory without end. The host allows it little.
pub(crate) fn failing(text: &str) -> Setup {
    let host = "[plugin.one]\ncall_time = \"250ms\"\nmemory = \"4MiB\"\n";
    setup(&format!("{host}{text}")).plugin("one", &hostile("fails-when-told"))
}

pub(crate) fn failures(kind: &str) -> String {
    format!("gatewright_plugin_failures_total{{plugin=\"one\",kind=\"{kind}\"}}")
}

#[tokio::test]
async fn a_plugin_that_fails_costs_exactly_one_503() {
    let orders = upstream("orders");
    let gateway = failing(ROUTED).to(&orders).start();
    gateway.get("/").await.is(200).says("fine");
    for (how, kind) in [("1", "trap"), ("22", "time"), ("333", "memory")] {
        let answer = gateway.get("/").field("x-do", how).await.is(503);
        let answer = answer.problem("The policy of this API is not available").has("retry-after", "1");
        assert!(!answer.text().contains("wasm"), "a cause never reaches a client: {answer}");
        gateway.get("/").await.is(200).says("fine");
        assert_eq!(gateway.metric(&failures(kind)).await, 1.0, "{kind}");
    }
    let plugin = gateway.plugin("one", |_| true).await;
    let used = &plugin.json["uses"][0];
    assert_eq!((&used["calls"], &used["failures"]), (&7.into(), &3.into()), "{used}");
}

#[tokio::test]
async fn a_plugin_that_keeps_failing_is_suspended_and_tried_again() {
    let orders = upstream("orders");
    let gateway = failing(ROUTED).to(&orders).start();
    for _ in 0..5 {
        gateway.get("/").field("x-do", "1").await.is(503);
    }
    gateway.plugin("one", |plugin| plugin.json["uses"][0]["suspended"] == true).await;
    gateway.get("/").await.is(503);
    assert_eq!(gateway.plugin("one", |_| true).await.json["uses"][0]["calls"], 5);
    until("it is tried again", async || (gateway.get("/").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn a_validation_that_may_fail_open_lets_requests_through() {
    let orders = upstream("orders");
    let text = |mode: &str| {
        format!(
            "[[api]]\nname = \"shop\"\nservice = \"orders\"\n[[api.validation]]\nplugin = \"one\"\non_failure = \"{mode}\"\n"
        )
    };
    let gateway = failing(&text("open")).to(&orders).start();
    gateway.get("/").field("x-do", "1").await.is(200).says("orders");
    assert_eq!(gateway.metric(&failures("trap")).await, 1.0);
    gateway.configure(&format!("[plugin.one]\nmemory = \"4MiB\"\n{}", text("closed"))).await;
    gateway.get("/").field("x-do", "1").await.is(503);
    gateway.get("/").await.is(200);
}

/// Counts its calls in a global, and says how many there were as the length of its answer.
pub(crate) const COUNTING: &str = r#"
    (global $calls (mut i32) (i32.const 0))
    (data (i32.const 4096) "**********")
    (func $route (result i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (call $respond (i32.const 200) (i32.const 4096) (global.get $calls)))
"#;

#[tokio::test]
async fn an_instance_is_kept_or_fresh_as_the_operator_says() {
    let orders = upstream("orders");
    let one_worker = "server = { workers = 1 }\n";
    let gateway = setup(&format!("{one_worker}{ROUTED}")).to(&orders).plugin("one", &guest(COUNTING)).start();
    for said in ["*", "**", "***"] {
        gateway.get("/").await.is(200).says(said);
    }
    gateway.configure(&format!("{one_worker}[plugin.one]\nisolation = \"fresh\"\n{ROUTED}")).await;
    for _ in 0..3 {
        gateway.get("/").await.is(200).says("*");
    }
}

#[tokio::test]
async fn a_reused_instance_is_called_a_thousand_times_without_growing_out_of_its_memory() {
    let orders = upstream("orders");
    let gateway =
        setup(&format!("[plugin.one]\nmemory = \"256KiB\"\n{ROUTED}")).to(&orders).plugin("one", &says("ok")).start();
    let connection = gateway.http1().await;
    for _ in 0..1000 {
        connection.get("/").field("x-filler", &"x".repeat(500)).await.is(200);
    }
}

#[tokio::test]
async fn a_component_that_is_not_used_is_unused() {
    let (_orders, gateway) = routed(&says("good"));
    gateway.drop_in("two", &says("idle"));
    gateway.plugin("two", |plugin| plugin.state == "unused").await;
    gateway.drop_in("jwt", &reference("jwt"));
    gateway.plugin("jwt", |plugin| plugin.state == "unused" && plugin.digest.is_some()).await;
}
