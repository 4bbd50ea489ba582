//! The records of a group's log: what each carries. What each does is told in [`state`](super::state), how each is
//! written in `wire`, with examples in `docs/group-log.md`.

mod ids;
mod note;
mod split;
#[cfg(test)]
mod tests;
pub(super) mod wire;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

pub use ids::{MemberId, PartitionId, Position, Token};
pub use note::{Holds, Last, MAX_NOTE, MAX_TOLD, Note, Open, Waiting, plain};
pub use split::{split_changes, split_report};

use crate::progress::Progress;

/// The newest record version that this build reads and writes.
pub const SPEAKS: u32 = 1;
/// The largest record, in bytes of its JSON; a larger one is void.
pub const MAX_RECORD: usize = 512 << 10;
/// A report over this many bytes is split.
pub const MAX_REPORT: usize = 256 << 10;
/// The most partitions that the topics of one record may have in all: what a single record can make a member reserve.
pub const MAX_PARTITIONS: i32 = 200_000;

/// What is known of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopicInfo {
    /// As in Metadata; another one is another topic. (In JSON the text that Kafka's tools print: base64url.)
    pub id: [u8; 16],
    /// How many partitions it has.
    pub partitions: i32,
}

/// Topics by name.
pub type Topics = BTreeMap<Arc<str>, TopicInfo>;

/// What a report says of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which one.
    pub partition: PartitionId,
    /// The token under which it was worked on; under another one this entry is void.
    pub token: Token,
    /// All of the progress, or what is new of it: it is merged, so that both are right. The first entry under a token
    /// has to carry all.
    pub progress: Progress,
    /// Offsets that fell off the topic's start before they were processed; told once.
    pub gap: Option<Range<i64>>,
}

/// A member's sign of life, and what it has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who reports.
    pub member: MemberId,
    /// Its number: larger than that of the member's last report or subscribe. A repeat is void.
    pub n: u64,
    /// The partitions that changed, at most one entry each; decoded in the order of the partitions.
    pub entries: Vec<Entry>,
    /// Partitions given up, each with the token it is owned under; taken after the entries.
    pub released: Vec<(PartitionId, Token)>,
    /// The last mark that it read, and its hash of the state there.
    pub mark: Option<(Position, u64)>,
}

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The first record of a log.
    Found {
        /// What every token is raised by: the founder's clock in microseconds since 1970; below 2^52.
        floor: u64,
        /// The record version in force.
        level: u32,
    },
    /// A member comes.
    Join {
        /// A new id: neither living nor gone.
        member: MemberId,
        /// A name that comes back after a restart.
        instance: Option<String>,
        /// Where it runs, for people.
        host: String,
        /// What it subscribes to. A topic that the state does not know is added, not late: a first position is worked
        /// out by the group's policy. (A member with a pattern joins with topics that the state knows, or all if it
        /// knows none, and then subscribes to the rest, so that a new topic is read from its beginning.)
        topics: Topics,
        /// Others expire it after that long without a report, in milliseconds.
        session_ms: u64,
        /// The newest record version that it speaks.
        speaks: u32,
        /// The next offset it would have read when it wrote this: a join that arrives much later is void.
        read: i64,
    },
    /// A sign of life with progress.
    Report(Report),
    /// A member's last report; it goes.
    Leave(Report),
    /// A member was silent for its whole session.
    Expire {
        /// Who was silent.
        member: MemberId,
        /// Its last sign of life: void if there was another since.
        seen: Position,
        /// Who waited for it.
        by: MemberId,
        /// How long, in milliseconds.
        after_ms: u64,
    },
    /// Who should own what.
    Assign {
        /// Who decided.
        by: MemberId,
        /// The state's version that it was based on.
        basis: Position,
        /// What changes: partition → its new target, or none. (In JSON by member; "none" is the key of those without.)
        changes: BTreeMap<PartitionId, Option<MemberId>>,
    },
    /// A member subscribes to these topics from now on, and to no others: new topics of a pattern come in without a
    /// leave, and are late. No topics at all: it is leaving, and its partitions are to be moved to others.
    ///
    /// It is numbered with the member's reports and counts as a sign of life as they do: a late repeat is void.
    Subscribe {
        /// Who subscribes.
        member: MemberId,
        /// Its number, counted on with the reports.
        n: u64,
        /// All of its topics.
        topics: Topics,
    },
    /// A topic has more partitions, or was deleted and made anew.
    Grow {
        /// The topic.
        topic: Arc<str>,
        /// Its id.
        id: [u8; 16],
        /// How many partitions it has now.
        partitions: i32,
        /// The former id, if the topic was deleted and made anew under another one.
        was: Option<[u8; 16]>,
    },
    /// An operator, or a member whose source was cut back, moves partitions; each entry on its own.
    Reset {
        /// Who did it, for people.
        by: String,
        /// Why, for people.
        why: String,
        /// Partition, where to (none: the progress is dropped and a first position worked out), and the token seen
        /// ([`Token::NONE`] if it had none).
        partitions: Vec<(PartitionId, Option<i64>, Token)>,
    },
    /// An operator takes a record for finished.
    Skip {
        /// Who did it, for people.
        by: String,
        /// Why, for people.
        why: String,
        /// The record's partition.
        partition: PartitionId,
        /// The record's offset.
        offset: i64,
        /// The token seen.
        seen: Token,
    },
    /// No handler is to start.
    Pause {
        /// Who did it, for people.
        by: String,
        /// Why, for people.
        why: String,
        /// For one partition; none: for the whole group.
        partition: Option<PartitionId>,
        /// The `pause_seen` of what it pauses.
        seen: Position,
    },
    /// Handlers may start again.
    Resume {
        /// Who did it, for people.
        by: String,
        /// Why, for people.
        why: String,
        /// As in a pause.
        partition: Option<PartitionId>,
        /// The `pause_seen` of what it resumes.
        seen: Position,
    },
    /// Raises the record version in force.
    Level {
        /// Who did it, for people.
        by: String,
        /// The new one.
        level: u32,
    },
    /// Gives every owner a new token, after an unclean election.
    Renew {
        /// Who saw the divergence.
        by: MemberId,
    },
    /// Every replica hashes its state here; a snapshot may follow.
    Mark {
        /// Who wrote it.
        by: MemberId,
    },
    /// A piece of the snapshot as of a mark.
    Part {
        /// The mark.
        mark: Position,
        /// Which piece, from 0.
        n: u32,
        /// How many there are.
        of: u32,
        /// The piece of the encoded state.
        bytes: Vec<u8>,
        /// The state's hash at the mark.
        hash: u64,
    },
    /// What holds a member's work back, for people; it changes nothing.
    Note {
        /// Who says it.
        member: MemberId,
        /// What: the whole of it, in place of what it said before.
        note: Note,
    },
}

