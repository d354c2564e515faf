//! Remembered verdicts: the same declared inputs, settings and keys are answered again without a call, for a while.
//!
//! A worker has one [`Recall`] per use. Its key is the values of the slots themselves, with lengths and presence; two uses,
//! two configurations and two versions of a plugin never share one. All of it is forgotten when the keys that the use was
//! granted change, or an operator says so.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use indexmap::IndexMap;

use super::capabilities::{Trace, wall_ms};
use super::inputs::{Texts, View};
use super::v0_1::Outcome;
use super::verdict::{Answered, Decision, Destination, Destinations, Identified, Verdict};
use crate::metrics::{Recalled, Recalls};

/// What a use keeps on one worker of verdicts that let requests go on: a working set of ten thousand tokens fits.
const GOOD: Bounds = Bounds { entries: 16 * 1024, bytes: 16 << 20 };
/// What it keeps of all others: apart, so that garbage credentials cannot push good ones out.
const OTHERS: Bounds = Bounds { entries: 1024, bytes: 1 << 20 };
/// A refusal is remembered no longer than this.
const MOST_REFUSED: Duration = Duration::from_secs(5);
/// What an entry takes beside its key and its verdict's texts.
const ENTRY_BYTES: usize = 256;

#[derive(Clone, Copy)]
struct Bounds {
    entries: usize,
    bytes: usize,
}

/// The verdicts that one use on one worker remembers.
pub(super) struct Recall {
    /// What the plugin promised, and the operator allows.
    most: Duration,
    generation: u64,
    good: Shelf,
    others: Shelf,
    common: Common,
    /// A buffer for keys.
    spare: Vec<u8>,
    counts: Arc<Recalls>,
}

/// What was asked and not remembered.
pub(super) struct Question {
    key: Vec<u8>,
    /// That of the moment before the call: what changes meanwhile makes the answer one of the past.
    generation: u64,
}

/// What was found.
pub(super) enum Found {
    /// The verdict.
    Verdict(Answered),
    /// None: ask the plugin.
    Nothing(Question),
}

impl Recall {
    /// Remembers verdicts for at most so long.
    pub(super) fn new(most: Duration, counts: Arc<Recalls>) -> Self {
        let (good, others) = (Shelf::new(GOOD), Shelf::new(OTHERS));
        Self { most, generation: 0, good, others, common: Common::default(), spare: Vec::new(), counts }
    }

    /// Looks for the verdict on these values. `generation` is that of this moment.
    pub(super) fn find(
        &mut self,
        generation: u64,
        (view, texts): (&View<'_>, &Texts<'_>),
        all_headers: bool,
        now: Instant,
    ) -> Found {
        if self.generation != generation {
            self.forget();
            self.generation = generation;
        }
        let mut key = std::mem::take(&mut self.spare);
        write_key(&mut key, view, texts, all_headers);
        match self.good.get(&key, now).or_else(|| self.others.get(&key, now)) {
            Some(verdict) => {
                self.counts.count(Recalled::Hit);
                self.spare = key;
                Found::Verdict(verdict)
            }
            None => {
                self.counts.count(Recalled::Miss);
                Found::Nothing(Question { key, generation })
            }
        }
    }

    /// The same for a request that is only explained: nothing is counted, and nothing becomes more worth keeping.
    pub(super) fn peek(
        &self,
        generation: u64,
        (view, texts): (&View<'_>, &Texts<'_>),
        all_headers: bool,
        now: Instant,
    ) -> Option<Answered> {
        let mut key = Vec::new();
        write_key(&mut key, view, texts, all_headers);
        let shelves = [&self.good, &self.others].into_iter().filter(|_| self.generation == generation);
        shelves
            .filter_map(|shelf| shelf.entries.get(&*key))
            .find(|entry| entry.holds(now))
            .map(|entry| entry.verdict.clone())
    }

    /// The plugin saw a body, on which its verdict may depend.
    pub(super) fn saw_body(&self) {
        self.counts.count(Recalled::WithheldBody);
    }

    /// Makes what a call answered a verdict that shares with others what it has in common with them.
    pub(super) fn verdict(&mut self, outcome: Outcome) -> Answered {
        self.common.verdict(outcome)
    }

    /// Takes a plugin's answer to a question, unless something forbids that. `generation` is that of this moment.
    pub(super) fn keep(&mut self, question: Question, answer: &Answered, trace: &Trace, generation: u64, now: Instant) {
        let Question { key, generation: asked } = question;
        if let Some(reason) = withheld(trace) {
            self.counts.count(reason);
        } else if asked == generation && asked == self.generation {
            let (shelf, most) = match answer {
                Answered::Identified(verdict) => match &**verdict {
                    Ok(Identified::Granted(_)) => (&mut self.good, self.most),
                    Ok(Identified::NotMine) => (&mut self.others, self.most),
                    Err(_) => (&mut self.others, self.most.min(MOST_REFUSED)),
                },
                answer if answer.is_refusal() => (&mut self.others, self.most.min(MOST_REFUSED)),
                _ => (&mut self.good, self.most),
            };
            let asked = trace.remember_ms.map_or(most, |most_ms| Duration::from_millis(most_ms.into()).min(most));
            let entry = Entry { verdict: answer.clone(), until: now + asked, until_ms: trace.until_ms, asked: false };
            let evicted = shelf.put(&key, entry, now);
            self.counts.add(Recalled::Evicted, evicted);
        }
        self.spare = key;
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        self.good.clear();
        self.others.clear();
    }
}

