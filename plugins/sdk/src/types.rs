//! Shorter ways to make and read the contract's records.

use crate::{Caller, Decision, Edits, Grant, Refusal, Request, Slot, Target, Violation};

/// The answer that ends a request: `status` 300 to 599, and what is wrong in general, the same for every request.
#[must_use]
pub fn refuse(status: u16, title: impl Into<String>) -> Refusal {
    Refusal { status, title: title.into(), detail: None, problem: None, headers: Vec::new(), violations: Vec::new() }
}

impl Refusal {
    /// Says what is wrong with this request. Clients read it.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Names the kind of problem by an absolute URI.
    #[must_use]
    pub fn with_problem(mut self, problem: impl Into<String>) -> Self {
        self.problem = Some(problem.into());
        self
    }

    /// Adds a field to the answer.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds one fault: the part (`body`, `path`, `query`, `header` or `cookie`), where in it, and what is wrong there.
    #[must_use]
    pub fn with_violation(
        mut self,
        part: impl Into<String>,
        at: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        self.violations.push(Violation { part: part.into(), at: at.into(), message: message.into() });
        self
    }
}

impl Request {
    /// The value of a declared input; `None` where the request has no such part.
    #[must_use]
    pub fn value(&self, slot: Slot) -> Option<&str> {
        self.values.get(usize::try_from(slot).ok()?)?.as_deref()
    }
}

impl Grant {
    /// A grant to this subject, which must not be empty, with nothing else in it.
    #[must_use]
    pub fn to(subject: impl Into<String>) -> Self {
        let caller = Caller { subject: subject.into(), plan: None, scopes: Vec::new(), attributes: Vec::new() };
        Self { caller, conceal: Vec::new(), headers: Vec::new() }
    }

    /// Keeps this credential from all later stages and the service.
    #[must_use]
    pub fn conceal(mut self, slot: Slot) -> Self {
        self.conceal.push(slot);
        self
    }

    /// Sets a field for the service; its name must have been declared with `identity::header`.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl Default for Edits {
    /// No changes.
    fn default() -> Self {
        Self { remove: Vec::new(), set: Vec::new(), add: Vec::new() }
    }
}

impl Target {
    /// This service, asked for the path that the client sent.
    #[must_use]
    pub fn to(service: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            shares: Vec::new(),
            path: None,
            request: None,
            response: None,
            affinity: None,
            timeout_ms: None,
        }
    }
}

impl From<Target> for Decision {
    fn from(target: Target) -> Self {
        Self::Forward(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_was_never_declared_has_no_value() {
        let request = Request { values: vec![Some("a".into()), None], body: None, all_headers: None };
        assert_eq!(request.value(0), Some("a"));
        assert_eq!(request.value(1), None);
        assert_eq!(request.value(2), None);
        assert_eq!(request.value(u32::MAX), None);
    }

    #[test]
    fn a_refusal_collects_what_it_is_given() {
        let refusal = refuse(400, "Not valid")
            .with_detail("two faults")
            .with_problem("urn:problem")
            .with_header("retry-after", "1")
            .with_violation("query", "page", "must be a number");
        assert_eq!((refusal.status, refusal.title.as_str()), (400, "Not valid"));
        assert_eq!(refusal.detail.as_deref(), Some("two faults"));
        assert_eq!(refusal.problem.as_deref(), Some("urn:problem"));
        assert_eq!(refusal.headers, [("retry-after".to_string(), "1".to_string())]);
        assert_eq!(refusal.violations.first().map(|violation| violation.at.as_str()), Some("page"));
    }
}