/// Why a record of the log cannot be read. It is void then: counted, warned of, and changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is not a JSON object with a version.
    #[error("it is not a JSON record")]
    NotJson,
    /// It has this many bytes.
    #[error("it has {0} bytes; the most is {MAX_RECORD}")]
    TooLarge(usize),
    /// It was written in a newer version.
    #[error("it is of version {0}; this build reads up to {SPEAKS}")]
    Version(u32),
    /// A type that this version does not have.
    #[error("it is of an unknown type, {0:?}")]
    UnknownType(String),
    /// A field is missing or wrong.
    #[error("{0}")]
    Malformed(String),
}

impl Record {
    /// The record as JSON. It may be larger than [`MAX_RECORD`] if it was made so: reports and assignments are split
    /// by [`split_report`] and [`split_changes`] before, a snapshot by `snapshot::parts`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Reads a record. Fields that are not known are passed over.
    ///
    /// # Errors
    /// Why it cannot be read; it is void then.
    pub fn decode(payload: &[u8]) -> Result<Self, Unreadable> {
        wire::decode(payload)
    }

    /// The `type` in its JSON.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Found { .. } => "found",
            Self::Join { .. } => "join",
            Self::Report(_) => "report",
            Self::Leave(_) => "leave",
            Self::Expire { .. } => "expire",
            Self::Assign { .. } => "assign",
            Self::Subscribe { .. } => "subscribe",
            Self::Grow { .. } => "grow",
            Self::Reset { .. } => "reset",
            Self::Skip { .. } => "skip",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::Level { .. } => "level",
            Self::Renew { .. } => "renew",
            Self::Mark { .. } => "mark",
            Self::Part { .. } => "part",
            Self::Note { .. } => "note",
        }
    }
}
