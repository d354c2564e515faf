//! The callers' tokens, and the keys that vouch for them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};

use super::setting;
use crate::demo;

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// With a shared secret.
    Hs256,
    /// With a private key on P-256.
    Es256,
}

/// Signs the tokens of one run.
pub(super) struct Issuer {
    es256: EncodingKey,
}

impl Issuer {
    /// With a new key.
    ///
    /// # Errors
    ///
    /// There is no randomness.
    pub(super) fn new() -> Result<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).context("no key")?;
        let private = pair.to_pkcs8v1().context("no key")?;
        Ok(Self { es256: EncodingKey::from_ec_der(private.as_ref()) })
    }

    /// Writes the key that vouches for ES256 as a JWKS document.
    pub(super) fn write_keys(&self, file: &Path) -> Result<()> {
        let key = Jwk::from_encoding_key(&self.es256, Algorithm::ES256)?;
        Ok(std::fs::write(file, serde_json::to_vec(&serde_json::json!({ "keys": [key] }))?)?)
    }

    /// A caller's token, good for hours.
    pub(super) fn token(&self, signature: Signature, caller: &str, now: Duration) -> Result<String> {
        match signature {
            Signature::Hs256 => demo::mint(setting::SECRET, caller, demo::SCOPES, now),
            Signature::Es256 => demo::mint_with(Algorithm::ES256, &self.es256, caller, demo::SCOPES, now),
        }
    }
}
