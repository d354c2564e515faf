//! The limit of failed authentication: one address may fail so often, then it is answered before any plugin sees it.

use super::gcra::{Gcra, seconds};
use super::key::{Identity, Key};
use super::table::{Table, Tables};
use crate::config::Rate;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;

/// Counts failed authentications per address (IPv6 by /64); its counters survive a reload.
#[derive(Debug)]
pub struct FailedAuth {
    hashing: RandomState,
    table: Arc<Table>,
    rate: Gcra,
}

/// An address failed too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many failed authentications, again in {retry_after} s")]
pub struct FailedTooOften {
    /// Whole seconds until it may try again, rounded up, at least 1.
    pub retry_after: u32,
}

impl FailedAuth {
    /// At most `rate` failures of one address.
    pub fn new(rate: Rate, tables: &Tables) -> Self {
        Self { hashing: tables.hashing(), table: tables.failed_auth(), rate: Gcra::new(rate) }
    }

    /// Whether the address may try, at `now` in nanoseconds. Counts nothing.
    ///
    /// # Errors
    /// It has failed as often as it may.
    pub fn check(&self, address: IpAddr, now: u64) -> Result<(), FailedTooOften> {
        // Where nobody failed of late, there is nothing to look up.
        if !self.table.any_owes(now) {
            return Ok(());
        }
        let key = self.key(address);
        let mut shard = self.table.lock(key);
        let slot = self.table.seat(&mut shard, key, now).slot();
        match self.rate.wait(slot.arrival(self.rate, now), now) {
            0 => Ok(()),
            wait => Err(FailedTooOften { retry_after: seconds(wait) }),
        }
    }

    /// Counts one failure, at `now` in nanoseconds. Failures of requests that were let through at the same time all count, so
    /// that trying many at once gains nothing: the address waits for all of them.
    pub fn charge(&self, address: IpAddr, now: u64) {
        let key = self.key(address);
        let mut shard = self.table.lock(key);
        let seat = self.table.seat(&mut shard, key, now);
        let mut slot = seat.slot();
        slot.charge(self.rate, now);
        self.table.owes(slot);
        seat.store(slot);
    }

    fn key(&self, address: IpAddr) -> Key {
        Identity::Address(address).key(&self.hashing)
    }
}
