//! Which scopes a request needs.

use crate::settings::Rule;

/// What requests need, prepared.
pub struct Scopes {
    /// Every request needs these.
    always: Vec<String>,
    rules: Vec<Rule>,
}

impl Scopes {
    pub fn new(always: Vec<String>, rules: Vec<Rule>) -> Self {
        Self { always, rules }
    }

    /// Whether the answer depends on the method.
    pub fn need_method(&self) -> bool {
        self.rules.iter().any(|rule| !rule.methods.are_all())
    }

    /// Whether the answer depends on the path.
    pub fn need_path(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Whether these scopes are enough. All rules that match must be met, so that none can hide another.
    ///
    /// # Errors
    /// All scopes that the request needs, with a space between.
    pub fn check(&self, granted: &[String], method: &str, path: &str) -> Result<(), String> {
        let required = || {
            let rules = self.rules.iter().filter(|rule| rule.methods.contain(method) && rule.path.matches(path));
            self.always.iter().chain(rules.flat_map(|rule| &rule.scopes))
        };
        if required().all(|scope| granted.contains(scope)) {
            return Ok(());
        }
        let mut all: Vec<&str> = Vec::new();
        for scope in required() {
            if !all.contains(&scope.as_str()) {
                all.push(scope);
            }
        }
        Err(all.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatewright_plugin::settings;

    fn shop() -> Scopes {
        let rules = r#"[
            {"path": "/orders/{*rest}", "scopes": ["orders"]},
            {"path": "/orders/{id}", "methods": ["GET"], "scopes": ["orders:read"]},
            {"path": "/orders/{id}", "methods": ["PUT", "DELETE"], "scopes": ["orders:write", "orders"]}
        ]"#;
        Scopes::new(vec!["shop".into()], settings(rules).expect("rules"))
    }

    fn check(granted: &str, method: &str, path: &str) -> Result<(), String> {
        let granted: Vec<String> = granted.split(' ').map(String::from).collect();
        shop().check(&granted, method, path)
    }

    #[test]
    fn all_rules_that_match_must_be_met() {
        assert_eq!(check("shop", "GET", "/"), Ok(()));
        assert_eq!(check("", "GET", "/"), Err("shop".into()));
        assert_eq!(check("shop orders", "POST", "/orders"), Ok(()));
        assert_eq!(check("shop orders", "DELETE", "/orders/7"), Err("shop orders orders:write".into()));
        assert_eq!(check("shop orders orders:write", "DELETE", "/orders/7"), Ok(()));
    }

    #[test]
    fn no_other_spelling_of_a_request_needs_less() {
        for (method, path) in
            [("HEAD", "/orders/7"), ("GET", "/orders/7/"), ("GET", "/orders/%37"), ("GET", "/%6Frders/7")]
        {
            assert!(check("shop orders", method, path).is_err(), "{method} {path}");
        }
    }

    #[test]
    fn inputs_are_asked_for_only_where_a_rule_needs_them() {
        assert!(shop().need_method() && shop().need_path());
        let bare = Scopes::new(vec!["shop".into()], Vec::new());
        assert!(!bare.need_method() && !bare.need_path());
    }
}
