//! The world: processes, their log, the topics they process, and what happens when.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::checks::Checks;
use super::dice::Dice;
use super::faults::Fault;
use super::log::{Fetched, Log, Logical, Sent};
use super::options::Options;
use super::process::{Process, Subscription};
use super::queue::Queue;
use super::worker::Outcome;
use crate::group::member::AppendId;
use crate::group::record::{MemberId, PartitionId, Record, Token, TopicInfo};
use crate::group::rules::{Rule, Rules};

/// The wall clock when the world begins, unix ms.
pub(super) const EPOCH: i64 = 1_800_000_000_000;

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub(super) struct Violation(pub(super) String);

/// What most of the world's functions return.
pub(super) type Checked<T = ()> = Result<T, Violation>;

/// Something that happens. Those with a slot and a generation concern one life of one process.
#[derive(Debug)]
pub(super) enum Event {
    StartProcess(usize),
    Wake { at: u64 },
    Fetch,
    PollEnds(u64),
    Fetched(Fetched),
    Metadata,
    Work,
    Found(PartitionId, Token, bool),
    StartHandler(PartitionId, Token, i64),
    HandlerEnded(PartitionId, Token, i64, Outcome),
    Acknowledged(AppendId, bool),
    Ended(PartitionId, Token),
    Leave,
    GiveUp,
    HandlerEnds(u64),
    CancelEnds(u64),
    Arrive(Rc<Sent>, Option<(usize, u64, AppendId)>),
    Delete(i64),
    Fault(Fault),
}

/// A running handler.
#[derive(Debug)]
pub(super) struct Handler {
    pub(super) slot: usize,
    pub(super) generation: u64,
    pub(super) partition: PartitionId,
    pub(super) topic: [u8; 16],
    pub(super) offset: i64,
    pub(super) token: Token,
    pub(super) cancelled: bool,
}

/// A topic that is processed.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) info: TopicInfo,
    pub(super) created: u64,
    pub(super) first_end: i64,
}

/// What happened, in numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) events: u64,
    pub(super) records: u64,
    pub(super) void: u64,
    pub(super) handlers: u64,
    pub(super) moves: u64,
    pub(super) assigns: u64,
    pub(super) expired: u64,
    pub(super) expired_alive: u64,
    pub(super) expired_late: u64,
    pub(super) removed: u64,
    pub(super) excused: u64,
    pub(super) resets: u64,
    pub(super) cuts: u64,
    pub(super) overtaken: u64,
    pub(super) diverged: u64,
    pub(super) marks: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        let Self {
            events,
            records,
            void,
            handlers,
            moves,
            assigns,
            expired,
            expired_alive,
            expired_late,
            removed,
            excused,
            resets,
            cuts,
            overtaken,
            diverged,
            marks,
        } = other;
        self.events += events;
        self.records += records;
        self.void += void;
        self.handlers += handlers;
        self.moves += moves;
        self.assigns += assigns;
        self.expired += expired;
        self.expired_alive += expired_alive;
        self.expired_late += expired_late;
        self.removed += removed;
        self.excused += excused;
        self.resets += resets;
        self.cuts += cuts;
        self.overtaken += overtaken;
        self.diverged += diverged;
        self.marks += marks;
    }
}

pub(super) struct World {
    pub(super) options: Options,
    pub(super) rules: Rules,
    pub(super) dice: Dice,
    pub(super) now: u64,
    pub(super) queue: Queue<(Option<(usize, u64)>, Event)>,
    pub(super) log: Log,
    pub(super) checks: Checks,
    pub(super) processes: Vec<Process>,
    pub(super) sources: BTreeMap<Arc<str>, Source>,
    pub(super) handlers: BTreeMap<u64, Handler>,
    pub(super) serial: u64,
    /// Faults go on.
    pub(super) faulty: bool,
    pub(super) outage: bool,
    /// When the log last lost its tail.
    pub(super) lost_tail: Option<u64>,
    pub(super) tally: Tally,
    /// The event log, if it is wanted.
    pub(super) story: Option<Vec<String>>,
}

/// Adds a line to the event log.
macro_rules! tell {
    ($world:expr, $($what:tt)*) => {
        if let Some(story) = &mut $world.story {
            story.push(format!("{:6} {}", $world.now, format!($($what)*)));
        }
    };
}
pub(super) use tell;

