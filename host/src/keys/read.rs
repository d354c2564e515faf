//! From the bytes of a source to keys: JWKS, PEM and shared secrets.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::key::{self, Key, KeyFault};
use crate::config::{Algorithm, KeySet};

/// What a source holds.
#[derive(Debug, Default)]
pub struct Read {
    /// The usable keys in the order of the document.
    pub keys: Vec<Key>,
    /// Why others of a JWKS document are not used: place, name and reason, for people.
    pub ignored: Vec<String>,
}

/// Why a source gives no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SourceFault {
    #[error("cannot be read: {0}")]
    Unreadable(String),
    #[error("not a regular file")]
    NotAFile,
    #[error("longer than {most} bytes")]
    TooLong { most: u64 },
    #[error("the environment variable is not set, or not UTF-8")]
    NotSet,
    #[error("not a JWKS document: {0}")]
    NotJwks(String),
    #[error("no usable key: {0}")]
    NoUsableKey(String),
    #[error("holds a private key; give the public one alone (`openssl pkey -pubout`)")]
    PrivateKey,
    #[error("not one public key in PEM (`PUBLIC KEY` or `RSA PUBLIC KEY`)")]
    NotPem,
    #[error(transparent)]
    Key(#[from] KeyFault),
}

/// Reads what a source of this kind holds.
///
/// # Errors
///
/// The bytes are not of the kind, or hold keys and none is usable. A JWKS document without any keys is not an error.
pub fn read(source: &KeySet, bytes: &[u8]) -> Result<Read, SourceFault> {
    match source {
        KeySet::Jwks(_) => jwks(bytes),
        KeySet::Pem { algorithm, .. } => one(pem(*algorithm, bytes)?),
        KeySet::Secret { algorithm, .. } => one(Key::secret(None, *algorithm, without_line_end(bytes))?),
    }
}

fn one(key: Key) -> Result<Read, SourceFault> {
    Ok(Read { keys: vec![key], ignored: Vec::new() })
}

fn without_line_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b'\n' | b'\r'] = bytes {
        bytes = rest;
    }
    bytes
}

fn pem(algorithm: Algorithm, bytes: &[u8]) -> Result<Key, SourceFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| SourceFault::NotPem)?;
    let labels: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")).collect();
    if labels.iter().any(|label| label.contains("PRIVATE KEY")) {
        return Err(SourceFault::PrivateKey);
    }
    if !matches!(labels.as_slice(), ["PUBLIC KEY-----" | "RSA PUBLIC KEY-----"]) {
        return Err(SourceFault::NotPem);
    }
    if key::is_rsa(algorithm) {
        return rsa_pem(algorithm, bytes);
    }
    let key = match algorithm {
        Algorithm::EdDsa => DecodingKey::from_ed_pem(bytes),
        _ => DecodingKey::from_ec_pem(bytes),
    };
    let key = key.map_err(|_| KeyFault::Unfit)?;
    Ok(Key::point(None, algorithm, key.try_get_as_bytes().map_err(|_| KeyFault::Unfit)?)?)
}

fn rsa_pem(algorithm: Algorithm, bytes: &[u8]) -> Result<Key, SourceFault> {
    let key = DecodingKey::from_rsa_pem(bytes).map_err(|_| KeyFault::Unfit)?;
    let der = match (key.family(), key.try_get_as_bytes()) {
        (AlgorithmFamily::Rsa, Ok(der)) => der,
        _ => return Err(KeyFault::Unfit.into()),
    };
    let key = aws_lc_rs::rsa::PublicKey::from_der(der).map_err(|_| KeyFault::Unfit)?;
    let modulus = key.modulus().big_endian_without_leading_zero();
    Ok(Key::rsa(None, algorithm, modulus, key.exponent().big_endian_without_leading_zero())?)
}

#[derive(Deserialize)]
struct Jwks<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// The members of RFC 7517 and RFC 7518 that matter to a verifier.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<Box<str>>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

