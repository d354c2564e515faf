//! Swaps without end: hundreds under load, half of them broken, and what a thousand leave behind in memory.
//!
//! The short form runs with all tests. `cargo xtask soak` runs the whole one, on a release build, and shows the table.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gatewright_tests::{Program, guest, setup, sha256, until};

use crate::command::built;
use crate::plugins::says;

/// The same plugin says who calls and answers: both must be of one version. The bounds are the default ones, but a
/// `configure` without end may take less.
const SHOP: &str = r#"
    server = { workers = 2, failed_auth = false }
    plugins = { cache = "cache" }
    log = { access = false }
    plugin.one = { call_time = "1s", configure_time = "200ms" }
    service.orders = { endpoints = ["127.0.0.1:9"] }
    [[api]]
    name = "shop"
    services = ["orders"]
    auth = [{ plugin = "one" }]
    routing = { plugin = "one", settings = { after = "auth" } }
"#;
/// Clients that ask without a pause.
const CLIENTS: usize = 4;

/// A plugin that grants every request this caller, and answers with the caller's name where it is its own.
fn version(text: &str) -> Vec<u8> {
    version_with(text, "")
}

/// What [`large`] has of memory in each instance, in use.
const LARGE_BYTES: u64 = 16 << 20;

/// The same, with much more memory.
fn large(text: &str) -> Vec<u8> {
    let take = format!(
        "(drop (memory.grow (i32.const {pages}))) (memory.fill (i32.const 131072) (i32.const 1) (i32.const {LARGE_BYTES}))",
        pages = LARGE_BYTES >> 16
    );
    version_with(text, &take)
}

/// `first` is what its `configure` begins with.
fn version_with(text: &str, first: &str) -> Vec<u8> {
    let length = text.len();
    guest(&format!(
        r#"(import "gatewright:policy/inputs@0.1.0" "caller-subject" (func $caller (result i32)))
        (data (i32.const 4096) "{text}")
        (data (i32.const 8192) "of two versions")
        (func $configure (result i32)
            {first}
            (if (i32.gt_u (global.get $settings-length) (i32.const 2)) (then (drop (call $caller))))
            (call $ok))
        (func $identify (result i32) (call $grant (i32.const 4096) (i32.const {length})))
        (func $same (result i32)
            (local $at i32)
            (if (i32.ne (call $value-length (i32.const 0)) (i32.const {length})) (then (return (i32.const 0))))
            (loop $next
                (if (i32.ne (i32.load8_u (i32.add (call $value (i32.const 0)) (local.get $at)))
                            (i32.load8_u offset=4096 (local.get $at))) (then (return (i32.const 0))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const {length}))))
            (i32.const 1))
        (func $route (result i32)
            (if (call $same) (then (return (call $respond (i32.const 200) (i32.const 4096) (i32.const {length})))))
            (call $respond (i32.const 500) (i32.const 8192) (i32.const 15)))"#
    ))
}

/// A file that must not go live, each in another way.
fn broken(number: usize) -> Vec<u8> {
    let whole = says(&format!("broken {number}"));
    let text = match number % 6 {
        0 => return format!("no component {number}").into_bytes(),
        1 => return whole[..whole.len() / 2].to_vec(),
        // It is none for auth.
        2 => return whole,
        3 => "(func $configure (result i32) unreachable)".to_owned(),
        4 => "(func $configure (result i32) (loop $for-ever (br $for-ever)) (call $ok))".to_owned(),
        _ => "(func $first unreachable) (start $first)".to_owned(),
    };
    let stages = "(func $identify (result i32) (call $ok)) (func $route (result i32) (call $ok))";
    guest(&format!("(data (i32.const 4096) \"{number}\") {text} {stages}"))
}

/// What clients saw.
#[derive(Default)]
struct Load {
    requests: usize,
    failed: usize,
    versions: BTreeSet<String>,
    times: Vec<Duration>,
}

impl Load {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.versions.extend(other.versions);
        self.times.extend(other.times);
        self.times.sort_unstable();
    }

    fn p99(&self) -> Duration {
        self.times.get(self.times.len() * 99 / 100).copied().unwrap_or_default()
    }
}

/// Asks for this again and again on a connection that is kept.
async fn ask(program: Arc<Program>, target: &'static str, stop: Arc<AtomicBool>) -> Load {
    let mut load = Load::default();
    let connection = program.http1().await;
    while !stop.load(Relaxed) {
        let began = Instant::now();
        let answer = connection.get(target).tried().await.expect("the connection is kept");
        load.times.push(began.elapsed());
        load.requests += 1;
        load.failed += usize::from(answer.status != 200);
        load.versions.insert(answer.text());
    }
    load
}

