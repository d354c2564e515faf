#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test says so by failing")]
//! What the stage promises, with time as a number.

mod callers;
mod keys;
mod model;
mod peek;
mod threads;

use super::*;
use crate::config::{Limit, LimitKey, Over, Rate};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
/// Some moment: the process is not new.
const NOW: u64 = 500 * SECOND;

fn rate(burst: u32, interval_ms: u64) -> Rate {
    Rate { burst, interval: Duration::from_millis(interval_ms) }
}

fn limit(name: &str, by: LimitKey) -> Limit {
    Limit {
        name: name.into(),
        by,
        rate: None,
        plans: BTreeMap::new(),
        concurrent: None,
        over: Over::Reject,
        keys: 100_000,
    }
}

fn rated(name: &str, by: LimitKey, burst: u32, interval_ms: u64) -> Limit {
    Limit { rate: Some(rate(burst, interval_ms)), ..limit(name, by) }
}

fn delayed(name: &str, by: LimitKey, rate: Rate, longest_ms: u64) -> Limit {
    Limit { rate: Some(rate), over: Over::Delay(Duration::from_millis(longest_ms)), ..limit(name, by) }
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(number).into()
}

fn no_attribute<'a>(_: &str) -> Option<&'a str> {
    None
}

fn client<'a>(number: u32, subject: Option<&'a str>, plan: Option<&'a str>) -> Client<'a> {
    let caller = subject.map(|subject| Caller { plugin: "jwt", subject, plan, attribute: &no_attribute });
    Client { address: address(number), caller }
}

/// One request of a client through both halves at the same moment; the wait is the longer one of both.
fn request(limits: &Limits, client: &Client<'_>, now: u64) -> Result<Admission, Exceeded> {
    let admission = limits.before_auth(client.address, now)?;
    let wait = admission.wait;
    let admission = limits.after_auth(client, now, admission)?;
    Ok(Admission { wait: wait.max(admission.wait), ..admission })
}

/// How many of so many requests are admitted; each ends at once.
fn admitted(limits: &Limits, client: &Client<'_>, requests: u32, now: u64) -> usize {
    (0..requests).filter(|_| request(limits, client, now).is_ok()).count()
}

#[test]
fn the_burst_comes_at_once_and_then_one_per_interval() {
    let limits = Limits::new(&[rated("a", LimitKey::Address, 3, 1000)], &Tables::new());
    let ada = client(1, None, None);
    assert_eq!(admitted(&limits, &ada, 5, NOW), 3);
    assert_eq!(admitted(&limits, &ada, 5, NOW + SECOND - 1), 0);
    assert_eq!(admitted(&limits, &ada, 5, NOW + SECOND), 1);
    assert_eq!(admitted(&limits, &ada, 5, NOW + 100 * SECOND), 3);
}

#[test]
fn no_limits_admit_everything_and_say_nothing() {
    let limits = Limits::new(&[], &Tables::new());
    let admission = request(&limits, &client(1, Some("ada"), None), NOW).unwrap();
    let mut headers = HeaderMap::new();
    limits.write(&admission.standings, &mut headers);
    assert!(headers.is_empty());
}

#[test]
fn limits_by_address_are_checked_before_auth_and_the_others_after_it() {
    let limits = [rated("caller", LimitKey::Caller, 9, 1000), rated("address", LimitKey::Address, 9, 1000)];
    let limits = Limits::new(&limits, &Tables::new());
    let ada = client(1, Some("ada"), None);
    let admission = limits.before_auth(ada.address, NOW).unwrap();
    assert_eq!(admission.standings.len(), 1);
    let admission = limits.after_auth(&ada, NOW, admission).unwrap();
    assert_eq!(admission.standings.len(), 2);
}

