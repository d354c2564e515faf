//! Active probes: one task per probed endpoint, on the control runtime, never on a worker.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio_rustls::client::TlsStream;

use super::algorithms::mix;
use super::health::ProbeFailure;
use super::state::EndpointState;
use crate::config::{Probe, ProbeKind};
use crate::tls::{Outward, Outwards, Speaks};

mod ask;

/// Probes that are under way at one time. A configuration with thousands of endpoints must not use up the sockets that
/// requests need.
const AT_ONCE: usize = 256;

/// Starts probes on one runtime.
#[derive(Clone, Debug)]
pub struct Prober {
    runtime: Handle,
    places: Arc<Semaphore>,
    tls: Arc<ArcSwap<Outwards>>,
}

impl Prober {
    /// Probes run on this runtime, which needs its I/O and time drivers.
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, places: Arc::new(Semaphore::new(AT_ONCE)), tls: Arc::default() }
    }

    /// From now on, what runs already too, services are probed with this TLS.
    pub fn secure(&self, tls: &Arc<Outwards>) {
        self.tls.store(Arc::clone(tls));
    }

    /// Where it runs what it starts.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Probes the endpoint now and then again and again, until the task or the endpoint is dropped.
    pub fn start(&self, endpoint: &Arc<EndpointState>, rule: &Arc<Probe>) -> ProbeTask {
        let task = probe_always(Arc::downgrade(endpoint), endpoint.address(), Arc::clone(rule), self.clone());
        ProbeTask { rule: Arc::clone(rule), task: self.runtime.spawn(task).abort_handle() }
    }
}

/// A running probe of one endpoint; it ends when this is dropped.
#[derive(Debug)]
pub struct ProbeTask {
    rule: Arc<Probe>,
    task: AbortHandle,
}

impl ProbeTask {
    /// What it does.
    pub fn rule(&self) -> &Arc<Probe> {
        &self.rule
    }
}

impl Drop for ProbeTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn probe_always(endpoint: Weak<EndpointState>, address: SocketAddr, rule: Arc<Probe>, prober: Prober) {
    let mut random = RandomState::new().hash_one(address);
    let mut told = false;
    loop {
        let Ok(place) = prober.places.acquire().await else { return };
        let Some(tls) = endpoint.upgrade().map(|endpoint| prober.tls.load().of(endpoint.service().name())) else {
            return;
        };
        let result = probe(address, &rule, tls.as_deref()).await;
        drop(place);
        let Some(endpoint) = endpoint.upgrade() else { return };
        match &result {
            Err(ProbeFailure::Ours(reason)) if !told => {
                tracing::warn!(service = endpoint.service().name(), endpoint = %address, reason, "cannot probe");
            }
            Err(ProbeFailure::Ours(_)) => {}
            _ => endpoint.probed(&rule, result.clone(), Instant::now()),
        }
        told = matches!(result, Err(ProbeFailure::Ours(_)));
        drop(endpoint);
        random = mix(random);
        tokio::time::sleep(spread(rule.interval, random)).await;
    }
}

/// A time that is at most a tenth shorter or longer, so that the probes of many gateways do not come together.
fn spread(interval: Duration, random: u64) -> Duration {
    let share = (random >> 32) as f64 / f64::from(u32::MAX);
    interval.mul_f64(0.9 + share * 0.2)
}

/// Probes an address once, over TLS where its service has it.
///
/// # Errors
///
/// Why it is not well, within the rule's timeout.
pub async fn probe(address: SocketAddr, rule: &Probe, tls: Option<&Outward>) -> Result<(), ProbeFailure> {
    let question = async {
        let stream = TcpStream::connect(address).await.map_err(|fault| match is_ours(&fault) {
            true => ProbeFailure::Ours(fault.to_string()),
            false => ProbeFailure::Connect(fault.to_string()),
        })?;
        match (&rule.kind, tls) {
            (ProbeKind::Tcp, _) => Ok(()),
            (ProbeKind::Http(question), None) => ask::http(stream, question).await,
            (ProbeKind::Http(question), Some(tls)) => {
                ask::http(shake_hands(tls, stream, Speaks::Http1).await?, question).await
            }
            (ProbeKind::Grpc { service, host }, None) => ask::grpc(stream, "http", service, host).await,
            (ProbeKind::Grpc { service, host }, Some(tls)) => {
                ask::grpc(shake_hands(tls, stream, Speaks::Http2).await?, "https", service, host).await
            }
        }
    };
    tokio::time::timeout(rule.timeout, question).await.unwrap_or(Err(ProbeFailure::Timeout(rule.timeout)))
}

/// Whether an attempt to connect failed for what this machine lacks: descriptors or memory. It says nothing about who was to be
/// connected to. (Ports may be short to one endpoint and not to the next.)
#[must_use]
pub fn is_ours(fault: &io::Error) -> bool {
    let ours = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    fault.raw_os_error().is_some_and(|code| ours.iter().any(|errno| errno.raw_os_error() == code))
}

async fn shake_hands(tls: &Outward, stream: TcpStream, speaks: Speaks) -> Result<TlsStream<TcpStream>, ProbeFailure> {
    let stream = tls.shake_hands(stream, speaks).await.map_err(|fault| ProbeFailure::Tls(fault.to_string()))?;
    // Who knows no ALPN speaks HTTP/1.1.
    match stream.get_ref().1.alpn_protocol() {
        None if speaks == Speaks::Http2 => Err(ProbeFailure::Tls("HTTP/2 is not agreed on".into())),
        _ => Ok(stream),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_of_one_interval_spread_over_a_fifth_of_it() {
        let interval = Duration::from_secs(10);
        let times: Vec<f64> = (0..1000).map(|n| spread(interval, mix(n)).as_secs_f64()).collect();
        let (least, most) =
            times.iter().fold((f64::MAX, 0.0f64), |(least, most), time| (least.min(*time), most.max(*time)));
        assert!((9.0..9.05).contains(&least) && (10.95..=11.0).contains(&most), "{least} to {most}");
        let mean = times.iter().sum::<f64>() / 1000.0;
        assert!((9.95..10.05).contains(&mean), "{mean}");
    }
}
