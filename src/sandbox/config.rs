//! Topics' configurations: Kafka 4's names, defaults and checks, and the rules that the sandbox makes of them. Pure.

use std::collections::BTreeMap;

/// Kafka's numbers for what a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    /// One of these.
    Choice(&'static [&'static str]),
    /// At least this.
    Int(i64),
    /// From the first to the second, or the third.
    Level(i64, i64, i64),
    /// At least this.
    Long(i64),
    /// 0 to 1.
    Double,
    /// Some of these, with commas; of anything if there are none.
    List(&'static [&'static str]),
}

impl Kind {
    /// As DescribeConfigs has it.
    pub(crate) fn number(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::Choice(_) => 2,
            Kind::Int(_) | Kind::Level(..) => 3,
            Kind::Long(_) => 5,
            Kind::Double => 6,
            Kind::List(_) => 7,
        }
    }

    /// Why this is no value of the kind, as Kafka words it.
    fn objection(self, value: &str) -> Option<String> {
        let at_least =
            |number: i64, min: i64| (number < min).then(|| format!("Value must be at least {min}"));
        let one_of = |choices: &[&str]| Some(format!("String must be one of: {}", choices.join(", ")));
        match self {
            Kind::Boolean if matches!(value, "true" | "false") => None,
            Kind::Boolean => Some("Expected value to be either true or false".to_owned()),
            Kind::Choice(choices) if choices.contains(&value) => None,
            Kind::Choice(choices) => one_of(choices),
            Kind::Int(min) => match value.parse::<i32>() {
                Ok(number) => at_least(number.into(), min),
                Err(_) => Some("Not a number of type INT".to_owned()),
            },
            Kind::Level(min, max, or) => match value.parse::<i32>().map(i64::from) {
                Ok(level) if level == or || (min..=max).contains(&level) => None,
                Ok(level) if (min..=max).contains(&or) => {
                    at_least(level, min).or_else(|| Some(format!("Value must be no more than {max}")))
                }
                Ok(_) => Some(format!("Value must be between {min} and {max} or equal to {or}")),
                Err(_) => Some("Not a number of type INT".to_owned()),
            },
            Kind::Long(min) => match value.parse::<i64>() {
                Ok(number) => at_least(number, min),
                Err(_) => Some("Not a number of type LONG".to_owned()),
            },
            Kind::Double => match value.parse::<f64>() {
                Ok(number) if number < 0.0 => Some("Value must be at least 0".to_owned()),
                Ok(number) if number <= 1.0 => None,
                Ok(_) => Some("Value must be no more than 1".to_owned()),
                Err(_) => Some("Not a number of type DOUBLE".to_owned()),
            },
            // None of them, for a cleanup policy: records stay for ever.
            Kind::List(choices) if choices.is_empty() || value.is_empty() => None,
            Kind::List(choices) if value.split(',').all(|part| choices.contains(&part.trim())) => None,
            Kind::List(choices) => one_of(choices),
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
    config("cleanup.policy", "delete", Kind::List(&["compact", "delete"])),
    config("compression.gzip.level", "-1", Kind::Level(1, 9, -1)),
    config("compression.lz4.level", "9", Kind::Level(1, 17, 9)),
    config("compression.type", "producer", Kind::Choice(CODECS)),
    config("compression.zstd.level", "3", Kind::Level(-131_072, 22, 3)),
    config("delete.retention.ms", "86400000", Kind::Long(0)),
    config("file.delete.delay.ms", "60000", Kind::Long(0)),
    config("flush.messages", FOREVER, Kind::Long(1)),
    config("flush.ms", FOREVER, Kind::Long(0)),
    config("follower.replication.throttled.replicas", "", Kind::List(&[])),
    config("index.interval.bytes", "4096", Kind::Int(0)),
    config("leader.replication.throttled.replicas", "", Kind::List(&[])),
    config("local.retention.bytes", "-2", Kind::Long(-2)),
    config("local.retention.ms", "-2", Kind::Long(-2)),
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
    config("remote.log.copy.disable", "false", Kind::Boolean),
    config("remote.log.delete.on.disable", "false", Kind::Boolean),
    config("remote.storage.enable", "false", Kind::Boolean),
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
    match config.kind.objection(value) {
        Some(why) => Err(format!("Invalid value {value} for configuration {name}: {why}")),
        None if (name, value) == ("remote.storage.enable", "true") => Err(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
                .to_owned(),
        ),
        None => Ok(()),
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

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Topic,
    Broker,
    Default,
}

/// The value of a configuration where a topic has these of its own and the broker those for topics that have none.
pub(crate) fn value<'v>(
    config: &'static Config,
    own: &'v BTreeMap<String, String>,
    broker: &'v BTreeMap<String, String>,
) -> (&'v str, Source) {
    if let Some(value) = own.get(config.name) {
        (value, Source::Topic)
    } else if let Some(value) = broker.get(config.name) {
        (value, Source::Broker)
    } else {
        (config.default, Source::Default)
    }
}

/// What a topic's own configurations and the broker's come to; `segment_limit` is the largest segment that memory allows, in
/// bytes.
pub(crate) fn rules(
    own: &BTreeMap<String, String>,
    broker: &BTreeMap<String, String>,
    segment_limit: usize,
) -> Rules {
    let text = |name: &str| find(name).map_or("", |config| value(config, own, broker).0);
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
            ("compression.gzip.level", "0"),
            ("compression.lz4.level", "18"),
            ("remote.storage.enable", "true"),
        ] {
            assert!(check(name, value).is_err(), "{name}={value}");
        }
        assert_eq!(check("cleanup.policy", "compact, delete"), Ok(()));
        assert_eq!(check("cleanup.policy", ""), Ok(()));
    }
}
