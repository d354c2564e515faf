//! What a plugin's author does without a gateway: look at a file, and try it with one request.

use std::path::Path;

use gatewright_tests::{Ended, Key, Place, Setup, guest, reference, setup, sha256, token};

use crate::command::gatewright;

const TOKENS: &str = r#"
    plans = ["gold"]
    [[api]]
    name = "shop"
    service = "orders"
    [[api.auth]]
    plugin = "jwt"
    settings = { keys = "demo", headers = { x-user = "sub" } }
"#;

const BODIES: &str = r#"
    [[api]]
    name = "shop"
    service = "orders"
    [[api.validation]]
    plugin = "json-schema"
    [[api.validation.settings.rules]]
    path = "/orders"
    body = '{ "required": ["item"], "properties": { "quantity": { "minimum": 1 } } }'
"#;

const CHECKED: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n[[api.validation]]\nplugin = \"one\"\n";

/// A setup with one service, which nobody connects to.
fn shop(text: &str) -> Setup {
    setup(text).to(Place::new("orders", "127.0.0.1:9".parse().unwrap()))
}

/// Looks at a plugin of a folder, under the configuration there.
async fn inspected(folder: &Path, plugin: &str) -> Ended {
    let (file, config) = (folder.join(format!("plugins/{plugin}.wasm")), folder.join("gateway.toml"));
    gatewright().run(&["inspect", file.to_str().unwrap(), "--config", config.to_str().unwrap()]).await
}

/// Tries a plugin of a folder, under the configuration there, with this request.
async fn tried(folder: &Path, plugin: &str, request: &str, more: &[&str]) -> Ended {
    let (file, config) = (folder.join(format!("plugins/{plugin}.wasm")), folder.join("gateway.toml"));
    let text = folder.join("request.http");
    std::fs::write(&text, request).unwrap();
    let [file, config, text] = [&file, &config, &text].map(|path| path.to_str().unwrap());
    let arguments = [&["try", file, "--config", config, "--request", text], more].concat();
    gatewright().run(&arguments).await
}

/// It ended so, and its output has all of this.
#[track_caller]
fn tells(ended: &Ended, code: i32, texts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    for text in texts {
        assert!(ended.output.contains(text), "{text}: {}{}", ended.output, ended.errors);
    }
}

/// It ended so, and said this on standard error.
#[track_caller]
fn complains(ended: &Ended, code: i32, text: &str) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert!(ended.errors.contains(text), "{text}: {}", ended.errors);
}

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\nhost: shop.example\n{fields}")
}

fn post(body: &str) -> String {
    format!("POST /orders HTTP/1.1\nhost: shop.example\ncontent-type: application/json\n\n{body}\n")
}

#[tokio::test]
async fn inspect_says_what_a_plugin_is() {
    let folder = shop(TOKENS).files();
    let file = folder.path().join("plugins/jwt.wasm");
    let bytes = reference("jwt");
    let ended = gatewright().run(&["inspect", file.to_str().unwrap()]).await;
    let (size, digest) = (format!("({} bytes)", bytes.len()), sha256(&bytes));
    tells(&ended, 0, &["a plugin for auth\n", "gatewright:policy@0.1.0", "`plugin.jwt.keys`", &size, &digest]);
    assert!(!ended.output.contains("authorization"), "{}", ended.output);
}

#[tokio::test]
async fn inspect_says_what_each_use_declares() {
    let folder = shop(TOKENS).files();
    let ended = inspected(folder.path(), "jwt").await;
    tells(&ended, 0, &["shop.auth[0]:", "header `authorization`", "identity    x-user", "challenges  Bearer"]);
    tells(&ended, 0, &["at most 60.0 s", "of 64.0 MiB", "configured  in "]);
    let folder = shop(BODIES).files();
    let ended = inspected(folder.path(), "json-schema").await;
    tells(&ended, 0, &["shop.validation[0]:", "application/json, application/*+json", "others are 415"]);
    let folder = shop(TOKENS).plugin("versions", &reference("versions")).files();
    let ended = inspected(folder.path(), "versions").await;
    tells(&ended, 0, &["a plugin for routing\n", "no API of the configuration uses `versions`"]);
}

