//! Verifying one token: RFC 7515, RFC 7519 and the advice of RFC 8725.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Keys;
use super::claims::{Claim, Members, Text};
use super::key;

/// Longer tokens are malformed: no client's head holds more in practice, and each byte costs before it is trusted.
pub const MOST_TOKEN_BYTES: usize = 16 * 1024;

/// The most keys that one token is tried with: a token without a key's name must not cost a signature check for each of
/// hundreds of keys.
pub const MOST_TRIES: usize = 8;

/// What a token must be, as a plugin says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// One of these issuers; empty: any.
    pub issuers: Vec<String>,
    /// One of these audiences; empty: any.
    pub audiences: Vec<String>,
    /// The `typ` header, in any case and with or without `application/`; `None`: any.
    pub kind: Option<String>,
    /// Claims that must be there and not `null`.
    pub required: Vec<String>,
    /// How far the clocks of issuer and gateway may differ.
    pub leeway_seconds: u32,
    /// The claims to hand out: a name, or a JSON Pointer (empty, or starting with `/`).
    pub claims: Vec<String>,
}

/// A claim that is no JSON Pointer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a JSON Pointer")]
pub struct BadPointer(pub String);

/// Prepared rules.
#[derive(Clone, Debug)]
pub struct Verifier {
    issuers: Vec<String>,
    audiences: Vec<String>,
    kind: Option<String>,
    required: Vec<Claim>,
    leeway_ms: f64,
    claims: Vec<Claim>,
}

/// What a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// One entry for each claim of the rules: a string as it is, all else as compact JSON, `None` where it is missing
    /// or `null`.
    pub claims: Vec<Option<String>>,
    /// When the token expires, leeway included, in milliseconds since 1970; `None`: never.
    pub until: Option<u64>,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Not a token that can be read, or one with a critical header (none is supported).
    #[error("malformed")]
    Malformed,
    /// An algorithm, key or signature that the key set does not vouch for.
    #[error("untrusted")]
    Untrusted,
    /// `exp` and the leeway are over.
    #[error("expired")]
    Expired,
    /// `nbf` less the leeway is still to come.
    #[error("not yet valid until {until} ms")]
    NotYetValid {
        /// When the answer changes, in milliseconds since 1970.
        until: u64,
    },
    /// It breaks a rule.
    #[error("unacceptable: {0}")]
    Unacceptable(Rule),
    /// The key set has no keys at present.
    #[error("no keys")]
    KeysUnavailable,
}

/// The rule that a token breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Rule {
    #[error("issuer")]
    Issuer,
    #[error("audience")]
    Audience,
    #[error("kind")]
    Kind,
    #[error("a required claim")]
    Required,
}

