//! One use of a plugin (a stage of an API with one configuration) and its instance on one worker.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::HeaderValue;
use smallvec::SmallVec;
use wasmtime::{Store, Trap, WasmBacktrace};

use super::allowance::Allowance;
use super::bounds::{Footprint, Memory, line};
use super::capabilities::{GrantedKeys, State, Trace};
use super::engine::{Engine, Linked, LoadFault, Version};
use super::inputs::{Texts, View};
use super::offload::{Offload, Pool};
use super::suspension::Suspension;
use super::v0_1::{Functions, Outcome, Request};
use super::{Declaration, Failure, Stage};
use crate::config;

/// Which use: two of the same name are the same use at different times.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UseName {
    /// The API.
    pub api: Arc<str>,
    /// The stage.
    pub stage: Stage,
    /// The place among the stage's plugins.
    pub index: usize,
}

impl fmt::Display for UseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}[{}]", self.api, self.stage, self.index)
    }
}

/// Why a version cannot serve a use.
#[derive(Debug, thiserror::Error)]
pub enum UseFault {
    /// It is not made for it.
    #[error(transparent)]
    Load(#[from] LoadFault),
    /// `configure` answered an error.
    #[error("`configure` for {name}: {reason}")]
    Refused {
        /// The use.
        name: UseName,
        /// The plugin's words.
        reason: String,
    },
    /// `configure`, or starting an instance, failed.
    #[error("`configure` for {name} failed: {failure}")]
    Failed {
        /// The use.
        name: UseName,
        /// How.
        failure: Failure,
    },
    /// Two instances of the same settings declared different things.
    #[error("`configure` for {0} declares something else each time")]
    Wavering(UseName),
}

/// A use that went live: shared by all workers.
pub struct Use {
    /// Which use.
    pub name: UseName,
    /// The file behind it.
    pub version: Arc<Version>,
    /// What it said of itself.
    pub declaration: Declaration,
    /// What happens when it fails.
    pub on_failure: config::OnFailure,
    /// Its settings, as JSON.
    pub settings: Arc<str>,
    /// What the host allows it.
    pub host: config::Plugin,
    keys: GrantedKeys,
    linked: Linked,
    pub(super) engine: Arc<Engine>,
    /// Calls, failures and suspensions over all workers.
    pub counts: Counts,
    /// Its instances, wherever they are.
    pub footprint: Arc<Footprint>,
    challenges: Vec<HeaderValue>,
    suspension: Suspension,
    offload: OnceLock<Offload>,
}

/// What a use did, over all workers.
#[derive(Default, Debug)]
pub struct Counts {
    /// Calls that were made.
    pub calls: AtomicU64,
    /// Calls that gave no verdict, suspended ones not counted.
    pub failures: AtomicU64,
    /// How often it was suspended.
    pub suspensions: AtomicU64,
}

impl Use {
    /// Links, instantiates and configures a version for a use, with `count` instances that all declare the same.
    ///
    /// # Errors
    /// It is not made for this stage, is not granted what it imports, or does not accept the settings.
    pub fn prepare(
        engine: &Arc<Engine>,
        version: &Arc<Version>,
        name: UseName,
        used: &config::Use,
        host: &config::Plugin,
        keys: GrantedKeys,
        count: usize,
    ) -> Result<(Arc<Self>, Vec<Instance>), UseFault> {
        let linked = engine.link(version, name.stage, !host.keys.is_empty())?;
        let mut prepared = Self {
            name,
            version: Arc::clone(version),
            declaration: Declaration::default(),
            on_failure: used.on_failure,
            settings: Arc::clone(&used.settings),
            host: host.clone(),
            keys,
            linked,
            engine: Arc::clone(engine),
            counts: Counts::default(),
            footprint: Arc::default(),
            challenges: Vec::new(),
            suspension: Suspension::default(),
            offload: OnceLock::new(),
        };
        let mut instances = Vec::with_capacity(count);
        for _ in 0..count.max(1) {
            let (instance, declaration) = prepared.start()?;
            if instances.is_empty() {
                let values =
                    declaration.challenges.iter().filter_map(|challenge| HeaderValue::from_str(challenge).ok());
                prepared.challenges = values.collect();
                prepared.declaration = declaration;
            } else if prepared.declaration != declaration {
                return Err(UseFault::Wavering(prepared.name));
            }
            instances.push(instance);
        }
        Ok((Arc::new(prepared), instances))
    }

