//! An explanation for a person at a terminal.

use std::time::Duration;

use http::StatusCode;

use crate::command::report::{Report, time};
use crate::explain::{Answer, By, Endpoint, Explanation, Service, Step};

/// Longer details make no column wider.
const MOST_COLUMN: usize = 72;

/// Writes all of it.
pub(super) fn write(explanation: &Explanation, report: &mut Report) {
    let Explanation { method, path, client, .. } = explanation;
    report.line(&format!("{method} {path} from {client}, {}", by(explanation.by)));
    let rows: Vec<Vec<String>> = explanation.steps.iter().map(row).collect();
    report.table(&rows, MOST_COLUMN);
    if !explanation.not_asked.is_empty() {
        report.row("not asked", explanation.not_asked.join(", "));
    }
    if let Some(service) = &explanation.service {
        about(service, report);
    }
    if let Some(answer) = &explanation.answer {
        report.row("answer", text(answer));
    }
}

fn by(by: By) -> String {
    match by {
        By::Worker(number) => format!("as worker {number} of the running gateway sees it"),
        By::Configuration => "by the configuration alone: limits unused, endpoints healthy and idle".to_owned(),
    }
}

fn row(step: &Step) -> Vec<String> {
    let detail = step.detail.as_deref().unwrap_or_default();
    let detail = match &step.plugin {
        Some(plugin) if detail.is_empty() => plugin.clone(),
        Some(plugin) => format!("{plugin}: {detail}"),
        None => detail.to_owned(),
    };
    let took = step.microseconds.map(|microseconds| {
        let remembered = match step.remembered {
            Some(true) => " (remembered)",
            Some(false) => " (not remembered)",
            None => "",
        };
        format!("{}{remembered}", time(Duration::from_secs_f64(microseconds.max(0.0) / 1e6)))
    });
    vec![step.stage.clone(), step.verdict.clone(), detail, took.unwrap_or_default()]
}

fn about(service: &Service, report: &mut Report) {
    let Service { name, balance, in_flight, most_in_flight, .. } = service;
    let mut line = format!("{name}: {balance}, {in_flight} of {most_in_flight} in flight");
    if let Some(key) = &service.key {
        line.push_str(&format!(", key: {key}"));
    }
    report.row("service", line);
    if service.panics {
        report.row("", "too few endpoints are left: ejections are ignored");
    }
    let tiers = service.tiers.iter().map(|(tier, share)| format!("tier {tier} gets {:.0} %", share * 100.0));
    report.list("", tiers);
    let measured = service.endpoints.iter().any(|endpoint| endpoint.latency.is_some());
    let mut head = vec!["  ENDPOINT", "TIER", "WEIGHT", "IN FLIGHT"];
    head.extend(measured.then_some("LATENCY"));
    head.push("STATE");
    let head = head.into_iter().map(str::to_owned).collect();
    let rows = service.endpoints.iter().map(|endpoint| {
        let mark = if service.endpoint.as_ref() == Some(&endpoint.address) { "→" } else { " " };
        line_of(endpoint, mark, measured)
    });
    report.table(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), MOST_COLUMN);
}

fn line_of(endpoint: &Endpoint, mark: &str, measured: bool) -> Vec<String> {
    let share = endpoint.share.map(|share| format!(" × {share:.1}")).unwrap_or_default();
    let reason = endpoint.reason.as_ref().map(|reason| format!(" {reason}")).unwrap_or_default();
    let mut cells = vec![
        format!("{mark} {}", endpoint.address),
        endpoint.tier.to_string(),
        format!("{}{share}", endpoint.weight),
        endpoint.in_flight.to_string(),
    ];
    if measured {
        let latency = endpoint.latency.map(|seconds| time(Duration::from_secs_f64(seconds.max(0.0))));
        cells.push(latency.unwrap_or_else(|| "-".to_owned()));
    }
    cells.push(format!("{}{reason}", endpoint.state));
    cells
}

fn text(answer: &Answer) -> String {
    let status = StatusCode::from_u16(answer.status).map_or_else(|_| answer.status.to_string(), |it| it.to_string());
    let mut lines = vec![status];
    lines.extend(answer.fields.iter().map(|(name, value)| format!("{name}: {value}")));
    match &answer.body {
        serde_json::Value::Null => {}
        serde_json::Value::String(text) => lines.push(text.clone()),
        json => lines.push(format!("{json:#}")),
    }
    lines.join("\n")
}
