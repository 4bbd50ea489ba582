//! `topics describe`.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;

use super::sizes::{self, Ends};
use super::{Named, find, leaderless, replication, settle, shape, told, under_replicated, warn_of_health};
use crate::broker::Cluster;
use crate::broker::admin::find_topics;
use crate::broker::admin_configs::{Config, Source, describe_configs};
use crate::cli::Exit;
use crate::cli::output::{Output, Table, plural, thousands};

/// Failures to find out a size that are told each.
const MAX_TOLD: usize = 5;

#[derive(Serialize)]
struct Report<'a> {
    topics: Vec<TopicLine<'a>>,
}

#[derive(Serialize)]
struct TopicLine<'a> {
    name: &'a str,
    id: Option<String>,
    internal: bool,
    replication: usize,
    under_replicated: usize,
    without_leader: usize,
    records_at_most: Option<u64>,
    partitions: Vec<PartitionLine<'a>>,
    configs: Option<Vec<ConfigLine<'a>>>,
}

#[derive(Serialize)]
struct PartitionLine<'a> {
    partition: usize,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: &'a [i32],
    isr: &'a [i32],
    offline: &'a [i32],
    earliest: Option<i64>,
    latest: Option<i64>,
    records_at_most: Option<u64>,
}

#[derive(Serialize)]
struct ConfigLine<'a> {
    name: &'a str,
    value: Option<&'a str>,
    source: &'static str,
    read_only: bool,
}

/// All that is known of a topic; no configuration if it could not be read.
struct Described<'a> {
    topic: Named<'a>,
    ends: Vec<Ends>,
    configs: Option<Vec<Config>>,
}

/// Prints partitions, leaders, replicas, size in records and configuration.
pub(super) async fn run(
    cluster: &Cluster,
    names: &[String],
    json: bool,
    output: &Output,
) -> anyhow::Result<Exit> {
    let asked: Vec<&str> = names.iter().map(String::as_str).collect();
    let view = find_topics(cluster, &asked).await?;
    let (found, missing) = find(&view, names);
    let mut described = Vec::new();
    if !found.is_empty() {
        let known: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
        let ((ends, failures), configs) = tokio::try_join!(
            sizes::ends(cluster, &found),
            describe_configs(cluster, &known, None)
        )?;
        for failure in failures.iter().take(MAX_TOLD) {
            output.warn(&told(failure));
        }
        if failures.len() > MAX_TOLD {
            output.warn(&format!("and {} more like these", failures.len() - MAX_TOLD));
        }
        for ((topic, ends), configs) in found.iter().zip(ends).zip(configs) {
            let configs = configs.inspect_err(|error| output.warn(&told(error))).ok();
            described.push(Described {
                topic: *topic,
                ends,
                configs,
            });
        }
    }
    if json {
        let topics = described.iter().map(Described::line).collect();
        output.json(&Report { topics })?;
    } else {
        for (index, topic) in described.iter().enumerate() {
            if index > 0 {
                output.line("")?;
            }
            topic.print(output)?;
        }
        if !described.is_empty() {
            output.note(
                "records are counted from the offsets: there are fewer in compacted topics and with transactions",
            );
        }
    }
    warn_of_health(output, &found);
    settle(output, "described", names.len(), missing)
}

