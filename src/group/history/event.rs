//! What can be told of a group; its JSON is that of docs/reference.md.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::group::record::{MemberId, PartitionId};

/// A member, as people know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Who {
    /// Its id.
    pub member: String,
    /// Its instance name, if it has one.
    pub instance: Option<String>,
    /// Where it ran; none if its join is no longer in the log.
    pub host: Option<String>,
}

impl Who {
    /// A member of which nothing else is known.
    #[must_use]
    pub fn unknown(id: &MemberId) -> Self {
        Self {
            member: id.to_string(),
            instance: None,
            host: None,
        }
    }
}

/// Partitions by topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Partitions(pub BTreeMap<String, Vec<i32>>);

impl Partitions {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one.
    pub fn add(&mut self, (topic, partition): &PartitionId) {
        self.0.entry(topic.to_string()).or_default().push(*partition);
    }
}

impl<'a> FromIterator<&'a PartitionId> for Partitions {
    fn from_iter<I: IntoIterator<Item = &'a PartitionId>>(partitions: I) -> Self {
        let mut all = Self::default();
        for partition in partitions {
            all.add(partition);
        }
        all
    }
}

/// Partitions that get another target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Move {
    /// Who was to own them.
    pub from: Option<Who>,
    /// Who is to own them.
    pub to: Option<Who>,
    /// Which ones.
    pub partitions: Partitions,
}

/// A partition's position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// The next offset.
    pub offset: i64,
}

/// A partition that was moved to another offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Jump {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// The next offset before; none if it had no position.
    pub from: Option<i64>,
    /// The next offset after; none if it is to be worked out anew.
    pub to: Option<i64>,
}

/// What happened. Durations are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(missing_docs, reason = "docs/reference.md has every field")]
pub enum Event {
    /// The log's first record.
    Founded {
        level: u32,
    },
    /// Older records were deleted: the story goes on from a snapshot.
    Continued {
        mark_offset: i64,
        members: Vec<Who>,
    },
    /// Older records were deleted, and there is no snapshot: what follows cannot be told.
    Untold {
        records: usize,
    },
    Joined {
        member: Who,
        topics: Vec<String>,
        session_s: f64,
    },
    /// Its topics are others now.
    Subscribed {
        member: Who,
        topics: Vec<String>,
    },
    /// It is about to leave: its partitions go to others.
    Leaving {
        member: Who,
    },
    /// It left; `freed` is what it still owned: it had nothing in flight there.
    Left {
        member: Who,
        freed: Partitions,
    },
    Expired {
        member: Who,
        by: Who,
        after_s: f64,
        freed: Partitions,
    },
    /// Who is to own what was decided anew.
    Assigned {
        by: Who,
        moves: Vec<Move>,
    },
    /// Partitions got an owner that nobody owned. `unowned_s`: for how long, if somebody had them before, `from`.
    Granted {
        to: Who,
        from: Option<Who>,
        unowned_s: Option<f64>,
        partitions: Partitions,
    },
    /// Partitions went from a living owner to another; `took_s` is from the decision to the grant.
    HandedOver {
        from: Who,
        to: Who,
        took_s: Option<f64>,
        partitions: Partitions,
    },
    /// Its owner gave them up, and nobody got them.
    Released {
        member: Who,
        partitions: Partitions,
    },
    /// First positions were worked out.
    Began {
        member: Who,
        positions: Vec<Place>,
    },
    /// Offsets from `from` to before `to` were gone before they were processed.
    Gap {
        member: Who,
        topic: String,
        partition: i32,
        from: i64,
        to: i64,
    },
    Reset {
        by: String,
        why: String,
        partitions: Vec<Jump>,
    },
    Skipped {
        by: String,
        why: String,
        topic: String,
        partition: i32,
        offset: i64,
    },
    /// Without partitions the whole group is meant; so in `resumed`.
    Paused {
        by: String,
        why: String,
        partitions: Partitions,
    },
    Resumed {
        by: String,
        why: String,
        partitions: Partitions,
    },
    Grown {
        topic: String,
        from: i32,
        to: i32,
    },
    /// A topic was deleted and made anew: it is read from its beginning.
    Recreated {
        topic: String,
    },
    Level {
        by: String,
        level: u32,
    },
    /// After an unclean election every owner got a new token.
    Renewed {
        by: Who,
        partitions: Partitions,
    },
    /// Detail: entries of a report that came too late.
    Stale {
        member: Who,
        partitions: Partitions,
    },
    /// Detail: a record that changed nothing.
    Void {
        record: &'static str,
        by: Option<String>,
        why: String,
    },
    /// Detail: every member hashed its state here.
    Marked {
        by: Who,
        hash: String,
    },
    /// Detail: what `groups why` tells of a member has changed.
    Noted {
        member: Who,
    },
    /// Detail: the last piece of the snapshot as of a mark.
    Snapshot {
        mark_offset: i64,
        pieces: u32,
    },
}

impl Event {
    /// Whether it is only told if all is asked for.
    #[must_use]
    pub fn is_detail(&self) -> bool {
        matches!(
            self,
            Self::Stale { .. }
                | Self::Void { .. }
                | Self::Marked { .. }
                | Self::Noted { .. }
                | Self::Snapshot { .. }
        )
    }
}
