//! `WWW-Authenticate` (RFC 6750, section 3) and the refusals that carry it.

use gatewright_plugin::{Refusal, refuse};

const FIELD: &str = "www-authenticate";

/// The challenge of this use of the plugin.
pub struct Challenge {
    /// `Bearer`, or `Bearer realm="…"`.
    plain: String,
    /// The same with what parameters can follow: a space or a comma.
    start: String,
}

impl Challenge {
    /// The realm must be without control characters.
    pub fn new(realm: Option<&str>) -> Self {
        match realm {
            Some(realm) => {
                let realm = realm.replace('\\', r"\\").replace('"', r#"\""#);
                Self { plain: format!(r#"Bearer realm="{realm}""#), start: format!(r#"Bearer realm="{realm}", "#) }
            }
            None => Self { plain: "Bearer".into(), start: "Bearer ".into() },
        }
    }

    /// What a request without any credential is told.
    pub fn plain(&self) -> &str {
        &self.plain
    }

    /// 401: the token is bad, and how. The text must be free of `"` and `\`.
    pub fn invalid_token(&self, what: &str) -> Refusal {
        let start = &self.start;
        refuse(401, "Token not accepted")
            .with_detail(format!("The token is {what}."))
            .with_header(FIELD, format!(r#"{start}error="invalid_token", error_description="The token is {what}""#))
    }

    /// 403: the token is good for less. `required` are all scopes of this request with a space between.
    pub fn insufficient_scope(&self, required: &str) -> Refusal {
        let start = &self.start;
        refuse(403, "Scope not granted")
            .with_detail(format!("This request needs a token with the scope: {required}"))
            .with_header(FIELD, format!(r#"{start}error="insufficient_scope", scope="{required}""#))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(refusal: &Refusal) -> &str {
        refusal.headers.first().map(|(_, value)| value.as_str()).expect("a challenge")
    }

    #[test]
    fn challenges_are_written_as_rfc_6750_shows_them() {
        let challenge = Challenge::new(Some(r#"the "shop""#));
        assert_eq!(challenge.plain(), r#"Bearer realm="the \"shop\"""#);
        assert_eq!(
            field(&challenge.invalid_token("expired")),
            r#"Bearer realm="the \"shop\"", error="invalid_token", error_description="The token is expired""#
        );
        let bare = Challenge::new(None);
        assert_eq!(bare.plain(), "Bearer");
        assert_eq!(field(&bare.insufficient_scope("a b")), r#"Bearer error="insufficient_scope", scope="a b""#);
    }

    #[test]
    fn a_bad_token_is_401_and_a_narrow_one_403() {
        let challenge = Challenge::new(None);
        assert_eq!(challenge.invalid_token("expired").status, 401);
        assert_eq!(challenge.insufficient_scope("a").status, 403);
    }
}
