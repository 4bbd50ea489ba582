//! A failed record as a dead letter. Pure.
//!
//! Key, value and headers stay to the byte, but for headers of our own names, which are replaced. What is added takes
//! [`MAX_ADDED`] bytes at most. Where the topic does not take that much, the letter [shrinks](Shape).

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::headers::{Families, connect, is_ours, ours, spring};
use crate::group::log::id_text;
use crate::record::{
    AppendError, BATCH_OVERHEAD, BatchBuilder, BatchOptions, Compression, Header, NewRecord, SealedBatch,
};

/// Bytes of all the headers that are added, names and values together.
pub const MAX_ADDED: usize = 8 << 10;
/// Bytes of a status.
const MAX_STATUS: usize = 128;
/// A key that is longer is left out of the smallest shape.
const MAX_BARE_KEY: usize = 1 << 10;
/// Bytes of a letter's id: enough that no two of a group are ever the same.
const ID_BYTES: usize = 12;

/// Why a record is a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The handler refused it.
    Rejected,
    /// It failed as often as allowed, or for too long.
    Exhausted,
    /// Its batch cannot be decoded.
    Undecodable,
    /// The source would have deleted it soon.
    Expiring,
    /// It is not fit for the handler: too large, or not an event.
    Invalid,
}

impl Reason {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Rejected,
        Self::Exhausted,
        Self::Undecodable,
        Self::Expiring,
        Self::Invalid,
    ];

    /// The word in the headers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Exhausted => "exhausted",
            Self::Undecodable => "undecodable",
            Self::Expiring => "expiring",
            Self::Invalid => "invalid",
        }
    }

    /// What stands where other families have the class of an exception.
    const fn class(self) -> &'static str {
        match self {
            Self::Rejected => "barnabas.Rejected",
            Self::Exhausted => "barnabas.Exhausted",
            Self::Undecodable => "barnabas.Undecodable",
            Self::Expiring => "barnabas.Expiring",
            Self::Invalid => "barnabas.Invalid",
        }
    }
}

/// A record that failed, and how. Of a replayed one the coordinates are those of its [origin](super::replay::Origin).
#[derive(Debug, Clone, Copy)]
pub struct Failed<'a> {
    /// The group that could not process it.
    pub group: &'a str,
    /// Its topic.
    pub topic: &'a str,
    /// That topic's id.
    pub topic_id: [u8; 16],
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The last offset of a batch that cannot be decoded, whose bytes are the value then.
    pub last_offset: Option<i64>,
    /// Its timestamp, in milliseconds since the epoch.
    pub timestamp: i64,
    /// Whether that is the broker's.
    pub append_time: bool,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [Header<'a>],
    /// Why it is a dead letter.
    pub reason: Reason,
    /// How often it was tried.
    pub deliveries: u32,
    /// Why it failed the last time, for people; may be empty.
    pub message: &'a str,
    /// The last answer's status, if there was an answer.
    pub status: Option<&'a str>,
    /// When it failed first, in milliseconds since the epoch.
    pub first_failed: Option<i64>,
    /// When it failed last, in milliseconds since the epoch.
    pub last_failed: Option<i64>,
    /// How often it was replayed before.
    pub replays: u32,
}

/// What is left of a letter, the largest first. Each is smaller than the one before where that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// All of it.
    Whole,
    /// Without the text of the error.
    WithoutText,
    /// With the coordinates of the record alone.
    Coordinates,
    /// Without the value, of which the hash is kept.
    Reference,
    /// Without value, headers and a long key: it always fits.
    Bare,
}

impl Shape {
    /// The next smaller one.
    #[must_use]
    pub const fn smaller(self) -> Option<Self> {
        match self {
            Self::Whole => Some(Self::WithoutText),
            Self::WithoutText => Some(Self::Coordinates),
            Self::Coordinates => Some(Self::Reference),
            Self::Reference => Some(Self::Bare),
            Self::Bare => None,
        }
    }
}

