//! Parts that several records, and the snapshot, have in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::group::record::{PartitionId, Unreadable};
use crate::progress::{Held, Progress};

/// Partitions grouped by topic: `{"orders":{"0":…,"1":…}}`.
pub(in crate::group) type ByTopic<T> = BTreeMap<String, BTreeMap<i32, T>>;

/// A held record: offset, tries, counted, first failure, due.
pub(in crate::group) type HeldFields = (i64, u32, u32, i64, i64);

pub(in crate::group) fn by_topic<'a, T>(entries: impl Iterator<Item = (&'a PartitionId, T)>) -> ByTopic<T> {
    let mut topics = ByTopic::new();
    for ((topic, partition), value) in entries {
        // Without making a text of a topic that is there already.
        if let Some(partitions) = topics.get_mut(&**topic) {
            partitions.insert(*partition, value);
        } else {
            topics.insert(topic.to_string(), BTreeMap::from([(*partition, value)]));
        }
    }
    topics
}

pub(in crate::group) fn ungroup<T>(topics: ByTopic<T>) -> Result<Vec<(PartitionId, T)>, Unreadable> {
    let mut entries = Vec::new();
    for (topic, partitions) in topics {
        let topic: Arc<str> = topic.into();
        for (partition, value) in partitions {
            entries.push((partition_id(topic.clone(), partition)?, value));
        }
    }
    Ok(entries)
}

pub(in crate::group) fn partition_id(topic: Arc<str>, partition: i32) -> Result<PartitionId, Unreadable> {
    if partition < 0 {
        return Err(Unreadable::Malformed("a partition's number is negative".into()));
    }
    Ok((topic, partition))
}

/// Progress as fields of what it is the progress of.
pub(in crate::group) struct ProgressFields {
    pub(in crate::group) next: Option<i64>,
    pub(in crate::group) epoch: i32,
    pub(in crate::group) done: String,
    pub(in crate::group) held: Vec<HeldFields>,
}

impl From<&Progress> for ProgressFields {
    fn from(progress: &Progress) -> Self {
        // Whoever made it by hand may not have brought it into line; a record that cannot be read would be worse.
        let mut progress = progress.clone();
        progress.normalise();
        Self {
            next: progress.next,
            epoch: progress.epoch,
            done: progress.encode_done(usize::MAX),
            held: progress
                .held
                .iter()
                .map(|(&offset, held)| (offset, held.tries, held.counted, held.first_failed, held.due))
                .collect(),
        }
    }
}

impl ProgressFields {
    pub(in crate::group) fn read(self) -> Result<Progress, Unreadable> {
        let malformed = |why: &str| Unreadable::Malformed(why.into());
        if self.next.is_some_and(|next| next < 0) || self.held.iter().any(|held| held.0 < 0) {
            return Err(malformed("an offset is negative"));
        }
        let done = match self.next {
            Some(next) => Progress::decode_done(next, &self.done)
                .map_err(|error| Unreadable::Malformed(error.to_string()))?,
            None if self.done.is_empty() => Default::default(),
            None => return Err(malformed("`done` without `next`")),
        };
        let held = |(offset, tries, counted, first_failed, due)| {
            (
                offset,
                Held {
                    tries,
                    counted,
                    first_failed,
                    due,
                },
            )
        };
        let mut progress = Progress {
            next: self.next,
            done,
            held: self.held.into_iter().map(held).collect(),
            epoch: self.epoch,
        };
        progress.normalise();
        Ok(progress)
    }
}

/// The epoch of those who know none.
pub(in crate::group) fn no_epoch() -> i32 {
    -1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(in crate::group) fn is_no_epoch(epoch: &i32) -> bool {
    *epoch == -1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(in crate::group) fn is_false(value: &bool) -> bool {
    !*value
}

/// A topic's id where it may be missing.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(in crate::group) struct TopicId(#[serde(with = "topic_id")] pub(in crate::group) [u8; 16]);

/// A topic's id as Kafka prints it: base64url without padding.
pub(in crate::group) mod topic_id {
    use base64::Engine as _;

    use super::{BASE64_URL_SAFE_NO_PAD, Deserialize, Deserializer, Serializer};

    pub(in crate::group) fn serialize<S: Serializer>(id: &[u8; 16], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_URL_SAFE_NO_PAD.encode(id))
    }

    pub(in crate::group) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 16], D::Error> {
        let text = String::deserialize(from)?;
        BASE64_URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| serde::de::Error::custom("a topic's id is 22 characters of base64url"))
    }
}

/// A hash as 16 hex digits: JSON's numbers are exact to 2^53 only.
pub(in crate::group) mod hash {
    use super::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(in crate::group) fn serialize<S: Serializer>(hash: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{hash:016x}"))
    }

    pub(in crate::group) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        u64::from_str_radix(&text, 16).map_err(|_| serde::de::Error::custom("a hash is 16 hex digits"))
    }
}

/// Bytes as padded base64, as `base64 -d` reads it.
pub(in crate::group) mod base64_bytes {
    use base64::Engine as _;

    use super::{BASE64_STANDARD, Deserialize, Deserializer, Serializer};

    pub(in crate::group) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(in crate::group) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        BASE64_STANDARD
            .decode(text)
            .map_err(|_| serde::de::Error::custom("the bytes are not base64"))
    }
}
