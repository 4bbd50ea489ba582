//! OffsetForLeaderEpoch: whether a log was cut back since; told without the protocol's types.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{BrokerId, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::cluster::{Cluster, Lane, Node};
use super::error::{Error, ResponseError, Retry};
use super::metadata::PartitionId;
use super::request::topic_name;

/// Where an epoch ends in the leader's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch up to the one asked for that the log has; −1 if it has none.
    pub epoch: i32,
    /// The offset behind that epoch's last record; −1 if the log has none.
    pub end: i64,
}

/// Of each of these partitions, where this leader epoch ends in the log of today's leader: a position behind that was
/// reached in a log that is no more. Leaders that move are followed until `--timeout` is over.
///
/// # Errors
/// Those that a retry does not help, of any of the partitions; [`Error::Unreachable`].
pub async fn ends(
    cluster: &Cluster,
    epochs: &BTreeMap<PartitionId, i32>,
) -> Result<BTreeMap<PartitionId, EpochEnd>, Error> {
    cluster
        .retry(|| async {
            match try_once(cluster, epochs).await {
                Err(error) if error.retry() == Retry::Refresh => {
                    // If that fails too, the next try says so.
                    drop(cluster.refresh_topics_of(epochs.keys()).await);
                    Err(error)
                }
                result => result,
            }
        })
        .await
}

async fn try_once(
    cluster: &Cluster,
    epochs: &BTreeMap<PartitionId, i32>,
) -> Result<BTreeMap<PartitionId, EpochEnd>, Error> {
    let view = cluster.view();
    let mut by_leader: BTreeMap<i32, Vec<OffsetForLeaderTopic>> = BTreeMap::new();
    for (id, epoch) in epochs {
        let Some((leader, leader_epoch)) = view.leader(&id.0, id.1) else {
            return Err(view.leaderless(what(id), &id.0));
        };
        let data = OffsetForLeaderPartition::default()
            .with_partition(id.1)
            .with_current_leader_epoch(leader_epoch)
            .with_leader_epoch(*epoch);
        let topics = by_leader.entry(leader).or_default();
        match topics.last_mut().filter(|last| last.topic.as_str() == &*id.0) {
            Some(last) => last.partitions.push(data),
            None => topics.push(
                OffsetForLeaderTopic::default()
                    .with_topic(topic_name(&id.0))
                    .with_partitions(vec![data]),
            ),
        }
    }
    let answers = by_leader.into_iter().map(|(leader, topics)| async move {
        let request = OffsetForLeaderEpochRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(topics);
        let connection = cluster.connection(Node::Broker(leader), Lane::Other).await?;
        connection.request(&request, Duration::ZERO).await
    });
    let mut told = BTreeMap::new();
    for answer in join_all(answers).await {
        read(&answer?, epochs, &mut told)?;
    }
    match epochs.keys().find(|id| !told.contains_key(*id)) {
        None => Ok(told),
        Some(id) => Err(Error::Refused {
            what: what(id),
            code: ResponseError::UnknownServerError,
            message: Some("the answer leaves it out".to_owned()),
        }),
    }
}

fn read(
    response: &OffsetForLeaderEpochResponse,
    asked: &BTreeMap<PartitionId, i32>,
    told: &mut BTreeMap<PartitionId, EpochEnd>,
) -> Result<(), Error> {
    for topic in &response.topics {
        for partition in &topic.partitions {
            let id: PartitionId = (std::sync::Arc::from(topic.topic.as_str()), partition.partition);
            if !asked.contains_key(&id) {
                continue;
            }
            if let Some(error) = Error::refused(|| what(&id), partition.error_code, None) {
                return Err(error);
            }
            let end = EpochEnd {
                epoch: partition.leader_epoch,
                end: partition.end_offset,
            };
            told.insert(id, end);
        }
    }
    Ok(())
}

fn what(id: &PartitionId) -> String {
    format!("asking whether partition {} of topic {} was cut back", id.1, id.0)
}
