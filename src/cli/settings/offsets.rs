//! Where to start and to stop printing: kcat's `-o`, a group's `--from`, and times as RFC 3339 or relative to now. Pure.

use crate::group::driver::StartFrom;

/// Where to start in each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record.
    Beginning,
    /// Behind the newest record.
    End,
    /// At this offset.
    Offset(i64),
    /// At the newest so many records.
    Last(i64),
    /// At the first record whose timestamp is not earlier, in milliseconds since the epoch.
    Time(i64),
}

/// Reads `--from`.
///
/// # Errors
/// What would be right.
pub(crate) fn from(text: &str, now_millis: i64) -> Result<StartFrom, String> {
    match text {
        "beginning" | "earliest" | "smallest" => return Ok(StartFrom::Earliest),
        "end" | "latest" | "largest" => return Ok(StartFrom::Latest),
        _ => {}
    }
    if let Some(group) = text.strip_prefix("kafka-group:") {
        return if group.is_empty() {
            Err("names no group: kafka-group:NAME".to_owned())
        } else {
            Ok(StartFrom::KafkaGroup(group.to_owned()))
        };
    }
    let found = match text.strip_prefix("s@").or_else(|| text.strip_prefix('@')) {
        Some(at) => time(at, now_millis),
        None => relative(text, now_millis).or_else(|| rfc3339(text)),
    };
    found.map(StartFrom::Time).ok_or_else(|| {
        "is no place to start at: earliest, latest, 2026-01-31T12:00:00Z, -1h, @MILLISECONDS or kafka-group:NAME"
            .to_owned()
    })
}

/// Reads all the values of `-o`: one start at most, and one `e@TIME` at most, which is the stop: the time, in
/// milliseconds since the epoch, at which the first record not to be printed was written.
///
/// # Errors
/// What is wrong with which value, and what would be right.
pub(crate) fn read(values: &[impl AsRef<str>], now_millis: i64) -> Result<(Start, Option<i64>), String> {
    let (mut start, mut stop) = (None, None);
    for text in values.iter().map(AsRef::as_ref) {
        if let Some(until) = text.strip_prefix("e@") {
            if stop
                .replace(time(until, now_millis).ok_or_else(|| wrong_time(text))?)
                .is_some()
            {
                return Err("has two times to stop at".to_owned());
            }
        } else if start.replace(one(text, now_millis)?).is_some() {
            return Err("has two places to start at".to_owned());
        }
    }
    if let (Some(Start::Time(from)), Some(until)) = (start, stop)
        && from >= until
    {
        return Err("stops before it starts".to_owned());
    }
    Ok((start.unwrap_or(Start::Beginning), stop))
}

fn one(text: &str, now_millis: i64) -> Result<Start, String> {
    if let Some(from) = text.strip_prefix("s@") {
        return time(from, now_millis)
            .map(Start::Time)
            .ok_or_else(|| wrong_time(text));
    }
    match text {
        "beginning" | "earliest" | "smallest" => return Ok(Start::Beginning),
        "end" | "latest" | "largest" => return Ok(Start::End),
        "stored" => return Err("stored: only a group stores offsets: use -g NAME".to_owned()),
        _ => {}
    }
    // A number with a minus counts from the end; one with a unit as well is a time before now.
    match text.parse::<i64>() {
        Ok(number) if number >= 0 && !text.starts_with('-') => Ok(Start::Offset(number)),
        Ok(number) => match number.checked_neg() {
            Some(0) => Ok(Start::End),
            Some(last) => Ok(Start::Last(last)),
            None => Err(wrong(text)),
        },
        Err(_) => relative(text, now_millis)
            .or_else(|| rfc3339(text))
            .map(Start::Time)
            .ok_or_else(|| wrong(text)),
    }
}

/// Milliseconds since the epoch, RFC 3339, or a duration before now with a minus.
pub(super) fn time(text: &str, now_millis: i64) -> Option<i64> {
    text.parse::<i64>()
        .ok()
        .filter(|millis| *millis >= 0)
        .or_else(|| relative(text, now_millis))
        .or_else(|| rfc3339(text))
}

fn relative(text: &str, now_millis: i64) -> Option<i64> {
    let ago = humantime::parse_duration(text.strip_prefix('-')?).ok()?;
    Some(
        now_millis
            .saturating_sub(i64::try_from(ago.as_millis()).ok()?)
            .max(0),
    )
}

fn rfc3339(text: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|time| time.timestamp_millis())
        .filter(|millis| *millis >= 0)
}

fn wrong(text: &str) -> String {
    format!("{text} is not an offset: beginning, end, N, -N, s@TIME, e@TIME, 2026-01-31T12:00:00Z or -1h")
}

fn wrong_time(text: &str) -> String {
    format!("{text} has no time: milliseconds since 1970, 2026-01-31T12:00:00Z or -1h")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn start(text: &str) -> Start {
        let (start, stop) = read(&[text], NOW).unwrap();
        assert_eq!(stop, None);
        start
    }

    #[test]
    fn kcats_forms_are_read() {
        assert_eq!(start("beginning"), Start::Beginning);
        assert_eq!(start("end"), Start::End);
        assert_eq!(start("42"), Start::Offset(42));
        assert_eq!(start("-10"), Start::Last(10));
        assert_eq!(start("-0"), Start::End);
        assert_eq!(start("s@1234"), Start::Time(1234));
    }

    #[test]
    fn a_minus_with_a_unit_is_a_time_before_now() {
        assert_eq!(start("-1h"), Start::Time(NOW - 3_600_000));
        assert_eq!(start("s@-1h30m"), Start::Time(NOW - 5_400_000));
    }

    #[test]
    fn rfc_3339_is_read_with_its_zone() {
        assert_eq!(start("1970-01-01T01:00:01.5+01:00"), Start::Time(1500));
        assert_eq!(start("s@1970-01-01T00:00:01Z"), Start::Time(1000));
    }

    #[test]
    fn a_start_and_a_stop_may_both_be_given() {
        assert_eq!(read(&["s@1", "e@2"], NOW), Ok((Start::Time(1), Some(2))));
        assert_eq!(read(&["e@-1m"], NOW), Ok((Start::Beginning, Some(NOW - 60_000))));
        assert_eq!(read(&[] as &[&str], NOW), Ok((Start::Beginning, None)));
    }

    #[test]
    fn a_group_starts_at_an_end_a_time_or_another_groups_commits() {
        for (text, expected) in [
            ("earliest", StartFrom::Earliest),
            ("latest", StartFrom::Latest),
            ("-1h", StartFrom::Time(NOW - 3_600_000)),
            ("@1234", StartFrom::Time(1234)),
            ("s@1234", StartFrom::Time(1234)),
            ("1970-01-01T00:00:01Z", StartFrom::Time(1000)),
            ("kafka-group:old", StartFrom::KafkaGroup("old".to_owned())),
        ] {
            assert_eq!(from(text, NOW), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "middle",
            "42",
            "-10",
            "1h",
            "@",
            "@soon",
            "kafka-group:",
            "error",
        ] {
            assert!(from(wrong, NOW).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            &["stored"][..],
            &["middle"],
            &[""],
            &["--5"],
            &["-"],
            &["1h"],
            &["s@"],
            &["e@now"],
            &["s@-5"],
            &["1", "2"],
            &["e@1", "e@2"],
            &["s@5", "e@5"],
            &["-9223372036854775808"],
            &["9223372036854775808"],
        ] {
            assert!(read(wrong, NOW).is_err(), "{wrong:?}");
        }
    }
}
