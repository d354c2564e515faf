//! What an `Authorization` field holds (RFC 9110, section 11.4; RFC 6750, section 2.1).

/// A field, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential<'r> {
    /// No field, or one of another scheme.
    None,
    /// The scheme is `Bearer` and what follows cannot be a token.
    Malformed,
    /// A token, perhaps.
    Token(&'r str),
}

const SCHEME: &str = "bearer";

/// Reads an `Authorization` field. The scheme's case does not count; one or more spaces stand before the token.
pub fn read(field: Option<&str>) -> Credential<'_> {
    let Some(field) = field else { return Credential::None };
    let field = field.trim_matches([' ', '\t']);
    let (Some(scheme), Some(rest)) = (field.get(..SCHEME.len()), field.get(SCHEME.len()..)) else {
        return Credential::None;
    };
    // A longer scheme that begins like this one is another scheme.
    if !scheme.eq_ignore_ascii_case(SCHEME) || rest.bytes().next().is_some_and(is_scheme_byte) {
        return Credential::None;
    }
    let token = rest.trim_start_matches(' ');
    if token.len() == rest.len() || !is_token68(token) { Credential::Malformed } else { Credential::Token(token) }
}

/// RFC 9110, section 5.6.2: what an authentication scheme is written in.
fn is_scheme_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110, section 11.2.
fn is_token68(token: &str) -> bool {
    let inner = token.trim_end_matches('=');
    !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_schemes_case_does_not_count_and_spaces_may_be_many() {
        for field in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c", "Bearer a.b.c "] {
            assert_eq!(read(Some(field)), Credential::Token("a.b.c"), "{field}");
        }
    }

    #[test]
    fn another_scheme_is_not_ours() {
        for field in ["Basic YWxhZGRpbjpvcGVuc2VzYW1l", "", "Bear", "Bearers abc", "Bearer-Token abc", "B\u{e9}arer x"]
        {
            assert_eq!(read(Some(field)), Credential::None, "{field}");
        }
        assert_eq!(read(None), Credential::None);
    }

    #[test]
    fn what_cannot_be_a_token_is_malformed() {
        for field in
            ["Bearer", "Bearer ", "Bearer a b", "Bearer\ta", "Bearer ====", "Bearer a=b", "Bearer \u{e9}", "Bearer,a"]
        {
            assert_eq!(read(Some(field)), Credential::Malformed, "{field}");
        }
    }

    proptest! {
        #[test]
        fn any_field_is_read(field in "(?i:bearer)?.{0,40}") {
            read(Some(&field));
        }

        #[test]
        fn a_token_is_found_whole(token in "[A-Za-z0-9._~+/-]{1,60}={0,2}", spaces in " {1,4}") {
            let field = format!("bEaReR{spaces}{token}");
            prop_assert_eq!(read(Some(&field)), Credential::Token(token.as_str()));
        }
    }
}
