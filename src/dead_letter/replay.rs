//! A dead letter as the record that goes back, and where such a record came from. Pure.

use std::borrow::Cow;

use super::envelope::Envelope;
use super::headers::{is_ours, origin};
use super::letter::{Letter, read_topic_id};
use crate::group::log::id_text;
use crate::record::Header;

/// A letter is replayed to its group this often at most.
pub const MAX_REPLAYS: u32 = 3;

/// Where a record on a topic of replays came from. These headers are believed there and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The group.
    pub group: String,
    /// The topic that it came from.
    pub topic: String,
    /// That topic's id.
    pub topic_id: [u8; 16],
    /// The partition there.
    pub partition: i32,
    /// The offset there.
    pub offset: i64,
    /// The record's own timestamp, in milliseconds since the epoch.
    pub timestamp: i64,
    /// The dead letter's id.
    pub id: String,
    /// 1 for the first replay.
    pub replays: u32,
}

impl Origin {
    /// Reads a replayed record's headers; none if one is missing or makes no sense.
    pub fn read<'a>(headers: impl Iterator<Item = Header<'a>> + Clone) -> Option<Self> {
        let find = |name: &str| {
            let found = headers.clone().filter(|(found, _)| *found == name.as_bytes());
            found.last().and_then(|(_, value)| value)
        };
        let text = |name| std::str::from_utf8(find(name)?).ok().map(str::to_owned);
        Some(Self {
            group: text(origin::GROUP)?,
            topic: text(origin::TOPIC)?,
            topic_id: read_topic_id(find(origin::TOPIC_ID)?)?,
            partition: text(origin::PARTITION)?
                .parse()
                .ok()
                .filter(|number| *number >= 0)?,
            offset: text(origin::OFFSET)?.parse().ok().filter(|number| *number >= 0)?,
            timestamp: text(origin::TIMESTAMP)?.parse().ok()?,
            id: text(origin::ID)?,
            replays: text(origin::COUNT)?.parse().ok()?,
        })
    }
}

/// The record as it was before it became a letter: without the headers that were added.
#[must_use]
pub fn restore<'a>(
    letter: &Letter,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: impl Iterator<Item = Header<'a>>,
) -> Envelope<'a> {
    let mut record = Envelope {
        key: key.map(Cow::Borrowed),
        value: value.map(Cow::Borrowed),
        headers: Vec::new(),
    };
    for header in headers {
        if !is_ours(header.0) && !letter.families.write(header.0) {
            record.keep(header);
        }
    }
    record
}

/// Adds where a record comes from, for the topic of replays.
pub fn address(record: &mut Envelope<'_>, from: &Origin) {
    record.put(origin::GROUP, from.group.clone());
    record.put(origin::TOPIC, from.topic.clone());
    record.put(origin::TOPIC_ID, id_text(from.topic_id));
    record.put(origin::PARTITION, from.partition.to_string());
    record.put(origin::OFFSET, from.offset.to_string());
    record.put(origin::TIMESTAMP, from.timestamp.to_string());
    record.put(origin::ID, from.id.clone());
    record.put(origin::COUNT, from.replays.to_string());
}
