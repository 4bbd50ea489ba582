//! What is put in comes out.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, PartialEq)]
struct Owned {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    timestamp: i64,
}

impl Owned {
    fn with<T>(&self, use_it: impl FnOnce(&NewRecord<'_>) -> T) -> T {
        let headers: Vec<Header<'_>> = self
            .headers
            .iter()
            .map(|(name, value)| (&name[..], value.as_deref()))
            .collect();
        use_it(&NewRecord {
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &headers,
            timestamp: self.timestamp,
        })
    }

    fn of(view: &RecordView<'_>) -> Self {
        Owned {
            key: view.key.map(<[u8]>::to_vec),
            value: view.value.map(<[u8]>::to_vec),
            headers: view
                .headers
                .iter()
                .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)))
                .collect(),
            timestamp: view.timestamp,
        }
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..200),
        // Compressible, and longer than any codec's block.
        (vec(any::<u8>(), 1..20), 0..10_000usize).prop_map(|(part, times)| part.repeat(times)),
    ]
}

fn record() -> impl Strategy<Value = Owned> {
    let timestamp = prop_oneof![0..2_000_000_000_000i64, any::<i64>()];
    let name = prop_oneof![Just(b"same".to_vec()), vec(any::<u8>(), 0..12)];
    let header = (name, proptest::option::of(vec(any::<u8>(), 0..90)));
    (
        proptest::option::of(bytes()),
        proptest::option::of(bytes()),
        vec(header, 0..4),
        timestamp,
    )
        .prop_map(|(key, value, headers, timestamp)| Owned {
            key,
            value,
            headers,
            timestamp,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_come_back_as_they_were_with_every_codec(
        records in vec(record(), 1..20),
        producer in (any::<i64>(), any::<i16>(), any::<i32>()),
        codec in proptest::sample::select(Codec::ALL.to_vec()),
    ) {
        let mut builder = builder(codec);
        for record in &records {
            record.with(|record| {
                let before = builder.len();
                let size = builder.encoded_size(record);
                builder.append(record).unwrap();
                assert_eq!(builder.len(), before + size);
            });
        }
        let most = builder.len();
        let set = builder.seal().finish(producer.0, producer.1, producer.2, &mut Compressor::new()).unwrap();
        prop_assert!(set.len() <= most);
        let batch = only(&set);
        let header = batch.header;
        prop_assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), producer);
        prop_assert_eq!(usize::try_from(header.count).unwrap(), records.len());
        prop_assert_eq!(Some(header.max_timestamp), records.iter().map(|record| record.timestamp).max());
        let mut buffer = DecodeBuffer::new();
        let read: Vec<_> = batch.records(&mut buffer).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(read.iter().map(Owned::of).collect::<Vec<_>>(), records);
        prop_assert!(read.iter().map(|record| record.offset).eq(0..=header.last_offset));
    }

    #[test]
    fn reading_goes_on_where_it_was_left_in_a_batch_with_every_codec(
        records in vec(record(), 1..20),
        codec in proptest::sample::select(Codec::ALL.to_vec()),
        left in 0..20usize,
    ) {
        let mut builder = builder(codec);
        for record in &records {
            record.with(|record| builder.append(record)).unwrap();
        }
        let set = builder.seal().finish(-1, -1, -1, &mut Compressor::new()).unwrap();
        let batch = only(&set);
        let (mut first, mut second) = (DecodeBuffer::new(), DecodeBuffer::new());
        let mut reading = batch.records(&mut first).unwrap().checked().unwrap();
        let mut read: Vec<_> = reading.by_ref().take(left).map(Result::unwrap).collect();
        let place = reading.place();
        read.extend(batch.records_from(&mut second, place).unwrap().map(Result::unwrap));
        prop_assert_eq!(read.iter().map(Owned::of).collect::<Vec<_>>(), records);
        prop_assert!(read.iter().map(|record| record.offset).eq(0..=batch.header.last_offset));
    }
}

#[test]
fn one_compressor_and_one_buffer_serve_batches_of_all_codecs_in_turn() {
    let mut compressor = Compressor::new();
    let mut buffer = DecodeBuffer::new();
    let mut spare = Vec::new();
    for size in [300_000, 10, 70_000, 0, 65_536] {
        let value: Vec<u8> = (0..size)
            .map(|index: usize| (index / 7 % 251).to_le_bytes()[0])
            .collect();
        for codec in Codec::ALL {
            let options = BatchOptions {
                compression: codec.into(),
                capacity: 1000,
            };
            let mut builder = BatchBuilder::with_buffer(options, spare);
            builder
                .append(&NewRecord {
                    value: Some(&value),
                    ..NewRecord::default()
                })
                .unwrap();
            let set = builder.seal().finish(-1, -1, -1, &mut compressor).unwrap();
            spare = compressor.take_spare().unwrap_or_default();
            let record = only(&set).records(&mut buffer).unwrap().next().unwrap().unwrap();
            assert_eq!(record.value, Some(&value[..]), "{codec} {size}");
        }
    }
}

