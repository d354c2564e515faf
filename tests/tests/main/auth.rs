//! Who may call: bearer tokens by the `jwt` plugin, key sets of every kind, and identity that nobody can forge.

use gatewright_tests::{Gateway, Key, SECRET, gateway, guest, setup, token, unix_seconds, until, upstream};
use serde_json::json;

const SHOP: &str = r#"
    [[api]]
    name = "shop"
    service = "orders"
    [[api.auth]]
    plugin = "jwt"
    [api.auth.settings]
    keys = "demo"
    realm = "shop"
    issuers = ["https://accounts.example"]
    audiences = ["https://shop.example"]
    headers = { x-user = "sub", x-tenant = "tenant" }
    rules = [{ methods = ["POST"], path = "/orders", scopes = ["orders:write"] }]
"#;

/// What the API above takes.
fn good(subject: &str) -> gatewright_tests::Token {
    token(subject).claim("iss", "https://accounts.example").claim("aud", json!(["https://shop.example", "other"]))
}

/// An API whose tokens are good if a key set says so, and the key set.
fn trusting(keys: &str) -> String {
    format!(
        r#"
        [keys.accounts]
        {keys}
        [plugin.jwt]
        keys = ["accounts"]
        [[api]]
        name = "shop"
        service = "orders"
        [[api.auth]]
        plugin = "jwt"
        settings = {{ keys = "accounts" }}
        "#
    )
}

#[tokio::test]
async fn a_good_token_becomes_identity_and_goes_no_further() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let token = good("ada").claim("tenant", "acme").signed();
    gateway.get("/orders/2").bearer(&token).field("accept", "text/plain").await.is(200).says("orders");
    let seen = orders.only();
    assert_eq!(seen.field("x-user"), Some("ada"));
    assert_eq!(seen.field("x-tenant"), Some("acme"));
    assert_eq!(seen.field("authorization"), None);
    assert_eq!(seen.field("accept"), Some("text/plain"));
}

#[tokio::test]
async fn forged_identity_is_removed_in_every_spelling() {
    let orders = upstream("orders");
    let gateway = gateway(
        [&orders],
        &format!(
            "{SHOP}\n[[api]]\nname = \"open\"\npaths = [\"/open\"]\nservice = \"orders\"\nanonymous = true\n[[api.auth]]\nplugin = \"jwt\"\nsettings = {{ keys = \"demo\", headers = {{ x-user = \"sub\" }} }}"
        ),
    );
    let forged = |call: gatewright_tests::Call| {
        let names = ["x-user", "X-User", "x_user", "X_USER", "x-tenant", "x_tenant"];
        names.iter().fold(call, |call, name| call.field(name, "root"))
    };
    forged(gateway.get("/orders")).bearer(&good("ada").signed()).await.is(200);
    forged(gateway.get("/open")).await.is(200);
    let [identified, anonymous] = &orders.seen()[..] else { panic!("two requests") };
    assert_eq!(identified.field("x-user"), Some("ada"));
    for name in ["x_user", "x-tenant", "x_tenant"] {
        assert_eq!(identified.field(name), None, "{name}");
    }
    assert_eq!(anonymous.field("x-user"), None);
    assert_eq!(anonymous.field("x_user"), None);
}

#[tokio::test]
async fn without_a_credential_it_is_401_with_the_challenge() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let challenged = |answer: gatewright_tests::Answer| {
        answer.is(401).problem("A credential is needed").has("www-authenticate", "Bearer realm=\"shop\"")
    };
    challenged(gateway.get("/orders").await);
    challenged(gateway.get("/orders").field("authorization", "Basic YWRhOmFkYQ==").await);
    assert_eq!(orders.count(), 0);
}

#[tokio::test]
async fn bad_tokens_are_401_each_with_its_reason() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let other = Key::secret("another secret that is as long as the first one is, 0123456");
    let tampered = {
        let (ada, eve) = (good("ada").signed(), good("eve").signed());
        let (head, signature) = (eve.rsplit_once('.').unwrap().0, ada.rsplit_once('.').unwrap().1);
        format!("{head}.{signature}")
    };
    for (what, token) in [
        ("garbage", "garbage".to_owned()),
        ("two parts", "a.b".to_owned()),
        ("another key", good("ada").signed_by(&other)),
        ("another's signature", tampered),
        ("an hour ago", good("ada").expired().signed()),
        ("tomorrow", good("ada").claim("nbf", unix_seconds() + 3600).signed()),
        ("no end", good("ada").without("exp").signed()),
        ("nobody", good("ada").without("sub").signed()),
        ("another issuer", good("ada").claim("iss", "https://evil.example").signed()),
        ("another audience", good("ada").claim("aud", "https://evil.example").signed()),
        ("no signature", good("ada").unsigned()),
        ("None with a signature", good("ada").header("alg", "None").signed()),
        ("HS512 by name", good("ada").header("alg", "HS512").signed()),
        ("RS256 by name", good("ada").header("alg", "RS256").signed()),
    ] {
        let answer = gateway.get("/orders").bearer(&token).await;
        assert_eq!(answer.status, 401, "{what}: {answer}");
        answer.tells("www-authenticate", "error=\"invalid_token\"");
    }
    assert_eq!(orders.count(), 0);
}

