//! Record batches (magic 2): encoding, zero-copy decoding, compression, control batches, aborted transactions.
//!
//! Pure: no clock, no randomness, no IO. The layout is that of Kafka's `DefaultRecordBatch` and
//! `DefaultRecord` (<https://kafka.apache.org/documentation/#recordbatch>).

/// A codec of a record batch, as in the lowest three bits of its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Codec {
    /// Not compressed.
    #[default]
    None,
    /// gzip (RFC 1952), several members allowed.
    Gzip,
    /// Snappy: raw blocks are written, raw and xerial framing are read.
    Snappy,
    /// LZ4 frame.
    Lz4,
    /// Zstandard frame.
    Zstd,
}

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
