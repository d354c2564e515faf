//! The kinds of single values that a configuration is made of.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::source::Space;
use super::table::{Kind, Node, Shown};
use super::texts;

/// The longest duration that anything takes.
const DAY: Duration = Duration::from_hours(24);
/// A timeout: never zero.
pub(super) const TIMEOUT: Time = Time(Duration::from_millis(1), DAY);
/// A time that may be none.
pub(super) const SPAN: Time = Time(Duration::ZERO, DAY);
/// A file or folder.
pub(super) const FILE: Parsed<PathBuf> = Parsed { what: "a path", parse: file, show: |path| json!(path) };

fn file(text: &str) -> Result<PathBuf, String> {
    match text.is_empty() || text.contains('\0') {
        true => Err("not a path".into()),
        false => Ok(text.into()),
    }
}

/// `true` or `false`.
pub(super) struct Flag;

impl Kind for Flag {
    type Value = bool;

    fn schema(&self) -> Json {
        json!({ "type": "boolean" })
    }

    fn read(&self, node: &Node<'_>) -> Option<bool> {
        node.value.as_bool().or_else(|| node.mismatch("`true` or `false`"))
    }
}

impl Shown for Flag {
    fn show(&self, value: &bool) -> Json {
        json!(value)
    }
}

/// A whole number with its bounds.
pub(super) struct Count<N>(pub(super) RangeInclusive<N>);

impl<N: Copy + PartialOrd + TryFrom<u64> + Into<Json>> Kind for Count<N> {
    type Value = N;

    fn schema(&self) -> Json {
        let (least, most): (Json, Json) = ((*self.0.start()).into(), (*self.0.end()).into());
        json!({ "type": "integer", "minimum": least, "maximum": most })
    }

    fn read(&self, node: &Node<'_>) -> Option<N> {
        let DeValue::Integer(integer) = node.value else { return node.mismatch("a whole number") };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.and_then(|number| N::try_from(number).ok()).filter(|number| self.0.contains(number));
        let (least, most): (Json, Json) = ((*self.0.start()).into(), (*self.0.end()).into());
        number.or_else(|| node.fault(format!("not from {least} to {most}")))
    }
}

impl<N: Copy + PartialOrd + TryFrom<u64> + Into<Json>> Shown for Count<N> {
    fn show(&self, value: &N) -> Json {
        (*value).into()
    }
}

/// A size in bytes with its bounds.
pub(super) struct Size<N>(pub(super) RangeInclusive<N>);

impl<N: Copy + PartialOrd + TryFrom<u64> + TryInto<u64>> Size<N> {
    fn text(size: N) -> String {
        texts::show_size(size.try_into().unwrap_or(u64::MAX))
    }

    fn bounds(&self) -> String {
        format!("from {} to {}", Self::text(*self.0.start()), Self::text(*self.0.end()))
    }
}

impl<N: Copy + PartialOrd + TryFrom<u64> + TryInto<u64>> Kind for Size<N> {
    type Value = N;

    fn schema(&self) -> Json {
        let description = format!("A size like `64KiB`, or a number of bytes, {}.", self.bounds());
        let pattern = "^[0-9]+(B|KiB|MiB|GiB)$";
        json!({ "type": ["integer", "string"], "minimum": 0, "pattern": pattern, "description": description })
    }

    fn read(&self, node: &Node<'_>) -> Option<N> {
        let size = match node.value {
            DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            DeValue::String(text) => match texts::size(text) {
                Some(size) => Some(size),
                None => return node.fault("not a size like `64KiB`, `10MiB` or `1GiB`"),
            },
            _ => return node.mismatch("a size like `64KiB`"),
        };
        let size = size.and_then(|size| N::try_from(size).ok()).filter(|size| self.0.contains(size));
        size.or_else(|| node.fault(format!("not {}", self.bounds())))
    }
}

impl<N: Copy + PartialOrd + TryFrom<u64> + TryInto<u64>> Shown for Size<N> {
    fn show(&self, value: &N) -> Json {
        json!(Self::text(*value))
    }
}

/// A duration with its bounds.
pub(super) struct Time(pub(super) Duration, pub(super) Duration);

impl Time {
    fn bounds(&self) -> String {
        format!("from {} to {}", texts::show_duration(self.0), texts::show_duration(self.1))
    }
}

impl Kind for Time {
    type Value = Duration;

    fn schema(&self) -> Json {
        let description = format!("A duration like `10s`, {}.", self.bounds());
        json!({ "type": "string", "pattern": "^[0-9]+(us|ms|s|m|h|d)$", "description": description })
    }

