//! The health of one endpoint: what its probes say and whether it is ejected. A pure state machine; time is an argument.

use std::time::{Duration, Instant};

use crate::config::{Ejection, Probe};

/// Why a probe failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeFailure {
    /// No connection.
    #[error("connect failed: {0}")]
    Connect(String),
    /// This machine could not ask.
    #[error("cannot ask: {0}")]
    Ours(String),
    /// No TLS with who it must be, or none of the protocol that is needed.
    #[error("no tls: {0}")]
    Tls(String),
    /// Not done in the probe's time.
    #[error("no answer in {0:?}")]
    Timeout(Duration),
    /// What came back was no HTTP response, or none came.
    #[error("no http response: {0}")]
    Protocol(String),
    /// A status that is not one of the good ones.
    #[error("status {0}")]
    Status(u16),
    /// A body that does not hold what it should.
    #[error("the body does not hold {0:?}")]
    Body(String),
    /// A gRPC status that is not `OK`.
    #[error("grpc status {0}")]
    Grpc(u32),
    /// It answers that it does not serve, with this number of `grpc.health.v1.HealthCheckResponse.ServingStatus`.
    #[error("serving status {0}")]
    NotServing(u64),
}

/// What an endpoint is ejected for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// So many requests failed in a row.
    #[error("{0} failures in a row")]
    Row(u32),
    /// So many of the requests in a window failed.
    #[error("{failed} of {of} requests failed")]
    Share {
        /// Those that failed.
        failed: u32,
        /// All of them.
        of: u64,
    },
}

/// What one endpoint is, for people and for the balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It gets requests.
    Healthy,
    /// Its probes failed; the last one with this reason.
    Unhealthy(ProbeFailure),
    /// Its requests failed; it gets none until this moment.
    Ejected(Instant),
}

/// A change of state that just happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Enough probes in a row failed; the last one with this reason.
    Fell(ProbeFailure),
    /// Enough probes in a row succeeded.
    Rose,
    /// Nothing probes it any more, so that its bad probes are forgotten.
    Unprobed,
    /// Enough requests failed.
    Ejected {
        /// Which.
        cause: Cause,
        /// How long it gets no requests.
        time: Duration,
        /// How often it was ejected in a row; what the time grew by.
        times: u32,
    },
    /// An ejection ended, for this reason.
    Readmitted(Readmission),
}

/// Why an ejection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readmission {
    /// Its time was over.
    Over,
    /// No other endpoint was left.
    LastOne,
    /// Too few others were left.
    Panic,
    /// The configuration allows no or fewer ejections now, or there are fewer endpoints.
    Bounds,
}

impl Readmission {
    /// For the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Over => "ejection is over",
            Self::LastOne => "no other endpoint is left",
            Self::Panic => "too few endpoints are left",
            Self::Bounds => "fewer may be ejected now",
        }
    }
}

/// The health of one endpoint. A new one is taken for healthy: a gateway that just started serves at once, and a dead
/// endpoint costs only retries until its probes or its failures count.
#[derive(Clone, Debug, Default)]
pub struct Health {
    verdict: Verdict,
    standing: Standing,
}

/// What the probes say.
#[derive(Clone, Debug)]
enum Verdict {
    /// Good, with this many failures in a row.
    Passing { failed: u32 },
    /// Bad, with this many successes in a row.
    Failing { passed: u32, reason: ProbeFailure },
}

impl Default for Verdict {
    fn default() -> Self {
        Self::Passing { failed: 0 }
    }
}

/// What the requests say.
#[derive(Clone, Copy, Debug, Default)]
enum Standing {
    /// Never ejected.
    #[default]
    Clean,
    /// Ejected so often, and back since this moment.
    Back { times: u32, since: Instant },
    /// Ejected so often, and out until this moment.
    Out { times: u32, until: Instant },
}

impl Health {
    /// Whether it may get requests.
    pub fn ready(&self) -> bool {
        self.passing() && self.out_until().is_none()
    }

    /// Whether its probes are good (or there are none).
    pub fn passing(&self) -> bool {
        matches!(self.verdict, Verdict::Passing { .. })
    }

    /// The end of its ejection, if it is ejected.
    pub fn out_until(&self) -> Option<Instant> {
        match self.standing {
            Standing::Out { until, .. } => Some(until),
            Standing::Clean | Standing::Back { .. } => None,
        }
    }

    /// What it is. Bad probes are told before an ejection.
    pub fn state(&self) -> State {
        match (&self.verdict, self.standing) {
            (Verdict::Failing { reason, .. }, _) => State::Unhealthy(reason.clone()),
            (Verdict::Passing { .. }, Standing::Out { until, .. }) => State::Ejected(until),
            (Verdict::Passing { .. }, Standing::Clean | Standing::Back { .. }) => State::Healthy,
        }
    }

    /// Takes the result of one probe: `fall` failures in a row make it unhealthy, `rise` successes in a row healthy.
    pub fn probed(&mut self, result: Result<(), ProbeFailure>, rule: &Probe) -> Option<Change> {
        match (&mut self.verdict, result) {
            (Verdict::Passing { failed }, Ok(())) => *failed = 0,
            (Verdict::Passing { failed }, Err(reason)) => {
                *failed += 1;
                if *failed >= rule.fall {
                    self.verdict = Verdict::Failing { passed: 0, reason: reason.clone() };
                    return Some(Change::Fell(reason));
                }
            }
            (Verdict::Failing { passed, .. }, Ok(())) => {
                *passed += 1;
                if *passed >= rule.rise {
                    self.verdict = Verdict::default();
                    return Some(Change::Rose);
                }
            }
            (Verdict::Failing { passed, reason }, Err(newer)) => (*passed, *reason) = (0, newer),
        }
        None
    }

