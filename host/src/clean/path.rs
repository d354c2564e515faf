//! One spelling for every path.

use std::borrow::Cow;

use bytes::Bytes;
use http::uri::PathAndQuery;

use super::Unclean;

#[cfg(test)]
mod tests;

/// Normalises an absolute path: duplicate slashes are merged, then dot segments resolved, encoded ones too;
/// percent-encoded unreserved characters are decoded, and the hexadecimal digits of the others are in upper case. Doing
/// it twice changes nothing more, and a path that is clean already is not copied.
///
/// `..` after a duplicate slash therefore leaves a whole segment, as with nginx: `/a//../b` is `/b`.
///
/// # Errors
///
/// What services read differently, or cannot read: a path above its root, encoded `/`, `\` and NUL, a raw `\`,
/// parameters (`;…`) on `.` and `..` or on an empty segment before others, raw characters that a path cannot hold, and
/// bad escapes.
pub fn path(raw: &str) -> Result<Cow<'_, str>, Unclean> {
    if is_clean(raw.as_bytes()) { Ok(Cow::Borrowed(raw)) } else { rewrite(raw.as_bytes()).map(Cow::Owned) }
}

/// Cleans a path with an optional query, for example one that a routing plugin gives. The path is normalised by
/// [`path`], the query kept as it is; without `?` there is none.
///
/// # Errors
///
/// Those of [`path`], and raw characters or bad escapes in the query.
pub fn target(raw: &str) -> Result<PathAndQuery, Unclean> {
    let (path_part, query) = match raw.split_once('?') {
        Some((path_part, query)) => (path_part, Some(query)),
        None => (raw, None),
    };
    check_query(query)?;
    assemble(&path(path_part)?, query)
}

/// Puts a clean path and a checked query together.
pub(super) fn assemble(path: &str, query: Option<&str>) -> Result<PathAndQuery, Unclean> {
    let mut text = String::with_capacity(path.len() + query.map_or(0, |query| query.len() + 1));
    text.push_str(path);
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    // Longer than 65,534 bytes is the one reason for which a clean target is not taken.
    PathAndQuery::from_maybe_shared(Bytes::from(text)).map_err(|_| Unclean::TargetTooLong)
}

/// Checks that a query has nothing raw that must be encoded, and no bad escapes.
pub(super) fn check_query(query: Option<&str>) -> Result<(), Unclean> {
    let mut rest = query.unwrap_or_default().as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = match (class(*byte), tail) {
            (Class::Percent, [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            (Class::Percent, _) => return Err(Unclean::Escape),
            (Class::Never, _) => return Err(Unclean::Character),
            (Class::Plain | Class::Slash | Class::Query, tail) => tail,
        };
    }
    Ok(())
}

/// Whether a path may stay as it is. A no is not yet a fault, and in rare cases not even a change.
fn is_clean(path: &[u8]) -> bool {
    let mut rest = match path {
        [b'/', ..] => path,
        _ => return false,
    };
    while let [byte, tail @ ..] = rest {
        rest = match class(*byte) {
            Class::Plain => tail,
            Class::Slash if begins_well(tail) => tail,
            Class::Percent => match tail {
                [high, low, after @ ..] if is_canonical(*high, *low) => after,
                _ => return false,
            },
            Class::Slash | Class::Query | Class::Never => return false,
        };
    }
    true
}

/// Whether a segment is neither empty nor made of dots, with or without parameters; nothing more follows the last `/`.
fn begins_well(segment: &[u8]) -> bool {
    match segment {
        [b'/' | b';', ..] => false,
        [b'.', b'.', rest @ ..] | [b'.', rest @ ..] => !matches!(rest, [] | [b'/' | b';', ..] | [b'%', b'3', b'B', ..]),
        _ => true,
    }
}

/// Whether an escape is in upper case and stands for a byte that must stay encoded, but may be there.
fn is_canonical(high: u8, low: u8) -> bool {
    let upper = |digit: u8| digit.is_ascii_digit() || matches!(digit, b'A'..=b'F');
    upper(high) && upper(low) && escape(high, low).is_ok_and(|byte| !is_unreserved(byte))
}

/// The byte that an escape stands for.
fn escape(high: u8, low: u8) -> Result<u8, Unclean> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (Some(high), Some(low)) = (digit(high), digit(low)) else { return Err(Unclean::Escape) };
    match high << 4 | low {
        b'/' | b'\\' | 0 => Err(Unclean::Separator),
        byte => Ok(byte),
    }
}

