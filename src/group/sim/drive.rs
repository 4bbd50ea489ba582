//! What the driver does for a member: it starts it, tails the log for it, wakes it, and performs its actions.

use std::rc::Rc;

use super::log::{Fetched, Sent};
use super::options::Options;
use super::process::{Process, Subscription};
use super::world::{Checked, Event, Violation, World, tell};
use crate::group::member::{Action, AppendFailed, AppendId, Lost, Member, MemberSettings, Now};
use crate::group::record::Record;
use crate::group::rules::Rule;

/// Records per fetch; a slow reader gets fewer.
const FETCH_RECORDS: usize = 200;
/// A long poll ends after it, ms.
const FETCH_WAIT: u64 = 500;

impl World {
    pub(super) fn start_process(&mut self, slot: usize) {
        if self.processes[slot].is_up() {
            return;
        }
        let options = &self.options;
        let random = options.scenario.is_random();
        let speed = self.dice.between(960_000, 1_040_000);
        let session = if random && self.dice.per_mille(150) {
            options.session / 2
        } else {
            options.session
        };
        let subscription = match self.dice.below(100) {
            0..15 => Subscription::First,
            15..40 => Subscription::Pattern,
            _ => Subscription::FirstTwo,
        };
        let seed = self.dice.draw();
        self.serial += 1;
        let unix = self.unix();
        let process = &mut self.processes[slot];
        process.generation += 1;
        process.serial = self.serial;
        process.speed = speed;
        process.suspended = 0;
        process.paused_until = 0;
        process.session = session;
        process.subscription = subscription;
        process.leaving = false;
        process.joined = false;
        process.ready = false;
        process.next = self.log.start();
        process.last_epoch = None;
        process.waiting = None;
        process.wake = 0;
        process.seen.clear();
        process.worker = super::worker::Worker::default();
        let settings = settings(&self.options, slot, process, unix);
        let now = process.now(self.now, self.rules.has(Rule::BootClock));
        process.member = Some(Member::new(settings, seed, self.rules, now));
        tell!(
            self,
            "slot {slot} starts: session {session}, {subscription:?}, speed {speed}"
        );
        self.after(slot, 0, Event::Metadata);
        self.after(slot, 2, Event::Fetch);
        self.after(slot, 3, Event::Work);
    }

    /// The process is gone, its handlers with it.
    pub(super) fn end_process(&mut self, slot: usize, how: &str) {
        tell!(self, "slot {slot} ends: {how}");
        let process = &mut self.processes[slot];
        process.member = None;
        process.generation += 1;
        process.paused_until = 0;
        process.leaving = false;
        self.handlers.retain(|_, handler| handler.slot != slot);
    }

    /// Runs something of the member, then does what it asks for.
    pub(super) fn with_member(&mut self, slot: usize, what: impl FnOnce(&mut Member, Now)) -> Checked {
        let now = self.processes[slot].now(self.now, self.counts_suspend());
        if let Some(member) = &mut self.processes[slot].member {
            what(member, now);
            member.tick(now);
        }
        self.act(slot)
    }

    pub(super) fn wake(&mut self, slot: usize, at: u64) -> Checked {
        if self.processes[slot].wake != at {
            return Ok(()); // another one was set since
        }
        self.processes[slot].wake = 0;
        self.with_member(slot, |_, _| ())
    }

    fn act(&mut self, slot: usize) -> Checked {
        loop {
            let Some(member) = &mut self.processes[slot].member else {
                return Ok(());
            };
            let actions = member.take_actions();
            if actions.is_empty() {
                break;
            }
            for action in actions {
                self.perform(slot, action)?;
            }
        }
        let now = self.processes[slot].now(self.now, self.counts_suspend());
        let process = &mut self.processes[slot];
        let Some(member) = &process.member else {
            return Ok(());
        };
        let wake = process.world_time(member.next_wake(now)).max(self.now + 1);
        if wake < u64::MAX / 2 && process.wake != wake {
            process.wake = wake;
            self.after(slot, wake - self.now, Event::Wake { at: wake });
        }
        Ok(())
    }

