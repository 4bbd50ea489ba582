//! Whatever comes is either read right or reported, never a panic.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn sample(codec: Codec) -> Vec<u8> {
    let headers: [Header<'_>; 2] = [(b"h", Some(b"1")), (b"h", None)];
    let text = b"again and again and again and again and again and again and again".as_slice();
    let records: Vec<_> = (0..4)
        .map(|index| NewRecord {
            key: Some(b"key"),
            value: Some(text),
            headers: &headers,
            timestamp: index,
        })
        .collect();
    let made = batch(codec, &records);
    assert_eq!(only(&made).header.codec(), Ok(codec));
    made
}

/// Replaces the records of a batch and makes its checksum right again.
fn with_payload(batch: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut made = batch[..BATCH_OVERHEAD].to_vec();
    made.extend_from_slice(payload);
    let length = i32::try_from(made.len() - 12).unwrap();
    made[8..12].copy_from_slice(&length.to_be_bytes());
    sealed(made)
}

fn sealed(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn malformed(base: i64, last: i64, what: &'static str) -> BatchError {
    BatchError {
        base,
        last,
        reason: Reason::Malformed(what),
    }
}

/// Reads all there is, however it ends.
fn drain(set: &[u8], buffer: &mut DecodeBuffer) -> usize {
    let mut filter = AbortedFilter::read_committed([AbortedTransaction {
        first_offset: 0,
        producer_id: 1,
    }]);
    let mut records = 0;
    for batch in Batches::new(set) {
        let _ = filter.decide(&batch);
        let _ = batch.control();
        for record in batch.records(buffer).into_iter().flatten().flatten() {
            records += 1 + record.headers.iter().count();
        }
    }
    records
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    let mut buffer = DecodeBuffer::new();
    for codec in Codec::ALL {
        let good = sample(codec);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                let mut batches = Batches::new(&bad);
                let read = batches
                    .next()
                    .map(|batch| batch.records(&mut buffer).map(Iterator::count));
                // Offset and leader epoch are outside the checksum, as the broker fills them in.
                let unprotected = at < 8 || (12..16).contains(&at);
                match read {
                    Some(Ok(count)) => assert!(unprotected && count == 4, "{codec}: bit {bit} of byte {at}"),
                    Some(Err(_)) => {}
                    None => assert_ne!(batches.remainder(), Remainder::None),
                }
            }
        }
    }
}

#[test]
fn one_bad_batch_costs_its_own_offsets_only() {
    let mut set = Vec::new();
    for base in [0i64, 4, 8] {
        let mut batch = sample(Codec::Lz4);
        batch[..8].copy_from_slice(&base.to_be_bytes());
        if base == 4 {
            batch[100] ^= 1;
        }
        set.extend(batch);
    }
    let mut buffer = DecodeBuffer::new();
    let mut offsets = Vec::new();
    let mut errors = Vec::new();
    for batch in Batches::new(&set) {
        match batch.records(&mut buffer) {
            Ok(records) => offsets.extend(records.map(|record| record.unwrap().offset)),
            Err(error) => errors.push(error),
        }
    }
    assert_eq!(offsets, [0, 1, 2, 3, 8, 9, 10, 11]);
    assert_eq!(errors.len(), 1);
    assert_eq!(
        errors[0].to_string(),
        "the records at offsets 4 to 7 cannot be read"
    );
    assert!(matches!(
        errors[0],
        BatchError {
            base: 4,
            last: 7,
            reason: Reason::Checksum { .. }
        }
    ));
}

#[test]
fn records_before_the_damage_are_delivered_and_the_rest_is_one_error() {
    let good = sample(Codec::None);
    let mut buffer = DecodeBuffer::new();
    let size = (good.len() - BATCH_OVERHEAD) / 4;
    let mut bad = good.clone();
    // The third record's length.
    bad[BATCH_OVERHEAD + 2 * size] ^= 0x02;
    let bad = sealed(bad);
    let mut records = only(&bad).records(&mut buffer).unwrap();
    assert_eq!(records.next().unwrap().unwrap().offset, 0);
    assert_eq!(records.next().unwrap().unwrap().offset, 1);
    let error = records.next().unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            BatchError {
                base: 2,
                last: 3,
                reason: Reason::Malformed(_)
            }
        ),
        "{error:?}"
    );
    assert!(records.next().is_none());
    let mut buffer = DecodeBuffer::new();
    assert!(only(&bad).records(&mut buffer).unwrap().checked().is_none());
    let mut buffer = DecodeBuffer::new();
    assert!(only(&good).records(&mut buffer).unwrap().checked().is_some());
}

#[test]
fn a_place_in_another_batch_is_an_error_and_no_panic() {
    let mut buffer = DecodeBuffer::new();
    let small = batch(Codec::None, &[NewRecord::default()]);
    let large = sample(Codec::None);
    let place = only(&large).records(&mut buffer).unwrap().place();
    let mut buffer = DecodeBuffer::new();
    let error = only(&small).records_from(&mut buffer, place).unwrap_err();
    assert!(matches!(error.reason, Reason::Malformed(_)), "{error:?}");
}

