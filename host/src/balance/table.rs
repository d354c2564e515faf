//! The health of all endpoints of one service together: what holds between them is decided here, under one lock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::health::{Cause, Change, Health, ProbeFailure, Readmission, State};
use super::probe::{ProbeTask, Prober};
use super::state::EndpointState;
use crate::config::{Ejection, Probe};

/// What changed in one decision.
pub type Changes = Vec<(Arc<EndpointState>, Change)>;

/// The endpoints of one service, as the configuration in force has them.
///
/// It keeps that no more than `most_percent` of them are ejected at once, and none where fewer than `panic_percent` would be left:
/// then none is ejected, and those that are come back. As long as the probes of any are good at least one gets requests: the
/// last one is never ejected, and the ejected ones are readmitted when no other is left.
#[derive(Debug, Default)]
pub struct Table {
    members: BTreeMap<SocketAddr, Member>,
    /// How many members get requests.
    ready: usize,
    /// How many members are ejected, whatever their probes say.
    ejected: usize,
    ejection: Option<Ejection>,
    /// No ejection ends before this.
    next_return: Option<Instant>,
}

#[derive(Debug)]
struct Member {
    /// Weak: the endpoint leads to its service, and that to this table.
    endpoint: Weak<EndpointState>,
    health: Health,
    probe: Option<ProbeTask>,
    /// Since when it gets requests again, or for the first time while others got them already.
    back: Option<Instant>,
}

impl Table {
    /// When a worker should call [`Table::expire`]; `None`: no one is ejected.
    pub fn next_return(&self) -> Option<Instant> {
        self.next_return
    }

    /// What this endpoint is; `None` if it is no member.
    pub fn state(&self, address: SocketAddr) -> Option<State> {
        self.members.get(&address).map(|member| member.health.state())
    }

    /// Since when this endpoint gets requests again; `None`: since ever, or it is out, or was needed at once.
    pub fn back(&self, address: SocketAddr) -> Option<Instant> {
        self.members.get(&address)?.back
    }

    /// Whether so few endpoints get requests that none may be ejected.
    pub fn panics(&self) -> bool {
        self.ready < self.least_ready()
    }

    /// The rule that an endpoint is probed by.
    #[cfg(test)]
    pub fn rule(&self, address: SocketAddr) -> Option<Arc<Probe>> {
        self.members.get(&address)?.probe.as_ref().map(|task| Arc::clone(task.rule()))
    }

    /// How many members get requests, and how many are ejected.
    #[cfg(test)]
    pub fn counts(&self) -> (usize, usize) {
        (self.ready, self.ejected)
    }

    /// Makes these the members. Known ones keep their health, and their probe goes on undisturbed if its rule is the same.
    pub fn replace(
        &mut self,
        endpoints: &[Arc<EndpointState>],
        probe: Option<&Probe>,
        ejection: Option<&Ejection>,
        (prober, now): (&Prober, Instant),
        changes: &mut Changes,
    ) {
        let rule = probe.cloned().map(Arc::new);
        let mut known = std::mem::take(&mut self.members);
        // The first ones begin with all that comes: nobody else could take it.
        let joined = (!known.is_empty()).then_some(now);
        for endpoint in endpoints {
            let (health, before, back) = match known.remove(&endpoint.address()) {
                Some(member) => (member.health, member.probe, member.back),
                None => (Health::default(), None, joined),
            };
            let probe = rule.as_ref().map(|rule| match before {
                Some(task) if task.rule() == rule => task,
                _ => prober.start(endpoint, rule),
            });
            self.members.insert(endpoint.address(), Member { endpoint: Arc::downgrade(endpoint), health, probe, back });
        }
        self.ejection = ejection.cloned();
        self.ready = self.members.values().filter(|member| member.health.ready()).count();
        self.ejected = self.members.values().filter(|member| member.health.out_until().is_some()).count();
        if rule.is_none() {
            self.alter_all(now, |health| health.unprobed(), changes);
        }
        self.settle(now, changes);
    }

