//! What `explain` says of a request, through the admin API and by the command, and that it leaves no trace.

use gatewright_tests::{Call, Gateway, Place, Upstream, gateway, guest, hostile, setup, token, upstream};
use serde_json::Value;

mod asking;
mod endpoints;

/// Everything that can stand in a request's way, on one worker, so that what is remembered is remembered for all.
const SHOP: &str = r#"
    server = { workers = 1, failed_auth = { requests = 3, per = "1h" } }
    plans = ["gold"]
    service.orders.balance = "least-busy"
    [[api]]
    name = "shop"
    paths = ["/shop"]
    services = ["orders"]
    [[api.auth]]
    plugin = "jwt"
    settings = { keys = "demo", plan = "plan", headers = { x-user = "sub" } }
    [[api.limit]]
    name = "per-caller"
    by = "caller"
    requests = 3
    per = "1h"
    concurrent = 2
    [[api.validation]]
    plugin = "json-schema"
    [[api.validation.settings.rules]]
    path = "/shop/orders"
    body = '{ "required": ["item"], "properties": { "quantity": { "minimum": 1 } } }'
    [api.routing]
    plugin = "versions"
    [api.routing.settings]
    base = "/shop"
    from = { path = true }
    default = "1"
    strip = "base"
    [api.routing.settings.versions.1]
    [[api.routing.settings.routes]]
    path = "/orders/{*rest}"
    versions = ["1"]
    service = "orders"
"#;

/// A request with these fields, each on its line.
fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\nhost: shop.example\n{fields}")
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\n")
}

fn ask(gateway: &Gateway, text: impl Into<String>) -> Call {
    let call = Call::to(gateway.admin, "POST", "/explain").field("content-type", "message/http");
    call.body(text.into())
}

/// The explanation of a request.
async fn explained(gateway: &Gateway, text: impl Into<String>) -> Value {
    ask(gateway, text).await.is(200).json()
}

/// What a stage said first.
#[track_caller]
fn step<'a>(explanation: &'a Value, stage: &str) -> &'a Value {
    let steps = explanation["steps"].as_array().unwrap();
    steps.iter().find(|step| step["stage"] == stage).unwrap_or_else(|| panic!("{stage}: {explanation:#}"))
}

/// A stage said this, and more with this part in it.
#[track_caller]
fn says(explanation: &Value, stage: &str, verdict: &str, detail: &str) {
    let step = step(explanation, stage);
    let text = step["detail"].as_str().unwrap_or_default();
    assert!(step["verdict"] == verdict && text.contains(detail), "{verdict} {detail}: {explanation:#}");
}

/// It is refused with this status, and these stages are not asked.
#[track_caller]
fn refused(explanation: &Value, status: u16, not_asked: &[&str]) {
    assert_eq!(explanation["end"], "refused", "{explanation:#}");
    assert_eq!(explanation["answer"]["status"], status, "{explanation:#}");
    assert_eq!(explanation["answer"]["body"]["status"], status, "{explanation:#}");
    assert_eq!(explanation["not_asked"], serde_json::json!(not_asked), "{explanation:#}");
}

/// The field of an answer that was explained.
fn field<'a>(explanation: &'a Value, name: &str) -> Option<&'a str> {
    let fields = explanation["answer"]["fields"].as_array().unwrap();
    fields.iter().find(|field| field[0] == name).and_then(|field| field[1].as_str())
}

