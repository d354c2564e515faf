//! One limit as the path needs it: what it counts, at which rate, and what it says to one request.

use super::fields::{Policy, Room};
use super::gcra::{nanoseconds, seconds};
use super::key::{Identity, Key, Memo};
use super::table::{Permit, Seat, Shard, Slot, Table};
use super::{Bound, Client, Peek, PeekRate, Standing};
use crate::config::{Limit, LimitKey, Over};
use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

/// After how many seconds a client may try again that has too many requests in flight: nobody knows when one ends.
const RETRY_CONCURRENT: u32 = 1;

/// One limit.
#[derive(Debug)]
pub(super) struct Rule {
    name: Arc<str>,
    by: LimitKey,
    table: Arc<Table>,
    /// All its rates: the plans', then the one of everyone else, if there is one.
    policies: Vec<Policy>,
    /// The place of a plan's rate in `policies`.
    plans: BTreeMap<Arc<str>, usize>,
    concurrent: Option<u32>,
    /// The longest wait in nanoseconds; zero: reject.
    delay: u64,
}

/// The shard that counts a request, locked, and its key there.
pub(super) struct Locked<'a> {
    key: Key,
    shard: MutexGuard<'a, Shard>,
}

/// What a limit says to a request, before anything is counted.
pub(super) struct Bid<'a> {
    table: &'a Arc<Table>,
    key: Key,
    seat: Seat<'a>,
    /// What is counted when the request is, too.
    pub(super) slot: Slot,
    policy: Option<(u16, &'a Policy)>,
    /// Whether requests in flight are bounded.
    concurrent: bool,
    pub(super) verdict: Verdict,
}

/// Whether a limit admits a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It does, after so many nanoseconds.
    Granted(u64),
    /// It does not.
    Refused {
        /// Why.
        by: Bound,
        /// Whole seconds, at least 1.
        retry_after: u32,
    },
}

impl Rule {
    /// A configured limit that counts in `table`.
    pub(super) fn new(limit: &Limit, table: Arc<Table>) -> Self {
        let rates = limit.plans.values().chain(&limit.rate);
        Self {
            name: Arc::clone(&limit.name),
            by: limit.by.clone(),
            table,
            policies: rates.map(|rate| Policy::new(&limit.name, *rate)).collect(),
            plans: limit.plans.keys().cloned().zip(0..).collect(),
            concurrent: limit.concurrent,
            delay: match limit.over {
                Over::Reject => 0,
                Over::Delay(longest) => nanoseconds(longest),
            },
        }
    }

    /// The limit's name.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it can be checked before auth.
    pub(super) fn is_by_address(&self) -> bool {
        self.by == LimitKey::Address
    }

    /// Its table's place in the order of locks.
    pub(super) fn table_number(&self) -> u64 {
        self.table.number()
    }

    /// The policy that a standing is of.
    pub(super) fn policy(&self, room: Room) -> Option<&Policy> {
        self.policies.get(usize::from(room.policy))
    }

