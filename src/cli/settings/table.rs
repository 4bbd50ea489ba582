//! The one table of settings: names, flags, variables, defaults, and librdkafka's names for them.

/// How a librdkafka property's number reads as a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// The same text.
    Same,
    /// Milliseconds.
    Millis,
    /// KiB.
    KiB,
}

/// Who may see a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrecy {
    /// Anyone.
    Open,
    /// Not printed.
    Masked,
    /// Not printed, and refused on the command line, where every user of the machine sees it.
    Secret,
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its name in the configuration file, in `-X`, and in capitals as a variable.
    pub(crate) name: &'static str,
    /// The flag, if there is one.
    pub(crate) flag: Option<&'static str>,
    /// librdkafka's names, if other ones.
    pub(crate) properties: &'static [(&'static str, Unit)],
    /// Who may see it.
    pub(crate) secrecy: Secrecy,
    /// The value if nobody gives one.
    pub(crate) default: Option<&'static str>,
    /// What it is, in a few words.
    pub(crate) about: &'static str,
}

impl Row {
    /// Whether it is an argument without a name, which only the command line has.
    pub(crate) fn positional(&self) -> bool {
        matches!(self.name, "files" | "topics" | "groups" | "dlqs" | "letters")
    }

    /// The environment variable: `BARNABAS_CLIENT_ID` for `client-id`.
    pub(crate) fn variable(&self) -> String {
        let mut name = String::from("BARNABAS_");
        name.extend(self.name.chars().map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        }));
        name
    }
}

const fn flag(
    name: &'static str,
    flag: &'static str,
    properties: &'static [(&'static str, Unit)],
    default: Option<&'static str>,
    about: &'static str,
) -> Row {
    Row {
        name,
        flag: Some(flag),
        properties,
        secrecy: Secrecy::Open,
        default,
        about,
    }
}

const fn property(
    name: &'static str,
    properties: &'static [(&'static str, Unit)],
    default: Option<&'static str>,
    about: &'static str,
) -> Row {
    Row {
        name,
        flag: None,
        properties,
        secrecy: Secrecy::Open,
        default,
        about,
    }
}

const fn secret(name: &'static str, secrecy: Secrecy, about: &'static str) -> Row {
    Row {
        name,
        flag: None,
        properties: &[],
        secrecy,
        default: None,
        about,
    }
}

use Unit::{KiB, Millis, Same};

