//! A dead letter read back, whichever family of headers it has. Pure, and fit for hostile headers: what makes no sense is
//! not known.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::headers::{Families, connect, ours, spring, streams};
use super::resolution::Resolution;
use crate::record::Header;

/// Bytes of a text that are kept; ours are shorter, Spring's may be a stack trace.
const MAX_TEXT: usize = 8 << 10;

/// Who wrote the headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Barnabas.
    Ours,
    /// Kafka's share groups.
    Share,
    /// Spring for Apache Kafka.
    Spring,
    /// Kafka Connect.
    Connect,
    /// Kafka Streams.
    Streams,
    /// No dead-letter headers.
    Unknown,
}

impl Family {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "barnabas",
            Self::Share => "share",
            Self::Spring => "spring",
            Self::Connect => "connect",
            Self::Streams => "streams",
            Self::Unknown => "unknown",
        }
    }
}

/// What a dead letter says of itself; what it does not say is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Who wrote it.
    pub family: Family,
    /// Its id, if it is one of ours.
    pub id: Option<String>,
    /// The record's topic.
    pub topic: Option<String>,
    /// That topic's id.
    pub topic_id: Option<[u8; 16]>,
    /// The record's partition.
    pub partition: Option<i32>,
    /// The record's offset.
    pub offset: Option<i64>,
    /// The last offset of a batch that could not be decoded.
    pub last_offset: Option<i64>,
    /// What the value is, if it is not the record's own: [`ours::BATCH`].
    pub content: Option<String>,
    /// The group, or the connector.
    pub group: Option<String>,
    /// Why it is here: one of [`super::envelope::Reason`]'s names if it is one of ours.
    pub outcome: Option<String>,
    /// How often it was tried.
    pub deliveries: Option<u32>,
    /// Why it failed the last time.
    pub message: Option<String>,
    /// The class of the exception.
    pub exception: Option<String>,
    /// The last answer's status.
    pub status: Option<String>,
    /// The record's own time, in milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// When it failed first, in milliseconds since the epoch.
    pub first_failed: Option<i64>,
    /// When it failed last, in milliseconds since the epoch.
    pub last_failed: Option<i64>,
    /// How often it was replayed before.
    pub replays: u32,
    /// Other families whose headers are in it beside ours.
    pub families: Families,
    /// If the value was too large to be kept: its SHA-256 in hex.
    pub value_sha256: Option<String>,
    /// Likewise: its size in bytes.
    pub value_size: Option<u64>,
    /// If the key was too large as well: its SHA-256 in hex.
    pub key_sha256: Option<String>,
}

impl Letter {
    const UNKNOWN: Self = Self {
        family: Family::Unknown,
        id: None,
        topic: None,
        topic_id: None,
        partition: None,
        offset: None,
        last_offset: None,
        content: None,
        group: None,
        outcome: None,
        deliveries: None,
        message: None,
        exception: None,
        status: None,
        timestamp: None,
        first_failed: None,
        last_failed: None,
        replays: 0,
        families: Families {
            spring: false,
            connect: false,
        },
        value_sha256: None,
        value_size: None,
        key_sha256: None,
    };

    /// Whether the value is not here, only its hash.
    #[must_use]
    pub fn is_reference(&self) -> bool {
        self.value_sha256.is_some()
    }

    /// Whether it is a batch that nobody can decode.
    #[must_use]
    pub fn is_batch(&self) -> bool {
        self.last_offset.is_some() || self.outcome.as_deref() == Some("undecodable")
    }
}

/// What a record in a topic of dead letters is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A dead letter.
    Letter(Box<Letter>),
    /// One of them was dealt with.
    Resolution(Resolution),
}

/// Reads a record's headers.
pub fn read<'a>(headers: impl Iterator<Item = Header<'a>> + Clone) -> Entry {
    let find = Find(headers);
    if find.last(ours::TOPIC).is_some() || find.last(ours::ID).is_some() {
        return Entry::Letter(Box::new(find.ours()));
    }
    // After ours: a record that came with these headers, and failed, is a letter.
    if let Some(resolution) = Resolution::read(|name| find.text(name)) {
        return Entry::Resolution(resolution);
    }
    let foreign = if find.last(spring::TOPIC).is_some() || find.last(spring::EXCEPTION).is_some() {
        find.spring()
    } else if find.last(connect::TOPIC).is_some() || find.last(connect::EXCEPTION).is_some() {
        find.connect()
    } else if find.last(streams::EXCEPTION).is_some() {
        find.streams()
    } else {
        Letter::UNKNOWN
    };
    Entry::Letter(Box::new(foreign))
}

