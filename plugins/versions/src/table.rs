//! Versions and routes, prepared; a request goes through [`Table::route`].

mod build;
mod route;

use crate::lifecycle::Lifecycle;
use crate::settings::{Affinity, From, Strip};
use crate::template::Template;
use crate::version::{self, Named, Parts};
use gatewright_plugin::methods::Methods;
use gatewright_plugin::path::Pattern;
use gatewright_plugin::{Edits, Refusal, Share, Target, refuse};

/// All that this use of the plugin knows.
pub struct Table {
    /// Empty, or a path without a slash at its end.
    base: String,
    from: From,
    /// In the order of `versions`.
    names: Vec<String>,
    /// At least one: an API without versions has one without a name.
    versions: Vec<Version>,
    default: Option<usize>,
}

struct Version {
    lifecycle: Lifecycle,
    /// The more exact paths first.
    routes: Vec<Route>,
    /// What answers get where the path named this version.
    edits: Option<Edits>,
    /// What they get where a field did, or could have.
    edits_with_vary: Option<Edits>,
}

/// Where some requests of one version go.
#[derive(Clone)]
struct Route {
    path: Pattern,
    methods: Methods,
    service: String,
    shares: Vec<Share>,
    forward: Forward,
    affinity: Option<Affinity>,
    timeout_ms: Option<u32>,
}

/// Which path the service is asked for.
#[derive(Clone)]
enum Forward {
    Strip(Strip),
    Rewrite(Template),
}

/// What of a request decides.
#[derive(Clone, Copy, Default)]
pub struct Asked<'r> {
    /// Empty where no route minds it.
    pub method: &'r str,
    pub path: &'r str,
    /// The field of `from.header`.
    pub version: Option<&'r str>,
    pub accept: Option<&'r str>,
}

/// A request's version, and the path behind it.
struct Chosen<'t, 'r> {
    version: &'t Version,
    by_path: bool,
    rest: &'r str,
}

impl Table {
    /// Where does this request go? `affinity` reads the request, `passed` the clock.
    ///
    /// # Errors
    /// 400 or 404 for a version that is unknown or not named, 410 for one that is over, 404 and 405 for a request that no
    /// route is for.
    pub fn route(
        &self,
        asked: Asked<'_>,
        affinity: impl Fn(&Affinity) -> Option<String>,
        passed: impl Fn(f64) -> bool,
    ) -> Result<Target, Refusal> {
        let below = self.below(asked.path).ok_or_else(|| refuse(404, "No such path"))?;
        let chosen = self.choose(below, asked)?;
        chosen.version.lifecycle.check(passed)?;
        let route = chosen.version.route(asked.method, chosen.rest)?;
        let edits = if chosen.by_path { &chosen.version.edits } else { &chosen.version.edits_with_vary };
        Ok(Target {
            service: route.service.clone(),
            shares: route.shares.clone(),
            path: route.path(&self.base, chosen.by_path, chosen.rest),
            request: None,
            response: edits.clone(),
            affinity: route.affinity.as_ref().and_then(affinity),
            timeout_ms: route.timeout_ms,
        })
    }

    /// The path behind the base, which is whole segments.
    fn below<'r>(&self, path: &'r str) -> Option<&'r str> {
        path.strip_prefix(self.base.as_str()).filter(|below| below.is_empty() || below.starts_with('/'))
    }

    fn choose<'r>(&self, below: &'r str, asked: Asked<'r>) -> Result<Chosen<'_, 'r>, Refusal> {
        let parts = Parts { below, field: asked.version, accept: asked.accept };
        let (version, by_path, rest) = match version::read(&self.from, &self.names, parts) {
            Named::ByPath { version, rest } => (Some(version), true, rest),
            Named::ByField { version } => (Some(version), false, below),
            Named::Nothing => (self.default, false, below),
            Named::UnknownPath => return Err(self.unknown(404)),
            Named::UnknownField => return Err(self.unknown(400)),
        };
        match version.and_then(|version| self.versions.get(version)) {
            Some(version) => Ok(Chosen { version, by_path, rest }),
            None => Err(refuse(400, "No version named").with_detail(self.list())),
        }
    }

    fn unknown(&self, status: u16) -> Refusal {
        refuse(status, "Unknown version").with_detail(self.list())
    }

    fn list(&self) -> String {
        format!("The versions are: {}", self.names.join(", "))
    }

    /// Whether the answer depends on the method.
    pub fn need_method(&self) -> bool {
        self.routes().any(|route| !route.methods.are_all())
    }

    /// Whether the answer depends on `Accept`.
    pub fn need_accept(&self) -> bool {
        self.from.parameter.is_some() || self.from.vendor.is_some()
    }

    /// The name of the field that names the version.
    pub fn version_field(&self) -> Option<&str> {
        self.from.header.as_deref()
    }

    /// All affinities of all routes, each once.
    pub fn affinities(&self) -> Vec<&Affinity> {
        let mut all: Vec<&Affinity> = Vec::new();
        for affinity in self.routes().filter_map(|route| route.affinity.as_ref()) {
            if !all.contains(&affinity) {
                all.push(affinity);
            }
        }
        all
    }

    fn routes(&self) -> impl Iterator<Item = &Route> {
        self.versions.iter().flat_map(|version| &version.routes)
    }
}

#[cfg(test)]
mod tests;