    /// Forgets what probes said, because there are none any more.
    pub fn unprobed(&mut self) -> Option<Change> {
        let was = std::mem::take(&mut self.verdict);
        matches!(was, Verdict::Failing { .. }).then_some(Change::Unprobed)
    }

    /// Ejects it if it is ready. The n-th ejection lasts n times `time`, at most `most_time`; each `time` that it is back
    /// takes one off n.
    pub fn eject(&mut self, cause: Cause, rule: &Ejection, now: Instant) -> Option<Change> {
        if !self.ready() {
            return None;
        }
        let before = match self.standing {
            Standing::Back { times, since } => times.saturating_sub(periods(now, since, rule.time)),
            Standing::Clean | Standing::Out { .. } => 0,
        };
        let times = before.saturating_add(1);
        let time = rule.time.saturating_mul(times).min(rule.most_time);
        self.standing = Standing::Out { times, until: now + time };
        Some(Change::Ejected { cause, time, times })
    }

    /// Ends an ejection whose time is over.
    pub fn expire(&mut self, now: Instant) -> Option<Change> {
        match self.standing {
            Standing::Out { until, .. } if until <= now => self.readmit(Readmission::Over, until),
            Standing::Clean | Standing::Back { .. } | Standing::Out { .. } => None,
        }
    }

    /// Ends an ejection before its time.
    pub fn readmit(&mut self, why: Readmission, now: Instant) -> Option<Change> {
        let Standing::Out { times, .. } = self.standing else { return None };
        self.standing = Standing::Back { times, since: now };
        Some(Change::Readmitted(why))
    }
}

/// How many whole periods lie between the two moments.
fn periods(now: Instant, since: Instant, period: Duration) -> u32 {
    let count = now.saturating_duration_since(since).as_nanos() / period.as_nanos().max(1);
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::tests::ejection;
    use crate::config::ProbeKind;
    use proptest::prelude::*;

    fn probe(rise: u32, fall: u32) -> Probe {
        let second = Duration::from_secs(1);
        Probe { kind: ProbeKind::Tcp, interval: second, timeout: second, rise, fall }
    }

    fn rule() -> Ejection {
        Ejection { most_time: Duration::from_secs(35), ..ejection(5, 50) }
    }

    fn ejected_for(health: &mut Health, now: Instant) -> u64 {
        match health.eject(Cause::Row(5), &rule(), now) {
            Some(Change::Ejected { time, .. }) => time.as_secs(),
            _ => 0,
        }
    }

    #[test]
    fn a_new_endpoint_is_healthy() {
        assert_eq!(Health::default().state(), State::Healthy);
    }

    #[test]
    fn each_ejection_is_longer_up_to_the_most() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        for seconds in [10, 20, 30, 35, 35] {
            assert_eq!(ejected_for(&mut health, now), seconds);
            assert_eq!(ejected_for(&mut health, now), 0, "it is out already");
            now += Duration::from_secs(seconds) - Duration::from_nanos(1);
            assert_eq!(health.expire(now), None);
            now += Duration::from_nanos(1);
            assert_eq!(health.expire(now), Some(Change::Readmitted(Readmission::Over)));
            assert!(health.ready());
        }
    }

    #[test]
    fn an_endpoint_that_stays_well_is_forgiven() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        for _ in 0..3 {
            let time = ejected_for(&mut health, now);
            now += Duration::from_secs(time);
            health.expire(now);
        }
        now += Duration::from_secs(20);
        assert_eq!(ejected_for(&mut health, now), 20, "three, less two, and one");
        now += Duration::from_secs(1000);
        health.expire(now);
        assert_eq!(ejected_for(&mut health, now), 10, "its ejection ended long ago, whenever that was seen");
    }

    #[test]
    fn an_unhealthy_endpoint_is_not_ejected() {
        let mut health = Health::default();
        health.probed(Err(ProbeFailure::Status(500)), &probe(1, 1));
        assert_eq!(health.eject(Cause::Row(5), &rule(), Instant::now()), None);
        assert_eq!(health.state(), State::Unhealthy(ProbeFailure::Status(500)));
        assert_eq!(health.unprobed(), Some(Change::Unprobed));
        assert!(health.ready());
    }

    proptest! {
        #[test]
        fn rise_and_fall_are_exact(
            rise in 1u32..5,
            fall in 1u32..5,
            results in prop::collection::vec(any::<bool>(), 0..200),
        ) {
            let rule = probe(rise, fall);
            let mut health = Health::default();
            let (mut good, mut row, mut last) = (true, 0, true);
            for result in results {
                row = if result == last { row + 1 } else { 1 };
                last = result;
                let turns = (good && !result && row >= fall) || (!good && result && row >= rise);
                let outcome = if result { Ok(()) } else { Err(ProbeFailure::Status(500)) };
                prop_assert_eq!(health.probed(outcome, &rule).is_some(), turns);
                good ^= turns;
                prop_assert_eq!(health.passing(), good);
            }
        }
    }
}