/// Drops a file in, and waits until this has become of it; answers how long that took from its last byte, as operators see it.
async fn settled(program: &Program, bytes: &[u8], outcome: &str) -> Duration {
    let digest = sha256(bytes);
    program.drop_in("one", bytes);
    let began = Instant::now();
    let plugin = until("something has become of a file", async || {
        let plugin = program.admin("/plugins").await.is(200).json()["one"].clone();
        (plugin["seen"][0]["digest"] == *digest).then_some(plugin)
    })
    .await;
    assert_eq!(plugin["seen"][0]["outcome"], outcome, "{plugin}");
    began.elapsed()
}

/// What came of swaps under load.
struct Swaps {
    files: usize,
    took: Duration,
    load: Load,
    /// From the file's last byte to live.
    live_after: Vec<Duration>,
}

/// As many files, every other one broken, spread over this time.
async fn swaps(program: &Arc<Program>, files: usize, time: Duration) -> Swaps {
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(ask(Arc::clone(program), "/", Arc::clone(&stop)))).collect();
    let began = Instant::now();
    let mut live_after = Vec::new();
    for file in 0..files {
        tokio::time::sleep_until((began + time.mul_f64(file as f64 / files as f64)).into()).await;
        if file % 2 == 0 {
            live_after.push(settled(program, &version(&format!("version {file}")), "live").await);
        } else {
            settled(program, &broken(file / 2), "rejected").await;
        }
    }
    let took = began.elapsed();
    stop.store(true, Relaxed);
    let mut load = Load::default();
    for client in clients {
        load.add(client.await.unwrap());
    }
    live_after.sort_unstable();
    Swaps { files, took, load, live_after }
}

impl Swaps {
    fn check(&self) {
        assert_eq!(self.load.failed, 0, "{:?}", self.load.versions);
        let known = (0..self.files).step_by(2).map(|file| format!("version {file}")).chain(["version".to_owned()]);
        assert!(self.load.versions.is_subset(&known.collect()), "{:?}", self.load.versions);
    }
}

impl fmt::Display for Swaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, took, load, live_after } = self;
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        let middle = live_after.get(live_after.len() / 2).copied().unwrap_or_default();
        writeln!(f, "{files} files in {:.1} s under load, every other one broken", took.as_secs_f64())?;
        writeln!(f, "  requests           {:>9}", load.requests)?;
        writeln!(f, "  failed             {:>9}", load.failed)?;
        writeln!(f, "  versions seen      {:>9}  of {}", load.versions.len(), live_after.len() + 1)?;
        writeln!(f, "  latency p99        {:>9.2} ms", milliseconds(load.p99()))?;
        writeln!(f, "  latency most       {:>9.2} ms", load.times.last().copied().map_or(0.0, milliseconds))?;
        writeln!(f, "  live after, median {:>9.2} ms", milliseconds(middle))?;
        writeln!(f, "  live after, most   {:>9.2} ms", live_after.last().copied().map_or(0.0, milliseconds))
    }
}

/// What swaps leave behind.
struct Memory {
    after: [(usize, u64); 2],
}

/// Looks at the memory after so many swaps and after so many, each of which is asked something.
async fn memory(program: &Program, counts: [usize; 2]) -> Memory {
    let mut after = counts.map(|count| (count, 0));
    let mut swapped = 0;
    for (count, bytes) in &mut after {
        while swapped < *count {
            swapped += 1;
            let text = format!("swap {swapped}");
            settled(program, &version(&text), "live").await;
            program.get("/").await.is(200).says(&text);
        }
        *bytes = program.resident_bytes();
    }
    Memory { after }
}

impl Memory {
    /// By how much more it is, of one.
    fn growth(&self) -> f64 {
        let [(_, before), (_, after)] = self.after;
        after as f64 / before as f64 - 1.0
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "resident memory")?;
        for (count, bytes) in self.after {
            writeln!(f, "  after {count:>5} swaps  {:>9.1} MiB", bytes as f64 / f64::from(1 << 20))?;
        }
        writeln!(f, "  more by            {:>9.1} %", self.growth() * 100.0)
    }
}