#[tokio::test]
async fn inspect_says_why_a_file_does_not_serve() {
    let ungranted = TOKENS.replace("plans", "keys.demo.secret_file = \"demo.secret\"\nplugin.jwt.keys = []\nplans");
    let ended = inspected(shop(&ungranted).files().path(), "jwt").await;
    complains(&ended, 1, "jwt.wasm: imports `gatewright:policy/jwt@0.1.0`, which is not granted");
    let settings = TOKENS.replace("x-user", "connection");
    let ended = inspected(shop(&settings).files().path(), "jwt").await;
    complains(&ended, 1, "jwt.wasm: `configure` for shop.auth[0]");
    let pinned = format!("plugin.jwt.sha256 = \"{}\"\n{TOKENS}", "0".repeat(64));
    complains(&inspected(shop(&pinned).files().path(), "jwt").await, 1, "its SHA-256 is");
    let folder = shop(TOKENS).plugin("jwt", b"no component").files();
    complains(&inspected(folder.path(), "jwt").await, 1, "jwt.wasm: not a WebAssembly component");
    complains(&inspected(folder.path(), "two").await, 1, "two.wasm: No such file");
}

#[tokio::test]
async fn a_token_is_tried() {
    let folder = shop(TOKENS).files();
    let bearer = |token: String| get("/", &format!("authorization: Bearer {token}\n"));
    let ended = tried(folder.path(), "jwt", &bearer(token("ada").signed()), &["--times", "3"]).await;
    tells(&ended, 0, &["as shop.auth[0]: accepted\n", "caller      ada\n", "sets        x-user: ada\n"]);
    tells(&ended, 0, &["conceals    header `authorization`\n", "(median of 2)", "memory      ", "of 64.0 MiB"]);
    let other = token("ada").signed_by(&Key::secret("another secret that is long enough, 0123456789abcdef"));
    let ended = tried(folder.path(), "jwt", &bearer(other), &[]).await;
    tells(&ended, 1, &["as shop.auth[0]: refused\n", "401 Unauthorized\n", "www-authenticate: Bearer error="]);
    let ended = tried(folder.path(), "jwt", &get("/", ""), &[]).await;
    tells(&ended, 1, &["no credential of this plugin's kind", "401 Unauthorized\n"]);
    let folder = shop(&TOKENS.replace("name = \"shop\"", "name = \"shop\"\nanonymous = true")).files();
    tells(&tried(folder.path(), "jwt", &get("/", ""), &[]).await, 0, &["accepted\n", "anonymous callers may pass"]);
}