/// Every setting, in the order in which `barnabas config` prints them.
pub(crate) static ROWS: &[Row] = &[
    flag(
        "brokers",
        "--brokers",
        &[("bootstrap.servers", Same), ("metadata.broker.list", Same)],
        None,
        "brokers to start from, HOST:PORT,…",
    ),
    flag("config", "--config", &[], None, "configuration file"),
    flag(
        "profile",
        "--profile",
        &[],
        None,
        "table [profile.NAME] of the configuration file",
    ),
    flag(
        "client-id",
        "--client-id",
        &[("client.id", Same)],
        Some("barnabas"),
        "name told to the brokers",
    ),
    flag(
        "timeout",
        "--timeout",
        &[],
        Some("10s"),
        "how long to try to reach the brokers",
    ),
    property(
        "request-timeout",
        &[("request.timeout.ms", Millis), ("socket.timeout.ms", Millis)],
        Some("30s"),
        "how long one request may take",
    ),
    property(
        "connect-timeout",
        &[("socket.connection.setup.timeout.ms", Millis)],
        Some("10s"),
        "how long one connection may take, TLS and SASL included",
    ),
    property(
        "security.protocol",
        &[],
        Some("plaintext"),
        "plaintext, ssl, sasl_plaintext or sasl_ssl",
    ),
    property(
        "ssl.ca.location",
        &[],
        None,
        "PEM file with the authorities to trust instead of the system's",
    ),
    property(
        "ssl.certificate.location",
        &[],
        None,
        "PEM file with the client's certificate chain",
    ),
    property(
        "ssl.key.location",
        &[],
        None,
        "PEM file with the client's private key",
    ),
    property(
        "ssl.endpoint.identification.algorithm",
        &[],
        Some("https"),
        "https, or none not to compare the certificate's names with the host's",
    ),
    property(
        "sasl.mechanism",
        &[("sasl.mechanisms", Same)],
        None,
        "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
    ),
    property("sasl.username", &[], None, "user name"),
    secret(
        "sasl.password",
        Secrecy::Secret,
        "password; not on the command line",
    ),
    property("sasl.password.file", &[], None, "file with the password"),
    property(
        "sasl.oauthbearer.token.file",
        &[],
        None,
        "file with the token, read for each connection",
    ),
    secret(
        "sasl.oauthbearer.token.command",
        Secrecy::Masked,
        "command that prints the token, run for each connection without a shell",
    ),
    flag(
        "verbose",
        "-v",
        &[],
        Some("0"),
        "0, 1 or 2: how much to say on stderr",
    ),
    flag("quiet", "--quiet", &[], Some("false"), "say nothing but errors"),
    flag("json", "--json", &[], Some("false"), "print JSON"),
    flag("topic", "--topic", &[], None, "topic to publish to or to print"),
    flag(
        "partition",
        "--partition",
        &[],
        None,
        "partition to publish to, partitions to print",
    ),
    flag(
        "delimiter",
        "--delimiter",
        &[],
        Some("\\n"),
        "what ends a record, read or printed",
    ),
    flag(
        "key-delimiter",
        "--key-delimiter",
        &[],
        None,
        "what ends a record's key, read or printed",
    ),
    flag(
        "null",
        "--null",
        &[],
        Some("false"),
        "publish empty as null; print null as NULL",
    ),
    flag("count", "--count", &[], None, "stop after this many records"),
    flag("files", "FILE", &[], None, "files to publish"),
    flag(
        "format",
        "--format",
        &[],
        None,
        "input format: lines, ndjson or json",
    ),
    flag(
        "key",
        "--key",
        &[],
        None,
        "the same key for all records; only dead letters with this key",
    ),
    flag("key-field", "--key-field", &[], None, "JSON pointer to the key"),
    flag(
        "whole-file",
        "--whole-file",
        &[],
        Some("false"),
        "each file is one record",
    ),
    flag(
        "header",
        "--header",
        &[],
        None,
        "headers of every record, NAME=VALUE",
    ),
    flag(
        "partitioner",
        "--partitioner",
        &[],
        Some("murmur2"),
        "murmur2, crc32, sticky or random",
    ),
    flag(
        "compression",
        "--compression",
        &[("compression.type", Same), ("compression.codec", Same)],
        Some("none"),
        "none, gzip, snappy, lz4 or zstd, with a level as in zstd:3",
    ),
    property("compression.level", &[], None, "the codec's level"),
    flag(
        "linger",
        "--linger",
        &[("linger.ms", Millis), ("queue.buffering.max.ms", Millis)],
        Some("5ms"),
        "how long a batch waits for more records",
    ),
    flag(
        "batch-size",
        "--batch-size",
        &[("batch.size", Same)],
        Some("1000000"),
        "a batch's largest size in bytes, before compression",
    ),
    property(
        "batch.num.messages",
        &[],
        Some("1000000"),
        "a batch's largest number of records",
    ),
    flag(
        "max-buffer",
        "--max-buffer",
        &[("queue.buffering.max.kbytes", KiB)],
        Some("5MiB"),
        "how much may wait for acknowledgement",
    ),
    property(
        "message.max.bytes",
        &[],
        None,
        "refuse larger records without asking the broker",
    ),
    property(
        "delivery-timeout",
        &[("delivery.timeout.ms", Millis), ("message.timeout.ms", Millis)],
        Some("2m"),
        "how long to try to publish a record",
    ),
    property(
        "acks",
        &[("request.required.acks", Same)],
        Some("all"),
        "all, always",
    ),
    property("enable.idempotence", &[], Some("true"), "true, always"),
    flag(
        "progress",
        "--no-progress",
        &[],
        Some("true"),
        "show a progress bar on a terminal",
    ),
    flag(
        "offset",
        "--offset",
        &[],
        Some("beginning"),
        "where to start and to stop printing",
    ),
    flag(
        "exit",
        "--exit",
        &[],
        Some("false"),
        "exit at the end of each partition",
    ),
    flag("print", "--print", &[], None, "output format with kcat's tokens"),
    flag(
        "key-filter",
        "--key-filter",
        &[],
        None,
        "only records whose key is like this",
    ),
    flag(
        "isolation",
        "--isolation",
        &[("isolation.level", Same)],
        Some("read_committed"),
        "read_committed or read_uncommitted",
    ),
    flag(
        "unbuffered",
        "--unbuffered",
        &[],
        Some("false"),
        "write each record out at once",
    ),
    property(
        "fetch.max.bytes",
        &[],
        Some("4MiB"),
        "most bytes of one answer to a fetch",
    ),
    property(
        "max.partition.fetch.bytes",
        &[("fetch.message.max.bytes", Same)],
        Some("4MiB"),
        "most bytes of one partition in an answer to a fetch",
    ),
    property(
        "fetch.min.bytes",
        &[],
        Some("1"),
        "bytes for which the broker waits before it answers",
    ),
    property(
        "fetch-wait",
        &[("fetch.wait.max.ms", Millis)],
        Some("500ms"),
        "how long the broker waits for them",
    ),
    flag(
        "group",
        "--group",
        &[("group.id", Same)],
        None,
        "group to print as a member of",
    ),
    flag(
        "topics-regex",
        "--topics-regex",
        &[],
        None,
        "topics whose whole name is like this",
    ),
    flag(
        "from",
        "--from",
        &[("auto.offset.reset", Same)],
        Some("earliest"),
        "where a new group starts",
    ),
    flag(
        "instance",
        "--instance",
        &[("group.instance.id", Same)],
        None,
        "name of this member that stays over restarts",
    ),
    flag(
        "commit-interval",
        "--commit-interval",
        &[("auto.commit.interval.ms", Millis)],
        Some("1s"),
        "how often a group's progress is committed",
    ),
    flag(
        "session",
        "--session",
        &[("session.timeout.ms", Millis)],
        Some("10s"),
        "after how long without a sign of life a member is replaced",
    ),
    flag(
        "drain-timeout",
        "--drain-timeout",
        &[],
        Some("20s"),
        "how long what is under way may take when partitions are handed over",
    ),
    flag(
        "http",
        "--http",
        &[],
        None,
        "URL that each event of a group is posted to",
    ),
    flag(
        "exec",
        "--exec",
        &[],
        None,
        "worker process that gets the events of a group, a line each",
    ),
    flag(
        "exec-each",
        "--exec-each",
        &[],
        None,
        "command that is run for each event of a group",
    ),
    flag(
        "concurrency",
        "--concurrency",
        &[],
        Some("64"),
        "handlers at once, or auto",
    ),
    flag(
        "order",
        "--order",
        &[],
        Some("key"),
        "which events wait for each other: key, partition or none",
    ),
    flag(
        "retry",
        "--retry",
        &[],
        Some("10"),
        "attempts that count before an event is set aside",
    ),
    flag(
        "backoff",
        "--backoff",
        &[],
        Some("500ms..1m"),
        "the first and the longest time between two attempts",
    ),
    flag(
        "hold-for",
        "--hold-for",
        &[],
        Some("0s"),
        "how long an event that fails is tried at least before it is set aside",
    ),
    flag(
        "commit",
        "--commit",
        &[],
        Some("interval"),
        "commits at an interval, or each event before the next of its key (each)",
    ),
    flag(
        "handler-timeout",
        "--handler-timeout",
        &[],
        Some("30s"),
        "how long a handler may take for an event",
    ),
    flag(
        "timeout-grace",
        "--timeout-grace",
        &[],
        Some("5s"),
        "how long an event waits after its handler did not answer in time",
    ),
    flag(
        "on-timeout",
        "--on-timeout",
        &[],
        Some("lost"),
        "what happens then: lost, or wait for the answer",
    ),
    flag(
        "retry-after-max",
        "--retry-after-max",
        &[],
        Some("5m"),
        "the longest pause that a handler may ask for",
    ),
    flag(
        "on",
        "--on",
        &[],
        None,
        "what statuses mean, such as 404=reject,409=done",
    ),
    flag(
        "dialect",
        "--dialect",
        &[],
        Some("plain"),
        "what bodies of answers mean: plain or dapr",
    ),
    flag(
        "dedup",
        "--dedup",
        &[],
        Some("false"),
        "drop events whose id was finished already",
    ),
    flag(
        "dedup-id",
        "--dedup-id",
        &[],
        Some("event"),
        "what the id is: event (a CloudEvent's source and id), header:NAME or json:POINTER",
    ),
    flag(
        "dedup-window",
        "--dedup-window",
        &[],
        Some("1h"),
        "how far back ids are compared: a duration, a number of ids, or both",
    ),
    flag(
        "max-rate",
        "--max-rate",
        &[],
        None,
        "events a second, of the whole group",
    ),
    flag(
        "max-event",
        "--max-event",
        &[],
        None,
        "size of an event that is set aside without a handler seeing it",
    ),
    flag(
        "ready-url",
        "--ready-url",
        &[],
        None,
        "URL that answers 2xx when the handler is ready",
    ),
    flag(
        "http-ca",
        "--http-ca",
        &[],
        None,
        "PEM file with the authorities for --http",
    ),
    flag(
        "http-cert",
        "--http-cert",
        &[],
        None,
        "PEM file with the client's certificate for --http",
    ),
    flag(
        "http-key",
        "--http-key",
        &[],
        None,
        "PEM file with the client's key for --http",
    ),
    flag(
        "http-auth-file",
        "--http-auth-file",
        &[],
        None,
        "file with the bearer token for --http",
    ),
    flag(
        "forward-headers",
        "--forward-headers",
        &[],
        None,
        "headers of the record that are passed on",
    ),
    flag(
        "workers",
        "--workers",
        &[],
        Some("1"),
        "worker processes of --exec",
    ),
    flag(
        "worker-inflight",
        "--worker-inflight",
        &[],
        Some("1"),
        "events at once in each worker process",
    ),
    flag(
        "dlq-headers",
        "--dlq-headers",
        &[],
        None,
        "dead-letter headers to write beside Kafka's: spring, connect",
    ),
    flag(
        "dlq-create",
        "--dlq-create",
        &[],
        Some("true"),
        "whether a missing topic of dead letters is created",
    ),
    flag(
        "rebuild-from-native",
        "--rebuild-from-native",
        &[],
        Some("false"),
        "make a lost group's log anew from its commits",
    ),
    flag(
        "internal",
        "--internal",
        &[],
        Some("false"),
        "list Kafka's own topics as well",
    ),
    flag(
        "topics",
        "TOPIC",
        &[],
        None,
        "topics to describe, create, alter or delete",
    ),
    flag("partitions", "--partitions", &[], None, "number of partitions"),
    flag(
        "replication",
        "--replication",
        &[],
        None,
        "replicas of each partition",
    ),
    flag(
        "retention",
        "--retention",
        &[],
        None,
        "how long records are kept; -1 for ever",
    ),
    flag(
        "topic-config",
        "--config",
        &[],
        None,
        "a topic's own configuration, NAME=VALUE",
    ),
    flag(
        "unset",
        "--unset",
        &[],
        None,
        "a topic's configuration to take back",
    ),
    flag(
        "if-not-exists",
        "--if-not-exists",
        &[],
        Some("false"),
        "a topic that is there already is no error",
    ),
    flag(
        "groups",
        "GROUP",
        &[],
        None,
        "groups to describe, steer or delete",
    ),
    flag("to", "--to", &[], None, "where to reset a group to"),
    flag("by", "--by", &[], None, "how many offsets to reset a group by"),
    flag(
        "why",
        "--why",
        &[],
        None,
        "reason, for a group's history or kept with dead letters",
    ),
    flag(
        "all",
        "--all",
        &[],
        Some("false"),
        "tell a group's void records and snapshots, dead letters that were dealt with as well",
    ),
    flag(
        "dlqs",
        "DLQ",
        &[],
        None,
        "topics of dead letters, or their groups",
    ),
    flag("letters", "ID", &[], None, "dead letters by their ids"),
    flag(
        "error",
        "--error",
        &[],
        None,
        "only dead letters with this status, or with this text in their error",
    ),
    flag(
        "since",
        "--since",
        &[],
        None,
        "only dead letters of this time or later",
    ),
    flag(
        "type",
        "--type",
        &[],
        None,
        "only dead letters of this event type",
    ),
    flag(
        "outcome",
        "--outcome",
        &[],
        None,
        "only dead letters that are here for this reason",
    ),
    flag(
        "to-source",
        "--to-source",
        &[],
        Some("false"),
        "replay to the topic that the letters came from, for all its readers",
    ),
    flag(
        "rate",
        "--rate",
        &[],
        None,
        "dead letters that are replayed in a second at most",
    ),
    flag("yes", "--yes", &[], Some("false"), "do not ask"),
    flag(
        "dry-run",
        "--dry-run",
        &[],
        Some("false"),
        "only say what would be done",
    ),
    flag(
        "sandbox-listen",
        "--listen",
        &[],
        Some("127.0.0.1:9092"),
        "where the sandbox listens, ADDRESS:PORT",
    ),
    flag(
        "sandbox-advertise",
        "--advertise",
        &[],
        None,
        "host and port that the sandbox's clients are told",
    ),
    flag(
        "sandbox-topics",
        "--topics",
        &[],
        None,
        "file with the sandbox's topics",
    ),
    flag(
        "sandbox-data",
        "--data",
        &[],
        None,
        "folder in which the sandbox keeps everything",
    ),
    flag(
        "sandbox-max-memory",
        "--max-memory",
        &[],
        Some("512MiB"),
        "bytes of records in the sandbox",
    ),
    flag(
        "sandbox-partitions",
        "--partitions",
        &[],
        Some("1"),
        "partitions of a topic of the sandbox's, if nobody says",
    ),
    flag(
        "sandbox-auto-create",
        "--no-auto-create",
        &[],
        Some("true"),
        "the sandbox's topics come to be when they are asked for",
    ),
    flag(
        "sandbox-seed",
        "--seed",
        &[],
        Some("0"),
        "seed of the sandbox's faults and ids",
    ),
    flag(
        "demo-fast",
        "--fast",
        &[],
        Some("false"),
        "play the demo in about 15 seconds",
    ),
    flag("demo-seed", "--seed", &[], Some("1"), "seed of the demo's events"),
];

