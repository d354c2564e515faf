use super::*;
use gatewright_plugin::settings;
use proptest::prelude::*;

const SHOP: &str = r#"{
    "base": "/shop",
    "from": {"path": true, "header": "api-version", "parameter": "version", "vendor": "shop"},
    "default": "2",
    "strip": "version",
    "versions": {
        "1": {"deprecated": "2026-01-01", "sunset": "2026-12-31T23:59:59Z", "successor": "/shop/v2"},
        "2": {}
    },
    "routes": [
        {"path": "/orders/{*rest}", "versions": ["1"], "service": "orders-v1", "strip": "base"},
        {
            "path": "/orders/{*rest}", "versions": ["2"], "service": "orders-v2", "timeout_ms": 500, "affinity": "caller",
            "shares": [{"service": "orders-next", "percent": 5}]
        },
        {"path": "/orders/{id}/receipt", "service": "receipts", "rewrite": "/receipts/{id}", "affinity": {"cookie": "sid"}},
        {"path": "/users/{id}", "methods": ["GET"], "service": "users"},
        {"path": "/users/{id}", "methods": ["PUT", "DELETE"], "service": "users-writer"}
    ]
}"#;

const BEFORE: fn(f64) -> bool = |_| false;
const AFTER: fn(f64) -> bool = |_| true;

fn table(text: &str) -> Result<Table, String> {
    settings(text).and_then(Table::new)
}

fn shop(asked: Asked<'_>) -> Result<Target, Refusal> {
    table(SHOP).expect("a table").route(asked, |by| Some(format!("{by:?}")), BEFORE)
}

fn get(path: &str) -> Asked<'_> {
    Asked { method: "GET", path, ..Asked::default() }
}

fn place(target: Result<Target, Refusal>) -> (String, Option<String>) {
    let target = target.expect("a target");
    (target.service, target.path)
}

fn status(target: Result<Target, Refusal>) -> u16 {
    target.expect_err("a refusal").status
}

fn to(service: &str, path: Option<&str>) -> (String, Option<String>) {
    (service.to_string(), path.map(String::from))
}

#[test]
fn version_and_path_pick_the_service_and_the_path_is_stripped() {
    assert_eq!(place(shop(get("/shop/v1/orders/7"))), to("orders-v1", Some("/orders/7")));
    assert_eq!(place(shop(get("/shop/v2/orders/7"))), to("orders-v2", Some("/shop/orders/7")));
    assert_eq!(place(shop(get("/shop/orders/7"))), to("orders-v2", None));
    assert_eq!(place(shop(get("/shop/v2/orders/7/receipt"))), to("receipts", Some("/receipts/7")));
    assert_eq!(place(shop(get("/shop/v1/orders/7/"))), to("orders-v1", Some("/orders/7/")));
}

#[test]
fn header_and_accept_pick_the_version_too_and_caches_are_told() {
    let by_header = Asked { version: Some("1"), ..get("/shop/orders/7") };
    assert_eq!(place(shop(by_header)), to("orders-v1", Some("/orders/7")));
    let by_accept = Asked { accept: Some("application/vnd.shop.v1+json"), ..get("/shop/orders/7") };
    let target = shop(by_accept).expect("a target");
    assert_eq!(target.service, "orders-v1");
    let vary = ("vary".to_string(), "api-version, accept".to_string());
    assert!(target.response.expect("edits").add.contains(&vary));
    assert!(!shop(get("/shop/v1/orders/7")).expect("a target").response.expect("edits").add.contains(&vary));
    assert_eq!(shop(get("/shop/v2/orders/7")).expect("a target").response, None);
}

#[test]
fn a_route_says_shares_affinity_and_time() {
    let target = shop(get("/shop/v2/orders/7")).expect("a target");
    assert_eq!(target.shares, [Share { service: "orders-next".into(), per_mille: 50 }]);
    assert_eq!((target.affinity.as_deref(), target.timeout_ms), (Some("Caller"), Some(500)));
    let table = table(SHOP).expect("a table");
    assert_eq!(table.affinities().len(), 2);
    assert!(table.need_method() && table.need_accept());
    assert_eq!(table.version_field(), Some("api-version"));
}

