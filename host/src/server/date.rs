//! The `date` of answers that hyper does not write.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// The date of now, written once a second.
#[derive(Default)]
pub(super) struct Date(RefCell<Option<(u64, HeaderValue)>>);

impl Date {
    /// As a field's value (RFC 9110, section 5.6.7). None where it cannot be written: then the answer has none.
    pub(super) fn value(&self, now: SystemTime) -> Option<HeaderValue> {
        let second = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let mut known = self.0.borrow_mut();
        if known.as_ref().is_none_or(|(of, _)| *of != second) {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            *known = Some((second, HeaderValue::try_from(text).ok()?));
        }
        known.as_ref().map(|(_, value)| value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_now() {
        let date = Date::default();
        let at = |milliseconds| date.value(UNIX_EPOCH + Duration::from_millis(milliseconds)).expect("a date");
        assert_eq!(at(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(784_111_777_999), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(784_111_778_000), "Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
