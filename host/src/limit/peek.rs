//! How a client stands with its limits, for a request that is only explained: asked like any other, and nothing is taken.

use super::rule::Bid;
use super::{Client, Exceeded, Limits, Standings};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How a client stands with one limit before its request is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peek {
    /// The limit's name.
    pub name: Arc<str>,
    /// What it counts together: `api`, `address`, `caller`, `plan` or `attribute NAME`.
    pub by: String,
    /// Its rate; none: only requests in flight count.
    pub rate: Option<PeekRate>,
    /// Requests in flight, and the most of them; none: any.
    pub in_flight: Option<(u32, u32)>,
    /// How long the request would wait; zero: not at all.
    pub wait: Duration,
    /// Whether it refuses the request.
    pub exceeded: bool,
}

/// What is left of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeekRate {
    /// The most at once.
    pub burst: u32,
    /// Requests that may come at once now.
    pub left: u32,
    /// Until that is the whole burst again, if nothing else comes.
    pub full_after: Duration,
}

impl Limits {
    /// What [`Limits::before_auth`] would say.
    pub fn peek_before_auth(&self, address: IpAddr, now: u64) -> (Vec<Peek>, Option<Exceeded>) {
        self.peek(0..self.by_address, &Client { address, caller: None }, now)
    }

    /// What [`Limits::after_auth`] would say.
    pub fn peek_after_auth(&self, client: &Client<'_>, now: u64) -> (Vec<Peek>, Option<Exceeded>) {
        self.peek(self.by_address..self.rules.len(), client, now)
    }

    fn peek(&self, range: std::ops::Range<usize>, client: &Client<'_>, now: u64) -> (Vec<Peek>, Option<Exceeded>) {
        let first = range.start;
        let rules = self.rules.get(range).unwrap_or_default();
        self.ask(rules, client, now, |bids, retry_after| {
            let peeks = rules.iter().zip(&*bids).map(|(rule, bid)| rule.peek(bid, now)).collect();
            let standing = |(rule, bid): (usize, &Bid<'_>)| bid.standing(rule, bid.counted(), now);
            let standings = || (first..).zip(&*bids).map(standing).collect::<Standings>();
            (peeks, (retry_after > 0).then(|| Exceeded { standings: standings(), retry_after }))
        })
    }
}