/// Keys that are of no use here are passed over (RFC 7517, section 5).
fn jwks(bytes: &[u8]) -> Result<Read, SourceFault> {
    let document: Jwks<'_> = serde_json::from_slice(bytes).map_err(|fault| SourceFault::NotJwks(fault.to_string()))?;
    let mut read = Read::default();
    for (place, text) in document.keys.iter().enumerate() {
        let jwk = match serde_json::from_str::<Jwk>(text.get()) {
            Ok(jwk) => jwk,
            // Not the fault's text: it may quote a secret.
            Err(_) => {
                read.ignored.push(format!("keys[{place}]: not a JWK"));
                continue;
            }
        };
        let name = jwk.kid.as_deref().map(|id| format!(" ({id:?})")).unwrap_or_default();
        match jwk.key() {
            Ok(key) => read.keys.push(key),
            Err(reason) => read.ignored.push(format!("keys[{place}]{name}: {reason}")),
        }
    }
    match (read.keys.is_empty(), read.ignored.first()) {
        (true, Some(reason)) => Err(SourceFault::NoUsableKey(reason.clone())),
        _ => Ok(read),
    }
}

/// Why one key of a JWKS document is passed over.
#[derive(Debug, thiserror::Error)]
enum Unused {
    #[error("not for verifying signatures")]
    Purpose,
    #[error("algorithm or curve {0:?} is not supported")]
    Unsupported(String),
    #[error("no `alg`: a secret must say which it is for")]
    NoAlgorithm,
    #[error("no valid `{0}`")]
    Member(&'static str),
    #[error(transparent)]
    Key(#[from] KeyFault),
}

impl Jwk {
    fn key(self) -> Result<Key, Unused> {
        let verifies = self.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|name| name == "verify"));
        if !verifies || self.usage.as_ref().is_some_and(|usage| usage != "sig") {
            return Err(Unused::Purpose);
        }
        let algorithm = self.algorithm()?;
        match self.kty.as_str() {
            "RSA" => Ok(Key::rsa(self.kid, algorithm, &octets(self.n, "n")?, &octets(self.e, "e")?)?),
            "oct" => Ok(Key::secret(self.kid, algorithm, &octets(self.k, "k")?)?),
            "OKP" => Ok(Key::point(self.kid, algorithm, &octets(self.x, "x")?)?),
            "EC" => {
                let point = [vec![4], octets(self.x, "x")?, octets(self.y, "y")?].concat();
                Ok(Key::point(self.kid, algorithm, &point)?)
            }
            _ => Err(Unused::Unsupported(self.kty)),
        }
    }

    /// `alg` where it is given, and only if it suits the kind of key; else what the kind alone says.
    fn algorithm(&self) -> Result<Algorithm, Unused> {
        let said = match &self.alg {
            Some(name) => Some(key::algorithm(name).ok_or_else(|| Unused::Unsupported(name.clone()))?),
            None => None,
        };
        let (suits, default): (fn(Algorithm) -> bool, _) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (key::is_rsa, Some(Algorithm::Rs256)),
            ("EC", Some("P-256")) => (|given| given == Algorithm::Es256, Some(Algorithm::Es256)),
            ("EC", Some("P-384")) => (|given| given == Algorithm::Es384, Some(Algorithm::Es384)),
            ("OKP", Some("Ed25519")) => (|given| given == Algorithm::EdDsa, Some(Algorithm::EdDsa)),
            ("oct", _) => (|given| matches!(given, Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512), None),
            ("EC" | "OKP", Some(curve)) => return Err(Unused::Unsupported(curve.to_owned())),
            ("EC" | "OKP", None) => return Err(Unused::Member("crv")),
            _ => return Err(Unused::Unsupported(self.kty.clone())),
        };
        let algorithm = said.or(default).ok_or(Unused::NoAlgorithm)?;
        match suits(algorithm) {
            true => Ok(algorithm),
            false => Err(KeyFault::Unfit.into()),
        }
    }
}

fn octets(member: Option<String>, name: &'static str) -> Result<Vec<u8>, Unused> {
    member.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(Unused::Member(name))
}
