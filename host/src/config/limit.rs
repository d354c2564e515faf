//! `[[api.limit]]`, and rates wherever they are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::groups::{Named, record};
use super::kinds::{Count, Name, Parsed, Role, TIMEOUT, Time, Words};
use super::source::Space;
use super::table::Table;
use super::texts;

/// Enough for any rate that is meant, and far from what arithmetic in nanoseconds cannot hold.
const REQUESTS: Count<u32> = Count(1..=1_000_000_000);
/// What a rate can be per.
const PER: Time = Time(Duration::from_millis(1), MONTH);
const MONTH: Duration = Duration::from_hours(31 * 24);
/// The least time that earns one request: a million a second.
const LEAST_INTERVAL: Duration = Duration::from_micros(1);
/// The longest that a whole burst may take to come back.
const LONGEST_REFILL: Duration = Duration::from_hours(366 * 24);
const BY: Parsed<LimitKey> =
    Parsed { what: "what to count by, like `address`", parse: limit_key, show: |_| json!(null) };

/// One limit of an API.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Unique within the configuration, a structured-field string: counters survive a reload by it.
    pub name: Arc<str>,
    /// What is counted together.
    pub by: LimitKey,
    /// The rate; `None`: only `concurrent` and `plans` count.
    pub rate: Option<Rate>,
    /// Rates for callers of these plans instead.
    pub plans: BTreeMap<Arc<str>, Rate>,
    /// The most requests in flight of one key; `None`: any.
    pub concurrent: Option<u32>,
    /// What happens over the rate.
    pub over: Over,
    /// The most keys that are counted apart.
    pub keys: usize,
}

/// What a limit counts together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitKey {
    /// The whole API.
    Api,
    /// The client's address; IPv6 by /64. Checked before auth.
    Address,
    /// The caller (the granting plugin and its subject); anonymous ones by address.
    Caller,
    /// All callers of one plan together; those without one by address.
    Plan,
    /// All callers with one value of this attribute, from one granting plugin; those without it by caller.
    Attribute(String),
}

/// What happens over the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// 429.
    Reject,
    /// Wait for at most this long, else 429.
    Delay(Duration),
}

impl Limit {
    pub(super) fn read(t: &mut Table<'_>) -> Option<Self> {
        let name = "Unique within the file: counters survive a reload by it, and answers carry it.";
        let name = t.need("name", name, &Name(Role::Declares(Space::Limit)));
        let by = "What is counted together: `api`, `address`, `caller`, `plan` or `attribute:NAME`.";
        let by = t.need("by", by, &BY);
        let plans = Named { keys: Role::Refers(Space::Plan), of: record(Rate::of_plan) };
        let rate = Rate::of_limit(t);
        let plans = t.given("plans", "Rates for callers of these plans instead.", &plans).unwrap_or_default();
        let concurrent = "The most requests in flight of one key. Default: any.";
        let concurrent = t.given("concurrent", concurrent, &Count(1..=10_000_000));
        let keys = t.or("keys", "The most keys that are counted apart.", 100_000, &Count(1..=100_000_000));
        let over = Over::read(t);
        if !["requests", "per", "plans", "concurrent"].iter().any(|key| t.has(key)) {
            t.fault("", "limits nothing: `requests` and `per`, `plans` or `concurrent` must be there");
        }
        if matches!(by, Some(LimitKey::Api | LimitKey::Address)) && t.has("plans") {
            t.fault("plans", "a plan is a caller's: `by` must be `caller`, `plan` or an attribute");
        }
        Some(Self { name: name?, by: by?, rate, plans, concurrent, over, keys })
    }
}

impl Over {
    fn read(t: &mut Table<'_>) -> Self {
        let words = Words(&[("reject", false), ("delay", true)]);
        let meaning = "`reject`: 429; `delay`: wait for `most_delay` at most, else 429.";
        let delays = t.or("over", meaning, false, &words);
        let most = t.or("most_delay", "The longest wait.", Duration::from_secs(1), &TIMEOUT);
        if !delays && t.has("most_delay") {
            t.fault("most_delay", "only with `over = \"delay\"`");
        }
        if delays && !t.has("requests") && !t.has("plans") {
            t.fault("over", "there is no rate to wait for");
        }
        if delays { Self::Delay(most) } else { Self::Reject }
    }
}

fn limit_key(text: &str) -> Result<LimitKey, String> {
    match text {
        "api" => Ok(LimitKey::Api),
        "address" => Ok(LimitKey::Address),
        "caller" => Ok(LimitKey::Caller),
        "plan" => Ok(LimitKey::Plan),
        _ => match text.strip_prefix("attribute:") {
            Some(name) if texts::is_name(name) => Ok(LimitKey::Attribute(name.to_owned())),
            _ => Err("not one of `api`, `address`, `caller`, `plan`, `attribute:NAME`".into()),
        },
    }
}

/// A rate in the terms of GCRA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests that may come at once, at least 1.
    pub burst: u32,
    /// The time that earns one request, at least 1 µs. A whole burst comes back within 366 days.
    pub interval: Duration,
}

impl Rate {
    pub(super) fn of_failed_auth(t: &mut Table<'_>) -> Option<Self> {
        let requests = t.or("requests", "Failures in `per`.", 50, &REQUESTS);
        let per = t.or("per", "In how long `requests` come back.", Duration::from_secs(60), &PER);
        Self::with_burst(t, Some(requests), Some(per))
    }

    fn of_plan(t: &mut Table<'_>) -> Option<Self> {
        let requests = t.need("requests", "Requests in `per`.", &REQUESTS);
        let per = t.need("per", "In how long `requests` come back.", &PER);
        Self::with_burst(t, requests, per)
    }

    fn of_limit(t: &mut Table<'_>) -> Option<Self> {
        let requests = t.given("requests", "Requests in `per`.", &REQUESTS);
        let per = t.given("per", "In how long `requests` come back.", &PER);
        match (t.has("requests"), t.has("per")) {
            (true, false) => t.fault("per", "missing: `requests` in how long?"),
            (false, true) => t.fault("requests", "missing: how many `per` that time?"),
            (false, false) if t.has("burst") => t.fault("burst", "only with `requests` and `per`"),
            _ => {}
        }
        Self::with_burst(t, requests, per)
    }

    fn with_burst(t: &mut Table<'_>, requests: Option<u32>, per: Option<Duration>) -> Option<Self> {
        let burst = t.given("burst", "Requests that may come at once. Default: `requests`.", &REQUESTS);
        let rate = Self { burst: burst.or(requests)?, interval: per?.checked_div(requests?)? };
        if rate.interval < LEAST_INTERVAL {
            t.fault("requests", "more than a million a second");
        }
        if rate.interval.saturating_mul(rate.burst) > LONGEST_REFILL {
            t.fault("burst", "takes more than 366 days to come back");
        }
        Some(rate)
    }
}
