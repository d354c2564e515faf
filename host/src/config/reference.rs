//! The configuration's reference, in Markdown: each table with its keys, as the JSON Schema has them.

use std::fmt::Write as _;

use serde_json::Value as Json;

const HEAD: &str = "# Configuration

Every key that a configuration in TOML may have. `gatewright schema --markdown` writes this page, `gatewright schema` the JSON
Schema for editors, and `gatewright check` says what is wrong with a file, with line and key. A key that is not listed is a
fault. A key with neither a default nor *required* may be left out. Files are looked for from the folder of the configuration's own.

A change of the file is live in a moment, as a whole or not at all. What takes a restart is `server.listen`, `server.workers`,
`server.tls.listen`, `[admin]` and `[plugins]`: a file that changes one of them is rejected, and all goes on as before.
";

/// The whole page.
pub(super) fn page(schema: &Json) -> String {
    let mut page = HEAD.to_owned();
    Section { heading: String::new(), description: "", schema }.write(&mut page);
    page
}

/// A table of the configuration.
struct Section<'a> {
    /// As a file writes it; empty: the file itself.
    heading: String,
    description: &'a str,
    schema: &'a Json,
}

impl Section<'_> {
    /// Writes it, and what lies in it behind it. Writing into a text does not fail.
    fn write(&self, page: &mut String) {
        let Some(keys) = self.schema["properties"].as_object() else { return };
        let inner = keys.iter().flat_map(|(key, schema)| self.tables(key, schema)).collect::<Vec<_>>();
        let top = self.heading.is_empty();
        let keys = || keys.iter().filter(|(key, schema)| !top || self.tables(key, schema).is_empty());
        if keys().next().is_some() {
            let _ = match top {
                true => writeln!(page, "\n## Above all tables\n"),
                false => writeln!(page, "\n## `{}`\n", self.heading),
            };
            let sentences = [self.description.to_owned(), self.choice()];
            let sentences: Vec<_> = sentences.into_iter().filter(|text| !text.is_empty()).collect();
            if !sentences.is_empty() {
                let _ = writeln!(page, "{}\n", sentences.join(" "));
            }
            let _ = writeln!(page, "| key | value | default | meaning |\n| --- | --- | --- | --- |");
            for (key, schema) in keys() {
                let (bounds, meaning) = meaning(schema);
                let cells = [format!("`{key}`"), value(schema, bounds), self.default(key, schema), meaning.to_owned()];
                let _ = writeln!(page, "| {} |", cells.join(" | "));
            }
        }
        inner.iter().for_each(|section| section.write(page));
    }

    /// The tables that a key may hold.
    fn tables<'a>(&self, key: &str, schema: &'a Json) -> Vec<Section<'a>> {
        let heading = self.heading.trim_matches(['[', ']']);
        let path = if heading.is_empty() { key.to_owned() } else { format!("{heading}.{key}") };
        let description = schema["description"].as_str().unwrap_or_default();
        let section = |(heading, schema)| Section { heading, description, schema };
        inside(schema, &path).into_iter().map(section).collect()
    }

    /// What must be there, where there is a choice.
    fn choice(&self) -> String {
        let names = |one: &Json| Some(format!("`{}`", one["required"].as_array()?.first()?.as_str()?));
        let either = self.schema["oneOf"].as_array().map(|all| all.iter().filter_map(names).collect::<Vec<_>>());
        either.map_or_else(String::new, |names| format!("Exactly one of {} must be there.", names.join(", ")))
    }

    fn default(&self, key: &str, schema: &Json) -> String {
        let required = self.schema["required"].as_array().is_some_and(|keys| keys.iter().any(|one| one == key));
        match schema.get("default") {
            _ if required => "*required*".to_owned(),
            None => String::new(),
            Some(default) => format!("`{default}`"),
        }
    }
}

/// The tables in what a key may hold, each as a file writes it.
fn inside<'a>(schema: &'a Json, path: &str) -> Vec<(String, &'a Json)> {
    if let Some(either) = schema["anyOf"].as_array() {
        let mut all: Vec<(String, &Json)> = Vec::new();
        for (heading, schema) in either.iter().flat_map(|one| inside(one, path)) {
            // One table and a list of such are the same table.
            if !all.iter().any(|(_, known)| *known == schema) {
                all.push((heading, schema));
            }
        }
        return all;
    }
    if schema["properties"].is_object() {
        return vec![(format!("[{path}]"), schema)];
    }
    if schema["additionalProperties"].is_object() {
        return inside(&schema["additionalProperties"], &format!("{path}.NAME"));
    }
    let elements = schema.get("items").map_or_else(Vec::new, |items| inside(items, path));
    elements.into_iter().map(|(heading, schema)| (format!("[{heading}]"), schema)).collect()
}

/// The sentence that says how a size or a time is written, and within which bounds; and what else is said of a key.
fn meaning(schema: &Json) -> (Option<&str>, &str) {
    let text = schema["description"].as_str().unwrap_or_default();
    let kinds = ["A duration like `10s`, ", "A size like `64KiB`, or a number of bytes, "];
    let found = kinds.iter().find_map(|kind| text.split_once(kind));
    match found {
        Some((meaning, bounds)) => (Some(bounds.trim_end_matches('.')), meaning.trim_end()),
        None => (None, text),
    }
}

/// What may be written for a key.
fn value(schema: &Json, bounds: Option<&str>) -> String {
    let within = |what: &str| bounds.map_or_else(|| what.to_owned(), |bounds| format!("{what} {bounds}"));
    if let Some(either) = schema["anyOf"].as_array() {
        let mut all: Vec<_> = either.iter().map(|one| value(one, meaning(one).0.or(bounds))).collect();
        all.dedup();
        return all.join(" or ");
    }
    if let Some(names) = schema["enum"].as_array() {
        return names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(only) = schema.get("const") {
        return format!("`{only}`");
    }
    match schema["type"].as_str() {
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("integer") => match (schema.get("minimum"), schema.get("maximum")) {
            (Some(least), Some(most)) => format!("number from {least} to {most}"),
            _ => "number".to_owned(),
        },
        Some("string") if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("ms|")) => within("time"),
        Some("string") => "text".to_owned(),
        Some("array") => {
            let of = value(&schema["items"], bounds);
            let plural = if of.ends_with("table") { "s" } else { "" };
            format!("list of {of}{plural}")
        }
        Some("object") if schema["properties"].is_object() => "table".to_owned(),
        Some("object") => format!("table of names, each with {}", value(&schema["additionalProperties"], bounds)),
        // A size is a text or a number.
        _ if schema["type"].is_array() => within("size"),
        _ => "any".to_owned(),
    }
}
