//! From a fetched record set to its batches, by their headers alone.

use super::batch::Batch;
use super::header::{AT_LENGTH, AT_MAGIC, BATCH_OVERHEAD, BatchHeader, LOG_OVERHEAD, MIN_FRAME, array};

/// The shortest message of the formats 0 and 1, in bytes behind its offset and size.
const MIN_OLD_MESSAGE: usize = 14;

/// The batches of one partition's record set, in order. It reads headers only, which costs some nanoseconds a
/// batch; checksums are left to [`Batch::verify`] and [`Batch::records`].
///
/// It ends at the end of the set, at a batch that the fetch has cut off (which is normal), or where the lengths
/// make no sense: [`remainder`](Self::remainder) tells which.
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    set: &'a [u8],
    at: usize,
    remainder: Remainder,
}

/// What is behind the last batch of a record set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remainder {
    /// Nothing.
    None,
    /// The beginning of a batch. If it is all the set holds, a fetch must ask for `needed` bytes to get on.
    Truncated {
        /// The whole batch's size in bytes; of less than 12 bytes only a lower bound can be told. It is what the
        /// length field claims, up to 2 GiB: whoever asks for that much must have a limit.
        needed: usize,
        /// Its base offset, where there is that much of it.
        base_offset: Option<i64>,
    },
    /// Bytes that are no batch: nothing behind them can be found.
    Broken {
        /// Where in the set, in bytes.
        at: usize,
        /// The offset that stands there.
        base_offset: i64,
        /// What is wrong with them.
        reason: &'static str,
    },
}

impl<'a> Batches<'a> {
    /// Of the bytes of a record set.
    #[must_use]
    pub fn new(set: &'a [u8]) -> Self {
        Batches {
            set,
            at: 0,
            remainder: Remainder::None,
        }
    }

    /// What is behind the last batch; [`Remainder::None`] until the iteration has ended.
    #[must_use]
    pub fn remainder(&self) -> Remainder {
        self.remainder
    }

    /// Where the next batch begins, in bytes from the beginning of the set.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    fn end(&mut self, remainder: Remainder) -> Option<Batch<'a>> {
        self.remainder = remainder;
        None
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Batch<'a>;

    fn next(&mut self) -> Option<Batch<'a>> {
        let rest = self.set.get(self.at..).unwrap_or_default();
        if rest.is_empty() || self.remainder != Remainder::None {
            return None;
        }
        if rest.len() < LOG_OVERHEAD {
            let base_offset = rest.first_chunk().copied().map(i64::from_be_bytes);
            return self.end(Remainder::Truncated {
                needed: BATCH_OVERHEAD,
                base_offset,
            });
        }
        let base_offset = i64::from_be_bytes(array(rest, 0));
        let length = i32::from_be_bytes(array(rest, AT_LENGTH));
        let broken = |reason| Remainder::Broken {
            at: self.at,
            base_offset,
            reason,
        };
        let Some(size) = usize::try_from(length)
            .ok()
            .filter(|length| *length >= MIN_OLD_MESSAGE)
        else {
            return self.end(broken("a batch with an impossible length"));
        };
        if base_offset < 0 {
            return self.end(broken("a batch with a negative offset"));
        }
        let size = size + LOG_OVERHEAD;
        if rest.len() < size.max(MIN_FRAME) {
            return self.end(Remainder::Truncated {
                needed: size,
                base_offset: Some(base_offset),
            });
        }
        let magic = i8::from_be_bytes(array(rest, AT_MAGIC));
        if magic == 2 && size < BATCH_OVERHEAD {
            return self.end(broken("a batch shorter than its header"));
        }
        let frame = rest.get(..size)?;
        let header = if magic == 2 {
            BatchHeader::read(frame)
        } else {
            BatchHeader::of_other_magic(frame, magic)
        };
        let batch = Batch::new(header, frame, self.at);
        self.at += size;
        Some(batch)
    }
}

impl std::iter::FusedIterator for Batches<'_> {}