#[tokio::test]
async fn a_body_is_tried() {
    let folder = shop(BODIES).files();
    let ended = tried(folder.path(), "json-schema", &post(r#"{"item":"tea","quantity":0}"#), &[]).await;
    tells(&ended, 1, &["as shop.validation[0]: refused\n", "400 Bad Request", "\"at\": \"/quantity\"", "for the call"]);
    let ended = tried(folder.path(), "json-schema", &post(r#"{"item":"tea","quantity":1}"#), &[]).await;
    tells(&ended, 0, &["as shop.validation[0]: accepted\n"]);
    let ended = tried(folder.path(), "json-schema", &post("{}").replace("json", "xml"), &[]).await;
    tells(&ended, 1, &["refused before it was asked\n", "415 Unsupported Media Type"]);
    assert!(!ended.output.contains("for the call"), "{}", ended.output);
}

#[tokio::test]
async fn a_route_is_tried_as_some_caller() {
    let text = r#"
        [[api]]
        name = "shop"
        services = ["orders"]
        [api.routing]
        plugin = "versions"
        [api.routing.settings]
        from = { path = true }
        strip = "version"
        versions = { 1 = { sunset = "2035-12-31" } }
        routes = [{ path = "/orders/{*rest}", service = "orders", affinity = "caller" }]
    "#;
    let folder = shop(text).files();
    let ended = tried(folder.path(), "versions", &get("/v1/x/../orders/3?a=b", ""), &["--caller", "ada"]).await;
    tells(&ended, 0, &["as shop.routing[0]: accepted\n", "service     orders\n", "path        /orders/3?a=b\n"]);
    tells(&ended, 0, &["affinity    ada\n", "set sunset: Mon, 31 Dec 2035"]);
    let ended = tried(folder.path(), "versions", &get("/v1/teas", ""), &[]).await;
    tells(&ended, 1, &["as shop.routing[0]: refused\n", "404 Not Found\n"]);
}

/// A validation plugin that declares one input, and refuses with 422 and the value as the title.
fn tells_input(import: &str, name: Option<&str>) -> Vec<u8> {
    let (parameters, arguments) = match name {
        Some(name) => ("(param i32 i32)", format!("(i32.const 4096) (i32.const {})", name.len())),
        None => ("", String::new()),
    };
    let name = name.unwrap_or_default();
    guest(&format!(
        r#"(import "gatewright:policy/inputs@0.1.0" "{import}" (func $declare {parameters} (result i32)))
        (data (i32.const 4096) "{name}")
        (func $configure (result i32) (drop (call $declare {arguments})) (call $ok))
        (func $check (result i32)
            (if (i32.eqz (call $has (i32.const 0))) (then (return (call $ok))))
            (call $refuse (i32.const 422) (call $value (i32.const 0)) (call $value-length (i32.const 0))))"#
    ))
}

#[tokio::test]
async fn a_plugin_sees_the_caller_and_the_client_that_are_given() {
    let caller =
        ["--caller", "ada@home", "--plan", "gold", "--scope", "r", "--scope", "w", "--attribute", "tenant=x=y"];
    let text = format!("plans = [\"gold\"]\n{CHECKED}");
    for (one, title) in [
        (tells_input("caller-subject", None), "ada@home"),
        (tells_input("caller-plan", None), "gold"),
        (tells_input("caller-scopes", None), "r w"),
        (tells_input("caller-attribute", Some("tenant")), "x=y"),
        (tells_input("client-address", None), "2001:db8::7"),
    ] {
        let folder = shop(&text).plugin("one", &one).files();
        let more = [&caller[..], &["--client", "2001:db8::7"]].concat();
        let ended = tried(folder.path(), "one", &get("/", ""), &more).await;
        tells(&ended, 1, &[&format!("\"title\": \"{title}\"")]);
    }
    let folder = shop(&text).plugin("one", &tells_input("caller-plan", None)).files();
    let ended = tried(folder.path(), "one", &get("/", ""), &["--caller", "ada", "--plan", "lead"]).await;
    complains(&ended, 2, "\"lead\" is not in the configuration's `plans`");
}

#[tokio::test]
async fn a_field_that_no_client_may_send_is_not_seen() {
    let one = tells_input("header", Some("x-real-ip"));
    let request = get("/", "x-real-ip: 192.0.2.1\n");
    let folder = shop(CHECKED).plugin("one", &one).files();
    tells(&tried(folder.path(), "one", &request, &[]).await, 0, &["accepted\n"]);
    let trusting = format!("server.trusted = [\"127.0.0.1/32\"]\n{CHECKED}");
    let folder = shop(&trusting).plugin("one", &one).files();
    tells(&tried(folder.path(), "one", &request, &[]).await, 1, &["\"title\": \"192.0.2.1\""]);
}

#[tokio::test]
async fn a_plugin_that_fails_is_neither_accepted_nor_refused() {
    let trap = guest(
        r#"(import "gatewright:policy/log@0.1.0" "info" (func $info (param i32 i32)))
        (data (i32.const 4096) "about to break")
        (func $check (result i32) (call $info (i32.const 4096) (i32.const 14)) (unreachable))"#,
    );
    let folder = shop(CHECKED).plugin("one", &trap).files();
    let ended = tried(folder.path(), "one", &get("/", ""), &["--times", "9"]).await;
    tells(&ended, 2, &["as shop.validation[0]: failed\n", "unreachable", "503 Service Unavailable"]);
    complains(&ended, 2, "about to break");
    let open = format!("{CHECKED}on_failure = \"open\"\n");
    let folder = shop(&open).plugin("one", &trap).files();
    tells(&tried(folder.path(), "one", &get("/", ""), &[]).await, 2, &["failed\n", "the request goes on"]);
    let spin = guest("(func $check (result i32) (loop (br 0)) (unreachable))");
    let folder = shop(&format!("plugin.one.call_time = \"5ms\"\n{CHECKED}")).plugin("one", &spin).files();
    tells(&tried(folder.path(), "one", &get("/", ""), &[]).await, 2, &["failed\n", "over its time"]);
}

#[tokio::test]
async fn what_the_gateway_refuses_no_plugin_is_asked() {
    let trap = guest("(func $check (result i32) (unreachable))");
    let folder = shop(CHECKED).plugin("one", &trap).files();
    for (target, status) in [("/a/%2e%2e/%2fb", "400 Bad Request"), ("*", "400 Bad Request")] {
        let ended = tried(folder.path(), "one", &get(target, ""), &[]).await;
        tells(&ended, 1, &["refused before it was asked\n", status]);
    }
}

#[tokio::test]
async fn what_cannot_be_tried_is_a_failure() {
    let two =
        "[[api]]\nname = \"other\"\npaths = [\"/other\"]\nservice = \"orders\"\n[[api.validation]]\nplugin = \"one\"\n";
    let passes = guest("(func $check (result i32) (call $ok))");
    let folder = shop(&format!("{CHECKED}{two}")).plugin("one", &passes).plugin("two", &passes).files();
    let request = get("/", "");
    let ended = tried(folder.path(), "one", &request, &[]).await;
    complains(&ended, 2, "from: shop.validation[0], other.validation[0]");
    tells(&tried(folder.path(), "one", &request, &["--api", "other"]).await, 0, &["as other.validation[0]: accepted"]);
    let ended = tried(folder.path(), "two", &request, &["--plugin", "one", "--api", "shop"]).await;
    tells(&ended, 0, &["two.wasm as shop.validation[0]: accepted"]);
    complains(&tried(folder.path(), "one", &request, &["--stage", "auth"]).await, 2, "no such use of `one`");
    complains(&tried(folder.path(), "two", &request, &[]).await, 2, "no API uses `two`");
    for (text, reason) in [
        ("nonsense", "request.http: not a request of HTTP/1.1: invalid HTTP method"),
        ("", "request.http: there is no request in it"),
        ("PUT / HTTP/1.1\nhost: a\ncontent-length: 9\n\nabc\n", "its body has 4 bytes, and `content-length` says 9"),
    ] {
        complains(&tried(folder.path(), "one", text, &["--api", "shop"]).await, 2, reason);
    }
    std::fs::write(folder.path().join("gateway.toml"), "colour = \"red\"").unwrap();
    complains(&tried(folder.path(), "one", &request, &[]).await, 2, "gateway.toml:1: `colour`");
}

/// The commands of the README.
#[tokio::test]
async fn the_order_of_the_quickstart_is_tried() {
    let folder = shop("").plugin("json-schema", &reference("json-schema")).files();
    let file = folder.path().join("plugins/json-schema.wasm");
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart");
    let (config, order) = (quickstart.join("gateway.toml"), quickstart.join("order.http"));
    let [file, config, order] = [&file, &config, &order].map(|path| path.to_str().unwrap());
    let gatewright = gatewright().variable("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    let ended = gatewright.run(&["inspect", file, "--config", config]).await;
    tells(&ended, 0, &["a plugin for validation\n", "orders.validation[0]:"]);
    let ended = gatewright.run(&["try", file, "--config", config, "--request", order]).await;
    tells(&ended, 1, &["as orders.validation[0]: refused\n", "\"at\": \"/quantity\""]);
    let text = std::fs::read_to_string(order).unwrap();
    let piped = gatewright.run_with(&text, &["try", file, "--config", config, "--request", "-"]).await;
    tells(&piped, 1, &["as orders.validation[0]: refused\n", "\"at\": \"/quantity\""]);
}
