//! Batches that Kafka's own Java code wrote (kafka-clients 4.3.1, `MemoryRecords`), in `java.txt`: a name and
//! hexadecimal bytes a line.

use super::*;

fn java(name: &str) -> Vec<u8> {
    let lines = include_str!("java.txt")
        .lines()
        .filter_map(|line| line.split_once(' '));
    let (_, hex) = lines.into_iter().find(|(found, _)| *found == name).unwrap();
    let digits = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

const TIME: i64 = 1_700_000_000_000;

/// Asserts that this is what the program that wrote the batches appended as its record number `index`.
fn assert_is_record(record: &RecordView<'_>, index: i64) {
    let repeated = format!("value {index} ").repeat(usize::try_from(index % 5).unwrap());
    let key = (index % 3 != 0).then(|| format!("key-{index}"));
    let value = (index % 7 != 3).then_some(repeated);
    let headers: &[Header<'_>] = if index % 4 == 1 {
        &[(b"h", Some(b"1")), (b"h", None), ("ü".as_bytes(), Some(b""))]
    } else {
        &[]
    };
    assert_eq!(record.offset, 1000 + index);
    assert_eq!(record.key, key.as_deref().map(str::as_bytes));
    assert_eq!(record.value, value.as_deref().map(str::as_bytes));
    assert_eq!(record.headers.iter().collect::<Vec<_>>(), headers);
    if record.timestamp_type == TimestampType::CreateTime {
        assert_eq!(
            record.timestamp,
            if index == 5 { TIME - 1000 } else { TIME + 7 * index }
        );
    }
}

#[test]
fn the_java_client_s_batches_are_read_with_every_codec() {
    let mut buffer = DecodeBuffer::new();
    for codec in Codec::ALL {
        let set = java(codec.name());
        let batch = only(&set);
        let expected = BatchHeader {
            base_offset: 1000,
            last_offset: 1029,
            leader_epoch: 9,
            magic: 2,
            crc: batch.header.crc,
            attributes: i16::from(codec.number()),
            base_timestamp: TIME,
            max_timestamp: TIME + 7 * 29,
            producer_id: 4242,
            producer_epoch: 3,
            base_sequence: 17,
            count: 30,
            size: set.len(),
        };
        assert_eq!(batch.header, expected);
        let mut indices = 0..30;
        for record in batch.records(&mut buffer).unwrap() {
            assert_is_record(&record.unwrap(), indices.next().unwrap());
        }
        assert_eq!(indices.next(), None);
    }
}

#[test]
fn our_batch_is_the_java_client_s_to_the_byte() {
    let set = java("none");
    let mut builder = builder(Codec::None);
    let mut buffer = DecodeBuffer::new();
    for record in only(&set).records(&mut buffer).unwrap() {
        let RecordView {
            key,
            value,
            headers,
            timestamp,
            ..
        } = record.unwrap();
        let headers: Vec<_> = headers.iter().collect();
        builder
            .append(&NewRecord {
                key,
                value,
                headers: &headers,
                timestamp,
            })
            .unwrap();
    }
    let ours = builder
        .seal()
        .finish(4242, 3, 17, &mut Compressor::new())
        .unwrap();
    // Base offset and leader epoch are the broker's to fill in, outside the checksum.
    assert_eq!(ours[8..12], set[8..12]);
    assert_eq!(ours[16..], set[16..]);
}

#[test]
fn payloads_of_several_compressed_blocks_are_read() {
    let mut buffer = DecodeBuffer::new();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let set = java(&format!("{codec}-large"));
        let mut records = only(&set).records(&mut buffer).unwrap();
        let record = records.next().unwrap().unwrap();
        assert!(
            record.value == Some("0123456789".repeat(15_000).as_bytes()),
            "{codec}"
        );
        assert!(records.next().is_none());
    }
}

#[test]
fn a_broker_s_append_time_is_every_record_s_timestamp() {
    let set = java("append-time");
    let mut buffer = DecodeBuffer::new();
    for (index, record) in (0..).zip(only(&set).records(&mut buffer).unwrap()) {
        let record = record.unwrap();
        assert_eq!(
            (record.timestamp, record.timestamp_type),
            (TIME + 999_000, TimestampType::LogAppendTime)
        );
        assert_is_record(&record, index);
    }
}

#[test]
fn markers_are_told_apart() {
    for (name, marker) in [("commit", ControlRecord::Commit), ("abort", ControlRecord::Abort)] {
        let set = java(name);
        let batch = only(&set);
        assert!(batch.header.is_control() && batch.header.is_transactional());
        assert_eq!(batch.control(), Ok(Some(marker)));
        assert_eq!((batch.header.base_offset, batch.header.last_offset), (1002, 1002));
    }
    let set = java("transactional");
    assert!(only(&set).header.is_transactional() && !only(&set).header.is_control());
    assert_eq!(only(&set).control(), Ok(None));
}

#[test]
fn a_compacted_batch_keeps_its_gaps_and_its_end() {
    let set = java("gaps");
    let mut buffer = DecodeBuffer::new();
    let mut indices = [0, 3, 4, 9].into_iter();
    for record in only(&set).records(&mut buffer).unwrap() {
        assert_is_record(&record.unwrap(), indices.next().unwrap());
    }
    assert_eq!(indices.next(), None);

    let set = java("emptied");
    let batch = only(&set);
    assert!(batch.records(&mut buffer).unwrap().next().is_none());
    assert_eq!(
        (batch.header.last_offset, batch.header.next_offset()),
        (1029, 1030)
    );
}

#[test]
fn messages_of_old_formats_are_refused_one_by_one_and_reading_goes_on() {
    for (name, magic, offsets) in [
        ("magic-0", 0, &[1000, 1001][..]),
        ("magic-1", 1, &[1000, 1001]),
        ("magic-1-gzip", 1, &[1001]),
    ] {
        let mut set = java(name);
        set.extend(java("none"));
        let mut buffer = DecodeBuffer::new();
        let batches: Vec<_> = Batches::new(&set).collect();
        let (last, old) = batches.split_last().unwrap();
        let errors: Vec<_> = old
            .iter()
            .map(|batch| batch.records(&mut buffer).unwrap_err())
            .collect();
        let expected: Vec<_> = offsets
            .iter()
            .map(|&offset| BatchError {
                base: offset,
                last: offset,
                reason: Reason::Magic(magic),
            })
            .collect();
        assert_eq!(errors, expected, "{name}");
        assert_eq!(last.records(&mut buffer).unwrap().count(), 30);
    }
}
