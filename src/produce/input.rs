//! Blocks of input bytes → records, by line, with what is wrong told by line.
//!
//! Pure: the caller reads stdin or files in big blocks and hands each one to [`Splitter::next_record`] until that
//! returns `None`; it may stop at any record (its buffers are full) and go on later with the same block and position.
//! Records are slices of the block. Only a record that straddles two blocks is copied, once.
//!
//! An input that is refused costs its own line only: the records after it go on.

mod envelope;
mod error;
mod json;
mod lines;
mod ndjson;
mod splitter;

#[cfg(test)]
mod tests;

pub use error::{InputError, Refusal};
pub(crate) use lines::unescape;
pub use lines::{BadDelimiter, parse_delimiter, unescape_bytes};
pub use ndjson::{BadPointer, Pointer};
pub use splitter::Splitter;

use crate::record::{Header, NewRecord};
use std::borrow::Cow;

/// How the bytes of one line become a record.
#[derive(Debug, Clone, Default)]
pub enum InputFormat {
    /// The line is the value; with a key delimiter, what stands before its first occurrence is the key.
    #[default]
    Lines,
    /// The line is the value, to the byte, and must be JSON; the key is what the pointer finds in it.
    Ndjson(Pointer),
    /// `{"key":…,"value":…,"headers":…,"partition":…,"timestamp":…}`, or what `consume -J` and `kcat -J` print.
    Envelopes,
}

/// What [`Splitter`] is told by the command line and the topic.
#[derive(Debug, Clone)]
pub struct InputOptions {
    /// How a line becomes a record.
    pub format: InputFormat,
    /// What ends a record (`-D`); not empty. Unescape it with [`parse_delimiter`].
    pub delimiter: Vec<u8>,
    /// What stands between key and value (`-K`), in lines only; not empty if given.
    pub key_delimiter: Option<Vec<u8>>,
    /// The key of each record that has none of its own (`-k`).
    pub fixed_key: Option<Vec<u8>>,
    /// `-Z`: an empty value or key of a line is null.
    pub empty_is_null: bool,
    /// Leaves empty lines out, as kcat does; they are published as empty values otherwise, so that no line is lost.
    pub skip_empty: bool,
    /// The most bytes of key and value together that a record may have; a longer line is refused without being
    /// buffered. The exact judgement, headers and overhead included, is the accumulator's.
    pub max_record: usize,
}

impl Default for InputOptions {
    fn default() -> Self {
        Self {
            format: InputFormat::Lines,
            delimiter: vec![b'\n'],
            key_delimiter: None,
            fixed_key: None,
            empty_is_null: false,
            skip_empty: false,
            max_record: DEFAULT_MAX_RECORD,
        }
    }
}

/// The bytes a record may have when nobody says what the topic takes: Kafka's default `message.max.bytes`.
pub const DEFAULT_MAX_RECORD: usize = 1_048_588;

/// A record as it was read; its slices live as long as the block and the splitter's borrow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// The line it was on, from 1.
    pub line: u64,
    /// Null, or the key's bytes.
    pub key: Option<&'a [u8]>,
    /// Null, or the value's bytes.
    pub value: Option<&'a [u8]>,
    /// The fixed headers and then the record's own, in this order, doubles allowed.
    pub headers: Cow<'a, [Header<'a>]>,
    /// The partition the input asked for; not negative.
    pub partition: Option<i32>,
    /// The timestamp the input gave, in milliseconds since the epoch; −1 is Kafka's "none".
    pub timestamp: Option<i64>,
}

impl Parsed<'_> {
    /// The record to encode; `now` (milliseconds since the epoch) where the input gave no timestamp.
    #[must_use]
    pub fn record(&self, now: i64) -> NewRecord<'_> {
        NewRecord {
            key: self.key,
            value: self.value,
            headers: &self.headers,
            timestamp: self.timestamp.unwrap_or(now),
        }
    }
}
