//! The faults of one request, bounded in number and length: a refusal must fit into what the host takes.

use gatewright_plugin::{Refusal, Violation, refuse};

/// More than this nobody reads; a hostile body could have thousands.
const MOST: usize = 50;

/// The most bytes of one message or pointer. Names and pointers come from the client.
const MOST_BYTES: usize = 256;

/// Faults, found so far.
#[derive(Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Adds one fault, unless there are enough.
    pub fn add(&mut self, part: &str, at: &str, message: &str) {
        if !self.are_enough() {
            self.0.push(Violation { part: part.to_string(), at: cut(at), message: cut(message) });
        }
    }

    /// Whether it is no use to look for more.
    pub fn are_enough(&self) -> bool {
        self.0.len() >= MOST
    }

    /// Good where there are none.
    ///
    /// # Errors
    /// 400 with all of them.
    pub fn verdict(self) -> Result<(), Refusal> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Refusal { violations: self.0, ..refuse(400, "The request is not valid") })
    }
}

fn cut(text: &str) -> String {
    if text.len() <= MOST_BYTES {
        return text.to_string();
    }
    let start = text.get(..text.floor_char_boundary(MOST_BYTES)).unwrap_or_default();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_bounded_in_number_and_length() {
        let mut violations = Violations::default();
        (0..1000).for_each(|_| violations.add("body", &"\u{e9}".repeat(5000), &"x".repeat(5000)));
        let refusal = violations.verdict().expect_err("faults");
        assert_eq!((refusal.status, refusal.violations.len()), (400, MOST));
        let bytes: usize = refusal.violations.iter().map(|fault| fault.at.len() + fault.message.len()).sum();
        assert!(bytes <= MOST * 2 * (MOST_BYTES + "…".len()));
    }

    #[test]
    fn no_fault_is_a_good_verdict() {
        assert_eq!(Violations::default().verdict(), Ok(()));
    }
}
