//! What a limit counts together, as a number that stands for it.

use super::Client;
use smallvec::SmallVec;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;

/// Stands for one [`Identity`]: 128 bits of SipHash-1-3 under a key that is random per process, in two halves.
///
/// The identity itself is not kept. Two that differ share a number with a chance of 2⁻¹²⁸ whatever a client sends, because it
/// knows neither the key nor any of the numbers; so a million keys at once collide with a chance below 2⁻⁸⁸, less than that of
/// a memory fault. In return a key costs 16 bytes, however long the subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Finds the shard.
    pub(super) shard: u64,
    /// Finds the place in the shard's map.
    pub(super) place: u64,
}

/// Who or what is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity<'a> {
    /// Everyone, or everyone with this plan's rate.
    Api(Option<&'a str>),
    /// One IPv4 address or one IPv6 /64.
    Address(IpAddr),
    /// One caller: the plugin that granted it, and its subject.
    Caller(&'a str, &'a str),
    /// Everyone of one plan.
    Plan(&'a str),
    /// Everyone to whom this plugin gave this value, or those of them with this plan's rate.
    Attribute(&'a str, &'a str, Option<&'a str>),
}

impl<'a> Identity<'a> {
    /// The caller, or the address of an anonymous one.
    pub(super) fn caller(client: &Client<'a>) -> Self {
        match client.caller {
            Some(caller) => Self::Caller(caller.plugin, caller.subject),
            None => Self::Address(client.address),
        }
    }

    /// The number that stands for it. The halves hash the same text behind different first bytes, which makes them
    /// independent of each other.
    pub(super) fn key(self, hashing: &RandomState) -> Key {
        let mut text = Text::new();
        text.push(0);
        self.write(&mut text);
        let shard = hash(hashing, &text);
        if let Some(first) = text.first_mut() {
            *first = 1;
        }
        Key { shard, place: hash(hashing, &text) }
    }

    /// Writes it without ambiguity: the kind, then every text behind its length.
    fn write(self, text: &mut Text) {
        match self {
            Self::Api(plan) => {
                text.push(0);
                write_optional(text, plan);
            }
            Self::Address(address) => write_network(text, address),
            Self::Caller(plugin, subject) => {
                text.push(3);
                write_one(text, plugin);
                write_one(text, subject);
            }
            Self::Plan(plan) => {
                text.push(4);
                write_one(text, plan);
            }
            Self::Attribute(plugin, value, plan) => {
                text.push(5);
                write_one(text, plugin);
                write_one(text, value);
                write_optional(text, plan);
            }
        }
    }
}

/// An identity as bytes: one piece is cheaper to hash than many. Most subjects fit without an allocation.
type Text = SmallVec<[u8; 128]>;

fn hash(hashing: &RandomState, text: &Text) -> u64 {
    let mut hasher = hashing.build_hasher();
    hasher.write(text);
    hasher.finish()
}

/// Makes keys and remembers the last one: limits beside each other often count the same.
pub(super) struct Memo<'h, 'a> {
    hashing: &'h RandomState,
    last: Option<(Identity<'a>, Key)>,
}

impl<'h, 'a> Memo<'h, 'a> {
    /// Nothing is remembered yet.
    pub(super) fn new(hashing: &'h RandomState) -> Self {
        Self { hashing, last: None }
    }

    /// The identity's key.
    pub(super) fn key(&mut self, identity: Identity<'a>) -> Key {
        match self.last {
            Some((last, key)) if last == identity => key,
            _ => {
                let key = identity.key(self.hashing);
                self.last = Some((identity, key));
                key
            }
        }
    }
}

/// An IPv4 address, also where it is written as an IPv6 one (`::ffff:192.0.2.1`), or the first 64 bits of an IPv6 address: a
/// client that has one of these has them all.
fn write_network(text: &mut Text, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            text.push(1);
            text.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            text.push(2);
            text.extend_from_slice(address.octets().first_chunk::<8>().expect("16 bytes begin with 8"));
        }
    }
}

fn write_one(text: &mut Text, one: &str) {
    text.extend_from_slice(&one.len().to_le_bytes());
    text.extend_from_slice(one.as_bytes());
}

fn write_optional(text: &mut Text, one: Option<&str>) {
    text.push(one.is_some().into());
    write_one(text, one.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identities() -> impl Strategy<Value = (u8, String, String, Option<String>)> {
        (0_u8..4, "[ab]{0,3}", "[ab]{0,3}", prop::option::of("[ab]{0,2}"))
    }

    fn identity<'a>(of: &'a (u8, String, String, Option<String>)) -> Identity<'a> {
        let (kind, first, second, plan) = of;
        match kind {
            0 => Identity::Api(plan.as_deref()),
            1 => Identity::Caller(first, second),
            2 => Identity::Plan(first),
            _ => Identity::Attribute(first, second, plan.as_deref()),
        }
    }

    proptest! {
        #[test]
        fn keys_are_equal_exactly_when_identities_are(one in identities(), two in identities()) {
            let hashing = RandomState::new();
            let (one, two) = (identity(&one), identity(&two));
            prop_assert_eq!(one.key(&hashing) == two.key(&hashing), one == two);
        }

        #[test]
        fn addresses_of_one_network_share_a_key(bits: u128, other: u64, v4: u32) {
            let hashing = RandomState::new();
            let key = |address: IpAddr| Identity::Address(address).key(&hashing);
            let v6 = |bits: u128| key(std::net::Ipv6Addr::from_bits(bits | 1 << 127).into());
            prop_assert_eq!(v6(bits), v6(bits >> 64 << 64 | u128::from(other)));
            prop_assert_ne!(v6(bits), v6(bits ^ 1 << 64));
            let v4 = std::net::Ipv4Addr::from_bits(v4);
            prop_assert_eq!(key(v4.into()), key(v4.to_ipv6_mapped().into()));
            prop_assert_ne!(key(v4.into()), key(std::net::Ipv4Addr::from_bits(v4.to_bits() ^ 1).into()));
        }
    }

    #[test]
    fn the_halves_of_a_key_differ() {
        let key = Identity::Plan("gold").key(&RandomState::new());
        assert_ne!(key.shard, key.place);
    }
}
