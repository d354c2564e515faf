//! What a plugin answers: it is refused, or becomes an answer that has one meaning.
//!
//! ```text
//! 403 a title              a status and a title
//! x-reason: none           the fields of its answer
//!                          what follows an empty line is a detail
//! ```

use gatewright::plugin::Stage;
use gatewright::plugin::verdict::{Rejection, Violation, fields, status};
use gatewright::refusal::{Refusal, Rejected};
use http::{HeaderValue, StatusCode};
use serde_json::Value;

use super::lines;

/// Tries bytes as a refusal.
///
/// # Panics
/// Something does not hold.
pub fn hold(bytes: &[u8]) {
    let mut lines = lines(bytes);
    let first = lines.next().unwrap_or_default();
    let (code, title) = first.split_once(' ').unwrap_or_default();
    let Ok(code) = code.parse() else { return };
    let named = |line: String| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    let list: Vec<_> = lines.by_ref().map_while(named).collect();
    let detail = lines.next();
    let (Ok(status), Ok(headers)) = (status(code, 300), fields(list.clone())) else { return };
    assert!((300..=599).contains(&status.as_u16()));
    for ((name, value), (sent, kept)) in list.iter().zip(&headers) {
        assert!(name.eq_ignore_ascii_case(sent.as_str()) && value.as_bytes() == kept.as_bytes());
    }
    let violation = Violation { part: "body".into(), at: title.into(), message: first.clone() };
    let (title, problem) = (title.to_owned(), detail.clone());
    let rejection = Rejection { status, title, detail, problem, headers, violations: vec![violation] };
    let id = HeaderValue::from_static("an-id");
    let answer = Refusal::Rejected(Stage::Validation, Rejected::new(&rejection, &id, &[])).answer(&id);
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers().get_all("x-request-id").iter().count(), 1);
    for (name, value) in answer.headers() {
        let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        assert!(value.as_bytes().iter().all(is_text), "{name}: {value:?}");
        assert!(!["content-length", "transfer-encoding", "connection", "upgrade"].contains(&name.as_str()), "{name}");
    }
    if status.is_redirection() || status == StatusCode::NO_CONTENT {
        return assert!(answer.body().is_empty());
    }
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let body: Value = serde_json::from_slice(answer.body()).expect("a problem document");
    assert_eq!((&body["status"], &body["title"]), (&Value::from(status.as_u16()), &Value::from(rejection.title)));
    assert_eq!(body["violations"][0]["message"], first);
    assert_eq!(body.get("detail").and_then(Value::as_str), rejection.detail.as_deref());
}
