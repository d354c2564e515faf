//! `cargo xtask conformance`: public suites against the gateway, with every known difference and its reason.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::process::{Running, run, tied};
use crate::{demo, house, ready, tools};

mod known;

/// What of the WebSocket suite is left out: large messages, which try the server's speed, and compression, which the gateway
/// neither offers nor looks into.
const LEFT_OUT: [&str; 3] = ["9.*", "12.*", "13.*"];

/// Runs the suites against a debug build of the gateway.
///
/// # Errors
///
/// A suite cannot be installed or run, differs from what is known, or shows something else through the gateway than without it.
pub fn conformance() -> Result<()> {
    run(house::workspace_cargo().args(["build", "--package", "gatewright"]))?;
    let http = http()?;
    let websocket = websocket()?;
    if http && websocket { Ok(()) } else { bail!("not all is as it is known to be") }
}

/// A gateway before one service, with what it needs.
struct Gateway {
    address: SocketAddr,
    _running: Running,
    _folder: tempfile::TempDir,
}

impl Gateway {
    fn start(service: SocketAddr) -> Result<Self> {
        let (address, admin) = (ready::free_address()?, ready::free_address()?);
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, config(address, admin, service))?;
        std::fs::create_dir(folder.path().join("plugins"))?;
        let mut command = tied(&house::root().join("target/debug/gatewright"));
        command.arg("run").arg("--config").arg(&file).stdout(Stdio::null());
        let mut running = Running::start(&mut command)?;
        ready::wait(&mut running, admin, "/readyz")?;
        Ok(Self { address, _running: running, _folder: folder })
    }
}

fn config(address: SocketAddr, admin: SocketAddr, service: SocketAddr) -> String {
    format!(
        "server = {{ listen = \"{address}\" }}\nadmin = {{ listen = \"{admin}\" }}\nlog = {{ level = \"error\", access = false }}\n\
         [service.tried]\nendpoints = [\"{service}\"]\n[[api]]\nname = \"tried\"\nservice = \"tried\"\n"
    )
}

/// `httpwg`: what RFC 9113 and 7541 say of frames, streams and header blocks. Whether it is as it is known to be.
fn http() -> Result<bool> {
    let suite = tools::of_crate("httpwg-cli", "0.2.5", "httpwg")?;
    let service = ready::free_address()?;
    services(service)?;
    let gateway = Gateway::start(service)?;
    println!("xtask: httpwg");
    let output = Command::new(suite).args(["--frame-timeout", "2000", "-a", &gateway.address.to_string()]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let results = known::results(&text);
    if results.is_empty() {
        bail!("httpwg says nothing:\n{text}");
    }
    Ok(known::report(&results))
}

/// Starts a demo service in a thread of its own, for as long as we live.
fn services(address: SocketAddr) -> Result<()> {
    let (said, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut services = demo::service::Services::new();
            let opened = services.open("tried", address).await;
            let good = opened.is_ok();
            let _ = said.send(opened);
            if good {
                // It never comes back.
                services.serve().await;
            }
        });
        anyhow::Ok(())
    });
    heard.recv().context("no service")?.map(drop)
}

/// `kosoku`, which has Autobahn's cases: the same with the gateway in between as without it.
fn websocket() -> Result<bool> {
    let programs = tools::of_python("websocket", &["kosoku==0.1.0", "websockets==17.4"])?;
    let service = ready::free_address()?;
    let script = house::root().join("xtask/src/conformance/echo.py");
    let mut echo = tied(&programs.join("python"));
    let mut echo = Running::start(echo.arg(script).arg(service.port().to_string()))?;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while std::net::TcpStream::connect(service).is_err() {
        echo.still()?;
        if std::time::Instant::now() > end {
            bail!("the echo server does not listen");
        }
        std::thread::sleep(ready::GLANCE);
    }
    let gateway = Gateway::start(service)?;
    let direct = cases(&programs, service, "direct")?;
    let through = cases(&programs, gateway.address, "through")?;
    let is_other = |case: &Case, name: &str| through.get(name).is_none_or(|through| !case.is_like(through));
    let differing: Vec<_> = direct.iter().filter(|(name, case)| is_other(case, name)).map(|(name, _)| name).collect();
    for case in &differing {
        println!("  {case}: {:?} without the gateway, {:?} through it", direct.get(*case), through.get(*case));
    }
    let fine = direct.values().filter(|case| case.behavior != "FAILED").count();
    println!(
        "xtask: kosoku: {} cases, {fine} fine without the gateway, {} differ through it",
        direct.len(),
        differing.len()
    );
    Ok(differing.is_empty() && direct.len() == through.len())
}

/// What became of a case of the WebSocket suite.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    behavior: String,
    behavior_close: String,
    remote_close_code: Option<u16>,
}

impl Case {
    /// Whether the suite takes both for the same. `OK` and `NON-STRICT` are: whether a message before a fault is still echoed depends
    /// on whether the echo server finds both in one read, and without a gateway too that is now so and now so.
    fn is_like(&self, other: &Self) -> bool {
        let is_taken = |case: &Self| matches!(case.behavior.as_str(), "OK" | "NON-STRICT");
        (self.behavior == other.behavior || is_taken(self) && is_taken(other))
            && self.behavior_close == other.behavior_close
            && self.remote_close_code == other.remote_close_code
    }
}

/// Runs the WebSocket suite against an address.
fn cases(programs: &Path, address: SocketAddr, name: &str) -> Result<BTreeMap<String, Case>> {
    let folder: PathBuf = house::root().join("target/conformance").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    println!("xtask: kosoku, {name}");
    let mut suite = Command::new(programs.join("kosoku"));
    suite.args(LEFT_OUT.iter().flat_map(|left_out| ["-x", left_out])).arg("-o").arg(&folder).arg(address.to_string());
    // It fails where a case does: what counts is whether the gateway makes a difference.
    suite.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let index = std::fs::read(folder.join("index.json")).context("kosoku wrote no report")?;
    let agents: BTreeMap<String, BTreeMap<String, Case>> = serde_json::from_slice(&index)?;
    agents.into_values().next().context("kosoku's report is empty")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_like_another_unless_the_suite_tells_them_apart() {
        let case = |behavior: &str, code| Case {
            behavior: behavior.into(),
            behavior_close: "OK".into(),
            remote_close_code: Some(code),
        };
        assert!(case("OK", 1002).is_like(&case("NON-STRICT", 1002)) && case("FAILED", 1).is_like(&case("FAILED", 1)));
        assert!(!case("OK", 1002).is_like(&case("FAILED", 1002)) && !case("FAILED", 1).is_like(&case("NON-STRICT", 1)));
        assert!(!case("OK", 1002).is_like(&case("NON-STRICT", 1000)));
    }
}
