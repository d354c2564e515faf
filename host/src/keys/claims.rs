//! Reading claims: one pass over the JSON text, no tree, and only what is asked for is decoded.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of one JSON object, sorted by name, their values as text. A name that occurs twice is an error: two
/// readers of one token must not see different claims.
#[derive(Debug)]
pub struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The value of this name; `None` where there is none or it is `null`.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.get_even_null(name).filter(|value| value.get() != "null")
    }

    /// The value of this name, be it `null`.
    pub fn get_even_null(&self, name: &str) -> Option<&'a RawValue> {
        let place = self.0.binary_search_by(|(member, _)| member.as_ref().cmp(name)).ok()?;
        self.0.get(place).map(|(_, value)| *value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(12);
        while let Some((Text(name), value)) = object.next_entry()? {
            members.push((name, value));
        }
        members.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        match members.array_windows().any(|[(left, _), (right, _)]| left == right) {
            true => Err(A::Error::custom("a name occurs twice")),
            false => Ok(Members(members)),
        }
    }
}

/// A JSON string, borrowed where it has no escapes.
#[derive(Debug, Deserialize)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// Which claim is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The whole document.
    Document,
    /// A claim, and the steps into it.
    Path {
        /// The claim's name.
        name: Box<str>,
        /// Names of members and numbers of elements, outermost first.
        steps: Vec<Box<str>>,
    },
}

impl Claim {
    /// Reads a name, or a JSON Pointer (RFC 6901) where it is empty or starts with `/`; `None`: a pointer with a `~`
    /// that is neither `~0` nor `~1`.
    pub fn parse(text: &str) -> Option<Claim> {
        if text.is_empty() {
            return Some(Claim::Document);
        }
        let Some(pointer) = text.strip_prefix('/') else {
            return Some(Claim::Path { name: text.into(), steps: Vec::new() });
        };
        let mut steps = pointer.split('/').map(unescape);
        let name = steps.next().flatten()?;
        Some(Claim::Path { name, steps: steps.collect::<Option<_>>()? })
    }

    /// The claim's text: a string as it is, all else as compact JSON; `None` where it is missing or `null`.
    ///
    /// # Errors
    ///
    /// What lies on the way is no JSON that has one meaning.
    pub fn text(&self, document: &str, claims: &Members<'_>) -> Result<Option<String>, serde_json::Error> {
        match self {
            Claim::Document => Ok(Some(compact(document))),
            Claim::Path { .. } => self.find(claims)?.map(text).transpose(),
        }
    }

    /// The claim's value; `None` where it is missing or `null`, and for the whole document.
    ///
    /// # Errors
    ///
    /// As [`Claim::text`].
    pub fn find<'a>(&self, claims: &Members<'a>) -> Result<Option<&'a RawValue>, serde_json::Error> {
        let Claim::Path { name, steps } = self else { return Ok(None) };
        let mut place = claims.get(name);
        for step in steps {
            let Some(value) = place else { break };
            place = into(value, step)?;
        }
        Ok(place)
    }
}

fn unescape(step: &str) -> Option<Box<str>> {
    let mut pieces = step.split('~');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (escape, rest) = piece.split_at_checked(1)?;
        plain.push(match escape {
            "0" => '~',
            "1" => '/',
            _ => return None,
        });
        plain.push_str(rest);
    }
    Some(plain.into())
}

/// One step into an object or an array.
fn into<'a>(value: &'a RawValue, step: &str) -> Result<Option<&'a RawValue>, serde_json::Error> {
    let json = value.get();
    match json.as_bytes().first() {
        Some(b'{') => Ok(serde_json::from_str::<Members<'a>>(json)?.get(step)),
        Some(b'[') => {
            let elements = serde_json::from_str::<Vec<&'a RawValue>>(json)?;
            Ok(index(step).and_then(|place| elements.get(place).copied()).filter(|value| value.get() != "null"))
        }
        _ => Ok(None),
    }
}

/// RFC 6901: digits without a leading zero.
fn index(step: &str) -> Option<usize> {
    let plain = step.bytes().all(|byte| byte.is_ascii_digit()) && (step == "0" || !step.starts_with('0'));
    plain.then(|| step.parse().ok()).flatten()
}