#[tokio::test]
async fn clocks_may_differ_a_little() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &SHOP.replace("realm = \"shop\"", "realm = \"shop\"\nleeway_seconds = 300"));
    for (ago, status) in [(240, 200), (3600, 401)] {
        gateway.get("/").bearer(&good("ada").claim("exp", unix_seconds() - ago).signed()).await.is(status);
        gateway.get("/").bearer(&good("ada").claim("nbf", unix_seconds() + ago).signed()).await.is(status);
    }
}

#[tokio::test]
async fn a_missing_scope_is_403_and_says_which() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let read = good("ada").scopes("orders:read").signed();
    gateway
        .post("/orders")
        .bearer(&read)
        .await
        .is(403)
        .tells("www-authenticate", "error=\"insufficient_scope\"")
        .tells("www-authenticate", "scope=\"orders:write\"");
    let write = good("ada").scopes("orders:read orders:write").signed();
    gateway.post("/orders").bearer(&write).await.is(200);
    gateway.get("/orders").bearer(&read).await.is(200);
}

#[tokio::test]
async fn two_credentials_are_no_credential() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], SHOP);
    let (ada, eve) = (good("ada").signed(), good("eve").signed());
    gateway.get("/orders").bearer(&ada).bearer(&eve).await.is(400);
    assert_eq!(orders.count(), 0);
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let orders = upstream("orders");
    let key = Key::rsa();
    let gateway = setup(&trusting("pem = \"key.pem\"\nalgorithm = \"RS256\"")).to(&orders).file("key.pem", &key.pem());
    let gateway = gateway.start();
    gateway.get("/").bearer(&token("ada").signed_by(&key)).await.is(200);
    for secret in [key.pem(), key.pem().trim_end().to_owned()] {
        gateway.get("/").bearer(&token("ada").signed_by(&Key::secret(&secret))).await.is(401);
    }
    gateway.get("/").bearer(&token("ada").header("alg", "PS256").signed_by(&key)).await.is(401);
}

#[tokio::test]
async fn a_jwks_file_vouches_for_keys_of_every_kind() {
    let orders = upstream("orders");
    let keys = [Key::rsa(), Key::p256(), Key::ed25519(), Key::secret(SECRET)];
    let jwks = json!({"keys": keys.iter().map(|key| key.jwk(key.algorithm())).collect::<Vec<_>>()});
    let gateway = setup(&trusting("jwks = \"keys.json\"")).to(&orders).file("keys.json", &jwks.to_string()).start();
    for key in &keys {
        let named = token("ada").header("kid", key.algorithm()).signed_by(key);
        gateway.get("/").bearer(&named).await.is(200);
        let misnamed = token("ada").header("kid", "another").signed_by(key);
        gateway.get("/").bearer(&misnamed).await.is(401);
    }
    gateway.get("/").bearer(&token("ada").header("kid", "ES256").signed_by(&Key::p256())).await.is(401);
}

