//! From records to the bytes of a batch.
//!
//! Records are written once, straight into the buffer that will be sent (or compressed): its first
//! [`BATCH_OVERHEAD`] bytes are kept for the header, which is filled in when the batch is finished.

use super::compression::{CompressError, Compressor};
use super::header::{
    AT_ATTRIBUTES, AT_BASE_SEQUENCE, AT_BASE_TIMESTAMP, AT_COUNT, AT_CRC, AT_LAST_DELTA, AT_LEADER_EPOCH,
    AT_LENGTH, AT_MAGIC, AT_MAX_TIMESTAMP, AT_PRODUCER_EPOCH, AT_PRODUCER_ID, BATCH_OVERHEAD, LOG_OVERHEAD,
};
use super::varint::{self, MAX_VARINT, MAX_VARLONG};
use super::{Codec, Compression, NewRecord};

/// The most bytes a batch can have before compression: its length is a signed 32-bit number.
const MAX_BATCH: usize = i32::MAX as usize;
/// Room for what stands in front of a record's key: length, attributes, timestamp and offset deltas, two lengths.
const PREFIX: usize = 40;
const _: () = assert!(MAX_VARINT + 1 + MAX_VARLONG + MAX_VARINT + MAX_VARINT + MAX_VARINT <= PREFIX);

/// How a batch is to be made.
#[derive(Debug, Clone, Copy, Default)]
pub struct BatchOptions {
    /// The codec and its level.
    pub compression: Compression,
    /// Bytes to make room for beforehand, header included. More may be appended.
    pub capacity: usize,
}

/// A batch that is being filled.
#[derive(Debug)]
pub struct BatchBuilder {
    buffer: Vec<u8>,
    compression: Compression,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

/// A record that was not taken, because the batch would overflow its own length field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record of {size} bytes does not fit into the batch")]
pub struct AppendError {
    /// The encoded record's size in bytes.
    pub size: usize,
}

impl BatchBuilder {
    /// An empty batch.
    #[must_use]
    pub fn new(options: BatchOptions) -> Self {
        BatchBuilder::with_buffer(options, Vec::new())
    }

    /// An empty batch in a used buffer, whose content is dropped: fresh pages of a new one cost about as much
    /// as the copying into it.
    #[must_use]
    pub fn with_buffer(options: BatchOptions, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.reserve(options.capacity.max(BATCH_OVERHEAD));
        buffer.extend_from_slice(&[0; BATCH_OVERHEAD]);
        BatchBuilder {
            buffer,
            compression: options.compression,
            count: 0,
            base_timestamp: 0,
            max_timestamp: -1,
        }
    }

    /// The batch's size so far in bytes, header included, not compressed: a finished batch is never larger.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing was appended yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many records were appended.
    #[must_use]
    pub fn count(&self) -> i32 {
        self.count
    }

    /// The highest timestamp so far in milliseconds since the epoch, -1 without records.
    #[must_use]
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// By exactly how many bytes [`append`](Self::append) of that record would lengthen this batch. Of an empty
    /// one, together with [`BATCH_OVERHEAD`], it is the size of a batch with that record alone.
    #[must_use]
    pub fn encoded_size(&self, record: &NewRecord<'_>) -> usize {
        let body = self.body_size(record);
        varint::size(length(body)).saturating_add(body)
    }

    fn timestamp_delta(&self, record: &NewRecord<'_>) -> i64 {
        // Wraps for absurd timestamps, and so does the reader's addition: nothing is lost.
        if self.count == 0 {
            0
        } else {
            record.timestamp.wrapping_sub(self.base_timestamp)
        }
    }

    fn body_size(&self, record: &NewRecord<'_>) -> usize {
        let fixed = 1 + varint::size(self.timestamp_delta(record)) + varint::size(i64::from(self.count));
        let mut size = fixed
            .saturating_add(nullable_size(record.key))
            .saturating_add(nullable_size(record.value))
            .saturating_add(varint::size(length(record.headers.len())));
        for (name, value) in record.headers {
            size = size
                .saturating_add(nullable_size(Some(name)))
                .saturating_add(nullable_size(*value));
        }
        size
    }

