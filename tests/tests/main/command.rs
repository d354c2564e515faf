//! The command line, as a process of its own.

use std::path::Path;

use gatewright_tests::{Command, Key, Progress, Reply, setup, token, upstream};
use serde_json::Value;

const SHOP: &str = "[[api]]\nname = \"shop\"\nservice = \"orders\"\n";

/// The product's command line.
pub(crate) fn gatewright() -> Command {
    Command::of(env!("CARGO_BIN_EXE_gatewright-tested"))
}

/// The same, or the one that whoever runs the tests has built: `cargo xtask drill` and `soak` do, in release.
pub(crate) fn built() -> Command {
    std::env::var("GATEWRIGHT_BINARY").map_or_else(|_| gatewright(), |built| Command::of(built.leak()))
}

#[tokio::test]
async fn every_request_is_one_line_of_the_access_log() {
    let orders = upstream("orders");
    let mut program = gatewright().start(setup(SHOP).to(&orders)).await;
    program.get("/a%62c?d=e").field("user-agent", "x").await.is(200);
    let line = program.line().await;
    for (key, value) in [
        ("method", Value::from("GET")),
        ("path", "/abc".into()),
        ("query", "d=e".into()),
        ("client", "127.0.0.1".into()),
        ("protocol", "HTTP/1.1".into()),
        ("api", "shop".into()),
        ("service", "orders".into()),
        ("endpoint", orders.address().to_string().into()),
        ("status", 200.into()),
        ("bytes", 6.into()),
        ("outcome", "forwarded".into()),
    ] {
        assert_eq!(line[key], value, "{key}: {line}");
    }
    assert_eq!(line["id"].as_str().unwrap(), orders.only().field("x-request-id").unwrap());
    assert!(line["milliseconds"].as_f64().unwrap() > 0.0, "{line}");
    assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    assert!(line["reason"].is_null(), "{line}");
    orders.kill().await;
    program.get("/").await.is(502);
    let line = program.line().await;
    assert_eq!((&line["outcome"], &line["status"]), (&"service".into(), &502.into()), "{line}");
    assert!(line["reason"].as_str().unwrap().contains("cannot connect"), "{line}");
}

#[tokio::test]
async fn a_client_that_leaves_has_its_line_too() {
    let orders = upstream("orders");
    let mut program = gatewright().start(setup(SHOP).to(&orders)).await;
    let gate = orders.holds();
    let leaving = tokio::spawn(program.get("/slow").tried());
    orders.sees_requests(1).await;
    leaving.abort();
    let line = program.line().await;
    assert_eq!(
        (&line["path"], &line["outcome"], &line["status"]),
        (&"/slow".into(), &"left".into(), &0.into()),
        "{line}"
    );
    gate.open();
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_answer_has_its_line_too() {
    let orders = upstream("orders");
    let mut program = gatewright().start(setup(SHOP).to(&orders)).await;
    for connection in [program.http1().await, program.http2().await] {
        let (reply, mut writer) = Reply::streamed();
        orders.answers_once(reply);
        let mut coming = connection.get("/long").coming().await.unwrap();
        writer.write("twelve bytes").await;
        assert_eq!(coming.chunk().await.unwrap().as_deref(), Some("twelve bytes"));
        drop((coming, connection));
        let line = program.line().await;
        for (key, value) in [
            ("path", Value::from("/long")),
            ("status", 200.into()),
            ("bytes", 12.into()),
            ("outcome", "forwarded".into()),
            ("reason", "the client's side ended before the response".into()),
        ] {
            assert_eq!(line[key], value, "{key}: {line}");
        }
    }
}

#[tokio::test]
async fn every_stage_that_refuses_has_its_line() {
    let orders = upstream("orders");
    let text = r#"
        [[api]]
        name = "shop"
        paths = ["/shop"]
        services = ["orders"]
        auth = [{ plugin = "jwt", settings = { keys = "demo" } }]
        limit = [{ name = "one", by = "caller", requests = 3, per = "1h" }]
        validation = [{ plugin = "json-schema", settings = { rules = [{ path = "/shop", query = { page = { type = "integer" } } }] } }]
        routing = { plugin = "versions", settings = { routes = [{ path = "/shop", service = "orders" }] } }
    "#;
    let mut program = gatewright().start(setup(text).to(&orders)).await;
    for (target, caller, status, outcome) in [
        ("/nowhere", None, 404, "clean"),
        ("/shop", None, 401, "auth"),
        ("/shop?page=x", Some("ada"), 400, "validation"),
        ("/shop/elsewhere", Some("ada"), 404, "routing"),
        ("/shop", Some("ada"), 200, "forwarded"),
        ("/shop", Some("ada"), 429, "limit"),
    ] {
        let call = program.get(target);
        let call = if let Some(caller) = caller { call.as_caller(caller) } else { call };
        call.await.is(status);
        let line = program.line().await;
        assert_eq!((&line["status"], &line["outcome"]), (&status.into(), &outcome.into()), "{target}: {line}");
        assert_eq!(line["caller"].as_str(), caller, "{target}: {line}");
    }
}

#[tokio::test]
async fn lines_may_be_for_people() {
    let orders = upstream("orders");
    let mut program = gatewright().start(setup(&format!("log = {{ format = \"text\" }}\n{SHOP}")).to(&orders)).await;
    program.get("/a?b").await.is(200);
    let line = program.text().await;
    for part in
        [" 200 ", " GET ", " /a ", " 6 B ", " ms ", " 127.0.0.1 ", " api=shop ", &format!(" -> orders {orders}")]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    program.interrupt();
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.errors.contains("stopping") && !ended.errors.contains('{'), "{}", ended.errors);
}

