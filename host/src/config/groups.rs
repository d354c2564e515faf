//! The kinds of values that hold others: tables, arrays, and what may be `false` instead.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::kinds::{Name, Role};
use super::table::{Kind, Node, Shown, Table};

/// A table whose keys are names.
pub(super) struct Named<K> {
    /// What the names are for.
    pub(super) keys: Role,
    /// The values.
    pub(super) of: K,
}

impl<K: Kind> Kind for Named<K> {
    type Value = BTreeMap<Arc<str>, K::Value>;

    fn schema(&self) -> Json {
        let names = Name(self.keys).schema();
        json!({ "type": "object", "propertyNames": names, "additionalProperties": self.of.schema() })
    }

    fn read(&self, node: &Node<'_>) -> Option<Self::Value> {
        let Some(entries) = node.entries() else { return node.mismatch("a table") };
        let entry = |entry: Node<'_>| self.keys.take(entry.name, &entry).zip(self.of.read(&entry));
        Some(entries.filter_map(entry).collect())
    }
}

/// A table with keys of its own; see [`record`].
pub(super) struct Record<F>(F);

/// A table that `read` reads key by key.
pub(super) fn record<T, F: Fn(&mut Table<'_>) -> Option<T>>(read: F) -> Record<F> {
    Record(read)
}

impl<T, F: Fn(&mut Table<'_>) -> Option<T>> Kind for Record<F> {
    type Value = T;

    fn schema(&self) -> Json {
        Table::schema_of(|table| {
            (self.0)(table);
        })
    }

    fn read(&self, node: &Node<'_>) -> Option<T> {
        let Some(mut table) = Table::at(node) else { return node.mismatch("a table") };
        let value = (self.0)(&mut table);
        table.finish();
        value
    }
}

/// An array.
pub(super) struct List<K> {
    /// Its elements.
    pub(super) of: K,
    /// How many there must be.
    pub(super) least: usize,
}

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": self.of.schema(), "minItems": self.least })
    }

    fn read(&self, node: &Node<'_>) -> Option<Self::Value> {
        let Some(elements) = node.elements() else { return node.mismatch("an array") };
        if node.value.as_array().is_some_and(|elements| elements.len() < self.least) {
            return node.fault("empty");
        }
        Some(elements.filter_map(|element| self.of.read(&element)).collect())
    }
}

impl<K: Shown> Shown for List<K> {
    fn show(&self, value: &Self::Value) -> Json {
        value.iter().map(|value| self.of.show(value)).collect()
    }
}

/// An array, or one element without the brackets.
pub(super) struct OneOrMany<K>(pub(super) List<K>);

impl<K: Kind> Kind for OneOrMany<K> {
    type Value = Vec<K::Value>;

    fn schema(&self) -> Json {
        json!({ "anyOf": [self.0.of.schema(), self.0.schema()] })
    }

    fn read(&self, node: &Node<'_>) -> Option<Self::Value> {
        match node.value {
            DeValue::Array(_) => self.0.read(node),
            _ => Some(vec![self.0.of.read(node)?]),
        }
    }
}

impl<K: Shown> Shown for OneOrMany<K> {
    fn show(&self, value: &Self::Value) -> Json {
        self.0.show(value)
    }
}

/// A value, or `false` for none.
pub(super) struct OrFalse<K>(pub(super) K);

impl<K: Kind> Kind for OrFalse<K> {
    type Value = Option<K::Value>;

    fn schema(&self) -> Json {
        json!({ "anyOf": [{ "const": false }, self.0.schema()] })
    }

    fn read(&self, node: &Node<'_>) -> Option<Self::Value> {
        match node.value {
            DeValue::Boolean(false) => Some(None),
            _ => self.0.read(node).map(Some),
        }
    }
}

impl<K: Shown> Shown for OrFalse<K> {
    fn show(&self, value: &Self::Value) -> Json {
        value.as_ref().map_or(json!(false), |value| self.0.show(value))
    }
}

/// Anything, handed over as JSON text; dates become strings.
pub(super) struct Settings;

impl Kind for Settings {
    type Value = Arc<str>;

    fn schema(&self) -> Json {
        json!({})
    }

    fn read(&self, node: &Node<'_>) -> Option<Arc<str>> {
        json_of(node).map(|json| json.to_string().into())
    }
}

impl Shown for Settings {
    fn show(&self, value: &Arc<str>) -> Json {
        serde_json::from_str(value).unwrap_or_default()
    }
}

fn json_of(node: &Node<'_>) -> Option<Json> {
    match node.value {
        DeValue::String(text) => Some(json!(text)),
        DeValue::Boolean(flag) => Some(json!(flag)),
        DeValue::Datetime(date) => Some(json!(date.to_string())),
        DeValue::Integer(integer) => {
            let (digits, radix) = (integer.as_str(), integer.radix());
            let signed = i64::from_str_radix(digits, radix).map(Json::from);
            let number = signed.or_else(|_| u64::from_str_radix(digits, radix).map(Json::from));
            number.map_or_else(|_| node.fault("more than 64 bits"), Some)
        }
        DeValue::Float(float) => {
            let number = float.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            number.map_or_else(|| node.fault("JSON has no such number"), |number| Some(number.into()))
        }
        // Every element is read, so that all faults are found.
        DeValue::Array(_) => {
            let elements: Vec<_> = node.elements()?.map(|element| json_of(&element)).collect();
            elements.into_iter().collect::<Option<Vec<_>>>().map(Json::Array)
        }
        DeValue::Table(_) => {
            let entries: Vec<_> =
                node.entries()?.map(|entry| Some((entry.name.to_owned(), json_of(&entry)?))).collect();
            entries.into_iter().collect::<Option<serde_json::Map<_, _>>>().map(Json::Object)
        }
    }
}