    /// Appends a record behind the others, if the batch then has no more than `limit` bytes. Returns whether it did.
    ///
    /// # Errors
    /// The batch would be longer than 2 GiB. It stays as it was.
    #[inline]
    pub fn append_within(&mut self, record: &NewRecord<'_>, limit: usize) -> Result<bool, AppendError> {
        let body = self.body_size(record);
        let grown = self.buffer.len().saturating_add(body);
        if grown.saturating_add(varint::size(length(body))) > limit {
            return Ok(false);
        }
        self.append_sized(record, body)?;
        Ok(true)
    }

    /// Appends a record behind the others.
    ///
    /// # Errors
    /// The batch would be longer than 2 GiB. It stays as it was.
    pub fn append(&mut self, record: &NewRecord<'_>) -> Result<(), AppendError> {
        self.append_sized(record, self.body_size(record))
    }

    #[inline]
    fn append_sized(&mut self, record: &NewRecord<'_>, body: usize) -> Result<(), AppendError> {
        // A count in overflow would need records of no bytes: the size is the tighter limit.
        if body > MAX_BATCH || self.buffer.len() + body + MAX_VARINT > MAX_BATCH {
            return Err(AppendError { size: body });
        }
        let delta = self.timestamp_delta(record);
        if self.count == 0 {
            self.base_timestamp = record.timestamp;
            self.max_timestamp = record.timestamp;
        } else {
            self.max_timestamp = self.max_timestamp.max(record.timestamp);
        }

        let mut prefix = [0; PREFIX];
        let mut at = varint::put(&mut prefix, 0, length(body));
        at += 1; // attributes: none are defined
        at = varint::put(&mut prefix, at, delta);
        at = varint::put(&mut prefix, at, i64::from(self.count));
        self.buffer.reserve(PREFIX + body);
        match record.key {
            None => at = varint::put(&mut prefix, at, -1),
            Some(key) => {
                at = varint::put(&mut prefix, at, length(key.len()));
                self.put_prefix(&prefix, at);
                self.buffer.extend_from_slice(key);
                at = 0;
            }
        }
        at = varint::put(&mut prefix, at, nullable_length(record.value));
        self.put_prefix(&prefix, at);
        if let Some(value) = record.value {
            self.buffer.extend_from_slice(value);
        }
        if record.headers.is_empty() {
            self.buffer.push(0);
        } else {
            self.put_headers(record.headers);
        }
        self.count += 1;
        Ok(())
    }

    /// Copies all of the array, whose size the compiler knows, and takes back what is too much: several times
    /// faster than a copy of a size that only the program knows.
    #[inline]
    fn put_prefix(&mut self, prefix: &[u8; PREFIX], length: usize) {
        let end = self.buffer.len() + length;
        self.buffer.extend_from_slice(prefix);
        self.buffer.truncate(end);
    }

