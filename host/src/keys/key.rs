//! One key and the one algorithm that it vouches for.

use std::fmt;

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents, VerificationAlgorithm};
use jsonwebtoken::{Algorithm as Jws, DecodingKey};

use crate::config::Algorithm;

/// Shorter moduli are refused: RFC 7518, section 3.3.
const LEAST_RSA_BITS: usize = 2048;

/// Longer moduli are refused: each check would cost too much, and the library verifies none.
const MOST_RSA_BITS: usize = 8192;

/// One key. It vouches for signatures of its algorithm and no other (RFC 8725, section 3.1).
pub struct Key {
    /// What tokens may call it; `None`: tokens cannot name it, and it is tried for every token of its algorithm.
    pub id: Option<Box<str>>,
    /// The algorithm that it vouches for.
    pub algorithm: Algorithm,
    material: DecodingKey,
}

/// Why a key is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum KeyFault {
    #[error("a secret of {bytes} bytes; {least} is the least for this algorithm")]
    ShortSecret { bytes: usize, least: usize },
    #[error("an RSA key of {bits} bits; {LEAST_RSA_BITS} to {MOST_RSA_BITS} are taken")]
    RsaBits { bits: usize },
    #[error("not a key for this algorithm, or damaged")]
    Unfit,
}

impl Key {
    /// A shared secret for `HS256`, `HS384` or `HS512`.
    ///
    /// # Errors
    ///
    /// The secret is shorter than the hash (RFC 7518, section 3.2), or the algorithm is no HMAC.
    pub fn secret(id: Option<Box<str>>, algorithm: Algorithm, secret: &[u8]) -> Result<Key, KeyFault> {
        let least = match algorithm {
            Algorithm::Hs256 => 32,
            Algorithm::Hs384 => 48,
            Algorithm::Hs512 => 64,
            _ => return Err(KeyFault::Unfit),
        };
        match secret.len() < least {
            true => Err(KeyFault::ShortSecret { bytes: secret.len(), least }),
            false => Ok(Key { id, algorithm, material: DecodingKey::from_secret(secret) }),
        }
    }

    /// A public RSA key from its big-endian modulus and exponent.
    ///
    /// # Errors
    ///
    /// It is too short, too long or not one, or the algorithm is none of RSA's.
    pub fn rsa(id: Option<Box<str>>, algorithm: Algorithm, n: &[u8], e: &[u8]) -> Result<Key, KeyFault> {
        if !is_rsa(algorithm) {
            return Err(KeyFault::Unfit);
        }
        let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
        let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        if !(LEAST_RSA_BITS..=MOST_RSA_BITS).contains(&bits) {
            return Err(KeyFault::RsaBits { bits });
        }
        // An exponent of 1 would let everybody sign, and the library does not mind.
        if matches!(e, [] | [0..=2]) || e.last().is_some_and(|last| last % 2 == 0) {
            return Err(KeyFault::Unfit);
        }
        let whole = RsaPublicKeyComponents { n, e }.to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256);
        whole.map_err(|_| KeyFault::Unfit)?;
        Ok(Key { id, algorithm, material: DecodingKey::from_rsa_raw_components(n, e) })
    }

    /// A public key on a curve from its point: uncompressed for `ES256` and `ES384`, 32 bytes for `EdDSA`.
    ///
    /// # Errors
    ///
    /// The point is not on the algorithm's curve, or the algorithm has none.
    pub fn point(id: Option<Box<str>>, algorithm: Algorithm, point: &[u8]) -> Result<Key, KeyFault> {
        let (curve, length): (&'static dyn VerificationAlgorithm, usize) = match algorithm {
            Algorithm::Es256 => (&signature::ECDSA_P256_SHA256_FIXED, 65),
            Algorithm::Es384 => (&signature::ECDSA_P384_SHA384_FIXED, 97),
            Algorithm::EdDsa => (&signature::ED25519, 32),
            _ => return Err(KeyFault::Unfit),
        };
        if point.len() != length {
            return Err(KeyFault::Unfit);
        }
        ParsedPublicKey::new(curve, point).map_err(|_| KeyFault::Unfit)?;
        let material = match algorithm {
            Algorithm::EdDsa => DecodingKey::from_ed_der(point),
            _ => DecodingKey::from_ec_der(point),
        };
        Ok(Key { id, algorithm, material })
    }

    /// Whether this key made this signature, in base64, of this message.
    pub fn signed(&self, message: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.material, jws(self.algorithm))
            .unwrap_or(false)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Key").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// The algorithm of this name in a token or a JWK; `None` for `none` and for all that is not known.
pub fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "HS256" => Algorithm::Hs256,
        "HS384" => Algorithm::Hs384,
        "HS512" => Algorithm::Hs512,
        "RS256" => Algorithm::Rs256,
        "RS384" => Algorithm::Rs384,
        "RS512" => Algorithm::Rs512,
        "PS256" => Algorithm::Ps256,
        "PS384" => Algorithm::Ps384,
        "PS512" => Algorithm::Ps512,
        "ES256" => Algorithm::Es256,
        "ES384" => Algorithm::Es384,
        // RFC 9864 gives the only curve that we take a name of its own.
        "EdDSA" | "Ed25519" => Algorithm::EdDsa,
        _ => return None,
    })
}

/// Whether it is one of RSA's algorithms.
pub fn is_rsa(algorithm: Algorithm) -> bool {
    use Algorithm::{Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
    matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512)
}

fn jws(algorithm: Algorithm) -> Jws {
    match algorithm {
        Algorithm::Hs256 => Jws::HS256,
        Algorithm::Hs384 => Jws::HS384,
        Algorithm::Hs512 => Jws::HS512,
        Algorithm::Rs256 => Jws::RS256,
        Algorithm::Rs384 => Jws::RS384,
        Algorithm::Rs512 => Jws::RS512,
        Algorithm::Ps256 => Jws::PS256,
        Algorithm::Ps384 => Jws::PS384,
        Algorithm::Ps512 => Jws::PS512,
        Algorithm::Es256 => Jws::ES256,
        Algorithm::Es384 => Jws::ES384,
        Algorithm::EdDsa => Jws::EdDSA,
    }
}

fn without_leading_zeros(mut number: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = number {
        number = rest;
    }
    number
}
