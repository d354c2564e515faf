//! A verified token's claims to a grant.

use crate::settings::{Settings, is_scope};
use gatewright_plugin::Grant;
use std::collections::BTreeMap;

/// Where in the claims that the host hands out each part of a grant is found.
pub struct Claims {
    /// What the host is asked for, each once.
    names: Vec<String>,
    subject: usize,
    /// Where there are several issuers: a subject is unique only within its own (RFC 7519, section 4.1.2).
    issuer: Option<usize>,
    plan: Option<usize>,
    /// From claim to plan; `None`: the claim is the plan.
    plans: Option<BTreeMap<String, String>>,
    /// The first of these that is there holds the scopes.
    scopes: Vec<usize>,
    /// Attribute and claim.
    attributes: Vec<(String, usize)>,
    /// Field and claim.
    headers: Vec<(String, usize)>,
}

/// Why a token that verifies is of no use here. The texts end the sentence "The token is …".
#[derive(Debug, PartialEq, Eq)]
pub enum Unfit {
    NoSubject,
    /// The field that its claim does not fit into.
    NotAField(String),
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSubject => out.write_str("without a subject"),
            Self::NotAField(name) => write!(out, "with a control character in the claim for the field {name}"),
        }
    }
}

impl Claims {
    pub fn new(settings: &Settings) -> Self {
        let mut names = Vec::new();
        let mut ask = |claim: &str| {
            names.iter().position(|name| name == claim).unwrap_or_else(|| {
                names.push(claim.to_string());
                names.len() - 1
            })
        };
        let subject = ask(&settings.subject);
        let issuer = (settings.issuers.len() > 1).then(|| ask("iss"));
        let plan = settings.plan.as_deref().map(&mut ask);
        let scopes = match &settings.scope {
            Some(claim) => vec![ask(claim)],
            None => vec![ask("scope"), ask("scp")],
        };
        let mut each = |named: &BTreeMap<String, String>| {
            named.iter().map(|(name, claim)| (name.clone(), ask(claim))).collect::<Vec<_>>()
        };
        let (attributes, headers) = (each(&settings.attributes), each(&settings.headers));
        Self { names, subject, issuer, plan, plans: settings.plans.clone(), scopes, attributes, headers }
    }

    /// The claims to ask the host for.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Makes a grant of the claims, which are in the order of [`Claims::names`].
    ///
    /// # Errors
    /// The token says nobody, or what cannot be a field: passed on, that would count as the plugin's own failure.
    pub fn grant(&self, values: &[Option<String>]) -> Result<Grant, Unfit> {
        let value = |index: usize| values.get(index).and_then(Option::as_deref);
        let subject = value(self.subject).filter(|subject| !subject.is_empty()).ok_or(Unfit::NoSubject)?;
        let mut grant = match self.issuer {
            Some(issuer) => Grant::to(format!("{} {subject}", value(issuer).unwrap_or_default())),
            None => Grant::to(subject),
        };
        grant.caller.plan = self.plan.and_then(value).and_then(|plan| match &self.plans {
            Some(plans) => plans.get(plan).cloned(),
            None => Some(plan.to_string()),
        });
        grant.caller.scopes = self.scopes.iter().find_map(|index| value(*index)).map(scopes).unwrap_or_default();
        for (name, index) in &self.attributes {
            grant.caller.attributes.extend(value(*index).map(|value| (name.clone(), value.to_string())));
        }
        for (name, index) in &self.headers {
            let Some(value) = value(*index) else { continue };
            if value.contains(char::is_control) {
                return Err(Unfit::NotAField(name.clone()));
            }
            grant.headers.push((name.clone(), value.to_string()));
        }
        Ok(grant)
    }
}

