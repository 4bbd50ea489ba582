//! Record batches (magic 2): encoding, zero-copy decoding, compression, control batches, aborted transactions.
//!
//! Pure: no clock, no randomness, no IO. The layout is that of Kafka's `DefaultRecordBatch` and
//! `DefaultRecord` (<https://kafka.apache.org/documentation/#recordbatch>).
//!
//! Out: [`BatchBuilder`] → [`SealedBatch`] → [`SealedBatch::finish`] with a [`Compressor`] → bytes for a
//! Produce request, which [`stamp`] can mark anew for another producer epoch.
//!
//! In: [`Batches`] over a fetched record set → [`AbortedFilter::decide`] → [`Batch::records`] with a
//! [`DecodeBuffer`] → [`RecordView`]s that borrow from the set or from the buffer.

mod batch;
mod codec;
mod compression;
mod decode;
mod encode;
mod error;
mod header;
mod lz4;
mod owned;
mod transactions;
mod varint;

#[cfg(test)]
mod tests;

pub use batch::{Batch, ControlRecord, DecodeBuffer, Headers, HeadersIter, Place, RecordView, Records};
pub use codec::{Codec, Compression, ParseCompressionError};
pub use compression::{CompressError, Compressor, DecompressError, MAX_DECOMPRESSED};
pub use decode::{Batches, Remainder};
pub use encode::{AppendError, BatchBuilder, BatchOptions, SealedBatch, stamp};
pub use error::{BatchError, Reason};
pub use header::{BATCH_OVERHEAD, BatchHeader, TimestampType};
pub use owned::OwnedRecord;
pub use transactions::{AbortedFilter, AbortedTransaction, Verdict};

/// A header: its name, and a value that may be null.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// A record to be encoded.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewRecord<'a> {
    /// Null, or the key's bytes.
    pub key: Option<&'a [u8]>,
    /// Null, or the value's bytes.
    pub value: Option<&'a [u8]>,
    /// In this order, doubles allowed.
    pub headers: &'a [Header<'a>],
    /// Milliseconds since the epoch.
    pub timestamp: i64,
}

/// A producer's id and epoch, as InitProducerId gives them and batches carry them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Unique in the cluster.
    pub id: i64,
    /// 0 for a new id.
    pub epoch: i16,
}
