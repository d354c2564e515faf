//! From a file's bytes to a version: compiled, its imports and exports checked against the contract.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Config, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use super::bounds::line;
use super::cache::Cache;
use super::capabilities::State;
use super::clock::{Clock, Ticking};
use super::compile::Source;
use super::v0_1::{self, Exports};
use super::{Stage, Use, wasi};
use crate::metrics::Metrics;

/// The stack of every thread that calls plugins: twice what `plugins.stack` may be, for the host has frames of its own.
pub const STACK_BYTES: usize = 4 << 20;
/// Linear memories that may exist at one time, over all versions, uses and workers.
const MOST_MEMORIES: u32 = 2_000;
/// The most that `plugin.NAME.memory` may be.
const MOST_MEMORY_BYTES: usize = 1 << 30;
/// The most that `plugin.NAME.table_elements` may be: QuickJS and CPython need tens of thousands.
const MOST_TABLE_ELEMENTS: usize = 100_000;
/// The most that `plugin.NAME.parts` may be.
const MOST_PARTS: u32 = 64;
/// Memory of a returned slot that is zeroed rather than unmapped.
const KEPT_RESIDENT_BYTES: usize = 128 * 1024;

/// Compiles plugins and runs the clock that bounds their calls.
pub struct Engine {
    engine: wasmtime::Engine,
    clock: Clock,
    cache: Option<Cache>,
    /// Where failures of calls are counted.
    pub(super) metrics: Arc<Metrics>,
    on_suspension: OnceLock<OnSuspension>,
    /// How often all remembered verdicts were to be forgotten.
    forgotten: AtomicU64,
}

/// Hears of the uses that are suspended, on the thread that suspends them.
type OnSuspension = Box<dyn Fn(&Use) + Send + Sync>;

/// A file that is no plugin.
#[derive(Debug, thiserror::Error)]
pub enum LoadFault {
    /// A core module, text, or noise.
    #[error("not a WebAssembly component: {0}")]
    NotComponent(String),
    /// It needs what its configuration does not grant.
    #[error("imports `{import}`, which is not granted (`plugin.{plugin}.keys` grants key sets)")]
    NotGranted {
        /// The plugin's name.
        plugin: Arc<str>,
        /// The interface.
        import: String,
    },
    /// It needs what this host does not have.
    #[error("imports `{0}`, which this host (contract {version}) does not offer", version = v0_1::VERSION)]
    UnknownImport(String),
    /// It exports no stage.
    #[error("exports none of `auth`, `validation` and `routing` of {package}@{version}", package = v0_1::PACKAGE, version = v0_1::VERSION)]
    NoStage,
    /// It does not export the stage that a configuration uses, or in other types.
    #[error("cannot be used for {stage}: {reason}")]
    Stage {
        /// The stage.
        stage: Stage,
        /// What is missing.
        reason: String,
    },
    /// It does not fit together.
    #[error("does not link: {0}")]
    Link(String),
    /// It would take too long to compile.
    #[error("not compiled within {0:?} (`plugins.compile_time`); taken when that has ended")]
    Slow(Duration),
    /// The compiler panicked.
    #[error("the compiler fails on it")]
    Compiler,
    /// Too many files wait to be compiled. It is tried again by itself.
    #[error("too many files wait to be compiled: tried again when some of them have been")]
    Crowd,
    /// The machine has no thread to compile it on.
    #[error("no thread to compile it on: {0}")]
    NoThread(String),
}

impl Engine {
    /// Starts the engine and its clock, a thread that ends with the engine. A call may take so much stack, and runs on a
    /// thread with [`STACK_BYTES`].
    ///
    /// # Errors
    /// The machine cannot run it.
    pub fn new(cache: Option<PathBuf>, stack_bytes: usize, metrics: Arc<Metrics>) -> anyhow::Result<Arc<Self>> {
        let engine = start(stack_bytes)?;
        let cache = cache.and_then(|folder| match Cache::open(&folder) {
            Ok(cache) => Some(cache),
            Err(fault) => {
                tracing::warn!(folder = %folder.display(), reason = %fault, "no cache of compiled code");
                None
            }
        });
        let clock = Clock::start(&engine)?;
        let (on_suspension, forgotten) = (OnceLock::new(), AtomicU64::new(0));
        Ok(Arc::new(Self { engine, clock, cache, metrics, on_suspension, forgotten }))
    }

