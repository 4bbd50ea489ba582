//! Tests across the files of this module.

mod damage;
mod java;
mod round_trip;
mod transactions;

use super::*;

fn builder(codec: Codec) -> BatchBuilder {
    BatchBuilder::new(BatchOptions {
        compression: codec.into(),
        capacity: 0,
    })
}

/// A finished batch of no producer.
fn batch(codec: Codec, records: &[NewRecord<'_>]) -> Vec<u8> {
    let mut builder = builder(codec);
    for record in records {
        builder.append(record).unwrap();
    }
    builder.seal().finish(-1, -1, -1, &mut Compressor::new()).unwrap()
}

/// The only batch of a set.
fn only(set: &[u8]) -> Batch<'_> {
    let mut batches = Batches::new(set);
    let batch = batches.next().unwrap();
    assert!(batches.next().is_none());
    assert_eq!(batches.remainder(), Remainder::None);
    batch
}