#[test]
fn every_level_that_is_offered_gives_back_what_was_put_in() {
    let mut compressor = Compressor::new();
    let mut buffer = DecodeBuffer::new();
    let value = include_bytes!("java.txt");
    for codec in Codec::ALL {
        for level in codec.levels().into_iter().flatten() {
            let compression = Compression::new(codec, Some(level)).unwrap();
            let mut builder = BatchBuilder::new(BatchOptions {
                compression,
                capacity: 0,
            });
            builder
                .append(&NewRecord {
                    value: Some(value),
                    ..NewRecord::default()
                })
                .unwrap();
            let set = builder.seal().finish(-1, -1, -1, &mut compressor).unwrap();
            assert_eq!(only(&set).header.codec(), Ok(codec));
            let record = only(&set).records(&mut buffer).unwrap().next().unwrap().unwrap();
            assert_eq!(record.value, Some(&value[..]), "{compression}");
        }
    }
}

#[test]
fn records_that_do_not_shrink_are_sent_uncompressed() {
    let record = NewRecord {
        value: Some(b"abc"),
        ..NewRecord::default()
    };
    for codec in Codec::ALL {
        let set = batch(codec, &[record]);
        assert_eq!(only(&set).header.codec(), Ok(Codec::None));
        assert_eq!(set.len(), BATCH_OVERHEAD + builder(codec).encoded_size(&record));
    }
}

#[test]
fn zstd_is_read_by_a_decoder_that_is_not_ours() {
    let value = include_bytes!("java.txt").repeat(20);
    for level in [1, 3, 9] {
        let compression = Compression::new(Codec::Zstd, Some(level)).unwrap();
        let mut compressor = Compressor::new();
        let compressed = compressor.compress(compression, &value).unwrap().unwrap();
        let mut decoder = ruzstd::decoding::FrameDecoder::new();
        let mut read = Vec::with_capacity(value.len() + 1024);
        decoder.decode_all_to_vec(compressed, &mut read).unwrap();
        assert!(read == value, "level {level}");
    }
}

#[test]
fn a_zstd_frame_without_its_size_is_read_however_far_it_expands() {
    // By libzstd, from a pipe; librdkafka's are alike. 20 times its size, so that the first guess is too small.
    let frame = include_bytes!("undeclared.zst");
    let line = |n: usize| format!("key-{}\tvalue {n} {}\n", n % 17, "abc".repeat(n % 101));
    let expected: String = (0..150).map(line).collect();
    let mut decompressor = super::super::compression::Decompressor::new(1 << 20);
    assert_eq!(
        decompressor.decompress(Codec::Zstd, frame).unwrap(),
        expected.as_bytes()
    );
    let mut decompressor = super::super::compression::Decompressor::new(20_000);
    assert!(
        decompressor.decompress(Codec::Zstd, frame).is_err(),
        "beyond the limit"
    );
}

#[test]
fn a_batch_stamped_anew_is_the_batch_finished_so() {
    let record = NewRecord {
        value: Some(b"abc"),
        ..NewRecord::default()
    };
    let mut set = batch(Codec::None, &[record]);
    stamp(&mut set, 42, 7, 1000);
    let mut builder = builder(Codec::None);
    builder.append(&record).unwrap();
    assert_eq!(
        set,
        builder
            .seal()
            .finish(42, 7, 1000, &mut Compressor::new())
            .unwrap()
    );
    assert_eq!(only(&set).verify(), Ok(()));
}

#[test]
fn a_header_of_a_record_is_listed_with_its_doubles_in_order() {
    let headers: [Header<'_>; 4] = [
        (b"b", Some(b"1")),
        (b"a", None),
        (b"b", Some(b"")),
        (b"", Some(b"2")),
    ];
    let set = batch(
        Codec::None,
        &[NewRecord {
            headers: &headers,
            ..NewRecord::default()
        }],
    );
    let mut buffer = DecodeBuffer::new();
    let record = only(&set).records(&mut buffer).unwrap().next().unwrap().unwrap();
    assert_eq!((record.key, record.value, record.headers.len()), (None, None, 4));
    assert_eq!(record.headers.iter().collect::<Vec<_>>(), headers);
}
