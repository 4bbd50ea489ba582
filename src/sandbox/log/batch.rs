//! What a broker writes into batches: its offsets, its time, and markers of its own. Pure.

use bytes::{Bytes, BytesMut};

use crate::record::{BATCH_OVERHEAD, BatchBuilder, BatchOptions, Compressor, NewRecord};

const AT_LEADER_EPOCH: usize = 12;
const AT_CRC: usize = 17;
const AT_ATTRIBUTES: usize = 21;
const AT_MAX_TIMESTAMP: usize = 35;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

fn put<const N: usize>(batch: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(place) = batch.get_mut(at..at + N) {
        place.copy_from_slice(&bytes);
    }
}

fn renew_checksum(batch: &mut [u8]) {
    let crc = crc32c::crc32c(batch.get(AT_ATTRIBUTES..).unwrap_or_default());
    put(batch, AT_CRC, crc.to_be_bytes());
}

fn add_attributes(batch: &mut [u8], bits: i16) {
    if let Some(old) = batch.get(AT_ATTRIBUTES..).and_then(|rest| rest.first_chunk()) {
        let attributes = i16::from_be_bytes(*old) | bits;
        put(batch, AT_ATTRIBUTES, attributes.to_be_bytes());
    }
}

/// Gives a batch its place. The checksum does not cover it.
pub(crate) fn place(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    put(batch, 0, base_offset.to_be_bytes());
    put(batch, AT_LEADER_EPOCH, leader_epoch.to_be_bytes());
}

/// Gives all its records the broker's time.
pub(crate) fn append_time(batch: &mut [u8], now: i64) {
    add_attributes(batch, LOG_APPEND_TIME);
    put(batch, AT_MAX_TIMESTAMP, now.to_be_bytes());
    renew_checksum(batch);
}

/// The marker that ends a producer's transaction in a partition, without a place yet.
pub(crate) fn marker(producer_id: i64, producer_epoch: i16, committed: bool, now: i64) -> Option<BytesMut> {
    let kind = i16::from(committed);
    let key = [[0, 0], kind.to_be_bytes()].concat();
    // A version, and the coordinator's epoch: 0, as there is but one coordinator.
    let value = [0; 6];
    let mut batch = BatchBuilder::new(BatchOptions::default());
    let record = NewRecord {
        key: Some(&key),
        value: Some(&value),
        headers: &[],
        timestamp: now,
    };
    batch.append(&record).ok()?;
    let mut bytes = batch
        .seal()
        .finish(producer_id, producer_epoch, -1, &mut Compressor::new())
        .ok()?;
    add_attributes(&mut bytes, TRANSACTIONAL | CONTROL);
    renew_checksum(&mut bytes);
    debug_assert!(bytes.len() > BATCH_OVERHEAD);
    Some(BytesMut::from(Bytes::from(bytes)))
}
