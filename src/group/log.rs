//! A group's log: one topic of one partition, made or checked, written to and read.
//!
//! Appends may be lost, late, reordered or doubled: no rule of the group needs more of them, so they carry no producer's
//! id. Reading tells when the log was cut off before or behind the reader.

mod error;
mod reader;
mod replay;
mod settings;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use error::{LogError, Right};
pub use reader::LogRecord;
pub use replay::{Administered, Line, Outcome, Replayed, administer, replay};
pub use tail::{Pace, Tail, Tailed};

use crate::broker::admin::{NewTopic, create_topics, find_topics, is_there_already, wait_until_led};
use crate::broker::admin_configs::describe_known;
use crate::broker::cluster::{Cluster, Lane, Node};
use crate::broker::error::{Error, Retry};
use crate::broker::metadata::{Topic, View};
use crate::broker::produce::{self, Outgoing, Sent};
use crate::broker::{offsets, records};
use crate::clock;
use crate::record::{BatchBuilder, BatchOptions, Compressor, NewRecord};
use reader::Reader;

/// What a log's topic is called, before the group's name.
pub const PREFIX: &str = "barnabas.group.";
/// The longest name of a topic.
const MAX_TOPIC: usize = 249;
/// The partition that the log is.
const PARTITION: i32 = 0;
/// How long the brokers may take for an append, for lack of replicas in sync; what else is asked of that broker waits
/// behind it.
const APPEND: Duration = Duration::from_secs(3);
/// How much longer its answer is waited for.
const ANSWER: Duration = Duration::from_secs(3);
/// How long new metadata is waited for after an append that failed.
const REFRESH: Duration = Duration::from_secs(2);

/// The group whose log this topic is.
#[must_use]
pub fn group_of(topic: &str) -> Option<&str> {
    topic.strip_prefix(PREFIX).filter(|group| !group.is_empty())
}

/// The topic that is this group's log.
///
/// # Errors
/// A name that cannot be part of a topic's: it is not encoded, lest two groups share a log.
pub fn topic_of(group: &str) -> Result<String, LogError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = !group.is_empty() && group.len() <= MAX_TOPIC - PREFIX.len();
    if fits && group.bytes().all(legal) {
        Ok(format!("{PREFIX}{group}"))
    } else {
        Err(LogError::Name {
            group: group.to_owned(),
            most: MAX_TOPIC - PREFIX.len(),
        })
    }
}

/// A group's log that exists and fits. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    cluster: Cluster,
    group: Arc<str>,
    topic: Arc<str>,
    id: [u8; 16],
    warnings: Vec<String>,
}

impl Log {
    /// Finds a group's log, with `create` makes it if there is none, and checks its settings.
    ///
    /// # Errors
    /// There is none, it cannot be made, or it does not do as a log; a missing right; brokers that cannot be reached.
    pub async fn open(cluster: &Cluster, group: &str, create: bool) -> Result<Self, LogError> {
        let topic = topic_of(group)?;
        let named = |doing: Right| {
            let topic = topic.clone();
            move |error| LogError::of(error, doing, &topic)
        };
        let mut view = match create {
            true => cluster.refresh(Some(&[topic.as_str()])).await,
            false => find_topics(cluster, &[topic.as_str()]).await,
        }
        .map_err(named(Right::Describe))?;
        let missing = || LogError::Missing {
            group: group.to_owned(),
            topic: topic.clone(),
        };
        let error = |topic: &Topic| topic.error.map(|code| refused("finding the log", code));
        let found = view.topics.get(&topic).map(error);
        match found {
            // Brokers that were not asked yet may not know of it for a moment: what was seen last counts.
            None => view = made(cluster, &topic, &view, create, missing).await?,
            Some(Some(error)) if error.is_unknown_topic() => {
                view = made(cluster, &topic, &view, create, missing).await?;
            }
            Some(Some(error)) if error.retry() == Retry::No => {
                return Err(LogError::of(error, Right::Describe, &topic));
            }
            Some(Some(_)) => view = led(cluster, &topic).await?,
            Some(None) => {}
        }
        let found = view.topics.get(&topic).ok_or_else(missing)?;
        if let Some(error) = error(found) {
            return Err(LogError::of(error, Right::Describe, &topic));
        }
        let mut log = Self {
            cluster: cluster.clone(),
            group: Arc::from(group),
            topic: Arc::from(topic.as_str()),
            id: found.id,
            warnings: Vec::new(),
        };
        log.check(found, view.brokers.len()).await?;
        Ok(log)
    }

