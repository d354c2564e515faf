//! The settings, as an operator writes them; README.md has them with their meaning.

use gatewright_plugin::methods::Methods;
use gatewright_plugin::path::Pattern;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub rules: Vec<RuleSettings>,
    #[serde(default = "most_bytes")]
    pub most_bytes: u32,
    #[serde(default)]
    pub other: Other,
    #[serde(default)]
    pub other_bodies: OtherBodies,
    #[serde(default = "yes")]
    pub formats: bool,
}

/// What some requests must be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    #[serde(default)]
    pub methods: Methods,
    pub path: Pattern,
    pub body: Option<Value>,
    #[serde(default = "yes")]
    pub body_required: bool,
    #[serde(default)]
    pub query: BTreeMap<String, Value>,
    #[serde(default)]
    pub query_required: Vec<String>,
    #[serde(default)]
    pub extra_query: ExtraQuery,
}

/// Requests that no rule is for.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Other {
    #[default]
    Pass,
    Refuse,
}

/// Bodies that are not JSON.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum OtherBodies {
    Pass,
    #[default]
    Refuse,
}

/// Query parameters that a rule does not name.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ExtraQuery {
    #[default]
    Allow,
    Refuse,
}

/// 64 KiB: what is checked within the default call time of 5 ms, and more than nearly every API's bodies have.
fn most_bytes() -> u32 {
    64 * 1024
}

fn yes() -> bool {
    true
}
