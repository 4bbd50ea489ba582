//! What a partition does: sequences, limits, times, retention, compaction, long polls.

use std::time::Duration;

use barnabas::record::{Batches, DecodeBuffer};
use bytes::Bytes;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, FetchRequest, InitProducerIdRequest};

use crate::place::inside;
use crate::wire::{Client, NOBODY, batch, fetch, topic};

const OFFSET_OUT_OF_RANGE: i16 = 1;
const CORRUPT_MESSAGE: i16 = 2;
const UNKNOWN_TOPIC: i16 = 3;
const MESSAGE_TOO_LARGE: i16 = 10;
const NOT_ENOUGH_REPLICAS: i16 = 19;
const INVALID_TIMESTAMP: i16 = 32;
const OUT_OF_ORDER: i16 = 45;
const INVALID_EPOCH: i16 = 47;
const INVALID_RECORD: i16 = 87;

/// Offset, key and value of each record.
fn records(set: &Bytes) -> Vec<(i64, String, String)> {
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or(b"null").to_vec()).unwrap();
    let mut all = Vec::new();
    let mut buffer = DecodeBuffer::new();
    for batch in Batches::new(set) {
        for record in batch.records(&mut buffer).unwrap() {
            let record = record.unwrap();
            all.push((record.offset, text(record.key), text(record.value)));
        }
    }
    all
}

fn now() -> i64 {
    barnabas::clock::unix_millis()
}

#[tokio::test]
async fn what_is_published_is_fetched_with_offsets_in_a_row() {
    let sandbox = inside(&[("t", 1, &[])]).await;
    let mut client = Client::connect(sandbox.address()).await;
    for n in 0..3 {
        let answer = client
            .produce(
                "t",
                0,
                None,
                batch(&[("a", Some("1")), ("b", None)], now(), NOBODY),
            )
            .await;
        assert_eq!(
            (answer.error_code, answer.base_offset, answer.log_append_time_ms),
            (0, n * 2, -1)
        );
    }
    let fetched = client.fetch("t", 0, 3, false).await;
    assert_eq!(
        (
            fetched.error_code,
            fetched.high_watermark,
            fetched.log_start_offset
        ),
        (0, 6, 0)
    );
    let records = records(&fetched.records.unwrap());
    let offsets: Vec<i64> = records.iter().map(|(offset, ..)| *offset).collect();
    assert_eq!(offsets, [2, 3, 4, 5]);
    assert_eq!(records[1], (3, "b".to_owned(), "null".to_owned()));
    assert_eq!(
        client.fetch("t", 0, 7, false).await.error_code,
        OFFSET_OUT_OF_RANGE
    );
    assert_eq!(client.fetch("t", 1, 0, false).await.error_code, UNKNOWN_TOPIC);
    assert_eq!(client.fetch("u", 0, 0, false).await.error_code, UNKNOWN_TOPIC);
}

#[tokio::test]
async fn a_producers_sequence_is_kept_and_what_comes_again_is_not_appended() {
    let sandbox = inside(&[("t", 1, &[])]).await;
    let mut client = Client::connect(sandbox.address()).await;
    let id = client
        .ask(
            4,
            InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_producer_id((-1).into())
                .with_producer_epoch(-1),
        )
        .await;
    let id = id.producer_id.0;
    let one = |sequence, epoch| batch(&[("k", Some("v"))], now(), (id, epoch, sequence));
    assert_eq!(client.produce("t", 0, None, one(0, 0)).await.base_offset, 0);
    assert_eq!(client.produce("t", 0, None, one(1, 0)).await.base_offset, 1);
    let again = client.produce("t", 0, None, one(0, 0)).await;
    assert_eq!((again.error_code, again.base_offset), (0, 0));
    assert_eq!(
        client.produce("t", 0, None, one(3, 0)).await.error_code,
        OUT_OF_ORDER
    );
    assert_eq!(client.produce("t", 0, None, one(0, 1)).await.base_offset, 2);
    assert_eq!(
        client.produce("t", 0, None, one(2, 0)).await.error_code,
        INVALID_EPOCH
    );
    assert_eq!(client.offset("t", -1).await.0, 3);
}

