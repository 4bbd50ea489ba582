//! Topics' configurations: Kafka 4's names, defaults and checks, and the rules that the sandbox makes of them. Pure.

use std::collections::BTreeMap;

/// Kafka's numbers for what a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    /// One of these.
    Choice(&'static [&'static str]),
    Int(i64),
    /// At least this.
    Long(i64),
    Double,
    /// Some of these, with commas.
    List(&'static [&'static str]),
}

impl Kind {
    /// As DescribeConfigs has it.
    pub(crate) fn number(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::Choice(_) => 2,
            Kind::Int(_) => 3,
            Kind::Long(_) => 5,
            Kind::Double => 6,
            Kind::List(_) => 7,
        }
    }
}

/// A configuration of a topic.
pub(crate) struct Config {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) kind: Kind,
}

const fn config(name: &'static str, default: &'static str, kind: Kind) -> Config {
    Config { name, default, kind }
}

const FOREVER: &str = "9223372036854775807";
const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

/// All of them, by name.
pub(crate) static CONFIGS: &[Config] = &[
    config("cleanup.policy", "delete", Kind::List(&["delete", "compact"])),
    config("compression.type", "producer", Kind::Choice(CODECS)),
    config("delete.retention.ms", "86400000", Kind::Long(0)),
    config("file.delete.delay.ms", "60000", Kind::Long(0)),
    config("flush.messages", FOREVER, Kind::Long(1)),
    config("flush.ms", FOREVER, Kind::Long(0)),
    config("index.interval.bytes", "4096", Kind::Int(0)),
    config("max.compaction.lag.ms", FOREVER, Kind::Long(1)),
    config("max.message.bytes", "1048588", Kind::Int(0)),
    config("message.timestamp.after.max.ms", "3600000", Kind::Long(0)),
    config("message.timestamp.before.max.ms", FOREVER, Kind::Long(0)),
    config(
        "message.timestamp.type",
        "CreateTime",
        Kind::Choice(&["CreateTime", "LogAppendTime"]),
    ),
    config("min.cleanable.dirty.ratio", "0.5", Kind::Double),
    config("min.compaction.lag.ms", "0", Kind::Long(0)),
    config("min.insync.replicas", "1", Kind::Int(1)),
    config("preallocate", "false", Kind::Boolean),
    config("retention.bytes", "-1", Kind::Long(-1)),
    config("retention.ms", "604800000", Kind::Long(-1)),
    config("segment.bytes", "1073741824", Kind::Int(14)),
    config("segment.index.bytes", "10485760", Kind::Int(4)),
    config("segment.jitter.ms", "0", Kind::Long(0)),
    config("segment.ms", "604800000", Kind::Long(1)),
    config("unclean.leader.election.enable", "false", Kind::Boolean),
];

/// A configuration by its name.
pub(crate) fn find(name: &str) -> Option<&'static Config> {
    CONFIGS.iter().find(|config| config.name == name)
}

/// Checks a value.
///
/// # Errors
/// For people, as Kafka words it.
pub(crate) fn check(name: &str, value: &str) -> Result<(), String> {
    let Some(config) = find(name) else {
        return Err(format!("Unknown topic config name: {name}"));
    };
    let fits = match config.kind {
        Kind::Boolean => matches!(value, "true" | "false"),
        Kind::Choice(choices) => choices.contains(&value),
        Kind::Int(min) => value.parse::<i32>().is_ok_and(|number| i64::from(number) >= min),
        Kind::Long(min) => value.parse::<i64>().is_ok_and(|number| number >= min),
        Kind::Double => value
            .parse::<f64>()
            .is_ok_and(|number| (0.0..=1.0).contains(&number)),
        Kind::List(choices) => value.split(',').all(|part| choices.contains(&part.trim())),
    };
    if fits {
        Ok(())
    } else {
        Err(format!("Invalid value {value} for configuration {name}"))
    }
}

/// What holds for a topic.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rules {
    pub(crate) delete: bool,
    pub(crate) compact: bool,
    pub(crate) append_time: bool,
    /// In bytes, of a batch.
    pub(crate) max_message_bytes: usize,
    /// In milliseconds, as all the times here.
    pub(crate) after_max: i64,
    pub(crate) before_max: i64,
    pub(crate) min_dirty_ratio: f64,
    pub(crate) min_compaction_lag: i64,
    pub(crate) delete_retention: i64,
    pub(crate) min_insync: i32,
    /// -1 for no limit.
    pub(crate) retention_bytes: i64,
    /// -1 for no limit.
    pub(crate) retention_ms: i64,
    pub(crate) segment_bytes: usize,
    pub(crate) segment_ms: i64,
    pub(crate) producer_expiry: i64,
}

/// What a topic's own configurations come to; `segment_limit` is the largest segment that memory allows, in bytes.
pub(crate) fn rules(own: &BTreeMap<String, String>, segment_limit: usize) -> Rules {
    let text = |name: &str| match own.get(name) {
        Some(value) => value.as_str(),
        None => find(name).map_or("", |config| config.default),
    };
    // What is in `own` was checked.
    let long = |name: &str| text(name).parse::<i64>().unwrap_or(i64::MAX);
    let size = |name: &str| usize::try_from(long(name)).unwrap_or(usize::MAX);
    let policy = |name: &str| text("cleanup.policy").split(',').any(|part| part.trim() == name);
    Rules {
        delete: policy("delete"),
        compact: policy("compact"),
        append_time: text("message.timestamp.type") == "LogAppendTime",
        max_message_bytes: size("max.message.bytes"),
        after_max: long("message.timestamp.after.max.ms"),
        before_max: long("message.timestamp.before.max.ms"),
        min_dirty_ratio: text("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
        min_compaction_lag: long("min.compaction.lag.ms"),
        delete_retention: long("delete.retention.ms"),
        min_insync: i32::try_from(long("min.insync.replicas")).unwrap_or(i32::MAX),
        retention_bytes: long("retention.bytes"),
        retention_ms: long("retention.ms"),
        segment_bytes: size("segment.bytes").min(segment_limit),
        segment_ms: long("segment.ms"),
        producer_expiry: PRODUCER_EXPIRY,
    }
}

/// After this many milliseconds without a batch a producer is forgotten, as Kafka does by default.
const PRODUCER_EXPIRY: i64 = 24 * 60 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_passes_its_own_check_and_they_are_in_order() {
        for config in CONFIGS {
            assert_eq!(check(config.name, config.default), Ok(()), "{}", config.name);
        }
        assert!(CONFIGS.is_sorted_by_key(|config| config.name));
    }

    #[test]
    fn wrong_values_and_names_are_refused() {
        for (name, value) in [
            ("retention.ms", "-2"),
            ("retention.ms", "1d"),
            ("cleanup.policy", "delete,shrink"),
            ("segment.bytes", "9223372036854775807"),
            ("min.cleanable.dirty.ratio", "1.5"),
            ("preallocate", "yes"),
            ("retention", "1"),
        ] {
            assert!(check(name, value).is_err(), "{name}={value}");
        }
        assert_eq!(check("cleanup.policy", "compact, delete"), Ok(()));
    }
}
