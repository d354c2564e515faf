//! The settings, as an operator writes them; README.md has them with their meaning.

use crate::dates::Moment;
use crate::shares::ShareSettings;
use gatewright_plugin::methods::Methods;
use gatewright_plugin::path::Pattern;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default)]
    pub base: String,
    pub from: Option<From>,
    #[serde(default)]
    pub versions: BTreeMap<String, VersionSettings>,
    pub default: Option<String>,
    #[serde(default)]
    pub strip: Strip,
    pub routes: Vec<RouteSettings>,
}

/// Where a request names its version; the first of these that does counts.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct From {
    #[serde(default)]
    pub path: bool,
    pub header: Option<String>,
    pub parameter: Option<String>,
    pub vendor: Option<String>,
}

/// One version of the API.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionSettings {
    pub deprecated: Option<Moment>,
    pub sunset: Option<Moment>,
    pub successor: Option<String>,
    pub deprecation_docs: Option<String>,
    pub sunset_docs: Option<String>,
}

/// What is taken off the front of the path for the service.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Strip {
    #[default]
    Nothing,
    /// The version's segment.
    Version,
    /// The base and the version's segment.
    Base,
}

/// Where some requests go.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    pub path: Pattern,
    #[serde(default)]
    pub methods: Methods,
    #[serde(default)]
    pub versions: Vec<String>,
    pub service: String,
    #[serde(default)]
    pub shares: Vec<ShareSettings>,
    pub strip: Option<Strip>,
    pub rewrite: Option<Pattern>,
    pub affinity: Option<Affinity>,
    pub timeout_ms: Option<u32>,
}

/// What keeps one caller's requests together.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Affinity {
    /// The caller's subject.
    Caller,
    /// The client's IP address.
    Address,
    /// A header field's value.
    Header(String),
    /// A cookie's value.
    Cookie(String),
}
