//! Plugins whose digest the configuration says.

use gatewright_tests::{setup, sha256, upstream};

use crate::plugins::{ROUTED, says};

#[tokio::test]
async fn only_the_pinned_version_is_taken() {
    let orders = upstream("orders");
    let good = says("good");
    let pinned = format!("[plugin.one]\nsha256 = \"{}\"\n{ROUTED}", sha256(&good));
    let gateway = setup(&pinned).to(&orders).plugin("one", &says("other")).start();
    gateway.get("/").await.is(503);
    assert!(gateway.rejects("one").await.contains("SHA-256"));
    gateway.swap_in("one", &good).await;
    gateway.get("/").await.is(200).says("good");
    gateway.drop_in("one", &says("evil"));
    assert!(gateway.rejects("one").await.contains("SHA-256"));
    gateway.get("/").await.is(200).says("good");
}

#[tokio::test]
async fn a_new_version_and_its_pin_come_in_either_order() {
    let orders = upstream("orders");
    let (first, second, third) = (says("first"), says("second"), says("third"));
    let pinned = |bytes: &[u8]| format!("[plugin.one]\nsha256 = \"{}\"\n{ROUTED}", sha256(bytes));
    let gateway = setup(&pinned(&first)).to(&orders).plugin("one", &first).start();
    gateway.drop_in("one", &second);
    assert!(gateway.rejects("one").await.contains("SHA-256"));
    gateway.configure(&pinned(&second)).await;
    gateway.serves("one", &second).await;
    gateway.get("/").await.is(200).says("second");
    gateway.misconfigure(&pinned(&third)).await;
    gateway.get("/").await.is(200).says("second");
    gateway.swap_in("one", &third).await;
    gateway.get("/").await.is(200).says("third");
}
