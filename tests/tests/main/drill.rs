//! The failure drill: real endpoints under steady load, disturbed in every way, and what clients notice.
//!
//! The short form runs with all tests. `cargo xtask drill` runs the whole one, on a release build, and shows timeline and table.

use std::sync::Arc;
use std::time::Duration;

use gatewright_tests::{Command, Program, setup, until};

mod endpoints;
mod load;

use endpoints::Endpoints;
use load::{Load, Report, Timeline};
use rustix::process::Signal;

/// What becomes of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    Killed,
    Stopped,
    Slow,
    Failing,
    CutOff,
    Added,
    Drained,
    Removed,
}

const ALL: [Scenario; 8] = [
    Scenario::Killed,
    Scenario::Stopped,
    Scenario::Slow,
    Scenario::Failing,
    Scenario::CutOff,
    Scenario::Added,
    Scenario::Drained,
    Scenario::Removed,
];

/// The endpoint that something becomes of.
const VICTIM: usize = 1;
/// The one that is not there at first.
const NEW: usize = 3;

fn gatewright() -> Command {
    let built = std::env::var("GATEWRIGHT_BINARY").ok();
    Command::of(built.map_or(env!("CARGO_BIN_EXE_gatewright-tested"), |built| built.leak()))
}

async fn start(endpoints: &Endpoints) -> Arc<Program> {
    let file = endpoints.file();
    let file = file.display();
    let text = format!(
        r#"server = {{ workers = 2 }}
        log = {{ access = false }}
        [service.orders]
        endpoints_file = "{file}"
        connect_timeout = "500ms"
        timeout = "20s"
        probe = {{ http = "/healthz", interval = "200ms", timeout = "500ms", rise = 2, fall = 2 }}
        ejection = {{ failures = 3, time = "500ms", most_time = "2s" }}
        retry = {{ on = ["connect", "reset", "timeout", "500-599"], try_timeout = "700ms", budget_least = 50 }}
        [[api]]
        name = "shop"
        service = "orders""#
    );
    Arc::new(gatewright().start(setup(&text)).await)
}

impl Scenario {
    async fn begin(self, endpoints: &mut Endpoints, timeline: &Timeline) {
        timeline.note(&format!("endpoint {} is {self:?}", if self == Self::Added { NEW } else { VICTIM }));
        match self {
            Self::Killed => endpoints.signal(VICTIM, Signal::KILL),
            Self::Stopped => endpoints.signal(VICTIM, Signal::STOP),
            Self::Slow => endpoints.manner(VICTIM, "slow").await,
            Self::Failing => endpoints.manner(VICTIM, "fail").await,
            Self::CutOff => endpoints.manner(VICTIM, "cut").await,
            Self::Added => endpoints.list(&[0, VICTIM, 2, NEW]),
            Self::Drained => endpoints.list(&[0, 2]),
            Self::Removed => {
                // With what it has in hand.
                endpoints.list(&[0, 2]);
                endpoints.signal(VICTIM, Signal::KILL);
            }
        }
    }

    async fn end(self, endpoints: &mut Endpoints, program: &Program, timeline: &Timeline) {
        match self {
            Self::Killed => endpoints.start_again(VICTIM).await,
            Self::Stopped => endpoints.signal(VICTIM, Signal::CONT),
            Self::Slow | Self::Failing | Self::CutOff => endpoints.manner(VICTIM, "well").await,
            Self::Added => endpoints.list(&[0, VICTIM, 2]),
            Self::Drained => {
                // It ends when nobody needs it any more.
                until("it is drained", async || drained(program).await.then_some(())).await;
                endpoints.signal(VICTIM, Signal::TERM);
                endpoints.start_again(VICTIM).await;
                endpoints.list(&[0, VICTIM, 2]);
            }
            Self::Removed => {
                endpoints.start_again(VICTIM).await;
                endpoints.list(&[0, VICTIM, 2]);
            }
        }
        timeline.note("all is as before");
        let expected = 3;
        until("all endpoints are healthy", async || {
            let service = program.admin("/services").await.json()[0].clone();
            let endpoints = service["endpoints"].as_array()?.clone();
            (endpoints.len() == expected && endpoints.iter().all(|one| one["state"] == "healthy")).then_some(())
        })
        .await;
    }
}

async fn drained(program: &Program) -> bool {
    program.admin("/services").await.json()[0]["draining"].is_null()
}

/// Runs these scenarios, each phase for so long.
async fn run(scenarios: &[Scenario], clients: usize, phase: Duration) -> (Vec<Report>, Timeline) {
    let mut endpoints = Endpoints::start(4).await;
    endpoints.list(&[0, VICTIM, 2]);
    let program = start(&endpoints).await;
    let timeline = Timeline::watching(&program);
    let mut reports = vec![];
    for scenario in scenarios {
        let load = Load::start(&program, clients);
        tokio::time::sleep(phase).await;
        let retried = load::retried(&program).await;
        load.next_phase();
        scenario.begin(&mut endpoints, &timeline).await;
        tokio::time::sleep(phase).await;
        scenario.end(&mut endpoints, &program, &timeline).await;
        load.next_phase();
        tokio::time::sleep(phase).await;
        let asked = load.end().await;
        let retried = load::retried(&program).await - retried;
        reports.push(Report { name: format!("{scenario:?}"), asked, retried, twice: endpoints.twice() });
    }
    (reports, timeline)
}

fn check(reports: &[Report]) {
    for report in reports {
        assert!(report.requests() > 0, "{report:?}");
        assert_eq!(report.twice, Vec::<String>::new(), "{}: a POST was sent twice", report.name);
        match report.name.as_str() {
            // What has begun cannot be begun again, and the client must notice.
            "CutOff" => assert!(report.failed("GET") > 0, "nothing was cut off"),
            name => assert_eq!(report.failed("GET"), 0, "{name}: {:?}", report.faults()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_becomes_of_an_endpoint_no_idempotent_request_fails_and_no_post_is_sent_twice() {
    let (reports, _timeline) = run(&ALL, 4, Duration::from_millis(400)).await;
    check(&reports);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: `cargo xtask drill`"]
async fn drill() {
    let (reports, timeline) = run(&ALL, 16, Duration::from_secs(4)).await;
    println!("\n{timeline}\n{}", load::table(&reports));
    check(&reports);
}
