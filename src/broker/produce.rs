//! Produce and InitProducerId, told without the protocol's types.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    DescribeConfigsRequest, InitProducerIdRequest, ProduceRequest, ProduceResponse,
};

use super::cluster::{Cluster, Node};
use super::connection::{Connection, Pending};
use super::error::Error;
use super::request::{text, topic_name};
use crate::record::Identity;

/// A batch on its way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) batch: Bytes,
}

/// What the broker said of a partition's batch.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) sent: Sent,
}

/// Likewise, by what follows from it.
#[derive(Debug)]
pub(crate) enum Sent {
    /// From this offset on.
    Written { base_offset: i64 },
    /// An earlier try was written, too long ago for the broker to know its offset.
    Duplicate,
    /// Not the next in sequence, or from a producer that the broker does not know.
    OutOfSequence { error: Error },
    /// The batch is larger than the topic takes, or one of its records is not valid: nothing of it is written, and
    /// parts of it may be.
    Divisible { error: Error },
    /// Anything else; `unknown`: it may have been written all the same.
    Failed { error: Error, unknown: bool },
}

/// Puts a produce request into the connection's stream, and returns its answer to wait for.
pub(crate) fn send(
    connection: &Arc<Connection>,
    outgoing: Vec<Outgoing>,
    timeout: Duration,
) -> Pending<Vec<Answer>> {
    let mut topics: Vec<TopicProduceData> = Vec::new();
    for Outgoing {
        topic,
        partition,
        batch,
    } in outgoing
    {
        let data = PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(batch));
        // Partitions come sorted by topic.
        match topics.last_mut().filter(|last| last.name.as_str() == &*topic) {
            Some(last) => last.partition_data.push(data),
            None => topics.push(
                TopicProduceData::default()
                    .with_name(topic_name(&topic))
                    .with_partition_data(vec![data]),
            ),
        }
    }
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(timeout_ms)
        .with_topic_data(topics);
    let pending = connection.start(request, Duration::ZERO);
    Box::pin(async move { pending.await.map(|response| answers(&response)) })
}

fn answers(response: &ProduceResponse) -> Vec<Answer> {
    let mut answers = Vec::new();
    for topic in &response.responses {
        for partition in &topic.partition_responses {
            let name = topic.name.to_string();
            let what = || format!("publishing to partition {} of topic {name}", partition.index);
            let error = Error::refused(what, partition.error_code, partition.error_message.as_deref());
            let sent = match error {
                None => Sent::Written {
                    base_offset: partition.base_offset,
                },
                Some(error) => failed(error),
            };
            answers.push(Answer {
                topic: name,
                partition: partition.index,
                sent,
            });
        }
    }
    answers
}

fn failed(error: Error) -> Sent {
    use ResponseError as E;
    match error.code() {
        Some(E::DuplicateSequenceNumber) => Sent::Duplicate,
        Some(
            E::OutOfOrderSequenceNumber
            | E::UnknownProducerId
            | E::InvalidProducerEpoch
            | E::InvalidProducerIdMapping
            | E::ProducerFenced,
        ) => Sent::OutOfSequence { error },
        Some(E::MessageTooLarge | E::RecordListTooLarge | E::InvalidRecord | E::InvalidTimestamp) => {
            Sent::Divisible { error }
        }
        // Written here, but not (yet) on enough replicas, or not known to be: the repeat is recognised by its sequence.
        Some(
            E::RequestTimedOut
            | E::NotEnoughReplicasAfterAppend
            | E::KafkaStorageError
            | E::UnknownServerError,
        ) => Sent::Failed { error, unknown: true },
        _ => Sent::Failed {
            error,
            unknown: false,
        },
    }
}

/// Gets a producer id of our own.
///
/// # Errors
/// Those of [`Cluster::ask`], and the broker's refusal.
pub(crate) async fn init_producer_id(cluster: &Cluster) -> Result<Identity, Error> {
    let request = InitProducerIdRequest::default()
        // Its default is an empty name, not none.
        .with_transactional_id(None)
        .with_transaction_timeout_ms(i32::MAX)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1);
    cluster
        .retry(|| async {
            let response = cluster.ask(Node::Any, &request).await?;
            let what = || "getting a producer id".to_owned();
            match Error::refused(what, response.error_code, None) {
                Some(error) => Err(error),
                None => Ok(Identity {
                    id: response.producer_id.0,
                    epoch: response.producer_epoch,
                }),
            }
        })
        .await
}

/// How large a batch the topic takes, in bytes (`max.message.bytes`). `None` if we may not know.
///
/// # Errors
/// Those of [`Cluster::ask`].
pub(crate) async fn max_message_bytes(cluster: &Cluster, topic: &str) -> Result<Option<usize>, Error> {
    const TOPIC: i8 = 2;
    const NAME: &str = "max.message.bytes";
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(topic))
        .with_configuration_keys(Some(vec![text(NAME)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let response = cluster.ask(Node::Any, &request).await?;
    let result = response.results.iter().find(|result| result.error_code == 0);
    let config = result.and_then(|result| result.configs.iter().find(|config| config.name.as_str() == NAME));
    Ok(config.and_then(|config| config.value.as_ref()?.parse().ok()))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};

    use super::*;

    fn sent(code: i16) -> Sent {
        let partition = PartitionProduceResponse::default()
            .with_index(3)
            .with_error_code(code)
            .with_base_offset(42);
        let topic = TopicProduceResponse::default()
            .with_name(topic_name("t"))
            .with_partition_responses(vec![partition]);
        let mut answers = answers(&ProduceResponse::default().with_responses(vec![topic]));
        assert_eq!(answers.len(), 1);
        let answer = answers.remove(0);
        assert_eq!((answer.topic.as_str(), answer.partition), ("t", 3));
        answer.sent
    }

    #[test]
    fn no_error_is_written_at_its_offset() {
        assert!(matches!(sent(0), Sent::Written { base_offset: 42 }));
    }

    #[test]
    fn a_repeat_that_is_too_old_to_have_an_offset_is_written() {
        assert!(matches!(
            sent(ResponseError::DuplicateSequenceNumber.code()),
            Sent::Duplicate
        ));
    }

    #[test]
    fn numbers_that_the_broker_does_not_take_are_a_gap() {
        use ResponseError as E;
        for code in [
            E::OutOfOrderSequenceNumber,
            E::UnknownProducerId,
            E::InvalidProducerEpoch,
        ] {
            assert!(
                matches!(sent(code.code()), Sent::OutOfSequence { .. }),
                "{code:?}"
            );
        }
    }

    #[test]
    fn what_is_too_large_can_be_divided() {
        use ResponseError as E;
        for code in [
            E::MessageTooLarge,
            E::RecordListTooLarge,
            E::InvalidRecord,
            E::InvalidTimestamp,
        ] {
            assert!(matches!(sent(code.code()), Sent::Divisible { .. }), "{code:?}");
        }
    }

    #[test]
    fn only_errors_after_the_write_leave_it_open_whether_it_is_written() {
        use ResponseError as E;
        for (code, may_be_written) in [
            (E::RequestTimedOut, true),
            (E::NotEnoughReplicasAfterAppend, true),
            (E::KafkaStorageError, true),
            (E::UnknownServerError, true),
            (E::NotEnoughReplicas, false),
            (E::NotLeaderOrFollower, false),
            (E::TopicAuthorizationFailed, false),
            (E::PolicyViolation, false),
        ] {
            assert!(
                matches!(sent(code.code()), Sent::Failed { unknown, .. } if unknown == may_be_written),
                "{code:?}"
            );
        }
    }
}
