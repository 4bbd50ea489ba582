//! The fields of each record's JSON, beside `v` and `type`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::field::{ByTopic, HeldFields, TopicId, base64_bytes, hash, is_no_epoch, no_epoch, topic_id};
use super::is_empty;
use crate::group::record::{Holds, MemberId, Open, Position, Token};

#[derive(Serialize, Deserialize)]
pub(super) struct FoundBody {
    pub(super) floor: u64,
    pub(super) level: u32,
}

#[derive(Serialize, Deserialize)]
pub(super) struct TopicBody {
    #[serde(with = "topic_id")]
    pub(super) id: [u8; 16],
    pub(super) partitions: i32,
}

#[derive(Serialize, Deserialize)]
pub(super) struct JoinBody {
    pub(super) member: MemberId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) instance: Option<String>,
    pub(super) host: String,
    pub(super) topics: BTreeMap<String, TopicBody>,
    pub(super) session_ms: u64,
    pub(super) speaks: u32,
    pub(super) read: i64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct EntryBody {
    pub(super) token: Token,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<i64>,
    #[serde(default = "no_epoch", skip_serializing_if = "is_no_epoch")]
    pub(super) epoch: i32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) done: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) held: Vec<HeldFields>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gap: Option<(i64, i64)>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct MarkHash {
    pub(super) at: Position,
    #[serde(with = "hash")]
    pub(super) hash: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ReportBody {
    pub(super) member: MemberId,
    pub(super) n: u64,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(super) progress: ByTopic<EntryBody>,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(super) released: ByTopic<Token>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mark: Option<MarkHash>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ExpireBody {
    pub(super) member: MemberId,
    pub(super) seen: Position,
    pub(super) by: MemberId,
    pub(super) after_ms: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct AssignBody {
    pub(super) by: MemberId,
    pub(super) basis: Position,
    /// Member or "none" → topic → partitions.
    pub(super) changes: BTreeMap<String, BTreeMap<String, Vec<i32>>>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SubscribeBody {
    pub(super) member: MemberId,
    pub(super) n: u64,
    pub(super) topics: BTreeMap<String, TopicBody>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct GrowBody {
    pub(super) topic: String,
    #[serde(with = "topic_id")]
    pub(super) id: [u8; 16],
    pub(super) partitions: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) was: Option<TopicId>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ResetEntry {
    pub(super) to: Option<i64>,
    pub(super) seen: Token,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ResetBody {
    pub(super) by: String,
    pub(super) why: String,
    pub(super) partitions: ByTopic<ResetEntry>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SkipBody {
    pub(super) by: String,
    pub(super) why: String,
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) seen: Token,
}

/// A pause or a resume; without topic and partition of the whole group.
#[derive(Serialize, Deserialize)]
pub(super) struct PauseBody {
    pub(super) by: String,
    pub(super) why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) partition: Option<i32>,
    pub(super) seen: Position,
}

#[derive(Serialize, Deserialize)]
pub(super) struct LevelBody {
    pub(super) by: String,
    pub(super) level: u32,
}

/// A mark or a renew.
#[derive(Serialize, Deserialize)]
pub(super) struct MarkBody {
    pub(super) by: MemberId,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PartBody {
    pub(super) mark: Position,
    pub(super) n: u32,
    pub(super) of: u32,
    #[serde(with = "hash")]
    pub(super) hash: u64,
    #[serde(with = "base64_bytes")]
    pub(super) bytes: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct NoteBody {
    pub(super) member: MemberId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) breaker: Option<Open>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fuse: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pause: Option<i64>,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(super) partitions: ByTopic<Holds>,
}