impl Failure {
    /// When the same token and keys would be answered otherwise, in milliseconds since 1970; `None`: never.
    pub fn until(&self) -> Option<u64> {
        match self {
            Failure::NotYetValid { until } => Some(*until),
            Failure::Malformed
            | Failure::Untrusted
            | Failure::Expired
            | Failure::Unacceptable(_)
            | Failure::KeysUnavailable => None,
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(_: serde_json::Error) -> Self {
        Failure::Malformed
    }
}

impl Verifier {
    /// Prepares rules.
    ///
    /// # Errors
    ///
    /// A claim that starts with `/` and is no JSON Pointer.
    pub fn new(rules: Rules) -> Result<Verifier, BadPointer> {
        let parse = |texts: Vec<String>| -> Result<Vec<Claim>, BadPointer> {
            texts.into_iter().map(|text| Claim::parse(&text).ok_or(BadPointer(text))).collect()
        };
        Ok(Verifier {
            issuers: rules.issuers,
            audiences: rules.audiences,
            kind: rules.kind,
            required: parse(rules.required)?,
            leeway_ms: f64::from(rules.leeway_seconds) * 1000.0,
            claims: parse(rules.claims)?,
        })
    }

    /// Verifies a compact token at `now`, in milliseconds since 1970.
    ///
    /// What never changes is looked at first, then `exp`, then `nbf`, so that each answer holds until the moment that
    /// comes with it. White space around the token is not removed.
    ///
    /// # Errors
    ///
    /// The token is not accepted.
    pub fn verify(&self, keys: &Keys, token: &str, now: u64) -> Result<Verified, Failure> {
        let token = Token::split(token)?;
        let header = token.header()?;
        let header: Header<'_> = header_of(&header)?;
        token.trust(&header, keys)?;
        let document = String::from_utf8(decode(token.payload)?).map_err(|_| Failure::Malformed)?;
        let claims: Members<'_> = serde_json::from_str(&document)?;
        let until = moment(&claims, "exp", self.leeway_ms)?;
        let from = moment(&claims, "nbf", -self.leeway_ms)?;
        self.accept(&header, &claims)?;
        let verified = self.claims.iter().map(|claim| claim.text(&document, &claims)).collect::<Result<_, _>>()?;
        match (from, until) {
            (_, Some(end)) if now >= end => Err(Failure::Expired),
            (Some(start), end) if now < start => Err(Failure::NotYetValid { until: end.unwrap_or(start).min(start) }),
            (_, until) => Ok(Verified { claims: verified, until }),
        }
    }

    fn accept(&self, header: &Header<'_>, claims: &Members<'_>) -> Result<(), Failure> {
        let refuse = |holds: bool, rule| if holds { Ok(()) } else { Err(Failure::Unacceptable(rule)) };
        if let Some(kind) = &self.kind {
            let kinds = header.typ.as_ref().map(|typ| media_type(&typ.0).eq_ignore_ascii_case(media_type(kind)));
            refuse(kinds.unwrap_or(false), Rule::Kind)?;
        }
        if !self.issuers.is_empty() {
            refuse(claims.get("iss").is_some_and(|issuer| is_one_of(issuer, &self.issuers)), Rule::Issuer)?;
        }
        if !self.audiences.is_empty() {
            let audience = claims.get("aud").map(|audience| is_for_one_of(audience, &self.audiences));
            refuse(audience.unwrap_or(false), Rule::Audience)?;
        }
        for claim in &self.required {
            refuse(*claim == Claim::Document || claim.find(claims)?.is_some(), Rule::Required)?;
        }
        Ok(())
    }
}

/// A compact token in its parts, none of them decoded.
struct Token<'a> {
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
    /// What is signed: header and payload.
    message: &'a str,
}

impl<'a> Token<'a> {
    fn split(token: &'a str) -> Result<Token<'a>, Failure> {
        if token.len() > MOST_TOKEN_BYTES {
            return Err(Failure::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Failure::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(Failure::Malformed)?;
        match payload.contains('.') {
            true => Err(Failure::Malformed),
            false => Ok(Token { header, payload, signature, message }),
        }
    }

    fn header(&self) -> Result<Vec<u8>, Failure> {
        decode(self.header)
    }

    /// Finds a key of the set that has the token's algorithm, does not go by another name, and signed it. Keys that the
    /// token itself brings or points to (`jwk`, `jku`, `x5c`, `x5u`) are nothing to us.
    fn trust(&self, header: &Header<'_>, keys: &Keys) -> Result<(), Failure> {
        if header.critical {
            return Err(Failure::Malformed);
        }
        if keys.is_empty() {
            return Err(Failure::KeysUnavailable);
        }
        let algorithm = key::algorithm(&header.alg.0).ok_or(Failure::Untrusted)?;
        let id = header.kid.as_ref().map(|id| id.0.as_ref());
        let mut candidates = keys.candidates(algorithm, id).take(MOST_TRIES);
        match candidates.any(|key| key.signed(self.message, self.signature)) {
            true => Ok(()),
            false => Err(Failure::Untrusted),
        }
    }
}

/// What matters of a token's header. A name that occurs twice is an error.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Text<'a>,
    #[serde(borrow)]
    kid: Option<Text<'a>>,
    #[serde(borrow)]
    typ: Option<Text<'a>>,
    /// Whether there is a `crit`, be it `null` or empty.
    #[serde(default, rename = "crit", deserialize_with = "is_there")]
    critical: bool,
}

/// Serde would take an array for a struct: only an object is a header.
fn header_of(json: &[u8]) -> Result<Header<'_>, Failure> {
    match json.trim_ascii_start().starts_with(b"{") {
        true => Ok(serde_json::from_slice(json)?),
        false => Err(Failure::Malformed),
    }
}

fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

fn decode(part: &str) -> Result<Vec<u8>, Failure> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Failure::Malformed)
}

/// A `NumericDate` (RFC 7519, section 2), shifted, in milliseconds since 1970: the first whole one that is not before
/// it.
fn moment(claims: &Members<'_>, name: &str, shift_ms: f64) -> Result<Option<u64>, Failure> {
    let Some(value) = claims.get_even_null(name) else { return Ok(None) };
    let seconds: f64 = serde_json::from_str(value.get())?;
    // A float that is too large, or negative, becomes the nearest integer there is.
    Ok(Some((seconds * 1000.0 + shift_ms).ceil() as u64))
}

/// `typ` without the `application/` that may be left out (RFC 7515, section 4.1.9).
fn media_type(name: &str) -> &str {
    match name.split_once('/') {
        Some((class, rest)) if class.eq_ignore_ascii_case("application") && !rest.contains('/') => rest,
        _ => name,
    }
}

fn is_one_of(value: &RawValue, accepted: &[String]) -> bool {
    serde_json::from_str::<Text<'_>>(value.get()).is_ok_and(|text| accepted.iter().any(|one| *one == text.0))
}

/// `aud` is one string or several (RFC 7519, section 4.1.3).
fn is_for_one_of(value: &RawValue, accepted: &[String]) -> bool {
    match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
        Ok(several) => several.into_iter().any(|one| is_one_of(one, accepted)),
        Err(_) => is_one_of(value, accepted),
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]
mod tests;