    fn read(&self, node: &Node<'_>) -> Option<Duration> {
        let Some(text) = node.value.as_str() else { return node.mismatch("a duration like `10s`") };
        let Some(time) = texts::duration(text) else { return node.fault("not a duration like `10s`, `5ms` or `1h`") };
        match (self.0..=self.1).contains(&time) {
            true => Some(time),
            false => node.fault(format!("not {}", self.bounds())),
        }
    }
}

impl Shown for Time {
    fn show(&self, value: &Duration) -> Json {
        json!(texts::show_duration(*value))
    }
}

/// One of a few words.
pub(super) struct Words<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy> Kind for Words<T> {
    type Value = T;

    fn schema(&self) -> Json {
        json!({ "enum": self.0.iter().map(|(word, _)| word).collect::<Vec<_>>() })
    }

    fn read(&self, node: &Node<'_>) -> Option<T> {
        let words = || self.0.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let Some(text) = node.value.as_str() else { return node.mismatch(&format!("one of {}", words())) };
        let found = self.0.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.or_else(|| node.fault(format!("not one of {}", words())))
    }
}

impl<T: Copy + PartialEq> Shown for Words<T> {
    fn show(&self, value: &T) -> Json {
        json!(self.0.iter().find(|(_, other)| other == value).map(|(word, _)| word))
    }
}

/// A text with a grammar.
pub(super) struct Parsed<T> {
    /// What it is, with its article.
    pub(super) what: &'static str,
    /// What it becomes, or what is wrong.
    pub(super) parse: fn(&str) -> Result<T, String>,
    /// The text again.
    pub(super) show: fn(&T) -> Json,
}

impl<T> Kind for Parsed<T> {
    type Value = T;

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }

    fn read(&self, node: &Node<'_>) -> Option<T> {
        let Some(text) = node.value.as_str() else { return node.mismatch(self.what) };
        (self.parse)(text).map_or_else(|what| node.fault(what), Some)
    }
}

impl<T> Shown for Parsed<T> {
    fn show(&self, value: &T) -> Json {
        (self.show)(value)
    }
}

/// An address, taken by what listens on it or by an endpoint of the service that `scope` names.
pub(super) struct Address<'s> {
    /// Two equal addresses of one space and scope are a fault.
    pub(super) space: Space,
    /// See `space`.
    pub(super) scope: &'s str,
}

impl Kind for Address<'_> {
    type Value = SocketAddr;

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }

    fn read(&self, node: &Node<'_>) -> Option<SocketAddr> {
        let Some(text) = node.value.as_str() else { return node.mismatch("an address like `127.0.0.1:8080`") };
        let address = texts::socket(text).map_or_else(|what| node.fault(what), Some)?;
        match (address.port(), self.space) {
            (0, Space::Endpoint) => return node.fault("port 0 is no endpoint's"),
            (0, _) => {}
            _ => node.source.declare(self.space, self.scope, &address.to_string(), node.at, &node.path),
        }
        Some(address)
    }
}

impl Shown for Address<'_> {
    fn show(&self, value: &SocketAddr) -> Json {
        json!(value.to_string())
    }
}

/// What a name is for.
#[derive(Clone, Copy)]
pub(super) enum Role {
    /// It names what is here: unique in its space.
    Declares(Space),
    /// It names something that must be in the file.
    Refers(Space),
    /// It names something that is elsewhere.
    Outside,
}

impl Role {
    /// The name, noted for what it is for.
    pub(super) fn take(self, name: &str, node: &Node<'_>) -> Option<Arc<str>> {
        if !texts::is_name(name) {
            return node.fault("a name has 1 to 64 of A-Z a-z 0-9 . _ - and starts with a letter or digit");
        }
        match self {
            Self::Declares(space) => node.source.declare(space, "", name, node.at, &node.path),
            Self::Refers(space) => node.source.refer(space, name, node.at, &node.path),
            Self::Outside => {}
        }
        Some(name.into())
    }
}

/// A name.
pub(super) struct Name(pub(super) Role);

impl Kind for Name {
    type Value = Arc<str>;

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" })
    }

    fn read(&self, node: &Node<'_>) -> Option<Arc<str>> {
        let Some(name) = node.value.as_str() else { return node.mismatch("a name") };
        self.0.take(name, node)
    }
}

impl Shown for Name {
    fn show(&self, value: &Arc<str>) -> Json {
        json!(value.as_ref())
    }
}
