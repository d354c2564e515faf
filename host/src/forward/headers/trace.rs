//! One trace through all that a request passes (W3C Trace Context, <https://www.w3.org/TR/trace-context/>).

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::trust::one;
use crate::config;

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `00-TRACE-PARENT-FLAGS`, with 32, 16 and 2 lower-case hexadecimal digits.
const BYTES: usize = 55;
/// The flags of a trace that begins here: recorded, as it is in the access log. Services that do as their caller does
/// then record what they would record without a gateway before them.
const RECORDED: u8 = 0x01;
/// Flags that have a meaning, recorded and random; others must go on as zero.
const KNOWN: u8 = 0x03;

/// Where a request is in its trace, as its service is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    parent: [u8; BYTES],
    /// Whether the client's `tracestate` belongs to it.
    continued: bool,
}

impl Trace {
    /// The trace of a request: the client's where it says so in one `traceparent` that can be read, else one that begins
    /// here, by the name of the request's id where that has the form. The gateway is a hop of it in either case.
    pub fn of(
        headers: &HeaderMap,
        setting: config::Trace,
        id: &HeaderValue,
        mut random: impl FnMut() -> u64,
    ) -> Option<Self> {
        let sent = match setting {
            config::Trace::Off => return None,
            config::Trace::Begin => None,
            config::Trace::Continue => one(headers, &TRACEPARENT).and_then(|sent| parse(sent.as_bytes())),
        };
        let hop = hex(random().max(1));
        if let Some((trace, flags)) = sent {
            return Some(Self::new(trace, &hop, flags, true));
        }
        let own = id.as_bytes().as_array().filter(|id| is_id(*id));
        Some(match own {
            Some(trace) => Self::new(trace, &hop, RECORDED, false),
            None => Self::new(&join(hex(random().max(1)), hex(random())), &hop, RECORDED, false),
        })
    }

    fn new(trace: &[u8; 32], hop: &[u8; 16], flags: u8, continued: bool) -> Self {
        let mut parent = *b"00-................................-................-00";
        let flags = hex(flags.into());
        let (parts, last) = ([(3, &trace[..]), (36, &hop[..])], flags.last_chunk::<2>());
        for (start, digits) in parts.into_iter().chain(last.map(|last| (53, &last[..]))) {
            if let Some(place) = parent.get_mut(start..start + digits.len()) {
                place.copy_from_slice(digits);
            }
        }
        Self { parent, continued }
    }

    /// The trace's id: 32 hexadecimal digits.
    pub fn id(&self) -> &[u8] {
        self.parent.get(3..35).unwrap_or_default()
    }

    /// Writes it into a request, and drops the `tracestate` of another trace.
    pub(super) fn set(&self, headers: &mut HeaderMap) {
        if !self.continued {
            headers.remove(&TRACESTATE);
        }
        if let Ok(parent) = HeaderValue::from_bytes(&self.parent) {
            headers.insert(&TRACEPARENT, parent);
        }
    }
}

