//! What `httpwg` finds that is known, and why it stays so.

/// Both end the connection; only the word for it is a wider one.
const CODE: &str = "the connection ends with PROTOCOL_ERROR where the RFC has a narrower code: h2 chooses it";
/// RFC 9113, section 8.1.1: a server may send a response to a malformed request instead.
const ANSWERED: &str =
    "the request is answered with a problem document and goes no further, where the suite wants a reset";
/// No service sees it: the corpus of hostile requests holds that.
const DROPPED: &str = "h2 drops a pseudo-field of trailers by itself, and says nothing of it";

/// With the flag the connection ends: the corpus of hostile requests holds that.
const UNENDED: &str = "the suite's PUSH_PROMISE has no END_HEADERS, and h2 waits for the rest of it";

/// Tests of RFC 9113 that the gateway may fail, each with its reason.
const KNOWN: [(&str, &str); 20] = [
    ("4. http frames :: invalid header block fragment", CODE),
    ("5. streams and multiplexing :: closed sends headers frame", CODE),
    ("5. streams and multiplexing :: closed sends headers frame after rst stream", CODE),
    ("5. streams and multiplexing :: half closed remote sends data frame", CODE),
    ("5. streams and multiplexing :: half closed remote sends headers frame", CODE),
    ("6. frame definitions :: sends data frame on invalid stream state", CODE),
    ("6. frame definitions :: sends ping frame with invalid length", CODE),
    ("6. frame definitions :: sends priority frame with invalid length", CODE),
    ("6. frame definitions :: sends rst stream frame with invalid length", CODE),
    ("6. frame definitions :: sends settings frame with ack and payload", CODE),
    ("6. frame definitions :: sends settings frame with invalid length", CODE),
    ("6. frame definitions :: sends settings initial window size with exceeded max window size value", CODE),
    ("6. frame definitions :: sends settings initial window size with invalid value", CODE),
    ("6. frame definitions :: sends window update frame with invalid length", CODE),
    ("8. expressing http semantics in http2 :: sends connect without authority", ANSWERED),
    ("8. expressing http semantics in http2 :: sends headers frame with leading space in field value", ANSWERED),
    ("8. expressing http semantics in http2 :: sends headers frame with mismatched host authority", ANSWERED),
    ("8. expressing http semantics in http2 :: sends headers frame with trailing tab in field value", ANSWERED),
    ("8. expressing http semantics in http2 :: sends headers frame with pseudo header in trailer", DROPPED),
    ("8. expressing http semantics in http2 :: client sends push promise frame", UNENDED),
];

/// The tests that ran, in no order, and whether each passed.
pub(super) fn results(text: &str) -> Vec<(String, bool)> {
    let plain = without_colours(text);
    let result = |line: &str| {
        let (_, result) = line.split_once("Test ")?;
        match result.split_once(": ")? {
            ("passed", test) => Some((test.to_owned(), true)),
            ("failed", test) => Some((test.to_owned(), false)),
            _ => None,
        }
    };
    plain.lines().filter_map(result).collect()
}

/// Says what differs, and whether all of it is known.
pub(super) fn report(results: &[(String, bool)]) -> bool {
    let mut good = true;
    for (test, _) in results.iter().filter(|(_, passed)| !passed) {
        let reason = KNOWN.iter().find(|(known, _)| test.ends_with(known)).map(|(_, reason)| *reason);
        good &= reason.is_some();
        println!("  {test}: {}", reason.unwrap_or("NOT KNOWN"));
    }
    let passed = results.iter().filter(|(_, passed)| *passed).count();
    println!("xtask: httpwg: {passed} of {} pass", results.len());
    good
}

/// A text without the escapes that a terminal takes for colours.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_from_what_a_terminal_would_show() {
        let text = "\u{2705} \u{1b}[1;32mTest passed\u{1b}[0m: RFC 9113 :: a\nno\n\u{274c} Test failed: RFC 9113 :: b";
        assert_eq!(results(text), [("RFC 9113 :: a".to_owned(), true), ("RFC 9113 :: b".to_owned(), false)]);
        assert!(!report(&results(text)));
    }
}