/// None of these texts is anywhere in it.
#[track_caller]
fn hides(text: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

/// What the gateway counts of requests and plugins, but for connections and times.
async fn counts(gateway: &Gateway) -> Vec<String> {
    let metrics = gateway.metrics().await;
    let counted = ["_requests_total", "_verdicts_total", "_failures_total", "_stage_seconds_count", "_ejections_total"];
    let lines = metrics.lines().filter(|line| !line.starts_with('#') && counted.iter().any(|name| line.contains(name)));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn every_stage_of_a_good_request_and_why_its_endpoint() {
    let orders = [(); 2].map(|()| upstream("orders"));
    let gateway = gateway(&orders, SHOP);
    let before = counts(&gateway).await;
    let token = token("ada").claim("plan", "gold").claim("private-claim", "of-the-claim").signed();
    let fields = format!("{}x-private: of-the-field\n", bearer(&token));
    let answer = ask(&gateway, get("/shop/orders/7?key=of-the-query", &fields)).await.is(200);
    let explanation = answer.json();
    assert_eq!(explanation["end"], "forwarded", "{explanation:#}");
    assert_eq!(explanation["by"]["worker"], 0);
    assert_eq!((&explanation["method"], &explanation["path"]), (&"GET".into(), &"/shop/orders/7".into()));
    assert_eq!((&explanation["client"], &explanation["answer"]), (&"127.0.0.1".into(), &Value::Null));
    says(&explanation, "api", "shop", "any host, path /shop/");
    says(&explanation, "auth", "accepted", "caller ada, plan gold");
    says(&explanation, "limit", "within", "per-caller by caller: 3 of 3 left, 0 of 2 in flight");
    says(&explanation, "validation", "accepted", "");
    says(&explanation, "routing", "orders", "path /orders/7");
    for stage in ["auth", "validation", "routing"] {
        assert!(step(&explanation, stage)["microseconds"].as_f64().unwrap() > 0.0, "{explanation:#}");
    }
    let addresses = orders.each_ref().map(|one| one.address().to_string());
    let service = &explanation["service"];
    let chosen = service["endpoint"].as_str().unwrap();
    let other = addresses.iter().find(|address| *address != chosen).unwrap();
    assert!(addresses.iter().any(|address| address == chosen), "{service:#}");
    says(&explanation, "balance", chosen, &format!("least-busy: drawn by weight: as busy as {other} (0 in flight)"));
    assert_eq!(service["endpoints"].as_array().unwrap().len(), 2);
    assert_eq!((&service["endpoints"][0]["state"], &service["endpoints"][0]["tier"]), (&"healthy".into(), &1.into()));
    hides(&answer.text(), &[&token, "of-the-claim", "of-the-field", "of-the-query"]);
    // Nobody else has noticed.
    assert_eq!(orders.iter().map(Upstream::count).sum::<usize>(), 0);
    assert_eq!(counts(&gateway).await, before);
    assert_eq!(gateway.plugin("jwt", |_| true).await.json["uses"][0]["calls"], 0);
}

#[tokio::test]
async fn a_bad_credential_is_refused_as_ever_and_not_held_against_its_address() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let none = explained(&gateway, get("/shop/orders/7", "")).await;
    refused(&none, 401, &["limit", "validation", "routing", "balance"]);
    says(&none, "auth", "passed over", "no credential of its kind");
    assert_eq!(none["steps"].as_array().unwrap().last().unwrap()["detail"], "A credential is needed");
    assert!(field(&none, "www-authenticate").unwrap().starts_with("Bearer"), "{none:#}");
    let bad = token("ada").expired().signed();
    for _ in 0..10 {
        let answer = ask(&gateway, get("/shop/orders/7", &bearer(&bad))).await.is(200);
        refused(&answer.json(), 401, &["limit", "validation", "routing", "balance"]);
        says(&answer.json(), "auth", "refused", "401 ");
        hides(&answer.text(), &[&bad]);
    }
    // Three of those would have been enough.
    gateway.get("/shop/orders/7").bearer(&bad).await.is(401);
    gateway.get("/shop/orders/7").as_caller("ada").await.is(200);
}

#[tokio::test]
async fn a_limit_is_shown_as_it_stands_and_not_spent() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let text = get("/shop/orders/7", &bearer(&token("ada").signed()));
    gateway.get("/shop/orders/7").as_caller("ada").await.is(200);
    for _ in 0..10 {
        let explanation = explained(&gateway, &*text).await;
        assert_eq!(explanation["end"], "forwarded", "{explanation:#}");
        let limit = &step(&explanation, "limit")["limit"];
        assert_eq!((&limit["name"], &limit["by"]), (&"per-caller".into(), &"caller".into()));
        assert_eq!((&limit["limit"], &limit["remaining"]), (&3.into(), &2.into()), "{limit}");
        let reset = limit["reset"].as_f64().unwrap();
        assert!(reset > 0.0 && reset <= 1200.0, "{limit}");
        assert_eq!((&limit["in_flight"], &limit["most_in_flight"]), (&0.into(), &2.into()), "{limit}");
    }
    for left in [1, 0] {
        let answer = gateway.get("/shop/orders/7").as_caller("ada").await.is(200);
        answer.tells("ratelimit", &format!("\"per-caller\";r={left};"));
    }
    let over = explained(&gateway, &*text).await;
    refused(&over, 429, &["validation", "routing", "balance"]);
    says(&over, "limit", "over", "per-caller by caller: 0 of 3 left, full in ");
    assert_eq!(over["answer"]["body"]["violated-policies"], serde_json::json!(["per-caller"]));
    assert!(field(&over, "retry-after").is_some(), "{over:#}");
    gateway.get("/shop/orders/7").as_caller("ada").await.is(429);
    assert_eq!(orders.count(), 3);
}

