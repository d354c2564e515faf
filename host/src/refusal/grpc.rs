//! Refusals as gRPC clients read them: 200 with a status of gRPC's own in the head, and no body
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>, "Trailers-Only").

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::Refusal;

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The longest message, before it is encoded: clients take heads of 8 KiB.
const MESSAGE_BYTES: usize = 1024;

/// The content type of a request of gRPC, or of gRPC-Web, which reads the same answer; none: it is another request.
pub fn media_type(head: &Parts) -> Option<&HeaderValue> {
    let media_type = if head.method == Method::POST { head.headers.get(header::CONTENT_TYPE)? } else { return None };
    let (name, rest) = media_type.as_bytes().split_at_checked(GRPC.len())?;
    let ends = rest.is_empty() || rest.starts_with(b"+") || rest.starts_with(b";") || rest.starts_with(b"-web");
    (ends && name.eq_ignore_ascii_case(GRPC)).then_some(media_type)
}

const GRPC: &[u8] = b"application/grpc";

impl Refusal {
    /// The answer to a request of gRPC with this content type; all other fields of [`Refusal::answer`] are in it.
    #[must_use]
    pub fn grpc_answer(self, id: &HeaderValue, media_type: HeaderValue) -> Response<Bytes> {
        let message = encoded(&self.message());
        let mut response = self.answer(id).map(|_| Bytes::new());
        let code = code(response.status());
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, media_type);
        headers.insert(&GRPC_STATUS, code.into());
        if let Ok(message) = HeaderValue::try_from(message) {
            headers.insert(&GRPC_MESSAGE, message);
        }
        response
    }

    /// What a client is told, in one line.
    fn message(&self) -> String {
        match (self, self.detail()) {
            (Self::Rejected(_, rejected), _) => rejected.message.clone(),
            (_, Some(detail)) => format!("{}: {detail}", self.public().1),
            (_, None) => self.public().1.to_owned(),
        }
    }
}

/// The code of a status: what a client of gRPC would make of it by itself
/// (<https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>), but for 429 and 504, whose meaning is known
/// here: over a limit (`RESOURCE_EXHAUSTED`), and late (`DEADLINE_EXCEEDED`).
fn code(status: StatusCode) -> u16 {
    const UNKNOWN: u16 = 2;
    match status {
        StatusCode::BAD_REQUEST => 13,
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::NOT_FOUND => 12,
        StatusCode::TOO_MANY_REQUESTS => 8,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => 14,
        StatusCode::GATEWAY_TIMEOUT => 4,
        _ => UNKNOWN,
    }
}

/// A message as `grpc-message` has it: what is no printable ASCII is percent-encoded UTF-8.
fn encoded(message: &str) -> String {
    let message = message.get(..message.floor_char_boundary(MESSAGE_BYTES)).unwrap_or_default();
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => write!(encoded, "%{byte:02X}").expect("a string takes all text"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says so by failing")]

    use proptest::prelude::*;

    use super::*;

    fn is_grpc(method: &str, media_type: &str) -> bool {
        let request = http::Request::builder().method(method).header("content-type", media_type).body(()).unwrap();
        super::media_type(&request.into_parts().0).is_some()
    }

    #[test]
    fn requests_of_grpc_are_known_by_their_content_type() {
        for media_type in ["", "+proto", "+json", ";charset=utf-8", "-web", "-web+proto", "-web-text"] {
            assert!(is_grpc("POST", &format!("application/grpc{media_type}")), "{media_type}");
        }
        assert!(is_grpc("POST", "Application/gRPC"));
        assert!(!is_grpc("GET", "application/grpc"));
        for media_type in ["application/json", "application/grpcx", "application/grp", "text/application/grpc", ""] {
            assert!(!is_grpc("POST", media_type), "{media_type}");
        }
    }

    #[test]
    fn an_answer_has_all_that_another_client_would_get_but_the_body() {
        let refusal = Refusal::FailedTooOften { retry_after: 7 };
        let answer = refusal.grpc_answer(&HeaderValue::from_static("id"), HeaderValue::from_static("application/grpc"));
        assert_eq!((answer.status(), answer.body().len()), (StatusCode::OK, 0));
        for (name, value) in [
            ("content-type", "application/grpc"),
            ("grpc-status", "8"),
            ("grpc-message", "Too many failed authentications"),
            ("retry-after", "7"),
            ("x-request-id", "id"),
            ("proxy-status", "gatewright; error=http_request_denied"),
        ] {
            assert_eq!(answer.headers().get(name).unwrap(), value, "{name}");
        }
    }

    #[test]
    fn statuses_become_codes() {
        let codes = [400, 401, 403, 404, 413, 429, 500, 501, 502, 503, 504];
        let codes = codes.map(|status| code(StatusCode::from_u16(status).unwrap()));
        assert_eq!(codes, [13, 16, 7, 12, 2, 8, 2, 2, 14, 14, 4]);
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        let encoded = encoded(&format!("x{}", "\u{e9}".repeat(1000)));
        assert!(encoded.ends_with("%C3%A9") && encoded.len() == 1 + 511 * 6, "{}", encoded.len());
    }

    proptest! {
        #[test]
        fn any_message_is_a_value_and_comes_back(message in "\\PC{0,80}|[\\x00-\\x7f]{0,80}") {
            let encoded = encoded(&message);
            prop_assert!(HeaderValue::try_from(&encoded).is_ok() && encoded.is_ascii());
            let mut bytes = Vec::new();
            let mut rest = encoded.as_bytes();
            while let Some((first, tail)) = rest.split_first() {
                rest = match (first, tail.split_at_checked(2)) {
                    (b'%', Some((digits, after))) => {
                        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
                        after
                    }
                    _ => {
                        bytes.push(*first);
                        tail
                    }
                };
            }
            prop_assert_eq!(bytes, message.as_bytes());
        }
    }
}
