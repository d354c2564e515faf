//! What would become of one request, and why: what `gatewright explain` shows and `POST /explain` answers as JSON.
//!
//! No value of the request's fields, query or body is in it, and of a credential only what the access log shows as well: the
//! caller's subject, and its plan.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::balance::{EndpointSnapshot, ServiceSnapshot, StateSnapshot};
use crate::limit::Peek;

/// What would become of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Who explained it.
    pub by: By,
    /// Its method.
    pub method: String,
    /// Its cleaned path, or what was sent where that cannot be cleaned; without a query.
    pub path: String,
    /// Whom it is taken to come from.
    pub client: String,
    /// How it ends.
    pub end: End,
    /// What the stages say, in the path's order.
    pub steps: Vec<Step>,
    /// Stages that are not asked, because one before them answers.
    pub not_asked: Vec<String>,
    /// The service that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// What the client gets of the gateway itself; none: a service answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// Who explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A worker of the running gateway, of this number.
    Worker(usize),
    /// The configuration alone: no limit is used up, every endpoint is healthy and idle, nothing is remembered.
    Configuration,
}

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// A service would get it.
    Forwarded,
    /// The gateway answers it, in a service's stead: a preflight, or what a routing plugin says.
    Answered,
    /// It goes no further.
    Refused,
}

/// What one stage, one plugin or one limit says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// `request`, `api`, `limit`, `cors`, `auth`, `validation`, `routing` or `balance`.
    pub stage: String,
    /// A word or two.
    pub verdict: String,
    /// The plugin that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// The digest of its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// More of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How long the verdict took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub microseconds: Option<f64>,
    /// Whether it was remembered, where the plugin promised that it may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remembered: Option<bool>,
    /// The limit that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

/// How the client stands with a limit, this request not counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Its name.
    pub name: String,
    /// What it counts together: `api`, `address`, `caller`, `plan` or `attribute NAME`.
    pub by: String,
    /// Requests that may come at once; none: only those in flight count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Of these, those that may come now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u32>,
    /// Seconds until all of them may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<f64>,
    /// Requests in flight; none: they are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// The most of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_in_flight: Option<u32>,
    /// Seconds that the request would wait, where the limit delays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<f64>,
}

/// A service and its endpoints as they are now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// `balance` of the configuration.
    pub balance: String,
    /// Where the key of the request is from, where the service balances by keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Requests in flight.
    pub in_flight: usize,
    /// The most of them.
    pub most_in_flight: usize,
    /// Whether so few endpoints are left that none is ejected.
    pub panics: bool,
    /// The endpoint that the request would get; none: there is none for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Why that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The share of requests of each tier, of one, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<(u32, f64)>,
    /// The endpoints, in the order of the configuration.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Where it is.
    pub address: String,
    /// Its tier.
    pub tier: u32,
    /// Its share relative to the others' of its tier.
    pub weight: u32,
    /// The part of its weight that it has, while it starts slowly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// `healthy`, `unhealthy` or `ejected`.
    pub state: String,
    /// Why, or for how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Requests in flight.
    pub in_flight: u32,
    /// Seconds that it takes to answer, where the service balances by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<f64>,
}

/// An answer of the gateway's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The fields; the request's id is left out, because there is none.
    pub fields: Vec<(String, String)>,
    /// The body: JSON as it is, anything else as a text; null where there is none.
    pub body: Value,
}

impl Limit {
    pub(crate) fn new(peek: &Peek) -> Self {
        Self {
            name: peek.name.to_string(),
            by: peek.by.clone(),
            limit: peek.rate.map(|rate| rate.burst),
            remaining: peek.rate.map(|rate| rate.left),
            reset: peek.rate.map(|rate| rate.full_after.as_secs_f64()),
            in_flight: peek.in_flight.map(|(now, _)| now),
            most_in_flight: peek.in_flight.map(|(_, most)| most),
            wait: (!peek.wait.is_zero()).then_some(peek.wait.as_secs_f64()),
        }
    }
}

impl Service {
    pub(crate) fn new(snapshot: &ServiceSnapshot, key: Option<String>) -> Self {
        Self {
            name: snapshot.name.to_string(),
            balance: snapshot.algorithm.to_owned(),
            key,
            in_flight: snapshot.in_flight,
            most_in_flight: snapshot.most_in_flight,
            panics: snapshot.panics,
            endpoint: None,
            why: None,
            tiers: snapshot.tiers.iter().map(|tier| (tier.tier, tier.share)).collect(),
            endpoints: snapshot.endpoints.iter().map(Endpoint::new).collect(),
        }
    }
}

impl Endpoint {
    fn new(snapshot: &EndpointSnapshot) -> Self {
        let (state, reason) = match &snapshot.state {
            StateSnapshot::Healthy => ("healthy", None),
            StateSnapshot::Unhealthy { reason } => ("unhealthy", Some(reason.clone())),
            StateSnapshot::Ejected { seconds_left } => ("ejected", Some(format!("for {seconds_left:.1} s more"))),
        };
        Self {
            address: snapshot.address.to_string(),
            tier: snapshot.tier,
            weight: snapshot.weight,
            share: snapshot.share,
            state: state.to_owned(),
            reason,
            in_flight: snapshot.in_flight,
            latency: snapshot.latency,
        }
    }
}