/// Reads trace and flags. A version of the future is read as far as its form is that of version 00.
fn parse(value: &[u8]) -> Option<(&[u8; 32], u8)> {
    let (version, rest) = value.split_first_chunk::<2>()?;
    let (trace, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<32>()?;
    let (parent, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<16>()?;
    let (flags, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<2>()?;
    let (version, flags) = (number(version)?, number(flags)?);
    let (fits, known) = match version {
        0 => (rest.is_empty(), KNOWN),
        0xff => (false, 0),
        _ => (rest.is_empty() || rest.starts_with(b"-"), RECORDED),
    };
    (fits && is_id(trace) && is_id(parent)).then_some((trace, flags & known))
}

fn number(digits: &[u8; 2]) -> Option<u8> {
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | digit_of(*digit)?))
}

fn digit_of(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Whether these are lower-case hexadecimal digits, and not all zero.
fn is_id(digits: &[u8]) -> bool {
    // All are looked at in any case: that makes it a few instructions.
    let digits_only = digits.iter().fold(true, |so_far, digit| so_far & matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    digits_only && digits.iter().any(|digit| *digit != b'0')
}

/// The 16 lower-case hexadecimal digits of a number.
pub fn hex(number: u64) -> [u8; 16] {
    let digits = u128::from(eight(number >> 32)) << 64 | u128::from(eight(number & 0xffff_ffff));
    digits.to_be_bytes()
}

/// The digits of a number of 32 bits, all eight at once: each request has some made.
fn eight(number: u64) -> u64 {
    let digits = (number | number << 16) & 0x0000_ffff_0000_ffff;
    let digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
    let digits = (digits | digits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (digits + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    digits + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - 10 - b'0')
}

/// The digits of both numbers.
pub fn join(high: [u8; 16], low: [u8; 16]) -> [u8; 32] {
    let mut digits = [0; 32];
    let (first, second) = digits.split_at_mut(16);
    first.copy_from_slice(&high);
    second.copy_from_slice(&low);
    digits
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says so by failing")]

    use proptest::prelude::*;

    use super::*;

    const SENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const FRESH: HeaderValue = HeaderValue::from_static("0123456789abcdef0123456789abcdef");

    /// What a service gets of what a client sent.
    fn passed(setting: config::Trace, fields: &[(&'static str, &str)]) -> Vec<String> {
        let fields = fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let mut headers: HeaderMap = fields.collect();
        if let Some(trace) = Trace::of(&headers, setting, &FRESH, || 0xc0ffee) {
            trace.set(&mut headers);
        }
        let mut told: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        told.sort();
        told
    }

    fn continued(sent: &str) -> Option<String> {
        let passed = passed(config::Trace::Continue, &[("traceparent", sent), ("tracestate", "a=1")]);
        match passed.as_slice() {
            [parent, _] => Some(parent.replace("traceparent: ", "")),
            [parent] => {
                assert_eq!(parent, "traceparent: 00-0123456789abcdef0123456789abcdef-0000000000c0ffee-01", "{sent}");
                None
            }
            _ => panic!("{passed:?}"),
        }
    }

    #[test]
    fn a_trace_goes_on_with_its_flags_and_a_new_parent() {
        let sent = |flags: &str| continued(&format!("{}{flags}", &SENT[..53]));
        let goes_on = |flags: &str| Some(format!("00-0af7651916cd43dd8448eb211c80319c-0000000000c0ffee-{flags}"));
        assert_eq!(sent("00"), goes_on("00"));
        assert_eq!(sent("01"), goes_on("01"));
        assert_eq!(sent("03"), goes_on("03"));
        // Flags without a meaning must be zero.
        assert_eq!(sent("fc"), goes_on("00"));
    }

    #[test]
    fn a_version_of_the_future_is_read_as_ours() {
        for more in ["", "-", "-anything"] {
            let sent = format!("cc{}{more}", &SENT[2..]);
            assert_eq!(continued(&sent).unwrap(), "00-0af7651916cd43dd8448eb211c80319c-0000000000c0ffee-01", "{sent}");
        }
        assert_eq!(continued(&format!("cc{}.x", &SENT[2..])), None);
    }

    #[test]
    fn what_cannot_be_read_begins_anew_and_its_state_is_dropped() {
        for sent in [
            String::new(),
            "00".into(),
            SENT.to_uppercase(),
            SENT[..54].into(),
            format!("{SENT}-"),
            format!("{SENT}-01"),
            format!("{SENT} "),
            format!("ff{}", &SENT[2..]),
            format!("0x{}", &SENT[2..]),
            SENT.replace('-', "_"),
            SENT.replace("b7ad6b7169203331", "0000000000000000"),
            SENT.replace("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
            SENT.replace("0af7", "0ag7"),
            SENT.replace("b7ad", "B7ad"),
            format!("{}0.", &SENT[..53]),
        ] {
            assert_eq!(continued(&sent), None, "{sent}");
        }
        let twice = passed(config::Trace::Continue, &[("traceparent", SENT), ("traceparent", SENT)]);
        assert!(twice[0].contains("0123456789abcdef0123456789abcdef"), "{twice:?}");
        assert_eq!(passed(config::Trace::Continue, &[("tracestate", "a=1")]).len(), 1);
    }

    #[test]
    fn a_gateway_may_begin_all_traces_or_keep_out_of_them() {
        let sent = [("traceparent", SENT), ("tracestate", "a=1")];
        let begun = passed(config::Trace::Begin, &sent);
        assert_eq!(begun, ["traceparent: 00-0123456789abcdef0123456789abcdef-0000000000c0ffee-01"]);
        assert_eq!(passed(config::Trace::Off, &sent), [format!("traceparent: {SENT}"), "tracestate: a=1".into()]);
        assert!(passed(config::Trace::Off, &[]).is_empty());
    }

    #[test]
    fn an_id_of_another_form_names_no_trace() {
        for id in ["req-1", "00000000000000000000000000000000", "0123456789ABCDEF0123456789abcdef"] {
            let mut numbers = 1..;
            let trace =
                Trace::of(&HeaderMap::new(), config::Trace::Continue, &id.parse().unwrap(), || numbers.next().unwrap());
            assert_eq!(trace.unwrap().id(), b"00000000000000020000000000000003", "{id}");
        }
        let none = Trace::of(&HeaderMap::new(), config::Trace::Begin, &HeaderValue::from_static("x"), || 0).unwrap();
        assert!(parse(&none.parent).is_some(), "zeros are no id");
    }

    proptest! {
        #[test]
        fn digits_are_those_that_rust_writes(number: u64) {
            prop_assert_eq!(hex(number).to_vec(), format!("{number:016x}").into_bytes());
        }

        #[test]
        fn whatever_is_sent_what_goes_on_can_be_read(sent in "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.{0,3})?|[ -~]{0,60}", drawn: u64) {
            let Ok(sent) = HeaderValue::from_bytes(sent.as_bytes()) else { return Ok(()) };
            let headers = HeaderMap::from_iter([(TRACEPARENT.clone(), sent.clone())]);
            let trace = Trace::of(&headers, config::Trace::Continue, &FRESH, || drawn).unwrap();
            let (id, _) = parse(&trace.parent).unwrap();
            prop_assert_eq!(id.as_slice(), trace.id());
            prop_assert_eq!(trace.continued, parse(sent.as_bytes()).is_some());
        }
    }
}
