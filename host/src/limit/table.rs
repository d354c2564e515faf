//! Where the counters are: one bounded, sharded map per limit name, shared by all workers and kept across reloads.
//!
//! Locks are taken in one order, so that nobody waits in a circle: shards by the table's number, at most one of each table;
//! then overflow slots, again by the table's number. A [`Permit`] is never dropped while one of them is held.

use super::gcra::Gcra;
use super::key::Key;
use crate::config::{Limit, LimitKey};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// About how many keys a shard holds. A sweep looks at one shard under its lock: at this many it takes 1 to 2 µs.
const SHARD_KEYS: usize = 512;

/// The most shards of a table; beyond this many times [`SHARD_KEYS`] keys the shards grow instead.
const MOST_SHARDS: usize = 4096;

/// How many addresses are counted apart for failed authentication.
const FAILED_AUTH_KEYS: usize = 100_000;

/// A key is forgotten this long after it is refilled, in nanoseconds. Workers read the clock before they take the lock, so
/// that one may come with a time that another has passed; it must still find what was counted.
const GRACE: u64 = 100_000_000;

/// The counters of all limits, by name. One value for the life of the process; what uses it may be rebuilt.
///
/// A table lives as long as something uses it: a reload that builds the new [`super::Limits`] before it drops the old ones
/// keeps the counters of every name that stays, and a name that goes frees its memory.
#[derive(Debug)]
pub struct Tables {
    hashing: RandomState,
    failed_auth: Arc<Table>,
    named: Mutex<Named>,
}

#[derive(Debug, Default)]
struct Named {
    created: u64,
    tables: BTreeMap<Arc<str>, Weak<Table>>,
}

impl Tables {
    /// No counters yet, and a hash key of its own from the system's randomness.
    pub fn new() -> Self {
        Self {
            hashing: RandomState::new(),
            failed_auth: Arc::new(Table::new(0, LimitKey::Address, FAILED_AUTH_KEYS)),
            named: Mutex::default(),
        }
    }

    /// How identities become keys; the same for all tables.
    pub(super) fn hashing(&self) -> RandomState {
        self.hashing.clone()
    }

    /// The counters of failed authentication.
    pub(super) fn failed_auth(&self) -> Arc<Table> {
        Arc::clone(&self.failed_auth)
    }

    /// The limit's table: the one that its name has, unless that counts something else; then a new one.
    pub(super) fn of(&self, limit: &Limit) -> Arc<Table> {
        let mut named = lock(&self.named);
        named.tables.retain(|_, table| table.strong_count() > 0);
        if let Some(table) = named.tables.get(&limit.name).and_then(Weak::upgrade)
            && table.by == limit.by
        {
            table.resize(limit.keys);
            return table;
        }
        named.created += 1;
        let table = Arc::new(Table::new(named.created, limit.by.clone(), limit.keys));
        named.tables.insert(Arc::clone(&limit.name), Arc::downgrade(&table));
        table
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self::new()
    }
}

/// The counters of one limit name.
#[derive(Debug)]
pub(super) struct Table {
    number: u64,
    by: LimitKey,
    shards: Box<[Mutex<Shard>]>,
    /// The most keys of one shard.
    room: AtomicUsize,
    /// What all keys share that find no room.
    overflow: Mutex<Slot>,
    /// When all that [`Table::owes`] was told of is earned back, in nanoseconds.
    owing: AtomicU64,
}

impl Table {
    /// A table for at most `keys` keys, at least one. Keys spread over the shards by chance, so the fullest shard is full when
    /// about nine tenths of all are taken.
    fn new(number: u64, by: LimitKey, keys: usize) -> Self {
        let shards = (keys / SHARD_KEYS).clamp(1, MOST_SHARDS).next_power_of_two();
        let shards = (0..shards).map(|_| Mutex::default()).collect();
        let (room, owing) = (AtomicUsize::new(1), AtomicU64::new(0));
        let table = Self { number, by, shards, room, overflow: Mutex::default(), owing };
        table.resize(keys);
        table
    }

    /// Changes the most keys. The shards stay as many as they are, or counters would be lost: a table that grew a hundredfold
    /// has sweeps a hundred times as long until it is made anew.
    fn resize(&self, keys: usize) {
        self.room.store((keys / self.shards.len()).max(1), Ordering::Relaxed);
    }

