//! What is shipped as an example is what it says. Not beside the other tests: what is not written in Rust brings its language
//! along, and compiles for so long that they would wait for it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

use std::net::SocketAddr;

use gatewright_tests::{Answer, Call, Command, Program, Upstream, built, moved, upstream};
use xtask::house;

/// An example's own configuration and plugin: on other ports, with an admin listener for the harness.
async fn example(name: &str, plugin: &str, services: &[(u16, &Upstream)]) -> Program {
    let loopback = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let text = std::fs::read_to_string(house::root().join("examples").join(name).join("gatewright.toml")).unwrap();
    let text = moved(&text, loopback(8080), "127.0.0.1:0");
    let to = |text: String, (port, service): &(u16, &Upstream)| moved(&text, loopback(*port), &service.to_string());
    let text = services.iter().fold(text, to);
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache").to_str().unwrap().to_owned();
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    let file = folder.path().join("plugins").join(format!("{plugin}.wasm"));
    std::fs::write(file, built(&format!("examples/{plugin}"))).unwrap();
    let file = folder.path().join("gatewright.toml");
    std::fs::write(&file, format!("{text}\n[admin]\nlisten = \"127.0.0.1:0\"\n")).unwrap();
    let gatewright = Command::of(env!("CARGO_BIN_EXE_gatewright-tested"));
    gatewright.variable("XDG_CACHE_HOME", &cache).start_with(folder, &file).await
}

#[tokio::test]
async fn the_plugin_in_rust_knows_its_callers_and_hides_their_keys() {
    let orders = upstream("orders");
    let program = example("rust-plugin", "api_key", &[(9101, &orders)]).await;
    program.get("/").await.is(401).has("www-authenticate", "ApiKey");
    program.get("/").field("x-api-key", "wrong").await.is(401).problem("Unknown API key");
    for _ in 0..10 {
        program.get("/").field("x-api-key", "s3cr3t-of-ada").await.is(200).says("orders");
    }
    assert!(orders.seen().iter().all(|seen| seen.field("x-api-key").is_none()));
    // Limits count by the caller.
    program.get("/").field("x-api-key", "s3cr3t-of-bob").await.is(200).tells("ratelimit", "\"per-caller\";r=9");
}

#[test]
fn the_plugin_in_the_readme_is_the_examples() {
    let read = |path: &str| std::fs::read_to_string(house::root().join(path)).unwrap();
    let (readme, example) = (read("README.md"), read("examples/rust-plugin/src/lib.rs"));
    let code = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let (doc, rest) = example.split_once("\n\n").unwrap();
    assert!(doc.starts_with("//!"));
    assert_eq!(code, rest);
}

#[tokio::test]
async fn the_plugin_in_javascript_sends_testers_and_a_share_to_the_next_version() {
    let (shop, next) = (upstream("shop"), upstream("next"));
    let program = example("javascript-plugin", "canary", &[(9101, &shop), (9102, &next)]).await;
    for _ in 0..3 {
        program.get("/").field("cookie", "a=b; canary=always").await.is(200).says("next");
        program.get("/").field("cookie", "canary=never").await.is(200).says("shop");
    }
    // One verdict, remembered: the share is drawn anew for each request. That none of 2,000 is one of 5 % does not happen.
    let (mut of_shop, mut of_next) = (0, 0);
    while (of_shop == 0 || of_next == 0) && of_shop + of_next < 2000 {
        match program.get("/").await.is(200).text().as_str() {
            "next" => of_next += 1,
            _ => of_shop += 1,
        }
    }
    assert!(of_shop > 0 && of_next > 0, "{of_shop} and {of_next}");
}

#[tokio::test]
async fn the_plugin_in_python_adds_up_orders() {
    /// A JSON Pointer and what is wrong there.
    fn violations(answer: &Answer) -> Vec<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let json = answer.json();
        json["violations"].as_array().unwrap().iter().map(|one| (text(&one["at"]), text(&one["message"]))).collect()
    }

    let orders = upstream("orders");
    let program = example("python-plugin", "orders", &[(9101, &orders)]).await;
    let post = |json: &str| Call::to(program.address, "POST", "/").json(json);
    post(r#"{"items":[{"price":200,"quantity":3},{"price":5,"quantity":2}],"total":610}"#).await.is(200).says("orders");
    assert_eq!(orders.only().text().matches("price").count(), 2);
    program.get("/").await.is(200);

    let answer = post(r#"{"items":[{"price":200,"quantity":3},{"price":5,"quantity":0}],"total":700}"#).await;
    let answer = answer.is(422).problem("The order does not add up");
    let wrong = [("/items/1", "costs nothing"), ("/total", "is 700, and the items cost 600")];
    assert_eq!(violations(&answer), wrong.map(|(at, message)| (at.to_owned(), message.to_owned())));
    let answer = post(r#"{"items":[{"price":500001,"quantity":1}],"total":500001}"#).await.is(422);
    assert_eq!(violations(&answer), [("/total".to_owned(), "is more than 500000".to_owned())]);
    let deep = "[".repeat(30_000);
    for no_order in [
        "",
        "{",
        "[]",
        "7",
        "null",
        r#"{"items":7,"total":7}"#,
        r#"{"items":[null],"total":1}"#,
        r#"{"items":[],"total":Infinity}"#,
        r#"{"items":[],"total":0.5}"#,
        &deep,
    ] {
        let answer = post(no_order).await.is(422);
        assert!(violations(&answer)[0].1.starts_with("is no order"), "{no_order}: {answer}");
    }
    Call::to(program.address, "POST", "/").field("content-type", "text/plain").body("an order").await.is(415);
    assert_eq!(orders.count(), 2);
}
