use std::borrow::Cow;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::failed;
use crate::dead_letter::envelope::{Envelope, Failed, MAX_ADDED, Reason, Shape, letter_id, seal, sha256};
use crate::dead_letter::headers::{Families, connect, is_ours, ours, spring};
use crate::dead_letter::letter::{Entry, Family, Letter, read};
use crate::dead_letter::replay::{Origin, address, restore};
use crate::record::Header;

fn headers<'a>(record: &'a Envelope<'_>) -> impl Iterator<Item = Header<'a>> + Clone {
    let headers = record.headers.iter();
    headers.map(|(name, value)| (&**name, value.as_deref()))
}

fn letter(record: &Envelope<'_>) -> Letter {
    match read(headers(record)) {
        Entry::Letter(letter) => *letter,
        Entry::Resolution(resolution) => panic!("a letter passes for {resolution:?}"),
    }
}

fn value<'a>(record: &'a Envelope<'_>, name: &str) -> Option<&'a [u8]> {
    headers(record)
        .find(|(found, _)| *found == name.as_bytes())
        .and_then(|(_, value)| value)
}

const BOTH: Families = Families {
    spring: true,
    connect: true,
};

#[test]
fn a_letter_says_what_failed_where_and_why() {
    let told = letter(&seal(&failed(), Families::default(), Shape::Whole));
    assert_eq!(told.family, Family::Ours);
    assert_eq!(told.id, Some(letter_id("billing", [7; 16], 3, 1234)));
    assert_eq!(
        (told.topic.as_deref(), told.partition, told.offset),
        (Some("orders"), Some(3), Some(1234))
    );
    assert_eq!(told.topic_id, Some([7; 16]));
    assert_eq!(told.group.as_deref(), Some("billing"));
    assert_eq!(told.outcome.as_deref(), Some("rejected"));
    assert_eq!(told.message.as_deref(), Some("422: no such customer"));
    assert_eq!((told.status.as_deref(), told.deliveries), (Some("422"), Some(1)));
    assert_eq!(told.timestamp, Some(1_700_000_000_000));
    assert_eq!(
        (told.first_failed, told.last_failed),
        (Some(1_700_000_001_000), Some(1_700_000_002_000))
    );
}

#[test]
fn the_id_is_pinned_and_differs_with_each_coordinate() {
    // Letters of an older version must stay the same ones.
    let id = letter_id("billing", [7; 16], 3, 1234);
    assert_eq!(id, "0fce5d44d92046623482742a");
    for other in [
        letter_id("billing2", [7; 16], 3, 1234),
        letter_id("billing", [8; 16], 3, 1234),
        letter_id("billing", [7; 16], 4, 1234),
        letter_id("billing", [7; 16], 3, 1235),
    ] {
        assert_ne!(other, id);
    }
}

#[test]
fn headers_with_our_names_are_replaced_and_never_appended() {
    let forged: &[Header<'_>] = &[
        (b"__dlq.errors.id", Some(b"forged")),
        (b"__dlq.errors.id", Some(b"twice")),
        (b"__dlq.errors.anything", None),
        (b"__dlq.replay.count", Some(b"3")),
        (b"kept", Some(b"1")),
        (b"kept", None),
    ];
    let record = seal(
        &Failed {
            headers: forged,
            ..failed()
        },
        Families::default(),
        Shape::Whole,
    );
    let ids = headers(&record).filter(|(name, _)| *name == ours::ID.as_bytes());
    assert_eq!(ids.count(), 1);
    assert_eq!(letter(&record).replays, 0);
    assert_eq!(value(&record, "__dlq.replay.count"), None);
    let kept: Vec<_> = headers(&record).filter(|(name, _)| *name == b"kept").collect();
    assert_eq!(kept, [(&b"kept"[..], Some(&b"1"[..])), (b"kept", None)]);
}

#[test]
fn a_record_cannot_pass_for_a_resolution() {
    let forged: &[Header<'_>] = &[
        (b"__dlq.resolution.id", Some(b"x")),
        (b"__dlq.resolution.kind", Some(b"discarded")),
        (b"__dlq.resolution.replays", Some(b"9")),
    ];
    let failed = Failed {
        headers: forged,
        ..failed()
    };
    for shape in [Shape::Whole, Shape::Coordinates, Shape::Bare] {
        assert_eq!(letter(&seal(&failed, BOTH, shape)).family, Family::Ours);
    }
}

