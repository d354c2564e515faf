//! What `cargo xtask run` starts and prints: every line of it does what it says.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use gatewright_tests::{Port, Program, moved, port, reference, until, within};
use xtask::demo::{self, Try};
use xtask::{house, packages};

use crate::command::gatewright;

/// Signs the demo's tokens.
const SECRET: &str = "the secret of a demo that only a test sees, 0123456789abcdef";

/// The demo on ports of its own, as long as this lives.
struct Demo {
    gateway: Program,
    /// The endpoint that the last try makes fail.
    failing: SocketAddr,
    _services: demo::service::Services,
    _ports: Vec<Port>,
}

/// Everything that `cargo xtask run` starts.
async fn demo() -> Demo {
    let mut text = std::fs::read_to_string(house::quickstart()).unwrap();
    for address in [demo::GATEWAY, demo::ADMIN] {
        text = moved(&text, address, "127.0.0.1:0");
    }
    let (mut services, mut ports) = (demo::service::Services::new(), Vec::new());
    let mut failing = None;
    for (name, address) in demo::SERVICES.iter().flat_map(|(name, all)| all.iter().map(move |one| (name, *one))) {
        let port = port();
        services.open(name, port.address).await.unwrap();
        text = moved(&text, address, &port.address.to_string());
        if address == demo::FAILING {
            failing = Some(port.address);
        }
        ports.push(port);
    }
    let (folder, file) = laid_out(&text);
    let cache = house::root().join("target/test-cache-home");
    let gateway =
        gatewright().variable(demo::SECRET_VARIABLE, SECRET).variable("XDG_CACHE_HOME", cache.to_str().unwrap());
    let gateway = gateway.start_with(folder, &file).await;
    until("the gateway is ready", async || (gateway.admin("/readyz").await.status == 200).then_some(())).await;
    Demo { gateway, failing: failing.expect("it is an endpoint"), _services: services, _ports: ports }
}

/// The configuration in a folder where the plugins are as far away as they are in the repository.
fn laid_out(text: &str) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let place = |path: &Path| root.path().join(path.strip_prefix(house::root()).unwrap());
    let (plugins, file) = (place(&house::plugins()), place(&house::quickstart()));
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::create_dir_all(&plugins).unwrap();
    for name in ["jwt", "json-schema", "versions"] {
        std::fs::write(plugins.join(format!("{name}.wasm")), reference(name)).unwrap();
    }
    std::fs::write(&file, text).unwrap();
    (root, file)
}

/// What a line printed, answer by answer: each from its status line on.
async fn run(line: &str, token: &str) -> Vec<String> {
    let mut shell = tokio::process::Command::new("sh");
    let output = shell.args(["-c", line]).env("TOKEN", token).kill_on_drop(true).output();
    let output = within(line, output).await.unwrap();
    assert!(output.status.success(), "{line}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let answers = text.split("HTTP/1.1 ").skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert!(!answers.is_empty(), "{line}: {text}");
    answers
}

/// An answer's status.
fn status(answer: &str) -> u16 {
    answer.get(..3).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {answer}"))
}

/// The last answer is what the line is there to show.
fn shows(expected: &Try, answers: &[String]) {
    let (line, last) = (&expected.command, answers.last().unwrap());
    assert_eq!(status(last), expected.status, "{line}: {answers:#?}");
    let head = last.split("\r\n\r\n").next().unwrap();
    if let Some(field) = expected.field {
        let mut names = head.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name);
        assert!(names.any(|name| name.eq_ignore_ascii_case(field)), "{line}: no {field}: {last}");
    }
}

#[tokio::test]
async fn every_line_that_the_demo_prints_does_what_it_says() {
    packages::install_missing(&[("curl", "curl")]).unwrap();
    let demo = demo().await;
    let token = demo::mint(SECRET, "ada", demo::SCOPES, demo::now()).unwrap();
    let tries = demo::tries(demo.gateway.address, demo.failing);
    let statuses = tries.iter().map(|one| one.status).collect::<Vec<_>>();
    assert!([200, 401, 403, 400, 429].iter().all(|status| statuses.contains(status)), "{statuses:?}");
    let mut answers = Vec::new();
    for one in &tries {
        answers = run(&one.command, &token).await;
        shows(one, &answers);
    }
    // The last line makes an endpoint fail, and then asks six times: nobody notices.
    let failing = format!("\"endpoint\":\"{}\"", demo.failing);
    let (farewell, others) = answers.split_first().unwrap();
    assert!(farewell.contains(&failing), "{farewell}");
    assert_eq!(others.len(), 6, "{answers:#?}");
    for answer in others {
        assert_eq!(status(answer), 200, "{answers:#?}");
        assert!(!answer.contains(&failing), "{answers:#?}");
    }
}
