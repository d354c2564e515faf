//! The bytes of a case's lines.

use crate::corpus::bytes;
use crate::frames::{END_HEADERS, END_STREAM, fields, frame, kind};

/// The bytes that a client of HTTP/1 says, and whether they are the last.
///
/// # Panics
/// A line is none.
#[must_use]
pub fn http1(lines: &[String]) -> (Vec<u8>, bool) {
    let mut said = Vec::new();
    let mut finished = false;
    for line in lines {
        if line == ">end" {
            finished = true;
            continue;
        }
        let line = line.strip_prefix('>').unwrap();
        let line = line.strip_prefix(' ').unwrap_or(line);
        match line.strip_suffix('\\').filter(|line| !line.ends_with('\\')) {
            Some(line) => said.extend(bytes(line)),
            None => said.extend([bytes(line), b"\r\n".to_vec()].concat()),
        }
    }
    (said, finished)
}

/// The bytes of frames of HTTP/2, without the preface.
///
/// # Panics
/// A line is none.
#[must_use]
pub fn http2(lines: &[String]) -> Vec<u8> {
    let mut said = Vec::new();
    let mut lines = lines.iter().peekable();
    while let Some(line) = lines.next() {
        let words: Vec<&str> = line.strip_prefix("> ").unwrap_or_else(|| panic!("{line}")).split(' ').collect();
        let mut payload = Vec::new();
        let is_block = matches!(words[0], "headers" | "continuation");
        while let Some(more) = lines.next_if(|line| line.starts_with('+')) {
            payload.extend(match (is_block, more.strip_prefix("+ ")) {
                (true, Some(text)) => field(text),
                (false, Some(text)) => bytes(text),
                (_, None) => bytes(more.strip_prefix("+# ").unwrap_or_else(|| panic!("{more}"))),
            });
        }
        let number = |at: usize| words[at].parse::<u32>().unwrap_or_else(|fault| panic!("{line}: {fault}"));
        let flag = |word: &str, flag: u8| if words[1..].contains(&word) { flag } else { 0 };
        let (end, whole) = (flag("end", END_STREAM), END_HEADERS ^ flag("open", END_HEADERS));
        said.extend(match words[0] {
            "headers" => frame(kind::HEADERS, whole | end, number(1), &payload),
            "continuation" => frame(kind::CONTINUATION, whole, number(1), &payload),
            "data" => frame(kind::DATA, end, number(1), &payload),
            "frame" => frame(number(1).try_into().unwrap(), number(2).try_into().unwrap(), number(3), &payload),
            "bytes" => payload,
            other => panic!("{other}"),
        });
    }
    said
}

/// One line of fields: four pseudo-fields, or a name and a value.
///
/// # Panics
/// It is neither.
#[must_use]
pub fn field(text: &str) -> Vec<u8> {
    if let Some(line) = text.strip_prefix('@') {
        let (method, path) = line.split_once(' ').unwrap();
        let path = bytes(path);
        let pairs = [(":method", method), (":scheme", "http"), (":authority", "shop.example")];
        return [fields(pairs), fields([(":path", path)])].concat();
    }
    let at = text.get(1..).and_then(|rest| rest.find(": ")).map_or(0, |at| at + 1);
    let (name, value) = text.split_at(at);
    fields([(bytes(name), bytes(&value[2..]))])
}
