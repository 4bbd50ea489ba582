//! What a folder must hold so that the sandbox finds everything again. Pure: the writing is `folder.rs`'.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::group::Committed;

/// A change to be written.
#[derive(Debug)]
pub(crate) enum Keep {
    /// Behind the end of a segment.
    Append {
        topic: u128,
        partition: i32,
        segment: i64,
        bytes: Bytes,
    },
    /// Segments that are gone.
    Drop {
        topic: u128,
        partition: i32,
        segments: Vec<i64>,
    },
    /// A segment anew.
    Rewrite {
        topic: u128,
        partition: i32,
        segment: i64,
        batches: Vec<Bytes>,
    },
    /// A topic that is gone, with all its segments.
    Forget { topic: u128 },
    /// Topics, configurations, where partitions begin.
    State(State),
    /// A group's offset, or that there is none any more.
    Offset {
        group: String,
        topic: String,
        partition: i32,
        committed: Option<Committed>,
    },
}

/// Everything but records and offsets.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Of the cluster, for clients.
    pub(crate) cluster: String,
    /// The next producer id that was not given out yet.
    pub(crate) next_producer: i64,
    pub(crate) topics: BTreeMap<String, KeptTopic>,
}

/// A topic.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptTopic {
    /// In hexadecimal; names its folder as well.
    pub(crate) id: String,
    pub(crate) configs: BTreeMap<String, String>,
    /// Of each partition its first offset and its leader epoch.
    pub(crate) partitions: Vec<(i64, i32)>,
}

/// What a folder held.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) state: Option<State>,
    /// By topic id and partition: segments in order.
    pub(crate) segments: BTreeMap<(u128, i32), Vec<(i64, Bytes)>>,
    /// By group, topic and partition.
    pub(crate) offsets: BTreeMap<(String, String, i32), Committed>,
}