#[test]
fn methods_pick_among_routes_of_one_path() {
    let ask = |method| shop(Asked { method, ..get("/shop/v2/users/7") });
    assert_eq!(ask("HEAD").expect("a target").service, "users");
    assert_eq!(ask("PUT").expect("a target").service, "users-writer");
    let refusal = ask("POST").expect_err("a refusal");
    assert_eq!((refusal.status, refusal.headers), (405, vec![("allow".into(), "GET, PUT, DELETE".into())]));
}

#[test]
fn what_is_nowhere_is_refused() {
    for path in ["/", "/shopping/v2/orders", "/shop/v2/unknown", "/shop/v2", "/shop", "/shop/v9/orders"] {
        assert_eq!(status(shop(get(path))), 404, "{path}");
    }
    let refusal = shop(Asked { version: Some("9"), ..get("/shop/orders/7") }).expect_err("a refusal");
    assert_eq!((refusal.status, refusal.detail.as_deref()), (400, Some("The versions are: 1, 2")));
    let strict = table(&SHOP.replace(r#""default": "2","#, "")).expect("a table");
    assert_eq!(status(strict.route(get("/shop/orders/7"), |_| None, BEFORE)), 400);
}

#[test]
fn a_version_ends_at_its_sunset() {
    let table = table(SHOP).expect("a table");
    assert_eq!(status(table.route(get("/shop/v1/orders/7"), |_| None, AFTER)), 410);
    assert!(table.route(get("/shop/v2/orders/7"), |_| None, AFTER).is_ok());
}

#[test]
fn an_api_without_versions_is_routed_by_path_alone() {
    let plain =
        table(r#"{"routes": [{"path": "/a/{*rest}", "service": "a"}, {"path": "/{*all}", "service": "rest"}]}"#);
    let plain = plain.expect("a table");
    let ask = |path| place(plain.route(get(path), |_| None, BEFORE));
    assert_eq!(ask("/a/b"), to("a", None));
    assert_eq!(ask("/v1/b"), to("rest", None));
    assert!(!plain.need_method() && !plain.need_accept() && plain.version_field().is_none());
}

#[test]
fn the_readmes_example_is_good() {
    let readme = include_str!("../../README.md");
    let example = readme.split("```").nth(1).and_then(|block| block.strip_prefix("toml")).expect("an example");
    let example: serde_json::Value = toml::from_str(example).expect("TOML");
    let text = example.pointer("/api/routing/settings").expect("settings").to_string();
    assert_eq!(table(&text).map(drop), Ok(()));
}

#[test]
fn faults_in_settings_name_their_key() {
    for (text, fault) in [
        (r#"{"routes": [{"path": "/", "servise": "a"}]}"#, "`routes[0].servise`: unknown field"),
        (
            r#"{"routes": [{"path": "/", "service": "a", "versions": ["1"]}]}"#,
            "`routes[0].versions`: there is no version `1`",
        ),
        (
            r#"{"routes": [{"path": "/", "service": "a", "rewrite": "/{id}"}]}"#,
            "`routes[0]`: `/{id}`: `id` is not in `/`",
        ),
        (r#"{"routes": [{"path": "/", "service": "a"}, {"path": "/", "service": "b"}]}"#, "the routes `/` and `/`"),
        (r#"{"versions": {"1": {}}, "default": "2", "routes": []}"#, "`default`: there is no version `2`"),
        (r#"{"versions": {"1": {}}, "routes": []}"#, "`versions.1`: no route is for it"),
        (r#"{"versions": {"1": {"sunset": "soon"}}, "routes": []}"#, "`versions.1.sunset`: `soon` is neither"),
        (r#"{"versions": {"a/b": {}}, "routes": []}"#, "`versions`: `a/b`"),
        (r#"{"from": {"path": true}, "routes": []}"#, "`from` without `versions`"),
        (r#"{"base": "shop", "routes": []}"#, "`base`: must be a path"),
        ("{}", "missing field `routes`"),
    ] {
        let said = table(text).err().expect("a fault");
        assert!(said.starts_with(fault), "{text}: {said}");
    }
}

proptest! {
    #[test]
    fn whatever_is_asked_there_is_an_answer(path in "(/shop)?[/v0-9a-z%]{0,20}", accept in ".{0,30}", version in ".{0,5}") {
        let asked = Asked { method: "GET", path: &path, version: Some(&version), accept: Some(&accept) };
        if let Ok(target) = shop(asked) {
            prop_assert!(target.path.is_none_or(|path| path.starts_with('/')));
        }
    }
}
