//! What goes wrong, and what operators do meanwhile.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::log::Sent;
use super::world::{Checked, Event, Source, World, tell};
use crate::group::record::{MemberId, Note, PartitionId, Record, Token, TopicInfo};

/// A kind of fault. The first four come again and again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// One of everything.
    Any,
    /// A planned leave or join.
    Churn,
    /// The log cannot be reached.
    Outage,
    /// An unclean election: the log loses its tail.
    LostTail,
    /// A member writes on and never reads again.
    Deaf,
    /// Somebody writes an assignment of his own.
    Shuffle,
    /// A void record is written.
    Noise,
    /// The end of all faults.
    Calm,
    /// The operator resumes what is paused.
    Resume,
    HealLog,
    HealProcess(usize),
}

impl World {
    pub(super) fn fault(&mut self, fault: Fault) -> Checked {
        if !self.faulty
            && matches!(
                fault,
                Fault::Any
                    | Fault::Churn
                    | Fault::Outage
                    | Fault::LostTail
                    | Fault::Deaf
                    | Fault::Noise
                    | Fault::Shuffle
            )
        {
            return Ok(());
        }
        match fault {
            Fault::Any => self.any_fault(),
            Fault::Churn => self.churn(),
            Fault::Outage => {
                let length = self.between(1200, 3500);
                let pause = self.options.ms(3500);
                self.log_outage(length);
                self.at(length + pause, Event::Fault(Fault::Outage));
            }
            Fault::LostTail => return self.unclean_election(),
            Fault::Deaf => {
                let slot = self.any_slot();
                tell!(self, "slot {slot} writes, and never reads again");
                self.processes[slot].defects.deaf = true;
            }
            Fault::Noise => self.noise(),
            Fault::Shuffle => self.shuffle(),
            Fault::Calm => self.calm(),
            Fault::Resume => self.resume(),
            Fault::HealLog => {
                self.outage = false;
                tell!(self, "the log can be reached again");
            }
            Fault::HealProcess(slot) => {
                self.processes[slot].cut_off = false;
                self.processes[slot].slow = false;
                tell!(self, "slot {slot} heals");
            }
        }
        Ok(())
    }