    /// What its topic is, compared with what it should be.
    async fn check(&mut self, found: &Topic, brokers: usize) -> Result<(), LogError> {
        if found.partitions.len() != 1 {
            return Err(LogError::Unfit {
                topic: self.topic.to_string(),
                why: format!("it has {} partitions, and a log has one", found.partitions.len()),
            });
        }
        let replicas = found.partitions[0].replicas.len();
        match describe_known(&self.cluster, &self.topic, &settings::CHECKED).await {
            Ok(configs) => {
                let verdict = settings::judge(&configs, replicas, brokers);
                if let Some(why) = verdict.unfit {
                    return Err(LogError::Unfit {
                        topic: self.topic.to_string(),
                        why,
                    });
                }
                self.warnings = verdict.warnings;
            }
            Err(error) if error.is_unauthorised() => self
                .warnings
                .push("its settings cannot be checked: this user has no right to DescribeConfigs".to_owned()),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The topic's id: another one is another log.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.id
    }

    /// The id as Kafka's tools print it.
    #[must_use]
    pub fn id_text(&self) -> String {
        id_text(self.id)
    }

    /// What is not as it should be, in words that follow "topic T, the log of group G: ".
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where the log begins and ends.
    ///
    /// # Errors
    /// A missing right, brokers that cannot be reached.
    pub async fn bounds(&self) -> Result<(i64, i64), LogError> {
        bounds(&self.cluster, &self.topic)
            .await
            .map_err(|error| LogError::of(error, Right::Read, &self.topic))
    }

    /// Writes a record behind the others; one try, or two if the log is led by another broker than was thought. An
    /// error does not mean that it was not written. Tells its offset.
    ///
    /// # Errors
    /// What the brokers said.
    pub async fn append(&self, payload: &[u8]) -> Result<i64, Error> {
        let error = match self.append_once(payload).await {
            Err(error) if error.retry() == Retry::Refresh => error,
            result => return result,
        };
        tracing::debug!("writing to {} again: {error}", self.topic);
        let topics = [&*self.topic];
        match tokio::time::timeout(REFRESH, self.cluster.refresh(Some(&topics))).await {
            Ok(Ok(_)) => self.append_once(payload).await,
            Ok(Err(_)) | Err(_) => Err(error),
        }
    }

    async fn append_once(&self, payload: &[u8]) -> Result<i64, Error> {
        let what = || format!("writing to topic {}", self.topic);
        let view = self.cluster.view();
        let Some((leader, _)) = view.leader(&self.topic, PARTITION) else {
            return Err(view.leaderless(what(), &self.topic));
        };
        let batch = batch(payload, clock::unix_millis())?;
        let connection = self.cluster.connection(Node::Broker(leader), Lane::Other).await?;
        let outgoing = Outgoing {
            topic: Arc::clone(&self.topic),
            partition: PARTITION,
            batch,
        };
        let answer = produce::send(&connection, vec![outgoing], APPEND);
        let Ok(answers) = tokio::time::timeout(APPEND + ANSWER, answer).await else {
            connection.give_up();
            return Err(Error::Timeout {
                broker: connection.broker().clone(),
                api: "Produce",
                within: APPEND + ANSWER,
            });
        };
        match answers?.pop().map(|answer| answer.sent) {
            Some(Sent::Written { base_offset }) => Ok(base_offset),
            Some(Sent::OutOfSequence { error } | Sent::Divisible { error } | Sent::Failed { error, .. }) => {
                Err(error)
            }
            // A batch of no producer is no duplicate.
            Some(Sent::Duplicate) | None => Err(Error::Closed),
        }
    }

    /// Follows the log from this offset on.
    #[must_use]
    pub fn tail_from(&self, start: i64) -> Tail {
        Tail::start(self.reader(start))
    }

    /// All the records that there are now, and where the log begins and ends.
    ///
    /// # Errors
    /// A missing right, brokers that cannot be reached, a log that is cut meanwhile.
    pub async fn read_all(&self) -> Result<(Vec<LogRecord>, i64, i64), LogError> {
        let (start, end) = self.bounds().await?;
        let mut reader = self.reader(start);
        let records = reader.read_to(end).await?;
        Ok((records, start, reader.position()))
    }

    /// Deletes what lies before this offset.
    ///
    /// # Errors
    /// A missing right, brokers that cannot be reached.
    pub async fn delete_before(&self, before: i64) -> Result<(), LogError> {
        records::delete_before(&self.cluster, &self.topic, PARTITION, before)
            .await
            .map_err(|error| LogError::of(error, Right::Delete, &self.topic))?;
        Ok(())
    }

    fn reader(&self, from: i64) -> Reader {
        Reader::new(self.cluster.clone(), Arc::clone(&self.topic), self.id, from)
    }
}

/// An id as Kafka's tools print it.
#[must_use]
pub fn id_text(id: [u8; 16]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(id)
}

async fn bounds(cluster: &Cluster, topic: &Arc<str>) -> Result<(i64, i64), Error> {
    let partition = [(Arc::clone(topic), PARTITION)];
    let mut bounds = offsets::bounds(cluster, &partition, false).await?;
    bounds.pop().unwrap_or(Err(Error::Closed))
}

/// The metadata of a log that was just made, if it may be.
async fn made(
    cluster: &Cluster,
    topic: &str,
    view: &View,
    create: bool,
    missing: impl FnOnce() -> LogError,
) -> Result<View, LogError> {
    if !create {
        return Err(missing());
    }
    let (replication, configs) = settings::of_a_new_log(view.brokers.len());
    let new = NewTopic {
        name: topic.to_owned(),
        partitions: Some(1),
        replication: Some(replication),
        configs,
    };
    let made = create_topics(cluster, &[new], false).await;
    match made.and_then(|mut made| made.pop().unwrap_or(Err(Error::Closed))) {
        Ok(_) => {}
        // Another member was faster.
        Err(error) if is_there_already(&error) => {}
        Err(error) => return Err(LogError::of(error, Right::Create, topic)),
    }
    led(cluster, topic).await
}

/// The metadata of a topic that has a leader, which is waited for.
async fn led(cluster: &Cluster, topic: &str) -> Result<View, LogError> {
    wait_until_led(cluster, &[(topic, 1)])
        .await
        .map_err(|error| LogError::of(error, Right::Describe, topic))?;
    Ok(cluster.view())
}

fn batch(payload: &[u8], timestamp: i64) -> Result<Bytes, Error> {
    let unencodable = |error: &dyn std::fmt::Display| Error::Unencodable(error.to_string());
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let record = NewRecord {
        value: Some(payload),
        timestamp,
        ..NewRecord::default()
    };
    builder.append(&record).map_err(|error| unencodable(&error))?;
    let batch = builder.seal().finish(-1, -1, -1, &mut Compressor::new());
    batch.map(Bytes::from).map_err(|error| unencodable(&error))
}

fn refused(what: &str, code: crate::broker::error::ResponseError) -> Error {
    Error::Refused {
        what: what.to_owned(),
        code,
        message: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_groups_name_is_part_of_its_logs() {
        assert_eq!(topic_of("billing.v2").unwrap(), "barnabas.group.billing.v2");
        assert_eq!(group_of("barnabas.group.billing.v2"), Some("billing.v2"));
        assert_eq!(group_of("barnabas.group."), None);
        assert_eq!(group_of("orders"), None);
    }

    #[test]
    fn a_name_that_is_not_part_of_a_topics_is_refused() {
        let longest = "g".repeat(MAX_TOPIC - PREFIX.len());
        assert!(topic_of(&longest).is_ok());
        for wrong in ["", "a/b", "a b", "ä", &format!("{longest}g")] {
            assert!(topic_of(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_id_is_printed_as_kafkas_tools_print_it() {
        assert_eq!(id_text([0; 16]), "AAAAAAAAAAAAAAAAAAAAAA");
    }
}
