//! The tests of the whole: every sentence of what the gateway does, through its own code, real sockets and real plugins.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

mod admin;
mod algorithms;
mod auth;
mod author;
mod bad_input;
mod balancing;
mod bounds;
mod circuit;
mod command;
mod compiling;
mod contract;
mod corpus;
mod cors;
mod deadlines;
mod discovery;
mod drill;
mod edge;
mod explain;
mod forwarding;
mod fuzz;
mod grpc;
mod guests;
mod health;
mod hops;
mod hostile;
mod house;
mod http2;
mod http2_bodies;
mod http2_service_streams;
mod http2_services;
mod http2_sharing;
mod interim;
mod interim_http2;
mod interim_http2_services;
mod kept;
mod limits;
mod offload;
mod pins;
mod plugins;
mod pressure;
mod quickstart;
mod reload;
mod remembered;
mod rest;
mod retries;
mod rollback;
mod routing;
mod shop;
mod slow;
mod soak;
mod tiers;
mod tls;
mod tls_services;
mod trailers;
mod upgrades;
mod validation;
mod warm;
