use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::key::Key;
use super::super::read;
use super::super::signers::{ALGORITHMS, SECRET, base64, jwk, pem, sign, token};
use super::*;
use crate::config::{Algorithm, KeySet};

/// A moment, in milliseconds since 1970.
const NOW: u64 = 1_800_000_000_000;

/// The same in seconds, as tokens say it.
const SECOND: i64 = 1_800_000_000;

fn jwks(keys: &[Value]) -> Keys {
    let document = json!({ "keys": keys }).to_string();
    Keys::new(read::read(&KeySet::Jwks("keys".into()), document.as_bytes()).expect("usable keys"))
}

fn hs256() -> Keys {
    jwks(&[jwk(Algorithm::Hs256)])
}

fn rules() -> Rules {
    Rules { claims: vec!["sub".into()], ..Rules::default() }
}

fn check(rules: Rules, keys: &Keys, token: &str, now: u64) -> Result<Verified, Failure> {
    Verifier::new(rules).expect("good pointers").verify(keys, token, now)
}

fn outcome(rules: Rules, claims: &Value) -> Result<Verified, Failure> {
    check(rules, &hs256(), &token(Algorithm::Hs256, claims), NOW)
}

fn with_header(header: &str) -> Result<Verified, Failure> {
    check(rules(), &hs256(), &sign(Algorithm::Hs256, header, r#"{"sub":"ada"}"#), NOW)
}

fn ada(until: Option<u64>) -> Result<Verified, Failure> {
    Ok(Verified { claims: vec![Some("ada".into())], until })
}

#[test]
fn every_algorithm_is_verified_with_its_key_and_no_other() {
    let claims = json!({"sub": "ada"});
    for (algorithm, _) in ALGORITHMS {
        for (other, _) in ALGORITHMS {
            let expected = if algorithm == other { ada(None) } else { Err(Failure::Untrusted) };
            let answer = check(rules(), &jwks(&[jwk(other)]), &token(algorithm, &claims), NOW);
            assert_eq!(answer, expected, "{algorithm:?} against the key for {other:?}");
        }
    }
}

#[test]
fn a_key_without_alg_has_one_algorithm_all_the_same() {
    for (algorithm, default) in [
        (Algorithm::Rs256, true),
        (Algorithm::Rs512, false),
        (Algorithm::Ps256, false),
        (Algorithm::Es256, true),
        (Algorithm::Es384, true),
        (Algorithm::EdDsa, true),
    ] {
        let mut key = jwk(algorithm);
        key.as_object_mut().expect("an object").remove("alg");
        let answer = check(rules(), &jwks(&[key]), &token(algorithm, &json!({"sub": "ada"})), NOW);
        assert_eq!(answer, if default { ada(None) } else { Err(Failure::Untrusted) }, "{algorithm:?}");
    }
}

#[test]
fn a_public_key_is_no_secret() {
    // The classic: an RSA key's text, which everybody has, as the secret of an HMAC.
    let message = format!("{}.{}", base64(r#"{"alg":"HS256"}"#), base64(r#"{"sub":"ada"}"#));
    for text in [pem(Algorithm::Rs256), pem(Algorithm::Rs256).trim_end().to_owned()] {
        let secret = jsonwebtoken::EncodingKey::from_secret(text.as_bytes());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &secret, jsonwebtoken::Algorithm::HS256)
            .expect("a signature");
        let forged = format!("{message}.{signature}");
        let source = KeySet::Pem { file: "key.pem".into(), algorithm: Algorithm::Rs256 };
        let keys = Keys::new(read::read(&source, text.as_bytes()).expect("a key"));
        assert_eq!(check(rules(), &keys, &forged, NOW), Err(Failure::Untrusted));
        assert_eq!(check(rules(), &jwks(&[jwk(Algorithm::Rs256)]), &forged, NOW), Err(Failure::Untrusted));
    }
}

#[test]
fn none_is_no_algorithm() {
    for name in ["none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "ES256K", "dir"] {
        let header = json!({ "alg": name }).to_string();
        assert_eq!(with_header(&header), Err(Failure::Untrusted), "{name}");
        let unsigned = format!("{}.{}.", base64(&header), base64(r#"{"sub":"ada"}"#));
        assert_eq!(check(rules(), &hs256(), &unsigned, NOW), Err(Failure::Untrusted), "{name}");
    }
}

#[test]
fn a_signature_that_is_missing_or_anothers_is_untrusted() {
    let good = token(Algorithm::Hs256, &json!({"sub": "ada"}));
    let other = token(Algorithm::Hs256, &json!({"sub": "bob"}));
    let (message, _) = good.rsplit_once('.').expect("a token");
    let (_, signature) = other.rsplit_once('.').expect("a token");
    for forged in
        [format!("{message}."), format!("{message}.{signature}"), format!("{message}.!!"), format!("{good}AA")]
    {
        assert_eq!(check(rules(), &hs256(), &forged, NOW), Err(Failure::Untrusted), "{forged}");
    }
}

#[test]
fn a_key_that_the_token_brings_is_nothing_to_us() {
    let own = jwk(Algorithm::Es256);
    let header =
        json!({"alg": "ES256", "jwk": own, "jku": "https://example.com/k", "x5c": ["MII"], "x5u": "https://x"});
    let forged = sign(Algorithm::Es256, &header.to_string(), r#"{"sub":"ada"}"#);
    assert_eq!(check(rules(), &hs256(), &forged, NOW), Err(Failure::Untrusted));
    // With the key in the set it is the set that vouches.
    assert_eq!(check(rules(), &jwks(&[own]), &forged, NOW), ada(None));
}

#[test]
fn a_key_is_found_by_its_name_or_tried() {
    let named = |name: &str, mut key: Value| {
        key["kid"] = name.into();
        key
    };
    let wrong = json!({"kty": "oct", "alg": "HS256", "k": base64([9; 32])});
    let header = |id: Value| json!({"alg": "HS256", "kid": id}).to_string();
    let answer = |keys: &[Value], header: &str| {
        check(rules(), &jwks(keys), &sign(Algorithm::Hs256, header, r#"{"sub":"ada"}"#), NOW)
    };
    let (good, plain) = (jwk(Algorithm::Hs256), r#"{"alg":"HS256"}"#);
    assert_eq!(answer(&[named("a", wrong.clone()), named("b", good.clone())], &header("b".into())), ada(None));
    assert_eq!(
        answer(&[named("a", wrong.clone()), named("a", good.clone())], &header("a".into())),
        ada(None),
        "one name twice"
    );
    assert_eq!(
        answer(&[named("a", wrong.clone()), named("b", good.clone())], &header("a".into())),
        Err(Failure::Untrusted)
    );
    assert_eq!(answer(&[named("b", good.clone())], &header("../../dev/null".into())), Err(Failure::Untrusted));
    assert_eq!(answer(&[named("b", good.clone())], &header("' OR 1=1 --".into())), Err(Failure::Untrusted));
    assert_eq!(
        answer(std::slice::from_ref(&good), &header("any".into())),
        ada(None),
        "a key without a name may be meant"
    );
    assert_eq!(
        answer(&[named("a", wrong.clone()), named("b", good.clone())], plain),
        ada(None),
        "no name: all are tried"
    );
    assert_eq!(answer(std::slice::from_ref(&good), &header(json!(7))), Err(Failure::Malformed));
    let mut many = vec![wrong; MOST_TRIES];
    many.push(good);
    assert_eq!(answer(&many, plain), Err(Failure::Untrusted), "but not more than a few");
}

#[test]
fn a_critical_header_is_refused_whatever_it_names() {
    for critical in [r#"["b64"]"#, r#"["exp"]"#, "[]", "null", r#""x""#] {
        let header = format!(r#"{{"alg":"HS256","b64":false,"exp":1,"crit":{critical}}}"#);
        assert_eq!(with_header(&header), Err(Failure::Malformed), "{critical}");
    }
}

#[test]
fn what_has_no_single_meaning_is_malformed() {
    for header in [
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":null}"#,
        r#"{"alg":"HS256"} {}"#,
        r#"["HS256",null,null]"#,
        r#"["HS256",null,null,false]"#,
        "7",
        "",
        "\u{feff}{\"alg\":\"HS256\"}",
    ] {
        assert_eq!(with_header(header), Err(Failure::Malformed), "{header}");
    }
    for payload in [
        r#"["sub"]"#,
        "7",
        r#""sub""#,
        "null",
        "",
        "{",
        r#"{"sub":"ada"}x"#,
        r#"{"sub":"ada","sub":"bob"}"#,
        r#"{"sub":"ada","s\u0075b":"bob"}"#,
        r#"{"sub":"\ud800"}"#,
    ] {
        let token = sign(Algorithm::Hs256, r#"{"alg":"HS256"}"#, payload);
        assert_eq!(check(rules(), &hs256(), &token, NOW), Err(Failure::Malformed), "{payload}");
    }
}

#[test]
fn what_is_no_compact_token_is_malformed() {
    let good = token(Algorithm::Hs256, &json!({"sub": "ada"}));
    let padded = good.replacen('.', "=.", 1);
    for text in ["", ".", "..", "a", "a.b", "a.b.c.d.e", &format!(" {good}"), &format!("Bearer {good}"), &padded] {
        assert_eq!(check(rules(), &hs256(), text, NOW), Err(Failure::Malformed), "{text}");
    }
    let not_text = format!("{}.{}", base64(r#"{"alg":"HS256"}"#), base64([b'"', 0xff, b'"']));
    let secret = jsonwebtoken::EncodingKey::from_secret(SECRET);
    let signature =
        jsonwebtoken::crypto::sign(not_text.as_bytes(), &secret, jsonwebtoken::Algorithm::HS256).expect("a signature");
    assert_eq!(check(rules(), &hs256(), &format!("{not_text}.{signature}"), NOW), Err(Failure::Malformed));
}

#[test]
fn a_token_may_be_long_but_not_too_long() {
    let of = |bytes: usize| token(Algorithm::Hs256, &json!({"sub": "ada", "pad": "x".repeat(bytes)}));
    assert_eq!(check(rules(), &hs256(), &of(12_000), NOW), ada(None));
    assert_eq!(check(rules(), &hs256(), &of(12_500), NOW), Err(Failure::Malformed));
    assert_eq!(check(rules(), &hs256(), &of(5_000_000), NOW), Err(Failure::Malformed));
    let deep = format!(r#"{{"sub":"ada","x":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    let token = sign(Algorithm::Hs256, r#"{"alg":"HS256"}"#, &deep);
    let _ = check(Rules { claims: vec!["/x/0/0".into(), "x".into(), String::new()], ..rules() }, &hs256(), &token, NOW);
}

#[test]
fn expiry_is_a_boundary_with_leeway() {
    let at =
        |exp: Value, leeway_seconds| outcome(Rules { leeway_seconds, ..rules() }, &json!({"sub": "ada", "exp": exp}));
    assert_eq!(at(json!(SECOND + 1), 0), ada(Some(NOW + 1000)));
    assert_eq!(at(json!(SECOND), 0), Err(Failure::Expired), "at the moment itself it is over");
    assert_eq!(at(json!(SECOND), 1), ada(Some(NOW + 1000)));
    assert_eq!(at(json!(SECOND - 60), 60), Err(Failure::Expired));
    assert_eq!(at(json!(SECOND - 59), 60), ada(Some(NOW + 1000)));
    assert_eq!(at(json!(1_800_000_000.25), 0), ada(Some(NOW + 250)));
    assert_eq!(at(json!(-1), 0), Err(Failure::Expired));
    assert_eq!(at(json!(1e300), 0), ada(Some(u64::MAX)));
    for nonsense in [json!("1900000000"), json!(null), json!([SECOND]), json!(true), json!({})] {
        assert_eq!(at(nonsense.clone(), 0), Err(Failure::Malformed), "{nonsense}");
    }
    let token = sign(Algorithm::Hs256, r#"{"alg":"HS256"}"#, r#"{"sub":"ada","exp":1e999}"#);
    assert_eq!(check(rules(), &hs256(), &token, NOW), Err(Failure::Malformed));
}

#[test]
fn not_before_is_a_boundary_with_leeway() {
    let at = |nbf: i64, leeway_seconds| {
        outcome(Rules { leeway_seconds, ..rules() }, &json!({"sub": "ada", "nbf": nbf, "exp": SECOND + 100}))
    };
    assert_eq!(at(SECOND, 0), ada(Some(NOW + 100_000)));
    assert_eq!(at(SECOND + 1, 0), Err(Failure::NotYetValid { until: NOW + 1000 }));
    assert_eq!(at(SECOND + 60, 60), ada(Some(NOW + 160_000)));
    assert_eq!(at(SECOND + 61, 60), Err(Failure::NotYetValid { until: NOW + 1000 }));
    assert_eq!(at(SECOND + 900, 0), Err(Failure::NotYetValid { until: NOW + 100_000 }), "it will expire first");
    assert_eq!(outcome(rules(), &json!({"sub": "ada", "nbf": "x"})), Err(Failure::Malformed));
}

#[test]
fn issuer_and_audience_are_one_of_those_accepted() {
    let both = || Rules { issuers: vec!["i".into(), "j".into()], audiences: vec!["a".into(), "b".into()], ..rules() };
    let of = |iss: Value, aud: Value| outcome(both(), &json!({"sub": "ada", "iss": iss, "aud": aud}));
    for (iss, aud) in [(json!("i"), json!("a")), (json!("j"), json!(["x", "b"])), (json!("i"), json!([7, "a"]))] {
        assert_eq!(of(iss, aud), ada(None));
    }
    for iss in [json!("x"), json!(""), json!("I"), json!(["i"]), json!(null), json!(7), json!("i ")] {
        assert_eq!(of(iss.clone(), json!("a")), Err(Failure::Unacceptable(Rule::Issuer)), "{iss}");
    }
    for aud in [json!("x"), json!("a,b"), json!([]), json!([["a"]]), json!({"a": "a"}), json!(null), json!("A")] {
        assert_eq!(of(json!("i"), aud.clone()), Err(Failure::Unacceptable(Rule::Audience)), "{aud}");
    }
    assert_eq!(outcome(both(), &json!({"sub": "ada"})), Err(Failure::Unacceptable(Rule::Issuer)));
    assert_eq!(outcome(rules(), &json!({"sub": "ada", "iss": "x", "aud": 7})), ada(None), "no rule, no matter");
}

#[test]
fn the_kind_is_compared_as_a_media_type() {
    let of = |kind: &str, typ: Value| {
        let header = json!({"alg": "HS256", "typ": typ}).to_string();
        let token = sign(Algorithm::Hs256, &header, r#"{"sub":"ada"}"#);
        check(Rules { kind: Some(kind.into()), ..rules() }, &hs256(), &token, NOW)
    };
    for (kind, typ) in [
        ("at+jwt", "at+jwt"),
        ("at+jwt", "AT+JWT"),
        ("at+jwt", "application/at+jwt"),
        ("application/at+jwt", "at+jwt"),
        ("JWT", "Application/jwt"),
    ] {
        assert_eq!(of(kind, typ.into()), ada(None), "{kind} {typ}");
    }
    for (kind, typ) in
        [("at+jwt", json!("JWT")), ("at+jwt", json!(null)), ("at+jwt", json!("text/at+jwt")), ("a", json!(""))]
    {
        assert_eq!(of(kind, typ.clone()), Err(Failure::Unacceptable(Rule::Kind)), "{kind} {typ}");
    }
}

#[test]
fn required_claims_are_there_and_not_null() {
    let of = |claim: &str, claims: &Value| outcome(Rules { required: vec![claim.into()], ..rules() }, claims);
    assert_eq!(of("exp", &json!({"sub": "ada"})), Err(Failure::Unacceptable(Rule::Required)));
    assert_eq!(of("x", &json!({"sub": "ada", "x": null})), Err(Failure::Unacceptable(Rule::Required)));
    assert_eq!(of("/x/y", &json!({"sub": "ada", "x": {"y": 0}})), ada(None));
    assert_eq!(of("x", &json!({"sub": "ada", "x": ""})), ada(None));
}

#[test]
fn claims_come_in_the_order_of_the_rules() {
    let claims =
        ["/realm/roles", "missing", "sub", "email_verified", "null", "/realm/roles/0"].map(String::from).to_vec();
    let payload = json!({"sub": "ada", "realm": {"roles": ["x", "y"]}, "email_verified": true, "null": null});
    let verified = outcome(Rules { claims, ..Rules::default() }, &payload).expect("good");
    let expected =
        [Some(r#"["x","y"]"#), None, Some("ada"), Some("true"), None, Some("x")].map(|text| text.map(String::from));
    assert_eq!(verified.claims, expected);
    assert_eq!(Verifier::new(Rules { claims: vec!["/~".into()], ..rules() }).err(), Some(BadPointer("/~".into())));
}

#[test]
fn a_set_without_keys_says_so_to_what_looks_like_a_token() {
    let none = Keys::new(read::Read::default());
    assert_eq!(check(rules(), &none, &token(Algorithm::Es256, &json!({})), NOW), Err(Failure::KeysUnavailable));
    assert_eq!(check(rules(), &none, "garbage", NOW), Err(Failure::Malformed));
}

fn one_key(algorithm: Algorithm) -> Keys {
    jwks(&[jwk(algorithm)])
}

proptest! {
    #[test]
    fn no_text_verifies_or_panics(text in prop_oneof![any::<String>(), "[A-Za-z0-9_.-]{0,200}", "[ey.A-Z=]{0,40}"]) {
        prop_assert!(check(rules(), &hs256(), &text, NOW).is_err());
    }

    #[test]
    fn no_header_or_payload_panics_even_when_it_is_signed(
        header in any::<String>(), payload in any::<String>(), claim in any::<String>(),
    ) {
        let Ok(verifier) = Verifier::new(Rules { claims: vec![claim], ..rules() }) else { return Ok(()) };
        let _ = verifier.verify(&hs256(), &sign(Algorithm::Hs256, &header, r#"{"exp":1}"#), NOW);
        let _ = verifier.verify(&hs256(), &sign(Algorithm::Hs256, r#"{"alg":"HS256"}"#, &payload), NOW);
    }

    #[test]
    fn a_token_that_differs_in_one_bit_fails(place in any::<prop::sample::Index>(), bit in 0..7_u32) {
        for algorithm in [Algorithm::Hs256, Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
            let keys = one_key(algorithm);
            let mut bytes = token(algorithm, &json!({"sub": "ada", "admin": false})).into_bytes();
            let place = place.index(bytes.len());
            bytes[place] ^= 1_u8 << bit;
            let forged = String::from_utf8(bytes).expect("ASCII");
            prop_assert!(check(rules(), &keys, &forged, NOW).is_err(), "{algorithm:?} {forged}");
        }
    }

    #[test]
    fn an_answer_holds_until_its_moment(
        exp in prop::option::of(990..1010_i64), nbf in prop::option::of(990..1010_i64), leeway_seconds in 0..4_u32,
        good in any::<bool>(), now in 985_000..1_015_000_u64, later in 0..30_000_u64,
    ) {
        let mut claims = json!({"sub": "ada"});
        for (name, value) in [("exp", exp), ("nbf", nbf)] {
            if let Some(value) = value {
                claims[name] = value.into();
            }
        }
        let issuers = if good { vec![] } else { vec!["i".into()] };
        let token = token(Algorithm::Hs256, &claims);
        let verifier = Verifier::new(Rules { leeway_seconds, issuers, ..rules() }).expect("good");
        let keys = hs256();
        let answer = verifier.verify(&keys, &token, now);
        let until = match &answer {
            Ok(verified) => verified.until,
            Err(failure) => failure.until(),
        };
        prop_assert!(until.is_none_or(|until| until > now));
        let before = until.map_or(now + later, |until| (now + later).min(until - 1));
        prop_assert_eq!(&verifier.verify(&keys, &token, before), &answer);
        if let Some(until) = until {
            prop_assert_ne!(verifier.verify(&keys, &token, until), answer);
        }
    }
}

#[test]
fn a_key_shows_nothing_of_its_secret() {
    let key = Key::secret(None, Algorithm::Hs256, SECRET).expect("a key");
    assert_eq!(format!("{key:?}"), "Key { id: None, algorithm: Hs256, .. }");
}