#[tokio::test]
async fn sigterm_lets_requests_in_flight_end_and_exits_0() {
    let orders = upstream("orders");
    let program = gatewright().start(setup(SHOP).to(&orders)).await;
    let gate = orders.holds();
    let held = tokio::spawn(program.get("/held").into_future());
    orders.sees_requests(1).await;
    program.terminate();
    gatewright_tests::until("no new connections", async || {
        tokio::net::TcpStream::connect(program.address).await.is_err().then_some(())
    })
    .await;
    gate.open();
    held.await.unwrap().is(200).says("orders");
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert!(ended.output.contains("\"path\":\"/held\""), "{}", ended.output);
}

#[tokio::test]
async fn sigterm_does_not_wait_for_ever() {
    let orders = upstream("orders");
    let program = gatewright().start(setup(&format!("server = {{ shutdown = \"300ms\" }}\n{SHOP}")).to(&orders)).await;
    let _gate = orders.holds();
    let held = tokio::spawn(program.get("/held").tried());
    orders.sees_requests(1).await;
    program.terminate();
    let ended = program.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert!(held.await.unwrap().is_err(), "it was cut off");
    assert_eq!(orders.only().progress, Progress::Whole);
}

#[tokio::test]
async fn a_secret_may_come_from_the_environment() {
    let orders = upstream("orders");
    let secret = "a secret from the environment, long enough for any HMAC 012345678";
    let text = format!(
        "[keys.demo]\nsecret_env = \"TEST_SECRET\"\n[plugin.jwt]\nkeys = [\"demo\"]\n{SHOP}[[api.auth]]\nplugin = \"jwt\"\nsettings = {{ keys = \"demo\" }}"
    );
    let program = gatewright().variable("TEST_SECRET", secret).start(setup(&text).to(&orders)).await;
    program.get("/").bearer(&token("ada").signed_by(&Key::secret(secret))).await.is(200);
    program.get("/").bearer(&token("ada").signed()).await.is(401);
}

#[tokio::test]
async fn check_prints_every_fault_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let text = "[server]\nlisten = \"nowhere\"\ncolour = \"red\"\n\n[service.orders]\nendpoints = []\n\n[[api]]\nname = \"shop\"\nservice = \"users\"\n";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let ended = gatewright().run(&["check", "--config", file]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.errors);
    assert_eq!(ended.errors.lines().count(), 4, "{}", ended.errors);
    for (line, key) in [(2, "server.listen"), (3, "server.colour"), (6, "service.orders.endpoints"), (10, "service")] {
        let place = format!("{file}:{line}");
        let fault = ended.errors.lines().find(|fault| fault.contains(&place));
        assert!(fault.is_some_and(|fault| fault.contains(key)), "{place} {key}: {}", ended.errors);
    }
    std::fs::write(
        file,
        "[service.orders]\nendpoints = [\"127.0.0.1:1\"]\n[[api]]\nname = \"shop\"\nservice = \"orders\"\n",
    )
    .unwrap();
    let ended = gatewright().run(&["check", "--config", file]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert!(ended.output.contains("good (1 APIs, 1 services)"), "{}", ended.output);
    assert!(ended.errors.is_empty(), "{}", ended.errors);
}

#[tokio::test]
async fn check_warns_of_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::write(folder.path().join("short"), "12345").unwrap();
    let text = r#"
        keys.gone = { jwks = "gone.json" }
        keys.short = { secret_file = "short" }
        service.orders = { endpoints_file = "gone.toml" }
        plugin.jwt = { keys = ["gone"] }
        [[api]]
        name = "shop"
        service = "orders"
        auth = [{ plugin = "jwt" }]
    "#;
    std::fs::write(&file, text).unwrap();
    let ended = gatewright().run(&["check", "--config", file.to_str().unwrap()]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    let warnings: Vec<&str> = ended.errors.lines().filter(|line| line.contains(": warning: ")).collect();
    for what in ["keys.gone", "keys.short", "service.orders.endpoints_file", "plugin jwt"] {
        assert!(warnings.iter().any(|line| line.contains(what)), "{what}: {}", ended.errors);
    }
    assert_eq!(warnings.len(), 4, "{}", ended.errors);
}

#[tokio::test]
async fn a_gateway_with_faults_does_not_start() {
    let ended = gatewright().run(&["run", "--config", "/nowhere/gateway.toml"]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.errors.contains("/nowhere/gateway.toml"), "{}", ended.errors);
}

#[tokio::test]
async fn schema_prints_a_json_schema() {
    let ended = gatewright().run(&["schema"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    let schema: Value = serde_json::from_str(&ended.output).unwrap();
    assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"), "{schema}");
    for key in ["server", "admin", "log", "plugins", "plugin", "keys", "service", "api"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}

#[tokio::test]
async fn the_reference_in_the_docs_is_what_the_schema_says() {
    let ended = gatewright().run(&["schema", "--markdown"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page == ended.output,
        "`cargo run -p gatewright -- schema --markdown > docs/configuration.md` brings it up to date"
    );
}

#[tokio::test]
async fn the_contract_is_that_of_the_repository() {
    let ended = gatewright().run(&["contract"]).await;
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/v0.1/policy.wit");
    assert_eq!((ended.code, ended.output), (Some(0), std::fs::read_to_string(wit).unwrap()));
}

#[tokio::test]
async fn help_says_what_each_command_does() {
    let ended = gatewright().run(&["--help"]).await;
    assert_eq!(ended.code, Some(0));
    for command in ["run", "check", "schema", "contract", "inspect", "try", "explain"] {
        assert!(ended.output.contains(command), "{}", ended.output);
    }
}