    fn put_headers(&mut self, headers: &[super::Header<'_>]) {
        self.put_varint(length(headers.len()));
        for (name, value) in headers {
            self.put_varint(length(name.len()));
            self.buffer.extend_from_slice(name);
            self.put_varint(nullable_length(*value));
            self.buffer.extend_from_slice(value.unwrap_or_default());
        }
    }

    fn put_varint(&mut self, value: i64) {
        let mut bytes = [0; MAX_VARLONG];
        let end = varint::put(&mut bytes, 0, value);
        self.buffer.extend_from_slice(&bytes[..end]);
    }

    /// Closes the batch. Cheap: the work is left to [`SealedBatch::finish`], on whatever thread.
    #[must_use]
    pub fn seal(self) -> SealedBatch {
        SealedBatch {
            buffer: self.buffer,
            compression: self.compression,
            count: self.count,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
        }
    }
}

/// A length or a count as a varint has it. Lengths beyond an `i32` never get as far as being written.
fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn nullable_length(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |bytes| length(bytes.len()))
}

fn nullable_size(bytes: Option<&[u8]>) -> usize {
    varint::size(nullable_length(bytes)).saturating_add(bytes.map_or(0, <[u8]>::len))
}

/// A closed batch whose records are still uncompressed and whose header is still empty.
#[derive(Debug)]
pub struct SealedBatch {
    buffer: Vec<u8>,
    compression: Compression,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl SealedBatch {
    /// Its size in bytes before compression, header included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether it has no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many records are in it.
    #[must_use]
    pub fn count(&self) -> i32 {
        self.count
    }

    /// How it is going to be compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The highest timestamp in milliseconds since the epoch, -1 without records.
    #[must_use]
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// Compresses the records, fills in the header and returns the batch's bytes, which are never more than
    /// [`len`](Self::len): records that compression would lengthen go uncompressed. For a batch of no producer
    /// all three numbers are -1; [`stamp`] changes them later. The uncompressed buffer is left in the
    /// compressor: see [`Compressor::take_spare`].
    ///
    /// # Errors
    /// The codec failed.
    pub fn finish(
        self,
        producer_id: i64,
        producer_epoch: i16,
        base_sequence: i32,
        compressor: &mut Compressor,
    ) -> Result<Vec<u8>, CompressError> {
        let mut codec = self.compression.codec();
        let records = &self.buffer[BATCH_OVERHEAD..];
        let mut batch = match compressor.compress(self.compression, records)? {
            Some(compressed) if compressed.len() < records.len() => {
                let mut batch = Vec::with_capacity(BATCH_OVERHEAD + compressed.len());
                batch.extend_from_slice(&[0; BATCH_OVERHEAD]);
                batch.extend_from_slice(compressed);
                compressor.give_spare(self.buffer);
                batch
            }
            _ => {
                codec = Codec::None;
                self.buffer
            }
        };

        // `append` keeps the whole within an i32.
        let frame_length = i32::try_from(batch.len() - LOG_OVERHEAD).unwrap_or(i32::MAX);
        put(&mut batch, AT_LENGTH, frame_length.to_be_bytes());
        put(&mut batch, AT_LEADER_EPOCH, (-1i32).to_be_bytes());
        put(&mut batch, AT_MAGIC, [2]);
        put(&mut batch, AT_ATTRIBUTES, i16::from(codec.number()).to_be_bytes());
        put(&mut batch, AT_LAST_DELTA, (self.count - 1).max(0).to_be_bytes());
        put(&mut batch, AT_BASE_TIMESTAMP, self.base_timestamp.to_be_bytes());
        put(&mut batch, AT_MAX_TIMESTAMP, self.max_timestamp.to_be_bytes());
        put(&mut batch, AT_COUNT, self.count.to_be_bytes());
        stamp(&mut batch, producer_id, producer_epoch, base_sequence);
        Ok(batch)
    }
}

fn put<const N: usize>(batch: &mut [u8], at: usize, bytes: [u8; N]) {
    batch[at..at + N].copy_from_slice(&bytes);
}

/// Marks a finished batch with a producer's id and epoch and its first sequence number, and renews its checksum,
/// which is over all that follows it: 1 MB costs about as much as a copy of it.
///
/// # Panics
/// `batch` is shorter than a header.
pub fn stamp(batch: &mut [u8], producer_id: i64, producer_epoch: i16, base_sequence: i32) {
    put(batch, AT_PRODUCER_ID, producer_id.to_be_bytes());
    put(batch, AT_PRODUCER_EPOCH, producer_epoch.to_be_bytes());
    put(batch, AT_BASE_SEQUENCE, base_sequence.to_be_bytes());
    let crc = crc32c::crc32c(&batch[AT_ATTRIBUTES..]);
    put(batch, AT_CRC, crc.to_be_bytes());
}