    /// Ejects an endpoint, unless too many are out, too few would be left or it is the last one.
    pub fn eject(&mut self, address: SocketAddr, cause: Cause, now: Instant, changes: &mut Changes) {
        let Some(rule) = self.ejection.clone() else { return };
        self.expire(now, changes);
        if self.ready > self.least_ready().max(1) && self.ejected < self.most_ejected() {
            self.alter(address, now, |health| health.eject(cause, &rule, now), changes);
            let until = self.members.get(&address).and_then(|member| member.health.out_until());
            self.next_return = [self.next_return, until].into_iter().flatten().min();
        }
    }

    /// Takes the result of a probe; nothing if another rule than `rule` is in force by now.
    pub fn probed(
        &mut self,
        address: SocketAddr,
        rule: &Arc<Probe>,
        result: Result<(), ProbeFailure>,
        now: Instant,
        changes: &mut Changes,
    ) {
        let probe = self.members.get(&address).and_then(|member| member.probe.as_ref());
        if probe.is_some_and(|task| Arc::ptr_eq(task.rule(), rule)) {
            self.alter(address, now, |health| health.probed(result, rule), changes);
            self.settle(now, changes);
        }
    }

    /// Readmits those whose time is over.
    pub fn expire(&mut self, now: Instant, changes: &mut Changes) {
        if self.next_return.is_none_or(|at| now < at) {
            return;
        }
        self.alter_all(now, |health| health.expire(now), changes);
        self.next_return = self.members.values().filter_map(|member| member.health.out_until()).min();
    }

    /// Restores what holds between the members after some left, their bounds changed, or one became unhealthy.
    fn settle(&mut self, now: Instant, changes: &mut Changes) {
        while self.ejected > self.most_ejected() {
            let out = |(address, member): (&SocketAddr, &Member)| Some((member.health.out_until()?, *address));
            let Some((_, soonest)) = self.members.iter().filter_map(out).min() else { break };
            self.alter(soonest, now, |health| health.readmit(Readmission::Bounds, now), changes);
        }
        if self.ejected > 0 && (self.ready == 0 || self.panics()) {
            let why = if self.ready == 0 { Readmission::LastOne } else { Readmission::Panic };
            let back = |health: &mut Health| match health.passing() {
                true => health.readmit(why, now),
                false => None,
            };
            self.alter_all(now, back, changes);
        }
    }

    /// Fewer than these get requests: panic.
    fn least_ready(&self) -> usize {
        let percent = self.ejection.as_ref().map_or(0, |rule| rule.panic_percent.min(100));
        (self.members.len() * percent as usize).div_ceil(100)
    }

    fn most_ejected(&self) -> usize {
        let percent = self.ejection.as_ref().map_or(0, |rule| rule.most_percent.min(100));
        self.members.len() * percent as usize / 100
    }

    fn alter(
        &mut self,
        address: SocketAddr,
        now: Instant,
        step: impl FnOnce(&mut Health) -> Option<Change>,
        changes: &mut Changes,
    ) {
        let Some(member) = self.members.get_mut(&address) else { return };
        let was = (member.health.ready(), member.health.out_until().is_some());
        let Some(change) = step(&mut member.health) else { return };
        let is = (member.health.ready(), member.health.out_until().is_some());
        self.ready = self.ready + usize::from(is.0) - usize::from(was.0);
        self.ejected = self.ejected + usize::from(is.1) - usize::from(was.1);
        member.back = match change {
            Change::Readmitted(Readmission::LastOne | Readmission::Panic) => None,
            _ if is.0 && !was.0 => Some(now),
            _ => member.back.filter(|_| is.0),
        };
        if let Some(endpoint) = member.endpoint.upgrade() {
            endpoint.set_ready(is.0);
            changes.push((endpoint, change));
        }
    }

    fn alter_all(&mut self, now: Instant, step: impl Fn(&mut Health) -> Option<Change>, changes: &mut Changes) {
        let addresses: Vec<SocketAddr> = self.members.keys().copied().collect();
        for address in addresses {
            self.alter(address, now, &step, changes);
        }
    }
}