/// What the verdicts on many requests have in common: remembered once for all of them, it is in the processor's caches when the
/// next of them is found.
#[derive(Default)]
struct Common {
    valid: OnceCell<Verdict<()>>,
    destinations: Destinations,
}

impl Common {
    fn verdict(&mut self, outcome: Outcome) -> Answered {
        match outcome {
            Outcome::Checked(Ok(())) => Answered::Checked(Rc::clone(self.valid.get_or_init(|| Rc::new(Ok(()))))),
            Outcome::Routed(Ok(Decision::Forward(mut target))) => {
                self.share(&mut target.destination);
                Outcome::Routed(Ok(Decision::Forward(target))).into()
            }
            other => other.into(),
        }
    }

    /// Puts one that is equal and known already, from another instance, in place of this one.
    fn share(&mut self, destination: &mut Arc<Destination>) {
        match self.destinations.find(|known| known == destination) {
            Some(known) => *destination = known,
            None => self.destinations.add(destination),
        }
    }
}

/// Why what a call did keeps its verdict from being remembered.
fn withheld(trace: &Trace) -> Option<Recalled> {
    match trace {
        Trace { saw_clock: true, .. } => Some(Recalled::WithheldClock),
        Trace { saw_random: true, .. } => Some(Recalled::WithheldRandom),
        Trace { passing: true, .. } => Some(Recalled::WithheldKeys),
        _ => None,
    }
}

/// The values with their lengths and presence, so that no two requests have the same key by chance or by design.
fn write_key(key: &mut Vec<u8>, view: &View<'_>, texts: &Texts<'_>, all_headers: bool) {
    key.clear();
    let mut part = |text: Option<&[u8]>| match text {
        // No text is that long.
        None => key.extend_from_slice(&u32::MAX.to_ne_bytes()),
        Some(text) => {
            key.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX - 1).to_ne_bytes());
            key.extend_from_slice(text);
        }
    };
    texts.iter().for_each(|text| part(text.as_deref().map(str::as_bytes)));
    if all_headers {
        for (name, value) in &view.head.headers {
            part(Some(name.as_str().as_bytes()));
            part(Some(value.as_bytes()));
        }
    }
}

/// Entries that [`Shelf::evict`] passes over because they were asked for: a bound on what one verdict more can cost.
const MOST_CHANCES: usize = 64;

/// Verdicts within bounds. What was not asked for since the hand came by last goes first (second chance): a verdict that is
/// found costs no change to its neighbours' memory, which in a list by last use is as cold as its own.
struct Shelf {
    entries: IndexMap<Box<[u8]>, Entry, RandomState>,
    hand: usize,
    bytes: usize,
    bounds: Bounds,
}

struct Entry {
    verdict: Answered,
    until: Instant,
    /// The moment of the wall clock at which the answer would change, in milliseconds since 1970.
    until_ms: Option<f64>,
    /// Whether it was found since the hand came by.
    asked: bool,
}

impl Entry {
    fn holds(&self, now: Instant) -> bool {
        now < self.until && self.until_ms.is_none_or(|until| wall_ms() < until)
    }
}

impl Shelf {
    fn new(bounds: Bounds) -> Self {
        Self { entries: IndexMap::default(), hand: 0, bytes: 0, bounds }
    }

    fn get(&mut self, key: &[u8], now: Instant) -> Option<Answered> {
        let entry = self.entries.get_mut(key)?;
        if entry.holds(now) {
            // Written only where it changes: the memory of most entries is cold.
            if !entry.asked {
                entry.asked = true;
            }
            return Some(entry.verdict.clone());
        }
        self.remove(key);
        None
    }

    /// Puts an entry in; answers how many others had to go that were still good.
    fn put(&mut self, key: &[u8], entry: Entry, now: Instant) -> u64 {
        let bytes = size(key, &entry);
        if bytes > self.bounds.bytes / 16 || !entry.holds(now) {
            return 0;
        }
        self.remove(key);
        let mut evicted = 0;
        while self.bytes + bytes > self.bounds.bytes || self.entries.len() >= self.bounds.entries {
            let Some((key, entry)) = self.evict() else { break };
            self.bytes -= size(&key, &entry);
            evicted += u64::from(entry.holds(now));
        }
        self.bytes += bytes;
        self.entries.insert(key.into(), entry);
        evicted
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some((key, entry)) = self.entries.swap_remove_entry(key) {
            self.bytes -= size(&key, &entry);
        }
    }

    fn evict(&mut self) -> Option<(Box<[u8]>, Entry)> {
        if self.hand >= self.entries.len() {
            self.hand = 0;
        }
        for _ in 0..MOST_CHANCES {
            let (_, entry) = self.entries.get_index_mut(self.hand)?;
            if !std::mem::take(&mut entry.asked) {
                break;
            }
            self.hand = (self.hand + 1) % self.entries.len();
        }
        // The newest one comes to the place of what goes: the hand moves on, behind it.
        let gone = self.entries.swap_remove_index(self.hand);
        self.hand += 1;
        gone
    }

    fn clear(&mut self) {
        self.entries.clear();
        (self.hand, self.bytes) = (0, 0);
    }
}

fn size(key: &[u8], entry: &Entry) -> usize {
    key.len() + entry.verdict.bytes() + ENTRY_BYTES
}

#[cfg(test)]
mod tests;