    /// What has the clock tick: every instance has one.
    pub(super) fn ticking(&self) -> Ticking {
        self.clock.ticking()
    }

    /// Has all remembered verdicts forgotten.
    pub fn forget(&self) {
        self.forgotten.fetch_add(1, Relaxed);
    }

    /// How often that was asked for.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.load(Relaxed)
    }

    pub(super) fn raw(&self) -> &wasmtime::Engine {
        &self.engine
    }

    /// Tells of every use that is suspended from now on; only the first caller is told.
    pub fn on_suspension(&self, tell: impl Fn(&Use) + Send + Sync + 'static) {
        let _ = self.on_suspension.set(Box::new(tell));
    }

    /// A use is suspended.
    pub(super) fn suspended(&self, used: &Use) {
        if let Some(tell) = self.on_suspension.get() {
            tell(used);
        }
    }

    /// Compiles and checks one file on this thread, unless its compiled code was kept. Takes seconds for large plugins.
    ///
    /// # Errors
    /// The file is no component, or exports no stage.
    pub fn load(&self, name: Arc<str>, bytes: Bytes, digest: [u8; 32]) -> Result<Version, LoadFault> {
        let source = Source { name, bytes, digest, noticed: std::time::Instant::now() };
        self.cached(&source).unwrap_or_else(|| self.compile(&source).inspect(|version| self.keep(version)))
    }

    /// A version of compiled code that was kept; none: it must be compiled.
    pub(super) fn cached(&self, source: &Source) -> Option<Result<Version, LoadFault>> {
        let component = self.cache.as_ref()?.load(&self.engine, &source.digest)?;
        Some(self.check(source, component))
    }

    /// Compiles and checks one file. Takes seconds for large plugins, and longer for hostile ones: never call it on a worker.
    ///
    /// # Errors
    /// The file is no component, or exports no stage.
    pub(super) fn compile(&self, source: &Source) -> Result<Version, LoadFault> {
        let component = Component::from_binary(&self.engine, &source.bytes)
            .map_err(|fault| LoadFault::NotComponent(one_line(&fault)))?;
        self.check(source, component)
    }

    /// Keeps a version's compiled code for [`Engine::cached`].
    pub(super) fn keep(&self, version: &Version) {
        if let Some(cache) = &self.cache {
            cache.store(&self.engine, &version.digest, &version.component);
        }
    }

    fn check(&self, source: &Source, component: Component) -> Result<Version, LoadFault> {
        let kind = component.component_type();
        for (name, item) in kind.imports(&self.engine).filter(|(name, _)| !name.starts_with("wasi:")) {
            self.check_import(name, &item.ty)?;
        }
        let imports: Vec<String> = kind.imports(&self.engine).map(|(name, _)| name.to_string()).collect();
        let stages: BTreeSet<Stage> = kind
            .exports(&self.engine)
            .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentInstance(_)))
            .filter_map(|(name, _)| {
                Stage::ALL.into_iter().find(|stage| {
                    name.strip_prefix(v0_1::PACKAGE)
                        .and_then(|rest| rest.strip_prefix('/'))
                        .and_then(|rest| rest.strip_prefix(stage.name()))
                        .is_some_and(|rest| rest.starts_with("@0.1."))
                })
            })
            .collect();
        if stages.is_empty() {
            return Err(LoadFault::NoStage);
        }
        let (name, bytes) = (Arc::clone(&source.name), source.bytes.len());
        Ok(Version { name, digest: source.digest, bytes, component, imports, stages })
    }

    /// An interface of the contract may come from a newer 0.1.x as long as it names no function that is not here.
    fn check_import(&self, name: &str, item: &ComponentItem) -> Result<(), LoadFault> {
        let known = v0_1::functions(name).ok_or_else(|| LoadFault::UnknownImport(line(name)))?;
        let ComponentItem::ComponentInstance(instance) = item else {
            return Err(LoadFault::UnknownImport(line(name)));
        };
        let missing = instance
            .exports(&self.engine)
            .find(|(function, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)) && !known.contains(function));
        match missing {
            Some((function, _)) => Err(LoadFault::UnknownImport(line(&format!("{name}#{function}")))),
            None => Ok(()),
        }
    }

    /// Links a version with what it is granted, for one stage.
    pub(super) fn link(&self, version: &Version, stage: Stage, jwt: bool) -> Result<Linked, LoadFault> {
        let link_fault = |fault: wasmtime::Error| LoadFault::Link(one_line(&fault));
        if let Some(import) = version.imports.iter().find(|import| v0_1::is_jwt(import)).filter(|_| !jwt) {
            return Err(LoadFault::NotGranted { plugin: version.name.clone(), import: import.clone() });
        }
        let mut linker = Linker::<State>::new(&self.engine);
        v0_1::link(&mut linker, jwt).map_err(link_fault)?;
        wasi::link(&mut linker, &version.component, &self.engine).map_err(link_fault)?;
        let pre = linker.instantiate_pre(&version.component).map_err(link_fault)?;
        let exports = Exports::find(stage, &pre)
            .map_err(|fault| LoadFault::Stage { stage, reason: line(&format!("{fault:#}")) })?;
        Ok(Linked { pre, exports })
    }
}

