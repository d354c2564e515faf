//! Reads TOML tables key by key. A key is asked for once, with its meaning, its default and its kind; what was not asked
//! for is unknown; and the same calls on no table at all give the JSON Schema.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};
use toml::de::{DeTable, DeValue};

use super::source::{Source, Space, nearest};

/// Longer keys are shown cut.
const SHOWN_KEY: usize = 64;

/// What a value of the file must be like, and what it becomes.
pub(super) trait Kind {
    /// What it becomes.
    type Value;

    /// The kind as a JSON Schema.
    fn schema(&self) -> Json;

    /// Reads a value, or reports what is wrong with it.
    fn read(&self, node: &Node<'_>) -> Option<Self::Value>;
}

/// A kind whose values can be written as in the file: one that can have a default.
pub(super) trait Shown: Kind {
    /// The value as in the file.
    fn show(&self, value: &Self::Value) -> Json;
}

/// A value in the file.
pub(super) struct Node<'a> {
    /// The file.
    pub(super) source: &'a Source<'a>,
    /// The key with all that it is in.
    pub(super) path: String,
    /// The last key on the way here.
    pub(super) name: &'a str,
    /// The byte where it is.
    pub(super) at: usize,
    /// What is there.
    pub(super) value: &'a DeValue<'a>,
}

impl<'a> Node<'a> {
    /// Reports that the value is wrong.
    pub(super) fn fault<T>(&self, what: impl Into<String>) -> Option<T> {
        self.source.fault(self.at, &self.path, what);
        None
    }

    /// Reports that the value is not even of the right type.
    pub(super) fn mismatch<T>(&self, wanted: &str) -> Option<T> {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.fault(format!("{found} where {wanted} belongs"))
    }

    /// The elements of an array.
    pub(super) fn elements(&self) -> Option<impl Iterator<Item = Node<'a>> + use<'_, 'a>> {
        let elements = self.value.as_array()?.iter().enumerate();
        Some(elements.map(|(index, element)| Node {
            source: self.source,
            path: format!("{}[{index}]", self.path),
            name: self.name,
            at: element.span().start,
            value: element.get_ref(),
        }))
    }

    /// The entries of a table.
    pub(super) fn entries(&self) -> Option<impl Iterator<Item = Node<'a>> + use<'_, 'a>> {
        let entries = self.value.as_table()?.iter();
        Some(entries.map(|(key, value)| Node {
            source: self.source,
            path: join(&self.path, key.get_ref()),
            name: key.get_ref(),
            at: key.span().start,
            value: value.get_ref(),
        }))
    }
}

/// A table while it is read.
pub(super) struct Table<'a> {
    source: &'a Source<'a>,
    path: String,
    name: &'a str,
    at: usize,
    entries: Option<&'a DeTable<'a>>,
    asked: Vec<&'static str>,
    schema: Option<Schema>,
}

/// What is learned of a table that is read for its schema.
#[derive(Default)]
struct Schema {
    properties: Map<String, Json>,
    required: Vec<&'static str>,
    alternatives: Vec<Json>,
}

impl<'a> Table<'a> {
    /// The whole file.
    pub(super) fn root(source: &'a Source<'a>, entries: &'a DeTable<'a>) -> Self {
        Self { entries: Some(entries), ..Self::absent(source) }
    }

    /// A table that is not in the file: every key has its default.
    pub(super) fn absent(source: &'a Source<'a>) -> Self {
        Self { source, path: String::new(), name: "", at: 0, entries: None, asked: vec![], schema: None }
    }

    /// A table of this file that is not there.
    pub(super) fn absence(&self) -> Self {
        Self::absent(self.source)
    }

    /// The table at a node, if it is one.
    pub(super) fn at(node: &Node<'a>) -> Option<Self> {
        let entries = node.value.as_table()?;
        Some(Self {
            source: node.source,
            path: node.path.clone(),
            name: node.name,
            at: node.at,
            entries: Some(entries),
            asked: vec![],
            schema: None,
        })
    }

