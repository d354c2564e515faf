use super::*;
use proptest::prelude::*;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect("a pattern")
}

#[test]
fn whole_segments_match_and_a_last_slash_makes_no_difference() {
    let order = pattern("/orders/{id}");
    assert!(order.matches("/orders/7"));
    assert!(order.matches("/orders/7/"));
    assert!(!order.matches("/orders"));
    assert!(!order.matches("/orders/"));
    assert!(!order.matches("/orders/7/items"));
    assert!(!order.matches("/orders7/7"));
    assert!(pattern("/").matches("/"));
    assert!(!pattern("/").matches("/orders"));
}

#[test]
fn a_rest_may_be_nothing() {
    let files = pattern("/files/{*rest}");
    for (path, rest) in [("/files", ""), ("/files/", ""), ("/files/a", "a"), ("/files/a/b", "a/b")] {
        assert_eq!(files.captures(path), Some(vec![("rest", rest)]), "{path}");
    }
    assert_eq!(files.captures("/file"), None);
    assert!(pattern("/{*all}").matches("/"));
}

#[test]
fn captures_come_in_order() {
    let item = pattern("/orders/{id}/items/{item}");
    assert_eq!(item.captures("/orders/7/items/x"), Some(vec![("id", "7"), ("item", "x")]));
}

#[test]
fn escapes_hide_nothing() {
    assert!(pattern("/a,b").matches("/a%2Cb"));
    assert!(pattern("/a%2cb").matches("/a,b"));
    assert!(pattern("/caf\u{e9}").matches("/caf%C3%A9"));
    assert!(pattern("/100%25").matches("/100%25"));
    assert!(pattern("/ab/c").matches("/a%62/c"));
    assert!(!pattern("/a").matches("/a%"));
    assert!(!pattern("/a").matches("/a%62"));
    assert!(!pattern("/abc").matches("/ab"));
}

#[test]
fn the_more_exact_pattern_comes_first() {
    let mut patterns =
        ["/{*all}", "/orders/{*rest}", "/orders/{id}", "/orders/mine", "/orders", "/{any}/mine"].map(pattern);
    patterns.sort();
    let texts: Vec<String> = patterns.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["/orders/mine", "/orders/{id}", "/orders", "/orders/{*rest}", "/{any}/mine", "/{*all}"]);
}

#[test]
fn what_a_pattern_cannot_be_is_said() {
    for (text, fault) in [
        ("orders", PatternFault::NoSlash),
        ("/a//b", PatternFault::EmptySegment),
        ("/a/", PatternFault::EmptySegment),
        ("/a/../b", PatternFault::Dots),
        ("/a?b", PatternFault::NotInPaths('?')),
        ("/a{b}", PatternFault::Braces("a{b}".into())),
        ("/{}", PatternFault::Braces("{}".into())),
        ("/{*rest}/b", PatternFault::RestNotLast("rest".into())),
        ("/{a}/{a}", PatternFault::Twice("a".into())),
        ("/%zz", PatternFault::Escape("%zz".into())),
    ] {
        assert_eq!(Pattern::parse(text), Err(fault), "{text}");
    }
}

#[test]
fn patterns_with_other_names_mean_the_same_paths() {
    assert!(pattern("/a/{b}").same_paths(&pattern("/a/{c}")));
    assert!(!pattern("/a/{b}").same_paths(&pattern("/a/{*b}")));
    assert!(!pattern("/a").same_paths(&pattern("/b")));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_any_path_matched_or_not(text in ".{0,40}", path in "[/a-c%{}*.]{0,20}") {
        if let Ok(pattern) = Pattern::parse(&text) {
            prop_assert_eq!(pattern.matches(&path), pattern.captures(&path).is_some());
        }
    }

    #[test]
    fn a_path_matches_itself_as_a_pattern(segments in proptest::collection::vec("[a-z0-9_-]{1,5}", 0..5)) {
        let path = format!("/{}", segments.join("/"));
        prop_assert!(pattern(&path).matches(&path));
        let all = pattern("/{*all}");
        prop_assert!(all.matches(&path));
    }

    #[test]
    fn escaping_any_bytes_of_a_path_changes_nothing(text in "[a-c%]{1,5}", path in "[a-c%]{1,5}", mask in any::<u8>()) {
        let escape = |text: &str, mask: u8| -> String {
            let byte = |(at, byte): (usize, u8)| match byte == b'%' || mask >> at & 1 == 1 {
                true => format!("%{byte:02X}"),
                false => char::from(byte).to_string(),
            };
            text.bytes().enumerate().map(byte).collect()
        };
        let pattern = pattern(&format!("/x/{}/y", escape(&text, 0)));
        let path_matches = pattern.matches(&format!("/x/{}/y", escape(&path, mask)));
        prop_assert_eq!(path_matches, text == path);
    }

    #[test]
    fn captures_put_together_are_the_path(segments in proptest::collection::vec("[a-z]{1,5}", 1..5)) {
        let path = format!("/{}", segments.join("/"));
        let names: Vec<String> = (0..segments.len()).map(|index| format!("{{s{index}}}")).collect();
        let pattern = pattern(&format!("/{}", names.join("/")));
        let captures = pattern.captures(&path).expect("a match");
        prop_assert_eq!(captures.iter().map(|(_, part)| part.to_string()).collect::<Vec<_>>(), segments);
    }
}
