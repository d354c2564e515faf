//! What is shipped as an example is what it says.

use gatewright_tests::{Program, built, upstream};
use xtask::house;

use crate::command::gatewright;
use crate::quickstart::moved;

/// The example's own configuration on other ports, with an admin listener for the harness.
async fn rust_plugin(service: &str) -> Program {
    let text = std::fs::read_to_string(house::root().join("examples/rust-plugin/gatewright.toml")).unwrap();
    let text = moved(&text, "127.0.0.1:8080".parse().unwrap(), "127.0.0.1:0");
    let text = moved(&text, "127.0.0.1:9101".parse().unwrap(), service);
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache").to_str().unwrap().to_owned();
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    std::fs::write(folder.path().join("plugins/api_key.wasm"), built("examples/api_key")).unwrap();
    let file = folder.path().join("gatewright.toml");
    std::fs::write(&file, format!("{text}\n[admin]\nlisten = \"127.0.0.1:0\"\n")).unwrap();
    gatewright().variable("XDG_CACHE_HOME", &cache).start_with(folder, &file).await
}

#[tokio::test]
async fn the_plugin_in_rust_knows_its_callers_and_hides_their_keys() {
    let orders = upstream("orders");
    let program = rust_plugin(&orders.to_string()).await;
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
