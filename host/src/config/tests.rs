#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test says so by failing")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value as Json;

use super::*;

mod faults;
mod properties;

const COMPLETE: &str = include_str!("tests/complete.toml");

fn parse(text: &str) -> Result<Config, Vec<Fault>> {
    Config::parse(text, "gateway.toml", Path::new("/etc/gatewright"))
}

/// The schema that `$schema` of this path of properties describes.
fn properties(path: &[&str]) -> serde_json::Map<String, Json> {
    let schema: Json = serde_json::from_str(&schema()).unwrap();
    let mut at = &schema;
    for key in path {
        at = &at["properties"][key];
        at = at.get("additionalProperties").filter(|named| named.is_object()).unwrap_or(at);
        at = at.get("items").unwrap_or(at);
    }
    at["properties"].as_object().unwrap().clone()
}

#[test]
fn a_complete_file_is_read_whole() {
    let config = parse(COMPLETE).unwrap();
    let socket = |text: &str| text.parse::<SocketAddr>().unwrap();
    assert_eq!(config.server.listen, [socket("127.0.0.1:8080"), socket("[::1]:8080")]);
    assert_eq!(config.server.trusted[1], Cidr { address: "::1".parse().unwrap(), bits: 128 });
    assert_eq!(config.server.failed_auth, Some(Rate { burst: 7, interval: Duration::from_secs(2) }));
    assert_eq!((config.server.target_bytes, config.server.head_bytes), (4096, 65_536));
    assert_eq!((config.server.trace, parse("").unwrap().server.trace), (Trace::Begin, Trace::Continue));
    assert_eq!(config.admin, Some(socket("127.0.0.1:9901")));
    assert_eq!(config.log, Log { format: LogFormat::Json, access: false, level: LogLevel::Debug });
    assert_eq!(config.plugins.folder, Path::new("/etc/gatewright/policies"));
    assert_eq!(config.plugins.cache.as_deref(), Some(Path::new("/var/cache/gatewright")));
    assert_eq!(config.plugin["jwt"].sha256.unwrap()[..3], [0x01, 0x23, 0x45]);
    assert_eq!(config.plugin["jwt"].call_time, Duration::from_micros(800));
    assert_eq!((config.plugin["jwt"].table_elements, config.plugin["jwt"].parts), (5000, 8));
    assert_eq!(config.plugins.stack_bytes, 1 << 20);
    assert_eq!(config.plugin["jwt"].keys, BTreeSet::from(["demo".into(), "issuer".into()]));
    let environment = SecretSource::Environment("DEMO_SECRET".into());
    assert_eq!(config.keys["demo"], KeySet::Secret { from: environment, algorithm: Algorithm::Hs384 });
    let file = SecretSource::File("/etc/gatewright/other.secret".into());
    assert_eq!(config.keys["other"], KeySet::Secret { from: file, algorithm: Algorithm::Hs256 });
    assert_eq!(config.keys["issuer"], KeySet::Jwks("/etc/gatewright/keys/issuer.json".into()));
    let partner = KeySet::Pem { file: "/etc/keys/partner.pem".into(), algorithm: Algorithm::EdDsa };
    assert_eq!(config.keys["partner"], partner);
    let users = &config.services["users"];
    assert_eq!(users.endpoints.listed()[1], Endpoint { address: socket("127.0.0.1:9102"), weight: 2, tier: 2 });
    let kind = ProbeKind::Http(HttpProbe {
        path: "/healthz?deep=1".into(),
        host: "users.internal".into(),
        headers: vec![(http::HeaderName::from_static("x-probe"), http::HeaderValue::from_static("yes: it is"))],
        status: vec![(200, 204), (304, 304)],
        body: Some("well".into()),
    });
    assert_eq!(users.probe.as_ref().unwrap().kind, kind);
    assert_eq!(config.services["orders"].ejection, None);
    assert_eq!(config.services["orders"].algorithm, Balance::PeakEwma { decay: Duration::from_secs(5) });
    let kind = ProbeKind::Grpc { service: "carts.v1.Carts".into(), host: "carts".into() };
    assert_eq!(config.services["carts"].probe.as_ref().unwrap().kind, kind);
    let affinity = Some(Affinity::Cookie("sid".into()));
    assert_eq!(config.services["carts"].algorithm, Balance::Maglev { affinity });
    let affinity = Some(Affinity::Header(http::HeaderName::from_static("x-session")));
    assert_eq!(config.services["media"].algorithm, Balance::Maglev { affinity });
    assert_eq!(config.services["orders"].probe.as_ref().unwrap().kind, ProbeKind::Tcp);
    assert_eq!(config.plans.len(), 2);
}