/// Headers by name.
struct Find<I>(I);

impl<'a, I: Iterator<Item = Header<'a>> + Clone> Find<I> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let found = self.0.clone().filter(move |(found, _)| *found == name.as_bytes());
        found.filter_map(|(_, value)| value)
    }

    fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// As Kafka's own `lastHeader`.
    fn last(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).last()
    }

    fn text(&self, name: &str) -> Option<String> {
        self.last(name).map(text)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        std::str::from_utf8(self.last(name)?).ok()?.parse().ok()
    }

    fn ours(&self) -> Letter {
        let id = self.text(ours::ID);
        let topic_id = self.last(ours::TOPIC_ID);
        Letter {
            family: if id.is_some() { Family::Ours } else { Family::Share },
            id,
            topic: self.text(ours::TOPIC),
            topic_id: topic_id.and_then(read_topic_id),
            partition: self.number(ours::PARTITION).filter(|number| *number >= 0),
            offset: self.number(ours::OFFSET).filter(|number| *number >= 0),
            last_offset: self.number(ours::LAST_OFFSET),
            content: self.text(ours::CONTENT),
            group: self.text(ours::GROUP),
            outcome: self.text(ours::OUTCOME),
            deliveries: self.number(ours::DELIVERIES),
            message: self.text(ours::MESSAGE),
            exception: None,
            status: self.text(ours::STATUS),
            timestamp: self.number(ours::TIMESTAMP),
            first_failed: self.number(ours::FIRST_FAILED),
            last_failed: self.number(ours::LAST_FAILED),
            replays: self.number(ours::REPLAYS).unwrap_or(0),
            families: self
                .text(ours::FAMILIES)
                .and_then(|names| Families::read(&names).ok())
                .unwrap_or_default(),
            value_sha256: self.text(ours::VALUE_SHA256),
            value_size: self.number(ours::VALUE_SIZE),
            key_sha256: self.text(ours::KEY_SHA256),
        }
    }

    /// Spring appends: the first coordinates are the original ones, the last exception is the newest.
    fn spring(&self) -> Letter {
        let long = |name| Some(i64::from_be_bytes(self.first(name)?.try_into().ok()?));
        let int = |value: Option<&[u8]>| Some(i32::from_be_bytes(value?.try_into().ok()?));
        let message = self.text(spring::MESSAGE);
        let retried = int(self.last(spring::ATTEMPTS));
        Letter {
            family: Family::Spring,
            topic: self.first(spring::TOPIC).map(text),
            partition: int(self.first(spring::PARTITION)).filter(|number| *number >= 0),
            offset: long(spring::OFFSET).filter(|number| *number >= 0),
            group: self.first(spring::GROUP).map(text),
            deliveries: retried.and_then(|attempts| u32::try_from(attempts).ok()),
            message: message.or_else(|| self.text(spring::KEY_MESSAGE)),
            // The outer one is always the container's own.
            exception: self.text(spring::CAUSE).or_else(|| self.text(spring::EXCEPTION)),
            timestamp: long(spring::RETRY_TIMESTAMP).or_else(|| long(spring::TIMESTAMP)),
            ..Letter::UNKNOWN
        }
    }

    fn connect(&self) -> Letter {
        Letter {
            family: Family::Connect,
            topic: self.text(connect::TOPIC),
            partition: self.number(connect::PARTITION).filter(|number| *number >= 0),
            offset: self.number(connect::OFFSET).filter(|number| *number >= 0),
            group: self.text(connect::CONNECTOR),
            message: self.text(connect::MESSAGE),
            exception: self.text(connect::EXCEPTION),
            status: self.text(connect::STAGE),
            ..Letter::UNKNOWN
        }
    }

    fn streams(&self) -> Letter {
        Letter {
            family: Family::Streams,
            topic: self.text(streams::TOPIC),
            partition: self.number(streams::PARTITION).filter(|number| *number >= 0),
            offset: self.number(streams::OFFSET).filter(|number| *number >= 0),
            message: self.text(streams::MESSAGE),
            exception: self.text(streams::EXCEPTION),
            ..Letter::UNKNOWN
        }
    }
}

/// A value as text, cut to a length that can be kept.
fn text(value: &[u8]) -> String {
    let kept = &value[..value.len().min(MAX_TEXT)];
    String::from_utf8_lossy(kept).into_owned()
}

/// A topic's id as Kafka prints it.
pub(super) fn read_topic_id(text: &[u8]) -> Option<[u8; 16]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}
