//! OffsetCommit and OffsetFetch: the offsets that Kafka keeps for a group; told without the protocol's types.
//!
//! They are committed from outside of the group, as administrators do: without a generation and a member. The brokers
//! take that only while the group has no members by Kafka's own protocol.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};

use super::cluster::Cluster;
use super::error::{Error, ResponseError};
use super::groups::{ask_coordinator, group_id};
use super::metadata::PartitionId;
use super::request::{text, topic_name};

/// What is committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to be processed.
    pub offset: i64,
    /// The leader epoch of what was processed before it; −1 if not known.
    pub leader_epoch: i32,
    /// Whatever the committer wrote beside it.
    pub metadata: String,
}

/// Commits these offsets, and tells of each what came of it.
///
/// # Errors
/// If the group's coordinator cannot be asked.
pub async fn commit(
    cluster: &Cluster,
    group: &str,
    offsets: &BTreeMap<PartitionId, Committed>,
) -> Result<BTreeMap<PartitionId, Result<(), Error>>, Error> {
    let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
    for ((topic, partition), committed) in offsets {
        let data = OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(committed.offset)
            .with_committed_leader_epoch(committed.leader_epoch)
            .with_committed_metadata(Some(text(&committed.metadata)));
        match topics.last_mut().filter(|last| last.name.as_str() == &**topic) {
            Some(last) => last.partitions.push(data),
            None => topics.push(
                OffsetCommitRequestTopic::default()
                    .with_name(topic_name(topic))
                    .with_partitions(vec![data]),
            ),
        }
    }
    // The generation is −1 and the member "" (not null) by default.
    let request = OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_topics(topics);
    ask_coordinator(cluster, group, &request, |response| {
        outcomes(group, offsets, &response)
    })
    .await
}

/// A coordinator that moved says so in each partition: an error of the whole, so that it is asked again.
fn outcomes(
    group: &str,
    offsets: &BTreeMap<PartitionId, Committed>,
    response: &OffsetCommitResponse,
) -> Result<BTreeMap<PartitionId, Result<(), Error>>, Error> {
    use ResponseError as E;
    let mut codes = BTreeMap::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            codes.insert(
                (topic.name.as_str(), partition.partition_index),
                partition.error_code,
            );
        }
    }
    let mut outcomes = BTreeMap::new();
    for id in offsets.keys() {
        let unanswered = E::UnknownServerError.code();
        let code = codes.get(&(&*id.0, id.1)).copied().unwrap_or(unanswered);
        let what = || {
            format!(
                "committing the offset of partition {} of topic {} to group {group}",
                id.1, id.0
            )
        };
        match Error::refused(what, code, None) {
            Some(error)
                if matches!(
                    error.code(),
                    Some(E::NotCoordinator | E::CoordinatorNotAvailable | E::CoordinatorLoadInProgress)
                ) =>
            {
                return Err(error);
            }
            Some(error) => outcomes.insert(id.clone(), Err(error)),
            None => outcomes.insert(id.clone(), Ok(())),
        };
    }
    Ok(outcomes)
}

/// The committed offsets of these partitions, or of all that have one.
///
/// # Errors
/// If the group's coordinator cannot be asked, or refuses to tell one of them.
pub async fn committed(
    cluster: &Cluster,
    group: &str,
    partitions: Option<&[PartitionId]>,
) -> Result<BTreeMap<PartitionId, Committed>, Error> {
    let topics = partitions.map(|partitions| {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in partitions {
            topics.entry(topic).or_default().push(*partition);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            OffsetFetchRequestTopic::default()
                .with_name(topic_name(topic))
                .with_partition_indexes(partitions)
        });
        topics.collect()
    });
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id(group))
        .with_topics(topics);
    ask_coordinator(cluster, group, &request, |response| told(group, &response)).await
}

fn told(group: &str, response: &OffsetFetchResponse) -> Result<BTreeMap<PartitionId, Committed>, Error> {
    let what = || format!("reading the committed offsets of group {group}");
    if let Some(error) = Error::refused(what, response.error_code, None) {
        return Err(error);
    }
    let mut told = BTreeMap::new();
    for topic in &response.topics {
        let name: Arc<str> = Arc::from(topic.name.as_str());
        for partition in &topic.partitions {
            if let Some(error) = Error::refused(what, partition.error_code, None) {
                return Err(error);
            }
            // −1: nothing is committed.
            if partition.committed_offset >= 0 {
                let committed = Committed {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition
                        .metadata
                        .as_ref()
                        .map(ToString::to_string)
                        .unwrap_or_default(),
                };
                told.insert((Arc::clone(&name), partition.partition_index), committed);
            }
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::offset_commit_response::{
        OffsetCommitResponsePartition, OffsetCommitResponseTopic,
    };
    use kafka_protocol::messages::offset_fetch_response::{
        OffsetFetchResponsePartition, OffsetFetchResponseTopic,
    };

    use super::*;

    fn offsets() -> BTreeMap<PartitionId, Committed> {
        let committed = Committed {
            offset: 7,
            leader_epoch: -1,
            metadata: String::new(),
        };
        let topic: Arc<str> = Arc::from("t");
        BTreeMap::from([
            ((Arc::clone(&topic), 0), committed.clone()),
            ((topic, 1), committed),
        ])
    }

    fn answer(codes: &[(i32, ResponseError)]) -> OffsetCommitResponse {
        let partitions = codes.iter().map(|(partition, code)| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(*partition)
                .with_error_code(code.code())
        });
        let topic = OffsetCommitResponseTopic::default()
            .with_name(topic_name("t"))
            .with_partitions(partitions.collect());
        OffsetCommitResponse::default().with_topics(vec![topic])
    }

    #[test]
    fn a_coordinator_that_moved_is_an_error_of_the_whole() {
        let moved = answer(&[
            (0, ResponseError::NotCoordinator),
            (1, ResponseError::NotCoordinator),
        ]);
        assert!(outcomes("g", &offsets(), &moved).is_err());
    }

    #[test]
    fn a_refusal_is_told_of_its_partition_and_so_is_a_missing_answer() {
        let told = outcomes("g", &offsets(), &answer(&[(0, ResponseError::UnknownMemberId)])).unwrap();
        let codes: Vec<_> = told
            .values()
            .map(|told| told.as_ref().unwrap_err().code())
            .collect();
        let expected = [ResponseError::UnknownMemberId, ResponseError::UnknownServerError];
        assert_eq!(codes, expected.map(Some));
    }

    #[test]
    fn a_partition_without_a_commit_is_left_out() {
        let partition = |index, offset| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(index)
                .with_committed_offset(offset)
                .with_metadata(None)
        };
        let topic = OffsetFetchResponseTopic::default()
            .with_name(topic_name("t"))
            .with_partitions(vec![partition(0, -1), partition(1, 42)]);
        let told = told("g", &OffsetFetchResponse::default().with_topics(vec![topic])).unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!(told[&(Arc::from("t"), 1)].offset, 42);
    }
}
