//! Plugins as enemies: each of `guests/*.wat` gets what it deserves, and nobody else notices.

use std::collections::BTreeSet;
use std::io::Write;

use gatewright_tests::{Connection, Gateway, Reply, guest, hostile, hostile_folder, setup, sha256, upstream};
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::Value;

use crate::command::gatewright;

/// The hostile plugin is `bad`, at `/bad`; another one serves `/good`.
fn shop(bad: &str) -> String {
    format!(
        r#"
        [[api]]
        name = "good"
        paths = ["/good"]
        services = ["orders"]
        routing = {{ plugin = "good" }}
        [[api]]
        name = "bad"
        paths = ["/bad"]
        {bad}
        "#
    )
}

const AUTH: &str = "service = \"orders\"\nauth = [{ plugin = \"bad\" }]";
const VALIDATION: &str = "service = \"orders\"\nvalidation = [{ plugin = \"bad\" }]";
const OPEN_VALIDATION: &str = "service = \"orders\"\nvalidation = [{ plugin = \"bad\", on_failure = \"open\" }]";
const ROUTING: &str = "services = [\"orders\"]\nrouting = { plugin = \"bad\" }";

/// Answers every request with `good`.
fn good() -> Vec<u8> {
    guest(
        r#"(data (i32.const 4096) "good")
        (func $route (result i32) (call $respond (i32.const 200) (i32.const 4096) (i32.const 4)))"#,
    )
}

fn failures(kind: &str) -> String {
    format!("gatewright_plugin_failures_total{{plugin=\"bad\",kind=\"{kind}\"}}")
}

const KINDS: [&str; 5] = ["trap", "time", "memory", "answer", "suspended"];

/// A thousand requests, each answered as it should be.
async fn a_thousand(connection: &Connection, target: &str) {
    a_thousand_say(connection, target, "good").await;
}

async fn a_thousand_say(connection: &Connection, target: &str, text: &str) {
    for _ in 0..1_000 {
        connection.get(target).await.is(200).says(text);
    }
}

/// A gateway on which a hostile guest fails.
struct Case {
    guest: &'static str,
    /// What the host allows it, where that is not what it usually is.
    host: &'static str,
    /// The API that it is for.
    api: &'static str,
    /// Requests that it answers well at first.
    trusted: usize,
    /// The kind of its failure.
    kind: &'static str,
}

/// A guest of the routing stage that fails in this way when it is called.
fn routing(guest: &'static str, kind: &'static str) -> Case {
    Case { guest, host: "", api: ROUTING, trusted: 0, kind }
}

/// Costs one refusal, one metric and its instance; who asks next on the same worker notices nothing.
async fn costs_one_503(case: Case) {
    let Case { guest, host, api, trusted, kind } = case;
    let orders = upstream("orders");
    let text = format!("[plugin.bad]\n{host}\n{}", shop(api));
    let gateway = setup(&text).to(&orders).plugin("bad", &hostile(guest)).plugin("good", &good()).start();
    let connection = gateway.http1().await;
    for _ in 0..trusted {
        connection.get("/bad").await.is(200);
    }
    let answer = connection.get("/bad").await;
    assert_eq!(answer.status, 503, "{guest}: {answer}");
    let answer = answer.problem("The policy of this API is not available").has("retry-after", "1");
    assert_eq!(answer.json().as_object().unwrap().len(), 3, "{guest}: a cause never reaches a client: {answer}");
    a_thousand(&connection, "/good").await;
    for other in KINDS {
        let count = gateway.metric(&failures(other)).await;
        assert_eq!(count, f64::from(u8::from(other == kind)), "{guest}: {other}");
    }
    let bad = gateway.plugin("bad", |_| true).await;
    assert_eq!((&bad.json["uses"][0]["failures"], bad.state.as_str()), (&1.into(), "live"), "{guest}: {}", bad.json);
    assert_eq!(orders.count(), 0, "{guest}");
}

const SHORT: &str = "call_time = \"100ms\"";

