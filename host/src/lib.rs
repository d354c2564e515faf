//! Gatewright: an API gateway and load balancer whose policy is WebAssembly.
//!
//! The modules stand in the order in which a request meets them; [`gateway`] has the whole path in one function.

pub mod server;
pub mod tls;

pub mod gateway;

pub mod api;
pub mod clean;
pub mod coming;
pub mod cors;
pub mod going;
pub mod request;

pub mod auth;
pub mod limit;
pub mod route;
pub mod validate;

pub mod balance;
pub mod forward;
pub mod refusal;

pub mod plugin;

pub mod admin;
pub mod command;
pub mod config;
pub mod control;
pub mod explain;
pub mod files;
pub mod keys;
pub mod log;
pub mod metrics;
mod place;