/// Scopes from a claim: a text with spaces between them, or a JSON array of texts. What cannot be a scope is left out.
fn scopes(claim: &str) -> Vec<String> {
    if claim.starts_with('[') {
        // A text may begin like this too; it is no JSON then, or its scopes would have quotes, which no scope has.
        if let Ok(serde_json::Value::Array(scopes)) = serde_json::from_str(claim) {
            let scopes = scopes.iter().filter_map(serde_json::Value::as_str);
            return scopes.filter(|scope| is_scope(scope)).map(String::from).collect();
        }
    }
    claim.split(' ').filter(|scope| is_scope(scope)).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_plugin::settings;
    use proptest::prelude::*;

    fn claims(text: &str) -> Claims {
        Claims::new(&settings(text).expect("settings"))
    }

    fn grant(claims: &Claims, token: &[(&str, &str)]) -> Result<Grant, Unfit> {
        let find = |name: &String| token.iter().find(|(claim, _)| claim == name).map(|(_, value)| value.to_string());
        claims.grant(&claims.names().iter().map(find).collect::<Vec<_>>())
    }

    #[test]
    fn each_claim_is_asked_for_once() {
        let claims =
            claims(r#"{"keys": "k", "plan": "plan", "attributes": {"who": "sub"}, "headers": {"x-user": "sub"}}"#);
        assert_eq!(claims.names(), ["sub", "plan", "scope", "scp"]);
    }

    #[test]
    fn claims_become_caller_and_fields() {
        let claims = claims(
            r#"{"keys": "k", "plan": "tier", "attributes": {"tenant": "org"}, "headers": {"x-user": "sub", "x-org": "org"}}"#,
        );
        let full =
            grant(&claims, &[("sub", "ada"), ("tier", "gold"), ("scope", "a b  c"), ("org", "acme")]).expect("a grant");
        assert_eq!((full.caller.subject.as_str(), full.caller.plan.as_deref()), ("ada", Some("gold")));
        assert_eq!(full.caller.scopes, ["a", "b", "c"]);
        assert_eq!(full.caller.attributes, [("tenant".to_string(), "acme".to_string())]);
        assert_eq!(full.headers.len(), 2);
        let bare = grant(&claims, &[("sub", "ada")]).expect("a grant");
        assert_eq!((bare.caller.plan, bare.caller.attributes.len(), bare.headers.len()), (None, 0, 1));
    }

    #[test]
    fn nobody_is_not_a_caller() {
        let claims = claims(r#"{"keys": "k"}"#);
        assert_eq!(grant(&claims, &[]), Err(Unfit::NoSubject));
        assert_eq!(grant(&claims, &[("sub", "")]), Err(Unfit::NoSubject));
    }

    #[test]
    fn subjects_of_two_issuers_are_two_callers() {
        let claims = claims(r#"{"keys": "k", "issuers": ["https://a", "https://b"]}"#);
        let of = |issuer| grant(&claims, &[("sub", "ada"), ("iss", issuer)]).expect("a grant").caller.subject;
        assert_eq!(of("https://a"), "https://a ada");
        assert_ne!(of("https://a"), of("https://b"));
    }

    #[test]
    fn a_claim_that_no_field_can_hold_is_the_tokens_fault() {
        let claims = claims(r#"{"keys": "k", "headers": {"x-user": "name"}}"#);
        assert_eq!(grant(&claims, &[("sub", "ada"), ("name", "a\r\nb: c")]), Err(Unfit::NotAField("x-user".into())));
    }

    #[test]
    fn plans_are_looked_up_and_unknown_ones_are_none() {
        let claims = claims(r#"{"keys": "k", "plan": "tier", "plans": {"3": "gold"}}"#);
        let plan = |tier| grant(&claims, &[("sub", "ada"), ("tier", tier)]).expect("a grant").caller.plan;
        assert_eq!(plan("3").as_deref(), Some("gold"));
        assert_eq!(plan("4"), None);
    }

    #[test]
    fn scopes_come_as_text_or_array_and_scp_stands_in() {
        let claims = claims(r#"{"keys": "k"}"#);
        let of = |claim, value| grant(&claims, &[("sub", "ada"), (claim, value)]).expect("a grant").caller.scopes;
        assert_eq!(of("scope", r#"["a","b c",7,""]"#), ["a"]);
        assert_eq!(of("scp", "a b"), ["a", "b"]);
        assert_eq!(of("scope", "[a b"), ["[a", "b"]);
        assert!(of("scope", r#"{"a": 1}"#).iter().all(|scope| is_scope(scope)));
    }

    proptest! {
        #[test]
        fn whatever_a_claim_holds_scopes_have_no_spaces(claim in ".{0,60}") {
            prop_assert!(scopes(&claim).iter().all(|scope| is_scope(scope)));
        }
    }
}