/// The characters that mean the same encoded and not (RFC 3986, section 2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What a raw byte is in a target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// It stays as it is. `[`, `]`, `{`, `}`, `|`, `^` and `"` should be encoded, but clients send them and mean
    /// nothing else.
    Plain,
    /// It parts segments.
    Slash,
    /// It begins an escape.
    Percent,
    /// It stays as it is in a query, and has no place in a path.
    Query,
    /// It must be encoded.
    Never,
}

/// Looks up a byte.
fn class(byte: u8) -> Class {
    static CLASSES: [Class; 256] = classes();
    CLASSES.get(usize::from(byte)).copied().unwrap_or(Class::Never)
}

#[expect(clippy::indexing_slicing, reason = "a byte is within 256, and this is run by the compiler")]
const fn classes() -> [Class; 256] {
    let mut classes = [Class::Never; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        let class = match byte {
            b'/' => Class::Slash,
            b'%' => Class::Percent,
            b'?' | b'\\' | b'`' => Class::Query,
            b'#' | b'<' | b'>' => Class::Never,
            _ => Class::Plain,
        };
        classes[byte as usize] = class;
        byte += 1;
    }
    classes
}

/// Builds the clean path of one that is not, segment by segment.
fn rewrite(raw: &[u8]) -> Result<String, Unclean> {
    let [b'/', raw @ ..] = raw else { return Err(Unclean::TargetForm) };
    let mut clean = Vec::with_capacity(raw.len() + 1);
    let mut segments = raw.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let start = clean.len();
        clean.push(b'/');
        decode(segment, &mut clean)?;
        let last = segments.peek().is_none();
        let up = match clean.get(start + 1..).unwrap_or_default() {
            b"" | b"." => false,
            b".." => true,
            segment => {
                check_parameters(segment, last)?;
                continue;
            }
        };
        clean.truncate(start);
        if up {
            let parent = clean.iter().rposition(|byte| *byte == b'/').ok_or(Unclean::AboveRoot)?;
            clean.truncate(parent);
        }
        if last {
            clean.push(b'/');
        }
    }
    String::from_utf8(clean).map_err(|_| Unclean::Character)
}

/// Appends a segment with its escapes in their one spelling.
fn decode(segment: &[u8], clean: &mut Vec<u8>) -> Result<(), Unclean> {
    let mut rest = segment;
    while let [byte, tail @ ..] = rest {
        rest = match (byte, tail) {
            (b'%', [high, low, after @ ..]) => {
                match escape(*high, *low)? {
                    byte if is_unreserved(byte) => clean.push(byte),
                    _ => clean.extend([b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]),
                }
                after
            }
            (b'%', _) => return Err(Unclean::Escape),
            (b'\\', _) => return Err(Unclean::Separator),
            (byte, tail) if class(*byte) == Class::Plain => {
                clean.push(*byte);
                tail
            }
            _ => return Err(Unclean::Character),
        };
    }
    Ok(())
}

/// Services that know path parameters take them off before they resolve dots and merge slashes: to them `..;x` is `..`,
/// and `;x` in the middle is nothing. A last `;x` leads nowhere else (`/;jsessionid=…`).
fn check_parameters(segment: &[u8], last: bool) -> Result<(), Unclean> {
    let after_dots = match segment {
        [b'.', b'.', rest @ ..] | [b'.', rest @ ..] => rest,
        [b';', ..] if !last => return Err(Unclean::Parameters),
        _ => return Ok(()),
    };
    match after_dots {
        [b';', ..] | [b'%', b'3', b'B', ..] => Err(Unclean::Parameters),
        _ => Ok(()),
    }
}
