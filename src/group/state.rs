//! What the log's records add up to: apply(state, position, record) → changes.
//!
//! Pure: no clock, no randomness, ordered collections only. Every replica that applies the same records at the same
//! positions has the same state, whether it read them from the start or went on from a snapshot. A record that does
//! not hold is void: it changes nothing.

mod apply;
mod encoding;
mod index;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::record::{MemberId, PartitionId, Position, Token, Topics};
use crate::progress::Progress;
pub use apply::{MAX_DONE, MAX_DONE_OF_ALL, bound};
use index::Index;

/// How many removed ids are remembered.
pub const MAX_GONE: usize = 2_000;
/// A join is void when it lies more than this many offsets behind what its writer had read.
pub const MAX_JOIN_DELAY: i64 = 2_000;
/// A mark is void when the one before lies fewer offsets back.
pub const MARK_DISTANCE: i64 = 100;

/// A living member.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemberInfo {
    /// A name that comes back after a restart.
    pub instance: Option<String>,
    /// Where it runs, for people.
    pub host: String,
    /// What it subscribes to. Empty: it is [leaving](Self::leaving).
    pub topics: BTreeSet<Arc<str>>,
    /// Others expire it after that long without a report, in milliseconds.
    pub session_ms: u64,
    /// The newest record version that it speaks.
    pub speaks: u32,
    /// The position of its join.
    pub joined: Position,
    /// The position of its last report.
    pub beat: Position,
    /// The number of its last report.
    pub n: u64,
}

impl MemberInfo {
    /// Whether it has said that it is about to leave: it subscribes to nothing, and what it owns is to be moved.
    #[must_use]
    pub fn leaving(&self) -> bool {
        self.topics.is_empty()
    }
}

/// What the group knows of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PartitionState {
    /// The living member that should own it.
    pub target: Option<MemberId>,
    /// The instance name that it waits for.
    pub kept: Option<String>,
    /// The member that owns it.
    pub owner: Option<MemberId>,
    /// That of the last grant or reset, kept while nobody owns it; none before the first.
    pub token: Option<Token>,
    /// How far it has got.
    pub progress: Progress,
    /// It came after the group: it is read from its beginning, whatever the policy for first positions.
    pub late: bool,
    /// An operator paused it.
    pub paused: bool,
    /// The position of the last pause or resume of it; [`Position::ZERO`] before.
    pub pause_seen: Position,
}

impl PartitionState {
    /// The token that a reset or a skip has to name: [`Token::NONE`] if it has none.
    #[must_use]
    pub fn seen(&self) -> Token {
        self.token.unwrap_or(Token::NONE)
    }
}

/// A mark that held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Its position.
    pub at: Position,
    /// The hash of the state as of it, itself included.
    pub hash: u64,
}

/// The group. Its fields are for reading; only [`apply`](State::apply) and a snapshot change them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The record version in force; 0 before the log is founded.
    pub level: u32,
    /// What every token is raised by.
    pub floor: u64,
    /// The living members.
    pub members: BTreeMap<MemberId, MemberInfo>,
    /// The last [`MAX_GONE`] removed ids, the oldest first.
    pub gone: VecDeque<MemberId>,
    /// The topics that some member has named.
    pub topics: Topics,
    /// The position of the last record that changed the members, the topics or a target.
    pub version: Position,
    /// Every partition of the topics.
    pub partitions: BTreeMap<PartitionId, PartitionState>,
    /// An operator paused the whole group.
    pub paused: bool,
    /// The position of the last pause or resume of the whole group; [`Position::ZERO`] before.
    pub pause_seen: Position,
    /// The last mark.
    pub mark: Option<Mark>,
    /// The leader epoch of the last renew; that of the founding before.
    pub renewed: i32,
    /// Who owns and should own what, for speed: it follows from the rest.
    index: Index,
}

