//! The file while it is read: what is wrong with it and where, and the names that its parts give and use.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong with a configuration file.
///
/// It shows as ``gateway.toml:12: `service.users.endpoints[2]`: not host:port``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file as it was named.
    pub file: String,
    /// The line, from 1; `None` where the whole file is at fault.
    pub line: Option<usize>,
    /// The key with all that it is in; empty where there is none.
    pub key: String,
    /// What is wrong, without the value: it may be a secret.
    pub what: String,
}

impl Fault {
    /// A fault of the whole file.
    pub(super) fn of_file(file: &str, what: String) -> Self {
        Self { file: file.to_owned(), line: None, key: String::new(), what }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": `{}`", self.key)?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for Fault {}

/// What a name is a name of: two things of one space cannot share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Space {
    Service,
    Keys,
    Plan,
    Plugin,
    Api,
    Limit,
    /// An address that the gateway listens on.
    Listener,
    /// An address of one service.
    Endpoint,
    /// A host with a path prefix.
    Prefix,
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service => "service",
            Self::Keys => "key set",
            Self::Plan => "plan",
            Self::Plugin => "plugin",
            Self::Api => "api",
            Self::Limit => "limit",
            Self::Listener => "listener",
            Self::Endpoint => "endpoint",
            Self::Prefix => "prefix",
        })
    }
}

/// Where something is: the byte in the text, and the key.
#[derive(Clone, Debug)]
struct Place {
    at: usize,
    key: String,
}

/// A name as it is known: its space, what it is unique within, and itself.
type Known = (Space, String, String);

/// The file while it is read.
pub(super) struct Source<'t> {
    text: &'t str,
    file: &'t str,
    base: &'t Path,
    faults: RefCell<Vec<(Place, String)>>,
    declared: RefCell<BTreeMap<Known, Place>>,
    referred: RefCell<Vec<(Space, String, Place)>>,
}

impl<'t> Source<'t> {
    pub(super) fn new(text: &'t str, file: &'t str, base: &'t Path) -> Self {
        let (faults, declared, referred) = Default::default();
        Self { text, file, base, faults, declared, referred }
    }

    /// No file: for defaults, and for the schema.
    pub(super) fn nowhere() -> Self {
        Self::new("", "", Path::new(""))
    }

    /// Reports that the value of `key`, at byte `at`, is wrong.
    pub(super) fn fault(&self, at: usize, key: &str, what: impl Into<String>) {
        self.faults.borrow_mut().push((Place { at, key: key.to_owned() }, what.into()));
    }

    /// A path of the file as seen from the gateway.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// Notes that a name is given here. A second one within `scope` is a fault.
    pub(super) fn declare(&self, space: Space, scope: &str, name: &str, at: usize, key: &str) {
        let known = (space, scope.to_owned(), name.to_owned());
        let mut declared = self.declared.borrow_mut();
        match declared.get(&known) {
            Some(first) => {
                let what = format!("`{name}` is already taken by `{}` in line {}", first.key, self.line(first.at));
                self.fault(at, key, what);
            }
            None => {
                declared.insert(known, Place { at, key: key.to_owned() });
            }
        }
    }

    /// Notes that a name is used here: [`Source::settle`] checks that there is such a thing.
    pub(super) fn refer(&self, space: Space, name: &str, at: usize, key: &str) {
        self.referred.borrow_mut().push((space, name.to_owned(), Place { at, key: key.to_owned() }));
    }

    /// Checks all names that were used against all that were given, at the end of the file.
    pub(super) fn settle(&self) {
        let declared = self.declared.borrow();
        for (space, name, place) in self.referred.borrow().iter() {
            if declared.contains_key(&(*space, String::new(), name.clone())) {
                continue;
            }
            let names = declared.keys().filter(|known| known.0 == *space).map(|known| known.2.as_str());
            let mut what = format!("there is no {space} `{name}`");
            if let Some(near) = nearest(name, names) {
                what.push_str(&format!("; did you mean `{near}`?"));
            }
            self.fault(place.at, &place.key, what);
        }
    }

    /// All faults so far in the order of their lines.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut found = self.faults.borrow().clone();
        found.sort_by_key(|(place, _)| place.at);
        let fault = |(place, what): (Place, String)| Fault {
            file: self.file.to_owned(),
            line: Some(self.line(place.at)),
            key: place.key,
            what,
        };
        found.into_iter().map(fault).collect()
    }

    fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }
}

/// The candidate that `word` may have been meant to be.
pub(super) fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let most = (word.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, candidate)| candidate)
}