    /// The JSON Schema of the tables that `read` reads.
    pub(super) fn schema_of(read: impl FnOnce(&mut Table<'_>)) -> Json {
        let source = Source::nowhere();
        let mut table = Table { schema: Some(Schema::default()), ..Table::absent(&source) };
        read(&mut table);
        let learned = table.schema.unwrap_or_default();
        let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": learned.properties });
        if let Some(schema) = schema.as_object_mut() {
            if !learned.required.is_empty() {
                schema.insert("required".into(), json!(learned.required));
            }
            if !learned.alternatives.is_empty() {
                schema.insert("oneOf".into(), Json::Array(learned.alternatives));
            }
        }
        schema
    }

    /// The key that this table is the value of.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// Whether the key is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    /// The value of a key, if it is there and right.
    pub(super) fn given<K: Kind>(&mut self, key: &'static str, meaning: &str, kind: &K) -> Option<K::Value> {
        self.describe(key, meaning, || kind.schema());
        kind.read(&self.node(key)?)
    }

    /// The value of a key, else its default.
    pub(super) fn or<K: Shown>(&mut self, key: &'static str, meaning: &str, default: K::Value, kind: &K) -> K::Value {
        let schema = || {
            let mut schema = kind.schema();
            if let Some(schema) = schema.as_object_mut() {
                schema.insert("default".into(), kind.show(&default));
            }
            schema
        };
        self.describe(key, meaning, schema);
        self.node(key).and_then(|node| kind.read(&node)).unwrap_or(default)
    }

    /// The value of a key that must be there.
    pub(super) fn need<K: Kind>(&mut self, key: &'static str, meaning: &str, kind: &K) -> Option<K::Value> {
        if let Some(schema) = &mut self.schema {
            schema.required.push(key);
        } else if !self.has(key) {
            self.fault(key, "missing");
        }
        self.given(key, meaning, kind)
    }

    /// A table of this one, or what it is when it is not there.
    pub(super) fn section<T>(&mut self, key: &'static str, meaning: &str, read: fn(&mut Table<'_>) -> T) -> T {
        let kind = super::groups::record(|t| Some(read(t)));
        self.given(key, meaning, &kind).unwrap_or_else(|| read(&mut Table::absent(self.source)))
    }

    /// The one of these keys that is there; none and several are faults.
    pub(super) fn one_of(&mut self, keys: &[&'static str]) -> Option<&'static str> {
        if let Some(schema) = &mut self.schema {
            schema.alternatives.extend(keys.iter().map(|key| json!({ "required": [key] })));
            return None;
        }
        let mut there = keys.iter().filter(|key| self.has(key));
        match (there.next(), there.next()) {
            (Some(key), None) => return Some(key),
            (None, _) => self.fault("", format!("one of {} is missing", list(keys))),
            (Some(_), Some(_)) => self.fault("", format!("only one of {} can be there", list(keys))),
        }
        None
    }

    /// Reports that a key is wrong; the empty key is the table itself.
    pub(super) fn fault(&self, key: &str, what: impl Into<String>) {
        if self.schema.is_some() {
            return;
        }
        let at =
            self.entries.and_then(|entries| entries.get_key_value(key)).map_or(self.at, |(key, _)| key.span().start);
        let path = if key.is_empty() { self.path.clone() } else { join(&self.path, key) };
        self.source.fault(at, &path, what);
    }

    /// Takes a name for this table.
    pub(super) fn declare(&self, space: Space, name: &str) {
        self.source.declare(space, "", name, self.at, &self.path);
    }

    /// A path of the file as seen from the gateway.
    pub(super) fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.source.resolve(path.as_ref())
    }

    /// Reports the keys that nothing asked for.
    pub(super) fn finish(self) {
        for (key, _) in self.entries.into_iter().flatten() {
            if self.asked.contains(&key.get_ref().as_ref()) {
                continue;
            }
            let near = nearest(key.get_ref(), self.asked.iter().copied());
            let what = near.map_or("unknown".to_owned(), |near| format!("unknown; did you mean `{near}`?"));
            self.source.fault(key.span().start, &join(&self.path, key.get_ref()), what);
        }
    }

    fn node(&self, key: &'static str) -> Option<Node<'a>> {
        let (key, value) = self.entries?.get_key_value(key)?;
        let (path, at) = (join(&self.path, key.get_ref()), key.span().start);
        Some(Node { source: self.source, path, name: key.get_ref(), at, value: value.get_ref() })
    }

    fn describe(&mut self, key: &'static str, meaning: &str, schema: impl FnOnce() -> Json) {
        self.asked.push(key);
        let Some(learned) = &mut self.schema else { return };
        let mut schema = schema();
        if let Some(schema) = schema.as_object_mut() {
            let bounds = schema.get("description").and_then(Json::as_str).map(|bounds| format!(" {bounds}"));
            schema.insert("description".into(), json!(format!("{meaning}{}", bounds.unwrap_or_default())));
        }
        learned.properties.insert(key.to_owned(), schema);
    }
}

/// A key inside of `path`, quoted as in TOML where it must be.
fn join(path: &str, key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let key = match key.char_indices().nth(SHOWN_KEY) {
        Some((end, _)) => format!("{:?}", format!("{}…", key.get(..end).unwrap_or_default())),
        None if !key.is_empty() && key.bytes().all(bare) => key.to_owned(),
        None => format!("{key:?}"),
    };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// Words as a sentence lists them.
fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
