//! Which version a request names, and where.

use crate::accept;
use crate::settings::From;

/// What a request says.
#[derive(Debug, PartialEq, Eq)]
pub enum Named<'r> {
    /// Nothing.
    Nothing,
    /// In the path, whose rest begins with a slash or is empty.
    ByPath { version: usize, rest: &'r str },
    /// In a field, so that caches must know of it.
    ByField { version: usize },
    /// In the path, and there is no such version.
    UnknownPath,
    /// In a field, and there is no such version.
    UnknownField,
}

/// What of a request can name a version.
#[derive(Clone, Copy, Default)]
pub struct Parts<'r> {
    /// The path below the base: empty, or beginning with a slash.
    pub below: &'r str,
    pub field: Option<&'r str>,
    pub accept: Option<&'r str>,
}

/// Reads a request. `names` are the versions; the first source that says something counts.
pub fn read<'r>(from: &From, names: &[String], parts: Parts<'r>) -> Named<'r> {
    let named = if from.path { by_path(names, parts.below) } else { Named::Nothing };
    if named != Named::Nothing {
        return named;
    }
    if let Some(field) = parts.field.map(str::trim).filter(|field| !field.is_empty()) {
        return index(names, field).map_or(Named::UnknownField, |version| Named::ByField { version });
    }
    let mut best: Option<(u16, usize)> = None;
    let mut named = Named::Nothing;
    let ranges = accept::versions(parts.accept.unwrap_or_default(), from.parameter.as_deref(), from.vendor.as_deref());
    for range in ranges {
        match index(names, range.version) {
            Some(version) if best.is_none_or(|(weight, _)| weight < range.weight) => {
                best = Some((range.weight, version))
            }
            Some(_) => {}
            None => named = Named::UnknownField,
        }
    }
    best.map_or(named, |(_, version)| Named::ByField { version })
}

/// `/v2/orders`: the first segment is `v` and a version, or it is none: `/vendors` names nothing.
fn by_path<'r>(names: &[String], below: &'r str) -> Named<'r> {
    let inner = below.strip_prefix('/').unwrap_or(below);
    let segment = inner.split('/').next().unwrap_or_default();
    let Some(name) = segment.strip_prefix('v') else { return Named::Nothing };
    match names.iter().position(|had| had == name) {
        Some(version) => Named::ByPath { version, rest: inner.get(segment.len()..).unwrap_or_default() },
        None if name.starts_with(|character: char| character.is_ascii_digit()) => Named::UnknownPath,
        None => Named::Nothing,
    }
}

/// By its name, or `v` and its name.
fn index(names: &[String], named: &str) -> Option<usize> {
    let find = |named: &str| names.iter().position(|name| name == named);
    find(named).or_else(|| find(named.strip_prefix('v')?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all() -> From {
        From {
            path: true,
            header: Some("api-version".into()),
            parameter: Some("version".into()),
            vendor: Some("shop".into()),
        }
    }

    fn named<'r>(below: &'r str, field: Option<&'r str>, accept: Option<&'r str>) -> Named<'r> {
        read(&all(), &["1".to_string(), "2".to_string()], Parts { below, field, accept })
    }

    #[test]
    fn a_path_names_a_version_by_its_first_segment() {
        assert_eq!(named("/v2/orders/7", None, None), Named::ByPath { version: 1, rest: "/orders/7" });
        assert_eq!(named("/v2", None, None), Named::ByPath { version: 1, rest: "" });
        assert_eq!(named("/v2/", None, None), Named::ByPath { version: 1, rest: "/" });
        assert_eq!(named("/v9/orders", None, None), Named::UnknownPath);
        for path in ["/vendors", "/orders/v2", "/v", "/V2", "/", ""] {
            assert_eq!(named(path, None, None), Named::Nothing, "{path}");
        }
    }

    #[test]
    fn the_first_source_that_says_something_counts() {
        assert_eq!(named("/v1/a", Some("2"), None), Named::ByPath { version: 0, rest: "/a" });
        assert_eq!(named("/a", Some("v2"), Some("a/b;version=1")), Named::ByField { version: 1 });
        assert_eq!(named("/a", Some(" "), Some("a/b;version=1")), Named::ByField { version: 0 });
        assert_eq!(named("/a", Some("9"), Some("a/b;version=1")), Named::UnknownField);
    }

    #[test]
    fn of_what_a_client_accepts_the_best_known_version_counts() {
        let accept = |accept| named("/a", None, Some(accept));
        assert_eq!(accept("a/b;version=9, a/b;version=1;q=0.1, a/b;version=2;q=0.2"), Named::ByField { version: 1 });
        assert_eq!(accept("a/b;version=9"), Named::UnknownField);
        assert_eq!(accept("application/vnd.shop.v1+json"), Named::ByField { version: 0 });
        assert_eq!(accept("*/*"), Named::Nothing);
    }

    proptest! {
        #[test]
        fn any_request_is_read(below in "/?[v0-9/a]{0,20}", field in ".{0,10}", accept in ".{0,30}") {
            let _ = named(&below, Some(&field), Some(&accept));
        }
    }
}
