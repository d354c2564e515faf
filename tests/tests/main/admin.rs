//! What operators look at.

use gatewright_tests::{Answer, Place, gateway, setup, sha256, upstream};
use serde_json::Value;

use crate::plugins::{ROUTED, says};

const SHOP: &str = "[[api]]\nname = \"shop\"\npaths = [\"/a\"]\nservice = \"orders\"\n[[api.auth]]\nplugin = \"jwt\"\nsettings = { keys = \"demo\" }\n";

/// Every line is a comment, or a sample of the family that was announced last; the last one says that it is the last.
fn is_exposition(answer: &Answer) {
    let text = answer.text();
    let lines = text.strip_suffix("\n# EOF\n").unwrap_or_else(|| panic!("cut off: {text}"));
    let (mut family, mut suffixes): (_, &[&str]) = ("", &[]);
    for line in lines.lines() {
        if let Some(announced) = line.strip_prefix("# TYPE ") {
            let kind;
            (family, kind) = announced.split_once(' ').unwrap();
            suffixes = match kind {
                "counter" => &["_total"],
                "gauge" => &[""],
                "info" => &["_info"],
                "histogram" => &["_sum", "_count", "_bucket"],
                kind => panic!("{kind}"),
            };
        } else if !line.starts_with("# HELP ") && !line.starts_with("# UNIT ") {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let bare = name.split('{').next().unwrap();
            assert!(suffixes.iter().any(|suffix| bare.strip_suffix(suffix) == Some(family)), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert_eq!(name.contains('{'), name.ends_with('}'), "{line}");
        }
    }
}

#[tokio::test]
async fn metrics_count_requests_by_api_stage_and_status() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    for _ in 0..3 {
        gateway.get("/a").as_caller("ada").await.is(200);
    }
    gateway.get("/a").await.is(401);
    let answer =
        gateway.admin("/metrics").await.is(200).tells("content-type", "application/openmetrics-text; version=1.0.0");
    is_exposition(&answer);
    for (sample, value) in [
        (r#"gatewright_requests_total{api="shop",outcome="forwarded",status="2xx"}"#.to_owned(), 3.0),
        (r#"gatewright_requests_total{api="shop",outcome="auth",status="4xx"}"#.to_owned(), 1.0),
        (r#"gatewright_stage_seconds_count{api="shop",stage="total"}"#.to_owned(), 4.0),
        (r#"gatewright_stage_seconds_count{api="shop",stage="service"}"#.to_owned(), 3.0),
        (r#"gatewright_stage_seconds_bucket{le="+Inf",api="shop",stage="auth"}"#.to_owned(), 3.0),
        (format!("gatewright_endpoint_healthy{{service=\"orders\",endpoint=\"{orders}\"}}"), 1.0),
        (format!("gatewright_endpoint_requests_total{{service=\"orders\",endpoint=\"{orders}\"}}"), 3.0),
    ] {
        gateway.metric_is(&sample, |seen| seen == value).await;
    }
    assert!(gateway.metrics().await.contains("gatewright_plugin_info{plugin=\"jwt\",digest=\""));
    assert!(gateway.metric("gatewright_connections_total").await >= 4.0);
}

#[tokio::test]
async fn a_label_is_never_what_a_client_sent() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    gateway
        .call("FROBNICATE", "/a/frobnicated")
        .field("user-agent", "frobnicator")
        .as_caller("frobnicated")
        .await
        .is(200);
    assert!(!gateway.metrics().await.to_lowercase().contains("frobnicat"));
}

#[tokio::test]
async fn it_says_whether_it_lives_and_is_ready() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    gateway.admin("/livez").await.is(200).says("ok\n");
    gateway.admin("/readyz").await.is(200).says("ok\n");
    gateway.admin("/").await.is(404);
}

#[tokio::test]
async fn plugins_and_services_are_json() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    gateway.get("/a").as_caller("ada").await.is(200);
    let plugins = gateway.admin("/plugins").await.is(200).has("content-type", "application/json").json();
    let jwt = &plugins["jwt"];
    assert_eq!((&jwt["state"], &jwt["versions"]), (&Value::from("live"), &Value::from(1)), "{plugins}");
    let used = &jwt["uses"][0];
    assert_eq!(
        (&used["api"], &used["stage"], &used["calls"]),
        (&"shop".into(), &"auth".into(), &1.into()),
        "{plugins}"
    );
    let service = gateway.service("orders").await;
    let endpoint = &service["endpoints"][0];
    assert_eq!(endpoint["address"], orders.address().to_string(), "{service}");
    assert_eq!((&endpoint["state"], &endpoint["requests"]), (&"healthy".into(), &1.into()), "{service}");
}

#[tokio::test]
async fn what_is_private_is_not_served_to_clients() {
    let orders = upstream("orders");
    let gateway = setup(SHOP).to(Place::from(&orders)).start();
    for path in ["/metrics", "/plugins", "/services", "/livez", "/readyz"] {
        gateway.get(path).await.is(404);
    }
}

#[tokio::test]
async fn a_plugin_tells_the_files_that_were_seen_and_what_its_instances_have() {
    let orders = upstream("orders");
    let gateway = setup(ROUTED).to(&orders).plugin("one", &says("first")).start();
    gateway.swap_in("one", &says("second")).await;
    gateway.drop_in("one", b"garbage");
    let reason = gateway.rejects("one").await;
    let plugin = gateway.plugin("one", |_| true).await.json;
    let seen: Vec<_> = plugin["seen"].as_array().unwrap().iter().map(|one| (&one["outcome"], &one["digest"])).collect();
    let file = |outcome: &str, bytes: &[u8]| (Value::from(outcome), Value::from(sha256(bytes)));
    let files = [file("rejected", b"garbage"), file("live", &says("second")), file("live", &says("first"))];
    assert_eq!(seen, files.iter().map(|(outcome, digest)| (outcome, digest)).collect::<Vec<_>>(), "{plugin}");
    assert_eq!(plugin["seen"][0]["reason"], reason, "{plugin}");
    // One for each of two workers, of two pages each; those of the version before are gone.
    let used = &plugin["uses"][0];
    assert_eq!((&used["instances"], &used["memory_bytes"]), (&2.into(), &(2 * 2 * 65_536).into()), "{used}");
    assert_eq!(used["suspensions"], 0, "{used}");
}
