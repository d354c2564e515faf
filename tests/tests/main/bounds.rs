//! What the configuration allows a plugin: one step within each bound it serves, one step beyond it does not.

use gatewright_tests::{Gateway, guest, hostile, setup, upstream};

use crate::plugins::{ROUTED, failures, saying};

/// A gateway whose plugin, allowed what `host` says, is this guest.
fn allowed(host: &str, guest: &[u8]) -> Gateway {
    setup(&format!("{host}\n{ROUTED}")).to(&upstream("orders")).plugin("one", guest).start()
}

#[tokio::test]
async fn a_call_has_as_much_stack_as_the_configuration_says() {
    // No frame is smaller than its return address and its caller's frame pointer, and none of this is a kilobyte.
    let deep = guest(
        r#"(data (i32.const 4096) "deep enough")
        (func $deeper (param $left i32) (result i32)
            (if (result i32) (local.get $left)
                (then (i32.add (call $deeper (i32.sub (local.get $left) (i32.const 1))) (local.get $left)))
                (else (i32.const 0))))
        (func $configure (result i32) (drop (call $deeper (i32.const 1000))) (call $ok))
        (func $route (result i32)
            (drop (call $deeper (i32.const 8000)))
            (call $respond (i32.const 200) (i32.const 4096) (i32.const 11)))"#,
    );
    for (stack, is_enough) in [("64KiB", false), ("2MiB", true)] {
        for place in ["inline", "offload"] {
            let host = format!("[plugins]\nstack = \"{stack}\"\n[plugin.one]\nplacement = \"{place}\"");
            let gateway = allowed(&host, &deep);
            match is_enough {
                true => drop(gateway.get("/").await.is(200).says("deep enough")),
                false => drop(gateway.get("/").await.is(503)),
            }
            let failed = gateway.metric(&failures("trap")).await;
            assert_eq!(failed, f64::from(u8::from(!is_enough)), "{stack} {place}");
        }
    }
}

#[tokio::test]
async fn recursion_without_end_meets_its_bound_wherever_a_plugin_runs() {
    let host = |place: &str| format!("[plugins]\nstack = \"2MiB\"\n[plugin.one]\nplacement = \"{place}\"");
    for place in ["inline", "offload"] {
        let gateway = allowed(&host(place), &hostile("deep-recursion"));
        gateway.get("/").await.is(503);
        assert_eq!(gateway.metric(&failures("trap")).await, 1.0, "{place}");
        gateway.drop_in("one", &hostile("recursion-in-configure"));
        let reason = gateway.rejects("one").await;
        assert!(reason.contains("call stack exhausted"), "{reason}");
    }
}

#[tokio::test]
async fn the_tables_of_an_instance_have_a_bound_together() {
    let tables = guest(&format!("(table 6000 funcref) (table $grows 6000 funcref) {}", saying("two tables")));
    let host = |most: u32| format!("[plugin.one]\ntable_elements = {most}\n");
    let gateway = allowed(&host(20_000), &tables);
    gateway.get("/").await.is(200).says("two tables");
    let gateway = allowed(&host(11_999), &tables);
    gateway.get("/").await.is(503);
    assert_eq!(gateway.plugin("one", |_| true).await.state, "failed");
}

#[tokio::test]
async fn the_parts_of_an_instance_have_a_bound() {
    // A module, and what gives its imports its memory.
    let imports = hostile("fails-when-told");
    let gateway = allowed("", &imports);
    gateway.get("/").await.is(200).says("fine");
    let gateway = allowed("[plugin.one]\nparts = 1\n", &imports);
    gateway.get("/").await.is(503);
    let plugin = gateway.plugin("one", |plugin| plugin.state == "failed").await;
    assert!(plugin.json.to_string().contains("resource limit exceeded"), "{}", plugin.json);
}
