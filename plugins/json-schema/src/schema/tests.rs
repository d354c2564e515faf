use super::*;
use proptest::prelude::*;
use serde_json::json;

fn schema(schema: Value) -> Schema {
    Schema::new(&schema, true).expect("a schema")
}

fn faults(schema: &Schema, value: &Value) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    schema.check(value, 100, |at, message| faults.push((at.to_string(), message.to_string())));
    faults
}

#[test]
fn each_fault_has_its_pointer_and_names_no_value() {
    let order = schema(json!({
        "type": "object",
        "required": ["item"],
        "additionalProperties": false,
        "properties": {
            "item": {"type": "string"},
            "lines": {"type": "array", "items": {"type": "object", "properties": {"quantity": {"minimum": 1}}}},
        },
    }));
    assert_eq!(faults(&order, &json!({"item": "a", "lines": [{"quantity": 1}]})), []);
    let found = faults(&order, &json!({"item": 7777, "lines": [{"quantity": 1}, {"quantity": 0}], "~/": 1}));
    let at: Vec<&str> = found.iter().map(|(at, _)| at.as_str()).collect();
    assert!(at.contains(&"/item") && at.contains(&"/lines/1/quantity") && at.contains(&""), "{found:?}");
    assert!(found.iter().all(|(_, message)| !message.contains("7777")), "{found:?}");
    assert_eq!(faults(&order, &json!({})), [(String::new(), "\"item\" is a required property".into())]);
}

#[test]
fn of_a_long_body_only_the_first_fault_is_told() {
    let texts = schema(json!({"items": {"type": "string"}}));
    let mut count = 0;
    texts.check(&json!([1, 2, 3]), MOST_BYTES_FOR_ALL_FAULTS + 1, |at, _| {
        assert_eq!(at, "/0");
        count += 1;
    });
    assert_eq!(count, 1);
}

#[test]
fn formats_are_checked_unless_switched_off() {
    let mail = json!({"format": "email"});
    assert_eq!(faults(&schema(mail.clone()), &json!("nobody")).len(), 1);
    assert_eq!(faults(&Schema::new(&mail, false).expect("a schema"), &json!("nobody")), []);
    assert!(Schema::new(&json!({"format": "e-mail"}), true).is_err());
}

#[test]
fn a_schema_may_be_written_as_a_text() {
    let text = Schema::new(&json!(r#"{"type": "integer"}"#), true).expect("a schema");
    assert_eq!(faults(&text, &json!(1)), []);
    assert_eq!(faults(&text, &json!("1")).len(), 1);
    assert!(Schema::new(&json!("{"), true).err().is_some_and(|fault| fault.starts_with("not JSON")));
}

#[test]
fn schemas_that_are_wrong_are_refused() {
    for wrong in [
        json!({"type": "strnig"}),
        json!({"pattern": "("}),
        json!({"pattern": "(?=a)"}),
        json!({"$ref": "https://example.org/other"}),
        json!({"$ref": "#/$defs/none"}),
        json!({"minimum": "1"}),
        json!(7),
    ] {
        assert!(Schema::new(&wrong, true).is_err(), "{wrong}");
    }
}

#[test]
fn recursion_ends_with_the_value() {
    let tree = schema(json!({"type": "object", "additionalProperties": {"$ref": "#"}}));
    let mut deep = json!({});
    (0..120).for_each(|_| deep = json!({"a": deep}));
    assert_eq!(faults(&tree, &deep), []);
    (0..5).for_each(|_| deep = json!({"a": deep, "b": 1}));
    assert!(!faults(&tree, &deep).is_empty());
}

#[test]
fn texts_become_what_the_schema_asks_for() {
    let integer = schema(json!({"type": "integer"}));
    for (text, value) in
        [("7", json!(7)), ("-7", json!(-7)), ("007", json!("007")), (" 7", json!(" 7")), ("7.5", json!("7.5"))]
    {
        assert_eq!(integer.coerce(text), value, "{text}");
    }
    let number = schema(json!({"type": ["number", "null"]}));
    assert_eq!(
        (number.coerce("7.5"), number.coerce("1e3"), number.coerce("NaN")),
        (json!(7.5), json!(1e3), json!("NaN"))
    );
    let boolean = schema(json!({"type": "boolean"}));
    assert_eq!((boolean.coerce("true"), boolean.coerce("1")), (json!(true), json!("1")));
    assert_eq!(schema(json!({"type": "string"})).coerce("7"), json!("7"));
    assert_eq!(schema(json!(true)).coerce("7"), json!("7"));
}

proptest! {
    #[test]
    fn any_text_is_coerced(text in ".{0,20}") {
        let all = schema(json!({"type": ["integer", "number", "boolean"]}));
        let value = all.coerce(&text);
        prop_assert!(value.is_number() || value.is_boolean() || value == Value::String(text));
    }
}
