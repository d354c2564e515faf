//! Which API a request is for: authority and path prefix pick one.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::Auth;
use crate::config;
use crate::cors::Cors;
use crate::forward::headers::Stripped;
use crate::limit::Limits;
use crate::log::Tally;
use crate::metrics::Span;
use crate::route::Routing;
use crate::validate::Validation;

/// One API on one worker: what stands in a request's way.
pub struct Api {
    /// What this worker counts for it, under its name in the configuration.
    pub tally: Rc<Tally>,
    /// Who is calling?
    pub auth: Auth,
    /// How often?
    pub limits: Arc<Limits>,
    /// Is it valid?
    pub validation: Validation,
    /// Where does it go?
    pub routing: Routing,
    /// The longest body.
    pub body_bytes: u64,
    /// Whether its requests may be sent twice, whatever their method.
    pub repeatable: bool,
    /// The longest from a request's head to the last byte of its answer; none: any.
    pub request_timeout: Option<Duration>,
    /// Fields that no client may send: identity fields and the gateway's own.
    pub stripped: Rc<Stripped>,
    /// What scripts of other origins may do; none: the service says.
    pub cors: Option<Rc<Cors>>,
}

impl Api {
    /// Whether a stage has anything to do here: what has not is not measured.
    #[must_use]
    pub fn does(&self, span: Span) -> bool {
        match span {
            Span::Auth => !self.auth.is_empty(),
            Span::Limit => !self.limits.is_empty(),
            Span::Validation => !self.validation.is_empty(),
            Span::Routing => matches!(self.routing, Routing::Plugin(..)),
            Span::Service | Span::Total => true,
        }
    }
}

/// All APIs, found by authority and path.
pub struct Apis {
    exact: HashMap<Box<str>, Prefixes>,
    /// `.example.org` for `*.example.org`, longest first.
    below: Vec<(Box<str>, Prefixes)>,
    any: Prefixes,
}

/// An API, and what of it fits a request.
pub struct Found<'a> {
    /// The API.
    pub api: &'a Rc<Api>,
    /// Its hosts.
    pub hosts: Hosts<'a>,
    /// Its path prefix without a slash behind it; empty: all paths.
    pub prefix: &'a str,
}

/// The hosts of an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts<'a> {
    /// This one.
    One(&'a str),
    /// All below this one, which begins with a dot.
    Below(&'a str),
    /// All.
    Any,
}

impl std::fmt::Display for Hosts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(host) => write!(f, "host {host}"),
            Self::Below(suffix) => write!(f, "host *{suffix}"),
            Self::Any => f.write_str("any host"),
        }
    }
}

/// Path prefixes, longest first.
type Prefixes = Vec<(Box<str>, Rc<Api>)>;

impl Apis {
    /// Prepares the look-up. The most specific host wins, then the longest prefix; where an API of a specific host has no
    /// prefix that fits, less specific hosts are asked.
    #[must_use]
    pub fn new(apis: impl IntoIterator<Item = (Rc<Api>, config::Api)>) -> Self {
        let mut found = Self { exact: HashMap::new(), below: Vec::new(), any: Vec::new() };
        for (api, settings) in apis {
            let prefixes = || settings.paths.iter().map(|path| (path.trim_end_matches('/').into(), Rc::clone(&api)));
            if settings.hosts.is_empty() {
                found.any.extend(prefixes());
            }
            for host in &settings.hosts {
                match host.strip_prefix('*') {
                    None => found.exact.entry(host.as_str().into()).or_default().extend(prefixes()),
                    Some(suffix) => match found.below.iter_mut().find(|(known, _)| **known == *suffix) {
                        Some((_, known)) => known.extend(prefixes()),
                        None => found.below.push((suffix.into(), prefixes().collect())),
                    },
                }
            }
        }
        found.below.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        let lists = found.exact.values_mut().chain(found.below.iter_mut().map(|(_, list)| list));
        for prefixes in lists.chain([&mut found.any]) {
            prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        }
        found
    }

    /// The API of a cleaned authority and path.
    #[must_use]
    pub fn find(&self, authority: &str, path: &str) -> Option<&Rc<Api>> {
        self.search(authority, path).map(|found| found.api)
    }

    /// The same, and what of it fits.
    #[must_use]
    pub fn search(&self, authority: &str, path: &str) -> Option<Found<'_>> {
        let host = without_port(authority);
        let exact = (!self.exact.is_empty()).then(|| self.exact.get_key_value(host)).flatten();
        let below = self.below.iter().filter(|(suffix, _)| host.len() > suffix.len() && host.ends_with(&**suffix));
        let exact = exact.into_iter().map(|(host, prefixes)| (Hosts::One(host), prefixes));
        exact
            .chain(below.map(|(suffix, prefixes)| (Hosts::Below(suffix), prefixes)))
            .chain([(Hosts::Any, &self.any)])
            .find_map(|(hosts, prefixes)| {
                let (prefix, api) = prefixes.iter().find(|(prefix, _)| is_below(path, prefix))?;
                Some(Found { api, hosts, prefix })
            })
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Whether a path is a prefix or below it, whole segments only. The prefix of all paths is empty.
fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_whole_segments() {
        assert!(is_below("/a/b", "/a"));
        assert!(is_below("/a", "/a"));
        assert!(is_below("/a", ""));
        assert!(!is_below("/ab", "/a"));
        assert!(!is_below("/", "/a"));
    }

    #[test]
    fn a_port_is_no_part_of_the_name() {
        assert_eq!(without_port("a.example:8080"), "a.example");
        assert_eq!(without_port("[2001:db8::1]:80"), "[2001:db8::1]");
        assert_eq!(without_port("[2001:db8::1]"), "[2001:db8::1]");
        assert_eq!(without_port("a.example"), "a.example");
    }
}
