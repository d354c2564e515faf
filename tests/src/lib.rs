//! The harness of Gatewright's tests: a gateway, services behind it and clients before it, each in a few words.
//!
//! ```ignore
//! let orders = upstream("orders");
//! let gateway = gateway([&orders], r#"
//!     [[api]]
//!     name = "shop"
//!     service = "orders"
//! "#);
//! gateway.get("/orders/2").as_caller("ada").await.is(200).says("orders");
//! ```
//!
//! Everything is real: the gateway's own code, sockets on ports that the system chose, components that were compiled. What
//! does not come within [`LONG`] fails the test. Nothing sleeps for a fixed time, and what was started ends with the value
//! that started it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking, and so does its harness"
)]

mod answer;
mod call;
mod command;
mod connection;
pub mod corpus;
pub mod frames;
pub mod fuzz;
mod gateway;
mod guest;
mod hearer;
mod plugins;
mod raw;
mod recorder;
mod reply;
mod setup;
pub mod strict;
mod time;
mod tls;
mod token;
mod upstream;

pub use answer::{Answer, Coming};
pub use call::Call;
pub use command::{Command, Ended, Program};
pub use connection::Connection;
pub use gateway::{Gateway, PluginState, gateway};
pub use guest::{component, component_of, guest, hostile, hostile_folder};
pub use hearer::{Hearer, Hearing};
pub use plugins::{built, reference, sha256};
pub use raw::{Raw, RawAnswer, RawUpstream, raw_upstream};
pub use recorder::{Recorder, recorder};
pub use reply::{Gate, Reply, Writer};
pub use setup::{Place, SECRET, Setup, moved, setup};
pub use time::{LONG, until, within};
pub use tls::{Authority, Identity, TlsClient, acceptor};
pub use token::{Key, Token, token, unix_seconds};
pub use upstream::{Port, Progress, Seen, Upstream, port, upstream};