/// How long a version's memory outlives its last request.
async fn outlived(program: &Program) -> Duration {
    settled(program, &version("small"), "live").await;
    let before = program.resident_bytes();
    settled(program, &large("large"), "live").await;
    program.get("/").await.is(200).says("large");
    assert!(program.resident_bytes() > before + 3 * LARGE_BYTES, "two uses on two workers have it");
    settled(program, &version("small again"), "live").await;
    let began = Instant::now();
    until("the memory is gone", async || (program.resident_bytes() < before + LARGE_BYTES).then_some(())).await;
    began.elapsed()
}

/// Two APIs: one has a plugin that never comes back from a call.
const NEIGHBOURS: &str = r#"
    server = { workers = 2 }
    log = { access = false }
    service.orders = { endpoints = ["127.0.0.1:9"] }
    [[api]]
    name = "calm"
    services = ["orders"]
    routing = { plugin = "one" }
    [[api]]
    name = "spins"
    paths = ["/spins"]
    services = ["orders"]
    routing = { plugin = "spins" }
"#;

/// The latency that 99 of 100 requests kept which do not use a plugin that spins: before that was ever asked, and from its
/// suspension on, its trials included.
struct Neighbours {
    p99: [Duration; 2],
}

async fn neighbours(time: Duration) -> Neighbours {
    let spins = guest(include_str!("../../guests/spin-in-call.wat"));
    let setup = setup(NEIGHBOURS).plugin("one", &says("calm")).plugin("spins", &spins);
    let program = Arc::new(built().start(setup).await);
    let before = p99_beside(&program, "/", time).await;
    until("a suspension", async || {
        program.get("/spins").await.is(503);
        let plugin = program.admin("/plugins").await.is(200).json()["spins"].clone();
        plugin["uses"][0]["suspended"].as_bool().unwrap().then_some(())
    })
    .await;
    Neighbours { p99: [before, p99_beside(&program, "/spins", time).await] }
}

/// The latency of calm requests, while another client asks for `other` without a pause.
async fn p99_beside(program: &Arc<Program>, other: &'static str, time: Duration) -> Duration {
    let stop = Arc::new(AtomicBool::new(false));
    let client = |target| tokio::spawn(ask(Arc::clone(program), target, Arc::clone(&stop)));
    let (other, clients) = (client(other), (0..CLIENTS).map(|_| client("/")).collect::<Vec<_>>());
    tokio::time::sleep(time).await;
    stop.store(true, Relaxed);
    other.await.unwrap();
    let mut load = Load::default();
    for client in clients {
        load.add(client.await.unwrap());
    }
    assert_eq!(load.failed, 0);
    load.p99()
}

impl Neighbours {
    /// What the latency is of what it was.
    fn ratio(&self) -> f64 {
        let [before, after] = self.p99.map(|time| time.as_secs_f64());
        after / before
    }
}

impl fmt::Display for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, after] = self.p99.map(|time| time.as_secs_f64() * 1000.0);
        writeln!(f, "requests beside a plugin that spins")?;
        writeln!(f, "  p99 before         {before:>9.2} ms")?;
        writeln!(f, "  p99 suspended      {after:>9.2} ms")?;
        writeln!(f, "  of what it was     {:>9.2}", self.ratio())
    }
}

async fn start() -> Arc<Program> {
    Arc::new(built().start(setup(SHOP).plugin("one", &version("version"))).await)
}

#[tokio::test]
async fn swaps_under_load_half_of_them_broken_fail_no_request_and_leave_no_memory() {
    let program = start().await;
    swaps(&program, 24, Duration::ZERO).await.check();
    let memory = memory(&program, [30, 90]).await;
    assert!(memory.growth() < 0.1, "{memory}");
    outlived(&program).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: `cargo xtask soak`"]
async fn soak() {
    let swaps = swaps(&start().await, 200, Duration::from_secs(60)).await;
    println!("\n{swaps}");
    let program = start().await;
    let memory = memory(&program, [50, 1000]).await;
    println!("{memory}");
    let outlived = outlived(&program).await;
    println!("memory of a version, gone {:.2} s after its last request\n", outlived.as_secs_f64());
    let neighbours = neighbours(Duration::from_secs(10)).await;
    println!("{neighbours}");
    swaps.check();
    assert!(swaps.took < Duration::from_secs(66), "200 swaps took {:?}", swaps.took);
    assert!(swaps.live_after.last().is_some_and(|most| *most <= Duration::from_secs(1)), "live within a second");
    assert!(memory.growth() <= 0.05, "within 5 %");
    assert!(outlived <= Duration::from_secs(5), "gone within 5 s");
    assert!(neighbours.ratio() <= 1.5, "a p99 within 1.5 times what it was");
}