impl World {
    /// An event of the world.
    pub(super) fn at(&mut self, delay: u64, event: Event) {
        self.queue.push(self.now + delay, (None, event));
    }

    /// An event of a process as it lives now: put off while it is paused, void when it is dead.
    pub(super) fn after(&mut self, slot: usize, delay: u64, event: Event) {
        let generation = self.processes[slot].generation;
        self.queue
            .push(self.now + delay, (Some((slot, generation)), event));
    }

    pub(super) fn unix(&self) -> i64 {
        EPOCH + i64::try_from(self.now).unwrap_or(0)
    }

    /// How long a message takes.
    pub(super) fn delay(&mut self) -> u64 {
        let slow = self.faulty && self.options.scenario.is_random() && self.dice.per_mille(30);
        if slow {
            self.dice.between(20, self.options.ms(600))
        } else {
            self.dice.between(1, 12)
        }
    }

    /// Lets the world go on until then.
    pub(super) fn run(&mut self, until: u64) -> Checked {
        while let Some((at, number, (whom, event))) = self.queue.pop(until) {
            self.now = at;
            self.tally.events += 1;
            let Some((slot, generation)) = whom else {
                self.happens(event)?;
                continue;
            };
            let process = &self.processes[slot];
            if process.generation != generation || !process.is_up() {
                continue;
            }
            if process.paused_until > at {
                let until = process.paused_until;
                self.queue.put_off(until, number, (whom, event));
                continue;
            }
            self.happens_to(slot, event)?;
        }
        self.now = until;
        Ok(())
    }

    fn happens(&mut self, event: Event) -> Checked {
        match event {
            Event::StartProcess(slot) => self.start_process(slot),
            Event::HandlerEnds(id) => self.handler_ends(id, false),
            Event::CancelEnds(id) => self.handler_ends(id, true),
            Event::Arrive(sent, writer) => return self.arrive(sent, writer),
            Event::Delete(before) if !self.outage && self.log.delete_before(before) => {
                self.tally.cuts += 1;
                tell!(self, "the log now starts at {before}");
            }
            Event::Fault(fault) => return self.fault(fault),
            _ => {}
        }
        Ok(())
    }

    fn happens_to(&mut self, slot: usize, event: Event) -> Checked {
        match event {
            Event::Wake { at } => self.wake(slot, at)?,
            Event::Fetch => self.fetch(slot),
            Event::PollEnds(poll) => self.poll_ends(slot, poll),
            Event::Fetched(fetched) => self.fetched(slot, fetched)?,
            Event::Metadata => self.metadata(slot)?,
            Event::Work => self.work(slot)?,
            Event::Found(partition, token, late) => self.found(slot, &partition, token, late)?,
            Event::StartHandler(partition, token, offset) => {
                self.start_handler(slot, &partition, token, offset)?
            }
            Event::HandlerEnded(partition, token, offset, outcome) => {
                self.handler_ended(slot, &partition, token, offset, outcome)?;
            }
            Event::Acknowledged(id, ok) => self.acknowledged(slot, id, ok)?,
            Event::Ended(partition, token) => self.ended(slot, &partition, token)?,
            Event::Leave => self.with_member(slot, crate::group::member::Member::leave)?,
            Event::GiveUp => self.end_process(slot, "gave up leaving"),
            _ => {}
        }
        Ok(())
    }

    /// Takes an append to the log, and acknowledges it.
    fn arrive(&mut self, sent: Rc<Sent>, writer: Option<(usize, u64, AppendId)>) -> Checked {
        if self.outage {
            let delay = self.dice.between(50, 300);
            self.at(delay, Event::Arrive(sent, writer));
            return Ok(());
        }
        let logged = self.log.append(self.unix(), sent);
        let verdict = self.checks.append(&logged);
        let (held, expired) = match &verdict {
            Ok(seen) => (seen.held, seen.expired.clone()),
            Err(_) => (true, None),
        };
        tell!(
            self,
            "log {} {}{}",
            logged.offset,
            super::story::record(logged.sent.record.as_ref()),
            if held { "" } else { "  VOID" }
        );
        let seen = verdict?;
        self.tally.records += 1;
        self.tally.void += u64::from(!held);
        self.tally.moves += seen.moves;
        if held {
            match &logged.sent.record {
                Some(Record::Assign { .. }) => self.tally.assigns += 1,
                Some(Record::Reset { .. }) => self.tally.resets += 1,
                Some(Record::Mark { .. }) => self.tally.marks += 1,
                _ => {}
            }
        }
        if let Some(member) = expired {
            self.expired(&member);
        }
        for slot in 0..self.processes.len() {
            let process = &self.processes[slot];
            if process.waiting.is_some() && !process.cut_off {
                self.answer(slot);
            }
        }
        if let Some((slot, generation, id)) = writer
            && self.processes[slot].generation == generation
            && !self.processes[slot].cut_off
        {
            let delay = self.delay();
            self.after(slot, delay, Event::Acknowledged(id, true));
        }
        Ok(())
    }