    fn perform(&mut self, slot: usize, action: Action) -> Checked {
        match action {
            Action::Append { id, payload } => self.append(slot, id, payload),
            Action::FindPosition {
                partition,
                token,
                late,
            } => {
                let delay = self.dice.between(1, 50);
                self.after(slot, delay, Event::Found(partition, token, late));
            }
            Action::Start {
                partition,
                token,
                progress,
                ..
            } => return self.start_partition(slot, partition, token, progress),
            Action::Pause { partition, token } => self.pause_partition(slot, &partition, token, true),
            Action::Unpause { partition, token } => self.pause_partition(slot, &partition, token, false),
            Action::Resumed => {}
            Action::Drain { partition, token } => self.drain_partition(slot, &partition, token),
            Action::Cancel { partition, token } => self.cancel_partition(slot, &partition, token),
            Action::Lease { until } => self.lease(slot, until),
            Action::Truncate { before } => {
                if self.options.deletes {
                    let delay = self.delay();
                    self.at(delay, Event::Delete(before));
                }
            }
            Action::Joined { member } => {
                tell!(self, "slot {slot} is in as {member}");
                self.processes[slot].joined = true;
                self.processes[slot].ready = false;
            }
            Action::Removed { why } => {
                tell!(self, "slot {slot} was removed: {why}");
                self.tally.removed += 1;
                self.processes[slot].joined = false;
            }
            Action::Left => {
                self.end_process(slot, "left");
                if !self.options.scenario.is_random() || self.dice.per_mille(700) {
                    let delay = self.dice.between(50, self.options.ms(2500));
                    self.at(delay, Event::StartProcess(slot));
                }
            }
            Action::Fatal(why) => return Err(Violation(format!("L3 slot {slot} gives up: {why}"))),
            Action::Warn(text) => tell!(self, "slot {slot} warns: {text}"),
            Action::Ready => self.processes[slot].ready = true,
            Action::Reported { .. } => {}
            Action::Skip {
                partition,
                token,
                offset,
            } => {
                if let Some(run) = self.processes[slot].worker.run(&partition, token) {
                    run.skip(offset);
                }
            }
        }
        Ok(())
    }

    /// Sends what the member wants in the log; what a leader that does nothing would decide is not sent.
    fn append(&mut self, slot: usize, id: AppendId, payload: Vec<u8>) {
        let record = Record::decode(&payload).ok();
        let decision = matches!(
            record,
            Some(Record::Assign { .. } | Record::Mark { .. } | Record::Part { .. })
        );
        if decision && self.processes[slot].defects.idle_leader {
            return;
        }
        let logical = (self.processes[slot].serial, id.0);
        self.send(
            Rc::new(Sent {
                logical,
                payload,
                record,
            }),
            Some((slot, id)),
        );
    }

    pub(super) fn acknowledged(&mut self, slot: usize, id: AppendId, ok: bool) -> Checked {
        let result = if ok { Ok(()) } else { Err(AppendFailed) };
        self.with_member(slot, |member, now| member.appended(now, id, result))
    }

    /// A process learns what topics there are.
    pub(super) fn metadata(&mut self, slot: usize) -> Checked {
        let delay = self.dice.between(self.options.ms(250), self.options.ms(750));
        self.after(slot, delay, Event::Metadata);
        let topics = self.visible(self.processes[slot].subscription);
        self.processes[slot].seen.clone_from(&topics);
        self.with_member(slot, |member, _| member.topics_seen(topics))
    }