/// A version that can be instantiated for a stage.
pub(super) struct Linked {
    pub(super) pre: InstancePre<State>,
    pub(super) exports: Exports,
}

/// One file's content, compiled and checked.
pub struct Version {
    /// The plugin's name.
    pub name: Arc<str>,
    /// SHA-256 of the file.
    pub digest: [u8; 32],
    /// The file's size.
    pub bytes: usize,
    component: Component,
    imports: Vec<String>,
    stages: BTreeSet<Stage>,
}

impl Version {
    /// The digest as hexadecimal text.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.digest)
    }

    /// The stages that it exports.
    #[must_use]
    pub fn stages(&self) -> &BTreeSet<Stage> {
        &self.stages
    }

    /// The contract as its stages name it: `gatewright:policy@0.1.0`. More than one where they differ.
    #[must_use]
    pub fn contracts(&self) -> BTreeSet<String> {
        let kind = self.component.component_type();
        let version = |name: &str| Some(name.strip_prefix(v0_1::PACKAGE)?.split_once('@')?.1.to_owned());
        let versions = kind.exports(self.component.engine()).filter_map(|(name, _)| version(name));
        versions.map(|version| format!("{}@{version}", v0_1::PACKAGE)).collect()
    }

    /// The interfaces that it imports and that a configuration must grant.
    pub fn grants(&self) -> impl Iterator<Item = &str> {
        self.imports.iter().map(String::as_str).filter(|import| v0_1::is_jwt(import))
    }

    /// The interfaces that it imports.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.imports
    }
}

/// Bytes as lower-case hexadecimal text.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An engine with a pool of memories; where the address space is too small for it (`ulimit -v`, valgrind), without.
fn start(stack_bytes: usize) -> anyhow::Result<wasmtime::Engine> {
    let pooled = wasmtime::Engine::new(settings(stack_bytes).allocation_strategy(pool()));
    let engine = pooled.or_else(|fault| {
        tracing::warn!(reason = one_line(&fault), "no pool for plugins' memories: instances start more slowly");
        wasmtime::Engine::new(&settings(stack_bytes))
    });
    engine.map_err(|fault| anyhow::anyhow!("{fault:#}"))
}

fn settings(stack_bytes: usize) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .wasm_memory64(false)
        .epoch_interruption(true)
        .max_wasm_stack(stack_bytes)
        .cranelift_opt_level(OptLevel::Speed)
        .generate_address_map(false)
        .parallel_compilation(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16))
        .memory_init_cow(true);
    config
}

fn pool() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(MOST_MEMORIES)
        .total_tables(MOST_MEMORIES * 2)
        .total_component_instances(MOST_MEMORIES)
        .total_core_instances(MOST_MEMORIES * 8)
        .max_memory_size(MOST_MEMORY_BYTES)
        .table_elements(MOST_TABLE_ELEMENTS)
        .max_core_instances_per_component(MOST_PARTS)
        .max_memories_per_component(MOST_PARTS)
        .max_tables_per_component(MOST_PARTS)
        .max_tables_per_module(MOST_PARTS)
        .max_core_instance_size(4 << 20)
        .max_component_instance_size(4 << 20)
        .linear_memory_keep_resident(KEPT_RESIDENT_BYTES)
        .table_keep_resident(KEPT_RESIDENT_BYTES);
    InstanceAllocationStrategy::Pooling(pool)
}

fn one_line(fault: &wasmtime::Error) -> String {
    line(&format!("{fault:#}").split_whitespace().collect::<Vec<_>>().join(" "))
}