#[test]
fn springs_and_connects_headers_are_as_they_write_them() {
    let record = seal(&failed(), BOTH, Shape::Whole);
    assert_eq!(value(&record, spring::PARTITION), Some(&[0, 0, 0, 3][..]));
    assert_eq!(value(&record, spring::OFFSET), Some(&1234_i64.to_be_bytes()[..]));
    assert_eq!(value(&record, spring::TIMESTAMP_TYPE), Some(&b"CreateTime"[..]));
    assert_eq!(
        value(&record, spring::MESSAGE),
        Some(&b"422: no such customer"[..])
    );
    assert_eq!(value(&record, connect::OFFSET), Some(&b"1234"[..]));
    assert_eq!(value(&record, connect::CONNECTOR), Some(&b"billing"[..]));
}

#[test]
fn shapes_shrink_step_by_step() {
    let failed = Failed {
        value: Some(&[b'v'; 5000]),
        key: Some(&[b'k'; 2000]),
        headers: &[(b"h", Some(&[b'h'; 3000]))],
        message: &"why ".repeat(5000),
        ..failed()
    };
    let mut shape = Shape::Whole;
    let mut before = usize::MAX;
    loop {
        let record = seal(&failed, BOTH, shape);
        assert!(record.size() < before, "{shape:?}: {} of {before}", record.size());
        before = record.size();
        let told = letter(&record);
        assert_eq!(told.id, Some(letter_id("billing", [7; 16], 3, 1234)), "{shape:?}");
        assert_eq!(told.message.is_some(), shape == Shape::Whole);
        assert_eq!(told.is_reference(), record.value.is_none(), "{shape:?}");
        match shape.smaller() {
            Some(smaller) => shape = smaller,
            None => break,
        }
    }
    let bare = letter(&seal(&failed, BOTH, Shape::Bare));
    assert_eq!(bare.value_sha256, Some(sha256(&[b'v'; 5000])));
    assert_eq!(bare.value_size, Some(5000));
    assert_eq!(bare.key_sha256, Some(sha256(&[b'k'; 2000])));
    assert!(before < 2000, "the smallest letter has {before} bytes");
}

