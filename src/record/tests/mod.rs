//! Tests across the files of this module.

use super::*;

fn builder(codec: Codec) -> BatchBuilder {
    BatchBuilder::new(BatchOptions {
        compression: codec.into(),
        capacity: 0,
    })
}

#[test]
fn every_codec_gives_back_what_was_put_in() {
    let mut compressor = Compressor::new();
    let mut buffer = DecodeBuffer::new();
    let value = b"the same and the same and the same again".repeat(5000);
    let headers: [Header<'_>; 3] = [(b"a", Some(b"1")), (b"a", None), (b"", Some(b""))];
    for codec in Codec::ALL {
        let mut batch = builder(codec);
        let records = [
            NewRecord {
                key: None,
                value: Some(&value),
                headers: &[],
                timestamp: 1000,
            },
            NewRecord {
                key: Some(b"k"),
                value: None,
                headers: &headers,
                timestamp: 900,
            },
            NewRecord {
                key: Some(b""),
                value: Some(b""),
                headers: &[],
                timestamp: i64::MAX,
            },
        ];
        for record in &records {
            let before = batch.len();
            let size = batch.encoded_size(record);
            batch.append(record).unwrap();
            assert_eq!(batch.len() - before, size);
        }
        let bytes = batch.seal().finish(7, 3, 11, &mut compressor).unwrap();
        let mut batches = Batches::new(&bytes);
        let batch = batches.next().unwrap();
        assert!(batches.next().is_none());
        assert_eq!(batches.remainder(), Remainder::None);
        assert_eq!(batch.header.codec(), Ok(codec));
        assert_eq!(
            (
                batch.header.producer_id,
                batch.header.producer_epoch,
                batch.header.base_sequence
            ),
            (7, 3, 11)
        );
        assert_eq!(
            (batch.header.last_offset, batch.header.max_timestamp),
            (2, i64::MAX)
        );
        let read: Vec<_> = batch.records(&mut buffer).unwrap().map(Result::unwrap).collect();
        assert_eq!(read.len(), 3);
        for (index, (read, written)) in read.iter().zip(&records).enumerate() {
            assert_eq!(read.offset, i64::try_from(index).unwrap());
            assert_eq!(
                (read.key, read.value, read.timestamp),
                (written.key, written.value, written.timestamp)
            );
            assert_eq!(read.headers.iter().collect::<Vec<_>>(), written.headers);
        }
    }
}