impl Described<'_> {
    fn line(&self) -> TopicLine<'_> {
        let (name, topic) = self.topic;
        let partitions = topic.partitions.iter().zip(&self.ends).enumerate();
        let partitions = partitions.map(|(partition, (known, ends))| PartitionLine {
            partition,
            leader: known.leader,
            leader_epoch: known.leader_epoch,
            replicas: &known.replicas,
            isr: &known.isr,
            offline: &known.offline,
            earliest: ends.earliest,
            latest: ends.latest,
            records_at_most: ends.records_at_most(),
        });
        TopicLine {
            name,
            // Brokers before Kafka 2.8 have no ids for topics.
            id: (topic.id != [0; 16]).then(|| BASE64_URL_SAFE_NO_PAD.encode(topic.id)),
            internal: topic.internal,
            replication: replication(topic),
            under_replicated: under_replicated(topic),
            without_leader: leaderless(topic),
            records_at_most: sizes::sum(&self.ends),
            partitions: partitions.collect(),
            configs: self
                .configs
                .as_ref()
                .map(|configs| configs.iter().map(config_line).collect()),
        }
    }

    fn print(&self, output: &Output) -> anyhow::Result<()> {
        let (name, topic) = self.topic;
        let shape = shape(topic.partitions.len(), replication(topic));
        let records = match sizes::sum(&self.ends) {
            Some(records) => format!("at most {}", plural(records, "record")),
            None => "number of records unknown".to_owned(),
        };
        output.line(&format!("{name}: {shape}, {records}\n"))?;
        output.table(&self.partitions())?;
        let Some(configs) = &self.configs else {
            return Ok(());
        };
        output.line("")?;
        let mut table = Table::new(["CONFIG", "VALUE", "FROM"]);
        for config in configs.iter().filter(|config| config.source != Source::Default) {
            let from = match config.source {
                Source::BrokerFile => "server.properties",
                source => source_name(source),
            };
            table.row([config.name.clone(), shown(config), from.to_owned()]);
        }
        if table.is_empty() {
            output.line("configuration: Kafka's defaults")
        } else {
            output.table(&table)
        }
    }

    fn partitions(&self) -> Table {
        let mut table = Table::new([
            "PARTITION",
            "LEADER",
            "REPLICAS",
            "ISR",
            "OFFLINE",
            "EARLIEST",
            "LATEST",
            "RECORDS",
        ]);
        for (number, (known, ends)) in self.topic.1.partitions.iter().zip(&self.ends).enumerate() {
            table.row([
                number.to_string(),
                or_dash(known.leader.map(|leader| leader.to_string())),
                ids(&known.replicas),
                ids(&known.isr),
                ids(&known.offline),
                or_dash(ends.earliest.map(|offset| offset.to_string())),
                or_dash(ends.latest.map(|offset| offset.to_string())),
                or_dash(ends.records_at_most().map(thousands)),
            ]);
        }
        table
    }
}

fn config_line(config: &Config) -> ConfigLine<'_> {
    ConfigLine {
        name: &config.name,
        value: config.value.as_deref(),
        source: source_name(config.source),
        read_only: config.read_only,
    }
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn ids(ids: &[i32]) -> String {
    if ids.is_empty() {
        return "-".to_owned();
    }
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(",")
}

/// As JSON has it.
pub(super) fn source_name(source: Source) -> &'static str {
    match source {
        Source::Topic => "topic",
        Source::Broker => "broker",
        Source::BrokerFile => "broker_file",
        Source::Default => "default",
        Source::Unknown => "unknown",
    }
}

/// A value with its meaning, where it is a time.
fn shown(config: &Config) -> String {
    let Some(value) = &config.value else {
        return "(secret)".to_owned();
    };
    match in_words(&config.name, value) {
        Some(words) => format!("{value} ({words})"),
        None => value.clone(),
    }
}

/// `7days` for 604800000 milliseconds.
pub(super) fn in_words(name: &str, value: &str) -> Option<String> {
    if !name.ends_with(".ms") {
        return None;
    }
    match value.parse::<i64>().ok()? {
        -1 if name == "retention.ms" => Some("for ever".to_owned()),
        // Kafka's way to say never.
        i64::MAX => None,
        millis if millis >= 1_000 => {
            let time = Duration::from_millis(millis.unsigned_abs());
            Some(humantime::format_duration(time).to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_words() {
        assert_eq!(in_words("retention.ms", "604800000").as_deref(), Some("7days"));
        assert_eq!(in_words("retention.ms", "-1").as_deref(), Some("for ever"));
        assert_eq!(in_words("flush.ms", "9223372036854775807"), None);
        assert_eq!(in_words("segment.bytes", "604800000"), None);
        assert_eq!(in_words("retention.ms", "soon"), None);
    }

    #[test]
    fn lists_of_brokers_are_never_empty_cells() {
        assert_eq!(ids(&[1, 2]), "1,2");
        assert_eq!(ids(&[]), "-");
    }
}
