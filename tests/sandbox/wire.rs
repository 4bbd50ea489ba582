//! A plain client for single requests, made of kafka-protocol's messages.

use std::net::SocketAddr;
use std::time::Duration;

use barnabas::record::{BatchBuilder, BatchOptions, Compressor, NewRecord};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    FetchRequest, ListOffsetsRequest, ProduceRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    stream: TcpStream,
    correlation: i32,
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Client {
            stream: TcpStream::connect(address).await.unwrap(),
            correlation: 100,
        }
    }

    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.correlation += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(text("test")));
        let mut frame = BytesMut::new();
        header.encode(&mut frame, R::header_version(version)).unwrap();
        request.encode(&mut frame, version).unwrap();
        self.stream
            .write_i32(frame.len().try_into().unwrap())
            .await
            .unwrap();
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The next answer; `None` if the connection was closed instead.
    pub(crate) async fn receive<R: Request>(&mut self, version: i16) -> Option<R::Response> {
        let read = async {
            let length = self.stream.read_i32().await.ok()?;
            let mut frame = vec![0; length.try_into().unwrap()];
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(Bytes::from(frame))
        };
        let mut frame = tokio::time::timeout(PATIENCE, read)
            .await
            .expect("an answer in time")?;
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version)).unwrap();
        assert_eq!(header.correlation_id, self.correlation);
        let response = R::Response::decode(&mut frame, version).unwrap();
        assert!(
            frame.is_empty(),
            "version {version} of API {}: {} bytes too many",
            R::KEY,
            frame.len()
        );
        Some(response)
    }

    pub(crate) async fn ask<R: Request>(&mut self, version: i16, request: R) -> R::Response {
        self.send(version, &request).await;
        self.receive::<R>(version).await.expect("an answer")
    }

    /// Publishes a batch; the partition's answer.
    pub(crate) async fn produce(
        &mut self,
        name: &str,
        partition: i32,
        transactional: Option<&str>,
        batch: Vec<u8>,
    ) -> PartitionProduceResponse {
        let request = publish(name, partition, transactional, batch);
        let mut response = self.ask(9, request).await;
        response.responses.remove(0).partition_responses.remove(0)
    }

    /// Fetches from a partition, at once.
    pub(crate) async fn fetch(
        &mut self,
        name: &str,
        partition: i32,
        offset: i64,
        committed: bool,
    ) -> PartitionData {
        let mut response = self.ask(12, fetch(name, partition, offset, committed)).await;
        response.responses.remove(0).partitions.remove(0)
    }

    /// Offset and timestamp.
    pub(crate) async fn offset(&mut self, name: &str, time: i64) -> (i64, i64) {
        let partition = ListOffsetsPartition::default()
            .with_timestamp(time)
            .with_current_leader_epoch(-1);
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_topics(vec![
                ListOffsetsTopic::default()
                    .with_name(topic(name))
                    .with_partitions(vec![partition]),
            ]);
        let response = self.ask(7, request).await;
        let partition = &response.topics[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        (partition.offset, partition.timestamp)
    }
}

/// A Produce request that wants to be acknowledged.
pub(crate) fn publish(
    name: &str,
    partition: i32,
    transactional: Option<&str>,
    batch: Vec<u8>,
) -> ProduceRequest {
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(batch.into()));
    ProduceRequest::default()
        .with_transactional_id(transactional.map(|id| kafka_protocol::messages::TransactionalId(text(id))))
        .with_acks(-1)
        .with_timeout_ms(1000)
        .with_topic_data(vec![
            TopicProduceData::default()
                .with_name(topic(name))
                .with_partition_data(vec![data]),
        ])
}

/// A Fetch request that does not wait.
pub(crate) fn fetch(name: &str, partition: i32, offset: i64, committed: bool) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(-1)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(1 << 24)
        .with_isolation_level(i8::from(committed))
        .with_session_epoch(-1)
        .with_topics(vec![
            FetchTopic::default()
                .with_topic(topic(name))
                .with_partitions(vec![partition]),
        ])
}

/// A batch of records with these keys and values and one time.
pub(crate) fn batch(records: &[(&str, Option<&str>)], timestamp: i64, producer: (i64, i16, i32)) -> Vec<u8> {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    for (key, value) in records {
        let record = NewRecord {
            key: Some(key.as_bytes()),
            value: value.map(str::as_bytes),
            headers: &[],
            timestamp,
        };
        batch.append(&record).unwrap();
    }
    batch
        .seal()
        .finish(producer.0, producer.1, producer.2, &mut Compressor::new())
        .unwrap()
}

/// Of no producer.
pub(crate) const NOBODY: (i64, i16, i32) = (-1, -1, -1);

/// Marks a batch as part of a transaction.
pub(crate) fn transactional(mut batch: Vec<u8>) -> Vec<u8> {
    batch[22] |= 0x10;
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}
