//! Sets of HTTP methods in settings.

use serde::Deserialize;

/// The methods that a rule is for. None named: all of them. `GET` covers `HEAD`, which asks for the same thing.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(try_from = "Vec<String>")]
pub struct Methods(Vec<String>);

/// A name that no request's method equals.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a method: upper-case letters, digits, `-` and `_`, for example `GET`")]
pub struct NotAMethod(String);

impl Methods {
    /// Whether a request with this method is meant.
    #[must_use]
    pub fn contain(&self, method: &str) -> bool {
        let named = |method: &str| self.0.iter().any(|named| named == method);
        self.0.is_empty() || named(method) || (method == "HEAD" && named("GET"))
    }

    /// Whether every method is meant, so that the request's method need not be known.
    #[must_use]
    pub fn are_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some method is meant by both.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> bool {
        self.0.is_empty() || other.0.is_empty() || self.0.iter().any(|method| other.contain(method)) || {
            other.0.iter().any(|method| self.contain(method))
        }
    }

    /// The names as they were given.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl TryFrom<Vec<String>> for Methods {
    type Error = NotAMethod;

    fn try_from(names: Vec<String>) -> Result<Self, NotAMethod> {
        let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        match names.iter().find(|name| name.is_empty() || !name.bytes().all(fits)) {
            Some(name) => Err(NotAMethod(name.clone())),
            None => Ok(Self(names)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn methods(names: &[&str]) -> Methods {
        Methods::try_from(names.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("methods")
    }

    #[test]
    fn no_names_mean_every_method_and_get_covers_head() {
        assert!(methods(&[]).contain("PROPFIND"));
        assert!(methods(&["GET"]).contain("HEAD"));
        assert!(!methods(&["HEAD"]).contain("GET"));
        assert!(!methods(&["GET"]).contain("get"));
    }

    #[test]
    fn overlap_is_told_both_ways() {
        assert!(methods(&["GET", "POST"]).overlap(&methods(&["POST"])));
        assert!(methods(&["HEAD"]).overlap(&methods(&["GET"])));
        assert!(methods(&["GET"]).overlap(&methods(&["HEAD"])));
        assert!(methods(&[]).overlap(&methods(&["PUT"])));
        assert!(!methods(&["GET"]).overlap(&methods(&["POST"])));
    }

    #[test]
    fn a_lower_case_name_is_a_fault() {
        assert_eq!(Methods::try_from(vec!["get".to_string()]), Err(NotAMethod("get".into())));
    }
}
