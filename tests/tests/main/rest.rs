//! A gateway at rest: nobody asks, and none of its threads does anything.

use gatewright_tests::{Program, setup, until};

use crate::command::built;
use crate::plugins::says;

const SHOP: &str = r#"
    service.orders = { endpoints = ["127.0.0.1:9"] }
    [[api]]
    name = "shop"
    services = ["orders"]
    routing = { plugin = "one" }
"#;
/// So many looks in a row, some milliseconds apart, must find a thread asleep: what goes round wakes it within a few of them.
const LOOKS: usize = 60;

/// Waits until a thread sleeps and goes on sleeping.
async fn rests(program: &Program, thread: &str) {
    let (mut before, mut same) = (0, 0);
    let what = format!("the rest of the thread `{thread}`");
    until(&what, async || {
        let now = program.naps(thread);
        same = if now == before { same + 1 } else { 0 };
        before = now;
        (same == LOOKS).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_thread_wakes_again_and_again_where_nobody_asks() {
    let program = built().start(setup(SHOP).plugin("one", &says("one"))).await;
    for thread in ["plugin-clock", "config-watch", "control"] {
        rests(&program, thread).await;
    }
    let before = program.naps("plugin-clock");
    program.get("/").await.is(200);
    until("the clock of the call", async || (program.naps("plugin-clock") > before).then_some(())).await;
    rests(&program, "plugin-clock").await;
}
