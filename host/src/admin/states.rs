//! What a scrape shows of plugins, endpoints and logs, as they are at that moment.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::balance::{EndpointSnapshot, ServiceSnapshot, Services, StateSnapshot};
use crate::control::Status;

/// Where the states are read.
pub(super) struct States {
    pub(super) status: Arc<Status>,
    pub(super) services: Arc<Services>,
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("States").finish_non_exhaustive()
    }
}

impl Collector for States {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let now = Instant::now();
        self.plugins(&mut encoder, now)?;
        logs(&mut encoder)?;
        let services = self.services.snapshot(now);
        circuits(&mut encoder, &services)?;
        endpoints(&mut encoder, &services)
    }
}

impl States {
    fn plugins(&self, encoder: &mut DescriptorEncoder, now: Instant) -> fmt::Result {
        let help = "The version of each plugin that serves.";
        let mut family = encoder.encode_descriptor("plugin", help, None, MetricType::Info)?;
        for (name, plugin) in self.status.plugins(now) {
            let digest = plugin.digest.as_deref().unwrap_or("");
            family.encode_info(&[("plugin", &*name), ("digest", digest), ("state", plugin.state)])?;
        }
        Ok(())
    }
}

fn logs(encoder: &mut DescriptorEncoder) -> fmt::Result {
    let help = "Lines that were dropped: the log was not read fast enough, or could not be written.";
    let mut family = encoder.encode_descriptor("log_lines_dropped", help, None, MetricType::Counter)?;
    for (log, lines) in crate::log::dropped() {
        ConstCounter::new(lines).encode(family.encode_family(&[("log", log)])?)?;
    }
    Ok(())
}

fn circuits(encoder: &mut DescriptorEncoder, services: &[ServiceSnapshot]) -> fmt::Result {
    type Value = fn(&ServiceSnapshot) -> usize;
    let gauges: [(&str, &str, Value); 2] = [
        ("service_connections", "Connections to a service.", |service| service.connections),
        ("service_pending", "Requests that wait for a connection to a service.", |service| service.pending),
    ];
    for (name, help, value) in gauges {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for service in services {
            let value = ConstGauge::new(value(service) as u64);
            value.encode(family.encode_family(&[("service", &*service.name)])?)?;
        }
    }
    let help = "Requests that were refused because of a bound of their service.";
    let mut family = encoder.encode_descriptor("circuit_open", help, None, MetricType::Counter)?;
    for service in services {
        let bounds = [
            ("in_flight", service.refused),
            ("connections", service.refused_late),
            ("pending", service.refused_pending),
        ];
        for (bound, count) in bounds {
            let labels = [("service", &*service.name), ("bound", bound)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn endpoints(encoder: &mut DescriptorEncoder, services: &[ServiceSnapshot]) -> fmt::Result {
    let help = "Whether an endpoint gets requests.";
    let mut family = encoder.encode_descriptor("endpoint_healthy", help, None, MetricType::Gauge)?;
    for (labels, endpoint) in labelled(services) {
        let healthy = ConstGauge::new(u32::from(endpoint.state == StateSnapshot::Healthy));
        healthy.encode(family.encode_family(&labels)?)?;
    }
    let help = "Whether so few endpoints of a service are left that none is ejected.";
    let mut family = encoder.encode_descriptor("service_panics", help, None, MetricType::Gauge)?;
    for service in services {
        let panics = ConstGauge::new(u32::from(service.panics));
        panics.encode(family.encode_family(&[("service", &*service.name)])?)?;
    }
    let help = "The share of its service's requests that a tier gets, of one.";
    let mut family = encoder.encode_descriptor("tier_share", help, None, MetricType::Gauge)?;
    for service in services {
        for tier in &service.tiers {
            let labels = [("service", service.name.to_string()), ("tier", tier.tier.to_string())];
            ConstGauge::new(tier.share).encode(family.encode_family(&labels)?)?;
        }
    }
    let help = "Requests that were tried again, and those that were not because too many were.";
    let mut family = encoder.encode_descriptor("service_retries", help, None, MetricType::Counter)?;
    for service in services {
        for (event, count) in [("made", service.retries), ("refused", service.refused_retries)] {
            let labels = [("service", &*service.name), ("event", event)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    type Count = fn(&EndpointSnapshot) -> u64;
    let counters: [(&str, &str, Count); 3] = [
        ("endpoint_requests", "Requests by endpoint.", |endpoint| endpoint.requests),
        ("endpoint_ejections", "How often an endpoint was ejected.", |endpoint| endpoint.ejections),
        ("endpoint_changes", "How often an endpoint's state changed.", |endpoint| endpoint.changes),
    ];
    for (name, help, count) in counters {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, endpoint) in labelled(services) {
            ConstCounter::new(count(endpoint)).encode(family.encode_family(&labels)?)?;
        }
    }
    failures(encoder, services)
}

fn failures(encoder: &mut DescriptorEncoder, services: &[ServiceSnapshot]) -> fmt::Result {
    let help = "Failed requests by endpoint and what failed.";
    let mut family = encoder.encode_descriptor("endpoint_failures", help, None, MetricType::Counter)?;
    for ([service, address], endpoint) in labelled(services) {
        let failures = endpoint.failures;
        let kinds = [
            ("connect", failures.connect),
            ("reset", failures.reset),
            ("status", failures.status),
            ("timeout", failures.timeout),
        ];
        for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
            let labels = [service.clone(), address.clone(), ("kind", kind.to_owned())];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn labelled(services: &[ServiceSnapshot]) -> impl Iterator<Item = ([(&str, String); 2], &EndpointSnapshot)> {
    services.iter().flat_map(|service| {
        let labels = |endpoint: &EndpointSnapshot| {
            [("service", service.name.to_string()), ("endpoint", endpoint.address.to_string())]
        };
        service.endpoints.iter().map(move |endpoint| (labels(endpoint), endpoint))
    })
}
