//! `Retry-After`: seconds, or a date.

use std::time::Duration;

use chrono::DateTime;

/// How long to wait. A date is measured by the answer's own `Date`, since the two machines' clocks may differ; `now`, in seconds since the
/// epoch, counts only if there is none. A date that has passed means no wait; what cannot be read is `None`.
#[must_use]
pub fn parse(value: &[u8], date: Option<&[u8]>, now: i64) -> Option<Duration> {
    let value = std::str::from_utf8(value).ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits without end are a very long wait, not nonsense.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let until = seconds(value)?;
    let now = date
        .and_then(|date| seconds(std::str::from_utf8(date).ok()?.trim()))
        .unwrap_or(now);
    Some(Duration::from_secs(
        u64::try_from(until.saturating_sub(now)).unwrap_or(0),
    ))
}

/// Of a date as HTTP has it: `Sun, 06 Nov 1994 08:49:37 GMT`. The two obsolete forms are seen no more and not read.
fn seconds(text: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc2822(text).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secs(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    #[test]
    fn seconds_are_taken_as_they_are() {
        assert_eq!(parse(b"120", None, 0), secs(120));
        assert_eq!(parse(b" 0 ", None, 0), secs(0));
        assert!(parse(&[b'9'; 40], None, 0).is_some());
    }

    #[test]
    fn a_date_is_measured_by_the_answers_own_date() {
        let until = b"Sun, 06 Nov 1994 08:50:37 GMT";
        assert_eq!(parse(until, Some(b"Sun, 06 Nov 1994 08:49:37 GMT"), 0), secs(60));
        assert_eq!(parse(until, None, 784_111_777), secs(60));
        assert_eq!(parse(until, Some(b"yesterday"), 784_111_777), secs(60));
    }

    #[test]
    fn a_date_in_the_past_means_no_wait() {
        let past = b"Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(parse(past, None, i64::MAX), secs(0));
    }

    #[test]
    fn nonsense_is_no_wait_at_all() {
        for value in [&b""[..], b"-1", b"1.5", b"soon", b"\xff", b"+3"] {
            assert_eq!(parse(value, None, 0), None, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(value in prop::collection::vec(any::<u8>(), 0..40), date in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)), now in any::<i64>()) {
            let _ = parse(&value, date.as_deref(), now);
        }
    }
}
