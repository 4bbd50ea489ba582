//! The application's side of a process: it starts handlers for the partitions that the member was given, out of order, and
//! keeps their progress.

use std::collections::{BTreeMap, BTreeSet};

use crate::group::record::{PartitionId, Token};
use crate::progress::{Held, Progress};

/// A worker looks so far ahead of the first offset that is not finished.
const WINDOW: i64 = 64;

/// Records of one key are handled in order.
fn key(offset: i64) -> i64 {
    offset.rem_euclid(5)
}

/// How a handler ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// It was cancelled: as if it had not begun.
    Cancelled,
    /// The record waits for another try, until then (unix ms).
    Again {
        now: i64,
        due: i64,
    },
}

/// A partition in work, under one token.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) token: Token,
    pub(super) topic: [u8; 16],
    pub(super) progress: Progress,
    /// Chosen, and not yet known to have ended.
    busy: BTreeSet<i64>,
    pub(super) draining: bool,
    pub(super) ending: bool,
    pub(super) paused: bool,
    /// There is progress that the member was not told.
    pub(super) dirty: bool,
}

impl Run {
    fn new(token: Token, topic: [u8; 16], progress: Progress) -> Self {
        Self {
            token,
            topic,
            progress,
            busy: BTreeSet::new(),
            draining: false,
            ending: false,
            paused: false,
            dirty: false,
        }
    }

    pub(super) fn may_start(&self) -> bool {
        !(self.draining || self.ending || self.paused)
    }

    /// Whether a drain or a cancel is over.
    pub(super) fn is_idle(&self) -> bool {
        self.busy.is_empty()
    }

    pub(super) fn is_busy_with(&self, offset: i64) -> bool {
        self.busy.contains(&offset)
    }

    /// The next offset to handle: the first one that is neither finished, nor in work, nor waiting, nor behind such a one
    /// of its key.
    pub(super) fn choose(&mut self, end: i64, parallel: usize, now: i64) -> Option<i64> {
        if self.busy.len() >= parallel || !self.may_start() {
            return None;
        }
        let next = self.progress.next?;
        let mut blocked = 0_u32;
        for offset in next..end.min(next + WINDOW) {
            if self.progress.is_finished(offset) {
                continue;
            }
            let waits = self.busy.contains(&offset)
                || self.progress.held.get(&offset).is_some_and(|held| held.due > now);
            let key = 1 << key(offset);
            if !waits && blocked & key == 0 {
                self.busy.insert(offset);
                return Some(offset);
            }
            blocked |= key;
        }
        None
    }

    /// An offset of the same key that lies above it and is finished: what is chosen now was done before, and would be
    /// repeated after it.
    pub(super) fn overtaken_by(&self, offset: i64) -> impl Iterator<Item = i64> {
        let above = self.progress.done.iter().flat_map(|(start, end)| start..end);
        above.filter(move |done| *done > offset && key(*done) == key(offset))
    }

    /// An operator took it for finished.
    pub(super) fn skip(&mut self, offset: i64) {
        self.progress.finish(offset);
        self.dirty = true;
    }

    pub(super) fn ended(&mut self, offset: i64, outcome: Outcome) {
        if !self.busy.remove(&offset) {
            return;
        }
        match outcome {
            Outcome::Done => {
                self.progress.finish(offset);
                self.dirty = true;
            }
            Outcome::Cancelled => {}
            Outcome::Again { .. } if self.progress.is_finished(offset) => {}
            Outcome::Again { now, due } => {
                let held = self.progress.held.entry(offset).or_insert(Held {
                    tries: 0,
                    counted: 0,
                    first_failed: now,
                    due,
                });
                held.tries += 1;
                held.due = due;
                self.dirty = true;
            }
        }
    }
}

/// What a process has in work.
#[derive(Debug, Default)]
pub(super) struct Worker {
    pub(super) runs: BTreeMap<PartitionId, Run>,
    /// No handler may run at or after it (lease clock, ms); 0: none may.
    pub(super) lease: u64,
}

impl Worker {
    /// The run of a partition, if it is (still) under that token.
    pub(super) fn run(&mut self, partition: &PartitionId, token: Token) -> Option<&mut Run> {
        self.runs.get_mut(partition).filter(|run| run.token == token)
    }

    /// Begins a partition, or goes on with it when it is in work under that token.
    pub(super) fn start(
        &mut self,
        partition: PartitionId,
        token: Token,
        topic: [u8; 16],
        progress: Progress,
    ) {
        match self.run(&partition, token) {
            Some(run) => {
                run.draining = false;
                run.progress.merge(&progress);
            }
            None => {
                self.runs.insert(partition, Run::new(token, topic, progress));
            }
        }
    }
}