#[tokio::test]
async fn what_a_topic_does_not_take_is_refused_by_its_reason() {
    let configs: &[(&str, &str)] = &[("max.message.bytes", "200")];
    let sandbox = inside(&[
        ("small", 1, configs),
        ("compact", 1, &[("cleanup.policy", "compact")]),
        ("two", 1, &[("min.insync.replicas", "2")]),
    ])
    .await;
    let mut client = Client::connect(sandbox.address()).await;
    let good = || batch(&[("k", Some("v"))], now(), NOBODY);
    let large = batch(&[("k", Some("v".repeat(200).as_str()))], now(), NOBODY);
    assert_eq!(
        client.produce("small", 0, None, large).await.error_code,
        MESSAGE_TOO_LARGE
    );
    let mut damaged = good();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(
        client.produce("small", 0, None, damaged).await.error_code,
        CORRUPT_MESSAGE
    );
    let two = [good(), good()].concat();
    assert_eq!(
        client.produce("small", 0, None, two).await.error_code,
        INVALID_RECORD
    );
    let future = batch(&[("k", Some("v"))], now() + 7_200_000, NOBODY);
    assert_eq!(
        client.produce("small", 0, None, future).await.error_code,
        INVALID_TIMESTAMP
    );
    assert_eq!(
        client.produce("nowhere", 0, None, good()).await.error_code,
        UNKNOWN_TOPIC
    );
    assert_eq!(
        client.produce("two", 0, None, good()).await.error_code,
        NOT_ENOUGH_REPLICAS
    );
    let mut keyless = barnabas::record::BatchBuilder::new(barnabas::record::BatchOptions::default());
    let record = barnabas::record::NewRecord {
        value: Some(b"v"),
        timestamp: now(),
        ..Default::default()
    };
    keyless.append(&record).unwrap();
    let keyless = keyless
        .seal()
        .finish(-1, -1, -1, &mut barnabas::record::Compressor::new())
        .unwrap();
    assert_eq!(
        client.produce("compact", 0, None, keyless).await.error_code,
        INVALID_RECORD
    );
    assert_eq!(client.offset("small", -1).await.0, 0);
}

#[tokio::test]
async fn offsets_are_found_by_time_and_by_the_highest_time() {
    let sandbox = inside(&[("t", 1, &[])]).await;
    let mut client = Client::connect(sandbox.address()).await;
    let start = now() - 10_000;
    for time in [100, 300, 200] {
        client
            .produce("t", 0, None, batch(&[("k", Some("v"))], start + time, NOBODY))
            .await;
    }
    assert_eq!(client.offset("t", start + 150).await, (1, start + 300));
    assert_eq!(client.offset("t", start + 301).await, (-1, -1));
    assert_eq!(client.offset("t", -3).await, (1, start + 300));
    assert_eq!(
        (client.offset("t", -2).await, client.offset("t", -1).await),
        ((0, -1), (3, -1))
    );
}

#[tokio::test]
async fn the_brokers_time_is_kept_where_the_topic_says_so() {
    let sandbox = inside(&[("t", 1, &[("message.timestamp.type", "LogAppendTime")])]).await;
    let mut client = Client::connect(sandbox.address()).await;
    let before = now();
    let answer = client
        .produce("t", 0, None, batch(&[("k", Some("v"))], 5, NOBODY))
        .await;
    assert!((before..=now()).contains(&answer.log_append_time_ms));
    let set = client.fetch("t", 0, 0, false).await.records.unwrap();
    let batch = Batches::new(&set).next().unwrap();
    let mut buffer = DecodeBuffer::new();
    let record = batch.records(&mut buffer).unwrap().next().unwrap().unwrap();
    assert_eq!(record.timestamp, answer.log_append_time_ms);
    assert_eq!(
        record.timestamp_type,
        barnabas::record::TimestampType::LogAppendTime
    );
}