/// What a record changed, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The log was founded.
    Founded,
    /// A member came.
    Joined(MemberId),
    /// A member gave a sign of life (a join, a report, a subscribe).
    Beat(MemberId),
    /// A member's topics are others now; none: it is leaving.
    Subscribed(MemberId),
    /// A member went.
    Left(MemberId),
    /// A member was removed.
    Expired {
        /// Who.
        member: MemberId,
        /// Who wrote it.
        by: MemberId,
    },
    /// A partition should be owned by another member.
    Target {
        /// Which one.
        partition: PartitionId,
        /// By whom until now.
        from: Option<MemberId>,
        /// By whom from now on.
        to: Option<MemberId>,
    },
    /// A partition was given to a member.
    Granted {
        /// Which one.
        partition: PartitionId,
        /// To whom.
        member: MemberId,
        /// Under which token.
        token: Token,
    },
    /// Its owner gave a partition up.
    Released {
        /// Which one.
        partition: PartitionId,
        /// Who.
        member: MemberId,
        /// The token that is over.
        token: Token,
    },
    /// A partition's owner was removed, or the partition itself is no more.
    Freed {
        /// Which one.
        partition: PartitionId,
        /// Who owned it.
        member: MemberId,
    },
    /// A report moved a partition's progress, or confirmed it.
    Progress(PartitionId),
    /// Offsets fell off the topic's start before they were processed.
    Gap {
        /// Where.
        partition: PartitionId,
        /// Which.
        lost: Range<i64>,
    },
    /// An entry of a report was void: it was written under another token, or not by the owner.
    Stale {
        /// Which partition it was about.
        partition: PartitionId,
        /// The token it named.
        token: Token,
    },
    /// A partition was moved; its token is new.
    Reset {
        /// Which one.
        partition: PartitionId,
        /// What was its next offset.
        from: Option<i64>,
        /// What it is now; none: a first position is to be worked out.
        to: Option<i64>,
        /// The new token.
        token: Token,
    },
    /// A record counts as finished.
    Skipped {
        /// Its partition.
        partition: PartitionId,
        /// Its offset.
        offset: i64,
    },
    /// The group (none) or a partition was paused.
    Paused(Option<PartitionId>),
    /// The group (none) or a partition was resumed; it need not have been paused.
    Resumed(Option<PartitionId>),
    /// A topic is new, or has more partitions.
    Grown {
        /// Which one.
        topic: Arc<str>,
        /// How many it had.
        from: i32,
        /// How many it has.
        to: i32,
    },
    /// A topic was deleted and made anew; a [`Change::Reset`] for each of its partitions follows.
    Recreated {
        /// Which one.
        topic: Arc<str>,
    },
    /// The record version in force was raised.
    Level(u32),
    /// An owner has a new token for what it goes on owning, after an unclean election.
    Renewed {
        /// The partition.
        partition: PartitionId,
        /// Its owner.
        member: MemberId,
        /// The new token.
        token: Token,
    },
    /// A mark held: the state is to be remembered as of now if it becomes a snapshot.
    Marked(Mark),
}

/// What came of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Whether it held; if not, nothing changed.
    pub held: bool,
    /// Why it did not hold, for people: `the member is gone`.
    pub void: Option<&'static str>,
    /// What it changed, in order.
    pub changes: Vec<Change>,
}

impl State {
    /// The leader: the living member that joined first.
    #[must_use]
    pub fn leader(&self) -> Option<&MemberId> {
        self.index.by_age().next()
    }

    /// How many living members joined before this one: 0 is the leader, 1 its first deputy. None: it does not live.
    #[must_use]
    pub fn rank(&self, member: &MemberId) -> Option<usize> {
        self.members.contains_key(member).then_some(())?;
        self.index.by_age().position(|other| other == member)
    }

    /// The living members that subscribe to a topic, by id.
    pub fn subscribers<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a MemberId> + 'a {
        let of =
            move |(id, member): (&'a MemberId, &'a MemberInfo)| member.topics.contains(topic).then_some(id);
        self.members.iter().filter_map(of)
    }

    /// What a member owns.
    pub fn owned_by<'a>(&'a self, member: &MemberId) -> impl Iterator<Item = &'a PartitionId> + 'a {
        self.index.owned(member)
    }

    /// What a member should own.
    pub fn targeted_at<'a>(&'a self, member: &MemberId) -> impl Iterator<Item = &'a PartitionId> + 'a {
        self.index.targeted(member)
    }

    /// Whether a member lives and subscribes to a topic.
    #[must_use]
    pub fn subscribes(&self, member: &MemberId, topic: &str) -> bool {
        self.members
            .get(member)
            .is_some_and(|info| info.topics.contains(topic))
    }

    /// Whether work on a partition is paused: it is, or the whole group.
    #[must_use]
    pub fn is_paused(&self, partition: &PartitionId) -> bool {
        self.paused || self.partitions.get(partition).is_some_and(|state| state.paused)
    }
}
