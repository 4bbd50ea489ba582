//! The requests of the scenario: a line with a name and arguments becomes one, and its answer a line.

use std::net::SocketAddr;

use barnabas::record::{Batches, DecodeBuffer};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteGroupsRequest, DeleteRecordsRequest, GroupId, HeartbeatRequest,
    InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest,
};

use crate::wire::{Client, NOBODY, batch, text, topic};

/// The time of every record, in milliseconds since the epoch.
const TIME: i64 = 1_700_000_000_000;

pub(crate) struct Requests {
    address: SocketAddr,
    /// What `producer` was given last: id and epoch.
    producer: (i64, i16),
}

impl Requests {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let producer = (-1, -1);
        Self { address, producer }
    }

    /// A request, on a connection of its own, and what it came to.
    pub(crate) async fn run(&mut self, request: &str) -> String {
        let words: Vec<&str> = request.split(' ').collect();
        let c = &mut Client::connect(self.address).await;
        let number = |text: &str| {
            text.parse::<i64>()
                .unwrap_or_else(|_| panic!("{request}: {text}"))
        };
        let small = |text: &str| i32::try_from(number(text)).unwrap();
        match words[..] {
            ["create", name, partitions, replication, ref configs @ ..] => {
                let configs = configs.iter().map(|config| {
                    let (name, value) = config.split_once('=').unwrap();
                    let config = CreatableTopicConfig::default().with_name(text(name));
                    config.with_value(Some(text(value)))
                });
                let new = CreatableTopic::default()
                    .with_name(topic(name))
                    .with_num_partitions(small(partitions))
                    .with_replication_factor(small(replication).try_into().unwrap())
                    .with_configs(configs.collect());
                let all = CreateTopicsRequest::default()
                    .with_topics(vec![new])
                    .with_timeout_ms(20_000);
                let answer = c.ask(7, all).await.topics.remove(0);
                let message = answer.error_message.map(|text| text.to_string());
                let told = answer.configs.unwrap_or_default();
                let told: Vec<String> = told
                    .iter()
                    .filter(|config| config.config_source == 1)
                    .map(|config| format!("{}={}", &*config.name, config.value.as_deref().unwrap_or("null")))
                    .collect();
                format!(
                    "error {} {message:?}, {} partitions, replication {}, {told:?}",
                    answer.error_code, answer.num_partitions, answer.replication_factor
                )
            }
            ["metadata", name] => {
                let one = kafka_protocol::messages::metadata_request::MetadataRequestTopic::default();
                let one = one.with_name(Some(topic(name)));
                let request = MetadataRequest::default().with_topics(Some(vec![one]));
                let answer = c.ask(12, request).await.topics.remove(0);
                let partitions = answer.partitions.iter().map(|partition| {
                    (
                        partition.partition_index,
                        partition.leader_id.0,
                        partition.leader_epoch,
                    )
                });
                let mut partitions: Vec<_> = partitions.collect();
                partitions.sort_unstable();
                format!("error {}, {partitions:?}", answer.error_code)
            }
            ["producer"] => {
                let request = InitProducerIdRequest::default()
                    .with_transactional_id(None)
                    .with_transaction_timeout_ms(60_000)
                    .with_producer_id((-1).into())
                    .with_producer_epoch(-1);
                let answer = c.ask(4, request).await;
                self.producer = (answer.producer_id.0, answer.producer_epoch);
                format!("error {}, epoch {}", answer.error_code, answer.producer_epoch)
            }
            ["publish", name, partition] => {
                let set = batch(&[("k", Some("v"))], TIME, NOBODY);
                published(c, name, small(partition), set).await
            }
            // Of the producer: records from this sequence number on, in an epoch so much newer than its own.
            ["publish", name, partition, sequence, count, newer] => {
                let records = vec![("k", Some("v")); usize::try_from(number(count)).unwrap()];
                let epoch = self.producer.1 + i16::try_from(number(newer)).unwrap();
                let set = batch(&records, TIME, (self.producer.0, epoch, small(sequence)));
                published(c, name, small(partition), set).await
            }
            ["publish-damaged", name, partition] => {
                let mut set = batch(&[("k", Some("v"))], TIME, NOBODY);
                *set.last_mut().unwrap() ^= 1;
                published(c, name, small(partition), set).await
            }
            ["fetch", name, partition, offset] => {
                let answer = c.fetch(name, small(partition), number(offset), false).await;
                let set = answer.records.unwrap_or_default();
                let mut offsets = Vec::new();
                let mut buffer = DecodeBuffer::new();
                for batch in Batches::new(&set) {
                    offsets.extend(
                        batch
                            .records(&mut buffer)
                            .unwrap()
                            .map(|record| record.unwrap().offset),
                    );
                }
                format!(
                    "error {}, start {}, end {}, stable {}, {offsets:?}",
                    answer.error_code,
                    answer.log_start_offset,
                    answer.high_watermark,
                    answer.last_stable_offset
                )
            }
            ["offset", name, partition, time] => {
                let one = ListOffsetsPartition::default()
                    .with_partition_index(small(partition))
                    .with_timestamp(number(time))
                    .with_current_leader_epoch(-1);
                let request = ListOffsetsRequest::default()
                    .with_replica_id((-1).into())
                    .with_topics(vec![
                        ListOffsetsTopic::default()
                            .with_name(topic(name))
                            .with_partitions(vec![one]),
                    ]);
                let answer = c.ask(7, request).await.topics.remove(0).partitions.remove(0);
                format!(
                    "error {}, offset {}, time {}, epoch {}",
                    answer.error_code, answer.offset, answer.timestamp, answer.leader_epoch
                )
            }
            ["delete-records", name, partition, offset] => {
                let one = DeleteRecordsPartition::default()
                    .with_partition_index(small(partition))
                    .with_offset(number(offset));
                let request = DeleteRecordsRequest::default()
                    .with_timeout_ms(20_000)
                    .with_topics(vec![
                        DeleteRecordsTopic::default()
                            .with_name(topic(name))
                            .with_partitions(vec![one]),
                    ]);
                let answer = c.ask(2, request).await.topics.remove(0).partitions.remove(0);
                format!("error {}, start {}", answer.error_code, answer.low_watermark)
            }
            ["commit", group, name, partition, offset, metadata] => {
                let one = OffsetCommitRequestPartition::default()
                    .with_partition_index(small(partition))
                    .with_committed_offset(number(offset))
                    .with_committed_metadata(Some(text(metadata)));
                let request = OffsetCommitRequest::default()
                    .with_group_id(GroupId(text(group)))
                    .with_generation_id_or_member_epoch(-1)
                    .with_topics(vec![
                        OffsetCommitRequestTopic::default()
                            .with_name(topic(name))
                            .with_partitions(vec![one]),
                    ]);
                let answer = c.ask(8, request).await.topics.remove(0).partitions.remove(0);
                format!("error {}", answer.error_code)
            }
            ["committed", group, name, partition] => {
                let one = OffsetFetchRequestTopic::default()
                    .with_name(topic(name))
                    .with_partition_indexes(vec![small(partition)]);
                let request = OffsetFetchRequest::default()
                    .with_group_id(GroupId(text(group)))
                    .with_topics(Some(vec![one]));
                let answer = c.ask(7, request).await;
                let one = &answer.topics[0].partitions[0];
                format!(
                    "error {} {}, offset {}, {:?}",
                    answer.error_code,
                    one.error_code,
                    one.committed_offset,
                    one.metadata.as_deref()
                )
            }
            ["heartbeat", group, member] => {
                let request = HeartbeatRequest::default()
                    .with_group_id(GroupId(text(group)))
                    .with_generation_id(1)
                    .with_member_id(text(member));
                format!("error {}", c.ask(4, request).await.error_code)
            }
            ["delete-group", group] => {
                let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text(group))]);
                format!("error {}", c.ask(2, request).await.results[0].error_code)
            }
            _ => panic!("@ {request}: there is no such request"),
        }
    }
}

async fn published(c: &mut Client, name: &str, partition: i32, set: Vec<u8>) -> String {
    let answer = c.produce(name, partition, None, set).await;
    format!(
        "error {}, offset {}, append time {}, start {}",
        answer.error_code, answer.base_offset, answer.log_append_time_ms, answer.log_start_offset
    )
}
