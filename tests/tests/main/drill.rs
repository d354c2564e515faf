//! The failure drill: real endpoints under steady load, disturbed in every way, and what clients notice.
//!
//! The short form runs with all tests. `cargo xtask drill` runs the whole one, on a release build, and shows timeline and table.

use std::sync::Arc;

use gatewright_tests::{Program, setup};

mod endpoints;
mod load;
mod scenario;

use endpoints::Endpoints;
use load::{Load, Report, Timeline};
use scenario::{ALL, LISTED, Scenario};

use crate::command::built;

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
        ejection = {{ on = ["connect", "reset", "timeout", "500-599"], failures = 3, time = "500ms", most_time = "2s" }}
        retry = {{ on = ["connect", "reset", "timeout", "500-599"], try_timeout = "700ms", budget_least = 50 }}
        [[api]]
        name = "shop"
        service = "orders""#
    );
    Arc::new(built().start(setup(&text)).await)
}

/// Runs these scenarios. Each phase lasts for so many requests, the second one at least until its scenario shows.
async fn run(scenarios: &[Scenario], clients: usize, requests: usize) -> (Vec<Report>, Timeline) {
    let mut endpoints = Endpoints::start(4).await;
    endpoints.list(&LISTED);
    let program = start(&endpoints).await;
    let timeline = Timeline::watching(&program);
    let mut reports = vec![];
    for scenario in scenarios {
        let load = Load::start(&program, clients);
        load.has_asked(requests).await;
        let retried = load::retried(&program).await;
        load.next_phase();
        scenario.begin(&mut endpoints, &timeline).await;
        load.has_asked(requests).await;
        scenario.shows(&endpoints, &program, &load, retried).await;
        scenario.end(&mut endpoints, &program, &timeline).await;
        load.next_phase();
        load.has_asked(requests).await;
        let asked = load.end().await;
        let retried = load::retried(&program).await - retried;
        reports.push(Report { name: format!("{scenario:?}"), asked, retried, twice: endpoints.twice() });
    }
    (reports, timeline)
}

fn check(reports: &[Report]) {
    for report in reports {
        assert_eq!(report.twice, Vec::<String>::new(), "{}: a POST was sent twice", report.name);
        match report.name.as_str() {
            // What has begun cannot be begun again, and the client must notice: that it does is how the scenario shows.
            "CutOff" => {}
            name => assert_eq!(report.failed("GET"), 0, "{name}: {:?}", report.faults()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_becomes_of_an_endpoint_no_idempotent_request_fails_and_no_post_is_sent_twice() {
    let (reports, _timeline) = run(&ALL, 4, 200).await;
    check(&reports);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: `cargo xtask drill`"]
async fn drill() {
    let (reports, timeline) = run(&ALL, 16, 16_000).await;
    println!("\n{timeline}\n{}", load::table(&reports));
    check(&reports);
}
