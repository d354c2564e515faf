//! Plugins that are slow by nature, on threads of their own.

use std::sync::{Arc, Mutex};

use gatewright_tests::{Gateway, Upstream, guest, hostile, setup, until, upstream};

use crate::plugins::{COUNTING, ROUTED, failures, swapped};

/// One worker, one thread beside it, and `/slow` with the plugin `one`, whose mode of failure is this.
fn narrow(mode: &str) -> (Upstream, Gateway) {
    let text = format!(
        r#"
        server = {{ workers = 1 }}
        plugins = {{ offload_threads = 1, offload_queue = 1 }}
        plugin.one = {{ placement = "offload", call_time = "4s" }}
        [[api]]
        name = "slow"
        paths = ["/slow"]
        service = "orders"
        validation = [{{ plugin = "one", on_failure = "{mode}" }}]
        [[api]]
        name = "quick"
        paths = ["/quick"]
        service = "orders"
        validation = [{{ plugin = "two" }}]
        "#
    );
    let orders = upstream("orders");
    let two = guest("(func $check (result i32) (call $ok))");
    let gateway = setup(&text).to(&orders).plugin("one", &hostile("fails-when-told")).plugin("two", &two).start();
    (orders, gateway)
}

async fn calls(gateway: &Gateway, count: u64) {
    gateway.plugin("one", |plugin| plugin.json["uses"][0]["calls"] == count).await;
}

#[tokio::test]
async fn a_worker_goes_on_while_an_offloaded_plugin_is_slow() {
    let (_orders, gateway) = narrow("closed");
    let order = Arc::new(Mutex::new(Vec::new()));
    let slow = {
        let (order, call) = (Arc::clone(&order), gateway.get("/slow").field("x-do", "22"));
        tokio::spawn(async move {
            call.await.is(503);
            order.lock().unwrap().push("slow");
        })
    };
    calls(&gateway, 1).await;
    gateway.get("/quick").await.is(200);
    order.lock().unwrap().push("quick");
    slow.await.unwrap();
    assert_eq!(*order.lock().unwrap(), ["quick", "slow"]);
    assert_eq!(gateway.metric(&failures("time")).await, 1.0);
    gateway.get("/slow").await.is(200);
}

#[tokio::test]
async fn what_finds_no_place_is_a_failure_and_its_mode_decides() {
    tokio::join!(finds_no_place("closed", 503), finds_no_place("open", 200));
}

async fn finds_no_place(mode: &str, status: u16) {
    let (_orders, gateway) = narrow(mode);
    let [first, second] = [1, 2].map(|_| gateway.get("/slow").field("x-do", "22"));
    let first = tokio::spawn(first.into_future());
    calls(&gateway, 1).await;
    let second = tokio::spawn(second.into_future());
    calls(&gateway, 2).await;
    gateway.get("/slow").await.is(status);
    assert!(gateway.metric(&failures("overload")).await >= 1.0, "{mode}");
    first.await.unwrap().is(status);
    second.await.unwrap().is(status);
    // The second had waited for most of its time, which is not the plugin's fault.
    assert_eq!(gateway.metric(&failures("time")).await, 1.0, "{mode}");
    assert_eq!(gateway.metric(&failures("overload")).await, 2.0, "{mode}");
    gateway.get("/slow").await.is(200);
}

#[tokio::test]
async fn a_call_whose_client_left_takes_no_place() {
    let (_orders, gateway) = narrow("closed");
    let first = tokio::spawn(gateway.get("/slow").field("x-do", "22").into_future());
    calls(&gateway, 1).await;
    let second = tokio::spawn(gateway.get("/slow").field("x-do", "1").into_future());
    calls(&gateway, 2).await;
    second.abort();
    // There is one place for a call that waits: this one takes it when the other has gone.
    let third = async || (gateway.get("/slow").await.status == 200).then_some(());
    until("the place is free", third).await;
    first.await.unwrap().is(503);
    assert_eq!(gateway.metric(&failures("trap")).await, 0.0);
}

