//! Sources of keys: JWKS, PEM and secrets.

use gatewright::config::{Algorithm, KeySet, SecretSource};
use gatewright::keys::{Keys, Rules, Verifier};

use crate::token::{Key, token};

/// Tries bytes as each of them.
///
/// # Panics
/// Something does not hold.
pub fn hold(bytes: &[u8]) {
    let file = std::path::PathBuf::new();
    let sources = [
        KeySet::Jwks(file.clone()),
        KeySet::Pem { file: file.clone(), algorithm: Algorithm::Rs256 },
        KeySet::Pem { file: file.clone(), algorithm: Algorithm::Es256 },
        KeySet::Pem { file: file.clone(), algorithm: Algorithm::EdDsa },
        KeySet::Secret { from: SecretSource::File(file), algorithm: Algorithm::Hs256 },
    ];
    for source in sources {
        let Ok(keys) = Keys::read(&source, bytes) else { continue };
        assert!(!keys.is_empty() || matches!(source, KeySet::Jwks(_)), "a source without keys is at fault");
        if !keys.is_empty() {
            trusts_nobody_else(&keys);
        }
    }
}

/// Whatever the keys are, a token of a secret that they do not have is not theirs.
fn trusts_nobody_else(keys: &Keys) {
    let verifier = Verifier::new(Rules::default()).unwrap();
    for token in [token("ada").signed_by(&Key::secret(OTHER)), token("ada").unsigned()] {
        assert!(verifier.verify(keys, &token, 0).is_err(), "{token}");
    }
}

/// No source holds it: seeds are shorter.
const OTHER: &str = "a secret of somebody else, who is not asked for it: 4f1d0c3b2a5968778695a4b3c2d1e0f5";
