//! Fields that no client may send: only plugins and the gateway set them.

use http::header::{HeaderMap, HeaderName};

/// The fields that are removed from every request of an API, anonymous ones too, in every spelling that a service might
/// take for them. Prepared once per API.
///
/// Two names are spelled alike when they differ only in characters that are no letters or digits: CGI and what copied
/// it make `HTTP_X_USER` of `x-user`, `x_user` and, some, `x.user`.
#[derive(Clone, Debug)]
pub struct Stripped {
    /// Names in lower case that plugins declared, all removed.
    identity: Vec<Box<str>>,
    /// One bit per length of a name, 63 for that and more: most fields are told by it.
    lengths: u64,
}

impl Default for Stripped {
    /// Just the gateway's own fields.
    fn default() -> Self {
        Self::new::<&str>([])
    }
}

impl Stripped {
    /// Prepares the set of the gateway's own fields and those in `identity`, names in any case.
    pub fn new<N: AsRef<str>>(identity: impl IntoIterator<Item = N>) -> Self {
        let mut identity: Vec<Box<str>> =
            identity.into_iter().map(|name| name.as_ref().to_ascii_lowercase().into_boxed_str()).collect();
        identity.sort_unstable();
        identity.dedup();
        let lengths = identity.iter().fold(0, |lengths, name| lengths | length_bit(name.len()));
        Self { identity, lengths }
    }

    /// Whether a field, in lower case, may be set by plugins that declared it and the gateway alone.
    pub fn holds(&self, name: &str) -> bool {
        self.holds_identity(name) || gateways(name) != Own::Not
    }

    /// Removes all of them from a request that came in.
    ///
    /// From a trusted peer `forwarded`, `x-forwarded-*`, `x-real-ip` and `x-request-id` stay, in exactly these
    /// spellings. `x-original-url` and `x-rewrite-url` never stay: services read a path from them that no policy has
    /// seen.
    pub fn remove(&self, headers: &mut HeaderMap, trusted: bool) {
        let removed = |name: &HeaderName| {
            let name = name.as_str();
            match gateways(name) {
                Own::Not => self.holds_identity(name),
                Own::Forwarding => !trusted || self.holds_identity(name),
                Own::Misspelled | Own::Never => true,
            }
        };
        let removed: Vec<HeaderName> = headers.keys().filter(|name| removed(name)).cloned().collect();
        for name in removed {
            headers.remove(name);
        }
    }

    fn holds_identity(&self, name: &str) -> bool {
        self.lengths & length_bit(name.len()) != 0 && self.identity.iter().any(|held| alike(name, held))
    }
}

/// What the gateway has to do with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    /// Nothing.
    Not,
    /// Trusted peers may send it.
    Forwarding,
    /// A service might take it for one of those.
    Misspelled,
    /// Nobody may send it.
    Never,
}

fn gateways(name: &str) -> Own {
    let bytes = name.as_bytes();
    let forwarding = match bytes {
        [b'x', _, b'f', ..] => name.get(..X_FORWARDED.len()).is_some_and(|start| alike(start, X_FORWARDED)),
        [b'x', _, b'r', ..] if alike(name, "x-rewrite-url") => return Own::Never,
        [b'x', _, b'r', ..] => alike(name, "x-real-ip") || alike(name, "x-request-id"),
        [b'x', _, b'o', ..] if alike(name, "x-original-url") => return Own::Never,
        [b'f', ..] => name == "forwarded",
        _ => false,
    };
    match forwarding {
        false => Own::Not,
        true if bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') => Own::Forwarding,
        true => Own::Misspelled,
    }
}

const X_FORWARDED: &str = "x-forwarded-";

/// Whether two names in lower case are spelled alike.
fn alike(name: &str, held: &str) -> bool {
    let fold = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
    name.len() == held.len() && name.bytes().zip(held.bytes()).all(|(one, other)| fold(one) == fold(other))
}

fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}
