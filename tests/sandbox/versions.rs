//! Every API in every version that the sandbox tells of, read by kafka-protocol's codecs to the last byte.

use std::collections::BTreeMap;

use kafka_protocol::messages::{self as kafka, ApiVersionsRequest};
use kafka_protocol::protocol::Request;

use crate::place::inside;
use crate::wire::{Client, NOBODY, batch, fetch, text, topic};

/// What the sandbox tells of.
async fn told(client: &mut Client) -> BTreeMap<i16, (i16, i16)> {
    let response = client.ask(3, ApiVersionsRequest::default()).await;
    assert_eq!(response.error_code, 0);
    response
        .api_keys
        .iter()
        .map(|api| (api.api_key, (api.min_version, api.max_version)))
        .collect()
}

/// Asks in each version that both sides know, made anew for each; takes the API off the list.
async fn each<R: Request>(
    client: &mut Client,
    left: &mut BTreeMap<i16, (i16, i16)>,
    make: impl Fn(i16) -> R,
) {
    let (min, max) = left
        .remove(&R::KEY)
        .unwrap_or_else(|| panic!("API {} is not told of", R::KEY));
    for version in min.max(R::VERSIONS.min)..=max.min(R::VERSIONS.max) {
        client.ask(version, make(version)).await;
    }
}

