//! Why an endpoint: the pick that a request would get now, with what was compared, in words.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::net::SocketAddr;

use super::{Load, Ready, UNKNOWN};
use crate::balance::algorithms::{Algorithm, Choices};
use crate::balance::{Ask, Balancer, Unavailable};

/// An endpoint that a request would get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Where it is.
    pub address: SocketAddr,
    /// Why it, in words.
    pub why: String,
}

impl Balancer {
    /// What [`Balancer::pick`] would answer now, by the same algorithm in the same state, and why. Nothing is counted, and no
    /// turn is used up.
    ///
    /// # Errors
    /// Why there is none.
    pub fn explain(&self, ask: &Ask<'_>) -> Result<Chosen, Unavailable> {
        if self.service.state.in_flight() >= self.service.settings.in_flight {
            return Err(Unavailable::CircuitOpen);
        }
        self.look(ask)?.explain(ask).ok_or(Unavailable::NoOtherEndpoint)
    }
}

impl Ready {
    fn explain(&self, ask: &Ask<'_>) -> Option<Chosen> {
        let draw = ask.draw();
        let tier = self.tiers.get(self.tier_of(draw))?;
        let compared = RefCell::new(Vec::new());
        let load = |at: usize| {
            let load = self.load.at(&tier.endpoints, at, ask.now);
            compared.borrow_mut().push((at, load));
            load
        };
        let picked = tier.algorithm.clone().pick(load, draw)?;
        let address = |at: usize| tier.endpoints.get(at).map(|endpoint| endpoint.address());
        let why = match &tier.algorithm {
            _ if tier.endpoints.len() == 1 => "the only one that gets requests".into(),
            Algorithm::RoundRobin(_) => "its turn, by weight".into(),
            Algorithm::Random(_) => "drawn at random, by weight".into(),
            Algorithm::Maglev(_) if ask.affinity.is_none() => "drawn at random: the request has no key".into(),
            Algorithm::Maglev(maglev) if maglev.knows(draw) => "the owner of the request's key".into(),
            Algorithm::Maglev(_) => "drawn by the request's key, whose owner gets no requests".into(),
            Algorithm::Choices(choices) => {
                let compared = compared.into_inner();
                let own = *compared.iter().find(|(at, _)| *at == picked)?;
                let other = *compared.iter().find(|(at, _)| *at != picked)?;
                self.load.compared(choices, own, (address(other.0)?, other))
            }
        };
        Some(Chosen { address: address(picked)?, why })
    }
}

impl Load {
    fn compared(self, choices: &Choices, own: (usize, f64), (address, other): (SocketAddr, (usize, f64))) -> String {
        let (mine, its) = (self.show(own.1), self.show(other.1));
        let what = match self {
            Self::InFlight => "in flight",
            Self::Latency(_) => "of latency times requests",
        };
        match choices.compare(own, other) {
            Ordering::Equal => format!("drawn by weight: as busy as {address} ({mine} {what})"),
            _ => format!("less busy for its weight than {address} ({mine} against {its} {what})"),
        }
    }

    fn show(self, load: f64) -> String {
        match self {
            Self::InFlight => load.to_string(),
            Self::Latency(_) if load == 0.0 => "never asked".into(),
            Self::Latency(_) if load >= UNKNOWN => "never answered".into(),
            Self::Latency(_) => format!("{:.1} ms", load * 1000.0),
        }
    }
}
