//! A log for tests: records are applied one after the other.

use std::sync::Arc;

use crate::group::record::{
    Entry, MemberId, PartitionId, Position, Record, Report, Token, TopicInfo, Topics,
};
use crate::group::rules::{Rule, Rules};
use crate::group::state::{Applied, Change, PartitionState, State};
use crate::progress::Progress;

pub(super) const FLOOR: u64 = 1_790_000_000_000_000;

pub(super) struct Script {
    pub(super) rules: Rules,
    pub(super) state: State,
    pub(super) epoch: i32,
    pub(super) offset: i64,
}

/// A founded log.
pub(super) fn founded() -> Script {
    founded_without(None)
}

pub(super) fn founded_without(rule: Option<Rule>) -> Script {
    let mut script = Script {
        rules: rule.map_or(Rules::all(), |rule| Rules::all().without(rule)),
        state: State::default(),
        epoch: 0,
        offset: 0,
    };
    script.holds(&Record::Found {
        floor: FLOOR,
        level: 1,
    });
    script
}

/// Members 1 and 2 share the four partitions of topic a: 1 owns 0 and 1, 2 owns 2 and 3; all at offset 100.
pub(super) fn at_work(rule: Option<Rule>) -> Script {
    let mut script = founded_without(rule);
    script.joins(1, &[("a", 4)]);
    script.joins(2, &[("a", 4)]);
    script.assigns(&[(0, Some(1)), (1, Some(1)), (2, Some(2)), (3, Some(2))]);
    for (m, partitions) in [(1, [0, 1]), (2, [2, 3])] {
        let entries = partitions
            .into_iter()
            .map(|partition| script.entry(partition, Progress::at(100, 0)))
            .collect();
        script.reports(m, entries);
    }
    script
}

pub(super) fn member(n: u64) -> MemberId {
    MemberId::random(n)
}

pub(super) fn a(partition: i32) -> PartitionId {
    ("a".into(), partition)
}

pub(super) fn id_of(topic: &str) -> [u8; 16] {
    let mut id = [0; 16];
    id[0] = topic.as_bytes()[0];
    id
}

pub(super) fn topics(of: &[(&str, i32)]) -> Topics {
    of.iter()
        .map(|&(name, partitions)| {
            let id = id_of(name);
            (Arc::from(name), TopicInfo { id, partitions })
        })
        .collect()
}

impl Script {
    pub(super) fn apply(&mut self, record: &Record) -> Applied {
        // As a replica would: what cannot be written and read does not count.
        let record = Record::decode(&record.encode()).expect("it can be read");
        let at = Position::new(self.epoch, self.offset);
        self.offset += 1;
        self.state.apply(self.rules, at, &record)
    }

    #[track_caller]
    pub(super) fn holds(&mut self, record: &Record) -> Vec<Change> {
        let applied = self.apply(record);
        assert_eq!((applied.held, applied.void), (true, None), "{record:?}");
        applied.changes
    }

    /// The record is void; why.
    #[track_caller]
    pub(super) fn void(&mut self, record: &Record) -> &'static str {
        let before = self.state.clone();
        let applied = self.apply(record);
        assert!(!applied.held && applied.changes.is_empty(), "{record:?}");
        assert_eq!(self.state, before);
        applied.void.expect("a void record has a reason")
    }

    pub(super) fn at(&self) -> Position {
        Position::new(self.epoch, self.offset)
    }

    pub(super) fn join(&self, m: u64, of: &[(&str, i32)]) -> Record {
        Record::Join {
            member: member(m),
            instance: None,
            host: format!("host-{m}"),
            topics: topics(of),
            session_ms: 10_000,
            speaks: 1,
            read: self.offset,
        }
    }

    #[track_caller]
    pub(super) fn joins(&mut self, m: u64, of: &[(&str, i32)]) -> Vec<Change> {
        self.holds(&self.join(m, of))
    }

    #[track_caller]
    pub(super) fn joins_as(&mut self, m: u64, name: &str, of: &[(&str, i32)]) {
        let Record::Join {
            member,
            host,
            topics,
            session_ms,
            speaks,
            read,
            ..
        } = self.join(m, of)
        else {
            unreachable!("it is a join");
        };
        self.holds(&Record::Join {
            member,
            instance: Some(name.into()),
            host,
            topics,
            session_ms,
            speaks,
            read,
        });
    }

    pub(super) fn assign(&self, changes: &[(i32, Option<u64>)]) -> Record {
        Record::Assign {
            by: member(1),
            basis: self.state.version,
            changes: changes.iter().map(|&(p, m)| (a(p), m.map(member))).collect(),
        }
    }

    #[track_caller]
    pub(super) fn assigns(&mut self, changes: &[(i32, Option<u64>)]) -> Vec<Change> {
        self.holds(&self.assign(changes))
    }

    pub(super) fn expire(&self, m: u64) -> Record {
        Record::Expire {
            member: member(m),
            seen: self.state.members[&member(m)].beat,
            by: member(9),
            after_ms: 10_000,
        }
    }

    /// An entry under the partition's current token.
    pub(super) fn entry(&self, partition: i32, progress: Progress) -> Entry {
        Entry {
            partition: a(partition),
            token: self.state.partitions[&a(partition)].seen(),
            progress,
            gap: None,
        }
    }

    pub(super) fn report(&self, m: u64, entries: Vec<Entry>) -> Report {
        let n = self.state.members.get(&member(m)).map_or(0, |info| info.n) + 1;
        Report {
            member: member(m),
            n,
            entries,
            released: Vec::new(),
            mark: None,
        }
    }

    #[track_caller]
    pub(super) fn reports(&mut self, m: u64, entries: Vec<Entry>) -> Vec<Change> {
        self.holds(&Record::Report(self.report(m, entries)))
    }

    pub(super) fn release(&self, m: u64, partition: i32) -> Record {
        let token = self.state.partitions[&a(partition)].seen();
        Record::Report(Report {
            released: vec![(a(partition), token)],
            ..self.report(m, Vec::new())
        })
    }

    pub(super) fn reset(&self, partition: i32, to: Option<i64>) -> Record {
        Record::Reset {
            by: "anna".into(),
            why: "test".into(),
            partitions: vec![(a(partition), to, self.state.partitions[&a(partition)].seen())],
        }
    }

    pub(super) fn partition(&self, partition: i32) -> &PartitionState {
        &self.state.partitions[&a(partition)]
    }

    pub(super) fn owner(&self, partition: i32) -> Option<u64> {
        number(self.partition(partition).owner.as_ref())
    }

    pub(super) fn target(&self, partition: i32) -> Option<u64> {
        number(self.partition(partition).target.as_ref())
    }

    pub(super) fn token(&self, partition: i32) -> Token {
        self.partition(partition).seen()
    }
}

fn number(member: Option<&MemberId>) -> Option<u64> {
    let member = member?;
    (0..100).find(|&n| MemberId::random(n) == *member)
}
