use crate::dead_letter::letter::{Entry, Family, Letter, read};
use crate::dead_letter::resolution::{Kind, Resolution};
use crate::record::Header;

fn letter(headers: &[Header<'_>]) -> Letter {
    match read(headers.iter().copied()) {
        Entry::Letter(letter) => *letter,
        Entry::Resolution(resolution) => panic!("{resolution:?}"),
    }
}

fn coordinates(letter: &Letter) -> (Option<&str>, Option<i32>, Option<i64>, Option<&str>) {
    (
        letter.topic.as_deref(),
        letter.partition,
        letter.offset,
        letter.group.as_deref(),
    )
}

#[test]
fn springs_headers_are_read_from_their_bytes() {
    // As spring-kafka 3.3 writes them, after a retry topic: the first coordinates are the original ones.
    let letter = letter(&[
        (b"kafka_dlt-original-topic", Some(b"orders")),
        (b"kafka_dlt-original-partition", Some(&[0, 0, 0, 5])),
        (b"kafka_dlt-original-offset", Some(&[0, 0, 0, 0, 0, 0, 1, 2])),
        (
            b"kafka_dlt-original-timestamp",
            Some(&1_700_000_000_000_i64.to_be_bytes()),
        ),
        (b"kafka_dlt-original-timestamp-type", Some(b"CreateTime")),
        (b"kafka_dlt-original-consumer-group", Some(b"billing")),
        (b"kafka_dlt-original-topic", Some(b"orders-retry-1000")),
        (
            b"kafka_dlt-exception-fqcn",
            Some(b"org.springframework.kafka.listener.ListenerExecutionFailedException"),
        ),
        (
            b"kafka_dlt-exception-cause-fqcn",
            Some(b"java.lang.IllegalStateException"),
        ),
        (b"kafka_dlt-exception-message", Some(b"first")),
        (b"kafka_dlt-exception-message", Some(b"no such customer")),
        (b"retry_topic-attempts", Some(&[0, 0, 0, 4])),
    ]);
    assert_eq!(letter.family, Family::Spring);
    assert_eq!(
        coordinates(&letter),
        (Some("orders"), Some(5), Some(258), Some("billing"))
    );
    assert_eq!(letter.timestamp, Some(1_700_000_000_000));
    assert_eq!(letter.message.as_deref(), Some("no such customer"));
    assert_eq!(
        letter.exception.as_deref(),
        Some("java.lang.IllegalStateException")
    );
    assert_eq!(letter.deliveries, Some(4));
}

#[test]
fn connects_headers_are_read() {
    let letter = letter(&[
        (b"__connect.errors.topic", Some(b"orders")),
        (b"__connect.errors.partition", Some(b"2")),
        (b"__connect.errors.offset", Some(b"77")),
        (b"__connect.errors.connector.name", Some(b"sink")),
        (b"__connect.errors.task.id", Some(b"0")),
        (b"__connect.errors.stage", Some(b"VALUE_CONVERTER")),
        (
            b"__connect.errors.exception.class.name",
            Some(b"org.apache.kafka.connect.errors.DataException"),
        ),
        (b"__connect.errors.exception.message", Some(b"not JSON")),
    ]);
    assert_eq!(letter.family, Family::Connect);
    assert_eq!(
        coordinates(&letter),
        (Some("orders"), Some(2), Some(77), Some("sink"))
    );
    assert_eq!(letter.message.as_deref(), Some("not JSON"));
    assert_eq!(letter.status.as_deref(), Some("VALUE_CONVERTER"));
}

#[test]
fn share_groups_and_streams_headers_are_read() {
    let share = letter(&[
        (b"__dlq.errors.topic", Some(b"orders")),
        (b"__dlq.errors.partition", Some(b"2")),
        (b"__dlq.errors.offset", Some(b"77")),
        (b"__dlq.errors.group", Some(b"share")),
        (b"__dlq.errors.delivery.count", Some(b"5")),
        (b"__dlq.errors.message", Some(b"limit")),
    ]);
    assert_eq!((share.family, &share.id), (Family::Share, &None));
    assert_eq!(
        coordinates(&share),
        (Some("orders"), Some(2), Some(77), Some("share"))
    );
    assert_eq!(share.deliveries, Some(5));
    let streams = letter(&[
        (b"__streams.errors.exception", Some(b"java.lang.RuntimeException")),
        (b"__streams.errors.message", Some(b"boom")),
        (b"__streams.errors.topic", Some(b"orders")),
        (b"__streams.errors.partition", Some(b"1")),
        (b"__streams.errors.offset", Some(b"9")),
    ]);
    assert_eq!(streams.family, Family::Streams);
    assert_eq!(coordinates(&streams), (Some("orders"), Some(1), Some(9), None));
}

#[test]
fn what_makes_no_sense_is_not_known() {
    let letter = letter(&[
        (b"__dlq.errors.id", Some(b"\xff\xfe")),
        (b"__dlq.errors.topic", None),
        (b"__dlq.errors.topic.id", Some(b"not base64!")),
        (b"__dlq.errors.partition", Some(b"-1")),
        (b"__dlq.errors.offset", Some(b"99999999999999999999")),
        (b"__dlq.errors.delivery.count", Some(b"many")),
    ]);
    assert_eq!(coordinates(&letter), (None, None, None, None));
    assert_eq!((letter.topic_id, letter.deliveries), (None, None));
    let spring = [
        (&b"kafka_dlt-original-topic"[..], Some(&b"t"[..])),
        (b"kafka_dlt-original-partition", Some(b"5")),
    ];
    assert_eq!(self::letter(&spring).partition, None);
}

#[test]
fn a_record_without_such_headers_is_a_letter_of_unknown_origin() {
    assert_eq!(letter(&[(b"ce_id", Some(b"1"))]).family, Family::Unknown);
}

#[test]
fn a_resolution_reads_back() {
    let resolution = Resolution {
        id: "71daf8ba8f6ac4eff9377e4a".to_owned(),
        kind: Kind::Replayed,
        replays: 2,
        by: "ops@node-7".to_owned(),
        why: "incident 42".to_owned(),
        to: Some("orders.replay.billing".to_owned()),
    };
    let record = resolution.seal();
    let headers = record
        .headers
        .iter()
        .map(|(name, value)| (&**name, value.as_deref()));
    assert_eq!(read(headers), Entry::Resolution(resolution));
    assert_eq!((record.key, record.value), (None, None));
}