#[tokio::test]
async fn a_fetch_waits_for_records_and_no_longer_than_asked() {
    let sandbox = inside(&[("t", 1, &[])]).await;
    let mut reader = Client::connect(sandbox.address()).await;
    let mut writer = Client::connect(sandbox.address()).await;
    let started = barnabas::clock::now();
    let answer = reader
        .ask(12, fetch("t", 0, 0, false).with_max_wait_ms(300))
        .await;
    assert!(
        answer.responses[0].partitions[0]
            .records
            .as_ref()
            .unwrap()
            .is_empty()
    );
    assert!(started.elapsed() >= Duration::from_millis(290));
    reader
        .send(12, &fetch("t", 0, 0, false).with_max_wait_ms(15_000))
        .await;
    writer
        .produce("t", 0, None, batch(&[("k", Some("v"))], now(), NOBODY))
        .await;
    let answer = reader.receive::<FetchRequest>(12).await.unwrap();
    assert_eq!(
        records(answer.responses[0].partitions[0].records.as_ref().unwrap()).len(),
        1
    );
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn deleted_records_are_gone_and_the_rest_stays() {
    let sandbox = inside(&[("t", 1, &[])]).await;
    let mut client = Client::connect(sandbox.address()).await;
    for _ in 0..5 {
        client
            .produce("t", 0, None, batch(&[("k", Some("v"))], now(), NOBODY))
            .await;
    }
    let part = DeleteRecordsPartition::default().with_offset(3);
    let one = DeleteRecordsTopic::default()
        .with_name(topic("t"))
        .with_partitions(vec![part]);
    let answer = client
        .ask(2, DeleteRecordsRequest::default().with_topics(vec![one]))
        .await;
    assert_eq!(answer.topics[0].partitions[0].low_watermark, 3);
    assert_eq!(client.offset("t", -2).await.0, 3);
    assert_eq!(
        client.fetch("t", 0, 2, false).await.error_code,
        OFFSET_OUT_OF_RANGE
    );
    assert_eq!(
        records(&client.fetch("t", 0, 3, false).await.records.unwrap()).len(),
        2
    );
}

/// Asks until it is so.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let started = barnabas::clock::now();
    while !so().await {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn retention_by_time_and_by_size_takes_the_oldest() {
    let sandbox = inside(&[
        ("time", 1, &[("retention.ms", "1")]),
        ("size", 1, &[("retention.bytes", "300"), ("segment.bytes", "150")]),
    ])
    .await;
    let mut client = Client::connect(sandbox.address()).await;
    for _ in 0..10 {
        client
            .produce("time", 0, None, batch(&[("k", Some("v"))], now(), NOBODY))
            .await;
        client
            .produce("size", 0, None, batch(&[("k", Some("v"))], now(), NOBODY))
            .await;
    }
    until("records older than retention.ms go", async || {
        client.offset("time", -2).await.0 == 10
    })
    .await;
    until("segments beyond retention.bytes go", async || {
        client.offset("size", -2).await.0 > 0
    })
    .await;
    let start = client.offset("size", -2).await.0;
    assert!(start < 10);
    assert_eq!(client.offset("size", -1).await.0, 10);
}

#[tokio::test]
async fn compaction_leaves_each_keys_newest_record_at_its_offset() {
    let configs: &[(&str, &str)] = &[
        ("cleanup.policy", "compact"),
        ("segment.bytes", "160"),
        ("min.cleanable.dirty.ratio", "0"),
    ];
    let sandbox = inside(&[("t", 1, configs)]).await;
    let mut client = Client::connect(sandbox.address()).await;
    for n in 0..6 {
        let value = n.to_string();
        client
            .produce(
                "t",
                0,
                None,
                batch(&[("a", Some(&value)), ("b", Some(&value))], now(), NOBODY),
            )
            .await;
    }
    // The last segment is not compacted.
    client
        .produce("t", 0, None, batch(&[("c", Some("last"))], now(), NOBODY))
        .await;
    let mut left = Vec::new();
    until("old values of a key go", async || {
        left = records(&client.fetch("t", 0, 0, false).await.records.unwrap());
        left.iter().filter(|(_, key, _)| key == "a").count() <= 2
    })
    .await;
    let newest = |key: &str| left.iter().rfind(|(_, k, _)| k == key).cloned().unwrap();
    assert_eq!(newest("a"), (10, "a".to_owned(), "5".to_owned()));
    assert_eq!(newest("b"), (11, "b".to_owned(), "5".to_owned()));
    assert_eq!(newest("c"), (12, "c".to_owned(), "last".to_owned()));
    assert_eq!(client.offset("t", -1).await.0, 13);
}

#[tokio::test]
async fn beyond_the_memory_the_oldest_records_of_all_topics_go() {
    let options = barnabas::sandbox::Options {
        max_memory: 1 << 20,
        ..Default::default()
    };
    let sandbox = barnabas::sandbox::start(options).await.unwrap();
    let mut client = Client::connect(sandbox.address()).await;
    client
        .ask(
            12,
            kafka_protocol::messages::MetadataRequest::default().with_topics(Some(vec![
                kafka_protocol::messages::metadata_request::MetadataRequestTopic::default()
                    .with_name(Some(topic("t"))),
            ])),
        )
        .await;
    let value = "v".repeat(100_000);
    for _ in 0..20 {
        let answer = client
            .produce("t", 0, None, batch(&[("k", Some(&value))], now(), NOBODY))
            .await;
        assert_eq!(answer.error_code, 0);
    }
    let start = client.offset("t", -2).await.0;
    assert!((9..=12).contains(&start), "{start}");
    assert_eq!(client.offset("t", -1).await.0, 20);
}