    fn expired(&mut self, member: &MemberId) {
        self.tally.expired += 1;
        let now = self.now;
        let alive = self.processes.iter().any(|process| {
            process.member.as_ref().is_some_and(|core| core.id() == member)
                && !process.cut_off
                && process.paused_until <= now
                && !process.defects.deaf
        });
        self.tally.expired_alive += u64::from(alive);
        self.tally.expired_late += u64::from(now > self.options.calm_at + self.options.ms(6500));
    }

    /// Sends a record to the log: it may be lost, late, or arrive twice. Without a writer it is an operator's.
    pub(super) fn send(&mut self, sent: Rc<Sent>, writer: Option<(usize, AppendId)>) {
        let rough = self.faulty && self.options.scenario.is_random();
        let delay = self.delay();
        let reply = writer.map(|(slot, id)| (slot, self.processes[slot].generation, id));
        let cut = self.outage || writer.is_some_and(|(slot, _)| self.processes[slot].cut_off);
        let lost = if cut {
            let late = self.dice.per_mille(300);
            if late {
                let delay = self.dice.between(200, self.options.ms(2500));
                self.at(delay, Event::Arrive(Rc::clone(&sent), reply));
            }
            !late
        } else {
            let lost = rough && self.dice.per_mille(30);
            if !lost {
                self.at(delay, Event::Arrive(Rc::clone(&sent), reply));
            }
            lost
        };
        if rough && self.dice.per_mille(60) {
            let more = if self.dice.per_mille(300) {
                self.dice.between(500, self.options.ms(4000))
            } else {
                self.dice.between(5, 300)
            };
            self.at(delay + more, Event::Arrive(sent, reply));
        }
        if lost && let Some((slot, id)) = writer {
            let delay = self.dice.between(100, 1000);
            self.after(slot, delay, Event::Acknowledged(id, false));
        }
    }

    /// An operator's record, or that of somebody else who may write.
    pub(super) fn administer(&mut self, record: Record) {
        self.serial += 1;
        let logical: Logical = (self.serial, 0);
        let payload = record.encode();
        let sent = Rc::new(Sent {
            logical,
            payload,
            record: Some(record),
        });
        let delay = self.dice.between(1, 50);
        self.at(delay, Event::Arrive(Rc::clone(&sent), None));
        if self.dice.per_mille(300) {
            let more = self.dice.between(10, self.options.ms(2000));
            self.at(delay + more, Event::Arrive(sent, None));
        }
    }

    /// The source's end: offsets below it can be handled. None if there is no such partition of that topic.
    pub(super) fn source_end(&self, topic: [u8; 16], partition: &PartitionId) -> Option<i64> {
        let source = self.sources.get(&partition.0)?;
        let there = source.info.id == topic && partition.1 < source.info.partitions;
        let grown = i64::try_from((self.now - source.created) / self.options.rate).unwrap_or(0);
        there.then_some(source.first_end + grown)
    }

    /// What metadata says to a process.
    pub(super) fn visible(&self, subscription: Subscription) -> BTreeMap<Arc<str>, TopicInfo> {
        let take = match subscription {
            Subscription::First => 1,
            Subscription::FirstTwo => 2,
            Subscription::Pattern => usize::MAX,
        };
        self.sources
            .iter()
            .take(take)
            .map(|(name, source)| (Arc::clone(name), source.info))
            .collect()
    }

    /// Whether lease clocks count the time of a suspended machine.
    pub(super) fn counts_suspend(&self) -> bool {
        self.rules.has(Rule::BootClock)
    }
}
