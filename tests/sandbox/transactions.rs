//! Transactions: what is committed is read, what is aborted is not, and a zombie is fenced.

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, ProducerId, TransactionalId,
};

use crate::place::inside;
use crate::wire::{Client, batch, text, topic, transactional};

const INVALID_EPOCH: i16 = 47;
const PRODUCER_FENCED: i16 = 90;

fn id() -> TransactionalId {
    TransactionalId(text("tx"))
}

async fn init(client: &mut Client) -> (i64, i16) {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(id()))
        .with_transaction_timeout_ms(60_000)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1);
    let answer = client.ask(4, request).await;
    assert_eq!(answer.error_code, 0);
    (answer.producer_id.0, answer.producer_epoch)
}

async fn add(client: &mut Client, producer: (i64, i16)) -> i16 {
    let one = AddPartitionsToTxnTopic::default()
        .with_name(topic("t"))
        .with_partitions(vec![0]);
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(id())
        .with_v3_and_below_producer_id(ProducerId(producer.0))
        .with_v3_and_below_producer_epoch(producer.1)
        .with_v3_and_below_topics(vec![one]);
    client.ask(3, request).await.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
}

async fn end(client: &mut Client, producer: (i64, i16), committed: bool) -> i16 {
    let request = EndTxnRequest::default()
        .with_transactional_id(id())
        .with_producer_id(ProducerId(producer.0))
        .with_producer_epoch(producer.1)
        .with_committed(committed);
    client.ask(3, request).await.error_code
}

fn part(value: &str, producer: (i64, i16), sequence: i32) -> Vec<u8> {
    let now = barnabas::clock::unix_millis();
    transactional(batch(
        &[("k", Some(value))],
        now,
        (producer.0, producer.1, sequence),
    ))
}

#[tokio::test]
async fn an_open_transaction_bounds_committed_reading_and_an_aborted_one_is_told() {
    let sandbox = inside(&[("t", 1, &[])]).await;
    let mut client = Client::connect(sandbox.address()).await;
    let producer = init(&mut client).await;
    assert_eq!(add(&mut client, producer).await, 0);
    assert_eq!(
        client
            .produce("t", 0, Some("tx"), part("one", producer, 0))
            .await
            .error_code,
        0
    );
    let open = client.fetch("t", 0, 0, true).await;
    assert_eq!((open.last_stable_offset, open.high_watermark), (0, 1));
    assert!(open.records.unwrap().is_empty());
    assert!(!client.fetch("t", 0, 0, false).await.records.unwrap().is_empty());
    assert_eq!(end(&mut client, producer, true).await, 0);
    assert_eq!(end(&mut client, producer, true).await, 0, "asked again");
    assert_eq!(client.fetch("t", 0, 0, true).await.last_stable_offset, 2);

    assert_eq!(add(&mut client, producer).await, 0);
    assert_eq!(
        client
            .produce("t", 0, Some("tx"), part("two", producer, 1))
            .await
            .error_code,
        0
    );
    assert_eq!(end(&mut client, producer, false).await, 0);
    let all = client.fetch("t", 0, 0, true).await;
    assert_eq!((all.last_stable_offset, all.high_watermark), (4, 4));
    let aborted = all.aborted_transactions.unwrap();
    assert_eq!(
        (aborted.len(), aborted[0].first_offset, aborted[0].producer_id.0),
        (1, 2, producer.0)
    );
}

#[tokio::test]
async fn whoever_had_the_id_before_is_fenced_and_its_transaction_aborted() {
    let sandbox = inside(&[("t", 1, &[])]).await;
    let mut client = Client::connect(sandbox.address()).await;
    let old = init(&mut client).await;
    add(&mut client, old).await;
    client.produce("t", 0, Some("tx"), part("lost", old, 0)).await;
    let new = init(&mut client).await;
    assert_eq!((new.0, new.1), (old.0, old.1 + 1));
    assert_eq!(client.fetch("t", 0, 0, true).await.last_stable_offset, 2);
    assert_eq!(
        client
            .produce("t", 0, Some("tx"), part("late", old, 1))
            .await
            .error_code,
        INVALID_EPOCH
    );
    assert_eq!(end(&mut client, old, true).await, PRODUCER_FENCED);
    assert_eq!(add(&mut client, new).await, 0);
    assert_eq!(
        client
            .produce("t", 0, Some("tx"), part("new", new, 0))
            .await
            .error_code,
        0
    );
    assert_eq!(end(&mut client, new, true).await, 0);
}
