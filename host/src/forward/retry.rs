//! Whether a request is tried again, where, and when.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::Method;
use smallvec::SmallVec;

use super::Service;
use crate::balance::{Again, Ask, Lease, Unavailable, mix};
use crate::config::{FailureKind, Retry};
use crate::refusal::Refusal;
use crate::request::{Body, Request};

/// A try that brought no response.
pub(super) struct Fault {
    /// What may be tried again; `None`: nothing helps.
    pub(super) cause: Option<FailureKind>,
    /// What the client hears in the end.
    pub(super) refusal: Refusal,
}

impl Fault {
    /// Nothing was sent, and the request is there again.
    pub(super) fn unsent(refusal: Refusal) -> Self {
        Self { cause: Some(FailureKind::Connect), refusal }
    }

    /// Nothing that another try would change.
    pub(super) fn last(refusal: Refusal) -> Self {
        Self { cause: None, refusal }
    }
}

/// The tries of one request.
pub(super) struct Tries<'a> {
    service: &'a Service,
    affinity: Option<u64>,
    tried: SmallVec<[SocketAddr; 1]>,
    /// What may be sent a second time.
    copy: Option<Box<http::Request<Body>>>,
    /// Held while it is tried again.
    again: Option<Again>,
}

/// Whether a request may be sent twice: its method or the configuration says so.
fn repeatable(request: &http::Request<Body>, rule: &Retry, marked: bool) -> bool {
    marked || rule.repeatable || idempotent(request.method())
}

/// RFC 9110, section 9.2.2.
fn idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE)
}

/// How much of a request's body is worth being held, so that it can be sent twice; none where it is not.
pub fn worth_holding(service: &Service, request: &Request) -> Option<usize> {
    let rule = service.settings().retry.as_ref()?;
    let Body::Streaming(streaming) = &request.body else { return None };
    let length = http_body::Body::size_hint(&**streaming).exact()?;
    let repeatable = request.repeatable || rule.repeatable || idempotent(&request.head.method);
    (repeatable && !request.upgrade && length <= rule.body as u64 && rule.on != [FailureKind::Connect])
        .then_some(rule.body)
}

impl<'a> Tries<'a> {
    /// None so far. `marked` is whether the API says that its requests may be sent twice.
    pub(super) fn new(
        service: &'a Service,
        request: Option<&http::Request<Body>>,
        affinity: Option<u64>,
        (marked, upgrade): (bool, bool),
    ) -> Self {
        let rule = service.settings().retry.as_ref();
        let rule = rule.filter(|rule| !upgrade && service.has_choice() && rule.on != [FailureKind::Connect]);
        let copied = rule.zip(request).filter(|(rule, request)| repeatable(request, rule, marked));
        let copy = copied.and_then(|(rule, request)| copy(request, rule.body)).map(Box::new);
        Self { service, affinity, tried: SmallVec::new(), copy, again: None }
    }

    /// How often it was tried again.
    pub(super) fn again(&self) -> u32 {
        u32::try_from(self.tried.len()).unwrap_or(u32::MAX).saturating_sub(1)
    }

    /// The endpoint of the first try.
    pub(super) fn first(&mut self, now: Instant, random: u64) -> Result<Lease, Unavailable> {
        let ask = Ask { tried: &[], affinity: self.affinity, now, random };
        let lease = self.service.balancer.pick(&ask)?;
        self.tried.push(lease.address());
        Ok(lease)
    }

    /// Where the request is tried again for this cause, and the pause before that. None where it is not: it may not be, it was
    /// often enough, it may have been sent and cannot be again, too many are, there is no other endpoint, or no time.
    pub(super) fn next(
        &mut self,
        cause: FailureKind,
        outbound: &mut Option<http::Request<Body>>,
        until: Instant,
        random: u64,
    ) -> Option<(Lease, Duration)> {
        let rule = self.service.settings().retry.as_ref()?;
        let wanted = match cause {
            FailureKind::Status(status, _) => rule.is_for_status(status),
            cause => rule.is_for(cause),
        };
        let times = self.again();
        if !wanted || times >= rule.most || (outbound.is_none() && self.copy.is_none()) {
            return None;
        }
        let now = Instant::now();
        let pause = pause(rule, cause, times, random).min(until.saturating_duration_since(now));
        if now + pause >= until {
            return None;
        }
        let ask = Ask { tried: &self.tried, affinity: self.affinity, now, random: mix(random) };
        let lease = self.service.balancer.pick(&ask).ok()?;
        self.again = None;
        self.again = Some(self.service.balancer.service().again(rule)?);
        self.tried.push(lease.address());
        if outbound.is_none() {
            *outbound = match times + 1 < rule.most {
                true => self.copy.as_ref().and_then(|request| copy(request, rule.body)),
                false => self.copy.take().map(|request| *request),
            };
        }
        Some((lease, pause))
    }
}

/// The pause before the next try: none where nothing was sent and another endpoint may be well, else at random up to a bound
/// that doubles, so that those that fail together do not come back together.
fn pause(rule: &Retry, cause: FailureKind, times: u32, random: u64) -> Duration {
    if cause == FailureKind::Connect && times == 0 {
        return Duration::ZERO;
    }
    let most = rule.backoff.saturating_mul(1 << times.min(10)).min(rule.most_backoff);
    most.mul_f64((random >> 32) as f64 / f64::from(u32::MAX))
}

/// The same request again, where its body is all here and no longer than `most`.
fn copy(request: &http::Request<Body>, most: usize) -> Option<http::Request<Body>> {
    let body = match request.body() {
        Body::Empty => Body::Empty,
        Body::Held(held) if held.bytes.len() <= most => Body::Held(held.clone()),
        Body::Held(_) | Body::Streaming(_) => return None,
    };
    let mut copy = http::Request::new(body);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Retry {
        let on = vec![FailureKind::Connect, FailureKind::Reset];
        let (backoff, most_backoff) = (Duration::from_millis(25), Duration::from_millis(80));
        Retry {
            most: 10,
            on,
            repeatable: false,
            try_timeout: None,
            backoff,
            most_backoff,
            budget_percent: 20,
            budget_least: 3,
            at_once: 1000,
            body: 0,
        }
    }

    #[test]
    fn pauses_are_drawn_below_a_bound_that_doubles_up_to_the_most() {
        for (times, most) in [(0, 25), (1, 50), (2, 80), (9, 80), (u32::MAX, 80)] {
            let most = Duration::from_millis(most);
            let pauses: Vec<_> = (0..1000).map(|n| pause(&rule(), FailureKind::Reset, times, mix(n))).collect();
            assert!(pauses.iter().all(|pause| *pause <= most), "{times}");
            for part in 0..4 {
                let part = most * part / 4..most * (part + 1) / 4;
                let count = pauses.iter().filter(|pause| part.contains(*pause)).count();
                assert!((180..320).contains(&count), "{count} of 1000 in {part:?}");
            }
        }
    }

    #[test]
    fn what_was_not_sent_is_tried_elsewhere_at_once_but_once() {
        assert_eq!(pause(&rule(), FailureKind::Connect, 0, u64::MAX), Duration::ZERO);
        assert_eq!(pause(&rule(), FailureKind::Connect, 1, u64::MAX), Duration::from_millis(50));
    }

    #[test]
    fn only_what_may_be_done_twice_is_idempotent() {
        for (method, twice) in [("GET", true), ("PUT", true), ("DELETE", true), ("POST", false), ("PATCH", false)] {
            assert_eq!(idempotent(&method.parse().unwrap()), twice, "{method}");
        }
        assert!(!idempotent(&"get".parse().unwrap()), "methods are told apart by case");
    }
}
