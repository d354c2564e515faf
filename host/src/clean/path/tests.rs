#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says so by failing")]

use proptest::prelude::*;

use super::*;

#[test]
fn paths_have_one_spelling() {
    let table = [
        ("/", "/"),
        ("/a/b.json", "/a/b.json"),
        ("/a/", "/a/"),
        ("/.well-known/..a/a../...", "/.well-known/..a/a../..."),
        ("/a/./b", "/a/b"),
        ("/a/.", "/a/"),
        ("/./a", "/a"),
        ("/a/../b", "/b"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/.%2E/b/%2e", "/b/"),
        ("//a", "/a"),
        ("/a//b///", "/a/b/"),
        ("/a//../b", "/b"),
        ("/%7euser/%41%2d%5F", "/~user/A-_"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/%252e%252e/a", "/%252e%252e/a"),
        ("/a;x=1/b;y", "/a;x=1/b;y"),
        ("/a/;jsessionid=1", "/a/;jsessionid=1"),
        ("/...;x/b", "/...;x/b"),
        ("/{id}/[1]/a|b^\"", "/{id}/[1]/a|b^\""),
        ("/:@!$&'()*+,=", "/:@!$&'()*+,="),
    ];
    for (raw, clean) in table {
        assert_eq!(path(raw).as_deref(), Ok(clean), "{raw}");
        assert!(matches!(path(clean), Ok(Cow::Borrowed(_))) || clean.contains("/;"), "{clean} was copied");
    }
}

#[test]
fn paths_with_two_readings_are_refused() {
    let table = [
        ("", Unclean::TargetForm),
        ("a", Unclean::TargetForm),
        ("*", Unclean::TargetForm),
        ("/..", Unclean::AboveRoot),
        ("/a/../..", Unclean::AboveRoot),
        ("//..", Unclean::AboveRoot),
        ("/%2e%2e/a", Unclean::AboveRoot),
        ("/a%2fb", Unclean::Separator),
        ("/a%2Fb", Unclean::Separator),
        ("/a%5cb", Unclean::Separator),
        ("/a\\b", Unclean::Separator),
        ("/a%00", Unclean::Separator),
        ("/a/..;/b", Unclean::Parameters),
        ("/a/..;x=1", Unclean::Parameters),
        ("/a/%2e%2e;/b", Unclean::Parameters),
        ("/a/..%3b/b", Unclean::Parameters),
        ("/.;/a", Unclean::Parameters),
        ("/;x/admin", Unclean::Parameters),
        ("/a#b", Unclean::Character),
        ("/a?b", Unclean::Character),
        ("/a b", Unclean::Character),
        ("/caf\u{e9}", Unclean::Character),
        ("/a\u{7f}", Unclean::Character),
        ("/a\r\nb", Unclean::Character),
        ("/<a>", Unclean::Character),
        ("/%", Unclean::Escape),
        ("/%4", Unclean::Escape),
        ("/%zz", Unclean::Escape),
        ("/%+1", Unclean::Escape),
    ];
    for (raw, fault) in table {
        assert_eq!(path(raw), Err(fault), "{raw:?}");
    }
}

#[test]
fn a_very_long_path_is_cleaned() {
    let deep = "/a/..".repeat(20_000);
    assert_eq!(path(&deep).as_deref(), Ok("/"));
    let long = "/a".repeat(40_000);
    assert_eq!(path(&long).as_deref(), Ok(long.as_str()));
    assert_eq!(target(&long), Err(Unclean::TargetTooLong));
}

#[test]
fn a_plugins_target_is_cleaned_too() {
    let clean = |raw: &str| target(raw).map(|target| target.to_string());
    assert_eq!(clean("/a/./b?x=%2f/../y?").as_deref(), Ok("/a/b?x=%2f/../y?"));
    assert_eq!(clean("/a?").as_deref(), Ok("/a?"));
    assert_eq!(clean("/a?x=%g0"), Err(Unclean::Escape));
    assert_eq!(clean("/a?x=\u{e9}"), Err(Unclean::Character));
    assert_eq!(clean("/a?x#y"), Err(Unclean::Character));
    assert_eq!(clean("http://example.org/"), Err(Unclean::TargetForm));
}

/// The same, slowly: decode what may be decoded, then resolve.
fn reference(raw: &str) -> Option<String> {
    let mut segments: Vec<String> = Vec::new();
    let parts: Vec<&str> = raw.strip_prefix('/')?.split('/').collect();
    for (index, part) in parts.iter().enumerate() {
        let mut text = String::new();
        let mut rest = part.chars();
        while let Some(letter) = rest.next() {
            if letter != '%' {
                text.push(letter);
                continue;
            }
            let digits: String = rest.by_ref().take(2).collect();
            let byte =
                u8::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 2 && !digits.starts_with('+'))?;
            match char::from(byte) {
                '/' | '\\' | '\0' => return None,
                plain if plain.is_ascii_alphanumeric() || "-._~".contains(plain) => text.push(plain),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
        let last = index + 1 == parts.len();
        let name = text.split(';').next().and_then(|name| name.split("%3B").next()).unwrap_or_default();
        if text.contains(|letter: char| !letter.is_ascii_graphic() || "\\#?<>`".contains(letter))
            || (matches!(name, "." | "..") && text != name)
            || (text.starts_with(';') && !last)
        {
            return None;
        }
        match text.as_str() {
            "" | "." => {}
            ".." => drop(segments.pop()?),
            _ => segments.push(text.clone()),
        }
        if last && matches!(text.as_str(), "" | "." | "..") {
            segments.push(String::new());
        }
    }
    Some(format!("/{}", segments.join("/")))
}

proptest! {
    #[test]
    fn a_clean_path_is_what_the_slow_way_makes_of_it(
        raw in "/([a./;]|\\.\\.|%2[eEfF]|%3[bB]|%[0-9a-fA-F]{1,2}|[!-~]){0,24}",
    ) {
        prop_assert_eq!(path(&raw).ok().map(Cow::into_owned), reference(&raw));
    }

    #[test]
    fn a_clean_path_stays_as_it_is(raw in "/([ab./]|%2[eEdD]|%[0-9a-f]{2}){0,24}") {
        if let Ok(clean) = path(&raw) {
            prop_assert!(matches!(path(&clean), Ok(Cow::Borrowed(_))), "{} was copied", clean);
            let within = format!("{clean}/");
            let ambiguous = ["//", "/./", "/../"].iter().any(|part| within.trim_end_matches('/').contains(part));
            prop_assert!(!ambiguous && !clean.ends_with("/.") && !clean.ends_with("/.."), "{}", clean);
            let escapes = clean.split('%').skip(1).filter_map(|rest| rest.get(..2));
            prop_assert!(escapes.into_iter().all(|digits| digits == digits.to_ascii_uppercase()));
        }
    }

    #[test]
    fn any_text_is_taken_or_refused(raw in ".{0,40}") {
        if let Ok(target) = target(&raw) {
            let again = path(target.path());
            prop_assert_eq!(again.as_deref(), Ok(target.path()));
        }
    }
}
