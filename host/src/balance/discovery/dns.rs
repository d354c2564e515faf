//! Endpoints by name.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};

use super::{Found, Missing};
use crate::config::{Dns, DnsQuestion, Endpoint};

/// An answer, and until when it holds.
struct Answer {
    endpoints: Vec<Endpoint>,
    until: Instant,
}

/// Asks again and again until nobody wants to know.
pub async fn follow(rule: Dns, found: Found) {
    let resolver = match resolver(&rule) {
        Ok(resolver) => resolver,
        Err(fault) => {
            found.tell(Err(Missing::Dns(format!("cannot ask: {fault}"))));
            return;
        }
    };
    loop {
        let answer = ask(&resolver, &rule.question).await;
        let (endpoints, until) = match answer {
            Ok(answer) => (Ok(answer.endpoints), answer.until),
            Err(missing) => (Err(missing), Instant::now()),
        };
        if !found.tell(endpoints) {
            return;
        }
        let left = until.saturating_duration_since(Instant::now());
        tokio::time::sleep(left.clamp(rule.least_time, rule.most_time)).await;
    }
}

fn resolver(rule: &Dns) -> Result<TokioResolver, NetError> {
    let mut builder = match rule.servers.is_empty() {
        true => TokioResolver::builder_tokio()?,
        false => {
            let servers = rule.servers.iter().map(server).collect();
            let config = ResolverConfig::from_parts(None, vec![], servers);
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options: &mut ResolverOpts = builder.options_mut();
    // Answers are kept by us, as long as they hold and longer where there is no newer one.
    options.cache_size = 0;
    options.timeout = rule.timeout;
    options.attempts = 2;
    if !rule.servers.is_empty() {
        options.use_hosts_file = ResolveHosts::Never;
    }
    builder.build()
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let connection = |protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(address.ip(), true, vec![connection(ProtocolConfig::Udp), connection(ProtocolConfig::Tcp)])
}

async fn ask(resolver: &TokioResolver, question: &DnsQuestion) -> Result<Answer, Missing> {
    let (mut endpoints, until) = match question {
        DnsQuestion::Addresses(name, port) => {
            let (addresses, until) = addresses(resolver, name).await?;
            let endpoint = |ip| Endpoint { address: SocketAddr::new(ip, *port), weight: 1, tier: 1 };
            (addresses.into_iter().map(endpoint).collect::<Vec<_>>(), until)
        }
        DnsQuestion::Services(name) => services(resolver, name).await?,
    };
    endpoints.sort_by_key(|endpoint| endpoint.address);
    endpoints.dedup_by_key(|endpoint| endpoint.address);
    match question {
        _ if !endpoints.is_empty() => Ok(Answer { endpoints, until }),
        DnsQuestion::Addresses(name, _) | DnsQuestion::Services(name) => {
            Err(Missing::Dns(format!("{name} has no address")))
        }
    }
}

/// The records of one type: none is an answer, a fault is none.
async fn records(
    resolver: &TokioResolver,
    name: &str,
    kind: RecordType,
) -> Result<(Vec<RData>, Option<Instant>), Missing> {
    match resolver.lookup(name, kind).await {
        Ok(found) => {
            let until = found.valid_until();
            Ok((found.answers().iter().map(|record| record.data.clone()).collect(), Some(until)))
        }
        Err(fault) if fault.is_no_records_found() => Ok((vec![], None)),
        Err(fault) => Err(Missing::Dns(format!("{name}: {fault}"))),
    }
}

async fn addresses(resolver: &TokioResolver, name: &str) -> Result<(Vec<IpAddr>, Instant), Missing> {
    if let Ok(address) = name.trim_end_matches('.').parse::<IpAddr>() {
        return Ok((vec![address], Instant::now() + Duration::from_secs(3600)));
    }
    let mut found = Vec::new();
    let mut until = None;
    for kind in [RecordType::A, RecordType::AAAA] {
        let (records, valid) = records(resolver, name, kind).await?;
        found.extend(records.iter().filter_map(RData::ip_addr));
        until = [until, valid].into_iter().flatten().min();
    }
    Ok((found, until.unwrap_or_else(Instant::now)))
}

async fn services(resolver: &TokioResolver, name: &str) -> Result<(Vec<Endpoint>, Instant), Missing> {
    let (records, until) = records(resolver, name, RecordType::SRV).await?;
    let mut until = until.unwrap_or_else(Instant::now);
    let records: Vec<SRV> =
        records.into_iter().filter_map(|data| if let RData::SRV(srv) = data { Some(srv) } else { None }).collect();
    let mut by_priority: BTreeMap<u16, Vec<&SRV>> = BTreeMap::new();
    for record in &records {
        by_priority.entry(record.priority).or_default().push(record);
    }
    let heaviest = records.iter().map(|record| record.weight).max().unwrap_or(1);
    let mut endpoints = Vec::new();
    for (tier, records) in (1..).zip(by_priority.values()) {
        for record in records {
            // A lone dot says that there is no such service (RFC 2782).
            if record.target.is_root() {
                continue;
            }
            let (addresses, valid) = addresses(resolver, &record.target.to_utf8()).await?;
            until = until.min(valid);
            let weight = weight(record.weight, heaviest);
            let endpoint = |ip| Endpoint { address: SocketAddr::new(ip, record.port), weight, tier };
            endpoints.extend(addresses.into_iter().map(endpoint));
        }
    }
    Ok((endpoints, until))
}

/// A weight of ours for one of an SRV record, which may be as large as 65,535 and may be zero: hardly any.
fn weight(weight: u16, heaviest: u16) -> u32 {
    match heaviest {
        ..=1000 => u32::from(weight).max(1),
        _ => (u32::from(weight) * 1000 / u32::from(heaviest)).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_their_proportions_within_ours() {
        assert_eq!([0, 1, 1000].map(|one| weight(one, 1000)), [1, 1, 1000]);
        assert_eq!([0, 32_768, 65_535].map(|one| weight(one, 65_535)), [1, 500, 1000]);
    }
}
