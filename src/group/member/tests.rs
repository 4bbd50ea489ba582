//! A few members over a log in memory, in steps of 5 ms. The simulation of whole groups under faults is elsewhere.

mod deciding;
mod handing_over;
mod joining;
mod leasing;
mod snapshots;
mod telling;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Action, Lost, Member, MemberSettings, Now};
use crate::group::record::{MemberId, PartitionId, Position, Record, Token, TopicInfo, Topics};
use crate::group::rules::Rules;
use crate::group::state::State;
use crate::progress::Progress;

/// The step of the clock, in milliseconds.
const STEP: u64 = 5;

/// A member and its surroundings.
pub(super) struct Seat {
    pub(super) member: Member,
    /// The next offset that it reads.
    next: i64,
    /// Whether what it writes arrives.
    pub(super) writes: bool,
    /// Whether it reads.
    pub(super) reads: bool,
    /// Whether it does anything at all.
    pub(super) runs: bool,
    /// Whether its handlers end as soon as they are asked to.
    pub(super) ends: bool,
    /// Whether first positions are found at once.
    pub(super) finds: bool,
    /// Kinds of records that it fails to write.
    pub(super) withheld: Vec<&'static str>,
    /// All that it was told to do, with the time.
    pub(super) story: Vec<(u64, Action)>,
    /// What it works on.
    pub(super) started: BTreeMap<PartitionId, (Token, Progress)>,
    /// What it was asked to end and has not.
    pub(super) to_end: Vec<(PartitionId, Token)>,
}

/// The members and their log.
pub(super) struct World {
    pub(super) now: u64,
    pub(super) epoch: i32,
    pub(super) start: i64,
    pub(super) log: Vec<(Position, Vec<u8>)>,
    pub(super) seats: Vec<Seat>,
    pub(super) topics: Topics,
}

pub(super) fn topic(id: u8, partitions: i32) -> TopicInfo {
    TopicInfo {
        id: [id; 16],
        partitions,
    }
}

pub(super) fn partition(number: i32) -> PartitionId {
    (Arc::from("t"), number)
}

pub(super) fn settings() -> MemberSettings {
    MemberSettings {
        unix_micros: 1_000_000,
        drain: 3_000,
        ..MemberSettings::new("g", "host", 10_000)
    }
}

impl World {
    /// A log, and a topic `t` with that many partitions.
    pub(super) fn new(partitions: i32) -> Self {
        Self {
            now: 1_000,
            epoch: 0,
            start: 0,
            log: Vec::new(),
            seats: Vec::new(),
            topics: Topics::from([(Arc::from("t"), topic(1, partitions))]),
        }
    }

    /// That many members that have joined and share the topic.
    pub(super) fn with(members: usize, partitions: i32) -> Self {
        let mut world = Self::new(partitions);
        for _ in 0..members {
            world.sit(settings());
            world.run(50);
        }
        world.run(5_000);
        world
    }

    pub(super) fn clock(&self) -> Now {
        Now {
            mono: self.now,
            lease: self.now,
        }
    }

    /// A process comes.
    pub(super) fn sit(&mut self, settings: MemberSettings) -> usize {
        let seed = self.seats.len() as u64 + 1;
        let mut member = Member::new(settings, seed, Rules::all(), self.clock());
        member.topics_seen(self.topics.clone());
        self.seats.push(Seat {
            member,
            next: self.start,
            writes: true,
            reads: true,
            runs: true,
            ends: true,
            finds: true,
            withheld: Vec::new(),
            story: Vec::new(),
            started: BTreeMap::new(),
            to_end: Vec::new(),
        });
        self.seats.len() - 1
    }

    /// Somebody else writes a record.
    pub(super) fn append(&mut self, record: &Record) -> Position {
        self.append_bytes(record.encode())
    }

    pub(super) fn append_bytes(&mut self, payload: Vec<u8>) -> Position {
        let offset = self.start + i64::try_from(self.log.len()).unwrap();
        let at = Position::new(self.epoch, offset);
        self.log.push((at, payload));
        at
    }

    pub(super) fn end(&self) -> i64 {
        self.start + i64::try_from(self.log.len()).unwrap()
    }