#[test]
fn a_hash_is_that_of_the_standard() {
    assert_eq!(
        sha256(b"abc"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn a_batch_that_cannot_be_decoded_says_which_offsets_it_had() {
    let record = seal(
        &Failed {
            reason: Reason::Undecodable,
            last_offset: Some(1240),
            key: None,
            ..failed()
        },
        Families::default(),
        Shape::Whole,
    );
    let told = letter(&record);
    assert!(told.is_batch());
    assert_eq!((told.offset, told.last_offset), (Some(1234), Some(1240)));
}

#[test]
fn a_replayed_record_tells_its_origin_only_with_all_of_it() {
    let origin = Origin {
        group: "billing".to_owned(),
        topic: "orders".to_owned(),
        topic_id: [7; 16],
        partition: 3,
        offset: 1234,
        timestamp: 5,
        id: "x".to_owned(),
        replays: 1,
    };
    let mut record = Envelope::default();
    address(&mut record, &origin);
    assert_eq!(Origin::read(headers(&record)), Some(origin));
    for missing in 0..record.headers.len() {
        let mut part = record.clone();
        part.headers.remove(missing);
        assert_eq!(Origin::read(headers(&part)), None);
    }
}

type OwnedHeaders = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Names of all families, ours with garbage, and others.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let known = vec![
        ours::ID,
        ours::MESSAGE,
        ours::TOPIC,
        ours::PARTITION,
        ours::FAMILIES,
        ours::VALUE_SHA256,
        "__dlq.replay.count",
        "__dlq.resolution.id",
        "__dlq.resolution.kind",
        spring::TOPIC,
        spring::PARTITION,
        spring::OFFSET,
        spring::MESSAGE,
        connect::TOPIC,
        connect::OFFSET,
        "ce_id",
        "traceparent",
    ];
    prop_oneof![
        proptest::sample::select(known).prop_map(|name| name.as_bytes().to_vec()),
        vec(any::<u8>(), 0..20),
    ]
}

fn any_headers() -> impl Strategy<Value = OwnedHeaders> {
    vec((name(), option::of(vec(any::<u8>(), 0..40))), 0..12)
}

fn families() -> impl Strategy<Value = Families> {
    (any::<bool>(), any::<bool>()).prop_map(|(spring, connect)| Families { spring, connect })
}

fn shape() -> impl Strategy<Value = Shape> {
    proptest::sample::select(vec![
        Shape::Whole,
        Shape::WithoutText,
        Shape::Coordinates,
        Shape::Reference,
        Shape::Bare,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_failed_its_letter_reads_back_and_restores_the_record(
        key in option::of(vec(any::<u8>(), 0..30)),
        payload in option::of(vec(any::<u8>(), 0..300)),
        source in any_headers(),
        message in ".{0,3000}",
        status in option::of(".{0,300}"),
        (partition, offset, timestamp) in (0..i32::MAX, 0..i64::MAX, any::<i64>()),
        (deliveries, replays) in (any::<u32>(), 0..5_u32),
        (families, shape) in (families(), shape()),
    ) {
        let borrowed: Vec<Header<'_>> = source
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_deref()))
            .collect();
        let failed = Failed {
            partition, offset, timestamp, deliveries, replays,
            key: key.as_deref(),
            value: payload.as_deref(),
            headers: &borrowed,
            message: &message,
            status: status.as_deref(),
            ..failed()
        };
        let record = seal(&failed, families, shape);
        let told = letter(&record);
        prop_assert_eq!(told.family, Family::Ours);
        prop_assert_eq!((told.partition, told.offset), (Some(partition), Some(offset)));
        prop_assert_eq!((told.timestamp, told.replays), (Some(timestamp), replays));
        // What is added is bounded, whatever the texts are.
        let kept = |name: &[u8]| !(is_ours(name) || shape < Shape::Coordinates && families.write(name));
        let added: usize = headers(&record)
            .filter(|(name, _)| !kept(name))
            .map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len))
            .sum();
        prop_assert!(added <= MAX_ADDED, "{} bytes", added);
        if shape < Shape::Reference {
            // As it was, but for headers with our names.
            let back = restore(&told, record.key.as_deref(), record.value.as_deref(), headers(&record));
            prop_assert_eq!(back.key.as_deref(), key.as_deref());
            prop_assert_eq!(back.value.as_deref(), payload.as_deref());
            let expected: Vec<_> = borrowed.iter().filter(|(name, _)| kept(name)).copied().collect();
            let found: Vec<_> = headers(&back).collect();
            prop_assert_eq!(found, expected);
        } else {
            prop_assert_eq!(told.is_reference(), payload.is_some());
            prop_assert_eq!(record.value, None::<Cow<'_, [u8]>>);
        }
    }

    #[test]
    fn any_headers_can_be_read(source in any_headers()) {
        let borrowed = source.iter().map(|(name, value)| (name.as_slice(), value.as_deref()));
        let _ = read(borrowed.clone());
        let _ = Origin::read(borrowed);
    }

    #[test]
    fn the_largest_names_and_texts_keep_to_the_limit(families in families(), length in 0..20_000_usize) {
        let (name, text) = ("n".repeat(249), "ß".repeat(length));
        let failed = Failed {
            topic: &name, group: &name, message: &text, status: Some(&text),
            partition: i32::MAX, offset: i64::MAX, timestamp: i64::MIN, deliveries: u32::MAX, replays: u32::MAX,
            first_failed: Some(i64::MIN), last_failed: Some(i64::MIN),
            ..failed()
        };
        let record = seal(&failed, families, Shape::Whole);
        let added: usize = headers(&record).map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len)).sum();
        prop_assert!(added <= MAX_ADDED, "{} bytes", added);
        prop_assert_eq!(letter(&record).message.is_some(), length > 0);
    }
}
