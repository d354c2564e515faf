//! One version's routes: which is for a request, and which path it asks the service for.

use super::{Forward, Route, Version};
use crate::settings::Strip;
use gatewright_plugin::{Refusal, refuse};

impl Version {
    /// The most exact route for a method and a path.
    pub(super) fn route(&self, method: &str, path: &str) -> Result<&Route, Refusal> {
        let mut of_path = self.routes.iter().filter(|route| route.path.matches(path));
        if let Some(route) = of_path.clone().find(|route| route.methods.contain(method)) {
            return Ok(route);
        }
        if of_path.next().is_none() {
            return Err(refuse(404, "No such path"));
        }
        let mut allowed: Vec<&str> = Vec::new();
        for name in self.routes.iter().filter(|route| route.path.matches(path)).flat_map(|route| route.methods.names())
        {
            if !allowed.contains(&name) {
                allowed.push(name);
            }
        }
        Err(refuse(405, "Method not allowed").with_header("allow", allowed.join(", ")))
    }
}

impl Route {
    /// The path for the service; `None`: as the client sent it.
    pub(super) fn path(&self, base: &str, by_path: bool, rest: &str) -> Option<String> {
        let path = match &self.forward {
            Forward::Rewrite(template) => return Some(template.fill(&self.path.captures(rest).unwrap_or_default())),
            Forward::Strip(Strip::Nothing) => return None,
            Forward::Strip(Strip::Version) if !by_path => return None,
            Forward::Strip(Strip::Version) => [base, rest].concat(),
            Forward::Strip(Strip::Base) => rest.to_string(),
        };
        Some(if path.is_empty() { "/".to_string() } else { path })
    }
}
