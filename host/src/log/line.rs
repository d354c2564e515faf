//! The parts of a line: fields of a JSON object, numbers and dates.

use std::io::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Adds fields to a JSON object that has one already. A key is written as it stands: `,"name":`.
pub(super) struct Fields<'a>(pub(super) &'a mut Vec<u8>);

impl Fields<'_> {
    /// Any text.
    pub(super) fn text(&mut self, key: &str, text: &[u8]) {
        self.0.extend_from_slice(key.as_bytes());
        self.0.push(b'"');
        escape(self.0, text);
        self.0.push(b'"');
    }

    /// Text that cannot hold anything to escape: names of ours, tokens (RFC 9110, section 5.6.2), addresses, ids.
    pub(super) fn plain(&mut self, key: &str, text: &[u8]) {
        self.0.extend_from_slice(key.as_bytes());
        self.0.push(b'"');
        self.0.extend_from_slice(text);
        self.0.push(b'"');
    }

    pub(super) fn number(&mut self, key: &str, number: u64) {
        self.0.extend_from_slice(key.as_bytes());
        decimal(self.0, number);
    }
}

/// Text as the inside of a JSON string; what is not UTF-8 becomes U+FFFD. Also keeps control characters off a terminal.
pub(super) fn escape(line: &mut Vec<u8>, text: &[u8]) {
    // Without an early end, so that it is done sixteen bytes at a time.
    let special = |byte: u8| !(0x20..0x7f).contains(&byte) | (byte == b'"') | (byte == b'\\');
    if !text.iter().fold(false, |any, byte| any | special(*byte)) {
        line.extend_from_slice(text);
        return;
    }
    for character in String::from_utf8_lossy(text).chars() {
        match character {
            '"' => line.extend_from_slice(b"\\\""),
            '\\' => line.extend_from_slice(b"\\\\"),
            character if character.is_control() => {
                let _ = write!(line, "\\u{:04x}", u32::from(character));
            }
            character => line.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

pub(super) fn decimal(line: &mut Vec<u8>, number: u64) {
    let mut buffer = itoa::Buffer::new();
    line.extend_from_slice(buffer.format(number).as_bytes());
}

pub(super) fn milliseconds(line: &mut Vec<u8>, microseconds: u128) {
    decimal(line, u64::try_from(microseconds / 1000).unwrap_or(u64::MAX));
    line.push(b'.');
    digits(line, u32::try_from(microseconds % 1000).unwrap_or(0), 3);
}

fn digits(line: &mut Vec<u8>, number: u32, count: u32) {
    for place in (0..count).rev() {
        let digit = number / 10_u32.pow(place) % 10;
        line.push(b'0' + u8::try_from(digit).unwrap_or(0));
    }
}

/// Dates moments without asking the system each time: what the wall clock said at one moment, and the second written last.
pub(super) struct Calendar {
    anchor: Instant,
    wall: Duration,
    second: u64,
    text: Vec<u8>,
}

impl Calendar {
    /// `wall` is what the wall clock says at `anchor`.
    pub(super) fn new(anchor: Instant, wall: SystemTime) -> Self {
        let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { anchor, wall, second: u64::MAX, text: Vec::new() }
    }

    /// RFC 3339 in UTC with milliseconds.
    pub(super) fn write(&mut self, line: &mut Vec<u8>, now: Instant) {
        let since = self.wall + now.saturating_duration_since(self.anchor);
        if since.as_secs() != self.second {
            self.second = since.as_secs();
            self.text.clear();
            date_and_time(&mut self.text, self.second);
        }
        line.extend_from_slice(&self.text);
        digits(line, since.subsec_millis(), 3);
        line.push(b'Z');
    }
}

/// `2026-01-31T23:59:59.`; the date is civil_from_days of Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
fn date_and_time(line: &mut Vec<u8>, since: u64) {
    let (days, seconds) = (since / 86_400, u32::try_from(since % 86_400).unwrap_or(0));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let part = |number: u64| u32::try_from(number).unwrap_or(0);
    digits(line, part(year), 4);
    for (separator, number) in [
        (b'-', part(month)),
        (b'-', part(day)),
        (b'T', seconds / 3600),
        (b':', seconds / 60 % 60),
        (b':', seconds % 60),
    ] {
        line.push(separator);
        digits(line, number, 2);
    }
    line.push(b'.');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        let now = Instant::now();
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_798_761_599, "2026-12-31T23:59:59.007Z"),
        ] {
            let mut line = Vec::new();
            let mut calendar = Calendar::new(now, UNIX_EPOCH + Duration::from_secs(seconds));
            calendar.write(&mut line, now + Duration::from_millis(7));
            assert_eq!(String::from_utf8(line).unwrap(), text);
        }
    }

    #[test]
    fn a_second_that_was_written_gives_way_to_the_next() {
        let now = Instant::now();
        let mut calendar = Calendar::new(now, UNIX_EPOCH + Duration::from_secs(59));
        let mut at = |milliseconds| {
            let mut line = Vec::new();
            calendar.write(&mut line, now + Duration::from_millis(milliseconds));
            String::from_utf8(line).unwrap()
        };
        assert_eq!(at(1), "1970-01-01T00:00:59.001Z");
        assert_eq!(at(999), "1970-01-01T00:00:59.999Z");
        assert_eq!(at(1000), "1970-01-01T00:01:00.000Z");
        assert_eq!(at(2), "1970-01-01T00:00:59.002Z");
    }

    #[test]
    fn hostile_text_stays_inside_its_string() {
        let mut line = b"{\"a\":1".to_vec();
        Fields(&mut line).text(",\"path\":", b"/a\"b\\c\x1b[31m\n\xff");
        line.push(b'}');
        let parsed: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(parsed["path"], "/a\"b\\c\u{1b}[31m\n\u{fffd}");
    }
}
