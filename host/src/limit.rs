//! The stage of the limits: how often a client may come, and how many of its requests may be in flight.
//!
//! The limits of an API are checked in two halves, before auth by address and after it by all else. Each half takes of all its
//! limits or of none, exactly, however many workers check at once. Time is an argument: nanoseconds since any one moment of
//! the process, the same for all workers; a worker may be a little behind another.

mod failed_auth;
mod fields;
mod gcra;
mod key;
mod peek;
mod rule;
mod table;
#[cfg(test)]
mod tests;

pub use failed_auth::{FailedAuth, FailedTooOften};
pub use fields::Room;
pub use peek::{Peek, PeekRate};
pub use table::Tables;

use crate::config;
use http::HeaderMap;
use key::Memo;
use rule::{Bid, Rule, Verdict};
use smallvec::SmallVec;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use table::Permit;

/// Whom a request is from.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    /// The peer, or what a trusted proxy says of it.
    pub address: IpAddr,
    /// Whom auth found; `None`: anonymous, counted by address wherever a caller, a plan or an attribute would be.
    pub caller: Option<Caller<'a>>,
}

/// Whom auth found.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The granting plugin: a subject means nothing without it.
    pub plugin: &'a str,
    /// The caller within the plugin.
    pub subject: &'a str,
    /// Its plan.
    pub plan: Option<&'a str>,
    /// Its attributes by name.
    pub attribute: &'a dyn Fn(&str) -> Option<&'a str>,
}

/// The limits of one API.
#[derive(Debug)]
pub struct Limits {
    hashing: RandomState,
    /// First those by address; each half in the order in which its tables are locked.
    rules: Vec<Rule>,
    /// How many are by address.
    by_address: usize,
}

/// The standing of each limit that was checked.
pub type Standings = SmallVec<[Standing; 4]>;

/// How a client stands with one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which of the API's limits.
    rule: u16,
    /// What is left of its rate; `None`: only requests in flight count.
    pub room: Option<Room>,
    /// What refused the request, if this did.
    pub exceeded: Option<Bound>,
}

/// What a limit bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Requests in a time.
    Rate,
    /// Requests in flight.
    Concurrent,
}

/// A request is within all limits that were checked. It counts as in flight until this is dropped.
#[derive(Debug, Default)]
#[must_use = "the request counts as ended when this is dropped"]
pub struct Admission {
    /// How long the request must wait before it goes on, because a limit delays; zero: not at all. Its place is taken:
    /// whoever comes next waits for longer, and nothing is given back when the client leaves.
    pub wait: Duration,
    /// How the client stands with each limit so far, this request counted.
    pub standings: Standings,
    /// Its places among the requests in flight.
    pub permits: Permits,
}

/// A request's places among those in flight, given back when this is dropped.
#[derive(Debug, Default)]
pub struct Permits(SmallVec<[Permit; 1]>);

/// A request is over a limit; none of the limits that were checked with it counts it.
#[derive(Debug, thiserror::Error)]
#[error("over a limit, again in {retry_after} s")]
pub struct Exceeded {
    /// How the client stands with each limit so far; [`Standing::exceeded`] says which ones refused.
    pub standings: Standings,
    /// Whole seconds, rounded up, at least 1, until the rates that refused have room, if nothing else comes; 1 where only
    /// requests in flight did.
    pub retry_after: u32,
}

