//! Texts that say bytes and what becomes of them: `corpus/http1/*.txt` and `corpus/http2/*.txt`.
//!
//! ```text
//! # A line like this says nothing. A case begins with its title.
//! == a length and a coding
//! > POST / HTTP/1.1
//! > host: shop.example
//! > content-length: 4\
//! > \r\n
//! = 400 closed
//! ```
//!
//! A line of `>` is what the client says. In HTTP/1 it ends with CR LF, unless a `\` is its last character. `\r`, `\n`, `\t`, `\0`,
//! `\\` and `\x2f` are bytes, `\{1000*ab}` is `ab` a thousand times, and a last `\` nothing. `>end` says that no more bytes come. In HTTP/2 it is a frame,
//! and lines of `+` are its payload: see the test.
//!
//! A line of `=` is an outcome, in the order of the answers: a status, and `closed` where the connection ends after it. Lines of
//! `<` behind it are the request that the service saw for it: its first line, its fields in alphabetical order without those that
//! the gateway sets in every request, an empty line, its body, and its trailers. `partly`: the service may see a request that
//! breaks off before its end.

use std::fmt::Write as _;
use std::path::Path;

use crate::strict::Strict;

pub mod said;

/// What a client says, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is.
    pub title: String,
    /// The lines of `>` and `+`, with their first character.
    pub says: Vec<String>,
    /// In the order of the answers.
    pub outcomes: Vec<Outcome>,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The line of `=`, without `partly`.
    pub answer: String,
    /// Whether the service may see the beginning of it.
    pub partly: bool,
    /// What the service sees; none: nothing whole.
    pub seen: Option<Vec<u8>>,
}

/// The cases of all the files in a folder of `tests/corpus`, each with the name of its file.
///
/// # Panics
/// A file cannot be read, or a line of it means nothing.
#[must_use]
pub fn corpus(folder: &str) -> Vec<(String, Vec<Case>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|fault| panic!("{}: {fault}", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let read = |file: &std::path::PathBuf| {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let cases = cases(&std::fs::read_to_string(file).unwrap());
        (name, cases)
    };
    files.iter().map(read).collect()
}

fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix("== ") {
            cases.push(Case { title: title.to_owned(), says: Vec::new(), outcomes: Vec::new() });
            continue;
        }
        let case = cases.last_mut().unwrap_or_else(|| panic!("no case yet: {line}"));
        match (line.split_at(1), case.outcomes.last_mut()) {
            ((">" | "+", _), None) => case.says.push(line.to_owned()),
            (("=", outcome), _) => case.outcomes.push(Outcome::new(outcome.trim())),
            (("<", seen), Some(outcome)) => {
                let line = bytes(seen.strip_prefix(' ').unwrap_or(seen));
                match &mut outcome.seen {
                    Some(seen) => {
                        seen.push(b'\n');
                        seen.extend(line);
                    }
                    None => outcome.seen = Some(line),
                }
            }
            _ => panic!("{}: {line}", case.title),
        }
    }
    cases
}

impl Outcome {
    fn new(text: &str) -> Self {
        let (answer, partly) = match text.strip_suffix(" partly") {
            Some(answer) => (answer, true),
            None => (text, false),
        };
        Self { answer: answer.to_owned(), partly, seen: None }
    }

    /// The lines that say so.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("= {}{}\n", self.answer, if self.partly { " partly" } else { "" });
        for line in self.seen.iter().flat_map(|seen| seen.split(|byte| *byte == b'\n')) {
            let line = escaped(line);
            let _ = writeln!(text, "<{}{line}", if line.is_empty() { "" } else { " " });
        }
        text
    }
}

