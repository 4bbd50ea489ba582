//! What a fetcher has to tell.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::broker::error::Error;
use crate::broker::metadata::PartitionId;
use crate::record::AbortedTransaction;

/// Records of one partition, as they came.
#[derive(Debug)]
pub struct Fetched {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The cursor's tag.
    pub tag: u64,
    /// The broker they came from.
    pub broker: i32,
    /// The offsets that were asked for: batches may begin before and end behind them.
    pub offsets: Range<i64>,
    /// The end of the log, as far as it may be read.
    pub high_watermark: i64,
    /// Batches; the last one may be cut.
    pub set: Bytes,
    /// Transactions that were aborted.
    pub aborted: Vec<AbortedTransaction>,
}

/// What the fetcher has to tell.
#[derive(Debug)]
pub enum Event {
    /// An answer with records.
    Fetched(Vec<Fetched>),
    /// The position was not in the log any more, or not yet.
    Moved {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The cursor's tag.
        tag: u64,
        /// Where reading was.
        from: i64,
        /// Where it goes on, or would: see [`Cursor::follows`](super::cursor::Cursor::follows).
        to: i64,
    },
    /// The topic was deleted and created again: its new log is read from the beginning, if the cursor follows.
    Recreated {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The cursor's tag.
        tag: u64,
        /// Where reading was in the old log.
        from: i64,
    },
    /// Reading a partition has ended for good.
    Failed {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// The cursor's tag.
        tag: u64,
        /// Why.
        error: FetchError,
    },
}

/// Why a partition cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The brokers' word.
    #[error(transparent)]
    Broker(#[from] Error),
    /// The brokers' bytes.
    #[error("partition {partition} of topic {topic} cannot be read beyond offset {offset}: {reason}")]
    Broken {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where reading stopped.
        offset: i64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// Another topic of the same name, where an end in the old one was asked for.
    #[error(
        "topic {topic} was deleted and created again while it was read (up to offset {offset} of partition {partition})"
    )]
    Recreated {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where reading was in the old log.
        offset: i64,
    },
}

impl Event {
    /// Leaves out what is about this partition; `None` if that was all.
    pub(super) fn without(self, id: &PartitionId) -> Option<Self> {
        let is_of = |topic: &Arc<str>, partition: i32| *topic == id.0 && partition == id.1;
        match self {
            Self::Fetched(mut parts) => {
                parts.retain(|part| !is_of(&part.topic, part.partition));
                (!parts.is_empty()).then_some(Self::Fetched(parts))
            }
            Self::Moved {
                ref topic, partition, ..
            }
            | Self::Recreated {
                ref topic, partition, ..
            }
            | Self::Failed {
                ref topic, partition, ..
            } => (!is_of(topic, partition)).then_some(self),
        }
    }
}