    /// Time passes.
    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.now += STEP;
            for seat in 0..self.seats.len() {
                self.step(seat);
            }
        }
    }

    /// Time passes until something is so; fails after a minute.
    pub(super) fn until(&mut self, what: &str, mut so: impl FnMut(&Self) -> bool) -> u64 {
        let began = self.now;
        while !so(self) {
            assert!(self.now < began + 60_000, "not within a minute: {what}");
            self.run(STEP);
        }
        self.now - began
    }

    fn step(&mut self, index: usize) {
        let now = self.clock();
        let (start, end) = (self.start, self.end());
        let seat = &mut self.seats[index];
        if !seat.runs {
            return;
        }
        if seat.reads {
            if seat.next < start {
                seat.member.log_lost(now, Lost::OutOfRange, start);
                seat.next = start;
            }
            let from = usize::try_from(seat.next - start).unwrap();
            for (at, payload) in &self.log[from..] {
                seat.member.read(now, *at, 0, payload);
                seat.next = at.offset() + 1;
            }
            seat.member.log_at(now, start, end);
        }
        seat.member.tick(now);
        self.perform(index);
        let wake = self.seats[index].member.next_wake(now);
        assert!(wake > now.mono, "it wants to be woken for nothing");
    }

    /// Does what a member wants, and tells it what came of it.
    pub(super) fn perform(&mut self, index: usize) {
        loop {
            let actions = self.seats[index].member.take_actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                let now = self.now;
                self.seats[index].story.push((now, action.clone()));
                self.act(index, action);
            }
        }
    }

    fn act(&mut self, index: usize, action: Action) {
        let clock = self.clock();
        let seat = &mut self.seats[index];
        match action {
            Action::Append { id, payload } => {
                let kind = Record::decode(&payload).unwrap().kind();
                if seat.writes && !seat.withheld.contains(&kind) {
                    seat.member.appended(clock, id, Ok(()));
                    self.append_bytes(payload);
                }
            }
            Action::FindPosition { partition, token, .. } if seat.finds => {
                seat.member.found_position(&partition, token, 0, -1);
                seat.member.tick(clock);
            }
            Action::Start {
                partition,
                token,
                progress,
                ..
            } => {
                let before = seat.started.insert(partition.clone(), (token, progress));
                assert_eq!(before, None, "it started {partition:?} twice");
                assert!(
                    !seat.to_end.iter().any(|(ending, _)| *ending == partition),
                    "it started {partition:?} before its old handlers had ended"
                );
            }
            Action::Drain { partition, token } | Action::Cancel { partition, token } => {
                seat.started.remove(&partition);
                if seat.ends {
                    seat.member.ended(&partition, token);
                    seat.member.tick(clock);
                } else if !seat.to_end.contains(&(partition.clone(), token)) {
                    seat.to_end.push((partition, token));
                }
            }
            Action::Truncate { before } => self.cut(before),
            _ => {}
        }
    }

    /// The handlers that were asked to have ended.
    pub(super) fn end_handlers(&mut self, index: usize) {
        let clock = self.clock();
        let seat = &mut self.seats[index];
        for (partition, token) in std::mem::take(&mut seat.to_end) {
            seat.member.ended(&partition, token);
        }
        seat.member.tick(clock);
        self.perform(index);
    }

    /// The log's records below `before` are deleted.
    pub(super) fn cut(&mut self, before: i64) {
        let count = usize::try_from(before - self.start).unwrap();
        self.log.drain(..count);
        self.start = before;
    }

    /// What the records of the log are, in order, from an offset on.
    pub(super) fn kinds(&self, from: i64) -> Vec<&'static str> {
        self.records(from).iter().map(Record::kind).collect()
    }

    pub(super) fn records(&self, from: i64) -> Vec<Record> {
        let from = usize::try_from(from - self.start).unwrap();
        let records = self.log[from..].iter();
        records
            .map(|(_, payload)| Record::decode(payload).unwrap())
            .collect()
    }

    pub(super) fn id(&self, index: usize) -> MemberId {
        self.seats[index].member.id().clone()
    }

    pub(super) fn state(&self, index: usize) -> &State {
        self.seats[index].member.state()
    }

    /// How many partitions each process works on.
    pub(super) fn shares(&self) -> Vec<usize> {
        self.seats.iter().map(|seat| seat.started.len()).collect()
    }

    /// Tells progress: `next` of a partition that it works on.
    pub(super) fn works_to(&mut self, index: usize, number: i32, next: i64) {
        let seat = &mut self.seats[index];
        let (token, progress) = seat.started.get_mut(&partition(number)).unwrap();
        progress.merge(&Progress::at(next, -1));
        let (token, progress) = (*token, progress.clone());
        seat.member.progress(&partition(number), token, progress);
    }
}

impl Seat {
    /// How often it was told to do such a thing since then.
    pub(super) fn count(&self, since: u64, what: impl Fn(&Action) -> bool) -> usize {
        let told = self
            .story
            .iter()
            .filter(|(at, action)| *at > since && what(action));
        told.count()
    }

    /// What it appended since then, decoded.
    pub(super) fn appended(&self, since: u64) -> Vec<Record> {
        let appended = self.story.iter().filter_map(|(at, action)| match action {
            Action::Append { payload, .. } if *at > since => Record::decode(payload).ok(),
            _ => None,
        });
        appended.collect()
    }

    pub(super) fn has_lease(&self, now: u64) -> bool {
        self.member.lease_until().is_some_and(|until| now < until)
    }
}