#[tokio::test]
async fn a_limit_by_address_comes_before_auth_and_takes_the_client_that_is_named() {
    let orders = upstream("orders");
    let limit = "[[api.limit]]\nname = \"per-address\"\nby = \"address\"\nrequests = 1\nper = \"1h\"";
    let gateway = gateway([&orders], &format!("[[api]]\nname = \"shop\"\nservice = \"orders\"\n{limit}"));
    gateway.get("/").from("127.0.0.7").await.is(200);
    let of = |client| {
        let call = Call::to(gateway.admin, "POST", &format!("/explain?client={client}"));
        call.field("content-type", "message/http").body(get("/", ""))
    };
    let over = of("127.0.0.7").await.is(200).json();
    refused(&over, 429, &["auth", "limit", "validation", "routing", "balance"]);
    assert_eq!(over["client"], "127.0.0.7");
    let within = of("::1").await.is(200).json();
    assert_eq!((&within["end"], &within["client"]), (&"forwarded".into(), &"::1".into()), "{within:#}");
    says(&within, "limit", "within", "1 of 1 left");
    says(&within, "routing", "orders", "always");
    says(&within, "balance", &orders.address().to_string(), "the only one");
}

#[tokio::test]
async fn what_is_not_valid_is_shown_fault_by_fault() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let fields = bearer(&token("ada").signed());
    let head = format!("POST /shop/orders HTTP/1.1\nhost: shop.example\ncontent-type: application/json\n{fields}");
    let explanation = explained(&gateway, format!("{head}\n{{ \"quantity\": 0 }}\n")).await;
    refused(&explanation, 400, &["routing", "balance"]);
    says(&explanation, "validation", "refused", "400 ");
    let violations = explanation["answer"]["body"]["violations"].as_array().unwrap();
    assert_eq!(violations.len(), 2, "{explanation:#}");
    assert!(violations.iter().any(|violation| violation["at"] == "/quantity"), "{explanation:#}");
    let long = explained(&gateway, format!("{head}\n\"{}\"", "x".repeat(1 << 20))).await;
    refused(&long, 413, &["routing", "balance"]);
}

#[tokio::test]
async fn a_plugin_that_names_no_service_fails_and_is_not_held_to_account() {
    let text = "server.workers = 1\n[[api]]\nname = \"shop\"\nservices = [\"orders\"]\nrouting = { plugin = \"bad\" }";
    let orders = upstream("orders");
    let bad = hostile("service-that-does-not-exist");
    let gateway = setup(text).to(&orders).plugin("bad", &bad).start();
    let before = counts(&gateway).await;
    for _ in 0..10 {
        let explanation = explained(&gateway, get("/", "")).await;
        refused(&explanation, 503, &["balance"]);
        let last = explanation["steps"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&last["stage"], &last["verdict"]), (&"routing".into(), &"refused".into()), "{last}");
        assert!(last["detail"].as_str().unwrap().contains("service \"nowhere\""), "{last}");
        hides(&explanation["answer"].to_string(), &["nowhere"]);
    }
    let used = gateway.plugin("bad", |_| true).await.json["uses"][0].clone();
    assert_eq!((&used["failures"], &used["suspended"]), (&0.into(), &false.into()), "{used}");
    assert_eq!(counts(&gateway).await, before);
}

