//! Tokens of every kind, good and bad, and the keys that sign them.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::SECRET;

/// Seconds since 1970.
#[must_use]
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A key that signs tokens.
pub enum Key {
    /// A shared secret, for `HS256`.
    Secret(Vec<u8>),
    /// For `RS256` and `PS256`.
    Rsa(RsaKeyPair),
    /// For `ES256`.
    P256(EcdsaKeyPair),
    /// For `EdDSA`.
    Ed25519(Ed25519KeyPair),
}

impl Key {
    /// A shared secret.
    #[must_use]
    pub fn secret(secret: &str) -> Self {
        Self::Secret(secret.as_bytes().to_vec())
    }

    /// A new RSA key of 2048 bits.
    #[must_use]
    pub fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    /// A new key on P-256.
    #[must_use]
    pub fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    /// A new Ed25519 key.
    #[must_use]
    pub fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    /// The algorithm that it signs with unless another is named.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    /// The key that vouches for its tokens, as a JWK with this `kid`.
    #[must_use]
    pub fn jwk(&self, kid: &str) -> Value {
        let mut jwk = match self {
            Self::Secret(secret) => json!({"kty": "oct", "k": base64(secret)}),
            Self::Rsa(pair) => {
                let key = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty": "RSA", "n": base64(key.n), "e": base64(key.e)})
            }
            Self::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y)})
            }
            Self::Ed25519(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key())}),
        };
        jwk["alg"] = self.algorithm().into();
        jwk["kid"] = kid.into();
        jwk
    }

    /// The public key in PEM.
    ///
    /// # Panics
    /// A secret has none.
    #[must_use]
    pub fn pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Secret(_) => panic!("a secret has no public key"),
            Self::Rsa(pair) => pair.public_key().as_der(),
            Self::P256(pair) => pair.public_key().as_der(),
            Self::Ed25519(pair) => pair.public_key().as_der(),
        }
        .unwrap();
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Secret(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec(),
            Self::Rsa(pair) => {
                let encoding = if algorithm == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
            Self::P256(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// A token in the making.
#[must_use]
pub struct Token {
    header: Value,
    claims: Value,
}

/// A token of this subject, good for an hour.
pub fn token(subject: &str) -> Token {
    let claims = json!({"sub": subject, "exp": unix_seconds() + 3600});
    Token { header: json!({"typ": "JWT"}), claims }
}

impl Token {
    /// With this claim.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims[name] = value.into();
        self
    }

    /// Without this claim.
    pub fn without(mut self, name: &str) -> Self {
        self.claims.as_object_mut().unwrap().remove(name);
        self
    }

    /// With these scopes.
    pub fn scopes(self, scopes: &str) -> Self {
        self.claim("scope", scopes)
    }

    /// With this parameter of the header; `alg` is the key's unless it is given here.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header[name] = value.into();
        self
    }

    /// That ended an hour ago.
    pub fn expired(self) -> Self {
        self.claim("exp", unix_seconds() - 3600)
    }

    /// Signed with the secret that every gateway of a test has as its key set `demo`.
    #[must_use]
    pub fn signed(self) -> String {
        self.signed_by(&Key::secret(SECRET))
    }

    /// Signed with this key.
    #[must_use]
    pub fn signed_by(mut self, key: &Key) -> String {
        if self.header["alg"].is_null() {
            self.header["alg"] = key.algorithm().into();
        }
        let algorithm = self.header["alg"].as_str().unwrap_or_default().to_owned();
        let message = self.message();
        format!("{message}.{}", base64(key.sign(&algorithm, message.as_bytes())))
    }

    /// Not signed at all, with `alg` as given or `none`.
    #[must_use]
    pub fn unsigned(mut self) -> String {
        if self.header["alg"].is_null() {
            self.header["alg"] = "none".into();
        }
        format!("{}.", self.message())
    }

    fn message(&self) -> String {
        format!("{}.{}", base64(self.header.to_string()), base64(self.claims.to_string()))
    }
}

/// A token of this header and these claims, whatever they are.
pub(crate) fn signed(header: &[u8], claims: &[u8], key: &Key) -> String {
    let message = format!("{}.{}", base64(header), base64(claims));
    format!("{message}.{}", base64(key.sign(key.algorithm(), message.as_bytes())))
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
