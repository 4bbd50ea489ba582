//! Fetch, told without the protocol's types.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{FetchRequest, FetchResponse};

use super::connection::{Connection, Pending};
use super::error::Error;
use super::request::topic_name;
use crate::record::AbortedTransaction;

/// Sizes and times of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// Bytes of one answer (`fetch.max.bytes`).
    pub max_bytes: i32,
    /// Bytes of one partition in it (`max.partition.fetch.bytes`).
    pub max_partition_bytes: i32,
    /// Bytes for which the broker waits (`fetch.min.bytes`).
    pub min_bytes: i32,
    /// How long it waits at most (`fetch.wait.max.ms`).
    pub max_wait: Duration,
}

/// What to fetch of a partition.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Of the leader, as the metadata has it.
    pub(crate) leader_epoch: i32,
    /// Of the record before `offset`; −1 if not known.
    pub(crate) last_epoch: i32,
}

/// What came of a partition.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) error: Option<Error>,
    /// Where our log and the leader's part, as its end offset: what follows was cut off by an unclean election.
    pub(crate) diverged: Option<i64>,
    pub(crate) aborted: Vec<AbortedTransaction>,
    pub(crate) records: Bytes,
    /// Where the log begins; −1 if the broker does not tell it.
    pub(crate) log_start: i64,
    /// The end of what may be read.
    pub(crate) high_watermark: i64,
}

/// Puts a fetch request into the connection's stream, and returns its answer to wait for.
/// The partitions of a topic should be together, as each change of topic names one.
pub(crate) fn send(
    connection: &Arc<Connection>,
    wanted: &[Wanted],
    limits: FetchLimits,
    read_committed: bool,
) -> Pending<Vec<Part>> {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for Wanted {
        topic,
        partition,
        offset,
        leader_epoch,
        last_epoch,
    } in wanted
    {
        let data = FetchPartition::default()
            .with_partition(*partition)
            .with_fetch_offset(*offset)
            .with_current_leader_epoch(*leader_epoch)
            .with_last_fetched_epoch(*last_epoch)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(limits.max_partition_bytes);
        match topics.last_mut().filter(|last| last.topic.as_str() == &**topic) {
            Some(last) => last.partitions.push(data),
            None => topics.push(
                FetchTopic::default()
                    .with_topic(topic_name(topic))
                    .with_partitions(vec![data]),
            ),
        }
    }
    let request = FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_wait_ms(i32::try_from(limits.max_wait.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(limits.min_bytes)
        .with_max_bytes(limits.max_bytes)
        .with_isolation_level(i8::from(read_committed))
        // No fetch session: each request tells all.
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(topics);
    let pending = connection.start(request, limits.max_wait);
    Box::pin(async move { parts(pending.await?) })
}

fn parts(response: FetchResponse) -> Result<Vec<Part>, Error> {
    if let Some(error) = Error::refused(|| "fetching".to_owned(), response.error_code, None) {
        return Err(error);
    }
    let mut parts = Vec::new();
    for topic in response.responses {
        for partition in topic.partitions {
            parts.push(part(&topic.topic, partition));
        }
    }
    Ok(parts)
}

fn part(topic: &str, data: PartitionData) -> Part {
    let what = || {
        format!(
            "fetching from partition {} of topic {topic}",
            data.partition_index
        )
    };
    let aborted = data.aborted_transactions.unwrap_or_default();
    Part {
        topic: topic.to_owned(),
        partition: data.partition_index,
        error: Error::refused(what, data.error_code, None),
        diverged: (data.diverging_epoch.epoch >= 0).then_some(data.diverging_epoch.end_offset),
        aborted: aborted
            .iter()
            .map(|entry| AbortedTransaction {
                first_offset: entry.first_offset,
                producer_id: entry.producer_id.0,
            })
            .collect(),
        log_start: data.log_start_offset,
        high_watermark: data.high_watermark,
        records: data.records.unwrap_or_default(),
    }
}
