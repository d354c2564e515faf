//! The only face of Wasm: plugins are loaded, configured, called and replaced here.
//!
//! A *version* is one file's content, compiled. A *use* is one stage of one API with one configuration; it has one instance
//! per worker. What a plugin says is checked and translated into [`verdict`]s before anybody sees it.

mod allowance;
mod bounds;
mod cache;
mod capabilities;
mod clock;
mod compile;
mod engine;
pub mod folder;
mod inputs;
mod local;
mod offload;
mod recall;
mod suspension;
mod r#use;
mod v0_1;
pub mod verdict;
mod wasi;
pub mod witness;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderName;

/// What plugins are written against, in WIT.
pub const CONTRACT: &str = include_str!("../../wit/v0.1/policy.wit");

pub use bounds::Footprint;
pub use compile::{Compiler, Loaded, Source};
pub use engine::{Engine, LoadFault, STACK_BYTES, Version, hex};
pub(crate) use inputs::conceal;
pub use inputs::{Unclear, View};
pub use local::{Local, NoVerdict};
pub use offload::Pool;
pub use r#use::{Instance, Use, UseFault, UseName};
pub use verdict::Verdict;
pub use witness::Witness;

/// Where in the path a plugin stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Says who is calling.
    Auth,
    /// Says whether a request is valid.
    Validation,
    /// Says which service a request goes to.
    Routing,
}

impl Stage {
    /// All of them, in the path's order.
    pub const ALL: [Self; 3] = [Self::Auth, Self::Validation, Self::Routing];

    /// The name in the contract, in logs and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Validation => "validation",
            Self::Routing => "routing",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One part of a request that a plugin declared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the contract's `inputs` has the words")]
pub enum Input {
    Method,
    Scheme,
    Authority,
    Path,
    Query,
    QueryParameter(String),
    Header(HeaderName),
    Cookie(String),
    ClientAddress,
    ClientCertificateSubject,
    ClientCertificateFingerprint,
    CallerSubject,
    CallerPlan,
    CallerScopes,
    CallerAttribute(String),
}

/// What a plugin said of itself in `configure`. All instances of a use say the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declaration {
    /// The inputs by slot.
    pub inputs: Vec<Input>,
    /// Whether and which bodies it sees.
    pub body: Option<BodyInput>,
    /// Whether it sees every header field.
    pub all_headers: bool,
    /// Fields that it may set for the service.
    pub identity: Vec<HeaderName>,
    /// Its `WWW-Authenticate` challenges.
    pub challenges: Vec<String>,
    /// How long its verdicts may be remembered, in milliseconds; none: not.
    pub remember_ms: Option<u32>,
}

/// Which bodies a plugin sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyInput {
    /// Longer ones are answered 413.
    pub most_bytes: usize,
    /// Media types in lower case; `application/*+json` has one star; empty: all.
    pub media_types: Vec<String>,
    /// Whether others pass unseen instead of being answered 415.
    pub pass_others: bool,
}

/// A call that gave no verdict. The stage's failure mode decides; the text is for the log only.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// It ran into a trap.
    #[error("trap: {0}")]
    Trap(String),
    /// It took longer than it may.
    #[error("over its time")]
    Time,
    /// It asked for more memory, or elements of tables, than it may have.
    #[error("over its memory or its tables")]
    Memory,
    /// It answered what cannot be.
    #[error("bad answer: {0}")]
    Answer(String),
    /// All threads for plugins of its placement were busy for too long.
    #[error("no place in time: too many calls wait for `plugins.offload_threads`")]
    Overload,
    /// It failed too often of late and is not called.
    #[error("suspended")]
    Suspended,
}

impl Failure {
    pub(crate) fn answer(reason: impl AsRef<str>) -> Self {
        Self::Answer(bounds::line(reason.as_ref()))
    }

    /// The kind, as a metric label.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::Time => "time",
            Self::Memory => "memory",
            Self::Answer(_) => "answer",
            Self::Overload => "overload",
            Self::Suspended => "suspended",
        }
    }
}

/// The place of a plugin in a stage on one worker.
pub enum Slot {
    /// It is there.
    Live(Rc<Local>),
    /// The configuration names it and the folder lacks it.
    Missing(Arc<str>),
}

impl Slot {
    /// The plugin, where it is there.
    #[must_use]
    pub fn live(&self) -> Option<&Local> {
        match self {
            Self::Live(local) => Some(local),
            Self::Missing(_) => None,
        }
    }

    /// What it declared.
    #[must_use]
    pub fn declaration(&self) -> Option<&Declaration> {
        self.live().map(|local| &local.shared.declaration)
    }
}