    pub(super) fn fetch(&mut self, slot: usize) {
        let process = &self.processes[slot];
        if process.defects.deaf {
            return;
        }
        if process.cut_off || self.outage {
            let delay = self.dice.between(50, 200);
            self.after(slot, delay, Event::Fetch);
            return;
        }
        let at_end = process.next == self.log.end() && process.next >= self.log.start();
        let same_epoch = self.log.records().last().map(|record| record.epoch) == process.last_epoch;
        if at_end && same_epoch && process.polls > 0 {
            let process = &mut self.processes[slot];
            process.polls += 1;
            process.waiting = Some(process.polls);
            let poll = process.polls;
            self.after(slot, FETCH_WAIT, Event::PollEnds(poll));
        } else {
            self.processes[slot].polls += 1;
            self.answer(slot);
        }
    }

    pub(super) fn poll_ends(&mut self, slot: usize, poll: u64) {
        if self.processes[slot].waiting != Some(poll) {
            return;
        }
        if self.processes[slot].cut_off || self.outage {
            self.processes[slot].waiting = None;
            self.after(slot, 100, Event::Fetch);
        } else {
            self.answer(slot);
        }
    }

    /// The broker answers a fetch.
    pub(super) fn answer(&mut self, slot: usize) {
        let slow = self.processes[slot].slow && self.faulty;
        let rough = self.faulty && self.options.scenario.is_random();
        let few = slow || rough && self.dice.per_mille(200);
        let at_most = if few {
            usize::try_from(self.dice.between(1, 5)).unwrap_or(1)
        } else {
            FETCH_RECORDS
        };
        let delay = self.delay();
        let process = &mut self.processes[slot];
        process.waiting = None;
        let fetched = self.log.fetch(process.next, process.last_epoch, at_most);
        self.after(slot, delay, Event::Fetched(fetched));
    }

    pub(super) fn fetched(&mut self, slot: usize, fetched: Fetched) -> Checked {
        let slow = self.processes[slot].slow && self.faulty;
        let again = if slow {
            self.dice.between(100, self.options.ms(800))
        } else {
            self.dice.between(5, 50)
        };
        self.after(slot, again, Event::Fetch);
        let (lost, start) = match fetched {
            Fetched::Records { records, start, end } => {
                let now = self.processes[slot].now(self.now, self.counts_suspend());
                for record in records {
                    let process = &mut self.processes[slot];
                    process.next = record.offset + 1;
                    process.last_epoch = Some(record.epoch);
                    let Some(member) = &mut process.member else {
                        return Ok(());
                    };
                    let leaves = matches!(&record.sent.record, Some(Record::Leave(last)) if last.member == *member.id());
                    member.read(now, record.position(), record.timestamp, &record.sent.payload);
                    if leaves {
                        break; // it reads no further
                    }
                    self.checks.replica(slot, member, &record, self.log.records())?;
                }
                return self.with_member(slot, |member, now| member.log_at(now, start, end));
            }
            Fetched::OutOfRange { start } => {
                self.tally.overtaken += 1;
                (Lost::OutOfRange, start)
            }
            Fetched::Diverged { start } => {
                self.tally.diverged += 1;
                (Lost::Diverged, start)
            }
        };
        tell!(
            self,
            "slot {slot} at {} lost the log: {lost:?}, goes on at {start}",
            self.processes[slot].next
        );
        self.processes[slot].next = start;
        self.processes[slot].last_epoch = None;
        self.with_member(slot, |member, now| member.log_lost(now, lost, start))
    }
}

/// A member's settings.
fn settings(options: &Options, slot: usize, process: &Process, unix: i64) -> MemberSettings {
    let mut settings = MemberSettings {
        instance: process.instance.clone(),
        drain: options.ms(300),
        cancel: options.cancel.min(process.session / 5),
        grace: options.ms(1500),
        pattern: process.subscription == Subscription::Pattern,
        unix_micros: unix.unsigned_abs() * 1000,
        ..MemberSettings::new("sim", &format!("host-{slot}"), process.session)
    };
    if let Some(bytes) = options.mark_bytes {
        settings.snapshot_bytes = bytes;
    }
    if let Some(bytes) = options.done_bytes {
        settings.done_bytes = bytes;
    }
    settings
}
