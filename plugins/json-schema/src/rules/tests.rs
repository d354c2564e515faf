use super::*;
use gatewright_plugin::settings;
use proptest::prelude::*;

const SHOP: &str = r#"{
    "rules": [
        {
            "methods": ["POST"], "path": "/orders",
            "body": {
                "type": "object", "required": ["item", "quantity"], "additionalProperties": false,
                "properties": {"item": {"type": "string", "minLength": 1}, "quantity": {"type": "integer", "minimum": 1}}
            }
        },
        {
            "methods": ["GET"], "path": "/orders",
            "query": {"page": {"type": "integer", "minimum": 1}, "open": {"type": "boolean"}, "sort": {"enum": ["id", "date"]}},
            "query_required": ["page"], "extra_query": "refuse"
        },
        {"methods": ["PATCH"], "path": "/orders/{id}", "body": "{\"type\": \"object\"}", "body_required": false}
    ],
    "other": "refuse"
}"#;

fn rules(text: &str) -> Result<Rules, String> {
    settings(text).and_then(Rules::new)
}

fn shop() -> Rules {
    rules(SHOP).expect("rules")
}

/// The status, and part and place of each fault.
fn answer(verdict: Result<(), Refusal>) -> (u16, Vec<(String, String)>) {
    let Err(refusal) = verdict else { return (200, Vec::new()) };
    (refusal.status, refusal.violations.into_iter().map(|fault| (fault.part, fault.at)).collect())
}

fn post(body: &str) -> (u16, Vec<(String, String)>) {
    answer(shop().check("POST", "/orders", "", Body::Json(body.as_bytes())))
}

fn get(query: &str) -> (u16, Vec<(String, String)>) {
    answer(shop().check("GET", "/orders", query, Body::Absent))
}

fn at(part: &str, places: &[&str]) -> Vec<(String, String)> {
    places.iter().map(|place| (part.to_string(), place.to_string())).collect()
}

#[test]
fn a_good_body_passes_and_each_fault_of_a_bad_one_is_told() {
    assert_eq!(post(r#"{"item": "tea", "quantity": 2}"#), (200, vec![]));
    assert_eq!(post(r#"{"item": "", "quantity": 0}"#), (400, at("body", &["/item", "/quantity"])));
    assert_eq!(post("{"), (400, at("body", &[""])));
    assert_eq!(post(r#"{"item": "tea", "quantity": 2, "quantity": 0}"#), (400, at("body", &[""])));
}

#[test]
fn a_missing_body_is_a_fault_where_one_is_required() {
    assert_eq!(answer(shop().check("POST", "/orders", "", Body::Absent)), (400, at("body", &[""])));
    assert_eq!(answer(shop().check("PATCH", "/orders/7", "", Body::Absent)), (200, vec![]));
    assert_eq!(answer(shop().check("PATCH", "/orders/7", "", Body::Json(b"[]"))), (400, at("body", &[""])));
}

#[test]
fn query_parameters_are_coerced_and_checked() {
    assert_eq!(get("page=2&open=true&sort=id"), (200, vec![]));
    assert_eq!(get("page=0&open=yes&sort=name"), (400, at("query", &["page", "open", "sort"])));
    assert_eq!(get("pag%65=2"), (200, vec![]));
    assert_eq!(get(""), (400, at("query", &["page"])));
    assert_eq!(get("page=1&page=2"), (400, at("query", &["page"])));
    assert_eq!(get("page=1&other=2"), (400, at("query", &["other"])));
    assert_eq!(get("page=%zz"), (400, at("query", &["page"])));
    assert_eq!(get("page=1&%zz"), (400, at("query", &[""])));
}

#[test]
fn head_is_checked_as_get_and_a_last_slash_hides_nothing() {
    assert_eq!(answer(shop().check("HEAD", "/orders", "", Body::Absent)).0, 400);
    assert_eq!(answer(shop().check("POST", "/orders/", "", Body::Json(b"{}"))).0, 400);
}

#[test]
fn requests_without_a_rule_pass_or_are_refused() {
    assert_eq!(answer(shop().check("GET", "/", "", Body::Absent)).0, 404);
    let refusal = shop().check("DELETE", "/orders", "", Body::Absent).expect_err("a refusal");
    assert_eq!((refusal.status, refusal.headers), (405, vec![("allow".into(), "POST, GET".into())]));
    let open = rules(&SHOP.replace(r#""other": "refuse""#, r#""other": "pass""#)).expect("rules");
    assert_eq!(open.check("GET", "/", "", Body::Absent), Ok(()));
}

#[test]
fn a_body_that_passes_unseen_is_refused_where_a_rule_must_see_it() {
    let upload = r#"{"other_bodies": "pass", "rules": [{"methods": ["POST"], "path": "/orders", "body": true}]}"#;
    let upload = rules(upload).expect("rules");
    assert_eq!(answer(upload.check("POST", "/orders", "", Body::Unseen)).0, 415);
    assert_eq!(answer(upload.check("POST", "/pictures", "", Body::Unseen)).0, 200);
    let loose = r#"{"other_bodies": "pass", "rules": [{"path": "/", "body": true, "body_required": false}]}"#;
    assert!(rules(loose).err().is_some_and(|fault| fault.starts_with("`rules[0].body_required`: cannot be false")));
}

#[test]
fn the_readmes_example_is_good() {
    let readme = include_str!("../../README.md");
    let example = readme.split("```").nth(1).and_then(|block| block.strip_prefix("toml")).expect("an example");
    let example: serde_json::Value = toml::from_str(example).expect("TOML");
    let text = example.pointer("/api/validation/0/settings").expect("settings").to_string();
    assert_eq!(rules(&text).map(drop), Ok(()));
}

#[test]
fn faults_in_settings_name_rule_and_key() {
    for (text, fault) in [
        (r#"{"rules": [{"path": "/", "body": {"type": "x"}}]}"#, "`rules[0].body`: at /type"),
        (r#"{"rules": [{"path": "/a"}, {"path": "/", "query": {"q": {"minimum": "1"}}}]}"#, "`rules[1].query.q`"),
        (
            r#"{"rules": [{"path": "/{a}"}, {"path": "/{b}", "methods": ["GET"]}]}"#,
            "`rules`: `/{a}` and `/{b}` are for",
        ),
        (r#"{"rules": [{"path": "/", "boddy": {}}]}"#, "`rules[0].boddy`: unknown field"),
        (r#"{"rules": [{"path": "/", "extra_query": "deny"}]}"#, "`rules[0].extra_query`: unknown variant"),
    ] {
        let said = rules(text).err().expect("a fault");
        assert!(said.starts_with(fault), "{text}: {said}");
    }
}

proptest! {
    #[test]
    fn whatever_is_sent_there_is_an_answer(
        body in proptest::collection::vec(any::<u8>(), 0..100),
        query in "[a-z=&%+0-9]{0,40}",
    ) {
        let shop = shop();
        let _ = shop.check("POST", "/orders", &query, Body::Json(&body));
        let _ = shop.check("GET", "/orders", &query, Body::Absent);
    }
}