/// A letter's id: equal for every copy of the letter, whoever writes it, and for no other record of the group.
#[must_use]
pub fn letter_id(group: &str, topic_id: [u8; 16], partition: i32, offset: i64) -> String {
    let mut hash = Sha256::new();
    hash.update(b"barnabas dead letter\0");
    hash.update(group.as_bytes());
    hash.update([0]);
    hash.update(topic_id);
    hash.update(partition.to_be_bytes());
    hash.update(offset.to_be_bytes());
    hex(&hash.finalize()[..ID_BYTES])
}

/// The SHA-256 of bytes, in hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}

/// Bytes that are borrowed or were made.
pub type Part<'a> = Cow<'a, [u8]>;

/// A record to be written: what it borrows, and headers that were made for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The key.
    pub key: Option<Part<'a>>,
    /// The value.
    pub value: Option<Part<'a>>,
    /// Names and values.
    pub headers: Vec<(Part<'a>, Option<Part<'a>>)>,
}

impl<'a> Envelope<'a> {
    /// Adds a header that was made.
    pub(super) fn put(&mut self, name: &'static str, value: impl Into<String>) {
        let value = Cow::Owned(value.into().into_bytes());
        self.headers.push((Cow::Borrowed(name.as_bytes()), Some(value)));
    }

    /// Takes over a header as it is.
    pub(super) fn keep(&mut self, (name, value): Header<'a>) {
        self.headers.push((Cow::Borrowed(name), value.map(Cow::Borrowed)));
    }

    /// A batch of this record alone, with that time in milliseconds since the epoch.
    ///
    /// # Errors
    /// It is larger than any batch can be.
    pub fn batch(&self, timestamp: i64, compression: Compression) -> Result<SealedBatch, AppendError> {
        let mut builder = BatchBuilder::new(BatchOptions {
            compression,
            capacity: BATCH_OVERHEAD,
        });
        self.with_record(timestamp, |record| builder.append(record))?;
        Ok(builder.seal())
    }

    /// The size of its batch before compression, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let empty = BatchBuilder::new(BatchOptions::default());
        BATCH_OVERHEAD + self.with_record(0, |record| empty.encoded_size(record))
    }

    fn with_record<T>(&self, timestamp: i64, then: impl FnOnce(&NewRecord<'_>) -> T) -> T {
        let headers: Vec<Header<'_>> = self
            .headers
            .iter()
            .map(|(name, value)| (&**name, value.as_deref()))
            .collect();
        then(&NewRecord {
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &headers,
            timestamp,
        })
    }
}

/// The dead letter of a failed record, in this shape.
#[must_use]
pub fn seal<'a>(failed: &Failed<'a>, families: Families, shape: Shape) -> Envelope<'a> {
    let reference = shape >= Shape::Reference;
    let bare_key = shape == Shape::Bare && failed.key.is_some_and(|key| key.len() > MAX_BARE_KEY);
    let mut letter = Envelope {
        key: failed.key.filter(|_| !bare_key).map(Cow::Borrowed),
        value: failed.value.filter(|_| !reference).map(Cow::Borrowed),
        headers: Vec::new(),
    };
    // Coordinates alone are ours alone.
    let families = if shape >= Shape::Coordinates {
        Families::default()
    } else {
        families
    };
    if shape != Shape::Bare {
        for header in failed.headers {
            if !is_ours(header.0) && !families.write(header.0) {
                letter.keep(*header);
            }
        }
    }
    let before = letter.headers.len();
    coordinates(&mut letter, failed);
    if reference && let Some(value) = failed.value {
        letter.put(ours::VALUE_SHA256, sha256(value));
        letter.put(ours::VALUE_SIZE, value.len().to_string());
    }
    if bare_key && let Some(key) = failed.key {
        letter.put(ours::KEY_SHA256, sha256(key));
    }
    if shape < Shape::Coordinates {
        story(&mut letter, failed, families);
    }
    if shape == Shape::Whole {
        let added = &letter.headers[before..];
        let used: usize = added.iter().map(|header| bytes_of(header)).sum();
        text(&mut letter, failed, families, MAX_ADDED.saturating_sub(used));
    }
    letter
}

fn bytes_of((name, value): &(Part<'_>, Option<Part<'_>>)) -> usize {
    name.len() + value.as_ref().map_or(0, |value| value.len())
}