fn fail_in_a_call() -> Vec<Case> {
    vec![
        Case { host: SHORT, ..routing("spin-in-call", "time") },
        Case { host: SHORT, ..routing("bulk-memory", "time") },
        Case { host: SHORT, ..routing("log-flood", "time") },
        routing("trap", "trap"),
        Case { trusted: 3, ..routing("unreachable-after-three-calls", "trap") },
        routing("deep-recursion", "trap"),
        routing("declares-too-late", "trap"),
        Case { trusted: 1, ..routing("denied-and-goes-on", "trap") },
        Case { api: AUTH, ..routing("trap-in-auth", "trap") },
        Case { api: VALIDATION, ..routing("trap-in-validation", "trap") },
        Case { host: "memory = \"16MiB\"", ..routing("memory-bomb", "memory") },
        routing("table-bomb", "memory"),
    ]
}

fn answer_what_cannot_be() -> Vec<Case> {
    let auth = |guest| Case { api: AUTH, ..routing(guest, "answer") };
    vec![
        routing("huge-answer", "answer"),
        Case { host: "answer = \"64MiB\"", ..routing("forty-thousand-fields", "answer") },
        routing("splits-a-field", "answer"),
        routing("splits-a-name", "answer"),
        routing("splits-a-path", "answer"),
        routing("splits-a-request", "answer"),
        routing("climbs-out-of-the-path", "answer"),
        routing("pseudo-field", "answer"),
        routing("connection-field", "answer"),
        routing("sets-the-host", "answer"),
        routing("status-0", "answer"),
        routing("status-99", "answer"),
        routing("status-1000", "answer"),
        routing("refuses-with-200", "answer"),
        routing("service-that-does-not-exist", "answer"),
        routing("service-that-is-an-address", "answer"),
        routing("service-at-length", "answer"),
        routing("more-than-all", "answer"),
        routing("no-utf-8", "answer"),
        routing("no-such-variant", "answer"),
        routing("text-outside-of-memory", "answer"),
        routing("allocates-nowhere", "answer"),
        auth("grants-to-nobody"),
        auth("undeclared-identity"),
        auth("splits-an-identity"),
        Case { api: VALIDATION, ..routing("splits-a-refusal", "answer") },
    ]
}

#[tokio::test]
async fn a_guest_that_fails_in_a_call_costs_one_503() {
    for case in fail_in_a_call() {
        costs_one_503(case).await;
    }
}

#[tokio::test]
async fn a_guest_that_answers_what_cannot_be_costs_one_503() {
    for case in answer_what_cannot_be() {
        costs_one_503(case).await;
    }
}

/// More than a reason of a plugin's own has, with what the gateway says of it.
const MOST_REASON_BYTES: usize = 2_300;

/// The log of a gateway on which a hostile guest fails once, and the line of that.
async fn log_of(bad: &[u8], kind: &str) -> Vec<Value> {
    let text = format!("[plugin.bad]\n{SHORT}\n{}", shop(ROUTING));
    let setup = setup(&text).to(&upstream("orders")).plugin("bad", bad).plugin("good", &good());
    let mut program = gatewright().start(setup).await;
    program.get("/bad").await.is(503);
    assert!(program.text().await.len() < 2 * MOST_REASON_BYTES, "the access line has the reason too");
    program.get("/good").await.is(200);
    program.terminate();
    let ended = program.ended().await;
    let lines: Vec<Value> = ended.errors.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failures: Vec<_> = lines.iter().filter(|line| line["message"] == "plugin failed").collect();
    let [failure] = failures[..] else { panic!("one line: {failures:?}") };
    assert_eq!(
        (&failure["plugin"], &failure["version"], &failure["kind"], &failure["use"]),
        (&"bad".into(), &sha256(bad).into(), &kind.into(), &"bad.routing[0]".into())
    );
    assert!(failure["reason"].as_str().unwrap().len() < MOST_REASON_BYTES, "{failure}");
    lines
}

#[tokio::test]
async fn a_failure_is_one_line_of_the_log() {
    log_of(&hostile("trap"), "trap").await;
    log_of(&hostile("service-at-length"), "answer").await;
}

