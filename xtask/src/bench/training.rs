//! What a build of the gateway is watched doing (`cargo xtask release`): all that most gateways do most of the time. What it is
//! not seen doing is taken for rare, and made small in place of fast.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};

use super::Bench;
use super::load::{Load, Requests};
use super::requests::{CONNECTIONS, sample};
use super::server::{self, Place};
use super::setting::{self, Calls, Policy};
use crate::packages::install_missing;
use crate::process::run;
use crate::ready;

/// Requests of each kind that h2load sends.
const REQUESTS: &str = "60000";

/// How h2load asks: HTTP/2 and HTTP/1.1, with a body and without.
const WAYS: [&[&str]; 4] = [&["-m8"], &["--h1"], &["-m8", "-d"], &["--h1", "-d"]];

/// Loads a gateway without policy and with each, in clear and with TLS, over HTTP/1.1 and HTTP/2, with and without bodies.
pub(super) fn train(bench: &Bench) -> Result<()> {
    install_missing(&[("h2load", "nghttp2-client")])?;
    let folder = bench.folder("training")?;
    let upstream = server::upstream(&folder, Place::Beside)?;
    let requests = Requests::write(&folder, &bench.issuer, 1_000, 10_000)?;
    for policy in [Policy::Hs256, Policy::Es256(Calls::Remembered), Policy::Es256(Calls::Each)] {
        let gateway = bench.gateway(policy, 1, &bench.plugins, upstream.address);
        let server = server::gateway(&folder, &format!("{policy:?}"), Place::Alone, &gateway)?;
        for connections in CONNECTIONS {
            let load = Load { requests: requests.clone(), connections, place: Place::Beside };
            println!("xtask: {policy:?} under {load}");
            sample(bench, &server, &load)?;
        }
    }
    let (none, pair, tls) = (folder.join("no-plugins"), pair(&folder)?, ready::free_address()?);
    std::fs::create_dir_all(&none)?;
    let mut gateway = bench.gateway(Policy::None, 1, &none, upstream.address);
    gateway.tls = Some((tls, &pair));
    let server = server::gateway(&folder, "pass-through", Place::Alone, &gateway)?;
    for connections in CONNECTIONS {
        let load = Load { requests: requests.clone(), connections, place: Place::Beside };
        println!("xtask: pass-through under {load}");
        sample(bench, &server, &load)?;
    }
    let body = folder.join("body");
    std::fs::write(&body, "x".repeat(2048))?;
    for target in [format!("http://{}", server.address), format!("https://{tls}")] {
        for way in WAYS {
            ask(&format!("{target}{}", setting::path(0)), way, &body)?;
        }
    }
    Ok(())
}

/// Has h2load ask in one way, over few connections and over many.
fn ask(url: &str, way: &[&str], body: &Path) -> Result<()> {
    println!("xtask: {url} with {}", way.join(" "));
    for connections in CONNECTIONS {
        let mut command = server::placed(Place::Beside, Path::new("h2load"));
        command.args(["-n", REQUESTS, "-c", &connections.to_string()]).args(way);
        if way.contains(&"-d") {
            command.arg(body);
        }
        run(command.arg(url).stdout(Stdio::null()))?;
    }
    Ok(())
}

/// A file with a certificate and its key.
fn pair(folder: &Path) -> Result<PathBuf> {
    let file = folder.join("pair.pem");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).context("no certificate")?;
    std::fs::write(&file, made.cert.pem() + &made.signing_key.serialize_pem())?;
    Ok(file)
}
