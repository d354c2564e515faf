//! For tests: private keys, made when they are first needed, and what their public halves look like in files.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm as Jws, EncodingKey};
use serde_json::{Value, json};

use crate::config::Algorithm;

/// Fit for all HMACs.
pub const SECRET: &[u8; 64] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"));
static P256: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"));
static P384: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key"));
static ED: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().expect("a key"));

/// Every algorithm and its name.
pub const ALGORITHMS: [(Algorithm, &str); 12] = [
    (Algorithm::Hs256, "HS256"),
    (Algorithm::Hs384, "HS384"),
    (Algorithm::Hs512, "HS512"),
    (Algorithm::Rs256, "RS256"),
    (Algorithm::Rs384, "RS384"),
    (Algorithm::Rs512, "RS512"),
    (Algorithm::Ps256, "PS256"),
    (Algorithm::Ps384, "PS384"),
    (Algorithm::Ps512, "PS512"),
    (Algorithm::Es256, "ES256"),
    (Algorithm::Es384, "ES384"),
    (Algorithm::EdDsa, "EdDSA"),
];

/// The name of an algorithm.
pub fn name(algorithm: Algorithm) -> &'static str {
    ALGORITHMS.iter().find(|(one, _)| *one == algorithm).expect("all are there").1
}

/// The text in base64 for tokens.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token with this header and this payload, signed for this algorithm, whatever the header says.
pub fn sign(algorithm: Algorithm, header: &str, payload: &str) -> String {
    let message = format!("{}.{}", base64(header), base64(payload));
    let signature = signature_of(algorithm, message.as_bytes());
    format!("{message}.{signature}")
}

/// A token as issuers make it.
pub fn token(algorithm: Algorithm, claims: &Value) -> String {
    sign(algorithm, &json!({"alg": name(algorithm), "typ": "JWT"}).to_string(), &claims.to_string())
}

/// The private half of the algorithm's key signs.
fn signature_of(algorithm: Algorithm, message: &[u8]) -> String {
    let by = |key: &EncodingKey, algorithm| jsonwebtoken::crypto::sign(message, key, algorithm).expect("a signature");
    let ec = |pair: &EcdsaKeyPair| EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("PKCS #8").as_ref());
    match algorithm {
        Algorithm::Hs256 => by(&EncodingKey::from_secret(SECRET), Jws::HS256),
        Algorithm::Hs384 => by(&EncodingKey::from_secret(SECRET), Jws::HS384),
        Algorithm::Hs512 => by(&EncodingKey::from_secret(SECRET), Jws::HS512),
        Algorithm::Es256 => by(&ec(&P256), Jws::ES256),
        Algorithm::Es384 => by(&ec(&P384), Jws::ES384),
        Algorithm::EdDsa => {
            let der: Pkcs8V1Der<'_> = ED.as_der().expect("PKCS #8");
            by(&EncodingKey::from_ed_der(der.as_ref()), Jws::EdDSA)
        }
        Algorithm::Rs256 => by_rsa(&signature::RSA_PKCS1_SHA256, message),
        Algorithm::Rs384 => by_rsa(&signature::RSA_PKCS1_SHA384, message),
        Algorithm::Rs512 => by_rsa(&signature::RSA_PKCS1_SHA512, message),
        Algorithm::Ps256 => by_rsa(&signature::RSA_PSS_SHA256, message),
        Algorithm::Ps384 => by_rsa(&signature::RSA_PSS_SHA384, message),
        Algorithm::Ps512 => by_rsa(&signature::RSA_PSS_SHA512, message),
    }
}

fn by_rsa(encoding: &'static dyn RsaEncoding, message: &[u8]) -> String {
    let mut signature = vec![0; RSA.public_modulus_len()];
    RSA.sign(encoding, &SystemRandom::new(), message, &mut signature).expect("a signature");
    base64(signature)
}

/// The key that vouches for an algorithm as a JWK, with `alg`.
pub fn jwk(algorithm: Algorithm) -> Value {
    let point = |crv, point: &[u8]| {
        let (x, y) = point.get(1..).expect("a point").split_at(point.len() / 2);
        json!({"kty": "EC", "crv": crv, "x": base64(x), "y": base64(y)})
    };
    let mut jwk = match algorithm {
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => json!({"kty": "oct", "k": base64(SECRET)}),
        Algorithm::Es256 => point("P-256", P256.public_key().as_ref()),
        Algorithm::Es384 => point("P-384", P384.public_key().as_ref()),
        Algorithm::EdDsa => json!({"kty": "OKP", "crv": "Ed25519", "x": base64(ED.public_key())}),
        _ => {
            let key = RsaPublicKeyComponents::<Vec<u8>>::from(RSA.public_key());
            json!({"kty": "RSA", "n": base64(key.n), "e": base64(key.e)})
        }
    };
    jwk["alg"] = name(algorithm).into();
    jwk
}

/// The public key of an algorithm in PEM; nothing for a shared secret.
pub fn pem(algorithm: Algorithm) -> String {
    let der: PublicKeyX509Der<'_> = match algorithm {
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => return String::new(),
        Algorithm::Es256 => P256.public_key().as_der(),
        Algorithm::Es384 => P384.public_key().as_der(),
        Algorithm::EdDsa => ED.public_key().as_der(),
        _ => RSA.public_key().as_der(),
    }
    .expect("a public key");
    pem_of("PUBLIC KEY", der.as_ref())
}

/// The public RSA key in the PEM of PKCS #1.
pub fn pem_of_pkcs1() -> String {
    pem_of("RSA PUBLIC KEY", RSA.public_key().as_ref())
}

/// The private key for `ES256` in PEM.
pub fn private_pem() -> String {
    pem_of("PRIVATE KEY", P256.to_pkcs8v1().expect("PKCS #8").as_ref())
}

fn pem_of(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
