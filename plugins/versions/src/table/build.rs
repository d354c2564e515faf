//! Settings to a table, or what is wrong with them.

use super::{Forward, Route, Table, Version};
use crate::lifecycle::Lifecycle;
use crate::settings::{From, RouteSettings, Settings, Strip, VersionSettings};
use crate::shares::shares;
use crate::template::Template;

impl Table {
    /// Prepares everything that does not depend on a request.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let base = base(&settings.base)?;
        let names: Vec<String> = settings.versions.keys().cloned().collect();
        if let Some(name) = names.iter().find(|name| !is_name(name)) {
            return Err(format!("`versions`: `{name}` is not letters, digits, `.`, `_` and `-`"));
        }
        let from = from(settings.from, !names.is_empty())?;
        let default = default(settings.default.as_deref(), &names)?;
        let mut routes = Vec::new();
        for (index, route) in settings.routes.into_iter().enumerate() {
            let of = route.versions.clone();
            if let Some(unknown) = of.iter().find(|name| !names.contains(name)) {
                return Err(format!("`routes[{index}].versions`: there is no version `{unknown}`"));
            }
            let route = Route::new(route, settings.strip).map_err(|fault| format!("`routes[{index}]`: {fault}"))?;
            routes.push((of, route));
        }
        routes.sort_by(|(_, one), (_, other)| one.path.cmp(&other.path));
        let vary = vary(&from);
        let versions = if names.is_empty() {
            vec![Version::new("", &VersionSettings::default(), &routes, vary.as_deref())?]
        } else {
            let version = |(name, version): (&String, &VersionSettings)| {
                Version::new(name, version, &routes, vary.as_deref())
                    .map_err(|fault| format!("`versions.{name}`: {fault}"))
            };
            settings.versions.iter().map(version).collect::<Result<_, _>>()?
        };
        Ok(Self { base, from, names, versions, default })
    }
}

impl Version {
    fn new(
        name: &str,
        settings: &VersionSettings,
        routes: &[(Vec<String>, Route)],
        vary: Option<&str>,
    ) -> Result<Self, String> {
        let lifecycle = Lifecycle::new(name, settings)?;
        let ours = routes.iter().filter(|(of, _)| of.is_empty() || of.iter().any(|of| of == name));
        let routes: Vec<Route> = ours.map(|(_, route)| route.clone()).collect();
        if routes.is_empty() {
            return Err("no route is for it".into());
        }
        for (index, route) in routes.iter().enumerate() {
            let same = |other: &&Route| route.path.same_paths(&other.path) && route.methods.overlap(&other.methods);
            if let Some(other) = routes.iter().skip(index + 1).find(same) {
                return Err(format!("the routes `{}` and `{}` are for the same requests", route.path, other.path));
            }
        }
        Ok(Self { routes, edits: lifecycle.edits(None), edits_with_vary: lifecycle.edits(vary), lifecycle })
    }
}

impl Route {
    fn new(route: RouteSettings, strip: Strip) -> Result<Self, String> {
        let forward = match (&route.rewrite, route.strip) {
            (Some(_), Some(_)) => return Err("`strip` and `rewrite`: only one of them".into()),
            (Some(template), None) => Forward::Rewrite(Template::new(template, &route.path)?),
            (None, strip_here) => Forward::Strip(strip_here.unwrap_or(strip)),
        };
        Ok(Self {
            shares: shares(route.shares).map_err(|fault| format!("`shares`: {fault}"))?,
            path: route.path,
            methods: route.methods,
            service: route.service,
            forward,
            affinity: route.affinity,
            timeout_ms: route.timeout_ms,
        })
    }
}

fn base(text: &str) -> Result<String, String> {
    let base = text.strip_suffix('/').unwrap_or(text);
    let wrong =
        !base.is_empty() && !base.starts_with('/') || base.contains(['{', '}', '?', '#']) || base.contains("//");
    if wrong { Err("`base`: must be a path, for example `/shop`".into()) } else { Ok(base.to_string()) }
}

fn from(from: Option<From>, versioned: bool) -> Result<From, String> {
    match from {
        None => Ok(From { path: versioned, ..From::default() }),
        Some(_) if !versioned => Err("`from` without `versions`: there is nothing to choose from".into()),
        Some(from) => {
            let parts = [&from.header, &from.parameter, &from.vendor];
            if parts.iter().any(|part| part.as_deref() == Some("")) {
                return Err("`from`: has an empty name".into());
            }
            let nothing = !from.path && parts.iter().all(|part| part.is_none());
            if nothing { Err("`from`: says nothing; leave it out for the path".into()) } else { Ok(from) }
        }
    }
}

fn default(default: Option<&str>, names: &[String]) -> Result<Option<usize>, String> {
    match default {
        None if names.is_empty() => Ok(Some(0)),
        None => Ok(None),
        Some(name) => match names.iter().position(|had| had == name) {
            Some(version) => Ok(Some(version)),
            None => Err(format!("`default`: there is no version `{name}`")),
        },
    }
}

/// The fields that choose; `None`: only the path does.
fn vary(from: &From) -> Option<String> {
    let accept = (from.parameter.is_some() || from.vendor.is_some()).then_some("accept");
    let fields: Vec<&str> = from.header.as_deref().into_iter().chain(accept).collect();
    (!fields.is_empty()).then(|| fields.join(", "))
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name.bytes().all(fits)
}