#[tokio::test]
async fn a_flood_of_lines_is_a_few() {
    let lines = log_of(&hostile("log-flood"), "time").await;
    let flood: Vec<_> = lines.iter().filter(|line| line["target"] == "plugin").collect();
    // 20 lines in each second of it, and it is stopped within one.
    assert!((1..=40).contains(&flood.len()), "{} lines", flood.len());
    for line in flood {
        assert_eq!((&line["plugin"], &line["api"], &line["stage"]), (&"bad".into(), &"bad".into(), &"routing".into()));
        assert_eq!(line["message"].as_str().unwrap().len(), 2048, "of 32768");
    }
}

#[tokio::test]
async fn where_a_validation_may_fail_open_a_hostile_one_costs_nothing() {
    let orders = upstream("orders");
    orders.answers(|_| Reply::text("good"));
    let bad = hostile("trap-in-validation");
    let gateway = setup(&shop(OPEN_VALIDATION)).to(&orders).plugin("bad", &bad).plugin("good", &good()).start();
    let connection = gateway.http1().await;
    connection.get("/bad").await.is(200).says("good");
    assert_eq!(gateway.metric(&failures("trap")).await, 1.0);
    a_thousand(&connection, "/good").await;
    // Suspended before long, which is a failure like others.
    a_thousand(&connection, "/bad").await;
    let bad = gateway.plugin("bad", |_| true).await;
    assert_eq!(bad.json["uses"][0]["suspended"], true, "{}", bad.json);
}

/// Guests that never go live, and what the operator reads.
const REJECTED: [(&str, &str); 22] = [
    ("wrong-world", "exports none of `auth`, `validation` and `routing` of gatewright:policy@0.1.0"),
    ("nothing-at-all", "exports none of `auth`, `validation` and `routing`"),
    ("for-another-stage", "cannot be used for routing"),
    ("missing-export", "cannot be used for routing"),
    ("another-shape", "cannot be used for routing"),
    ("ungranted-import", "imports `gatewright:policy/jwt@0.1.0`, which is not granted (`plugin.one.keys`"),
    ("unknown-import", "imports `evil:machine/shell@1.0.0`, which this host (contract 0.1.0) does not offer"),
    ("unknown-import-at-length", "imports `evil:machine-machine"),
    ("newer-contract", "imports `gatewright:policy/random@0.1.1#dice`, which this host (contract 0.1.0) does not"),
    ("start-function-trap", "failed: trap: wasm `unreachable` instruction executed, in born"),
    ("start-function-spin", "failed: over its time"),
    ("spin-in-configure", "`configure` for shop.routing[0] failed: over its time"),
    ("log-flood-in-configure", "failed: over its time"),
    ("trap-in-configure", "failed: trap: wasm `unreachable` instruction executed, in configure"),
    ("recursion-in-configure", "failed: trap: call stack exhausted, in deeper"),
    ("refuses-at-length", "`configure` for shop.routing[0]:  "),
    ("refuses-its-settings", "`configure` for shop.routing[0]: no thanks"),
    ("memory-bomb-in-configure", "failed: over its memory or its tables"),
    ("memory-at-birth", "failed: over its memory or its tables"),
    ("inputs-without-end", "failed: trap: more than 64 inputs"),
    ("wavering", "declares something else each time"),
    ("splits-a-challenge", "is no field value"),
];

#[tokio::test]
async fn a_guest_that_cannot_go_live_leaves_the_last_good_one_serving_and_is_told_in_one_line() {
    let orders = upstream("orders");
    let text = format!("[plugin.one]\nconfigure_time = \"100ms\"\n{ONE}");
    let gateway = setup(&text).to(&orders).plugin("one", &good()).start();
    let connection = gateway.http1().await;
    for (guest, reason) in REJECTED {
        rejected(&gateway, guest, reason, async || gateway.drop_in("one", &hostile(guest))).await;
        a_thousand(&connection, "/").await;
    }
}

const ONE: &str = r#"
    [[api]]
    name = "shop"
    services = ["orders"]
    routing = { plugin = "one" }
"#;

