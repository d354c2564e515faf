//! Clients that ask without end, what they notice, and what is shown of it.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gatewright_tests::{Program, until};
use tokio::task::JoinHandle;

/// A client's pause between two requests: a load that is steady, whatever becomes of it.
const PAUSE: Duration = Duration::from_millis(2);
/// Every so manieth request is a POST.
const POST: usize = 5;
/// Before, during and after.
const PHASES: usize = 3;
/// So many requests are made within the time that a test waits for anything, however slow the machine is.
const FEW: usize = 100;

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    phase: usize,
    method: &'static str,
    took: Duration,
    fault: Option<String>,
}

/// Clients at work.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Vec<Asked>>>,
}

/// What is said to the clients, and what they have seen so far.
#[derive(Default)]
struct Shared {
    phase: AtomicUsize,
    stop: AtomicBool,
    asked: AtomicUsize,
    failed_gets: AtomicUsize,
}

impl Load {
    /// So many clients, each on a connection that is kept.
    pub fn start(program: &Arc<Program>, clients: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let client = |_| tokio::spawn(ask(Arc::clone(program), Arc::clone(&shared)));
        let clients = (0..clients).map(client).collect();
        Self { shared, clients }
    }

    /// Waits until so many more requests were made.
    pub async fn has_asked(&self, requests: usize) {
        let asked = || self.shared.asked.load(SeqCst);
        let (mut least, all) = (asked(), asked() + requests);
        while least < all {
            least = all.min(least + FEW);
            until("requests are made", async || (asked() >= least).then_some(())).await;
        }
    }

    /// The `GET`s that have failed so far.
    pub fn failed_gets(&self) -> usize {
        self.shared.failed_gets.load(SeqCst)
    }

    /// What comes from now on belongs to the next phase.
    pub fn next_phase(&self) {
        self.shared.phase.fetch_add(1, SeqCst);
    }

    /// Ends it, and answers what was asked.
    pub async fn end(self) -> Vec<Asked> {
        self.shared.stop.store(true, SeqCst);
        let mut all = vec![];
        for client in self.clients {
            all.extend(client.await.unwrap());
        }
        all
    }
}

async fn ask(program: Arc<Program>, shared: Arc<Shared>) -> Vec<Asked> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let mut all = vec![];
    let mut connection = program.http1().await;
    while !shared.stop.load(SeqCst) {
        let number = NUMBER.fetch_add(1, SeqCst);
        let method = if number.is_multiple_of(POST) { "POST" } else { "GET" };
        let (began, phase) = (Instant::now(), shared.phase.load(SeqCst));
        let mut call = connection.call(method, "/");
        if method == "POST" {
            call = call.body(format!("order {number}"));
        }
        let fault = match call.tried().await {
            Ok(answer) if answer.status == 200 => None,
            Ok(answer) => Some(answer.status.to_string()),
            Err(fault) => Some(fault.to_string()),
        };
        if fault.is_some() {
            connection = program.http1().await;
        }
        shared.asked.fetch_add(1, SeqCst);
        shared.failed_gets.fetch_add(usize::from(method == "GET" && fault.is_some()), SeqCst);
        all.push(Asked { phase, method, took: began.elapsed(), fault });
        tokio::time::sleep(PAUSE).await;
    }
    all
}

/// How many requests the gateway has tried again so far.
pub async fn retried(program: &Program) -> u64 {
    program.admin("/services").await.json()[0]["retries"].as_u64().unwrap()
}

/// What came of one scenario.
#[derive(Debug)]
pub struct Report {
    pub name: String,
    pub asked: Vec<Asked>,
    pub retried: u64,
    /// Bodies of POST that came to endpoints more than once.
    pub twice: Vec<String>,
}

impl Report {
    pub fn requests(&self) -> usize {
        self.asked.len()
    }

    pub fn failed(&self, method: &str) -> usize {
        self.asked.iter().filter(|asked| asked.method == method && asked.fault.is_some()).count()
    }

    /// Why requests failed, and how many.
    pub fn faults(&self) -> BTreeMap<(&str, &str), usize> {
        let mut faults = BTreeMap::new();
        for asked in &self.asked {
            if let Some(fault) = &asked.fault {
                *faults.entry((asked.method, fault.as_str())).or_default() += 1;
            }
        }
        faults
    }

    /// The time that 99 of 100 requests of a phase stayed within, in milliseconds.
    fn p99(&self, phase: usize) -> f64 {
        let mut times: Vec<Duration> =
            self.asked.iter().filter(|asked| asked.phase == phase).map(|asked| asked.took).collect();
        times.sort_unstable();
        times.get(times.len() * 99 / 100).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    }
}

/// All scenarios side by side.
pub fn table(reports: &[Report]) -> String {
    let mut text = String::from(
        "endpoint   requests  failed GET  failed POST  retried  sent twice  p99 before  during   after (ms)\n",
    );
    for report in reports {
        let [before, during, after] = [0, 1, 2].map(|phase| report.p99(phase));
        writeln!(
            text,
            "{:<10} {:>8}  {:>10}  {:>11}  {:>7}  {:>10}  {before:>10.1} {during:>7.1} {after:>7.1}",
            report.name,
            report.requests(),
            report.failed("GET"),
            report.failed("POST"),
            report.retried,
            report.twice.len(),
        )
        .unwrap();
    }
    assert_eq!(PHASES, 3);
    text
}

/// What happened when.
pub struct Timeline {
    began: Instant,
    events: Arc<Mutex<Vec<(Duration, String)>>>,
    watching: JoinHandle<()>,
}

impl Timeline {
    /// Notes every change of an endpoint's state.
    pub fn watching(program: &Arc<Program>) -> Self {
        let (began, events) = (Instant::now(), Arc::new(Mutex::new(vec![])));
        let (program, noted) = (Arc::clone(program), Arc::clone(&events));
        let watching = tokio::spawn(async move {
            let mut known: BTreeMap<String, String> = BTreeMap::new();
            loop {
                let services = program.admin("/services").await.json();
                let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
                let now: BTreeMap<String, String> = (services[0]["endpoints"].as_array().into_iter().flatten())
                    .map(|one| (text(&one["address"]), text(&one["state"])))
                    .collect();
                let note = |text: String| noted.lock().unwrap().push((began.elapsed(), text));
                let changed = now.iter().filter(|(address, state)| known.get(*address) != Some(state));
                changed.for_each(|(address, state)| note(format!("  {address} is {state}")));
                known
                    .keys()
                    .filter(|address| !now.contains_key(*address))
                    .for_each(|gone| note(format!("  {gone} is gone")));
                known = now;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { began, events, watching }
    }

    /// Notes what somebody did.
    pub fn note(&self, text: &str) {
        self.events.lock().unwrap().push((self.began.elapsed(), text.to_owned()));
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = self.events.lock().unwrap();
        events.iter().try_for_each(|(at, text)| writeln!(f, "{:>8.2} s  {text}", at.as_secs_f64()))
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
