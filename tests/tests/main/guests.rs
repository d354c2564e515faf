//! The harness's own guests: what the template makes is called and answers as it says.

use gatewright_tests::{Place, guest, setup, upstream};

use crate::plugins::ROUTED;

#[tokio::test]
async fn a_routing_guest_answers_by_itself() {
    let orders = upstream("orders");
    let one = guest(
        r#"(data (i32.const 4096) "from the guest")
        (func $route (result i32) (call $respond (i32.const 418) (i32.const 4096) (i32.const 14)))"#,
    );
    let gateway = setup(ROUTED).to(&orders).plugin("one", &one).start();
    for _ in 0..3 {
        gateway.get("/").await.is(418).says("from the guest");
    }
    assert_eq!(orders.count(), 0);
}

#[tokio::test]
async fn a_routing_guest_names_a_service_by_what_it_declared() {
    let orders = upstream("orders");
    let one = guest(
        r#"(import "gatewright:policy/inputs@0.1.0" "header" (func $header (param i32 i32) (result i32)))
        (data (i32.const 4096) "x-service")
        (func $configure (result i32) (drop (call $header (i32.const 4096) (i32.const 9))) (call $ok))
        (func $route (result i32) (call $forward (call $value (i32.const 0)) (call $value-length (i32.const 0))))"#,
    );
    let gateway = setup(ROUTED).to(&orders).plugin("one", &one).start();
    gateway.get("/a").field("x-service", "orders").await.is(200).says("orders");
    gateway.get("/b").field("x-service", "127.0.0.1:22").await.is(503);
    assert_eq!(orders.only().target, "/a");
}

#[tokio::test]
async fn auth_and_validation_guests_grant_and_refuse() {
    let orders = upstream("orders");
    let one = guest(
        r#"(import "gatewright:policy/inputs@0.1.0" "header" (func $header (param i32 i32) (result i32)))
        (import "gatewright:policy/inputs@0.1.0" "caller-subject" (func $caller (result i32)))
        (data (i32.const 4096) "x-user")
        (data (i32.const 4112) "nobody wants eve")
        (func $identify (result i32)
            (if (call $has (i32.const 0))
                (then (return (call $grant (call $value (i32.const 0)) (call $value-length (i32.const 0))))))
            (call $ok))
        (func $check (result i32)
            (if (i32.eq (call $value-length (i32.const 0)) (i32.const 3))
                (then (return (call $refuse (i32.const 403) (i32.const 4112) (i32.const 16)))))
            (call $ok))
        ;; The settings of the auth use are `{}`, those of the validation use are longer.
        (func $configure (result i32)
            (if (i32.eq (global.get $settings-length) (i32.const 2))
                (then (drop (call $header (i32.const 4096) (i32.const 6))))
                (else (drop (call $caller))))
            (call $ok))"#,
    );
    let text = r#"
        [[api]]
        name = "shop"
        service = "orders"
        [[api.auth]]
        plugin = "one"
        [[api.validation]]
        plugin = "one"
        settings = { caller = true }
    "#;
    let gateway = setup(text).to(Place::from(&orders)).plugin("one", &one).start();
    gateway.get("/").field("x-user", "ada@home").await.is(200);
    gateway.get("/").field("x-user", "eve").await.is(403).problem("nobody wants eve");
    gateway.get("/").await.is(401);
}

/// Sees bodies of these types (the list in memory is of one text) and refuses with 422 whatever body it sees.
fn body_reader(types: i32, more: &str) -> Vec<u8> {
    guest(&format!(
        r#"(import "gatewright:policy/inputs@0.1.0" "body" (func $take (param i32 i32 i32)))
        (import "gatewright:policy/inputs@0.1.0" "pass-other-bodies" (func $pass-others))
        (data (i32.const 4096) "\08\10\00\00\10\00\00\00application/json")
        (data (i32.const 4200) "saw a body")
        (func $configure (result i32)
            (call $take (i32.const 1000) (i32.const 4096) (i32.const {types}))
            {more}
            (call $ok))
        (func $check (result i32)
            (if (i32.and (global.get $has-body) (i32.const {types}))
                (then (return (call $refuse (i32.const 422) (i32.const 4200) (i32.const 10)))))
            (call $ok))"#
    ))
}

#[tokio::test]
async fn a_body_that_is_held_for_one_plugin_is_not_shown_to_another_that_did_not_declare_its_type() {
    let text = r#"
        [[api]]
        name = "shop"
        service = "orders"
        [[api.validation]]
        plugin = "all"
        [[api.validation]]
        plugin = "one"
    "#;
    for (more, status) in [("(call $pass-others)", 200), ("", 415)] {
        let orders = upstream("orders");
        let gateway =
            setup(text).to(&orders).plugin("all", &body_reader(0, "")).plugin("one", &body_reader(1, more)).start();
        gateway.post("/").field("content-type", "text/plain").body("text").await.is(status);
        gateway.post("/").json("{}").await.is(422);
    }
}