/// What says which record it is: some 300 bytes, and the names of topic and group.
fn coordinates(letter: &mut Envelope<'_>, failed: &Failed<'_>) {
    letter.put(ours::TOPIC, failed.topic);
    letter.put(ours::TOPIC_ID, id_text(failed.topic_id));
    letter.put(ours::PARTITION, failed.partition.to_string());
    letter.put(ours::OFFSET, failed.offset.to_string());
    if let Some(last) = failed.last_offset {
        letter.put(ours::LAST_OFFSET, last.to_string());
        if failed.value.is_some() {
            letter.put(ours::CONTENT, ours::BATCH);
        }
    }
    letter.put(ours::GROUP, failed.group);
    let id = letter_id(failed.group, failed.topic_id, failed.partition, failed.offset);
    letter.put(ours::ID, id);
    letter.put(ours::OUTCOME, failed.reason.name());
    letter.put(ours::TIMESTAMP, failed.timestamp.to_string());
    if failed.replays > 0 {
        letter.put(ours::REPLAYS, failed.replays.to_string());
    }
}

/// What says how it went, without the text.
fn story(letter: &mut Envelope<'_>, failed: &Failed<'_>, families: Families) {
    letter.put(ours::DELIVERIES, failed.deliveries.to_string());
    for (name, time) in [
        (ours::FIRST_FAILED, failed.first_failed),
        (ours::LAST_FAILED, failed.last_failed),
    ] {
        if let Some(time) = time {
            letter.put(name, time.to_string());
        }
    }
    if let Some(status) = failed.status {
        letter.put(ours::STATUS, cut(status, MAX_STATUS));
    }
    if families != Families::default() {
        letter.put(ours::FAMILIES, families.names());
    }
    if families.spring {
        let mut put = |name: &'static str, value: Vec<u8>| {
            let value = Some(Cow::Owned(value));
            letter.headers.push((Cow::Borrowed(name.as_bytes()), value));
        };
        put(spring::TOPIC, failed.topic.into());
        put(spring::PARTITION, failed.partition.to_be_bytes().into());
        put(spring::OFFSET, failed.offset.to_be_bytes().into());
        put(spring::TIMESTAMP, failed.timestamp.to_be_bytes().into());
        let whose = if failed.append_time {
            "LogAppendTime"
        } else {
            "CreateTime"
        };
        put(spring::TIMESTAMP_TYPE, whose.into());
        put(spring::GROUP, failed.group.into());
        put(spring::EXCEPTION, failed.reason.class().into());
    }
    if families.connect {
        letter.put(connect::TOPIC, failed.topic);
        letter.put(connect::PARTITION, failed.partition.to_string());
        letter.put(connect::OFFSET, failed.offset.to_string());
        letter.put(connect::CONNECTOR, failed.group);
        letter.put(connect::STAGE, "TASK_PUT");
        letter.put(connect::EXCEPTION, failed.reason.class());
    }
}

/// Why it failed, in each family, cut to what is left.
fn text(letter: &mut Envelope<'_>, failed: &Failed<'_>, families: Families, left: usize) {
    if failed.message.is_empty() {
        return;
    }
    let names = [
        (true, ours::MESSAGE),
        (families.spring, spring::MESSAGE),
        (families.connect, connect::MESSAGE),
    ];
    let names = || {
        names
            .iter()
            .filter(|(written, _)| *written)
            .map(|(_, name)| *name)
    };
    let taken: usize = names().map(str::len).sum();
    let Some(left) = left.checked_sub(taken) else {
        return;
    };
    let message = cut(failed.message, left / names().count());
    for name in names() {
        letter.put(name, message.clone());
    }
}

/// A text of so many bytes at most; where something is left out it ends in `…`.
fn cut(text: &str, most: usize) -> String {
    const MORE: &str = "…";
    if text.len() <= most {
        return text.to_owned();
    }
    let kept = text.floor_char_boundary(most.saturating_sub(MORE.len()));
    let more = if kept + MORE.len() <= most { MORE } else { "" };
    format!("{}{more}", &text[..kept])
}
