//! What is known of the group and the consumers, put together for the script and the view. Pure.

use std::collections::BTreeMap;

use super::TOPIC;
use super::book::{Book, Millis};
use super::script::{Consumer, Seen, Step};
use super::view::{ConsumerLine, HISTORY, Model, PartitionLine};
use super::watch::Group;
use crate::broker::metadata::PartitionId;

/// A consumer's process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) alive: bool,
    pub(super) breaker: bool,
    /// Events that it had processed a second ago, and how many a second that was.
    before: u64,
    per_second: u64,
}

impl Process {
    /// One that was just started.
    pub(super) fn started(pid: u32) -> Self {
        Self {
            pid,
            alive: true,
            ..Self::default()
        }
    }
}

/// What was seen last of each thing.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) group: Group,
    pub(super) ends: BTreeMap<PartitionId, (i64, i64)>,
    pub(super) processes: Vec<Process>,
    /// The poisoned event's index in the book.
    pub(super) poison: Option<usize>,
    per_second: Vec<(u64, u64)>,
    before: (u64, u64),
    second: Millis,
}

impl Tally {
    pub(super) fn by_pid(&self, pid: u32) -> Option<usize> {
        self.processes.iter().position(|process| process.pid == pid)
    }

    fn is_member(&self, process: &Process) -> bool {
        self.group.members.contains(&process.pid)
    }

    /// Records that the group is behind in a partition.
    fn lag(&self, id: &PartitionId) -> Option<u64> {
        let (start, end) = *self.ends.get(id)?;
        // Where nothing was ever written, nothing is behind.
        let next = self.group.partitions.get(id).and_then(|partition| partition.next);
        let next = next.or((start == end).then_some(end))?;
        Some(end.saturating_sub(next).max(0).unsigned_abs())
    }

    fn of_orders(&self) -> impl Iterator<Item = (&PartitionId, &super::watch::Partition)> {
        let all = self.group.partitions.iter();
        all.filter(|((topic, _), _)| **topic == *TOPIC)
    }

    /// For the script.
    pub(super) fn seen(&self, book: &Book, partitions: usize, now: Millis) -> Seen {
        let owner = |partition: &super::watch::Partition| partition.owner.and_then(|pid| self.by_pid(pid));
        let settled = self.of_orders().filter(|(_, partition)| {
            let owner = owner(partition).and_then(|at| self.processes.get(at));
            partition.settled && owner.is_some_and(|process| process.alive)
        });
        let consumers = self.processes.iter().enumerate().map(|(at, process)| Consumer {
            alive: process.alive,
            member: self.is_member(process),
            owns: self
                .of_orders()
                .filter(|(_, partition)| owner(partition) == Some(at))
                .count(),
            breaker: process.breaker,
            processed: book.processed_by(at),
        });
        let known = self.group.partitions.len() >= partitions;
        let lag = self.ends.keys().map(|id| self.lag(id)).sum::<Option<u64>>();
        Seen {
            consumers: consumers.collect(),
            partitions,
            settled: settled.count(),
            lag: lag.filter(|_| known),
            published: book.published(),
            finished: book.finished(),
            oldest_unfinished: book.oldest_unfinished(),
            unacknowledged: book.entries().len() as u64 - book.published(),
            poison: self.poison.map(|index| book.poison(index, now)),
            letters: book.letters(),
            replayed: book.replayed(),
            again: book.again(),
        }
    }

    /// A second is over: what happened in it.
    pub(super) fn second(&mut self, book: &Book, now: Millis) {
        let over = now.saturating_sub(self.second);
        if over < 1_000 {
            return;
        }
        self.second = now;
        // A late tick is not a faster second.
        let rate = |now: u64, before: u64| (now - before.min(now)).saturating_mul(1_000) / over;
        let (published, finished) = (book.published(), book.finished());
        self.per_second
            .push((rate(published, self.before.0), rate(finished, self.before.1)));
        self.before = (published, finished);
        if self.per_second.len() > HISTORY {
            self.per_second.remove(0);
        }
        for (at, process) in self.processes.iter_mut().enumerate() {
            let processed = book.processed_by(at);
            process.per_second = rate(processed, process.before);
            process.before = processed;
        }
    }

    /// For the view; what is past, and the step, are the caller's.
    pub(super) fn model(&self, book: &Book, step: Option<(Step, Millis)>, now: Millis) -> Model {
        let consumers = self
            .processes
            .iter()
            .enumerate()
            .map(|(at, process)| ConsumerLine {
                pid: process.pid,
                alive: process.alive,
                member: self.is_member(process),
                breaker: process.breaker && process.alive,
                processed: book.processed_by(at),
                per_second: process.per_second,
            });
        let partitions = self.of_orders().map(|(id, partition)| PartitionLine {
            owner: partition.owner.and_then(|pid| self.by_pid(pid)),
            settled: partition.settled,
            lag: self.lag(id),
            waiting: self.lag(id).map(|lag| lag.saturating_sub(partition.done_ahead)),
            held: partition.held,
        });
        Model {
            now,
            published: book.published(),
            finished: book.finished(),
            failed: book.failed(),
            again: book.again(),
            letters: (book.letters(), book.replayed()),
            per_second: self.per_second.clone(),
            consumers: consumers.collect(),
            partitions: partitions.collect(),
            step,
            ..Model::default()
        }
    }
}
