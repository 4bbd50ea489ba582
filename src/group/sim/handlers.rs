//! The handlers of a process, and S1: one owner's handlers per partition, within leases.

use super::process::Process;
use super::worker::Outcome;
use super::world::{Checked, Event, Handler, Violation, World, tell};
use crate::group::record::{PartitionId, Token};
use crate::group::rules::Rule;
use crate::progress::Progress;

/// How often a worker looks for records, ms.
const LOOK: (u64, u64) = (30, 50);

impl World {
    pub(super) fn start_partition(
        &mut self,
        slot: usize,
        partition: PartitionId,
        token: Token,
        progress: Progress,
    ) -> Checked {
        tell!(
            self,
            "slot {slot} gets {}-{} token {token} at {:?}",
            partition.0,
            partition.1,
            progress.next
        );
        if let Some(old) = self
            .handlers
            .values()
            .find(|handler| handler.slot == slot && handler.partition == partition && handler.token != token)
        {
            return Err(Violation(format!(
                "S1 slot {slot} may start {}-{} under token {token} while its handlers of token {} run",
                partition.0, partition.1, old.token
            )));
        }
        let process = &mut self.processes[slot];
        let topic = process
            .member
            .as_ref()
            .and_then(|member| member.state().topics.get(&partition.0));
        let Some(topic) = topic.map(|topic| topic.id) else {
            return Err(Violation(format!(
                "slot {slot} gets {} of a topic that its state does not have",
                partition.0
            )));
        };
        process.worker.start(partition, token, topic, progress);
        Ok(())
    }

    pub(super) fn pause_partition(&mut self, slot: usize, partition: &PartitionId, token: Token, on: bool) {
        if let Some(run) = self.processes[slot].worker.run(partition, token) {
            run.paused = on;
        }
    }

    pub(super) fn drain_partition(&mut self, slot: usize, partition: &PartitionId, token: Token) {
        if let Some(run) = self.processes[slot].worker.run(partition, token) {
            run.draining = true;
        }
        self.check_idle(slot, partition, token);
    }

    pub(super) fn cancel_partition(&mut self, slot: usize, partition: &PartitionId, token: Token) {
        if let Some(run) = self.processes[slot].worker.run(partition, token) {
            run.ending = true;
        }
        self.cancel_handlers(slot, |handler| {
            handler.partition == *partition && handler.token == token
        });
        self.check_idle(slot, partition, token);
    }

    pub(super) fn lease(&mut self, slot: usize, until: u64) {
        self.processes[slot].worker.lease = until;
        if until == 0 {
            self.cancel_handlers(slot, |_| true);
        }
    }

