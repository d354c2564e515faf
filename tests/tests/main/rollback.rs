//! A version that fails soon after its swap, and the way back from it.

use gatewright_tests::{Gateway, guest, setup, sha256, until, upstream};

use crate::plugins::{ROUTED, failing, routed, says, swaps};

/// A routing plugin of this text that traps.
fn traps(text: &str) -> Vec<u8> {
    guest(&format!("(data (i32.const 4096) \"{text}\") (func $route (result i32) unreachable)"))
}

async fn fails_until_it_is_suspended(gateway: &Gateway) {
    for _ in 0..5 {
        gateway.get("/").field("x-do", "1").await.is(503);
    }
}

#[tokio::test]
async fn a_version_that_fails_soon_makes_place_for_the_one_before_it_and_is_not_tried_again() {
    let (_orders, gateway) = routed(&says("good"));
    let bad = traps("bad");
    gateway.swap_in("one", &bad).await;
    fails_until_it_is_suspended(&gateway).await;
    let plugin = gateway.plugin("one", |plugin| plugin.state == "rolled-back").await;
    let fault = "rolled back: its use shop.routing[0] was suspended within 30s of its swap";
    assert_eq!((plugin.digest, plugin.fault.as_deref()), (Some(sha256(&says("good"))), Some(fault)));
    gateway.get("/").await.is(200).says("good");
    assert_eq!(gateway.metric(&swaps("rolled-back")).await, 1.0);

    // Away and there again: the content is the same.
    std::fs::remove_file(gateway.plugin_file("one")).unwrap();
    gateway.plugin("one", |plugin| plugin.json["removed"] == true).await;
    gateway.drop_in("one", &bad);
    gateway.plugin("one", |plugin| plugin.state == "rolled-back" && plugin.json["removed"].is_null()).await;
    gateway.configure(&format!("plans = [\"gold\"]\n{ROUTED}")).await;
    gateway.get("/").await.is(200).says("good");
    gateway.swap_in("one", &says("better")).await;
    gateway.get("/").await.is(200).says("better");
    assert_eq!(gateway.plugin("one", |_| true).await.state, "live");
}

#[tokio::test]
async fn there_is_one_way_back_and_only_from_a_swap() {
    let orders = upstream("orders");
    let gateway = failing(ROUTED).to(&orders).start();
    gateway.swap_in("one", &traps("bad")).await;
    fails_until_it_is_suspended(&gateway).await;
    gateway.plugin("one", |plugin| plugin.state == "rolled-back").await;
    gateway.get("/").await.is(200).says("fine");
    // The version before is suspended too: there is none before it.
    fails_until_it_is_suspended(&gateway).await;
    gateway.plugin("one", |plugin| plugin.json["uses"][0]["suspended"] == true).await;
    until("it is tried again", async || (gateway.get("/").await.status == 200).then_some(())).await;
    assert_eq!(gateway.metric(&swaps("rolled-back")).await, 1.0);
}

#[tokio::test]
async fn without_a_probation_there_is_no_way_back() {
    let orders = upstream("orders");
    let text = format!("plugins = {{ probation = \"0s\" }}\n{ROUTED}");
    let gateway = setup(&text).to(&orders).plugin("one", &says("good")).start();
    gateway.swap_in("one", &traps("bad")).await;
    fails_until_it_is_suspended(&gateway).await;
    gateway.plugin("one", |plugin| plugin.json["uses"][0]["suspended"] == true).await;
    // What was said of the suspension comes before what is said of this one.
    gateway.configure(&format!("plugins = {{ probation = \"0s\" }}\nplans = [\"gold\"]\n{ROUTED}")).await;
    assert_eq!(gateway.plugin("one", |_| true).await.digest, Some(sha256(&traps("bad"))));
    assert_eq!(gateway.metric(&swaps("rolled-back")).await, 0.0);
}
