//! Ways in which a request fails at an endpoint, as `retry.on` and `ejection.on` name them.

use serde_json::json;

use crate::config::kinds::Parsed;
use crate::config::texts;

/// How a request failed at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// No connection came about; for a further try also where nothing was sent on it.
    Connect,
    /// The connection broke off.
    Reset,
    /// No response began in time; for an ejection also where its body paused for too long.
    Timeout,
    /// A response of a status from the first to the last.
    Status(u16, u16),
}

impl FailureKind {
    /// Whether it is this status.
    #[must_use]
    pub fn is_status(self, status: u16) -> bool {
        matches!(self, Self::Status(first, last) if (first..=last).contains(&status))
    }
}

/// One of them as a text.
pub(super) const KIND: Parsed<FailureKind> = Parsed {
    what: "`connect`, `reset`, `timeout` or statuses like `502-504`",
    parse: kind,
    show: |kind| match kind {
        FailureKind::Connect => json!("connect"),
        FailureKind::Reset => json!("reset"),
        FailureKind::Timeout => json!("timeout"),
        FailureKind::Status(first, last) => json!(format!("{first}-{last}")),
    },
};

fn kind(text: &str) -> Result<FailureKind, String> {
    match text {
        "connect" => Ok(FailureKind::Connect),
        "reset" => Ok(FailureKind::Reset),
        "timeout" => Ok(FailureKind::Timeout),
        _ => match texts::statuses(text) {
            Ok((first, last)) => Ok(FailureKind::Status(first, last)),
            Err(_) => Err("not `connect`, `reset`, `timeout` or statuses like `502-504`".into()),
        },
    }
}
