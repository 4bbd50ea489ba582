//! What the world knows of one partition: its records, what became of them, and the group's view of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::progress::Progress;

/// What a handler makes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    Good,
    Poison,
    Reject,
    Hang,
    Garbage,
}

#[derive(Debug, Clone)]
pub(super) struct Rec {
    pub(super) key: Option<u32>,
    pub(super) id: u32,
    pub(super) truth: Truth,
    /// A record, not the end of a transaction.
    pub(super) data: bool,
    pub(super) at: u64,
    pub(super) gone: bool,
    /// It is a dead letter's replay: of which record, and which one.
    pub(super) replay: Option<(usize, i64, u32)>,
    // What became of it.
    pub(super) succeeded: Option<u64>,
    pub(super) lettered: bool,
    pub(super) skipped: bool,
    pub(super) lost: bool,
    /// The first end of any kind.
    pub(super) ended: Option<u64>,
    /// The last success that an owner saw, and its token.
    pub(super) done: Option<(u64, u64)>,
    pub(super) failed_in_outage: u32,
    pub(super) failed_itself: u32,
    pub(super) first_failed: Option<u64>,
    /// A handler had it, since the last reset.
    pub(super) begun: bool,
}

impl Rec {
    pub(super) fn new(key: Option<u32>, id: u32, truth: Truth, at: u64) -> Self {
        Self {
            key,
            id,
            truth,
            data: true,
            at,
            gone: false,
            replay: None,
            succeeded: None,
            lettered: false,
            skipped: false,
            lost: false,
            ended: None,
            done: None,
            failed_in_outage: 0,
            failed_itself: 0,
            first_failed: None,
            begun: false,
        }
    }

    pub(super) fn has_reason(&self) -> bool {
        self.succeeded.is_some() || self.lettered || self.skipped || self.lost || self.gone || !self.data
    }
}

/// One partition.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) home: usize,
    pub(super) recs: Vec<Rec>,
    pub(super) start: i64,
    /// The group's view.
    pub(super) progress: Progress,
    pub(super) token: u64,
    /// Its last owner has died, or was reset.
    pub(super) abrupt: bool,
    /// Its owner has reported something since.
    pub(super) told: bool,
    /// Attempts that the group knew of at the last grant.
    pub(super) known: BTreeMap<i64, u32>,
    /// When ownership under a token ended.
    pub(super) ended: BTreeMap<u64, u64>,
    pub(super) reset: Option<(u64, i64)>,
    /// Keys of which a record was dead-lettered: their followers have less patience.
    pub(super) dead_keys: BTreeSet<u32>,
}

impl Log {
    pub(super) fn end(&self) -> i64 {
        i64::try_from(self.recs.len()).unwrap()
    }

    pub(super) fn rec(&self, offset: i64) -> &Rec {
        &self.recs[usize::try_from(offset).unwrap()]
    }

    pub(super) fn rec_mut(&mut self, offset: i64) -> &mut Rec {
        &mut self.recs[usize::try_from(offset).unwrap()]
    }

    /// Whether dropping this one as a duplicate was right: its event ended elsewhere in this partition, and lower.
    pub(super) fn is_duplicate(&self, offset: i64) -> bool {
        let rec = self.rec(offset);
        let reset = self.reset;
        self.recs[..usize::try_from(offset).unwrap()]
            .iter()
            .zip(0i64..)
            .any(|(other, at)| {
                // After a reset what lies behind its target is to be done again.
                let again = reset.is_some_and(|(_, target)| at >= target);
                let done = other
                    .done
                    .map(|(at, _)| at)
                    .or(if again { None } else { other.succeeded });
                other.data
                    && other.id == rec.id
                    && other.replay == rec.replay
                    && (done.is_some() && reset.is_none_or(|(when, _)| !again || done >= Some(when))
                        || other.lettered
                        || other.skipped)
            })
    }
}
