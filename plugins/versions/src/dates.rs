//! Moments: RFC 3339 in settings, HTTP dates (RFC 9110, section 5.6.7) in answers.

use serde::Deserialize;

/// A moment of the civil calendar.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
pub struct Moment {
    /// Seconds since 1970; never before.
    seconds: i64,
}

/// A text that is no moment.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAMoment(String);

impl std::fmt::Display for NotAMoment {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "`{}` is neither a date such as 2026-12-31 nor a moment such as 2026-12-31T23:59:59Z", self.0)
    }
}

const DAY: i64 = 86_400;

impl Moment {
    /// A date (its first second, UTC) or a date and time with `Z` or an offset; no fractions.
    ///
    /// # Errors
    /// Anything else, and what is before 1970 or after 9999.
    pub fn parse(text: &str) -> Result<Self, NotAMoment> {
        let seconds = parse(text).filter(|seconds| *seconds >= 0);
        seconds.map(|seconds| Self { seconds }).ok_or_else(|| NotAMoment(text.to_string()))
    }

    /// Milliseconds since 1970.
    #[allow(clippy::cast_precision_loss, reason = "the year 9999 is far below 2^53 ms")]
    pub fn milliseconds(self) -> f64 {
        (self.seconds * 1000) as f64
    }

    /// A structured-field date: `@1798761600` (RFC 9651, section 3.3.7).
    pub fn structured(self) -> String {
        format!("@{}", self.seconds)
    }

    /// An HTTP date: `Fri, 01 Jan 2027 00:00:00 GMT`.
    pub fn http_date(self) -> String {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (days, second) = (self.seconds.div_euclid(DAY), self.seconds.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let name = |names: &[&'static str], index: i64| {
            usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
        };
        format!(
            "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
            name(&DAYS, days.rem_euclid(7)),
            name(&MONTHS, month - 1),
            second / 3600,
            second / 60 % 60,
            second % 60,
        )
    }
}

impl TryFrom<String> for Moment {
    type Error = NotAMoment;

    fn try_from(text: String) -> Result<Self, NotAMoment> {
        Self::parse(&text)
    }
}

/// Seconds since 1970.
fn parse(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let days = days(year, month, day);
    // A day that its month does not have comes back as another one.
    if civil(days) != (year, month, day) {
        return None;
    }
    let Some(time) = time else { return Some(days * DAY) };
    let (clock, offset) = match time.strip_suffix(['Z', 'z']) {
        Some(clock) => (clock, 0),
        None => {
            let at = time.rfind(['+', '-'])?;
            let [hours, minutes] = numbers(time.get(at + 1..)?, ':', [2, 2])?;
            let offset = (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60)?;
            (time.get(..at)?, if time.get(at..)?.starts_with('-') { -offset } else { offset })
        }
    };
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    (hour < 24 && minute < 60 && second < 60).then_some(days * DAY + hour * 3600 + minute * 60 + second - offset)
}

/// Numbers of exactly these many digits with `between` between them.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part =
            parts.next().filter(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Days since 1970 of a date of the Gregorian calendar, by Howard Hinnant's `days_from_civil`: years begin in March, so that
/// the leap day is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a day since 1970: the way back.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * from_march + 2) / 5 + 1, (from_march + 2) % 12 + 1);
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moment(text: &str) -> Moment {
        Moment::parse(text).expect("a moment")
    }

    #[test]
    fn moments_are_written_as_their_fields_want_them() {
        let sunset = moment("2026-12-31T23:59:59Z");
        assert_eq!(sunset.structured(), "@1798761599");
        assert_eq!(sunset.http_date(), "Thu, 31 Dec 2026 23:59:59 GMT");
        assert_eq!(sunset.milliseconds(), 1_798_761_599_000.0);
        assert_eq!(moment("1994-11-06T08:49:37Z").http_date(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(moment("2024-02-29").http_date(), "Thu, 29 Feb 2024 00:00:00 GMT");
    }

    #[test]
    fn offsets_count() {
        assert_eq!(moment("2027-01-01T01:30:00+01:30"), moment("2027-01-01"));
        assert_eq!(moment("2026-12-31T19:00:00-05:00"), moment("2027-01-01"));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in ["", "2026", "2026-13-01", "2026-02-29", "2026-1-1", "2026-01-01T00:00:00", "2026-01-01T24:00:00Z"]
        {
            assert!(Moment::parse(text).is_err(), "{text}");
        }
        for text in ["1969-12-31", "2026-00-10", "2026-01-01T00:00Z", "2026-01-01T00:00:00+1:00", "+026-01-01"] {
            assert!(Moment::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,30}") {
            let _ = Moment::parse(&text);
        }

        #[test]
        fn days_and_dates_go_back_and_forth(day in 0..2_932_896_i64) {
            let (year, month, of_month) = civil(day);
            prop_assert_eq!(days(year, month, of_month), day);
            let written = format!("{year:04}-{month:02}-{of_month:02}");
            prop_assert_eq!(moment(&written).seconds, day * DAY);
        }
    }
}
