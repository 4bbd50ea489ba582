//! The group's log in memory: what a partition with one replica set does, faults apart.

use std::rc::Rc;

use crate::group::record::{Position, Record};

/// A logical record: the writer's serial number and its id there. Repeats and late duplicates of it have the same.
pub(super) type Logical = (u64, u64);

/// A record that a process, or an operator, has sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) logical: Logical,
    pub(super) payload: Vec<u8>,
    /// None: no record of ours, which every replica has to bear.
    pub(super) record: Option<Record>,
}

/// A record in the log.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) offset: i64,
    pub(super) epoch: i32,
    /// Unix time, ms.
    pub(super) timestamp: i64,
    pub(super) sent: Rc<Sent>,
}

impl Logged {
    pub(super) fn position(&self) -> Position {
        Position::new(self.epoch, self.offset)
    }
}

/// What a fetch finds.
#[derive(Debug)]
pub(super) enum Fetched {
    Records {
        records: Vec<Rc<Logged>>,
        start: i64,
        end: i64,
    },
    OutOfRange {
        start: i64,
    },
    Diverged {
        start: i64,
    },
}

/// All records that were ever there and not cut off by an election; those below `start` are deleted for readers.
#[derive(Debug, Default)]
pub(super) struct Log {
    records: Vec<Rc<Logged>>,
    start: i64,
    epoch: i32,
    bytes: u64,
}

impl Log {
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    pub(super) fn end(&self) -> i64 {
        self.records.len() as i64
    }

    /// Bytes appended so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn append(&mut self, timestamp: i64, sent: Rc<Sent>) -> Rc<Logged> {
        self.bytes += sent.payload.len() as u64;
        let logged = Rc::new(Logged {
            offset: self.end(),
            epoch: self.epoch,
            timestamp,
            sent,
        });
        self.records.push(Rc::clone(&logged));
        logged
    }

    pub(super) fn records(&self) -> &[Rc<Logged>] {
        &self.records
    }

    /// What a reader that has read up to `from` gets: as Fetch v12 answers, with the epoch of the last record it has read.
    pub(super) fn fetch(&self, from: i64, last_epoch: Option<i32>, at_most: usize) -> Fetched {
        if from < self.start {
            return Fetched::OutOfRange { start: self.start };
        }
        if last_epoch.is_some_and(|epoch| self.diverges(from, epoch)) {
            return Fetched::Diverged { start: self.start };
        }
        let Some(rest) = usize::try_from(from)
            .ok()
            .and_then(|from| self.records.get(from..))
        else {
            return Fetched::OutOfRange { start: self.start };
        };
        let records = rest.iter().take(at_most).cloned().collect();
        Fetched::Records {
            records,
            start: self.start,
            end: self.end(),
        }
    }

    /// Whether the log does not have that epoch up to that offset (any more).
    fn diverges(&self, from: i64, epoch: i32) -> bool {
        let end = self.records.partition_point(|record| record.epoch <= epoch);
        let found = end.checked_sub(1).map(|last| self.records[last].epoch);
        found != Some(epoch) || (end as i64) < from
    }

    /// DeleteRecords. False if that changed nothing.
    pub(super) fn delete_before(&mut self, before: i64) -> bool {
        let moves = before > self.start && before <= self.end();
        if moves {
            self.start = before;
        }
        moves
    }

    /// An unclean election: a replica that lacks the last records leads. At least one readable record stays.
    pub(super) fn lose_tail(&mut self, count: i64) -> bool {
        let keep = (self.end() - count).max(self.start + 1);
        if keep >= self.end() {
            return false;
        }
        self.records.truncate(usize::try_from(keep).unwrap_or(0));
        self.epoch += 1;
        true
    }
}
