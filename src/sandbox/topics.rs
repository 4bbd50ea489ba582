//! Topics come, grow, change, are written to, are cleaned and go. Pure.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::call::Now;
use super::cluster::{Cluster, Topic};
use super::code;
use super::config;
use super::keep::Keep;
use super::log::{Appended, Cleaned, Log, Rejected};

/// The largest name of a topic, in bytes.
const MAX_NAME: usize = 249;
/// The most partitions of a topic: each costs memory, and a slip of the finger should not take all of it.
const MAX_PARTITIONS: i32 = 10_000;

/// Kafka's code, and words for people.
pub(crate) type Refusal = (i16, String);

/// Whether a topic may have this name.
pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let why = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if matches!(name, "." | "..") {
        format!("'{name}' is not allowed")
    } else if name.len() > MAX_NAME {
        format!("the length of '{name}' is longer than the max allowed length {MAX_NAME}")
    } else if !name.chars().all(legal) {
        format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
    } else {
        return Ok(());
    };
    Err((code::INVALID_TOPIC, format!("Topic name is invalid: {why}")))
}

fn check_partitions(count: i32) -> Result<(), Refusal> {
    let why = match count {
        ..1 => "Number of partitions was set to an invalid non-positive value.".to_owned(),
        1..=MAX_PARTITIONS => return Ok(()),
        _ => format!("The sandbox allows {MAX_PARTITIONS} partitions of a topic at most."),
    };
    Err((code::INVALID_PARTITIONS, why))
}

/// Whether these are legal values of a topic's configurations.
pub(crate) fn check_configs(configs: &BTreeMap<String, String>) -> Result<(), Refusal> {
    for (name, value) in configs {
        config::check(name, value).map_err(|why| (code::INVALID_CONFIG, why))?;
    }
    Ok(())
}

