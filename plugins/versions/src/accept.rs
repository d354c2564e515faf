//! Versions in `Accept` (RFC 9110, section 12.5.1): `application/json; version=2` and `application/vnd.shop.v2+json`.

/// One media range that names a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'r> {
    pub version: &'r str,
    /// Its weight in thousandths, above 0.
    pub weight: u16,
}

/// The media ranges that name a version, in order: by the parameter, or by the last part of a vendor's type.
pub fn versions<'r>(
    accept: &'r str,
    parameter: Option<&'r str>,
    vendor: Option<&'r str>,
) -> impl Iterator<Item = Named<'r>> {
    unquoted(accept, b',').filter_map(move |range| {
        let mut pieces = unquoted(range, b';');
        let media_type = pieces.next().unwrap_or_default();
        let mut version = vendor.and_then(|vendor| of_vendor(media_type, vendor));
        let mut weight = 1000;
        for piece in pieces {
            let Some((name, value)) = piece.split_once('=') else { continue };
            let (name, value) = (name.trim(), value.trim());
            if name.eq_ignore_ascii_case("q") {
                weight = thousandths(value)?;
            } else if parameter.is_some_and(|parameter| name.eq_ignore_ascii_case(parameter)) {
                version = Some(value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value));
            }
        }
        version.filter(|_| weight > 0).map(|version| Named { version, weight })
    })
}

/// The pieces between separators that are not within quotes, without spaces around them.
fn unquoted(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let at_separator = move |character: char| {
        if escaped {
            escaped = false;
        } else {
            escaped = quoted && character == '\\';
            quoted ^= character == '"';
        }
        !quoted && character == char::from(separator)
    };
    text.split(at_separator).map(str::trim)
}

/// `2` of `application/vnd.shop.v2+json` and of `application/vnd.shop.order.v2`, where the vendor is `shop`.
fn of_vendor<'r>(media_type: &'r str, vendor: &str) -> Option<&'r str> {
    const TREE: &str = "vnd.";
    let subtype = media_type.split_once('/')?.1;
    let subtype = subtype.rsplit_once('+').map_or(subtype, |(subtype, _)| subtype);
    let starts = |text: &str, start: &str| text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start));
    let rest = subtype.get(TREE.len()..).filter(|_| starts(subtype, TREE))?;
    let rest = rest.get(vendor.len()..).filter(|_| starts(rest, vendor))?.strip_prefix('.')?;
    let version = rest.strip_prefix('v').or_else(|| rest.rsplit_once(".v").map(|(_, version)| version))?;
    Some(version).filter(|version| !version.is_empty())
}

/// RFC 9110, section 12.4.2; `None` where it is none.
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, rest) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = |text: &str| text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(rest) || !matches!(whole, "0" | "1") {
        return None;
    }
    format!("{whole}{rest:0<3}").parse().ok().filter(|weight| *weight <= 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(accept: &str) -> Vec<(&str, u16)> {
        versions(accept, Some("version"), Some("shop")).map(|named| (named.version, named.weight)).collect()
    }

    #[test]
    fn both_ways_to_name_a_version_are_found() {
        assert_eq!(found("application/json; version=2"), [("2", 1000)]);
        assert_eq!(found("application/json;VERSION=\"2\""), [("2", 1000)]);
        assert_eq!(found("application/vnd.shop.v2+json"), [("2", 1000)]);
        assert_eq!(found("application/vnd.Shop.order.v2.1+json"), [("2.1", 1000)]);
        assert_eq!(found("application/vnd.shop.order.v2"), [("2", 1000)]);
        assert_eq!(found("application/vnd.shopping.v2+json, application/vnd.other.v2+json, */*"), []);
    }

    #[test]
    fn weights_are_read_and_what_is_not_wanted_is_left_out() {
        assert_eq!(found("a/b;version=3;q=0.5, a/b;version=2;q=0.25"), [("3", 500), ("2", 250)]);
        assert_eq!(found("a/b;version=3;q=0, a/b;version=2;q=2, a/b;version=1;q=1.000"), [("1", 1000)]);
    }

    #[test]
    fn separators_in_quotes_separate_nothing() {
        assert_eq!(found(r#"a/b;title="x, y; version=9 \" , ";version=2"#), [("2", 1000)]);
    }

    proptest! {
        #[test]
        fn any_field_is_read(accept in r#"[a-z/;,=" .v0-9q+\\]{0,60}|.{0,40}"#) {
            let _ = found(&accept);
        }
    }
}