    /// Has its calls run by a pool from now on, with these instances; only the first time counts.
    pub fn place(&self, pool: &Arc<Pool>, instances: Vec<Instance>) {
        let _ = self.offload.set(Offload::new(Arc::clone(pool), instances));
    }

    /// Where its calls run; none: on the worker.
    pub(super) fn offload(&self) -> Option<&Offload> {
        self.offload.get()
    }

    /// Its challenges, as field values.
    #[must_use]
    pub fn challenges(&self) -> &[HeaderValue] {
        &self.challenges
    }

    /// A new configured instance.
    fn start(&self) -> Result<(Instance, Declaration), UseFault> {
        let state = State::new(
            Arc::clone(&self.version.name),
            Arc::clone(&self.name.api),
            self.name.stage,
            Arc::clone(&self.keys),
            Memory::new(&self.host, &self.footprint),
            Allowance::new(self.engine.ticking()),
        );
        let mut store = Store::new(self.engine.raw(), state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(self.host.answer_bytes);
        Allowance::bind(&mut store);
        let functions = Allowance::bound(&mut store, self.host.configure_time, |store| self.configure(store))?;
        let declaration = store.data_mut().serve();
        Ok((Instance { store, functions }, declaration))
    }

    fn configure(&self, store: &mut Store<State>) -> Result<Functions, UseFault> {
        let failed =
            |fault, state: &State| UseFault::Failed { name: self.name.clone(), failure: classify(&fault, state) };
        let guest = self.linked.pre.instantiate(&mut *store).map_err(|fault| failed(fault, store.data()))?;
        let misfit = |fault| LoadFault::Stage { stage: self.name.stage, reason: line(&format!("{fault:#}")) };
        let functions = self.linked.exports.load(&mut *store, &guest).map_err(misfit)?;
        match functions.configure(&mut *store, &self.settings) {
            Ok(Ok(())) => Ok(functions),
            Ok(Err(reason)) => Err(UseFault::Refused { name: self.name.clone(), reason: line(&reason) }),
            Err(fault) => Err(failed(fault, store.data())),
        }
    }

    /// A new instance in place of one that was thrown away.
    pub(super) fn restart(&self) -> Result<Instance, Failure> {
        match self.start() {
            Ok((instance, declaration)) if declaration == self.declaration => Ok(instance),
            Ok(_) => Err(Failure::answer("`configure` declares something else than before")),
            Err(UseFault::Failed { failure, .. }) => Err(failure),
            Err(fault) => Err(Failure::answer(fault.to_string())),
        }
    }

    /// Whether a use that is prepared of these would be this one.
    #[must_use]
    pub(crate) fn is_same(
        &self,
        version: &Arc<Version>,
        used: &config::Use,
        host: &config::Plugin,
        keys: &BTreeMap<Arc<str>, Arc<crate::keys::KeySet>>,
    ) -> bool {
        let same_keys = self.keys.len() == keys.len()
            && self.keys.iter().zip(keys).all(|(one, other)| one.0 == other.0 && Arc::ptr_eq(one.1, other.1));
        self.version.digest == version.digest
            && self.settings == used.settings
            && self.on_failure == used.on_failure
            && self.host == *host
            && same_keys
    }

    /// What its verdicts depend on beside its own settings and the request: grows when any of the keys that it was granted
    /// change, and when everything is to be forgotten.
    pub(super) fn generation(&self) -> u64 {
        self.keys.values().fold(self.engine.forgotten(), |sum, set| sum.wrapping_add(set.generation()))
    }

    /// How many verdicts of its plugin needed no call, since the start.
    #[must_use]
    pub fn remembered(&self) -> u64 {
        self.engine.metrics.remembered(&self.version.name)
    }

    /// Whether it is suspended at this moment.
    #[must_use]
    pub fn is_suspended(&self, now: Instant) -> bool {
        self.suspension.holds(now)
    }

    pub(super) fn failed(&self, failure: &Failure, now: Instant) {
        self.counts.failures.fetch_add(1, Relaxed);
        self.engine.metrics.failure(&self.version.name, failure.kind());
        let (plugin, version) = (&*self.version.name, self.version.hex());
        tracing::error!(plugin, version, r#use = %self.name, kind = failure.kind(), reason = %failure, "plugin failed");
        if let Some(time) = self.suspension.failed(now) {
            self.counts.suspensions.fetch_add(1, Relaxed);
            tracing::error!(plugin, version, r#use = %self.name, seconds = time.as_secs(), "plugin suspended");
            self.engine.suspended(self);
        }
    }
}

fn classify(fault: &wasmtime::Error, state: &State) -> Failure {
    match fault.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Failure::Time,
        _ if state.memory.denied => Failure::Memory,
        _ => Failure::Trap(reason(fault)),
    }
}

/// What a call's fault is: where the host found it, reading the answer, no code of the plugin was running.
fn classify_call(fault: &wasmtime::Error, state: &State) -> Failure {
    match classify(fault, state) {
        Failure::Trap(reason) if !fault.is::<Trap>() && !fault.is::<WasmBacktrace>() => Failure::Answer(reason),
        failure => failure,
    }
}

/// What went wrong, and the innermost functions that have a name.
fn reason(fault: &wasmtime::Error) -> String {
    /// More of them say no more.
    const MOST_NAMES: usize = 3;
    let cause = fault.root_cause().to_string();
    let cause = cause.trim_start_matches("wasm trap: ");
    let frames = fault.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
    let names: Vec<&str> = frames.iter().filter_map(|frame| frame.func_name()).take(MOST_NAMES).collect();
    line(&if names.is_empty() { cause.to_owned() } else { format!("{cause}, in {}", names.join(" in ")) })
}

/// One configured instance: thrown away when a call fails.
pub struct Instance {
    store: Store<State>,
    functions: Functions,
}

impl Instance {
    /// Asks the plugin; tells what the call did beside its answer.
    pub(super) fn call(
        &mut self,
        r#use: &Use,
        view: &View<'_>,
        texts: &Texts<'_>,
    ) -> (Result<Outcome, Failure>, Trace) {
        let declaration = &r#use.declaration;
        let values: SmallVec<[Option<&str>; 8]> = texts.iter().map(Option::as_deref).collect();
        let fields: Vec<(&str, &[u8])> = match declaration.all_headers {
            true => view.head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
            false => Vec::new(),
        };
        let request = Request {
            values: &values,
            body: view.body_for(declaration).map(|body| &body[..]),
            all_headers: declaration.all_headers.then_some(&fields[..]),
        };
        self.ask(view.id, request, r#use.host.call_time)
    }

    /// Asks the plugin about the request of this id, for which it may run so long; tells what the call did beside its answer.
    pub(super) fn ask(
        &mut self,
        id: &HeaderValue,
        request: Request<'_>,
        time: Duration,
    ) -> (Result<Outcome, Failure>, Trace) {
        let state = self.store.data_mut();
        state.request = Some(id.clone());
        state.trace = Trace::default();
        state.memory.denied = false;
        let Self { store, functions } = self;
        let answer = Allowance::bound(store, time, |store| functions.call(store, request));
        let answer = answer.unwrap_or_else(|fault| Err(classify_call(&fault, self.store.data())));
        (answer, self.store.data().trace)
    }

    /// Bytes of linear memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.store.data().memory.bytes
    }
}
