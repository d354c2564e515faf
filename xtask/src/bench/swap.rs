//! How long it takes from a plugin file's last byte until its code serves, under load.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Result, bail};
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

use super::Bench;
use super::goals::{Bound, Goal, Goals};
use super::load::{Load, Requests};
use super::server::{self, Place, Server};
use super::setting::{Calls, Policy};
use crate::ready;

/// The plugins, from small to large.
const PLUGINS: [&str; 3] = ["jwt", "versions", "json-schema"];
/// How often each of them is swapped.
const SWAPS: usize = 20;
/// Connections of the load.
const CONNECTIONS: u32 = 64;
/// Before each swap: time to fill caches again.
const PAUSE: Duration = Duration::from_millis(200);
/// Between two looks at what is live.
const GLANCE: Duration = Duration::from_millis(1);
/// What was not compiled before takes seconds.
const MOST_WAIT: Duration = Duration::from_secs(60);

/// Overwrites each plugin's file in place with one and the other of two versions, both compiled before, and prints how
/// long they took to serve. All CPUs are everybody's.
pub(super) fn measure(bench: &Bench, goals: &mut Goals) -> Result<()> {
    let folder = bench.folder("swap")?;
    let plugins = folder.join("plugins");
    fs::create_dir(&plugins)?;
    let file = |name| SwappedFile::new(name, &bench.plugins, &plugins);
    let mut files = PLUGINS.into_iter().map(file).collect::<Result<Vec<_>>>()?;
    let upstream = server::upstream(&folder, Place::Anywhere)?;
    let workers = thread::available_parallelism().map_or(1, Into::into);
    let policy = Policy::Es256(Calls::Remembered);
    let gateway = bench.gateway(policy, workers, &plugins, upstream.address);
    let server = server::gateway(&folder, "gateway", Place::Anywhere, &gateway)?;
    // Now both versions of each are compiled.
    for _ in 0..2 {
        files.iter_mut().try_for_each(|file| file.swap(&server).map(drop))?;
    }
    let requests = Requests::write(&folder, &bench.issuer, 1_000, 10_000)?;
    let load = Load { requests, connections: CONNECTIONS, place: Place::Anywhere };
    println!("\nswaps under {load}, {workers} workers, on all CPUs with load and upstream");
    swap_under(&load, &server, &mut files, goals)
}

fn swap_under(load: &Load, server: &Server, files: &mut [SwappedFile], goals: &mut Goals) -> Result<()> {
    load.warm(server)?;
    let underway = load.begin(server)?;
    let mut worst = Vec::new();
    for file in files {
        let mut times = Vec::with_capacity(SWAPS);
        for _ in 0..SWAPS {
            thread::sleep(PAUSE);
            times.push(file.swap(server)?);
        }
        times.sort_unstable();
        let at = |index: usize| times.get(index).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
        let (median, last) = (at(SWAPS / 2), at(SWAPS - 1));
        println!("  {:<12} live {median:.1} ms after the last byte (median of {SWAPS}; worst {last:.1} ms)", file.name);
        worst.push(last);
    }
    let figures = underway.end()?;
    println!("  {} of {} requests failed", figures.bad, figures.requests);
    if figures.bad > 0 {
        println!("{}", server.complaints());
    }
    let what = format!("worst swap of {}", PLUGINS.join(", "));
    goals.add(Goal { what, seen: worst, bound: Bound::AtMost(50.0), unit: "ms" });
    let what = "requests that failed meanwhile".to_owned();
    goals.add(Goal { what, seen: vec![figures.bad as f64], bound: Bound::AtMost(0.0), unit: "" });
    Ok(())
}

/// A plugin's file, which is now one version and now the other.
struct SwappedFile {
    name: &'static str,
    file: PathBuf,
    /// The next one first.
    versions: [Version; 2],
}

struct Version {
    bytes: Vec<u8>,
    /// As the admin API shows it.
    digest: String,
}

impl SwappedFile {
    /// Writes a built plugin into another folder. Its second version has one more custom section, and is as much work.
    fn new(name: &'static str, from: &Path, to: &Path) -> Result<Self> {
        /// Section 0, its 6 bytes, and a name of 5 in them.
        const CUSTOM: &[u8] = b"\x00\x06\x05other";
        let file = Path::new(name).with_extension("wasm");
        let bytes = fs::read(from.join(&file))?;
        let file = to.join(file);
        fs::write(&file, &bytes)?;
        let other = [&bytes, CUSTOM].concat();
        Ok(Self { name, file, versions: [other, bytes].map(Version::new) })
    }

    /// Writes the other version and waits until it serves: how long that took, as seen by an operator's client.
    fn swap(&mut self, server: &Server) -> Result<Duration> {
        let [next, _] = &self.versions;
        fs::write(&self.file, &next.bytes)?;
        let written = Instant::now();
        loop {
            let shown = self.shown(server.admin);
            if shown.as_ref().and_then(|shown| shown.get("digest")?.as_str()) == Some(&next.digest) {
                break;
            }
            if written.elapsed() > MOST_WAIT {
                let shown = shown.unwrap_or_default();
                let (name, digest, complaints) = (self.name, &next.digest, server.complaints());
                bail!("{name} {digest} is not live within {} s: {shown}\n{complaints}", MOST_WAIT.as_secs());
            }
            thread::sleep(GLANCE);
        }
        let took = written.elapsed();
        self.versions.swap(0, 1);
        Ok(took)
    }

    /// What the admin API shows of the plugin.
    fn shown(&self, admin: SocketAddr) -> Option<Value> {
        let plugins: Value = serde_json::from_str(&ready::text(admin, "/plugins")?).ok()?;
        plugins.get(self.name).cloned()
    }
}

impl Version {
    fn new(bytes: Vec<u8>) -> Self {
        let digest = digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { bytes, digest }
    }
}
