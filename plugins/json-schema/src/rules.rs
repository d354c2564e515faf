//! Which rule is for a request, and what it says of it.

use crate::json;
use crate::query;
use crate::schema::Schema;
use crate::settings::{ExtraQuery, Other, OtherBodies, RuleSettings, Settings};
use crate::violations::Violations;
use gatewright_plugin::methods::Methods;
use gatewright_plugin::path::Pattern;
use gatewright_plugin::{Refusal, refuse};

/// A request's body, as far as the plugin sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'r> {
    /// There is none, or it is empty.
    Absent,
    /// One of a JSON media type.
    Json(&'r [u8]),
    /// One of another media type, or encoded, that the host lets pass.
    Unseen,
}

/// All rules, the more exact paths first.
pub struct Rules {
    rules: Vec<Rule>,
    other: Other,
}

struct Rule {
    methods: Methods,
    path: Pattern,
    body: Option<BodyRule>,
    query: QueryRule,
}

struct BodyRule {
    schema: Schema,
    required: bool,
}

struct QueryRule {
    /// By name, sorted by it.
    parameters: Vec<(String, Schema)>,
    required: Vec<String>,
    extra: ExtraQuery,
}

impl Rules {
    /// Compiles all schemas.
    ///
    /// # Errors
    /// What is wrong in which rule, for the operator.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let (formats, other_bodies) = (settings.formats, settings.other_bodies);
        let compile = |(index, rule): (usize, RuleSettings)| {
            Rule::new(rule, formats, other_bodies).map_err(|(key, fault)| format!("`rules[{index}].{key}`: {fault}"))
        };
        let mut rules = settings.rules.into_iter().enumerate().map(compile).collect::<Result<Vec<_>, _>>()?;
        rules.sort_by(|one, other| one.path.cmp(&other.path));
        for (index, rule) in rules.iter().enumerate() {
            let rest = rules.iter().skip(index + 1);
            let same = |other: &&Rule| rule.path.same_paths(&other.path) && rule.methods.overlap(&other.methods);
            if let Some(other) = rest.clone().find(same) {
                return Err(format!("`rules`: `{}` and `{}` are for the same requests", rule.path, other.path));
            }
        }
        Ok(Self { rules, other: settings.other })
    }

    /// Whether some rule looks at bodies.
    pub fn need_body(&self) -> bool {
        self.rules.iter().any(|rule| rule.body.is_some())
    }

    /// Whether the answer depends on the method.
    pub fn need_method(&self) -> bool {
        self.rules.iter().any(|rule| !rule.methods.are_all())
    }

    /// Whether some rule looks at the query.
    pub fn need_query(&self) -> bool {
        self.rules.iter().any(|rule| rule.query.says_something())
    }

    /// Is this request valid?
    ///
    /// # Errors
    /// 400 with every fault; 404 or 405 for a request that no rule is for, where those are refused; 415 for a body that
    /// cannot be seen and must be.
    pub fn check(&self, method: &str, path: &str, query: &str, body: Body<'_>) -> Result<(), Refusal> {
        let mut of_path = self.rules.iter().filter(|rule| rule.path.matches(path));
        let Some(rule) = of_path.clone().find(|rule| rule.methods.contain(method)) else {
            return match (self.other, of_path.next()) {
                (Other::Pass, _) => Ok(()),
                (Other::Refuse, None) => Err(refuse(404, "No such path")),
                (Other::Refuse, Some(_)) => Err(self.not_allowed(path)),
            };
        };
        let mut violations = Violations::default();
        rule.query.check(query, &mut violations);
        if let Some(rule) = &rule.body {
            rule.check(body, &mut violations)?;
        }
        violations.verdict()
    }

    fn not_allowed(&self, path: &str) -> Refusal {
        let mut names: Vec<&str> = Vec::new();
        for name in self.rules.iter().filter(|rule| rule.path.matches(path)).flat_map(|rule| rule.methods.names()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        refuse(405, "Method not allowed").with_header("allow", names.join(", "))
    }
}

impl Rule {
    /// Errors are the key within the rule, and what is wrong.
    fn new(rule: RuleSettings, formats: bool, other_bodies: OtherBodies) -> Result<Self, (String, String)> {
        let body = match &rule.body {
            None => None,
            Some(_) if !rule.body_required && other_bodies == OtherBodies::Pass => {
                let fault =
                    "cannot be false with `other_bodies = \"pass\"`: a body without a media type would pass unseen";
                return Err(("body_required".into(), fault.into()));
            }
            Some(schema) => {
                let schema = Schema::new(schema, formats).map_err(|fault| ("body".to_string(), fault))?;
                Some(BodyRule { schema, required: rule.body_required })
            }
        };
        let compile = |(name, schema): (String, serde_json::Value)| match Schema::new(&schema, formats) {
            Ok(schema) => Ok((name, schema)),
            Err(fault) => Err((format!("query.{name}"), fault)),
        };
        let parameters = rule.query.into_iter().map(compile).collect::<Result<Vec<_>, _>>()?;
        let query = QueryRule { parameters, required: rule.query_required, extra: rule.extra_query };
        Ok(Self { methods: rule.methods, path: rule.path, body, query })
    }
}

impl BodyRule {
    fn check(&self, body: Body<'_>, violations: &mut Violations) -> Result<(), Refusal> {
        match body {
            Body::Json(bytes) => match json::read(bytes) {
                Ok(value) => self.schema.check(&value, bytes.len(), |at, message| violations.add("body", at, message)),
                Err(fault) => violations.add("body", "", &format!("is not JSON: {fault}")),
            },
            Body::Unseen => return Err(refuse(415, "The body must be plain JSON")),
            Body::Absent if self.required => violations.add("body", "", "is missing"),
            Body::Absent => {}
        }
        Ok(())
    }
}

impl QueryRule {
    fn says_something(&self) -> bool {
        !self.parameters.is_empty() || !self.required.is_empty() || self.extra == ExtraQuery::Refuse
    }

    fn check(&self, query: &str, violations: &mut Violations) {
        if !self.says_something() {
            return;
        }
        let mut seen: Vec<String> = Vec::new();
        for parameter in query::read(query) {
            if violations.are_enough() {
                return;
            }
            let Some(name) = parameter.name else {
                violations.add("query", "", "a name has a broken percent-escape");
                continue;
            };
            let schema = self.schema(&name);
            if schema.is_none() && !self.required.contains(&name) {
                if self.extra == ExtraQuery::Refuse {
                    violations.add("query", &name, "is not a parameter here");
                }
                continue;
            }
            match (seen.contains(&name), parameter.value, schema) {
                (true, ..) => violations.add("query", &name, "occurs more than once"),
                (false, None, _) => violations.add("query", &name, "has a broken percent-escape"),
                (false, Some(value), Some(schema)) => {
                    let fault = |_: &str, message: &str| violations.add("query", &name, message);
                    schema.check(&schema.coerce(&value), value.len(), fault);
                }
                (false, Some(_), None) => {}
            }
            seen.push(name);
        }
        let missing = self.required.iter().filter(|name| !seen.contains(name));
        missing.for_each(|name| violations.add("query", name, "is missing"));
    }

    fn schema(&self, name: &str) -> Option<&Schema> {
        let at = self.parameters.binary_search_by(|(had, _)| had.as_str().cmp(name)).ok()?;
        self.parameters.get(at).map(|(_, schema)| schema)
    }
}

#[cfg(test)]
mod tests;
