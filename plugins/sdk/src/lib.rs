//! Write Gatewright policy plugins in Rust.
//!
//! A plugin is a type with one of the traits [`Auth`], [`Validation`] or [`Routing`], and a line that exports it:
//!
//! ```
//! use gatewright_plugin::{Refusal, Request, Slot, Validation, inputs, refuse};
//!
//! struct NoTrailers(Slot);
//!
//! impl Validation for NoTrailers {
//!     fn configure(_settings: &str) -> Result<Self, String> {
//!         Ok(Self(inputs::header("te")))
//!     }
//!
//!     fn check(&self, request: &Request) -> Result<(), Refusal> {
//!         if request.value(self.0) == Some("trailers") { Err(refuse(400, "No trailers here")) } else { Ok(()) }
//!     }
//! }
//!
//! gatewright_plugin::validation!(NoTrailers);
//! ```
//!
//! Build it as a `cdylib` for `wasm32-unknown-unknown` with the linker `wasm-component-ld`: the output is a component. The
//! contract (`wit/v0.1/policy.wit`) says what each call means and costs; a component imports only what its code calls.

// What the generated export macros name must be found in this crate too.
extern crate self as gatewright_plugin;

pub mod bindings;
#[allow(unsafe_code, reason = "an allocator hands out memory")]
#[cfg(any(test, target_family = "wasm"))]
mod memory;
pub mod methods;
pub mod path;
mod settings;
mod stages;
mod types;

pub use bindings::auth::exports::gatewright::policy::auth::{Caller, Grant};
pub use bindings::host::gatewright::policy::types::{Edits, Header, Refusal, Request, Slot, Violation};
pub use bindings::host::gatewright::policy::{clock, identity, inputs, jwt, log, random, verdicts};
pub use bindings::routing::exports::gatewright::policy::routing::{Decision, Response, Share, Target};
pub use settings::settings;
pub use stages::{Auth, Routing, Validation};
pub use types::refuse;

#[doc(hidden)]
pub use wit_bindgen;

#[cfg(all(feature = "memory", target_family = "wasm", not(target_feature = "atomics")))]
#[global_allocator]
static MEMORY: memory::Memory = memory::Memory::new();
