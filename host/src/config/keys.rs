//! `[keys.NAME]`.

use std::path::PathBuf;

use serde_json::json;

use super::kinds::{FILE, Parsed, Words};
use super::table::Table;

const ALGORITHMS: Words<Algorithm> = Words(&[
    ("HS256", Algorithm::Hs256),
    ("HS384", Algorithm::Hs384),
    ("HS512", Algorithm::Hs512),
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("PS384", Algorithm::Ps384),
    ("PS512", Algorithm::Ps512),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("EdDSA", Algorithm::EdDsa),
]);
const VARIABLE: Parsed<String> =
    Parsed { what: "the name of an environment variable", parse: variable, show: |name| json!(name) };

/// Where keys come from.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySet {
    /// A JWKS document (RFC 7517) in a file, watched.
    Jwks(PathBuf),
    /// One public key in PEM, and the only algorithm that it vouches for, watched.
    Pem {
        /// The file.
        file: PathBuf,
        /// `RS256`, `PS256`, `ES256`, `EdDSA`, …; never HMAC.
        algorithm: Algorithm,
    },
    /// A shared secret for HMAC.
    Secret {
        /// Where it is.
        from: SecretSource,
        /// `HS256`, `HS384` or `HS512`.
        algorithm: Algorithm,
    },
}

/// A JWS algorithm (RFC 7518, section 3.1; RFC 8037). `none` does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are RFC 7518's")]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    /// Whether the key is a shared secret.
    fn is_hmac(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

/// Where a shared secret is.
#[derive(Clone, Debug, PartialEq)]
pub enum SecretSource {
    /// A file's content without trailing line ends, watched.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
}

impl KeySet {
    pub(super) fn read(t: &mut Table<'_>) -> Option<Self> {
        let which = t.one_of(&["jwks", "pem", "secret_file", "secret_env"]);
        let jwks = t.given("jwks", "A JWKS file (RFC 7517), watched.", &FILE).map(|path| t.resolve(path));
        let pem = t.given("pem", "A file with one public key in PEM, watched.", &FILE).map(|path| t.resolve(path));
        let file = "A file with a shared secret, watched; line ends after it do not count.";
        let file = t.given("secret_file", file, &FILE).map(|path| SecretSource::File(t.resolve(path)));
        let variable = t.given("secret_env", "An environment variable with a shared secret.", &VARIABLE);
        let meaning = "The only algorithm of a `pem` key or of a secret (default `HS256`); a JWKS names its own.";
        let algorithm = t.given("algorithm", meaning, &ALGORITHMS);
        match which? {
            "jwks" => {
                if t.has("algorithm") {
                    t.fault("algorithm", "a JWKS names the algorithms of its keys itself");
                }
                Some(Self::Jwks(jwks?))
            }
            "pem" => {
                if !t.has("algorithm") {
                    t.fault("algorithm", "missing: a `pem` key vouches for exactly one");
                }
                if algorithm.is_some_and(Algorithm::is_hmac) {
                    t.fault("algorithm", "a public key is no secret: not one of HMAC's");
                }
                Some(Self::Pem { file: pem?, algorithm: algorithm? })
            }
            _ => {
                let algorithm = algorithm.unwrap_or(Algorithm::Hs256);
                if !algorithm.is_hmac() {
                    t.fault("algorithm", "a secret is for `HS256`, `HS384` or `HS512`");
                }
                Some(Self::Secret { from: file.or(variable.map(SecretSource::Environment))?, algorithm })
            }
        }
    }
}

fn variable(name: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match !name.is_empty() && name.bytes().all(good) {
        true => Ok(name.to_owned()),
        false => Err("not the name of an environment variable".into()),
    }
}
