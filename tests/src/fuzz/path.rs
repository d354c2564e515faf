//! Paths, targets and authorities have one spelling, or none.

use gatewright::clean::{self, Scheme};

use crate::strict;

/// Tries a text as each of them.
///
/// # Panics
/// Something does not hold.
pub fn hold(bytes: &[u8]) {
    for scheme in [Scheme::Http, Scheme::Https] {
        if let Ok(once) = clean::authority(bytes, scheme) {
            assert_eq!(clean::authority(once.as_bytes(), scheme).as_deref(), Ok(&*once));
            assert!(once.eq_ignore_ascii_case(&once.to_ascii_lowercase()) && !once.is_empty());
            is_strict(&format!("GET / HTTP/1.1\r\nhost: {once}\r\n\r\n"));
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let cleaned = clean::path(text);
    assert_eq!(cleaned.as_deref().ok(), resolved(text).as_deref(), "as somebody else resolves {text:?}");
    if let Ok(once) = cleaned {
        assert_eq!(clean::path(&once).as_deref(), Ok(&*once));
    }
    if let Ok(once) = clean::target(text) {
        assert_eq!(clean::target(once.as_str()).as_ref(), Ok(&once));
        assert_eq!(once.query(), text.split_once('?').map(|(_, query)| query), "a query stays as it is");
        is_strict(&format!("GET {once} HTTP/1.1\r\nhost: a\r\n\r\n"));
    }
}

fn is_strict(text: &str) {
    match strict::read(text.as_bytes()) {
        Ok(Some((_, []))) => {}
        other => panic!("{other:?}: {text:?}"),
    }
}

/// What a path is by the rules of `clean::path`, step by step and slowly.
fn resolved(text: &str) -> Option<String> {
    let plain = unescaped(text.strip_prefix('/')?)?;
    let segments: Vec<&str> = plain.split('/').collect();
    let (last, before) = segments.split_last()?;
    let dots = |segment: &str| segment.split(';').next().unwrap_or_default().replace("%3B", ";").starts_with(['.']);
    let has_parameters = |segment: &&str| {
        let name = segment.replace("%3B", ";");
        dots(segment) && (name.starts_with(".;") || name.starts_with("..;"))
    };
    if segments.iter().any(has_parameters) || before.iter().any(|segment| segment.starts_with(';')) {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in before.iter().chain([last]) {
        match *segment {
            "" | "." => {}
            ".." => drop(kept.pop()?),
            segment => kept.push(segment),
        }
    }
    if matches!(*last, "" | "." | "..") {
        kept.push("");
    }
    Some(format!("/{}", kept.join("/")))
}

/// Unreserved escapes decoded, the others in upper case; none: something must not be there.
fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '%' {
            let fits = character.is_ascii_graphic() && !"?\\`#<>".contains(character);
            plain.push(Some(character).filter(|_| fits)?);
            continue;
        }
        let digits: String = rest.by_ref().take(2).collect();
        let is_hex = digits.len() == 2 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
        let byte = is_hex.then(|| u8::from_str_radix(&digits, 16).ok()).flatten()?;
        match char::from(byte) {
            '/' | '\\' | '\0' => return None,
            letter if letter.is_ascii_alphanumeric() || "-._~".contains(letter) => plain.push(letter),
            _ => plain.push_str(&format!("%{}", digits.to_ascii_uppercase())),
        }
    }
    Some(plain)
}