/// The setting that has this name of its own, as the code asks for it.
pub(crate) fn row(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

/// The setting that `-X` or the file means by a name, and how its value reads.
pub(crate) fn named(name: &str) -> Option<(&'static Row, Unit)> {
    ROWS.iter().find_map(|row| {
        if row.name == name {
            return Some((row, Same));
        }
        row.properties
            .iter()
            .find(|(property, _)| *property == name)
            .map(|(_, unit)| (row, *unit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The table of docs/reference.md.
    fn reference() -> String {
        let code = |text: &str| format!("`{}`", text.replace('|', "\\|"));
        let line = |row: &Row| {
            let flag = row.flag.map(code).unwrap_or_default();
            let mut names = vec![code(row.name)];
            names.extend(row.properties.iter().map(|(name, unit)| match unit {
                Same => code(name),
                Millis => format!("{} (ms)", code(name)),
                KiB => format!("{} (KiB)", code(name)),
            }));
            // Only flags and variables say which file and which profile.
            let names = if row.positional() || matches!(row.name, "config" | "profile") {
                String::new()
            } else {
                names.join(", ")
            };
            let variable = if row.positional() {
                String::new()
            } else {
                code(&row.variable())
            };
            let default = row.default.map(code).unwrap_or_default();
            format!("| {flag} | {names} | {variable} | {default} | {} |\n", row.about)
        };
        ROWS.iter().map(line).collect()
    }

    #[test]
    fn the_reference_has_the_same_table() {
        let text = include_str!("../../../docs/reference.md");
        assert!(
            text.contains(&reference()),
            "docs/reference.md should have this table:\n{}",
            reference()
        );
    }

    #[test]
    fn every_name_and_variable_is_there_once() {
        let mut seen = BTreeSet::new();
        for row in ROWS {
            assert!(seen.insert(row.name), "{} is there twice", row.name);
            assert!(
                seen.insert(&*row.variable().leak()),
                "{} is there twice",
                row.variable()
            );
            for (name, _) in row.properties {
                assert!(seen.insert(name), "{name} is there twice");
            }
        }
    }
}
