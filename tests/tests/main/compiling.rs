//! What takes long to compile, and what goes on meanwhile.

use gatewright_tests::{Gateway, guest, setup, upstream};

use crate::plugins::{saying, says};

const TWO: &str = r#"
    [[api]]
    name = "one"
    paths = ["/one"]
    services = ["orders"]
    routing = { plugin = "one" }
    [[api]]
    name = "two"
    paths = ["/two"]
    services = ["orders"]
    routing = { plugin = "two" }
"#;

/// A good plugin of 25 KB that says this text and takes its compiler seconds: loops in loops, and many values that live
/// through all of them.
fn slow(text: &str) -> Vec<u8> {
    slow_of(text, 1000)
}

/// The time grows with the third power of the loops.
fn slow_of(text: &str, loops: usize) -> Vec<u8> {
    const LOCALS: usize = 800;
    let mut function = format!("(func $slow (param i32) (result i32) (local{})", " i32".repeat(LOCALS));
    for depth in 0..loops {
        let (one, other) = (1 + depth % LOCALS, 1 + (depth * 7 + 3) % LOCALS);
        let value = format!("(i32.add (local.get {one}) (i32.load (local.get {other})))");
        function.push_str(&format!("(loop (local.set {one} {value})"));
    }
    for depth in 0..loops {
        function.push_str(&format!("(br_if 0 (local.get {})))", 1 + depth * 3 % LOCALS));
    }
    function.push_str("(local.get 0)");
    (1..=LOCALS).for_each(|local| function.push_str(&format!("(i32.add (local.get {local}))")));
    guest(&format!("{function})\n{}", saying(text)))
}

async fn both_say(gateway: &Gateway, one: &str, two: &str) {
    gateway.get("/one").await.is(200).says(one);
    gateway.get("/two").await.is(200).says(two);
}

#[tokio::test]
async fn a_file_that_compiles_for_too_long_is_rejected_and_others_are_swapped_meanwhile() {
    let orders = upstream("orders");
    let text = format!("plugins = {{ cache = false, compile_time = \"2s\" }}\n{TWO}");
    let gateway = setup(&text).to(&orders).plugin("one", &says("good")).plugin("two", &says("first")).start();
    gateway.drop_in("one", &slow("slow"));
    gateway.plugin("one", |plugin| plugin.json["loading"] == true).await;
    both_say(&gateway, "good", "first").await;
    let fault = gateway.rejects("one").await;
    assert!(fault.contains("not compiled within 2s (`plugins.compile_time`)"), "{fault}");
    both_say(&gateway, "good", "first").await;
    // It is still being compiled: nobody waits for it.
    gateway.swap_in("two", &says("second")).await;
    gateway.swap_in("one", &says("better")).await;
    both_say(&gateway, "better", "second").await;
    assert_eq!(gateway.metric("gatewright_plugin_swaps_total{plugin=\"one\",outcome=\"rejected\"}").await, 1.0);
}

#[tokio::test]
async fn what_was_compiled_before_does_not_wait_for_what_is_being_compiled() {
    let orders = upstream("orders");
    let gateway = setup(TWO).to(&orders).plugin("one", &says("good")).plugin("two", &says("first")).start();
    gateway.swap_in("one", &says("better")).await;
    // Nothing knows this one from an earlier run.
    let slow = slow(&format!("slow {:?}", std::time::SystemTime::now()).replace(['{', '}', '"'], ""));
    gateway.drop_in("two", &slow);
    gateway.plugin("two", |plugin| plugin.json["loading"] == true).await;
    gateway.swap_in("one", &says("good")).await;
    assert_eq!(gateway.plugin("two", |_| true).await.json["loading"], true, "it takes longer than all of this");
    both_say(&gateway, "good", "first").await;
}

#[tokio::test]
async fn a_file_that_compiles_for_long_holds_up_no_other_and_is_live_in_the_end() {
    let orders = upstream("orders");
    let text = format!("plugins = {{ cache = false }}\n{TWO}");
    let gateway = setup(&text).to(&orders).plugin("one", &says("good")).plugin("two", &says("first")).start();
    let long = slow_of("long", 700);
    gateway.drop_in("one", &long);
    gateway.plugin("one", |plugin| plugin.json["loading"] == true).await;
    gateway.swap_in("two", &says("second")).await;
    assert_eq!(gateway.plugin("one", |_| true).await.json["loading"], true, "it takes longer than that");
    both_say(&gateway, "good", "second").await;
    gateway.serves("one", &long).await;
    both_say(&gateway, "long", "second").await;
}

#[tokio::test]
async fn nobody_waits_for_a_file_that_was_replaced_while_it_was_compiled() {
    let orders = upstream("orders");
    let text = format!("plugins = {{ cache = false }}\n{TWO}");
    let gateway = setup(&text).to(&orders).plugin("one", &says("good")).plugin("two", &says("first")).start();
    for text in ["slow", "slow again"] {
        gateway.drop_in("one", &slow(text));
        gateway.plugin("one", |plugin| plugin.json["loading"] == true).await;
    }
    gateway.swap_in("one", &says("better")).await;
    gateway.swap_in("two", &says("second")).await;
    both_say(&gateway, "better", "second").await;
    assert_eq!(gateway.metric("gatewright_plugin_swaps_total{plugin=\"one\",outcome=\"live\"}").await, 1.0);
}

#[tokio::test]
async fn what_is_compiled_too_late_is_taken_after_all() {
    let orders = upstream("orders");
    // Nothing is compiled in that time.
    let text = format!("plugins = {{ cache = false, compile_time = \"1ms\" }}\n{TWO}");
    let gateway = setup(&text).to(&orders).plugin("one", &says("late")).plugin("two", &says("too")).start();
    for name in ["one", "two"] {
        gateway.plugin(name, |plugin| plugin.state == "live").await;
    }
    both_say(&gateway, "late", "too").await;
    gateway.drop_in("one", &says("later"));
    gateway.serves("one", &says("later")).await;
    both_say(&gateway, "later", "too").await;
}

#[tokio::test]
async fn a_start_does_not_wait_for_a_file_that_compiles_for_too_long() {
    let orders = upstream("orders");
    let text = format!("plugins = {{ cache = false, compile_time = \"2s\" }}\n{TWO}");
    let gateway = setup(&text).to(&orders).plugin("one", &slow("slow")).plugin("two", &says("good")).start();
    gateway.get("/one").await.is(503);
    gateway.rejects("one").await;
    gateway.serves("two", &says("good")).await;
    gateway.get("/two").await.is(200).says("good");
    gateway.swap_in("one", &says("better")).await;
    both_say(&gateway, "better", "good").await;
}