#[test]
fn a_wrong_count_is_an_error_either_way() {
    let good = sample(Codec::None);
    let with_count = |count: i32| {
        let mut batch = good.clone();
        batch[57..61].copy_from_slice(&count.to_be_bytes());
        batch
    };
    let mut buffer = DecodeBuffer::new();
    let mut error = |batch: Vec<u8>| match only(&sealed(batch)).records(&mut buffer) {
        Ok(records) => records.filter_map(Result::err).next(),
        Err(error) => Some(error),
    };
    assert_eq!(
        error(with_count(-1)),
        Some(malformed(0, 3, "a negative number of records"))
    );
    assert_eq!(
        error(with_count(5)),
        Some(malformed(0, 3, "more records than offsets"))
    );
    assert_eq!(
        error(with_count(3)),
        Some(malformed(3, 3, "bytes behind the last record"))
    );
    let mut many = with_count(i32::MAX);
    many[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
    assert_eq!(
        error(many),
        Some(malformed(
            0,
            i64::from(i32::MAX - 1),
            "more records than bytes for them"
        ))
    );
    let mut backwards = with_count(4);
    backwards[23..27].copy_from_slice(&(-1i32).to_be_bytes());
    assert_eq!(
        error(backwards),
        Some(malformed(0, 0, "the last offset is before the first"))
    );
}

#[test]
fn an_unknown_codec_is_named() {
    let mut batch = sample(Codec::None);
    batch[22] |= 6;
    let batch = sealed(batch);
    let error = only(&batch).records(&mut DecodeBuffer::new()).unwrap_err();
    assert_eq!(
        error,
        BatchError {
            base: 0,
            last: 3,
            reason: Reason::Codec(6)
        }
    );
}

#[test]
fn a_bomb_stops_at_the_limit() {
    const LIMIT: usize = 1_000_000;
    let value = vec![0; 50 * LIMIT];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let set = batch(
            codec,
            &[NewRecord {
                value: Some(&value),
                ..NewRecord::default()
            }],
        );
        let mut buffer = DecodeBuffer::with_limit(LIMIT);
        let error = only(&set).records(&mut buffer).unwrap_err();
        let reason = Reason::Decompress(DecompressError::TooLarge { limit: LIMIT });
        assert_eq!(
            error,
            BatchError {
                base: 0,
                last: 0,
                reason
            },
            "{codec}"
        );
    }
}

#[test]
fn as_much_as_the_limit_is_read() {
    let value = vec![0; 100_000];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let record = NewRecord {
            value: Some(&value),
            ..NewRecord::default()
        };
        let size = builder(codec).encoded_size(&record);
        let set = batch(codec, &[record]);
        let records = |limit| {
            let mut buffer = DecodeBuffer::with_limit(limit);
            only(&set).records(&mut buffer).map(Iterator::count)
        };
        assert_eq!(records(size), Ok(1), "{codec}");
        assert!(records(size - 1).is_err(), "{codec}");
    }
}

#[test]
fn the_cut_off_end_of_a_fetch_is_no_error_and_says_what_it_needs() {
    let one = sample(Codec::None);
    let mut set = one.clone();
    set.extend_from_slice(&one);
    for cut in 1..one.len() {
        let mut batches = Batches::new(&set[..one.len() + cut]);
        assert_eq!(batches.next().map(|batch| batch.range()), Some(0..one.len()));
        assert!(batches.next().is_none() && batches.next().is_none());
        let needed = if cut < 12 { BATCH_OVERHEAD } else { one.len() };
        let base_offset = (cut >= 8).then_some(0);
        assert_eq!(
            batches.remainder(),
            Remainder::Truncated { needed, base_offset },
            "{cut}"
        );
    }
}

#[test]
fn lengths_that_make_no_sense_end_the_set_aloud() {
    let good = sample(Codec::None);
    let framed = |length: i32| {
        let mut set = good.clone();
        set.extend_from_slice(&good);
        let second = good.len();
        set[second + 8..second + 12].copy_from_slice(&length.to_be_bytes());
        let mut batches = Batches::new(&set);
        assert_eq!(batches.by_ref().count(), 1);
        batches.remainder()
    };
    for length in [i32::MIN, -1, 0, 13, 48] {
        assert!(
            matches!(framed(length), Remainder::Broken { base_offset: 0, .. }),
            "{length}"
        );
    }
    let needed = usize::try_from(i32::MAX).unwrap() + 12;
    assert_eq!(
        framed(i32::MAX),
        Remainder::Truncated {
            needed,
            base_offset: Some(0)
        }
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_garbage_makes_a_panic(set in vec(any::<u8>(), 0..400)) {
        drain(&set, &mut DecodeBuffer::new());
    }

    #[test]
    fn no_garbage_behind_a_right_checksum_makes_a_panic(
        payload in vec(any::<u8>(), 0..300),
        prefix in 0usize..200,
        codec in proptest::sample::select(Codec::ALL.to_vec()),
        attributes in any::<u8>(),
    ) {
        let good = sample(codec);
        let mut mixed = good[BATCH_OVERHEAD..].to_vec();
        mixed.truncate(prefix);
        mixed.extend_from_slice(&payload);
        let mut set = with_payload(&good, &mixed);
        set[22] |= attributes & 0xf8;
        let set = sealed(set);
        drain(&set, &mut DecodeBuffer::with_limit(1 << 20));
    }

    #[test]
    fn no_change_behind_a_right_checksum_makes_a_panic(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        codec in proptest::sample::select(Codec::ALL.to_vec()),
    ) {
        let good = sample(codec);
        let mut payload = good[BATCH_OVERHEAD..].to_vec();
        for (index, byte) in changes {
            let length = payload.len();
            payload[index.index(length)] = byte;
        }
        drain(&with_payload(&good, &payload), &mut DecodeBuffer::with_limit(1 << 20));
    }
}
