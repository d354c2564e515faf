use std::os::unix::fs::symlink;
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::json;

use super::read::read;
use super::signers::{ALGORITHMS, SECRET, base64, jwk, pem, pem_of_pkcs1, private_pem, token};
use super::*;

/// Notices take milliseconds; this long is for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("gatewright-keys-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a new folder");
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), content).expect("written");
        self.path(name)
    }

    /// Puts a whole new file in place, as editors and deployments do.
    fn replace(&self, name: &str, content: impl AsRef<[u8]>) {
        let new = self.write(".new", content);
        std::fs::rename(new, self.path(name)).expect("renamed");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn jwks(keys: &[serde_json::Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn one(source: config::KeySet) -> (KeySets, Arc<KeySet>) {
    let sets = KeySets::load(&BTreeMap::from([("k".into(), source)]), &KeySets::default());
    let set = sets.get("k").expect("it was named").clone();
    (sets, set)
}

fn accepts(keys: &Keys, algorithm: Algorithm) -> bool {
    let verifier = Verifier::new(Rules::default()).expect("good");
    verifier.verify(keys, &token(algorithm, &json!({"sub": "ada"})), 0).is_ok()
}

fn fault(source: &config::KeySet, content: &str) -> String {
    read(source, content.as_bytes()).expect_err("refused").to_string()
}

#[test]
fn every_kind_of_source_gives_its_key() {
    let folder = Folder::new();
    for (algorithm, name) in ALGORITHMS {
        let hmac = name.starts_with("HS");
        let source = match hmac {
            true => {
                let file = folder.write(name, [SECRET.as_slice(), b"\r\n\n"].concat());
                config::KeySet::Secret { from: SecretSource::File(file), algorithm }
            }
            false => config::KeySet::Pem { file: folder.write(name, pem(algorithm)), algorithm },
        };
        assert!(accepts(&one(source).1.current(), algorithm), "{name}");
    }
    let algorithm = Algorithm::Rs256;
    let source = config::KeySet::Pem { file: folder.write("pkcs1", pem_of_pkcs1()), algorithm };
    assert!(accepts(&one(source).1.current(), algorithm));
    let all: Vec<_> = ALGORITHMS.iter().map(|(algorithm, _)| jwk(*algorithm)).collect();
    let (_, set) = one(config::KeySet::Jwks(folder.write("jwks", jwks(&all))));
    assert!(ALGORITHMS.iter().all(|(algorithm, _)| accepts(&set.current(), *algorithm)));
    assert_eq!(set.state().keys, 12);
}

#[test]
fn an_environment_variable_is_a_secret_that_must_be_long_enough() {
    let of = |name: &str| {
        let from = SecretSource::Environment(name.into());
        one(config::KeySet::Secret { from, algorithm: Algorithm::Hs256 }).1.state().fault
    };
    assert_eq!(
        of("CARGO_PKG_VERSION_MAJOR").as_deref(),
        Some("a secret of 1 bytes; 32 is the least for this algorithm")
    );
    assert_eq!(of("GATEWRIGHT_IS_NOT_SET").as_deref(), Some("the environment variable is not set, or not UTF-8"));
}

#[test]
fn weak_and_unfit_keys_are_refused_with_the_reason() {
    let secret = |algorithm| config::KeySet::Secret { from: SecretSource::Environment(String::new()), algorithm };
    let of_pem = |algorithm| config::KeySet::Pem { file: PathBuf::new(), algorithm };
    let set = config::KeySet::Jwks(PathBuf::new());
    let of_jwk = |key: serde_json::Value| fault(&set, &jwks(&[key]));
    let with = |algorithm, name: &str, value: serde_json::Value| {
        let mut key = jwk(algorithm);
        key[name] = value;
        of_jwk(key)
    };
    for (given, expected) in [
        (fault(&secret(Algorithm::Hs256), &"x".repeat(31)), "a secret of 31 bytes; 32 is the least for this algorithm"),
        (
            fault(&secret(Algorithm::Hs512), &format!("{}\n", "x".repeat(63))),
            "a secret of 63 bytes; 64 is the least for this algorithm",
        ),
        (
            fault(&of_pem(Algorithm::Es256), &private_pem()),
            "holds a private key; give the public one alone (`openssl pkey -pubout`)",
        ),
        (fault(&of_pem(Algorithm::Es256), "x"), "not one public key in PEM (`PUBLIC KEY` or `RSA PUBLIC KEY`)"),
        (
            fault(&of_pem(Algorithm::Es256), &pem(Algorithm::Es256).repeat(2)),
            "not one public key in PEM (`PUBLIC KEY` or `RSA PUBLIC KEY`)",
        ),
        (fault(&of_pem(Algorithm::Es256), &pem(Algorithm::Es384)), "not a key for this algorithm, or damaged"),
        (fault(&of_pem(Algorithm::Es384), &pem(Algorithm::Rs256)), "not a key for this algorithm, or damaged"),
        (fault(&of_pem(Algorithm::Rs256), &pem(Algorithm::EdDsa)), "not a key for this algorithm, or damaged"),
        (fault(&of_pem(Algorithm::Hs256), &pem(Algorithm::Rs256)), "not a key for this algorithm, or damaged"),
        (
            with(Algorithm::Rs256, "n", base64([0xff; 128]).into()),
            "no usable key: keys[0]: an RSA key of 1024 bits; 2048 to 8192 are taken",
        ),
        (
            with(Algorithm::Rs256, "n", base64([&[0; 200][..], &[0x7f; 256]].concat()).into()),
            "no usable key: keys[0]: an RSA key of 2047 bits; 2048 to 8192 are taken",
        ),
        (
            with(Algorithm::Rs256, "e", base64([2]).into()),
            "no usable key: keys[0]: not a key for this algorithm, or damaged",
        ),
        (
            with(Algorithm::Rs256, "e", base64([0, 1]).into()),
            "no usable key: keys[0]: not a key for this algorithm, or damaged",
        ),
        (
            with(Algorithm::Rs256, "alg", "HS256".into()),
            "no usable key: keys[0]: not a key for this algorithm, or damaged",
        ),
        (
            with(Algorithm::Hs256, "alg", "RS256".into()),
            "no usable key: keys[0]: not a key for this algorithm, or damaged",
        ),
        (
            with(Algorithm::Hs256, "alg", "none".into()),
            "no usable key: keys[0]: algorithm or curve \"none\" is not supported",
        ),
        (
            with(Algorithm::Hs256, "k", "c2hvcnQ".into()),
            "no usable key: keys[0]: a secret of 5 bytes; 32 is the least for this algorithm",
        ),
        (
            with(Algorithm::Hs256, "alg", serde_json::Value::Null),
            "no usable key: keys[0]: no `alg`: a secret must say which it is for",
        ),
        (
            with(Algorithm::Es256, "x", base64([1; 32]).into()),
            "no usable key: keys[0]: not a key for this algorithm, or damaged",
        ),
        (
            with(Algorithm::Es256, "crv", "secp256k1".into()),
            "no usable key: keys[0]: algorithm or curve \"secp256k1\" is not supported",
        ),
        (
            with(Algorithm::Es256, "crv", "P-384".into()),
            "no usable key: keys[0]: not a key for this algorithm, or damaged",
        ),
        (with(Algorithm::Es256, "use", "enc".into()), "no usable key: keys[0]: not for verifying signatures"),
        (with(Algorithm::Es256, "key_ops", json!(["sign"])), "no usable key: keys[0]: not for verifying signatures"),
        (with(Algorithm::EdDsa, "x", "!".into()), "no usable key: keys[0]: no valid `x`"),
        (with(Algorithm::EdDsa, "kid", 7.into()), "no usable key: keys[0]: not a JWK"),
    ] {
        assert_eq!(given, expected);
    }
    for bad in ["", "{", "[]", r#"{"keys":{}}"#, r#"{"Keys":[]}"#] {
        assert!(fault(&set, bad).starts_with("not a JWKS document: "), "{bad}");
    }
}

#[test]
fn unusable_keys_of_a_document_are_passed_over_and_shown() {
    let folder = Folder::new();
    let other = json!({"kty": "EC", "crv": "P-521", "kid": "big", "x": "AA", "y": "AA"});
    let document = jwks(&[other, jwk(Algorithm::Es256), json!({"kty": "PQ"})]);
    let (_, set) = one(config::KeySet::Jwks(folder.write("jwks", document)));
    assert!(accepts(&set.current(), Algorithm::Es256));
    let state = set.state();
    assert_eq!((state.keys, state.fault), (1, None));
    assert_eq!(
        state.ignored,
        [
            "keys[0] (\"big\"): algorithm or curve \"P-521\" is not supported",
            "keys[2]: algorithm or curve \"PQ\" is not supported"
        ]
    );
}

#[test]
fn a_bad_new_file_keeps_the_old_keys_until_it_is_good_again() {
    let folder = Folder::new();
    let file = folder.write("jwks", jwks(&[jwk(Algorithm::Es256)]));
    let (sets, set) = one(config::KeySet::Jwks(file.clone()));
    let first = set.current();
    assert!(sets.refresh().is_empty(), "nothing changed");

    for bad in ["{", r#"{"keys":[{"kty":"oct"}]}"#] {
        folder.replace("jwks", bad);
        assert!(sets.refresh().is_empty());
        assert_eq!(set.current().generation(), first.generation());
        assert!(set.state().fault.is_some());
    }
    std::fs::remove_file(&file).expect("removed");
    assert!(sets.refresh().is_empty());
    assert!(accepts(&set.current(), Algorithm::Es256));
    assert!(set.state().fault.is_some_and(|fault| fault.starts_with("cannot be read: ")));

    folder.replace("jwks", jwks(&[jwk(Algorithm::EdDsa)]));
    assert_eq!(sets.refresh(), ["k".into()]);
    assert!(set.current().generation() > first.generation());
    assert!(accepts(&set.current(), Algorithm::EdDsa) && !accepts(&set.current(), Algorithm::Es256));
    assert!(accepts(&first, Algorithm::Es256), "who took the keys before keeps them");
    assert_eq!(set.state().fault, None);

    folder.replace("jwks", jwks(&[]));
    assert_eq!(sets.refresh(), ["k".into()], "a document without keys revokes all");
    assert!(set.current().is_empty());
}

#[test]
fn a_source_that_is_no_file_or_too_long_is_refused() {
    let folder = Folder::new();
    let (_, set) = one(config::KeySet::Jwks(folder.0.clone()));
    assert_eq!(set.state().fault.as_deref(), Some("not a regular file"));
    let (_, set) = one(config::KeySet::Jwks(folder.write("long", vec![b' '; 1024 * 1024 + 1])));
    assert_eq!(set.state().fault.as_deref(), Some("longer than 1048576 bytes"));
    assert!(set.current().is_empty());
}

#[test]
fn a_set_survives_a_new_configuration_with_the_same_name_and_source() {
    let folder = Folder::new();
    let source = config::KeySet::Jwks(folder.write("jwks", jwks(&[jwk(Algorithm::Es256)])));
    let (sets, set) = one(source.clone());
    let other = config::KeySet::Jwks(folder.write("other", jwks(&[jwk(Algorithm::Es256)])));
    let reload = |source: &config::KeySet| KeySets::load(&BTreeMap::from([("k".into(), source.clone())]), &sets);
    assert!(Arc::ptr_eq(reload(&source).get("k").expect("named"), &set));
    let next = reload(&other);
    let next = next.get("k").expect("named");
    assert!(!Arc::ptr_eq(next, &set));
    assert!(next.current().generation() > set.current().generation(), "no generation is used twice");
}

#[test]
fn a_changed_file_is_noticed_however_it_is_changed() {
    let folder = Folder::new();
    let file = folder.write("jwks", jwks(&[jwk(Algorithm::Es256)]));
    let (sets, set) = one(config::KeySet::Jwks(file.clone()));
    let (sender, changes) = channel();
    let _watch =
        watch(Arc::new(sets), move |names| sender.send(names.to_vec()).expect("listened to")).expect("a thread");
    let expect = |algorithm| {
        assert_eq!(changes.recv_timeout(PATIENCE), Ok(vec!["k".into()]));
        assert!(accepts(&set.current(), algorithm));
    };
    folder.replace("jwks", jwks(&[jwk(Algorithm::EdDsa)]));
    expect(Algorithm::EdDsa);
    folder.write("jwks", jwks(&[jwk(Algorithm::Es384)]));
    expect(Algorithm::Es384);
    std::fs::remove_file(file).expect("removed");
    folder.write("jwks", jwks(&[jwk(Algorithm::Es256)]));
    expect(Algorithm::Es256);
}

#[test]
fn a_folder_swapped_behind_a_link_is_noticed() {
    // As Kubernetes mounts a secret: jwks → ..data/jwks, ..data → ..1, and then ..data is replaced.
    let folder = Folder::new();
    for (version, algorithm) in [("..1", Algorithm::Es256), ("..2", Algorithm::EdDsa)] {
        std::fs::create_dir(folder.path(version)).expect("a folder");
        folder.write(&format!("{version}/jwks"), jwks(&[jwk(algorithm)]));
    }
    symlink("..1", folder.path("..data")).expect("a link");
    symlink("..data/jwks", folder.path("jwks")).expect("a link");
    let (sets, set) = one(config::KeySet::Jwks(folder.path("jwks")));
    assert!(accepts(&set.current(), Algorithm::Es256));
    let (sender, changes) = channel();
    let _watch =
        watch(Arc::new(sets), move |names| sender.send(names.to_vec()).expect("listened to")).expect("a thread");
    symlink("..2", folder.path("..new")).expect("a link");
    std::fs::rename(folder.path("..new"), folder.path("..data")).expect("renamed");
    assert_eq!(changes.recv_timeout(PATIENCE), Ok(vec!["k".into()]));
    assert!(accepts(&set.current(), Algorithm::EdDsa));
}

#[test]
fn dropping_the_watch_ends_its_thread() {
    let (sender, ended) = channel::<()>();
    let watch = watch(Arc::new(KeySets::default()), move |_| sender.send(()).expect("listened to")).expect("a thread");
    drop(watch);
    assert_eq!(ended.recv_timeout(PATIENCE), Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
}
