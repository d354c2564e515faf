//! JSON text to a value, strictly.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Reads a JSON text in which every name occurs once per object: of two, one parser takes the first and another the last, so
/// that what was checked need not be what the service sees. Nesting ends at 128 levels.
///
/// # Errors
/// What is wrong, with line and column.
pub fn read(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map(|Strict(value)| value).map_err(|fault| fault.to_string())
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_string()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(member))) = members.next_entry::<String, Strict>()? {
            if object.insert(name, member).is_some() {
                return Err(A::Error::custom("a name occurs twice in one object"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use proptest::prelude::*;

    #[test]
    fn a_name_that_occurs_twice_is_a_fault() {
        let fault = read(br#"{"a": {"b": 1, "b": 2}}"#).expect_err("twice");
        assert!(fault.starts_with("a name occurs twice in one object at line 1"), "{fault}");
        assert!(read(br#"{"a": 1, "\u0061": 2}"#).is_err());
        assert!(read(br#"[{"a": 1}, {"a": 2}]"#).is_ok());
    }

    #[test]
    fn deep_nesting_is_a_fault_and_no_overflow() {
        for deep in ["[".repeat(65_536), r#"{"a":"#.repeat(10_000)] {
            assert!(read(deep.as_bytes()).expect_err("deep").starts_with("recursion limit exceeded"));
        }
    }

    #[test]
    fn text_that_is_no_json_is_a_fault() {
        for text in ["", "{", "[1,]", "{} {}", "NaN", "1e999", "\"\u{1}\"", "'a'", "\u{feff}{}"] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(read(b"\"\xff\"").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn what_is_read_is_what_serde_json_reads(text in r#"[\[\]{}:,"a0-9.e -]{0,30}"#) {
            if let Ok(value) = read(text.as_bytes()) {
                prop_assert_eq!(value, serde_json::from_str::<serde_json::Value>(&text).expect("JSON"));
            }
        }
    }
}
