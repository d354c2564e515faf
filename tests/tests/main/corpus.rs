//! Hostile requests, byte for byte: each is refused, or its service sees exactly what the corpus says.
//!
//! Whatever the service sees must be strict RFC 9112 besides, and as many requests as the gateway says that it forwarded.

use std::time::Duration;

use gatewright_tests::corpus::{Case, Outcome, corpus, told};
use gatewright_tests::{Gateway, Recorder, gateway, recorder};

mod http1;
mod http2;

const SHOP: &str = r#"
    server = { workers = 1 }
    [[api]]
    name = "shop"
    service = "orders"
    anonymous = true
    [[api.auth]]
    plugin = "jwt"
    settings = { keys = "demo", headers = { x-user = "sub" } }
"#;

/// So long is waited for more of a case that does not say what becomes of it: while it is being written.
const MORE: Duration = Duration::from_millis(300);

/// A gateway and its recording service, and what did not become of cases as it should.
struct Stage {
    gateway: Gateway,
    orders: Recorder,
    /// Requests of the service that belong to cases already.
    known: usize,
    /// Cases whose beginnings a service may see.
    partly: usize,
    cases: usize,
    surprises: String,
}

impl Stage {
    fn new() -> Self {
        let orders = recorder("orders");
        let gateway = gateway([&orders], SHOP);
        Self { gateway, orders, known: 0, partly: 0, cases: 0, surprises: String::new() }
    }

    /// What the service saw since the last look.
    fn seen(&mut self) -> Vec<Vec<u8>> {
        let requests = self.orders.requests().split_off(self.known);
        self.known += requests.len();
        requests.into_iter().map(told).collect()
    }

    /// Compares what became of a case with what should.
    fn judge(&mut self, file: &str, case: &Case, came: &[Outcome]) {
        let partly: Vec<bool> = case.outcomes.iter().map(|outcome| outcome.partly).collect();
        let also = |(at, outcome): (usize, &Outcome)| Outcome {
            partly: partly.get(at).is_some_and(|partly| *partly),
            ..outcome.clone()
        };
        let came: Vec<Outcome> = came.iter().enumerate().map(also).collect();
        if case.outcomes.is_empty() || came != case.outcomes {
            let text: String = came.iter().map(Outcome::text).collect();
            self.surprises.push_str(&format!("{file} == {}\n{text}\n", case.title));
        }
        self.partly += partly.iter().filter(|partly| **partly).count();
        self.cases += 1;
    }

    /// The end of all cases, of which there are at least so many.
    async fn ends(self, least: usize) {
        let metrics = self.gateway.metrics().await;
        let forwarded = metrics.lines().filter(|line| line.contains("gatewright_requests_total{"));
        let forwarded = forwarded.filter(|line| line.contains(r#"outcome="forwarded""#));
        let forwarded: f64 = forwarded.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
        self.gateway.stop();
        let broken = self.orders.broken().await;
        assert!(self.surprises.is_empty(), "what came instead:\n{}", self.surprises);
        assert!(self.cases >= least, "{} cases", self.cases);
        assert_eq!(forwarded, self.orders.requests().len() as f64, "as many as the gateway says");
        let broken: Vec<_> = broken.iter().map(|bytes| bytes.escape_ascii().to_string()).collect();
        assert!(broken.len() <= self.partly, "beginnings of requests that should not have begun: {broken:#?}");
    }
}