#[tokio::test]
async fn a_plugin_that_traps_is_not_suspended_for_what_was_explained() {
    for placement in ["inline", "offload"] {
        let text = format!(
            "server.workers = 1\nplugin.one.placement = \"{placement}\"\n[[api]]\nname = \"shop\"\nservice = \"orders\"\n\
             validation = [{{ plugin = \"one\" }}]"
        );
        let gateway = setup(&text).to(Place::new("orders", "127.0.0.1:9".parse().unwrap()));
        let gateway = gateway.plugin("one", &guest("(func $check (result i32) unreachable)")).start();
        for _ in 0..10 {
            let explanation = explained(&gateway, get("/", "")).await;
            refused(&explanation, 503, &["routing", "balance"]);
            says(&explanation, "validation", "failed", "trap: ");
        }
        let used = gateway.plugin("one", |_| true).await.json["uses"][0].clone();
        assert_eq!((&used["failures"], &used["suspended"]), (&0.into(), &false.into()), "{placement}: {used}");
    }
}

#[tokio::test]
async fn a_preflight_is_answered_and_nobody_else_is_asked() {
    let orders = upstream("orders");
    let text = format!(
        "{SHOP}\n[[api]]\nname = \"open\"\npaths = [\"/open\"]\nservice = \"orders\"\nauth = [{{ plugin = \"jwt\", settings = {{ keys = \"demo\" }} }}]\ncors = {{ origins = [\"https://shop.example\"], methods = [\"PUT\"] }}"
    );
    let gateway = gateway([&orders], &text);
    let text = "OPTIONS /open HTTP/1.1\nhost: shop.example\norigin: https://shop.example\naccess-control-request-method: PUT\n";
    let explanation = explained(&gateway, text).await;
    assert_eq!((&explanation["end"], &explanation["answer"]["status"]), (&"answered".into(), &204.into()));
    assert_eq!(field(&explanation, "access-control-allow-methods"), Some("PUT"), "{explanation:#}");
    says(&explanation, "cors", "answered", "preflight");
    assert_eq!(explanation["not_asked"], serde_json::json!(["auth", "limit", "validation", "routing", "balance"]));
}

#[tokio::test]
async fn a_remembered_verdict_says_so_and_explaining_makes_none() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let text = get("/shop/orders/7", &bearer(&token("ada").signed()));
    for _ in 0..2 {
        assert_eq!(step(&explained(&gateway, &*text).await, "auth")["remembered"], false);
    }
    let token = text.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap();
    gateway.get("/shop/orders/7").bearer(token).await.is(200);
    let before = counts(&gateway).await;
    assert_eq!(step(&explained(&gateway, &*text).await, "auth")["remembered"], true);
    assert_eq!(counts(&gateway).await, before);
    gateway.forget().await;
    assert_eq!(step(&explained(&gateway, &*text).await, "auth")["remembered"], false);
}

#[tokio::test]
async fn what_has_no_one_meaning_or_no_api_is_refused_as_ever() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let loose = explained(&gateway, "GET /../shop HTTP/1.1\nhost: shop.example\n").await;
    refused(&loose, 400, &["api", "limit", "auth", "validation", "routing", "balance"]);
    says(&loose, "request", "refused", "the path leads above its root");
    let nowhere = explained(&gateway, get("/elsewhere", "")).await;
    refused(&nowhere, 404, &["api", "limit", "auth", "validation", "routing", "balance"]);
    says(&nowhere, "request", "refused", "No API here");
}
