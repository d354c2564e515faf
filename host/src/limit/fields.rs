//! The answer fields `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10 and -11).
//!
//! `q` is the burst and `w` the time that earns it; `r` requests may come at once now. `t` is the time until `r` grows by one,
//! rounded up: draft 10 says "until additional quota is made available", draft 11 "within which the client can use no more
//! than the available quota", and under GCRA both are that moment. It is not the time until all of the burst is back: a client
//! that waited for that with nothing left would wait far too long.

use super::gcra::{Gcra, seconds};
use crate::config::Rate;
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

/// `RateLimit-Policy`.
pub(super) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// `RateLimit`.
pub(super) const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// A rate of a limit with its fixed texts.
#[derive(Debug)]
pub(super) struct Policy {
    /// What is counted.
    pub(super) rate: Gcra,
    /// `"name";q=BURST;w=SECONDS`
    item: Box<str>,
    /// `"name";r=`
    standing: Box<str>,
}

impl Policy {
    /// The texts of a rate under a limit's name.
    pub(super) fn new(name: &str, rate: Rate) -> Self {
        let gcra = Gcra::new(rate);
        let name = quoted(name);
        let item = format!("{name};q={};w={}", rate.burst, seconds(gcra.window()));
        Self { rate: gcra, item: item.into(), standing: format!("{name};r=").into() }
    }
}

/// How much of a rate is left to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Which of the limit's policies.
    pub(super) policy: u16,
    /// Requests that may come at once now.
    pub left: u32,
    /// Whole seconds, rounded up, until that is one more.
    pub seconds: u32,
}

/// A field value under construction: a list of items. One or two fit without an allocation.
#[derive(Default)]
pub(super) struct List(SmallVec<[u8; 128]>);

impl List {
    /// Adds `"name";q=BURST;w=SECONDS`.
    pub(super) fn push_policy(&mut self, policy: &Policy) {
        self.separate();
        self.0.extend_from_slice(policy.item.as_bytes());
    }

    /// Adds `"name";r=LEFT;t=SECONDS`.
    pub(super) fn push_room(&mut self, policy: &Policy, room: Room) {
        self.separate();
        self.0.extend_from_slice(policy.standing.as_bytes());
        self.push_number(room.left);
        self.0.extend_from_slice(b";t=");
        self.push_number(room.seconds);
    }

    /// The field's value; `None`: the list is empty. It is copied, not shared: a reference count that all workers write would
    /// cost more than the copy.
    pub(super) fn value(&self) -> Option<HeaderValue> {
        if self.0.is_empty() {
            return None;
        }
        Some(HeaderValue::from_bytes(&self.0).expect("names are printable ASCII, and all else is ours"))
    }

    fn separate(&mut self) {
        if !self.0.is_empty() {
            self.0.extend_from_slice(b", ");
        }
    }

    fn push_number(&mut self, number: u32) {
        self.0.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
}

/// A structured-field string (RFC 9651, section 3.3.3). What cannot stand in one, which no checked name has, becomes `?`.
fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    text.push('"');
    for character in name.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            ' '..='~' => text.push(character),
            _ => text.push('?'),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says so by failing")]
mod tests {
    use super::*;
    use std::time::Duration;

    fn policy(name: &str) -> Policy {
        Policy::new(name, Rate { burst: 10, interval: Duration::from_millis(150) })
    }

    #[test]
    fn a_policy_says_its_burst_and_the_time_that_earns_it() {
        let mut list = List::default();
        list.push_policy(&policy("a \"b\" \\"));
        list.push_policy(&policy("é"));
        assert_eq!(list.value().unwrap(), r#""a \"b\" \\";q=10;w=2, "?";q=10;w=2"#);
    }

    #[test]
    fn numbers_are_decimal() {
        for (left, seconds) in [(0, 1), (9, 10), (100, 4_294_967_295), (4_294_967_295, 60)] {
            let mut list = List::default();
            list.push_room(&policy("n"), Room { policy: 0, left, seconds });
            assert_eq!(list.value().unwrap(), format!("\"n\";r={left};t={seconds}"));
        }
    }

    #[test]
    fn an_empty_list_is_no_field() {
        assert_eq!(List::default().value(), None);
    }
}