#[test]
fn a_complete_api_is_read_whole() {
    let config = parse(COMPLETE).unwrap();
    let [shop, orders] = config.apis.as_slice() else { panic!("two apis") };
    assert_eq!(shop.hosts, ["shop.example", "*.shop.example"]);
    assert_eq!((shop.anonymous, shop.body_bytes), (true, None));
    assert_eq!(shop.services.len(), 2);
    let settings = r#"{"issuer":"https://issuer.example","nested":[{"deep":true},[1,-2]],"ratio":0.5,"#;
    assert_eq!(*shop.auth[0].settings, format!(r#"{settings}"since":"1979-05-27T07:32:00Z"}}"#));
    assert_eq!(shop.validation[0].on_failure, OnFailure::Open);
    assert_eq!(&*shop.validation[0].settings, "{}");
    let limit = &shop.limits[0];
    assert_eq!(limit.rate, Some(Rate { burst: 20, interval: Duration::from_millis(10) }));
    assert_eq!(limit.plans["gold"], Rate { burst: 100, interval: Duration::from_millis(1) });
    assert_eq!(limit.over, Over::Delay(Duration::from_millis(500)));
    assert_eq!(shop.limits[1].by, LimitKey::Attribute("tenant".into()));
    assert_eq!(shop.limits[1].rate, None);
    assert_eq!(orders.routing, Routing::Service("orders".into()));
    assert_eq!(orders.services, BTreeSet::from(["orders".into()]));
    assert_eq!((orders.anonymous, orders.body_bytes, &orders.cors), (true, Some(10 << 20), &None));
    let cors = shop.cors.as_ref().unwrap();
    let below = Origin::Below("https://".into(), ".shop.example:8443".into());
    let exact = |text: &str| Origin::Exact(text.into());
    assert_eq!(cors.origins, [exact("https://shop.example"), below, exact("http://[::1]:3000")]);
    assert_eq!((&cors.methods[..], &cors.headers[..]), (&["GET".into(), "PUT".into()][..], &["x-own".into()][..]));
    assert_eq!((cors.expose[0].as_str(), cors.credentials, cors.max_age.as_secs()), ("x-total", true, 3600));
}

#[test]
fn an_empty_file_has_all_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config.server.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(config.server.failed_auth, Some(Rate { burst: 50, interval: Duration::from_millis(1200) }));
    assert_eq!((config.admin, config.apis.len()), (None, 0));
    assert_eq!(config.plugins.folder, Path::new("/etc/gatewright/plugins"));
    assert_eq!(Plugin::default(), parse("[plugin.any]").unwrap().plugin["any"]);
    assert_eq!(Plugin::default().call_time, Duration::from_millis(5));
}

#[test]
fn a_routing_plugin_may_name_all_services_unless_it_is_told_which() {
    let text = "[service.a]\nendpoints = ['127.0.0.1:1']\n[service.b]\nendpoints = ['127.0.0.1:1']\n\
                [[api]]\nname = 'x'\nrouting = { plugin = 'r' }";
    assert_eq!(parse(text).unwrap().apis[0].services, BTreeSet::from(["a".into(), "b".into()]));
}

#[test]
fn what_the_schema_calls_a_default_is_the_default() {
    let head = |path: &[&str]| format!("[{}]\n", path.join("."));
    for (path, before) in [
        (vec!["server"], ""),
        (vec!["admin"], ""),
        (vec!["log"], ""),
        (vec!["plugins"], ""),
        (vec!["plugin", "jwt"], ""),
        (vec!["service", "users"], "endpoints = ['127.0.0.1:1']\n"),
    ] {
        let defaults = properties(&path[..1]);
        let defaults = defaults.iter().filter_map(|(key, schema)| Some((key.clone(), schema.get("default")?.clone())));
        let defaults: BTreeMap<String, Json> = defaults.collect();
        assert!(!defaults.is_empty(), "{path:?}");
        let without = head(&path) + before;
        let with = format!("{without}{}", toml::to_string(&defaults).unwrap());
        assert_eq!(parse(&with).unwrap(), parse(&without).unwrap(), "{with}");
    }
}

/// Every schema of a key that is somewhere in `schema`, with the key.
fn described(schema: &Json, found: &mut Vec<(String, Json)>) {
    match schema {
        Json::Object(entries) => {
            for (key, property) in entries.get("properties").and_then(Json::as_object).into_iter().flatten() {
                found.push((key.clone(), property.clone()));
            }
            entries.values().for_each(|entry| described(entry, found));
        }
        Json::Array(elements) => elements.iter().for_each(|element| described(element, found)),
        _ => {}
    }
}

#[test]
fn the_schema_describes_every_key_of_the_complete_file() {
    let mut found = Vec::new();
    described(&serde_json::from_str(&schema()).unwrap(), &mut found);
    for (key, schema) in &found {
        assert!(schema["description"].as_str().is_some_and(|text| text.ends_with('.')), "{key}: {schema}");
    }
    let keys: BTreeSet<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
    for (start, end) in keys_of(COMPLETE) {
        let key = &COMPLETE[start..end];
        assert!(keys.contains(key) || is_setting(key) || key == "gold", "{key}");
    }
    for key in keys.iter().filter(|key| !["api", "plugin", "service", "keys", "server", "admin", "log"].contains(key)) {
        assert!(COMPLETE.contains(key), "the complete file has no {key}");
    }
}

#[test]
fn a_file_that_is_not_there_is_a_fault() {
    let faults = Config::load(Path::new("/nowhere/gateway.toml")).unwrap_err();
    let [fault] = faults.as_slice() else { panic!("{faults:?}") };
    assert!(fault.to_string().starts_with("/nowhere/gateway.toml: cannot be read: "), "{fault}");
}

#[test]
fn a_file_is_read_and_its_paths_start_at_its_folder() {
    let folder = std::env::temp_dir().join(format!("gatewright-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("gateway.toml");
    std::fs::write(&path, "[plugins]\nfolder = 'p'\ncache = false").unwrap();
    let good = Config::load(&path);
    std::fs::write(&path, b"[plugins]\nfolder = '\xff'").unwrap();
    let bad = Config::load(&path);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(good.unwrap().plugins, Plugins { folder: folder.join("p"), cache: None, ..parse("").unwrap().plugins });
    assert_eq!(bad.unwrap_err()[0].what, "not UTF-8 in line 2");
}

#[test]
fn nothing_is_nested_too_deep_to_be_read() {
    for depth in [50, 5000] {
        let use_of = |settings: &str| format!("[[api]]\nname = 'x'\nvalidation = [{{ plugin = 'p', {settings} }}]");
        let _ = parse(&use_of(&format!("settings = {}{}", "[".repeat(depth), "]".repeat(depth))));
        let _ = parse(&use_of(&format!("settings{} = 1", ".a".repeat(depth))));
        let _ = parse(&format!("[a{}]", ".a".repeat(depth)));
    }
}

/// Where the keys before an equals sign are.
fn keys_of(text: &str) -> Vec<(usize, usize)> {
    let starts = text.match_indices(" = ").map(|(end, _)| {
        let word = |character: char| character.is_ascii_alphanumeric() || character == '_';
        (text[..end].rfind(|character| !word(character)).map_or(0, |before| before + 1), end)
    });
    starts.collect()
}

/// Keys that plugins give a meaning to.
fn is_setting(key: &str) -> bool {
    ["default", "issuer", "since", "ratio", "nested", "deep"].contains(&key)
}

#[test]
fn a_misspelt_key_is_a_fault_that_names_it() {
    for (start, end) in keys_of(COMPLETE) {
        let key = &COMPLETE[start..end];
        if is_setting(key) {
            continue;
        }
        let misspelt = format!("{key}x");
        let text = format!("{}{misspelt}{}", &COMPLETE[..start], &COMPLETE[end..]);
        let faults = parse(&text).unwrap_err();
        let line = COMPLETE[..start].matches('\n').count() + 1;
        let named = faults.iter().any(|fault| {
            fault.line == Some(line)
                && fault.key.ends_with(&misspelt)
                && fault.what.contains(&format!("did you mean `{key}`?"))
        });
        assert!(named, "{misspelt}: {faults:#?}");
    }
}

#[test]
fn the_reference_of_the_edge_says_the_defaults() {
    const LEAST: &str = r#"
        service.orders.endpoints = ["127.0.0.1:9101"]
        [[api]]
        name = "shop"
        service = "orders"
    "#;
    let page = include_str!("../../../docs/edge.md");
    let text = page.split("```").find_map(|part| part.strip_prefix("toml\n")).unwrap();
    let (said, default) = (parse(text).unwrap(), parse(LEAST).unwrap());
    let but_tls = |server: &Server| Server { tls: None, ..server.clone() };
    assert_eq!(but_tls(&said.server), default.server);
    let but_tls = |service: &Service| Service { tls: None, ..service.clone() };
    assert_eq!(but_tls(&said.services["orders"]), default.services["orders"]);
}
