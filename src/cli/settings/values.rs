//! From text to values: durations, sizes, delimiters, addresses, lists. Pure; an error says what would be right.

use std::time::Duration;

use crate::broker::settings::HostPort;

/// A duration with its unit: `5ms`, `2s`, `1h 30m`, `7d`, or `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text.trim())
        .map_err(|_| "is not a duration, such as 5ms, 2s, 1h or 7d".to_owned())
}

/// A size in bytes: `1048576`, `64KiB`, `1MB`; `K`, `M` and `G` alone are powers of 1024.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let wrong = || "is not a size in bytes, such as 1048576, 64KiB or 1MB".to_owned();
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit: usize = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "k" | "kib" => 1 << 10,
        "mb" => 1_000_000,
        "m" | "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "g" | "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    number
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(wrong)
}

/// A number within limits.
pub(crate) fn number<T>(text: &str, least: T, most: T) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    match text.trim().parse::<T>() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(format!("is not a number from {least} to {most}")),
    }
}

/// Yes or no.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" | "" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}

/// Brokers' addresses separated by commas, port 9092 if none is given; librdkafka's `protocol://` is left out.
pub(crate) fn addresses(text: &str) -> Result<Vec<HostPort>, String> {
    let found = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(address)
        .collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() {
        Err("names no broker; HOST:PORT is wanted".to_owned())
    } else {
        Ok(found)
    }
}

fn address(text: &str) -> Result<HostPort, String> {
    const PORT: u16 = 9092;
    let wrong = || format!("has an address that is not HOST:PORT: {text}");
    let bare = text.split_once("://").map_or(text, |(_, address)| address);
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(HostPort {
            host: bare.to_owned(),
            port: PORT,
        });
    }
    let (host, port) = match bare.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']').ok_or_else(wrong)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(wrong()),
            }
        }
        None => match bare.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (bare, None),
        },
    };
    if host.is_empty() || host.contains(['/', ' ', '@']) {
        return Err(wrong());
    }
    let port = match port {
        Some(port) => port
            .parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(wrong)?,
        None => PORT,
    };
    Ok(HostPort {
        host: host.to_owned(),
        port,
    })
}

/// Partitions such as `0,2` and `4-6`, in order and once each.
pub(crate) fn partitions(text: &str) -> Result<Vec<i32>, String> {
    /// More than Kafka clusters have.
    const MOST: i32 = 1_000_000;
    let wrong = || "is not a list of partitions, such as 0,2 or 4-6".to_owned();
    let one = |text: &str| {
        text.trim()
            .parse::<i32>()
            .ok()
            .filter(|n| (0..MOST).contains(n))
            .ok_or_else(wrong)
    };
    let mut found = std::collections::BTreeSet::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (one(first)?, one(last)?);
                if first > last {
                    return Err(wrong());
                }
                found.extend(first..=last);
            }
            None => {
                found.insert(one(part)?);
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// Splits a command into words at white space; quotes and backslashes as a shell has them, but nothing is expanded.
pub(crate) fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (_, '\\') => word
                .get_or_insert_default()
                .push(rest.next().ok_or("ends in a backslash")?),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("has an open quote".to_owned());
    }
    words.extend(word);
    if words.is_empty() {
        Err("names no command".to_owned())
    } else {
        Ok(words)
    }
}

/// A librdkafka property's number of milliseconds, which may have a fraction, as a duration's text.
pub(crate) fn from_millis(text: &str) -> Result<String, String> {
    let wrong = || "is not a number of milliseconds".to_owned();
    let millis = text.trim().parse::<f64>().map_err(|_| wrong())?;
    let duration = Duration::try_from_secs_f64(millis / 1e3).map_err(|_| wrong())?;
    // Rounded, since 0.1 ms is no binary fraction.
    let micros = u64::try_from((duration + Duration::from_nanos(500)).as_micros()).map_err(|_| wrong())?;
    Ok(humantime::format_duration(Duration::from_micros(micros)).to_string())
}

/// A librdkafka property's number of KiB as a size's text.
pub(crate) fn from_kib(text: &str) -> Result<String, String> {
    match text.trim().parse::<u32>() {
        Ok(number) => Ok(format!("{number}KiB")),
        Err(_) => Err("is not a number of kilobytes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_decimal_and_binary_units() {
        assert_eq!(bytes("1048576"), Ok(1 << 20));
        assert_eq!(bytes("64KiB"), Ok(64 << 10));
        assert_eq!(bytes("64K"), Ok(64 << 10));
        assert_eq!(bytes("1MB"), Ok(1_000_000));
        assert_eq!(bytes("2 GiB"), Ok(2 << 30));
        for wrong in [
            "",
            "MB",
            "-1",
            "1.5MB",
            "10XB",
            "99999999999999999999",
            "18446744073709551615K",
        ] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_duration_needs_its_unit() {
        assert_eq!(duration("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for wrong in ["", "5", "-1h", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn milliseconds_of_librdkafka_may_have_a_fraction() {
        assert_eq!(from_millis("5").as_deref(), Ok("5ms"));
        assert_eq!(from_millis("0.1").as_deref(), Ok("100us"));
        assert_eq!(from_millis("0").as_deref(), Ok("0s"));
        assert_eq!(from_millis("30000").as_deref(), Ok("30s"));
        for wrong in ["", "5ms", "-1", "NaN", "1e300"] {
            assert!(from_millis(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_may_lack_the_port_and_be_ipv6() {
        let read = |text| {
            addresses(text).map(|found| {
                found
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
        };
        assert_eq!(read("a").as_deref(), Ok("a:9092"));
        assert_eq!(read("a:1, b:2,").as_deref(), Ok("a:1 b:2"));
        assert_eq!(
            read("[::1]:9093,::1,[fe80::1]").as_deref(),
            Ok("[::1]:9093 [::1]:9092 [fe80::1]:9092")
        );
        assert_eq!(read("SASL_SSL://kafka:9094").as_deref(), Ok("kafka:9094"));
        for wrong in [
            "",
            ",",
            "a:",
            "a:0",
            "a:65536",
            "a:b",
            ":9092",
            "[::1",
            "[::1]9092",
            "a b:1",
            "http://a:1/x",
            "u@h:1",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn partitions_are_lists_and_ranges() {
        assert_eq!(partitions("3"), Ok(vec![3]));
        assert_eq!(partitions("4-6,0,5"), Ok(vec![0, 4, 5, 6]));
        for wrong in ["", "-1", "a", "1,", "3-1", "0-2147483647"] {
            assert!(partitions(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_command_is_split_as_a_shell_would() {
        let read = |text| words(text).map(|words| words.join("|"));
        assert_eq!(
            read(r#"get-token  --for 'my app' "a \" b" c\ d ''"#).as_deref(),
            Ok(r#"get-token|--for|my app|a " b|c d|"#)
        );
        for wrong in ["", "  ", "a 'b", "a\\"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
