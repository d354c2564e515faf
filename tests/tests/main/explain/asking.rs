//! How it is asked for: by whom, with what, and by the command.

use gatewright_tests::{Answer, Call, Ended, Place, Upstream, gateway, setup, token, upstream};
use serde_json::Value;

use super::{SHOP, ask, bearer, explained, get, hides, refused};
use crate::command::gatewright;

#[track_caller]
fn problem(answer: &Answer, status: u16, detail: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer}");
    let problem = answer.clone().has("content-type", "application/problem+json").json();
    assert!(problem["detail"].as_str().unwrap().contains(detail), "{detail}: {answer}");
}

#[tokio::test]
async fn what_is_no_request_is_a_problem() {
    let gateway = gateway([&upstream("orders")], SHOP);
    problem(&ask(&gateway, "").await, 400, "no request");
    problem(&ask(&gateway, "\0\u{1}garbage\r\n\r\n").await, 400, "not a request of HTTP/1.1");
    problem(&ask(&gateway, "GET /shop HT").await, 400, "not a request of HTTP/1.1");
    problem(&ask(&gateway, "POST /shop HTTP/1.1\nhost: a\ncontent-length: 9\n\nabc").await, 400, "9");
    problem(&ask(&gateway, get("/shop", &format!("x-long: {}\n", "x".repeat(3 << 20)))).await, 400, "longer than");
    problem(&ask(&gateway, get("/shop", &format!("x-long: {}\n", "x".repeat(1 << 20)))).await, 400, "not a request");
    // It goes on explaining.
    refused(&explained(&gateway, get("/shop", "")).await, 401, &["limit", "validation", "routing", "balance"]);
}

#[tokio::test]
async fn no_page_in_a_browser_has_a_request_explained() {
    let gateway = gateway([&upstream("orders")], SHOP);
    let post = |target| Call::to(gateway.admin, "POST", target).body(get("/shop", ""));
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        problem(&post("/explain").field("content-type", media_type).await, 415, "message/http");
    }
    problem(&post("/explain").await, 415, "message/http");
    problem(&ask(&gateway, get("/shop", "")).field("origin", "http://evil.example").await, 403, "browser");
    problem(&post("/explain?client=nobody").field("content-type", "message/http").await, 400, "client=ADDRESS");
    gateway.admin("/explain").await.is(404);
    Call::to(gateway.admin, "POST", "/plugins").await.is(405);
}

/// Runs the command for this request, with the configuration of a gateway's folder.
async fn command(folder: &std::path::Path, text: &str, more: &[&str]) -> Ended {
    let (config, request) = (folder.join("gateway.toml"), folder.join("request.http"));
    std::fs::write(&request, text).unwrap();
    let arguments = ["explain", "--config", config.to_str().unwrap(), "--request", request.to_str().unwrap()];
    gatewright().run(&[&arguments, more].concat()).await
}

#[tokio::test]
async fn the_command_asks_the_running_gateway() {
    let orders = [(); 2].map(|()| upstream("orders"));
    let gateway = gateway(&orders, SHOP);
    let folder = tempfile::tempdir().unwrap();
    // The harness leaves the port to the system: here it is as people write it.
    let text = format!("[admin]\nlisten = \"{}\"\n", gateway.admin);
    std::fs::write(folder.path().join("gateway.toml"), text).unwrap();
    let good = get("/shop/orders/7", &bearer(&token("ada").claim("plan", "gold").signed()));
    let ended = command(folder.path(), &good, &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines: Vec<&str> = ended.output.lines().collect();
    assert_eq!(lines[0], "GET /shop/orders/7 from 127.0.0.1, as worker 0 of the running gateway sees it");
    for (label, text) in [
        ("api", "shop"),
        ("auth", "jwt: caller ada, plan gold"),
        ("auth", "(not remembered)"),
        ("limit", "3 of 3 left"),
        ("validation", "json-schema"),
        ("routing", "versions: path /orders/7"),
        ("balance", "least-busy: "),
        ("service", "orders: least-busy, 0 of 10000 in flight"),
        ("→", "healthy"),
    ] {
        let line = lines.iter().find(|line| line.trim_start().starts_with(label) && line.contains(text));
        assert!(line.is_some(), "{label} … {text}:\n{}", ended.output);
    }
    hides(&ended.output, &[good.split("Bearer ").nth(1).unwrap().trim()]);

    let ended = command(folder.path(), &get("/shop/orders/7", ""), &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for text in
        ["not asked   limit, validation, routing, balance", "answer      401 Unauthorized", "www-authenticate: "]
    {
        assert!(ended.output.contains(text), "{text}:\n{}", ended.output);
    }
    let ended = command(folder.path(), &good, &["--json", "--client", "127.0.0.9"]).await;
    let explanation: Value = serde_json::from_str(&ended.output).unwrap();
    assert_eq!((&explanation["end"], &explanation["client"]), (&"forwarded".into(), &"127.0.0.9".into()));
    for (text, fault) in
        [("GET", "not a request of HTTP/1.1"), ("", "no request"), (&*"x".repeat(3 << 20), "longer than")]
    {
        let ended = command(folder.path(), text, &[]).await;
        assert_eq!((ended.code, ended.output.as_str()), (Some(2), ""), "{}", ended.errors);
        assert!(ended.errors.contains(fault) && ended.errors.lines().count() == 1, "{fault}: {}", ended.errors);
    }
    assert_eq!(orders.iter().map(Upstream::count).sum::<usize>(), 0);
}

#[tokio::test]
async fn without_a_gateway_the_command_says_so_and_explains_offline() {
    let folder = setup(SHOP).to(Place::new("orders", "127.0.0.1:9".parse().unwrap())).files();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let good = get("/shop/orders/7", &bearer(&token("ada").signed()));
    let ended = command(folder.path(), &good, &["--admin", &closed.to_string()]).await;
    assert_eq!((ended.code, ended.output.as_str()), (Some(2), ""), "{ended:?}");
    let told = format!("no gateway answers at {closed}; `--offline` explains without one");
    assert!(ended.errors.starts_with(&told) && ended.errors.lines().count() == 1, "{}", ended.errors);
    let ended = command(folder.path(), &good, &["--offline"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for text in
        ["by the configuration alone", "caller ada", "3 of 3 left", "127.0.0.1:9", "the only one that gets requests"]
    {
        assert!(ended.output.contains(text), "{text}:\n{}", ended.output);
    }
    assert_eq!(command(folder.path(), &get("/shop/orders/7", ""), &["--offline"]).await.code, Some(1));
    std::fs::remove_file(folder.path().join("plugins/versions.wasm")).unwrap();
    let ended = command(folder.path(), &good, &["--offline"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.output.contains("a plugin for routing is missing"), "{}", ended.output);
}