/// Waits until a token is answered with this status.
async fn becomes(gateway: &Gateway, token: &str, status: u16) {
    until(&format!("{status} for a token"), async || {
        (gateway.get("/").bearer(token).await.status == status).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_key_set_follows_its_file() {
    let orders = upstream("orders");
    let (old, new) = (Key::p256(), Key::ed25519());
    let jwks = |key: &Key| json!({"keys": [key.jwk("the key")]}).to_string();
    let gateway = setup(&trusting("jwks = \"keys.json\"")).to(&orders).file("keys.json", &jwks(&old)).start();
    let by_old = token("ada").header("kid", "the key").signed_by(&old);
    let by_new = token("ada").header("kid", "the key").signed_by(&new);
    gateway.get("/").bearer(&by_old).await.is(200);
    gateway.get("/").bearer(&by_new).await.is(401);
    gateway.write("keys.json", jwks(&new));
    becomes(&gateway, &by_new, 200).await;
    gateway.get("/").bearer(&by_old).await.is(401);
    // A file that is no key set changes nothing.
    gateway.write("keys.json", "{ not json");
    gateway.write("other", "so that the folder changes once more");
    gateway.get("/").bearer(&by_new).await.is(200);
}

#[tokio::test]
async fn a_public_key_follows_its_file() {
    let orders = upstream("orders");
    let (old, new) = (Key::p256(), Key::p256());
    let text = trusting("pem = \"key.pem\"\nalgorithm = \"ES256\"");
    let gateway = setup(&text).to(&orders).file("key.pem", &old.pem()).start();
    let (by_old, by_new) = (token("ada").signed_by(&old), token("ada").signed_by(&new));
    gateway.get("/").bearer(&by_old).await.is(200);
    gateway.write("key.pem", new.pem());
    becomes(&gateway, &by_new, 200).await;
    gateway.get("/").bearer(&by_old).await.is(401);
}

#[tokio::test]
async fn a_secret_follows_its_file() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &trusting("secret_file = \"demo.secret\""));
    let other = "a secret of another day, and as long as it should be, 012345678";
    let (now, then) = (token("ada").signed(), token("ada").signed_by(&Key::secret(other)));
    gateway.get("/").bearer(&now).await.is(200);
    gateway.get("/").bearer(&then).await.is(401);
    gateway.write("demo.secret", format!("{other}\n"));
    becomes(&gateway, &then, 200).await;
    gateway.get("/").bearer(&now).await.is(401);
}

#[tokio::test]
async fn a_key_set_without_keys_is_503_until_its_file_is_there() {
    let orders = upstream("orders");
    let gateway = gateway([&orders], &trusting("jwks = \"keys.json\""));
    let key = Key::p256();
    let token = token("ada").header("kid", "k").signed_by(&key);
    gateway.get("/").bearer(&token).await.is(503);
    gateway.get("/").await.is(401);
    gateway.write("keys.json", json!({"keys": [key.jwk("k")]}).to_string());
    becomes(&gateway, &token, 200).await;
}

#[tokio::test]
async fn an_address_that_fails_too_often_is_stopped_before_any_plugin() {
    let orders = upstream("orders");
    let text = format!("server = {{ failed_auth = {{ requests = 3, per = \"1h\" }} }}\n{SHOP}");
    let gateway = gateway([&orders], &text);
    let good = good("ada").signed();
    for _ in 0..3 {
        gateway.get("/").bearer("garbage").await.is(401);
    }
    let stopped = gateway.get("/").bearer(&good).await.is(429).problem("Too many failed authentications");
    assert!((1..=1200).contains(&stopped.field("retry-after").unwrap().parse::<u32>().unwrap()), "{stopped}");
    let calls = gateway.plugin("jwt", |_| true).await.json["uses"][0]["calls"].clone();
    gateway.get("/").bearer(&good).await.is(429);
    assert_eq!(gateway.plugin("jwt", |_| true).await.json["uses"][0]["calls"], calls);
    // Others are not held to it.
    gateway.get("/").from("127.0.0.2").bearer(&good).await.is(200);
}

/// Takes `x-key: letmein` and says that it is `robot`.
const KEY_GUEST: &str = r#"
    (import "gatewright:policy/inputs@0.1.0" "header" (func $header (param i32 i32) (result i32)))
    (import "gatewright:policy/identity@0.1.0" "challenge" (func $challenge (param i32 i32)))
    (data (i32.const 4096) "x-key")
    (data (i32.const 4112) "Key")
    (data (i32.const 4128) "robot")
    (data (i32.const 4144) "no such key")
    (func $configure (result i32)
        (drop (call $header (i32.const 4096) (i32.const 5)))
        (call $challenge (i32.const 4112) (i32.const 3))
        (call $ok))
    (func $identify (result i32)
        (if (i32.eqz (call $has (i32.const 0))) (then (return (call $ok))))
        (if (i32.eq (call $value-length (i32.const 0)) (i32.const 7))
            (then (return (call $grant (i32.const 4128) (i32.const 5)))))
        (call $refuse (i32.const 401) (i32.const 4144) (i32.const 11)))
"#;

#[tokio::test]
async fn plugins_are_asked_in_turn_and_the_first_that_knows_decides() {
    let orders = upstream("orders");
    let text = r#"
        [[api]]
        name = "shop"
        service = "orders"
        [[api.auth]]
        plugin = "key"
        [[api.auth]]
        plugin = "jwt"
        settings = { keys = "demo", realm = "shop" }
    "#;
    let gateway = setup(text).to(&orders).plugin("key", &guest(KEY_GUEST)).start();
    gateway.get("/").field("x-key", "letmein").await.is(200);
    gateway.get("/").as_caller("ada").await.is(200);
    // The first knows its kind and refuses: the second is not asked, and the challenge is the first one's.
    gateway.get("/").field("x-key", "guess").as_caller("ada").await.is(401).has("www-authenticate", "Key");
    let answer = gateway.get("/").await.is(401);
    assert_eq!(answer.fields("www-authenticate"), ["Key", "Bearer realm=\"shop\""]);
}