#[tokio::test]
async fn every_answer_is_well_formed_in_every_version_that_is_told() {
    let sandbox = inside(&[("t", 2, &[("retention.ms", "100000000000")])]).await;
    let c = &mut Client::connect(sandbox.address()).await;
    let mut left = told(c).await;
    let left = &mut left;
    for n in 0..3 {
        assert_eq!(
            c.produce("t", 0, None, batch(&[("k", Some("v"))], n, NOBODY))
                .await
                .error_code,
            0
        );
    }
    each(c, left, |_| ApiVersionsRequest::default()).await;
    each(c, left, |version| {
        let one = kafka::metadata_request::MetadataRequestTopic::default().with_name(Some(topic("t")));
        let request = kafka::MetadataRequest::default().with_topics(Some(vec![one]));
        if (8..=10).contains(&version) {
            request.with_include_cluster_authorized_operations(true)
        } else {
            request
        }
    })
    .await;
    each(c, left, |_| {
        let data = kafka::produce_request::PartitionProduceData::default()
            .with_records(Some(batch(&[("k", Some("v"))], 0, NOBODY).into()));
        kafka::ProduceRequest::default()
            .with_acks(1)
            .with_topic_data(vec![
                kafka::produce_request::TopicProduceData::default()
                    .with_name(topic("t"))
                    .with_partition_data(vec![data]),
            ])
    })
    .await;
    each(c, left, |version| {
        let request = fetch("t", 0, 0, true);
        if version < 7 {
            request.with_session_epoch(-1)
        } else {
            request.with_session_epoch(0)
        }
    })
    .await;
    each(c, left, |_| {
        let part = kafka::list_offsets_request::ListOffsetsPartition::default().with_timestamp(1);
        kafka::ListOffsetsRequest::default().with_topics(vec![
            kafka::list_offsets_request::ListOffsetsTopic::default()
                .with_name(topic("t"))
                .with_partitions(vec![part]),
        ])
    })
    .await;
    each(c, left, |version| {
        let part = kafka::offset_commit_request::OffsetCommitRequestPartition::default()
            .with_committed_offset(1)
            .with_committed_metadata(Some(text("m")));
        let request = kafka::OffsetCommitRequest::default()
            .with_group_id(kafka::GroupId(text("g")))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![
                kafka::offset_commit_request::OffsetCommitRequestTopic::default()
                    .with_name(topic("t"))
                    .with_partitions(vec![part]),
            ]);
        if version <= 4 {
            request.with_retention_time_ms(-1)
        } else {
            request
        }
    })
    .await;
    each(c, left, |version| {
        if version >= 8 {
            let group = kafka::offset_fetch_request::OffsetFetchRequestGroup::default()
                .with_group_id(kafka::GroupId(text("g")))
                .with_topics(None);
            return kafka::OffsetFetchRequest::default().with_groups(vec![group]);
        }
        let one = kafka::offset_fetch_request::OffsetFetchRequestTopic::default()
            .with_name(topic("t"))
            .with_partition_indexes(vec![0, 1]);
        kafka::OffsetFetchRequest::default()
            .with_group_id(kafka::GroupId(text("g")))
            .with_topics(Some(vec![one]))
    })
    .await;
    each(c, left, |version| {
        let request = kafka::FindCoordinatorRequest::default();
        if version >= 4 {
            request.with_coordinator_keys(vec![text("g"), text("h")])
        } else {
            request.with_key(text("g"))
        }
    })
    .await;
    each(c, left, |_| {
        kafka::HeartbeatRequest::default()
            .with_group_id(kafka::GroupId(text("g")))
            .with_member_id(text("nobody"))
    })
    .await;
    each(c, left, |version| {
        let request = kafka::LeaveGroupRequest::default().with_group_id(kafka::GroupId(text("g")));
        if version < 3 {
            return request.with_member_id(text("nobody"));
        }
        let member = kafka::leave_group_request::MemberIdentity::default().with_member_id(text("nobody"));
        request.with_members(vec![member])
    })
    .await;
    each(c, left, |_| {
        kafka::SyncGroupRequest::default().with_group_id(kafka::GroupId(text("g")))
    })
    .await;
    each(c, left, |_| {
        kafka::DescribeGroupsRequest::default().with_groups(vec![kafka::GroupId(text("g"))])
    })
    .await;
    each(c, left, |_| kafka::ListGroupsRequest::default()).await;
    each(c, left, |version| {
        let one = kafka::create_topics_request::CreatableTopic::default()
            .with_name(topic(&format!("new-{version}")))
            .with_num_partitions(1)
            .with_replication_factor(1);
        kafka::CreateTopicsRequest::default().with_topics(vec![one])
    })
    .await;
    each(c, left, |_| {
        let one = kafka::create_partitions_request::CreatePartitionsTopic::default()
            .with_name(topic("t"))
            .with_count(9);
        kafka::CreatePartitionsRequest::default()
            .with_topics(vec![one])
            .with_validate_only(true)
    })
    .await;
    each(c, left, |_| {
        let part = kafka::delete_records_request::DeleteRecordsPartition::default().with_offset(1);
        kafka::DeleteRecordsRequest::default().with_topics(vec![
            kafka::delete_records_request::DeleteRecordsTopic::default()
                .with_name(topic("t"))
                .with_partitions(vec![part]),
        ])
    })
    .await;
    each(c, left, |version| {
        let request = kafka::InitProducerIdRequest::default();
        if version < 3 {
            request
        } else {
            request.with_producer_id((-1).into()).with_producer_epoch(-1)
        }
    })
    .await;
    each(c, left, |_| {
        let part =
            kafka::offset_for_leader_epoch_request::OffsetForLeaderPartition::default().with_leader_epoch(0);
        kafka::OffsetForLeaderEpochRequest::default().with_topics(vec![
            kafka::offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
                .with_topic(topic("t"))
                .with_partitions(vec![part]),
        ])
    })
    .await;
    each(c, left, |_| {
        let one = kafka::add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
            .with_name(topic("t"))
            .with_partitions(vec![0]);
        kafka::AddPartitionsToTxnRequest::default().with_v3_and_below_topics(vec![one])
    })
    .await;
    each(c, left, |_| kafka::AddOffsetsToTxnRequest::default()).await;
    each(c, left, |_| kafka::EndTxnRequest::default()).await;
    each(c, left, |_| {
        let part = kafka::txn_offset_commit_request::TxnOffsetCommitRequestPartition::default();
        kafka::TxnOffsetCommitRequest::default().with_topics(vec![
            kafka::txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
                .with_name(topic("t"))
                .with_partitions(vec![part]),
        ])
    })
    .await;
    each(c, left, |_| {
        let of = |kind, name| {
            kafka::describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configuration_keys(None)
        };
        kafka::DescribeConfigsRequest::default()
            .with_resources(vec![of(2, "t"), of(4, "1")])
            .with_include_synonyms(true)
    })
    .await;
    each(c, left, |_| {
        let config = kafka::alter_configs_request::AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_value(Some(text("100000000000")));
        kafka::AlterConfigsRequest::default().with_resources(vec![
            kafka::alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("t"))
                .with_configs(vec![config]),
        ])
    })
    .await;
    each(c, left, |_| {
        let config = kafka::incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text("cleanup.policy"))
            .with_config_operation(2)
            .with_value(Some(text("compact")));
        kafka::IncrementalAlterConfigsRequest::default().with_resources(vec![
            kafka::incremental_alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("t"))
                .with_configs(vec![config]),
        ])
    })
    .await;
    each(c, left, |_| {
        let part = kafka::offset_delete_request::OffsetDeleteRequestPartition::default();
        kafka::OffsetDeleteRequest::default()
            .with_group_id(kafka::GroupId(text("g")))
            .with_topics(vec![
                kafka::offset_delete_request::OffsetDeleteRequestTopic::default()
                    .with_name(topic("t"))
                    .with_partitions(vec![part]),
            ])
    })
    .await;
    each(c, left, |_| {
        kafka::DeleteGroupsRequest::default().with_groups_names(vec![kafka::GroupId(text("g"))])
    })
    .await;
    each(c, left, |_| {
        kafka::DescribeClusterRequest::default().with_endpoint_type(1)
    })
    .await;
    each(c, left, |version| {
        let request = kafka::DeleteTopicsRequest::default();
        if version < 6 {
            return request.with_topic_names(vec![topic(&format!("new-{version}"))]);
        }
        let one = kafka::delete_topics_request::DeleteTopicState::default().with_name(Some(topic("new-6")));
        request.with_topics(vec![one])
    })
    .await;
    // Members come and go in tests of their own: `groups.rs`.
    assert!(left.remove(&11).is_some());
    assert!(left.is_empty(), "not asked: {left:?}");
}

#[tokio::test]
async fn whatever_is_not_told_of_closes_the_connection() {
    let sandbox = inside(&[]).await;
    let mut client = Client::connect(sandbox.address()).await;
    client.send(0, &kafka::SaslHandshakeRequest::default()).await;
    assert!(client.receive::<kafka::SaslHandshakeRequest>(0).await.is_none());
    let mut client = Client::connect(sandbox.address()).await;
    client.send(13, &kafka::MetadataRequest::default()).await;
    assert!(client.receive::<kafka::MetadataRequest>(13).await.is_none());
}

#[tokio::test]
async fn a_version_of_api_versions_that_is_too_new_is_answered_with_the_oldest() {
    let sandbox = inside(&[]).await;
    let mut client = Client::connect(sandbox.address()).await;
    client.send(4, &ApiVersionsRequest::default()).await;
    let response = client.receive::<ApiVersionsRequest>(0).await.unwrap();
    assert_eq!(response.error_code, 35);
    assert!(
        response
            .api_keys
            .iter()
            .any(|api| api.api_key == 18 && api.max_version == 3)
    );
}