    /// Its place in the order of locks.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Locks the shard of a key.
    pub(super) fn lock(&self, key: Key) -> MutexGuard<'_, Shard> {
        let number = usize::try_from(key.shard & (self.shards.len() as u64 - 1)).unwrap_or_default();
        lock(self.shards.get(number).expect("the number is masked to a power of two, which the shards are as many as"))
    }

    /// Where a key is counted. `shard` is its own, and the shards of all tables that are to be locked are locked: this may
    /// lock the overflow slot.
    pub(super) fn seat<'a>(&'a self, shard: &'a mut Shard, key: Key, now: u64) -> Seat<'a> {
        let room = self.room.load(Ordering::Relaxed);
        if shard.slots.len() >= room && !shard.slots.contains_key(&key) && !shard.sweep(room, now) {
            return Seat::Shared(lock(&self.overflow));
        }
        match shard.slots.entry(key) {
            Entry::Occupied(entry) => Seat::Kept(entry.into_mut(), &mut shard.ready),
            Entry::Vacant(entry) => Seat::Fresh(entry, &mut shard.ready),
        }
    }

    /// Some key is in debt for as long as this slot.
    pub(super) fn owes(&self, slot: Slot) {
        self.owing.fetch_max(slot.arrival, Ordering::Relaxed);
    }

    /// Whether any key may be in debt of which [`Table::owes`] was told.
    pub(super) fn any_owes(&self, now: u64) -> bool {
        now < self.owing.load(Ordering::Relaxed)
    }

    /// How many keys are counted apart now.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).slots.len()).sum()
    }
}

/// Some of a table's keys.
#[derive(Debug, Default)]
pub(super) struct Shard {
    slots: HashMap<Key, Slot, BuildHasherDefault<Place>>,
    /// No slot can be forgotten before this: a full shard that refuses new keys is not looked through again until then.
    ready: u64,
}

impl Shard {
    /// Forgets what is refilled and answers whether that made room.
    fn sweep(&mut self, room: usize, now: u64) -> bool {
        if now < self.ready {
            return false;
        }
        let mut ready = u64::MAX;
        self.slots.retain(|_, slot| {
            let kept = slot.ready() > now;
            if kept {
                ready = ready.min(slot.ready());
            }
            kept
        });
        self.ready = ready;
        self.slots.len() < room
    }
}

/// What is counted of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    /// When all that was taken is earned back, in nanoseconds.
    arrival: u64,
    /// The interval of the rate that was charged last; 0: none was.
    interval: u64,
    /// Requests in flight.
    pub(super) in_flight: u32,
}

impl Slot {
    /// The arrival in the terms of this rate, which may not be the one that was charged: rates change at a reload, and
    /// callers change their plans.
    pub(super) fn arrival(self, rate: Gcra, now: u64) -> u64 {
        rate.converted(self.arrival, self.interval, now)
    }

    /// Takes one request at this rate.
    pub(super) fn charge(&mut self, rate: Gcra, now: u64) {
        self.arrival = rate.charged(self.arrival(rate, now), now);
        self.interval = rate.interval();
    }

    /// When it may be forgotten: never while a request is in flight.
    fn ready(self) -> u64 {
        if self.in_flight > 0 { u64::MAX } else { self.arrival.saturating_add(GRACE) }
    }
}

/// Where a key is counted, under lock.
pub(super) enum Seat<'a> {
    /// A slot of its own that has counted before, and its shard's `ready`.
    Kept(&'a mut Slot, &'a mut u64),
    /// Room for a slot of its own; nothing is stored until [`Seat::store`].
    Fresh(std::collections::hash_map::VacantEntry<'a, Key, Slot>, &'a mut u64),
    /// No room: the slot that all such keys share.
    Shared(MutexGuard<'a, Slot>),
}

impl Seat<'_> {
    /// What is counted so far.
    pub(super) fn slot(&self) -> Slot {
        match self {
            Self::Kept(slot, _) => **slot,
            Self::Fresh(..) => Slot::default(),
            Self::Shared(slot) => **slot,
        }
    }

    /// Whether it is the shared one.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// Counts.
    pub(super) fn store(self, slot: Slot) {
        match self {
            Self::Kept(kept, ready) => {
                *ready = slot.ready().min(*ready);
                *kept = slot;
            }
            Self::Fresh(entry, ready) => {
                *ready = slot.ready().min(*ready);
                entry.insert(slot);
            }
            Self::Shared(mut shared) => *shared = slot,
        }
    }
}

/// One request in flight of a key. Dropping it ends that.
#[derive(Debug)]
#[must_use = "the request counts as ended when this is dropped"]
pub(super) struct Permit {
    table: Arc<Table>,
    key: Key,
    shared: bool,
}

impl Permit {
    /// For a request that was added to the slot's `in_flight`.
    pub(super) fn new(table: &Arc<Table>, key: Key, shared: bool) -> Self {
        Self { table: Arc::clone(table), key, shared }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.shared {
            let mut slot = lock(&self.table.overflow);
            slot.in_flight = slot.in_flight.saturating_sub(1);
            return;
        }
        let shard = &mut *self.table.lock(self.key);
        if let Some(slot) = shard.slots.get_mut(&self.key) {
            slot.in_flight = slot.in_flight.saturating_sub(1);
            shard.ready = shard.ready.min(slot.ready());
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.place);
    }
}

/// Passes a [`Key`] on as it is: it is a keyed hash already.
#[derive(Debug, Default)]
pub(super) struct Place(u64);

impl Hasher for Place {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, place: u64) {
        self.0 = place;
    }
}

/// Locks; what a panicking thread left behind is whole, because every change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