impl Cluster {
    /// Creates a topic, or only checks whether it could be.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        configs: BTreeMap<String, String>,
        only_check: bool,
        now: Now,
    ) -> Result<(), Refusal> {
        check_name(name)?;
        if self.topics.contains_key(name) {
            return Err((
                code::TOPIC_ALREADY_EXISTS,
                format!("Topic '{name}' already exists."),
            ));
        }
        // Kafka's metrics have one name for both.
        let alike = |other: &&String| other.replace('.', "_") == name.replace('.', "_");
        if let Some(other) = self.topics.keys().find(alike) {
            let why = format!("Topic '{name}' collides with existing topic: {other}");
            return Err((code::INVALID_TOPIC, why));
        }
        check_partitions(partitions)?;
        check_configs(&configs)?;
        if only_check {
            return Ok(());
        }
        let (high, low) = (self.faults.dice.next(), self.faults.dice.next());
        let topic = Topic {
            id: (u128::from(high) << 64) | u128::from(low),
            partitions: (0..partitions).map(|_| Log::new(now.wall)).collect(),
            rules: config::rules(&configs, &self.limits.configs, self.segment_limit()),
            configs,
        };
        self.topics.insert(name.to_owned(), topic);
        self.touch();
        Ok(())
    }

    /// Gives a topic more partitions, or only checks.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn grow_topic(
        &mut self,
        name: &str,
        count: i32,
        only_check: bool,
        now: Now,
    ) -> Result<(), Refusal> {
        let Some(topic) = self.topics.get_mut(name) else {
            return Err((
                code::UNKNOWN_TOPIC_OR_PARTITION,
                format!("The topic '{name}' does not exist."),
            ));
        };
        check_partitions(count)?;
        let has = topic.partitions.len();
        let count = usize::try_from(count).unwrap_or(0);
        if count <= has {
            let why = format!(
                "The topic {name} currently has {has} partition(s); {count} would not be an increase."
            );
            return Err((code::INVALID_PARTITIONS, why));
        }
        if !only_check {
            topic.partitions.extend((has..count).map(|_| Log::new(now.wall)));
            self.touch();
        }
        Ok(())
    }

    /// Changes a topic's own configurations, or only checks.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn configure(
        &mut self,
        name: &str,
        configs: BTreeMap<String, String>,
        only_check: bool,
    ) -> Result<(), Refusal> {
        check_configs(&configs)?;
        let limit = self.segment_limit();
        let Some(topic) = self.topics.get_mut(name) else {
            return Err((
                code::UNKNOWN_TOPIC_OR_PARTITION,
                format!("The topic '{name}' does not exist."),
            ));
        };
        if !only_check {
            topic.rules = config::rules(&configs, &self.limits.configs, limit);
            topic.configs = configs;
            self.touch();
        }
        Ok(())
    }

    /// Deletes a topic, its records and what groups committed in it.
    ///
    /// # Errors
    /// It does not exist.
    pub(crate) fn delete_topic(&mut self, name: &str) -> Result<(), i16> {
        let topic = self.topics.remove(name).ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
        self.memory -= topic.partitions.iter().map(Log::cost).sum::<usize>();
        let mut lost = Vec::new();
        for (group, of) in &mut self.groups {
            of.offsets.retain(|(topic, partition), _| {
                let stays = topic != name;
                if !stays {
                    lost.push((group.clone(), *partition));
                }
                stays
            });
        }
        for (group, partition) in lost {
            let (topic, committed) = (name.to_owned(), None);
            self.keep(Keep::Offset {
                group,
                topic,
                partition,
                committed,
            });
        }
        self.keep(Keep::Forget { topic: topic.id });
        self.touch();
        // Whoever waits for its records hears of it.
        self.grown = true;
        Ok(())
    }

    /// Appends a batch to a partition.
    ///
    /// # Errors
    /// Kafka's code and words.
    pub(crate) fn append(
        &mut self,
        topic: &str,
        partition: i32,
        set: BytesMut,
        now: Now,
    ) -> Result<(Appended, i64), Rejected> {
        let known = self
            .topics
            .get_mut(topic)
            .ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
        let id = known.id;
        let (log, rules) = known.log(partition).ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
        let appended = log.append(set, rules, now.wall, (topic, partition))?;
        let start = log.start();
        if let Some((segment, bytes)) = appended.new.clone() {
            self.appended(id, partition, segment, bytes);
        }
        Ok((appended, start))
    }

    fn appended(&mut self, topic: u128, partition: i32, segment: i64, bytes: Bytes) {
        self.memory += super::log::cost(&bytes);
        self.grown = true;
        self.keep(Keep::Append {
            topic,
            partition,
            segment,
            bytes,
        });
    }

    /// Writes the marker that ends a producer's transaction in a partition.
    pub(crate) fn end_in_partition(
        &mut self,
        topic: &str,
        partition: i32,
        producer: (i64, i16),
        committed: bool,
        now: Now,
    ) {
        let Some(known) = self.topics.get_mut(topic) else {
            return;
        };
        let id = known.id;
        let ended = known
            .log(partition)
            .and_then(|(log, rules)| log.end_transaction(producer, committed, rules, now.wall));
        if let Some((segment, bytes)) = ended {
            self.appended(id, partition, segment, bytes);
        }
    }

    /// Takes away a partition's records before an offset; -1 for all of them. Returns the first offset left.
    ///
    /// # Errors
    /// Kafka's code.
    pub(crate) fn delete_records(&mut self, topic: &str, partition: i32, offset: i64) -> Result<i64, i16> {
        let known = self
            .topics
            .get_mut(topic)
            .ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
        let id = known.id;
        let (log, rules) = known.log(partition).ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
        if !rules.delete {
            return Err(code::POLICY_VIOLATION);
        }
        let offset = if offset == -1 { log.end() } else { offset };
        if !(0..=log.end()).contains(&offset) {
            return Err(code::OFFSET_OUT_OF_RANGE);
        }
        let before = log.cost();
        let cleaned = log.delete_before(offset);
        let (after, start) = (log.cost(), log.start());
        self.memory = self.memory + after - before;
        self.touch();
        self.cleaned_up(id, partition, cleaned);
        Ok(start)
    }

    fn cleaned_up(&mut self, topic: u128, partition: i32, cleaned: Cleaned) {
        if cleaned.is_empty() {
            return;
        }
        self.touch();
        if !cleaned.dropped.is_empty() {
            let segments = cleaned.dropped;
            self.keep(Keep::Drop {
                topic,
                partition,
                segments,
            });
        }
        for (segment, batches) in cleaned.rewritten {
            self.keep(Keep::Rewrite {
                topic,
                partition,
                segment,
                batches,
            });
        }
    }

    /// Retention and compaction.
    pub(crate) fn clean(&mut self, now: Now) {
        let mut all = Vec::new();
        for topic in self.topics.values_mut() {
            for (partition, log) in (0i32..).zip(&mut topic.partitions) {
                let before = log.cost();
                let cleaned = log.clean(&topic.rules, now.wall);
                self.memory = self.memory + log.cost() - before;
                all.push((topic.id, partition, cleaned));
            }
        }
        for (topic, partition, cleaned) in all {
            self.cleaned_up(topic, partition, cleaned);
        }
    }

    /// Takes away the oldest segments, of whichever partition, as long as there is more than the memory is for.
    pub(crate) fn bound_memory(&mut self, now: Now) {
        while self.memory > self.limits.max_memory {
            let logs = self.topics.values_mut().flat_map(|topic| {
                let id = topic.id;
                (0i32..)
                    .zip(&mut topic.partitions)
                    .map(move |(partition, log)| (id, partition, log))
            });
            let oldest = logs
                .filter_map(|(id, partition, log)| Some((log.oldest()?, id, partition, log)))
                .min_by_key(|(since, ..)| *since);
            let Some((_, id, partition, log)) = oldest else {
                return;
            };
            let before = log.cost();
            let cleaned = log.drop_oldest(now.wall);
            let after = log.cost();
            self.memory = self.memory + after - before;
            self.cleaned_up(id, partition, cleaned);
        }
    }
}