    /// A time between two, each in thousandths of a session.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        self.dice.between(self.options.ms(low), self.options.ms(high))
    }

    fn any_slot(&mut self) -> usize {
        self.dice.index(self.processes.len())
    }

    fn any_fault(&mut self) {
        let again = self.between(80, 900);
        self.at(again, Event::Fault(Fault::Any));
        let slot = self.any_slot();
        match self.dice.below(15) {
            0 | 1 if self.processes[slot].is_up() => {
                self.end_process(slot, "dies");
                let delay = self.between(20, 2500);
                self.at(delay, Event::StartProcess(slot));
            }
            2 | 3 => {
                let length = self.between(50, 3500);
                self.pause(slot, length, false);
            }
            4 => {
                let length = self.between(300, 3500);
                self.pause(slot, length, true);
            }
            5 | 6 => {
                self.processes[slot].cut_off = true;
                tell!(self, "slot {slot} is cut off");
                let length = self.between(100, 3000);
                self.at(length, Event::Fault(Fault::HealProcess(slot)));
            }
            7 => {
                self.processes[slot].slow = true;
                tell!(self, "slot {slot} reads slowly");
                let length = self.between(300, 3000);
                self.at(length, Event::Fault(Fault::HealProcess(slot)));
            }
            8 => self.leave(slot),
            9..12 => self.operate(),
            12 => self.grow(),
            13 if self.dice.per_mille(300) => self.recreate(),
            _ if self.dice.per_mille(300) => {
                let length = self.between(100, 2500);
                self.log_outage(length);
            }
            _ => {}
        }
    }

    fn leave(&mut self, slot: usize) {
        let process = &mut self.processes[slot];
        if !process.joined || process.leaving || !process.is_up() {
            return;
        }
        process.leaving = true;
        tell!(self, "slot {slot} is asked to leave");
        let deadline = self.options.ms(4000);
        self.after(slot, 0, Event::Leave);
        self.after(slot, deadline, Event::GiveUp);
    }

    fn churn(&mut self) {
        let again = self.between(400, 2500);
        self.at(again, Event::Fault(Fault::Churn));
        if self.dice.per_mille(150) {
            self.grow();
        }
        let joined: Vec<usize> = (0..self.processes.len())
            .filter(|slot| self.processes[*slot].joined && self.processes[*slot].is_healthy())
            .collect();
        if joined.len() > 1 && self.dice.per_mille(500) {
            let slot = joined[self.dice.index(joined.len())];
            self.leave(slot);
        } else if let Some(slot) = self.processes.iter().position(|process| !process.is_up()) {
            self.start_process(slot);
        }
    }

    /// Stops a process. A suspended machine's monotonic clock stands still meanwhile.
    pub(super) fn pause(&mut self, slot: usize, length: u64, suspend: bool) {
        let now = self.now;
        let process = &mut self.processes[slot];
        if process.paused_until > now {
            return;
        }
        process.paused_until = now + length;
        process.last_pause_end = now + length;
        if suspend {
            process.suspended += length;
        }
        tell!(
            self,
            "slot {slot} {} for {length} ms",
            if suspend { "is suspended" } else { "stands still" }
        );
    }

    fn log_outage(&mut self, length: u64) {
        self.outage = true;
        tell!(self, "the log cannot be reached for {length} ms");
        self.at(length, Event::Fault(Fault::HealLog));
    }

    fn unclean_election(&mut self) -> Checked {
        let again = self.between(1500, 3500);
        self.at(again, Event::Fault(Fault::LostTail));
        let lost = i64::try_from(self.dice.between(1, 30)).unwrap_or(1);
        if !self.log.lose_tail(lost) {
            return Ok(());
        }
        self.lost_tail = Some(self.now);
        tell!(self, "unclean election: the log ends at {}", self.log.end());
        for slot in 0..self.processes.len() {
            if self.processes[slot].waiting.take().is_some() {
                let delay = self.delay();
                self.after(slot, delay, Event::Fetch);
            }
        }
        self.checks.replay(self.log.records())
    }

    /// A record that does not hold, or is none: it makes the log grow.
    fn noise(&mut self) {
        let Some(every) = self.options.noise else { return };
        self.at(every, Event::Fault(Fault::Noise));
        self.serial += 1;
        let record = self.dice.per_mille(800).then(|| Record::Skip {
            by: "sim".to_owned(),
            why: "x".repeat(200),
            partition: ("alpha".into(), 99),
            offset: 0,
            seen: Token::NONE,
        });
        let payload = record
            .as_ref()
            .map_or_else(|| b"{\"v\":1".to_vec(), Record::encode);
        let sent = Rc::new(Sent {
            logical: (self.serial, 0),
            payload,
            record,
        });
        self.at(0, Event::Arrive(sent, None));
    }

    fn calm(&mut self) {
        self.faulty = false;
        self.outage = false;
        tell!(self, "END OF FAULTS");
        for slot in 0..self.processes.len() {
            self.processes[slot].cut_off = false;
            self.processes[slot].slow = false;
            if !self.processes[slot].is_up() {
                let delay = self.between(1, 500);
                if self.dice.per_mille(500) || !self.processes.iter().any(super::process::Process::is_healthy)
                {
                    self.at(delay, Event::StartProcess(slot));
                }
            }
        }
    }

    fn resume(&mut self) {
        let state = &self.checks.oracle;
        let by = "sim".to_owned();
        // What changes nothing must not do so.
        let of = state.members.keys().next().cloned();
        let note = |member| Record::Note {
            member,
            note: Note {
                fuse: Some("a test".to_owned()),
                ..Note::default()
            },
        };
        let mut records: Vec<Record> = of.map(note).into_iter().collect();
        if state.paused {
            let (by, why) = (by.clone(), String::new());
            records.push(Record::Resume {
                by,
                why,
                partition: None,
                seen: state.pause_seen,
            });
        }
        for (partition, there) in state.partitions.iter().filter(|(_, there)| there.paused) {
            let (by, why, partition) = (by.clone(), String::new(), Some(partition.clone()));
            records.push(Record::Resume {
                by,
                why,
                partition,
                seen: there.pause_seen,
            });
        }
        for record in records {
            self.administer(record);
        }
    }

    /// An operator resets, skips or pauses.
    fn operate(&mut self) {
        let state = &self.checks.oracle;
        if state.partitions.is_empty() {
            return;
        }
        let chosen = self.dice.index(state.partitions.len());
        let Some((partition, there)) = state.partitions.iter().nth(chosen) else {
            return;
        };
        let partition: PartitionId = partition.clone();
        let (by, why) = ("sim".to_owned(), "a test".to_owned());
        let topic = state
            .topics
            .get(&partition.0)
            .map(|topic| topic.id)
            .unwrap_or_default();
        let end = self.source_end(topic, &partition).unwrap_or(0).unsigned_abs();
        let seen = there.seen();
        let record = match self.dice.below(10) {
            0..5 => {
                // To none: a first position is worked out again.
                let to = i64::try_from(self.dice.below(end + 1))
                    .ok()
                    .filter(|_| self.dice.per_mille(850));
                Record::Reset {
                    by,
                    why,
                    partitions: vec![(partition, to, seen)],
                }
            }
            5 => {
                let offset = i64::try_from(self.dice.below(end + 1)).unwrap_or(0);
                Record::Skip {
                    by,
                    why,
                    partition,
                    offset,
                    seen,
                }
            }
            6 | 7 => {
                let (paused, seen) = (there.paused, there.pause_seen);
                let partition = Some(partition);
                if paused {
                    Record::Resume {
                        by,
                        why,
                        partition,
                        seen,
                    }
                } else {
                    Record::Pause {
                        by,
                        why,
                        partition,
                        seen,
                    }
                }
            }
            _ if state.paused => Record::Resume {
                by,
                why,
                partition: None,
                seen: state.pause_seen,
            },
            _ => Record::Pause {
                by,
                why,
                partition: None,
                seen: state.pause_seen,
            },
        };
        self.administer(record);
    }

    /// A topic gets another partition, or there is another topic.
    fn grow(&mut self) {
        let names: Vec<_> = self.sources.keys().cloned().collect();
        if names.len() < 3 && self.dice.per_mille(300) {
            let partitions = i32::try_from(self.dice.between(1, 3)).unwrap_or(1);
            self.create_topic("gamma", partitions);
            return;
        }
        let name = &names[self.dice.index(names.len())];
        if let Some(source) = self
            .sources
            .get_mut(name)
            .filter(|source| source.info.partitions < 4)
        {
            source.info.partitions += 1;
            tell!(
                self,
                "topic {name} grows to {} partitions",
                source.info.partitions
            );
        }
    }

    /// A topic is deleted and made anew: its offsets begin at 0.
    fn recreate(&mut self) {
        let names: Vec<_> = self.sources.keys().cloned().collect();
        let name = names[self.dice.index(names.len())].clone();
        let partitions = self.sources.get(&name).map_or(1, |source| source.info.partitions);
        self.create_topic(&name, partitions);
    }

    pub(super) fn create_topic(&mut self, name: &str, partitions: i32) {
        self.serial += 1;
        let mut id = [7; 16];
        id[..8].copy_from_slice(&self.serial.to_be_bytes());
        tell!(self, "topic {name} is made with {partitions} partitions");
        let first_end = if self.now == 0 { self.options.first_end } else { 0 };
        let source = Source {
            info: TopicInfo { id, partitions },
            created: self.now,
            first_end,
        };
        self.sources.insert(name.into(), source);
    }

    /// Any assignment on the right basis has to be safe.
    fn shuffle(&mut self) {
        let again = self.between(20, 400);
        self.at(again, Event::Fault(Fault::Shuffle));
        let state = &self.checks.oracle;
        let members: Vec<&MemberId> = state.members.keys().collect();
        let Some(by) = state.leader().cloned() else {
            return;
        };
        let mut changes = BTreeMap::new();
        for partition in state.partitions.keys() {
            let member = members[self.dice.index(members.len())].clone();
            changes.insert(partition.clone(), Some(member));
        }
        let basis = state.version;
        self.administer(Record::Assign { by, basis, changes });
    }
}
