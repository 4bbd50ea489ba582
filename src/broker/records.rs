//! DeleteRecords: the beginning of a partition given up; told without the protocol's types.

use std::time::Duration;

use kafka_protocol::messages::DeleteRecordsRequest;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};

use super::cluster::{Cluster, Lane, Node};
use super::error::{Error, ResponseError};
use super::request::topic_name;

/// Deletes the records before this offset, and tells where the partition begins now.
///
/// # Errors
/// If the partition's leader cannot be asked until `--timeout` is over, or refuses.
pub async fn delete_before(
    cluster: &Cluster,
    topic: &str,
    partition: i32,
    before: i64,
) -> Result<i64, Error> {
    let what = || format!("deleting the beginning of partition {partition} of topic {topic}");
    let timeout = cluster.settings().timeout;
    let data = DeleteRecordsPartition::default()
        .with_partition_index(partition)
        .with_offset(before);
    let request = DeleteRecordsRequest::default()
        .with_timeout_ms(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX))
        .with_topics(vec![
            DeleteRecordsTopic::default()
                .with_name(topic_name(topic))
                .with_partitions(vec![data]),
        ]);
    cluster
        .retry(|| async {
            let leader = led_by(cluster, topic, partition, what).await?;
            let connection = cluster.connection(Node::Broker(leader), Lane::Other).await?;
            let response = match connection.request(&request, Duration::ZERO).await {
                Ok(response) => response,
                Err(error) => return Err(refresh_after(cluster, topic, error).await),
            };
            let results = response.topics.iter().flat_map(|topic| &topic.partitions);
            let result = results
                .into_iter()
                .find(|result| result.partition_index == partition);
            let code = result.map_or(ResponseError::UnknownServerError.code(), |result| {
                result.error_code
            });
            if let Some(error) = Error::refused(what, code, None) {
                return Err(refresh_after(cluster, topic, error).await);
            }
            Ok(result.map_or(before, |result| result.low_watermark))
        })
        .await
}

/// The partition's leader, asked for if it is not known.
async fn led_by(
    cluster: &Cluster,
    topic: &str,
    partition: i32,
    what: impl Fn() -> String,
) -> Result<i32, Error> {
    let known = cluster.view().leader(topic, partition);
    if let Some((leader, _)) = known {
        return Ok(leader);
    }
    let view = cluster.refresh(Some(&[topic])).await?;
    let leader = view.leader(topic, partition).map(|(leader, _)| leader);
    leader.ok_or_else(|| view.leaderless(what(), topic))
}

/// The error, after new metadata where that may mend it.
async fn refresh_after(cluster: &Cluster, topic: &str, error: Error) -> Error {
    if error.retry() == super::error::Retry::Refresh {
        // If that fails too, the next try says so.
        drop(cluster.refresh(Some(&[topic])).await);
    }
    error
}