/// Something is put where the plugin `one` is; it is rejected once, in one line with this reason, and the good one serves.
async fn rejected(gateway: &Gateway, what: &str, reason: &str, put: impl AsyncFnOnce()) {
    const REJECTED: &str = "gatewright_plugin_swaps_total{plugin=\"one\",outcome=\"rejected\"}";
    let before = gateway.metric(REJECTED).await;
    put().await;
    gateway.metric_is(REJECTED, |now| now > before).await;
    let one = gateway.plugin("one", |plugin| plugin.fault.is_some()).await;
    let fault = one.fault.unwrap();
    assert!(fault.contains(reason) && !fault.contains('\n') && fault.len() < MOST_REASON_BYTES, "{what}: {fault:?}");
    assert_eq!((one.state.as_str(), one.digest), ("failed", Some(sha256(&good()))), "{what}: {}", one.json);
    assert_eq!(gateway.metric(REJECTED).await, before + 1.0, "{what}");
}

#[tokio::test]
async fn what_is_no_plugins_file_leaves_the_last_good_one_serving() {
    let orders = upstream("orders");
    let gateway = setup(ONE).to(&orders).plugin("one", &good()).start();
    let connection = gateway.http1().await;
    let (file, draft) = (gateway.plugin_file("one"), gateway.file("plugins").join(".draft"));
    let put = || std::fs::rename(&draft, &file).unwrap();
    rejected(&gateway, "a file of 100 MiB", "104857600 bytes; 33554432 are the most", async || {
        let large = std::fs::File::create(&draft).unwrap();
        large.set_len(100 << 20).unwrap();
        put();
    })
    .await;
    a_thousand(&connection, "/").await;
    rejected(&gateway, "a FIFO", "a FIFO, not a regular file", async || {
        mkfifoat(CWD, &draft, Mode::RUSR | Mode::WUSR).unwrap();
        put();
    })
    .await;
    a_thousand(&connection, "/").await;
    rejected(&gateway, "a link out of the folder", "a symbolic link that leads out of the folder", async || {
        std::fs::write(gateway.file("elsewhere.wasm"), hostile("trap")).unwrap();
        std::os::unix::fs::symlink("../elsewhere.wasm", &draft).unwrap();
        put();
    })
    .await;
    a_thousand(&connection, "/").await;
    rejected(&gateway, "a truncated file", "not a WebAssembly component", async || {
        let whole = guest("(func $route (result i32) unreachable)");
        std::fs::write(&draft, &whole[..whole.len() - 1]).unwrap();
        put();
    })
    .await;
    a_thousand(&connection, "/").await;
}

#[tokio::test]
async fn a_file_that_is_rewritten_in_place_piece_by_piece_is_taken_when_it_is_whole_and_never_before() {
    let orders = upstream("orders");
    let gateway = setup(ONE).to(&orders).plugin("one", &good()).start();
    let connection = gateway.http1().await;
    let better = guest(
        r#"(data (i32.const 4096) "better")
        (func $route (result i32) (call $respond (i32.const 200) (i32.const 4096) (i32.const 6)))"#,
    );
    let mut file = std::fs::OpenOptions::new().write(true).open(gateway.plugin_file("one")).unwrap();
    let (last, pieces) = better.split_last().unwrap();
    for piece in pieces.chunks(pieces.len().div_ceil(1_000)) {
        file.write_all(piece).unwrap();
        connection.get("/").await.is(200).says("good");
    }
    file.write_all(&[*last]).unwrap();
    drop(file);
    gateway.serves("one", &better).await;
    a_thousand_say(&connection, "/", "better").await;
    assert_eq!(gateway.plugin("one", |_| true).await.number("versions"), 2);
    assert_eq!(gateway.metric("gatewright_plugin_swaps_total{plugin=\"one\",outcome=\"live\"}").await, 1.0);
}

#[test]
fn every_hostile_guest_has_its_test() {
    let calls = fail_in_a_call().into_iter().chain(answer_what_cannot_be()).map(|case| case.guest);
    let rejected = REJECTED.iter().map(|(guest, _)| *guest);
    let tested: BTreeSet<String> = calls.chain(rejected).chain(["fails-when-told"]).map(str::to_owned).collect();
    let files = std::fs::read_dir(hostile_folder()).unwrap().map(|entry| entry.unwrap().path());
    let there: BTreeSet<String> = files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(tested, there);
}