#[test]
fn a_refusal_by_one_limit_takes_nothing_of_the_others() {
    let tables = Tables::new();
    let wide = rated("wide", LimitKey::Api, 10, 1000);
    let limits = Limits::new(&[wide.clone(), rated("narrow", LimitKey::Caller, 1, 60_000)], &tables);
    assert_eq!(admitted(&limits, &client(1, Some("ada"), None), 100, NOW), 1);
    assert_eq!(admitted(&limits, &client(1, Some("bob"), None), 100, NOW), 1);
    let refused = request(&limits, &client(1, Some("bob"), None), NOW).unwrap_err();
    assert_eq!(limits.violated(&refused).map(|name| &**name).collect::<Vec<_>>(), ["narrow"]);
    assert_eq!(refused.retry_after, 60);
    assert_eq!(refused.standings[0].room.unwrap().left, 8);
    assert_eq!(admitted(&Limits::new(&[wide], &tables), &client(1, None, None), 100, NOW), 8);
}

#[test]
fn a_refusal_names_every_limit_that_refused_and_waits_for_the_slowest() {
    let limits = ["fast", "slow", "wide"].map(|name| rated(name, LimitKey::Api, 1, 1500));
    let [fast, mut slow, mut wide] = limits;
    slow.rate = Some(rate(1, 30_500));
    wide.rate = Some(rate(5, 99_000));
    let limits = Limits::new(&[fast, slow, wide], &Tables::new());
    let ada = client(1, None, None);
    assert!(request(&limits, &ada, NOW).is_ok());
    let refused = request(&limits, &ada, NOW).unwrap_err();
    assert_eq!(limits.violated(&refused).map(|name| &**name).collect::<Vec<_>>(), ["fast", "slow"]);
    assert_eq!(refused.retry_after, 31);
    let mut headers = HeaderMap::new();
    limits.write_refusal(&refused, &mut headers);
    assert_eq!(headers["retry-after"], "31");
    assert_eq!(headers["ratelimit-policy"], r#""fast";q=1;w=2, "slow";q=1;w=31, "wide";q=5;w=495"#);
    assert_eq!(headers["ratelimit"], r#""fast";r=0;t=2, "slow";r=0;t=31, "wide";r=4;t=99"#);
}

#[test]
fn both_halves_speak_in_one_field_beside_the_services_own() {
    let limits = [rated("address", LimitKey::Address, 9, 100), rated("caller", LimitKey::Caller, 5, 1000)];
    let limits = Limits::new(&limits, &Tables::new());
    let admission = request(&limits, &client(1, Some("ada"), None), NOW).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("ratelimit", "\"own\";r=1".parse().unwrap());
    limits.write(&admission.standings, &mut headers);
    let said: Vec<_> = headers.get_all("ratelimit").iter().collect();
    assert_eq!(said, ["\"own\";r=1", r#""address";r=8;t=1, "caller";r=4;t=1"#]);
    assert_eq!(headers["ratelimit-policy"], r#""address";q=9;w=1, "caller";q=5;w=5"#);
}

#[test]
fn delays_are_reservations_one_interval_apart_within_their_bound() {
    let limits = [delayed("a", LimitKey::Api, rate(2, 250), 1000)];
    let limits = Limits::new(&limits, &Tables::new());
    let ada = client(1, None, None);
    let waits: Vec<_> = (0..6).map(|_| request(&limits, &ada, NOW).unwrap().wait.as_millis()).collect();
    assert_eq!(waits, [0, 0, 250, 500, 750, 1000]);
    let refused = request(&limits, &ada, NOW).unwrap_err();
    assert_eq!((refused.retry_after, refused.standings[0].room.unwrap().left), (2, 0));
    assert_eq!(request(&limits, &ada, NOW + 100 * MS).map(|_| ()).unwrap_err().retry_after, 2);
    assert_eq!(request(&limits, &ada, NOW + 250 * MS).unwrap().wait.as_millis(), 1000);
}

#[test]
fn the_longest_delay_counts_and_a_rejecting_limit_beside_it_still_rejects() {
    let limits = [
        delayed("short", LimitKey::Api, rate(1, 100), 10_000),
        delayed("long", LimitKey::Api, rate(1, 700), 10_000),
        rated("hard", LimitKey::Api, 3, 60_000),
    ];
    let limits = Limits::new(&limits, &Tables::new());
    let ada = client(1, None, None);
    let waits: Vec<_> = (0..3).map(|_| request(&limits, &ada, NOW).unwrap().wait.as_millis()).collect();
    assert_eq!(waits, [0, 700, 1400]);
    assert_eq!(request(&limits, &ada, NOW).unwrap_err().retry_after, 60);
}

#[test]
fn a_wait_before_auth_is_not_waited_for_again_after_it() {
    let limits = [delayed("a", LimitKey::Address, rate(1, 500), 1000), rated("b", LimitKey::Api, 5, 100)];
    let limits = Limits::new(&limits, &Tables::new());
    drop(limits.before_auth(address(1), NOW));
    let admission = limits.before_auth(address(1), NOW).unwrap();
    assert_eq!(admission.wait.as_millis(), 500);
    let admission = limits.after_auth(&client(1, None, None), NOW + 500 * MS, admission).unwrap();
    assert_eq!((admission.wait, admission.standings.len()), (Duration::ZERO, 2));
}

#[test]
fn requests_in_flight_are_bounded_until_they_end() {
    let limits = [Limit { concurrent: Some(2), ..limit("flight", LimitKey::Caller) }];
    let limits = Limits::new(&limits, &Tables::new());
    let (ada, bob) = (client(1, Some("ada"), None), client(1, Some("bob"), None));
    let first = request(&limits, &ada, NOW).unwrap();
    let second = request(&limits, &ada, NOW).unwrap();
    let refused = request(&limits, &ada, NOW).unwrap_err();
    assert_eq!((refused.retry_after, refused.standings[0].exceeded), (1, Some(Bound::Concurrent)));
    assert!(request(&limits, &bob, NOW).is_ok());
    let mut headers = HeaderMap::new();
    limits.write_refusal(&refused, &mut headers);
    assert_eq!((headers.len(), &headers["retry-after"]), (1, &http::HeaderValue::from_static("1")));
    drop(first);
    let third = request(&limits, &ada, NOW).unwrap();
    assert!(request(&limits, &ada, NOW).is_err());
    drop((second, third));
    assert_eq!(admitted(&limits, &ada, 50, NOW), 50);
}

#[test]
fn a_request_that_the_second_half_refuses_is_in_flight_no_more() {
    let limits =
        [Limit { concurrent: Some(1), ..limit("flight", LimitKey::Address) }, rated("rate", LimitKey::Caller, 1, 1000)];
    let limits = Limits::new(&limits, &Tables::new());
    let ada = client(1, Some("ada"), None);
    drop(request(&limits, &ada, NOW).unwrap());
    let refused = request(&limits, &ada, NOW).unwrap_err();
    assert_eq!(
        refused.standings.iter().map(|standing| standing.exceeded).collect::<Vec<_>>(),
        [None, Some(Bound::Rate)]
    );
    assert!(request(&limits, &ada, NOW + SECOND).is_ok());
}

#[test]
fn failed_authentication_is_counted_only_when_it_failed() {
    let tables = Tables::new();
    let failed = FailedAuth::new(rate(3, 1000), &tables);
    for _ in 0..100 {
        assert_eq!(failed.check(address(1), NOW), Ok(()));
    }
    for _ in 0..3 {
        assert_eq!(failed.check(address(1), NOW), Ok(()));
        failed.charge(address(1), NOW);
    }
    assert_eq!(failed.check(address(1), NOW), Err(FailedTooOften { retry_after: 1 }));
    assert_eq!(failed.check(address(2), NOW), Ok(()));
    // Others that were let through at the same time fail as well: their failures are waited for too.
    failed.charge(address(1), NOW);
    failed.charge(address(1), NOW);
    assert_eq!(failed.check(address(1), NOW), Err(FailedTooOften { retry_after: 3 }));
    let reloaded = FailedAuth::new(rate(3, 1000), &tables);
    assert_eq!(reloaded.check(address(1), NOW + 3 * SECOND - 1), Err(FailedTooOften { retry_after: 1 }));
    assert_eq!(reloaded.check(address(1), NOW + 3 * SECOND), Ok(()));
}