    /// Locks what counts this client's requests.
    pub(super) fn lock<'a>(&self, keys: &mut Memo<'_, 'a>, client: &Client<'a>) -> Locked<'_> {
        let key = keys.key(self.identity(client));
        Locked { key, shard: self.table.lock(key) }
    }

    /// Asks what the limit says to one more request. The shards of all limits that are checked with it are locked.
    pub(super) fn bid<'a>(&'a self, locked: &'a mut Locked<'_>, client: &Client<'_>, now: u64) -> Bid<'a> {
        let key = locked.key;
        let seat = self.table.seat(&mut locked.shard, key, now);
        let mut slot = seat.slot();
        let policy = self.policy_of(client);
        let verdict = self.judge(slot, policy.map(|(_, policy)| policy), now);
        if let Verdict::Granted(_) = verdict {
            slot.in_flight += u32::from(self.concurrent.is_some());
            if let Some((_, policy)) = policy {
                slot.charge(policy.rate, now);
            }
        }
        Bid { table: &self.table, key, seat, slot, policy, concurrent: self.concurrent.is_some(), verdict }
    }

    /// How the client of a bid stands, its request not counted.
    pub(super) fn peek(&self, bid: &Bid<'_>, now: u64) -> Peek {
        let slot = bid.counted();
        let rate = bid.policy.map(|(_, Policy { rate, .. })| {
            let arrival = slot.arrival(*rate, now);
            let full_after = Duration::from_nanos(arrival.saturating_sub(now));
            PeekRate { burst: rate.burst(), left: rate.left(arrival, now), full_after }
        });
        Peek {
            name: Arc::clone(&self.name),
            by: match &self.by {
                LimitKey::Api => "api".into(),
                LimitKey::Address => "address".into(),
                LimitKey::Caller => "caller".into(),
                LimitKey::Plan => "plan".into(),
                LimitKey::Attribute(name) => format!("attribute {name}"),
            },
            rate,
            in_flight: self.concurrent.map(|most| (slot.in_flight, most)),
            wait: bid.wait(),
            exceeded: matches!(bid.verdict, Verdict::Refused { .. }),
        }
    }

    fn judge(&self, slot: Slot, policy: Option<&Policy>, now: u64) -> Verdict {
        let wait = policy.map_or(0, |policy| policy.rate.wait(slot.arrival(policy.rate, now), now));
        if wait > self.delay {
            // Not when it would be let in to wait, but when it need not: no sooner than `t` says that there is room.
            Verdict::Refused { by: Bound::Rate, retry_after: seconds(wait) }
        } else if self.concurrent.is_some_and(|most| slot.in_flight >= most) {
            Verdict::Refused { by: Bound::Concurrent, retry_after: RETRY_CONCURRENT }
        } else {
            Verdict::Granted(wait)
        }
    }

    /// Whose requests are counted together with this client's.
    ///
    /// A caller's debt is one, in requests, whatever plan it comes with. Where callers of several plans would share a counter
    /// (`api`, `attribute`), those of a plan that has a rate of its own share one of their own, because one counter with two
    /// rates would keep neither.
    fn identity<'a>(&self, client: &Client<'a>) -> Identity<'a> {
        let apart = || client.caller.and_then(|caller| caller.plan).filter(|plan| self.plans.contains_key(*plan));
        match (&self.by, client.caller) {
            (LimitKey::Api, _) => Identity::Api(apart()),
            (LimitKey::Address, _) => Identity::Address(client.address),
            (LimitKey::Caller, _) | (_, None) => Identity::caller(client),
            (LimitKey::Plan, Some(caller)) => caller.plan.map_or(Identity::Address(client.address), Identity::Plan),
            (LimitKey::Attribute(name), Some(caller)) => match (caller.attribute)(name) {
                Some(value) => Identity::Attribute(caller.plugin, value, apart()),
                None => Identity::caller(client),
            },
        }
    }

    /// The rate of this client's plan, or that of everyone else.
    fn policy_of(&self, client: &Client<'_>) -> Option<(u16, &Policy)> {
        let plan = client.caller.and_then(|caller| caller.plan);
        let place = plan.and_then(|plan| self.plans.get(plan)).copied().unwrap_or(self.plans.len());
        Some((u16::try_from(place).ok()?, self.policies.get(place)?))
    }
}

impl Bid<'_> {
    /// How long the request has to wait.
    pub(super) fn wait(&self) -> Duration {
        match self.verdict {
            Verdict::Granted(wait) => Duration::from_nanos(wait),
            Verdict::Refused { .. } => Duration::ZERO,
        }
    }

    /// What is counted without the request.
    pub(super) fn counted(&self) -> Slot {
        self.seat.slot()
    }

    /// How the client stands with the limit of this number where that is what is counted.
    pub(super) fn standing(&self, rule: usize, slot: Slot, now: u64) -> Standing {
        let room = self.policy.map(|(place, policy)| {
            let arrival = slot.arrival(policy.rate, now);
            let left = policy.rate.left(arrival, now);
            Room { policy: place, left, seconds: seconds(policy.rate.until_more(left, arrival, now)) }
        });
        let exceeded = match self.verdict {
            Verdict::Granted(_) => None,
            Verdict::Refused { by, .. } => Some(by),
        };
        Standing { rule: u16::try_from(rule).unwrap_or(u16::MAX), room, exceeded }
    }

    /// Counts the request.
    pub(super) fn take(self) -> Option<Permit> {
        let permit = self.concurrent.then(|| Permit::new(self.table, self.key, self.seat.is_shared()));
        self.seat.store(self.slot);
        permit
    }
}