/// A string as it is, all else as compact JSON.
fn text(value: &RawValue) -> Result<String, serde_json::Error> {
    match value.get().starts_with('"') {
        true => serde_json::from_str(value.get()),
        false => Ok(compact(value.get())),
    }
}

/// Valid JSON without the white space between its parts; numbers and strings stay as they were written.
fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |character: &char| {
        match (in_string, *character) {
            (true, '\\') if !escaped => {
                escaped = true;
                return true;
            }
            (true, '"') if !escaped => in_string = false,
            (false, '"') => in_string = true,
            (false, ' ' | '\t' | '\n' | '\r') => return false,
            _ => {}
        }
        escaped = false;
        true
    };
    json.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(claim: &str, document: &str) -> Option<String> {
        let members = serde_json::from_str(document).expect("an object");
        Claim::parse(claim).expect("a claim").text(document, &members).expect("one meaning")
    }

    #[test]
    fn a_name_and_a_pointer_find_what_they_name() {
        let document = r#" { "sub": "ada", "n": 12345678901234567890123, "a/b": {"~": [ 1, {"x": "\u00e9 \" "} ]}, "z": null,
            "roles": [ "a b", "c" ], "t" : true } "#;
        assert_eq!(read("sub", document).as_deref(), Some("ada"));
        assert_eq!(read("/sub", document).as_deref(), Some("ada"));
        assert_eq!(read("n", document).as_deref(), Some("12345678901234567890123"));
        assert_eq!(read("a/b", document).as_deref(), Some(r#"{"~":[1,{"x":"\u00e9 \" "}]}"#));
        assert_eq!(read("/a~1b/~0/1/x", document).as_deref(), Some("é \" "));
        assert_eq!(read("roles", document).as_deref(), Some(r#"["a b","c"]"#));
        assert_eq!(read("/roles/1", document).as_deref(), Some("c"));
        assert_eq!(read("t", document).as_deref(), Some("true"));
        for missing in ["z", "/z/y", "y", "/roles/2", "/roles/01", "/roles/-", "/roles/+1", "/sub/0", "/a~1b/x", "/"] {
            assert_eq!(read(missing, document), None, "{missing}");
        }
        assert_eq!(read("", r#" {"a" : "b c", "d":[ ]} "#).as_deref(), Some(r#"{"a":"b c","d":[]}"#));
    }

    #[test]
    fn a_name_that_occurs_twice_has_no_meaning() {
        assert!(serde_json::from_str::<Members<'_>>(r#"{"a":1,"b":2,"\u0061":3}"#).is_err());
        let members = serde_json::from_str(r#"{"a":{"b":1,"b":2}}"#).expect("an object");
        assert!(Claim::parse("/a/b").expect("a pointer").find(&members).is_err());
    }

    #[test]
    fn a_pointer_with_a_wild_tilde_is_none() {
        for bad in ["/a~", "/~2", "/a/~x"] {
            assert_eq!(Claim::parse(bad), None);
        }
        assert!(Claim::parse("a~").is_some(), "a name may hold anything");
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect()))
            ]
        })
    }

    proptest! {
        #[test]
        fn compact_is_what_serde_writes_compactly(value in json()) {
            let pretty = serde_json::to_string_pretty(&value).expect("JSON");
            prop_assert_eq!(compact(&pretty), serde_json::to_string(&value).expect("JSON"));
        }

        #[test]
        fn a_pointer_finds_what_serde_finds(
            value in json(), name in "[a~/]{0,3}", steps in prop::collection::vec("[0-2a~/]{0,2}", 0..3),
        ) {
            let document = serde_json::json!({ name.as_str(): value });
            let escape = |step: &String| format!("/{}", step.replace('~', "~0").replace('/', "~1"));
            let pointer: String = std::iter::once(&name).chain(&steps).map(escape).collect();
            let text = document.to_string();
            let members = serde_json::from_str(&text).expect("an object");
            let found = Claim::parse(&pointer).expect("a pointer").find(&members).expect("no name twice");
            let expected = document.pointer(&pointer).filter(|value| !value.is_null());
            prop_assert_eq!(found.map(|value| value.get().parse().expect("JSON")), expected.cloned());
        }
    }
}
