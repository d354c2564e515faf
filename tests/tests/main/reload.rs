//! The configuration's file: all or nothing, and together with plugins in either order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use gatewright_tests::{gateway, guest, setup, upstream};

const SHOP: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n";

#[tokio::test]
async fn an_edited_configuration_comes_into_force() {
    let (orders, users) = (upstream("orders"), upstream("users"));
    let gateway = gateway([&orders, &users], SHOP);
    let connection = gateway.http1().await;
    connection.get("/users").await.is(200).says("orders");
    gateway.configure(&format!("{SHOP}[[api]]\nname = \"people\"\npaths = [\"/users\"]\nservice = \"users\"")).await;
    // Also on connections that were there before.
    connection.get("/users").await.is(200).says("users");
    connection.get("/orders").await.is(200).says("orders");
}

#[tokio::test]
async fn a_configuration_with_a_fault_changes_nothing() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    for bad in [
        "[[api]]\nname = \"other\"\nservice = \"nowhere\"\n",
        "[[api]]\nname = \"other\"\nservice = \"orders\"\ncolour = \"red\"\n",
        "server = { head_timeout = \"soon\" }\n[[api]]\nname = \"other\"\nservice = \"orders\"\n",
        "server = { workers = 3 }\n[[api]]\nname = \"other\"\npaths = [\"/other\"]\nservice = \"orders\"\n",
    ] {
        gateway.misconfigure(bad).await;
        gateway.get("/").await.is(200);
    }
    let sample = "gatewright_reloads_total{outcome=\"rejected\"}";
    let before = gateway.metric(sample).await;
    gateway.write("gateway.toml", "this is no TOML");
    gateway.metric_is(sample, |now| now > before).await;
    gateway.get("/").await.is(200);
    gateway.configure("[[api]]\nname = \"shop\"\npaths = [\"/now\"]\nservice = \"orders\"\n").await;
    gateway.get("/").await.is(404);
    gateway.get("/now").await.is(200);
}

#[tokio::test]
async fn of_a_configuration_that_one_plugin_does_not_accept_nothing_comes_into_force() {
    let (orders, users) = (upstream("orders"), upstream("users"));
    let (first, second) = (plugin("i32.ne", "one"), plugin("i32.ne", "two"));
    let api = |name: &str, settings: &str| {
        format!(
            "[[api]]\nname = \"{name}\"\npaths = [\"/{name}\"]\nservices = [\"orders\"]\nrouting = {{ plugin = \"{name}\"{settings} }}\n"
        )
    };
    let old = [api("one", ""), api("two", "")].concat();
    let gateway = setup(&old).to(&orders).to(&users).plugin("one", &first).plugin("two", &second).start();
    // Everything else is good: a new API, and a limit for the first one.
    let new = [
        "[[api]]\nname = \"people\"\npaths = [\"/people\"]\nservice = \"users\"\n".to_owned(),
        api("one", ""),
        "limit = [{ name = \"none\", by = \"api\", requests = 1, per = \"1h\" }]\n".to_owned(),
        api("two", ", settings = { new = true }"),
    ];
    gateway.misconfigure(&new.concat()).await;
    gateway.get("/people").await.is(404);
    for _ in 0..3 {
        gateway.get("/one").await.is(200).says("one").lacks("ratelimit");
        gateway.get("/two").await.is(200).says("two");
    }
    // And all of it at once, when the plugin is there that accepts it.
    gateway.swap_in("two", &plugin("i32.eq", "new")).await;
    gateway.get("/people").await.is(200).says("users");
    gateway.get("/two").await.is(200).says("new");
    gateway.get("/one").await.is(200).says("one");
    gateway.get("/one").await.is(429);
}

#[tokio::test]
async fn a_request_ends_with_the_configuration_that_it_began_with() {
    let (orders, users) = (upstream("orders"), upstream("users"));
    let gateway = gateway([&orders, &users], SHOP);
    let gate = orders.holds();
    let held = tokio::spawn(gateway.get("/").into_future());
    orders.sees_requests(1).await;
    gateway.configure("[[api]]\nname = \"people\"\nservice = \"users\"\n").await;
    gateway.get("/").await.is(200).says("users");
    gate.open();
    held.await.unwrap().is(200).says("orders");
}

/// A routing plugin that takes settings longer than `{}`, or only those, and says this.
fn plugin(wants: &str, text: &str) -> Vec<u8> {
    guest(&format!(
        r#"(data (i32.const 4096) "{text}")
        (data (i32.const 4112) "not for me")
        (func $configure (result i32)
            (if ({wants} (global.get $settings-length) (i32.const 2))
                (then (return (call $fault (i32.const 4112) (i32.const 10)))))
            (call $ok))
        (func $route (result i32) (call $respond (i32.const 200) (i32.const 4096) (i32.const 3)))"#
    ))
}

const OLD: &str = "[[api]]\nname = \"shop\"\nservices = [\"orders\"]\n[api.routing]\nplugin = \"one\"\n";
const NEW: &str =
    "[[api]]\nname = \"shop\"\nservices = [\"orders\"]\n[api.routing]\nplugin = \"one\"\nsettings = { new = true }\n";

#[tokio::test]
async fn a_plugin_may_come_before_the_configuration_that_it_needs() {
    let orders = upstream("orders");
    let (old, new) = (plugin("i32.ne", "old"), plugin("i32.eq", "new"));
    let gateway = setup(OLD).to(&orders).plugin("one", &old).start();
    gateway.get("/").await.is(200).says("old");
    gateway.drop_in("one", &new);
    assert!(gateway.rejects("one").await.contains("not for me"));
    gateway.get("/").await.is(200).says("old");
    gateway.configure(NEW).await;
    gateway.get("/").await.is(200).says("new");
    gateway.serves("one", &new).await;
}

#[tokio::test]
async fn a_configuration_may_come_before_the_plugin_that_it_needs() {
    let orders = upstream("orders");
    let (old, new) = (plugin("i32.ne", "old"), plugin("i32.eq", "new"));
    let gateway = setup(OLD).to(&orders).plugin("one", &old).start();
    gateway.misconfigure(NEW).await;
    gateway.get("/").await.is(200).says("old");
    gateway.swap_in("one", &new).await;
    gateway.get("/").await.is(200).says("new");
    assert_eq!(gateway.metric("gatewright_reloads_total{outcome=\"applied\"}").await, 1.0);
}

#[tokio::test]
async fn a_configuration_may_name_a_plugin_that_is_not_there_yet() {
    let orders = upstream("orders");
    let gateway = setup(SHOP).to(&orders).start();
    gateway.configure(OLD).await;
    gateway.get("/").await.is(503);
    gateway.swap_in("one", &plugin("i32.ne", "old")).await;
    gateway.get("/").await.is(200).says("old");
}

#[tokio::test]
async fn a_folder_that_is_never_quiet_does_not_keep_a_configuration_out() {
    let (orders, users) = (upstream("orders"), upstream("users"));
    let gateway = gateway([&orders, &users], SHOP);
    let noise = gateway.file("noise");
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            while !stop.load(Relaxed) {
                std::fs::write(&noise, "noise").unwrap();
                std::thread::yield_now();
            }
        }
    });
    gateway.configure("[[api]]\nname = \"people\"\nservice = \"users\"\n").await;
    stop.store(true, Relaxed);
    writer.join().unwrap();
    gateway.get("/").await.is(200).says("users");
}