/// The bytes of a text with escapes.
///
/// # Panics
/// An escape is none.
#[must_use]
pub fn bytes(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let mut after = escape.chars();
        let one = match after.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => u8::from_str_radix(&escape[1..3], 16).unwrap_or_else(|fault| panic!("{text}: {fault}")),
            Some('{') => {
                let (repeated, behind) = escape[1..].split_once('}').unwrap_or_else(|| panic!("no end: {text}"));
                let (count, what) = repeated.split_once('*').unwrap_or_else(|| panic!("how often: {text}"));
                bytes.extend(self::bytes(what).repeat(count.parse().unwrap()));
                rest = behind;
                continue;
            }
            None => return bytes,
            other => panic!("\\{other:?} in {text}"),
        };
        bytes.push(one);
        rest = if escape.starts_with('x') { &escape[3..] } else { after.as_str() };
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b' ' if at + 1 == bytes.len() => text.push_str("\\x20"),
            b'\\' => text.push_str("\\\\"),
            b'\r' => text.push_str("\\r"),
            b' '..=b'~' => text.push(char::from(*byte)),
            byte => write!(text, "\\x{byte:02x}").unwrap(),
        }
    }
    text
}

/// A request that a service saw, as the lines of `<` say it.
///
/// # Panics
/// A field that the gateway sets in every request is not there, not as it must be, or not the only one.
#[must_use]
pub fn told(mut request: Strict) -> Vec<u8> {
    take_own(&mut request);
    let mut text = format!("{} {} HTTP/1.1", request.method, request.target).into_bytes();
    request.fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut add = |fields: &[(String, Vec<u8>)]| {
        for (name, value) in fields {
            text.extend_from_slice(format!("\n{name}: ").as_bytes());
            text.extend_from_slice(value);
        }
    };
    add(&request.fields);
    if !request.body.is_empty() || !request.trailers.is_empty() {
        text.extend_from_slice(b"\n\n");
        text.extend_from_slice(&request.body);
        for (name, value) in &request.trailers {
            text.extend_from_slice(format!("\n{name}: ").as_bytes());
            text.extend_from_slice(value);
        }
    }
    text
}

/// Takes off what the gateway sets in every request from 127.0.0.1, and checks it.
fn take_own(request: &mut Strict) {
    let host = String::from_utf8_lossy(request.values("host")[0]).into_owned();
    let [id] = request.values("x-request-id")[..] else { panic!("one id: {request:?}") };
    assert!(id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit), "an id of the gateway's: {request:?}");
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", &host),
        ("forwarded", "for=127.0.0.1;proto=http"),
    ] {
        assert_eq!(request.values(name), [value.as_bytes()], "{name}: {request:?}");
        request.fields.retain(|(field, _)| field != name);
    }
    let [trace] = request.values("traceparent")[..] else { panic!("one trace: {request:?}") };
    let parts: Vec<_> = trace.split(|byte| *byte == b'-').map(<[u8]>::len).collect();
    assert_eq!(parts, [2, 32, 16, 2], "a trace of the gateway's: {request:?}");
    request.fields.retain(|(field, _)| !["x-request-id", "traceparent"].contains(&field.as_str()));
    let last = request.fields.iter().rposition(|(field, _)| field == "via").unwrap_or_else(|| panic!("{request:?}"));
    let (_, via) = request.fields.remove(last);
    assert!(via.ends_with(b" gatewright"), "{}", via.escape_ascii());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cases() {
        let text =
            "# no\n== one\n> GET / HTTP/1.1\\\n>\n= 200\n< GET /\n<\n< a\\x20\n= 400 closed partly\n\n== two\n>end\n";
        let cases = cases(text);
        assert_eq!(cases[0].says, ["> GET / HTTP/1.1\\", ">"]);
        assert_eq!(cases[0].outcomes[0].seen.as_deref(), Some(&b"GET /\n\na "[..]));
        assert!(cases[0].outcomes[1].partly && cases[0].outcomes[1].answer == "400 closed");
        assert_eq!(cases[0].outcomes[0].text(), "= 200\n< GET /\n<\n< a\\x20\n");
        assert_eq!(cases[1].says, [">end"]);
    }

    #[test]
    fn escapes_are_bytes() {
        assert_eq!(bytes("a\\r\\n\\x00\\\\\\{3*ab}\\t"), b"a\r\n\0\\ababab\t");
    }
}
