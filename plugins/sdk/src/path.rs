//! Patterns for request paths, as plugins' settings write them: `/orders/{id}`, `/files/{*rest}`.

use serde::Deserialize;
use std::cmp::Ordering;
use std::fmt;

/// A path pattern of whole segments. Each is a text, `{name}` for any one segment, or, at the end, `{*name}` for the rest,
/// which may be nothing: `/files/{*rest}` is also `/files`.
///
/// A slash at the end of a path makes no difference, nor do needless percent-escapes: what a service may take for the same
/// path is the same path here. Letters' case does count.
///
/// Patterns are ordered: the more exact one first, so that the first match of a sorted list is the best.
#[derive(Clone, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// Decoded.
    Text(String),
    One(String),
    Rest(String),
}

/// What is wrong with a pattern.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternFault {
    /// The first character.
    #[error("must start with `/`")]
    NoSlash,
    /// `//`, or a slash at the end.
    #[error("has an empty segment")]
    EmptySegment,
    /// `.` and `..` never reach a plugin.
    #[error("`.` and `..` are never part of a path here")]
    Dots,
    /// A query or a fragment.
    #[error("`{0}` is never part of a path")]
    NotInPaths(char),
    /// Text beside braces, or braces that do not close.
    #[error("`{0}` is neither a text nor `{{name}}` nor `{{*name}}` as a whole")]
    Braces(String),
    /// Something after `{*name}`.
    #[error("`{{*{0}}}` must be the last segment")]
    RestNotLast(String),
    /// Two captures of one name.
    #[error("`{0}` is named twice")]
    Twice(String),
    /// A broken percent-escape, or one that is no UTF-8.
    #[error("`{0}` has a broken percent-escape")]
    Escape(String),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PatternFault> {
        let inner = text.strip_prefix('/').ok_or(PatternFault::NoSlash)?;
        if let Some(wrong) = inner.chars().find(|character| matches!(character, '?' | '#')) {
            return Err(PatternFault::NotInPaths(wrong));
        }
        let mut segments: Vec<Segment> = Vec::new();
        for segment in inner.split('/').filter(|_| !inner.is_empty()) {
            if let Some(Segment::Rest(name)) = segments.last() {
                return Err(PatternFault::RestNotLast(name.clone()));
            }
            let segment = Segment::parse(segment)?;
            if let Some(name) = segment.name().filter(|name| segments.iter().any(|had| had.name() == Some(name))) {
                return Err(PatternFault::Twice(name.to_string()));
            }
            segments.push(segment);
        }
        Ok(Self { text: text.to_string(), segments })
    }

    /// Whether a path is meant. Allocates nothing for paths without percent-escapes.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.walk(path, |_, _| ())
    }

    /// The parts of a path that the braces stand for, in order; `None` where the path does not match.
    #[must_use]
    pub fn captures<'p>(&self, path: &'p str) -> Option<Vec<(&str, &'p str)>> {
        let mut captures = Vec::new();
        let matched = self.walk(path, |segment, part| captures.push((segment, part)));
        let named = |(segment, part): (usize, &'p str)| Some((self.segments.get(segment)?.name()?, part));
        matched.then(|| captures.into_iter().filter_map(named).collect())
    }

    /// The names in braces, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::name)
    }

    /// Whether both patterns mean the same paths, whatever their captures are called.
    #[must_use]
    pub fn same_paths(&self, other: &Self) -> bool {
        self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(|pair| match pair {
                (Segment::Text(one), Segment::Text(other)) => one == other,
                (one, other) => one.rank() == other.rank(),
            })
    }

    /// Goes along a path and tells `capture` the index of each segment in braces and what it stands for.
    fn walk<'p>(&self, path: &'p str, mut capture: impl FnMut(usize, &'p str)) -> bool {
        let mut left = trimmed(path);
        for (index, segment) in self.segments.iter().enumerate() {
            if let Segment::Rest(_) = segment {
                capture(index, left.unwrap_or_default());
                return true;
            }
            let Some(here) = left else { return false };
            if let Segment::Text(text) = segment {
                match behind(text, here) {
                    Some(rest) => left = rest,
                    None => return false,
                }
                continue;
            }
            let (part, rest) = first(here);
            if part.is_empty() {
                return false;
            }
            capture(index, part);
            left = rest;
        }
        left.is_none()
    }
}

/// What is between a path's first slash and a last one; `None` where that is nothing.
fn trimmed(path: &str) -> Option<&str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() { None } else { Some(path) }
}

/// The first segment, and what is behind its slash.
fn first(path: &str) -> (&str, Option<&str>) {
    path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)))
}

/// What is behind the first segment of a path where that is this decoded text; `None` where it is not. Most patterns are not
/// the one, so the first byte that differs ends it, unless an escape stands there or before.
fn behind<'p>(text: &str, path: &'p str) -> Option<Option<&'p str>> {
    let mut escaped = false;
    let differs = text.bytes().zip(path.bytes()).any(|(wanted, byte)| {
        escaped |= byte == b'%';
        wanted != byte
    });
    if !differs && !escaped {
        match path.as_bytes().get(text.len()) {
            None if path.len() == text.len() => return Some(None),
            Some(b'/') => return Some(path.get(text.len() + 1..)),
            Some(b'%') => {}
            _ => return None,
        }
    } else if !escaped {
        return None;
    }
    let (first, rest) = first(path);
    (decode(first)? == text).then_some(rest)
}

/// A segment without percent-escapes; `None` where it is broken or no UTF-8.
fn decode(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut left = part.bytes();
    while let Some(byte) = left.next() {
        bytes.push(if byte == b'%' { hex(left.next()?)? << 4 | hex(left.next()?)? } else { byte });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

impl Segment {
    fn parse(segment: &str) -> Result<Self, PatternFault> {
        match segment {
            "" => return Err(PatternFault::EmptySegment),
            "." | ".." => return Err(PatternFault::Dots),
            _ => {}
        }
        if !segment.contains(['{', '}']) {
            return decode(segment).map(Self::Text).ok_or_else(|| PatternFault::Escape(segment.to_string()));
        }
        let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let (make, name): (fn(String) -> Self, _) = match name.map(|name| name.strip_prefix('*').ok_or(name)) {
            Some(Ok(name)) => (Self::Rest, name),
            Some(Err(name)) => (Self::One, name),
            None => return Err(PatternFault::Braces(segment.to_string())),
        };
        let fits = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '-';
        if name.is_empty() || !name.chars().all(fits) {
            return Err(PatternFault::Braces(segment.to_string()));
        }
        Ok(make(name.to_string()))
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Text(_) => None,
            Self::One(name) | Self::Rest(name) => Some(name),
        }
    }

    /// The more exact, the less.
    fn rank(&self) -> u8 {
        match self {
            Self::Text(_) => 0,
            Self::One(_) => 1,
            Self::Rest(_) => 2,
        }
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> Ordering {
        // A pattern that has ended stands before a rest in the same place, and behind anything else.
        let ranks = |pattern: &Self| pattern.segments.iter().map(Segment::rank).chain([1, 2]).collect::<Vec<_>>();
        ranks(self).cmp(&ranks(other)).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternFault;

    fn try_from(text: String) -> Result<Self, PatternFault> {
        Self::parse(&text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.text)
    }
}

#[cfg(test)]
mod tests;
