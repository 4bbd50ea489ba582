//! The 61 bytes in front of a batch's records.

use super::Codec;

/// The size of a batch without records, in bytes: its header.
pub const BATCH_OVERHEAD: usize = 61;

/// The base offset and the length, which the length does not count.
pub(super) const LOG_OVERHEAD: usize = 12;
/// The shortest frame that shows its format version: old messages begin with offset, size, checksum, magic.
pub(super) const MIN_FRAME: usize = 17;

pub(super) const AT_LENGTH: usize = 8;
pub(super) const AT_LEADER_EPOCH: usize = 12;
pub(super) const AT_MAGIC: usize = 16;
pub(super) const AT_CRC: usize = 17;
pub(super) const AT_ATTRIBUTES: usize = 21;
pub(super) const AT_LAST_DELTA: usize = 23;
pub(super) const AT_BASE_TIMESTAMP: usize = 27;
pub(super) const AT_MAX_TIMESTAMP: usize = 35;
pub(super) const AT_PRODUCER_ID: usize = 43;
pub(super) const AT_PRODUCER_EPOCH: usize = 51;
pub(super) const AT_BASE_SEQUENCE: usize = 53;
pub(super) const AT_COUNT: usize = 57;

const CODEC_BITS: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// Whose clock a timestamp is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at the time it appended the batch.
    LogAppendTime,
}

/// A batch's header. Until the batch's checksum was found right ([`super::Batch::verify`]) it is what the
/// batch claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The first record's offset (or, of a compacted batch, what it was once).
    pub base_offset: i64,
    /// The last record's offset: the next position is behind it, also where compaction removed that record.
    pub last_offset: i64,
    /// The leader's epoch when the batch was appended, -1 if unknown.
    pub leader_epoch: i32,
    /// The format version: 2. Below that nothing else than the offsets is filled in.
    pub magic: i8,
    /// The checksum as the header has it.
    pub crc: u32,
    /// The bits as they are.
    pub attributes: i16,
    /// Milliseconds since the epoch that the records' timestamps are relative to.
    pub base_timestamp: i64,
    /// The highest timestamp in the batch, in milliseconds since the epoch.
    pub max_timestamp: i64,
    /// -1 for none.
    pub producer_id: i64,
    /// -1 for none.
    pub producer_epoch: i16,
    /// The first record's sequence number; -1 for none.
    pub base_sequence: i32,
    /// How many records are in it.
    pub count: i32,
    /// The size of the whole batch in bytes, this header included.
    pub size: usize,
}

/// Bytes at a place that was checked to be there.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

impl BatchHeader {
    /// Reads the header of a frame of at least [`BATCH_OVERHEAD`] bytes and magic 2.
    pub(super) fn read(frame: &[u8]) -> Self {
        let base_offset = i64::from_be_bytes(array(frame, 0));
        let last_delta = i32::from_be_bytes(array(frame, AT_LAST_DELTA));
        BatchHeader {
            base_offset,
            last_offset: base_offset.saturating_add(i64::from(last_delta.max(0))),
            leader_epoch: i32::from_be_bytes(array(frame, AT_LEADER_EPOCH)),
            magic: i8::from_be_bytes(array(frame, AT_MAGIC)),
            crc: u32::from_be_bytes(array(frame, AT_CRC)),
            attributes: i16::from_be_bytes(array(frame, AT_ATTRIBUTES)),
            base_timestamp: i64::from_be_bytes(array(frame, AT_BASE_TIMESTAMP)),
            max_timestamp: i64::from_be_bytes(array(frame, AT_MAX_TIMESTAMP)),
            producer_id: i64::from_be_bytes(array(frame, AT_PRODUCER_ID)),
            producer_epoch: i16::from_be_bytes(array(frame, AT_PRODUCER_EPOCH)),
            base_sequence: i32::from_be_bytes(array(frame, AT_BASE_SEQUENCE)),
            count: i32::from_be_bytes(array(frame, AT_COUNT)),
            size: frame.len(),
        }
    }

    /// What can be told of a frame of another format version: offset and size.
    pub(super) fn of_other_magic(frame: &[u8], magic: i8) -> Self {
        let base_offset = i64::from_be_bytes(array(frame, 0));
        BatchHeader {
            base_offset,
            last_offset: base_offset,
            leader_epoch: -1,
            magic,
            crc: 0,
            attributes: 0,
            base_timestamp: -1,
            max_timestamp: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            count: 0,
            size: frame.len(),
        }
    }

    /// The codec, or the number of one that Kafka does not define.
    ///
    /// # Errors
    /// The unknown codec's number.
    pub fn codec(&self) -> Result<Codec, u8> {
        let number = u8::try_from(self.attributes & CODEC_BITS).unwrap_or_default();
        Codec::from_number(number).ok_or(number)
    }

    /// Whose clock the timestamps are of.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// Whether it is part of a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether it holds a marker of the broker's instead of records.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// The position behind the batch.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.last_offset.saturating_add(1)
    }
}
