//! What a command prints: lines, and rows of a label and a value below them.

use std::fmt::Write as _;
use std::time::Duration;

use crate::plugin::Input;

/// Where values begin.
const COLUMN: usize = 14;
/// Between the columns of a table.
const GAP: usize = 2;

/// Text for a person at a terminal.
#[derive(Debug, Default)]
pub(super) struct Report(String);

impl Report {
    /// A line without a label.
    pub(super) fn line(&mut self, text: &str) {
        let _ = writeln!(self.0, "{}", plain(text));
    }

    /// A value under its label; each further line of it stands below the first. No row where it is empty.
    pub(super) fn row(&mut self, label: &str, value: impl AsRef<str>) {
        let mut label = format!("  {label}");
        for line in value.as_ref().lines() {
            let row = format!("{label:COLUMN$}{}", plain(line));
            let _ = writeln!(self.0, "{}", row.trim_end());
            label.clear();
        }
    }

    /// Values with a comma between.
    pub(super) fn list(&mut self, label: &str, values: impl IntoIterator<Item = impl AsRef<str>>) {
        let values: Vec<String> = values.into_iter().map(|value| value.as_ref().to_owned()).collect();
        self.row(label, values.join(", "));
    }

    /// Rows of cells, each column as wide as its widest cell that is not longer than `most` characters.
    pub(super) fn table(&mut self, rows: &[Vec<String>], most: usize) {
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
        let length = |cell: &String| cell.chars().count();
        let mut widths: Vec<usize> = vec![COLUMN - GAP - 2];
        for row in &rows {
            widths.resize(widths.len().max(row.len()), 0);
            let cells = row.iter().map(length).zip(&mut widths).filter(|(length, _)| *length <= most);
            cells.for_each(|(length, width)| *width = length.max(*width));
        }
        for row in &rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}{:GAP$}", ""));
            let line = cells.fold("  ".to_owned(), |line, cell| line + &cell);
            let _ = writeln!(self.0, "{}", line.trim_end());
        }
    }

    /// A text of our own as it is.
    pub(super) fn verbatim(&mut self, text: &str) {
        self.0.push_str(text);
    }

    /// All of another one.
    pub(super) fn append(&mut self, other: &Self) {
        self.0.push_str(&other.0);
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

/// Without what would move a terminal's cursor: the text may be a plugin's.
fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut plain, character| {
        match character.is_control() {
            true => plain.extend(character.escape_default()),
            false => plain.push(character),
        }
        plain
    })
}

/// A size in the unit that fits.
pub(super) fn bytes(count: usize) -> String {
    match count {
        ..1024 => format!("{count} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}

/// A duration in the unit that fits.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match time.as_micros() {
        ..1_000 => format!("{:.1} µs", seconds * 1e6),
        1_000..1_000_000 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{seconds:.1} s"),
    }
}

/// A declared input in the contract's words.
pub(super) fn input(input: &Input) -> String {
    match input {
        Input::Method => "method".into(),
        Input::Scheme => "scheme".into(),
        Input::Authority => "authority".into(),
        Input::Path => "path".into(),
        Input::Query => "query".into(),
        Input::QueryParameter(name) => format!("query parameter `{name}`"),
        Input::Header(name) => format!("header `{name}`"),
        Input::Cookie(name) => format!("cookie `{name}`"),
        Input::ClientAddress => "client address".into(),
        Input::ClientCertificateSubject => "client certificate's subject".into(),
        Input::ClientCertificateFingerprint => "client certificate's fingerprint".into(),
        Input::CallerSubject => "caller subject".into(),
        Input::CallerPlan => "caller plan".into(),
        Input::CallerScopes => "caller scopes".into(),
        Input::CallerAttribute(name) => format!("caller attribute `{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_one_column_and_move_no_cursor() {
        let mut report = Report::default();
        report.line("a\u{1b}[2J");
        report.row("label", "one\ntwo");
        report.list("none", [""; 0]);
        assert_eq!(report.text(), "a\\u{1b}[2J\n  label       one\n              two\n");
    }

    #[test]
    fn sizes_and_times_have_a_unit_that_fits() {
        assert_eq!(bytes(1023), "1023 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(64 << 20), "64.0 MiB");
        assert_eq!(time(Duration::from_nanos(1_500)), "1.5 µs");
        assert_eq!(time(Duration::from_micros(2_500)), "2.5 ms");
        assert_eq!(time(Duration::from_millis(1_200)), "1.2 s");
    }
}