    /// A cancelled handler takes a while to end, less than the cancel time.
    fn cancel_handlers(&mut self, slot: usize, which: impl Fn(&Handler) -> bool) {
        // The last of it is for the time until it is noticed that the lease ends.
        let longest = self.cancel(slot) - 15;
        let ids: Vec<u64> = (self.handlers.iter())
            .filter(|(_, handler)| handler.slot == slot && !handler.cancelled && which(handler))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            if let Some(handler) = self.handlers.get_mut(&id) {
                handler.cancelled = true;
            }
            let delay = self.dice.between(0, longest);
            self.at(delay, Event::CancelEnds(id));
        }
    }

    /// Tells the member, a moment later, when what was drained or cancelled is over.
    fn check_idle(&mut self, slot: usize, partition: &PartitionId, token: Token) {
        let over = (self.processes[slot].worker.run(partition, token))
            .is_some_and(|run| (run.draining || run.ending) && run.is_idle());
        if over {
            let delay = self.dice.between(0, 3);
            self.after(slot, delay, Event::Ended(partition.clone(), token));
        }
    }

    pub(super) fn ended(&mut self, slot: usize, partition: &PartitionId, token: Token) -> Checked {
        let worker = &mut self.processes[slot].worker;
        let Some(run) = worker.run(partition, token) else {
            return Ok(()); // told before
        };
        if !(run.draining || run.ending) || !run.is_idle() {
            return Ok(()); // it goes on, after another drain
        }
        let progress = run.progress.clone();
        worker.runs.remove(partition);
        self.with_member(slot, |member, _| {
            member.progress(partition, token, progress);
            member.ended(partition, token);
        })
    }

    pub(super) fn found(
        &mut self,
        slot: usize,
        partition: &PartitionId,
        token: Token,
        late: bool,
    ) -> Checked {
        let Some(member) = &self.processes[slot].member else {
            return Ok(());
        };
        let Some(topic) = member.state().topics.get(&partition.0).map(|topic| topic.id) else {
            return Ok(());
        };
        let Some(end) = self.source_end(topic, partition) else {
            return Ok(());
        };
        let offset = if self.options.latest && !late { end } else { 0 };
        self.with_member(slot, |member, _| {
            member.found_position(partition, token, offset, 0)
        })
    }

    /// A worker tells progress and looks for records to handle.
    pub(super) fn work(&mut self, slot: usize) -> Checked {
        let delay = self.dice.between(LOOK.0, LOOK.1);
        self.after(slot, delay, Event::Work);
        let process = &mut self.processes[slot];
        let Some(member) = &mut process.member else {
            return Ok(());
        };
        for (partition, run) in &mut process.worker.runs {
            if run.dirty {
                run.dirty = false;
                member.progress(partition, run.token, run.progress.clone());
            }
        }
        let partitions: Vec<PartitionId> = self.processes[slot].worker.runs.keys().cloned().collect();
        for partition in partitions {
            self.choose(slot, &partition)?;
        }
        Ok(())
    }

    /// Checks that handlers may start, and lets them start a moment later: a pause may fall in between.
    fn choose(&mut self, slot: usize, partition: &PartitionId) -> Checked {
        if !self.may_start(slot) {
            return Ok(());
        }
        let unix = self.unix();
        let Some(run) = self.processes[slot].worker.runs.get(partition) else {
            return Ok(());
        };
        let (token, topic) = (run.token, run.topic);
        let Some(end) = self.source_end(topic, partition) else {
            return Ok(());
        };
        while let Some(offset) = (self.processes[slot].worker.run(partition, token))
            .and_then(|run| run.choose(end, self.options.parallel, unix))
        {
            self.in_key_order(slot, partition, token, offset)?;
            let start = Event::StartHandler(partition.clone(), token, offset);
            if self.faulty && self.options.scenario.is_random() && self.dice.per_mille(2) {
                // Stopped just between the check and the start, which comes first when it goes on.
                let length = self.dice.between(self.options.ms(100), self.options.ms(3000));
                let suspend = self.dice.per_mille(300);
                self.pause(slot, length, suspend);
                let generation = self.processes[slot].generation;
                self.queue
                    .put_off(self.now + length, 0, (Some((slot, generation)), start));
                return Ok(());
            }
            let delay = self.dice.between(0, 2);
            self.after(slot, delay, start);
        }
        Ok(())
    }

    /// S6: nothing is repeated behind a later record of its key.
    fn in_key_order(&mut self, slot: usize, partition: &PartitionId, token: Token, offset: i64) -> Checked {
        let Some(run) = self.processes[slot].worker.run(partition, token) else {
            return Ok(());
        };
        let topic = run.topic;
        match run
            .overtaken_by(offset)
            .find(|later| !self.checks.was_skipped(topic, partition, *later))
        {
            Some(later) => Err(Violation(format!(
                "S6 {}-{} handles {offset} (again) after {later} of the same key",
                partition.0, partition.1
            ))),
            None => Ok(()),
        }
    }

    fn cancel(&self, slot: usize) -> u64 {
        self.options.cancel.min(self.processes[slot].session / 5)
    }

    /// What the consumer checks before each start: a handler that is cancelled in time ends within the lease.
    fn may_start(&self, slot: usize) -> bool {
        let process = &self.processes[slot];
        let margin = if self.rules.has(Rule::CancelMargin) {
            self.cancel(slot)
        } else {
            0
        };
        let lease_clock = process.now(self.now, self.counts_suspend()).lease;
        lease_clock + margin < process.worker.lease
    }

    pub(super) fn start_handler(
        &mut self,
        slot: usize,
        partition: &PartitionId,
        token: Token,
        offset: i64,
    ) -> Checked {
        let process = &mut self.processes[slot];
        let leased = process.worker.lease > 0;
        let Some(run) = process.worker.run(partition, token) else {
            return Ok(());
        };
        if !run.is_busy_with(offset) {
            return Ok(());
        }
        // Between its check and this moment it may have learnt that it must not.
        if !(leased && run.may_start()) {
            run.ended(offset, Outcome::Cancelled);
            self.check_idle(slot, partition, token);
            return Ok(());
        }
        let topic = run.topic;
        self.overlaps(slot, partition, token)?;
        self.checks.started(topic, partition, offset, token);
        self.tally.handlers += 1;
        let id = self.tally.handlers;
        let generation = self.processes[slot].generation;
        let handler = Handler {
            slot,
            generation,
            partition: partition.clone(),
            topic,
            offset,
            token,
            cancelled: false,
        };
        self.handlers.insert(id, handler);
        let delay = match self.dice.below(1000) {
            0..30 if self.options.scenario.is_random() => self.dice.between(200, self.options.ms(300)),
            0..100 => self.dice.between(60, 250),
            _ => self.dice.between(5, 40),
        };
        self.at(delay, Event::HandlerEnds(id));
        Ok(())
    }

    /// S1: whoever else runs handlers of the partition holds an older token, and no lease, and a pause kept it from noticing.
    fn overlaps(&mut self, slot: usize, partition: &PartitionId, token: Token) -> Checked {
        for other in self
            .handlers
            .values()
            .filter(|other| other.partition == *partition)
        {
            if other.slot == slot && other.token == token {
                continue;
            }
            let what = || format!("{}-{}", partition.0, partition.1);
            if other.token == token {
                return Err(Violation(format!(
                    "S1b two owners of {} have the same token {token}",
                    what()
                )));
            }
            if other.slot == slot {
                return Err(Violation(format!(
                    "S1 slot {slot} runs {} under two tokens",
                    what()
                )));
            }
            let (stale, fresh) = if other.token < token {
                (other.slot, slot)
            } else {
                (slot, other.slot)
            };
            let process = &self.processes[stale];
            let unclean = self
                .lost_tail
                .is_some_and(|at| self.now < at + 2 * self.options.session);
            let over = process.now(self.now, self.counts_suspend()).lease >= process.worker.lease;
            if unclean || over && was_paused(process, self.cancel(stale), self.now) {
                self.tally.excused += 1;
                continue;
            }
            return Err(Violation(format!(
                "S1 two processes run {}: slot {stale} (lease clock {}, lease until {}) and slot {fresh}, tokens {} and {token}",
                what(),
                process.now(self.now, self.counts_suspend()).lease,
                process.worker.lease,
                other.token,
            )));
        }
        Ok(())
    }

    pub(super) fn handler_ends(&mut self, id: u64, cancelled: bool) {
        if self
            .handlers
            .get(&id)
            .is_none_or(|handler| handler.cancelled != cancelled)
        {
            return;
        }
        let Some(handler) = self.handlers.remove(&id) else {
            return;
        };
        let outcome = if cancelled {
            Outcome::Cancelled
        } else if self.faulty && self.dice.per_mille(self.options.retries) {
            let now = self.unix();
            let wait = self.dice.between(100, 1500);
            Outcome::Again {
                now,
                due: now + i64::try_from(wait).unwrap_or(0),
            }
        } else {
            self.checks
                .completed(handler.topic, &handler.partition, handler.offset, handler.token);
            Outcome::Done
        };
        let event = Event::HandlerEnded(handler.partition, handler.token, handler.offset, outcome);
        self.queue
            .push(self.now, (Some((handler.slot, handler.generation)), event));
    }

    pub(super) fn handler_ended(
        &mut self,
        slot: usize,
        partition: &PartitionId,
        token: Token,
        offset: i64,
        outcome: Outcome,
    ) -> Checked {
        if let Some(run) = self.processes[slot].worker.run(partition, token) {
            run.ended(offset, outcome);
        }
        self.check_idle(slot, partition, token);
        Ok(())
    }
}

/// Whether it is paused, or was a moment ago: it had no time to end its handlers.
fn was_paused(process: &Process, cancel: u64, now: u64) -> bool {
    process.paused_until >= now || process.last_pause_end + cancel + 300 > now
}
