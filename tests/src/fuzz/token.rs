//! Tokens: the first line is a header, the rest claims, both signed as they are; or, without a line's end, a whole token.

use std::sync::LazyLock;

use gatewright::config::{Algorithm, KeySet, SecretSource};
use gatewright::keys::{Keys, Rules, Verified, Verifier};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::SECRET;
use crate::token::{Key, signed};

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let source = KeySet::Secret { from: SecretSource::File("".into()), algorithm: Algorithm::Hs256 };
    Keys::read(&source, SECRET.as_bytes()).unwrap()
});
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let claims = ["sub", "/a/b", "/a/0", ""].map(str::to_owned).to_vec();
    Verifier::new(Rules { claims, required: vec!["sub".into()], leeway_seconds: 1, ..Rules::default() }).unwrap()
});
/// In milliseconds since 1970.
const NOW: u64 = 1_800_000_000_000;

/// Tries bytes as a token.
///
/// # Panics
/// Something does not hold.
pub fn hold(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        let forged = VERIFIER.verify(&KEYS, &String::from_utf8_lossy(bytes), NOW);
        assert!(forged.is_err(), "nobody else has the secret");
        return;
    };
    let (header, claims) = (&bytes[..end], &bytes[end + 1..]);
    let token = signed(header, claims, &Key::secret(SECRET));
    let verified = VERIFIER.verify(&KEYS, &token, NOW);
    let until = match &verified {
        Ok(verified) => verified.until,
        Err(failure) => failure.until(),
    };
    if let Some(until) = until.filter(|until| *until > 0) {
        assert!(until > NOW, "an answer that has ended: {verified:?}");
        assert_eq!(VERIFIER.verify(&KEYS, &token, until - 1), verified, "it holds until then");
        assert_ne!(VERIFIER.verify(&KEYS, &token, until), verified, "and changes then");
    }
    if let Ok(verified) = verified {
        says_the_same(header, claims, verified);
    }
}

/// Somebody else who reads the token reads the same.
fn says_the_same(header: &[u8], claims: &[u8], verified: Verified) {
    let (Some(header), Some(document)) = (json(header), json(claims)) else { return };
    assert_eq!(header["alg"], "HS256");
    assert!(header.get("crit").is_none());
    let expected = [Some(&document["sub"]), document.pointer("/a/b"), document.pointer("/a/0"), Some(&document)];
    assert!(!document["sub"].is_null(), "it is required");
    for (claim, expected) in verified.claims.into_iter().zip(expected) {
        let expected = expected.filter(|value| !value.is_null());
        let read = claim.map(|text| match expected {
            Some(Value::String(_)) => Value::String(text),
            _ => serde_json::from_str(&text).expect("what is no string is JSON"),
        });
        assert_eq!(read.as_ref(), expected);
    }
}

/// None: JSON by its grammar, of which a tree cannot be made: half a surrogate pair, a number beyond all bounds.
fn json(text: &[u8]) -> Option<Value> {
    let _: IgnoredAny = serde_json::from_slice(text).expect("it is JSON");
    serde_json::from_slice(text).ok()
}
