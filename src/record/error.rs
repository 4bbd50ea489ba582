//! What can be wrong with a batch, with the offsets it costs.

use std::fmt;

use super::compression::DecompressError;

/// Records that could not be read. Reading goes on behind `last`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchError {
    /// The first offset that could not be read.
    pub base: i64,
    /// The last offset that could not be read, as the batch's own header has it.
    pub last: i64,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.base == self.last {
            write!(f, "the record at offset {} cannot be read", self.base)
        } else {
            write!(
                f,
                "the records at offsets {} to {} cannot be read",
                self.base, self.last
            )
        }
    }
}

impl std::error::Error for BatchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

/// Why records could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A message set of a format that Kafka 4 neither stores nor sends.
    #[error("the batch has the format version {0}; only version 2 can be read")]
    Magic(i8),
    /// What came is not what was written.
    #[error("the checksum of the batch is {found:08x} and should be {expected:08x}")]
    Checksum {
        /// The checksum in the batch's header.
        expected: u32,
        /// The checksum of the bytes.
        found: u32,
    },
    /// A codec number that Kafka does not define.
    #[error("the batch is compressed with an unknown codec (number {0})")]
    Codec(u8),
    /// The payload cannot be decompressed.
    #[error("the batch cannot be decompressed: {0}")]
    Decompress(DecompressError),
    /// The checksum is right, yet the content makes no sense.
    #[error("the batch is malformed: {0}")]
    Malformed(&'static str),
}