impl Limits {
    /// The limits of one API, with the counters that their names have in `tables`.
    pub fn new(limits: &[config::Limit], tables: &Tables) -> Self {
        let mut rules: Vec<Rule> = limits.iter().map(|limit| Rule::new(limit, tables.of(limit))).collect();
        rules.sort_by_key(|rule| (!rule.is_by_address(), rule.table_number()));
        let by_address = rules.iter().filter(|rule| rule.is_by_address()).count();
        Self { hashing: tables.hashing(), rules, by_address }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether any is checked before auth.
    #[must_use]
    pub fn any_before_auth(&self) -> bool {
        self.by_address > 0
    }

    /// Whether any is checked after auth.
    #[must_use]
    pub fn any_after_auth(&self) -> bool {
        self.by_address < self.rules.len()
    }

    /// Checks the limits by address, at `now` in nanoseconds.
    ///
    /// # Errors
    /// At least one is exceeded.
    pub fn before_auth(&self, address: IpAddr, now: u64) -> Result<Admission, Exceeded> {
        let rules = 0..self.by_address;
        self.check(rules, &Client { address, caller: None }, now, Admission::default())
    }

    /// Checks all other limits, at `now` in nanoseconds, for a request that waited as long as its `admission` said. The new
    /// one takes the place of the old: its standings and requests in flight are those of both halves, its wait is new.
    ///
    /// # Errors
    /// At least one is exceeded. What [`Limits::before_auth`] took of the rates stays taken; its request in flight has ended.
    pub fn after_auth(&self, client: &Client<'_>, now: u64, mut admission: Admission) -> Result<Admission, Exceeded> {
        admission.wait = Duration::ZERO;
        self.check(self.by_address..self.rules.len(), client, now, admission)
    }

    /// Adds `RateLimit-Policy` and `RateLimit`, beside what a service may have said of limits of its own.
    pub fn write(&self, standings: &Standings, headers: &mut HeaderMap) {
        let (mut policies, mut rooms) = (fields::List::default(), fields::List::default());
        for standing in standings {
            let rule = self.rules.get(usize::from(standing.rule));
            if let Some(room) = standing.room
                && let Some(policy) = rule.and_then(|rule| rule.policy(room))
            {
                policies.push_policy(policy);
                rooms.push_room(policy, room);
            }
        }
        if let (Some(policies), Some(rooms)) = (policies.value(), rooms.value()) {
            headers.append(fields::POLICY, policies);
            headers.append(fields::LIMIT, rooms);
        }
    }

    /// Adds what a refusal says: the fields of [`Limits::write`], and `Retry-After`.
    pub fn write_refusal(&self, exceeded: &Exceeded, headers: &mut HeaderMap) {
        self.write(&exceeded.standings, headers);
        headers.insert(http::header::RETRY_AFTER, exceeded.retry_after.into());
    }

    /// The names of the limits that refused: the `violated-policies` of the problem `quota-exceeded`.
    pub fn violated<'a>(&'a self, exceeded: &'a Exceeded) -> impl Iterator<Item = &'a Arc<str>> {
        let violated = exceeded.standings.iter().filter(|standing| standing.exceeded.is_some());
        violated.filter_map(|standing| Some(self.rules.get(usize::from(standing.rule))?.name()))
    }

    fn check(
        &self,
        rules: std::ops::Range<usize>,
        client: &Client<'_>,
        now: u64,
        mut admission: Admission,
    ) -> Result<Admission, Exceeded> {
        let first = rules.start;
        let rules = self.rules.get(rules).unwrap_or_default();
        if rules.is_empty() {
            return Ok(admission);
        }
        // No lock is held when this returns: only then may the permits of a refused admission be dropped.
        match self.take(first, rules, client, now, &mut admission) {
            Ok(()) => Ok(admission),
            Err(retry_after) => Err(Exceeded { standings: admission.standings, retry_after }),
        }
    }

    /// Takes of all rules or of none. The error is `retry_after`.
    fn take(
        &self,
        first: usize,
        rules: &[Rule],
        client: &Client<'_>,
        now: u64,
        admission: &mut Admission,
    ) -> Result<(), u32> {
        self.ask(rules, client, now, |bids, retry_after| {
            if retry_after > 0 {
                let standing = |(rule, bid): (usize, &Bid<'_>)| bid.standing(rule, bid.counted(), now);
                admission.standings.extend((first..).zip(&*bids).map(standing));
                return Err(retry_after);
            }
            for (rule, bid) in (first..).zip(bids.drain(..)) {
                admission.standings.push(bid.standing(rule, bid.slot, now));
                admission.wait = bid.wait().max(admission.wait);
                admission.permits.0.extend(bid.take());
            }
            Ok(())
        })
    }

    /// Locks what the rules count and asks all of them; `then` gets what each says, and the longest `retry_after` of those
    /// that refuse, 0 where none does.
    fn ask<T>(
        &self,
        rules: &[Rule],
        client: &Client<'_>,
        now: u64,
        then: impl FnOnce(&mut SmallVec<[Bid<'_>; 4]>, u32) -> T,
    ) -> T {
        let mut key = Memo::new(&self.hashing);
        let mut locked: SmallVec<[_; 4]> = SmallVec::new();
        for rule in rules {
            locked.push(rule.lock(&mut key, client));
        }
        let mut bids: SmallVec<[Bid<'_>; 4]> = SmallVec::new();
        let mut retry_after = 0;
        for (rule, locked) in rules.iter().zip(&mut locked) {
            let bid = rule.bid(locked, client, now);
            if let Verdict::Refused { retry_after: later, .. } = bid.verdict {
                retry_after = later.max(retry_after);
            }
            bids.push(bid);
        }
        then(&mut bids, retry_after)
    }
}