#[tokio::test]
async fn every_stage_may_be_offloaded() {
    let orders = upstream("orders");
    let text = r#"
        keys.demo = { secret_file = "demo.secret" }
        plugin.jwt = { placement = "offload", call_time = "2s", keys = ["demo"] }
        plugin.json-schema = { placement = "offload", call_time = "2s" }
        plugin.all = { placement = "offload", call_time = "2s", isolation = "fresh" }
        [[api]]
        name = "shop"
        services = ["orders"]
        auth = [{ plugin = "jwt", settings = { keys = "demo" } }]
        routing = { plugin = "all" }
        [[api.validation]]
        plugin = "json-schema"
        settings = { rules = [{ methods = ["POST"], path = "/orders", body = { type = "object", required = ["item"] } }] }
    "#;
    let all = guest(
        r#"(import "gatewright:policy/inputs@0.1.0" "all-headers" (func $all-headers))
        (data (i32.const 4096) "orders")
        (func $configure (result i32) (call $all-headers) (call $ok))
        (func $route (result i32) (call $forward (i32.const 4096) (i32.const 6)))"#,
    );
    let gateway = setup(text).to(&orders).plugin("all", &all).start();
    gateway.post("/orders").json(r#"{"item": 1}"#).await.is(401);
    gateway.post("/orders").as_caller("ada").json(r#"{"items": 1}"#).await.is(400);
    gateway.post("/orders").as_caller("ada").json(r#"{"item": 1}"#).await.is(200).says("orders");
    assert_eq!(orders.only().text(), r#"{"item": 1}"#);
}

#[tokio::test]
async fn an_offloaded_instance_is_kept_or_fresh_as_the_operator_says() {
    let orders = upstream("orders");
    let text = |isolation: &str| {
        format!("[plugin.one]\nplacement = \"offload\"\ncall_time = \"2s\"\nisolation = \"{isolation}\"\n{ROUTED}")
    };
    let gateway = setup(&text("reused")).to(&orders).plugin("one", &guest(COUNTING)).start();
    for said in ["*", "**", "***"] {
        gateway.get("/").await.is(200).says(said);
    }
    gateway.configure(&text("fresh")).await;
    for _ in 0..4 {
        gateway.get("/").await.is(200).says("*");
    }
}

#[tokio::test]
async fn what_an_offloaded_plugin_said_is_remembered_as_it_promised() {
    let orders = upstream("orders");
    let text =
        format!("server = {{ workers = 1 }}\nplugin.one = {{ placement = \"offload\", call_time = \"2s\" }}\n{ROUTED}");
    let one = guest(
        r#"(import "gatewright:policy/verdicts@0.1.0" "remember" (func $remember (param i32)))
        (data (i32.const 4096) "once")
        (func $configure (result i32) (call $remember (i32.const 60000)) (call $ok))
        (func $route (result i32) (call $respond (i32.const 200) (i32.const 4096) (i32.const 4)))"#,
    );
    let gateway = setup(&text).to(&orders).plugin("one", &one).start();
    for _ in 0..3 {
        gateway.get("/").await.is(200).says("once");
    }
    assert_eq!(gateway.plugin("one", |_| true).await.json["uses"][0]["calls"], 1);
}

#[tokio::test]
async fn an_offloaded_plugin_that_keeps_failing_is_suspended_and_tried_again() {
    let (_orders, gateway) = narrow("closed");
    for _ in 0..5 {
        gateway.get("/slow").field("x-do", "1").await.is(503);
    }
    gateway.get("/slow").await.is(503);
    calls(&gateway, 5).await;
    assert_eq!(gateway.metric(&failures("trap")).await, 5.0);
    until("it is tried again", async || (gateway.get("/slow").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn an_offloaded_plugin_is_swapped_under_load_and_each_answer_is_of_one_version() {
    swapped(&format!("plugin.one = {{ placement = \"offload\", call_time = \"2s\" }}\n{ROUTED}"), 20).await;
}
