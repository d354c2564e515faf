//! The settings, as an operator writes them; README.md has them with their meaning.

use gatewright_plugin::methods::Methods;
use gatewright_plugin::path::Pattern;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    // What a token must be.
    pub keys: String,
    #[serde(default)]
    pub issuers: Vec<String>,
    #[serde(default)]
    pub audiences: Vec<String>,
    pub kind: Option<String>,
    #[serde(default = "expiry")]
    pub required: Vec<String>,
    #[serde(default = "leeway")]
    pub leeway_seconds: u32,

    // What a token must allow.
    #[serde(default)]
    pub scopes: Vec<String>,
    #[serde(default)]
    pub rules: Vec<Rule>,

    // Who the caller is.
    #[serde(default = "subject")]
    pub subject: String,
    pub plan: Option<String>,
    pub plans: Option<BTreeMap<String, String>>,
    pub scope: Option<String>,
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,

    // How it is done.
    pub realm: Option<String>,
    #[serde(default = "yes")]
    pub conceal: bool,
    #[serde(default = "a_minute")]
    pub remember_seconds: u32,
}

/// Scopes that some requests need.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(default)]
    pub methods: Methods,
    pub path: Pattern,
    pub scopes: Vec<String>,
}

fn expiry() -> Vec<String> {
    vec!["exp".into()]
}

/// Clocks of servers differ by less, as a rule.
fn leeway() -> u32 {
    30
}

fn subject() -> String {
    "sub".into()
}

fn yes() -> bool {
    true
}

/// A revoked key is trusted at most this much longer.
fn a_minute() -> u32 {
    60
}

impl Settings {
    /// Finds what the types cannot say.
    pub fn check(&self) -> Result<(), String> {
        let scopes = self.scopes.iter().chain(self.rules.iter().flat_map(|rule| &rule.scopes));
        if let Some(scope) = scopes.into_iter().find(|scope| !is_scope(scope)) {
            return Err(format!("`{scope}` is not a scope: ASCII without spaces, quotes and backslashes"));
        }
        if let Some(name) = self.headers.keys().find(|name| !is_field_name(name)) {
            return Err(format!("`headers`: `{name}` is not a field name"));
        }
        if let Some(issuer) = self.issuers.iter().find(|issuer| issuer.is_empty() || issuer.contains(' ')) {
            return Err(format!("`issuers`: `{issuer}` is empty or has a space"));
        }
        if self.realm.iter().any(|realm| realm.contains(char::is_control)) {
            return Err("`realm`: has a control character".into());
        }
        if self.plans.is_some() && self.plan.is_none() {
            return Err("`plans` without `plan`: there is no claim to look up".into());
        }
        if self.keys.is_empty() { Err("`keys`: is empty".into()) } else { Ok(()) }
    }
}

/// RFC 6749, section 3.3.
pub fn is_scope(scope: &str) -> bool {
    !scope.is_empty() && scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_plugin::settings;

    fn read(text: &str) -> Result<Settings, String> {
        let settings: Settings = settings(text)?;
        settings.check().map(|()| settings)
    }

    #[test]
    fn a_key_set_is_all_that_must_be_said() {
        let settings = read(r#"{"keys": "demo"}"#).expect("settings");
        assert_eq!((settings.leeway_seconds, settings.subject.as_str(), settings.conceal), (30, "sub", true));
        assert_eq!(settings.required, ["exp"]);
    }

    #[test]
    fn the_readmes_example_is_good() {
        let readme = include_str!("../README.md");
        let example = readme.split("```").nth(1).and_then(|block| block.strip_prefix("toml")).expect("an example");
        let example: serde_json::Value = toml::from_str(example).expect("TOML");
        let text = example.pointer("/api/0/auth/0/settings").expect("settings").to_string();
        assert_eq!(read(&text).map(drop), Ok(()));
    }

    #[test]
    fn faults_name_their_key() {
        for (text, fault) in [
            ("{}", "missing field `keys`"),
            (r#"{"keys": "k", "isuers": []}"#, "`isuers`: unknown field `isuers`"),
            (r#"{"keys": "k", "rules": [{"path": "orders", "scopes": []}]}"#, "`rules[0].path`: must start with `/`"),
            (
                r#"{"keys": "k", "rules": [{"path": "/", "methods": ["get"], "scopes": []}]}"#,
                "`rules[0].methods`: `get`",
            ),
            (r#"{"keys": "k", "rules": [{"path": "/", "scopes": ["a b"]}]}"#, "`a b` is not a scope"),
            (r#"{"keys": "k", "headers": {"x user": "sub"}}"#, "`headers`: `x user`"),
            (r#"{"keys": "k", "plans": {}}"#, "`plans` without `plan`"),
            (r#"{"keys": ""}"#, "`keys`: is empty"),
        ] {
            let said = read(text).err().expect("a fault");
            assert!(said.starts_with(fault), "{text}: {said}");
        }
    }
}
