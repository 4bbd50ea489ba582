//! How attempts and dead letters ended.

use std::sync::Arc;

use rand::Rng;

use super::Core;
use super::finish::How;
use crate::delivery::breaker::{Change, Failed};
use crate::delivery::lanes::{EntryId, LaneKey, Stage};
use crate::delivery::retry::{self, Failure};
use crate::delivery::rules::Rule;
use crate::delivery::{Action, Attempt, Now, Outcome, Reason, Sign};

impl<B: Clone> Core<B> {
    /// A handler ended. `why` is what to tell people about a failure. The second outcome of an attempt is ignored.
    pub fn outcome(&mut self, now: Now, attempt: Attempt, outcome: Outcome, why: Option<Arc<str>>) {
        let Some(entry) = self.attempted(attempt) else {
            return;
        };
        let Stage::Running {
            kind,
            probe,
            deadline,
            ..
        } = entry.stage
        else {
            return;
        };
        let (id, claim, lane, skipped) = (attempt.entry, entry.claim, entry.lane, entry.skipped);
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        stream.running -= 1;
        let over = stream.is_over();
        self.slots.give(kind);
        let number = self.count();
        if let Some(entry) = self.lanes.get_mut(id) {
            entry.stage = Stage::Waiting;
            if why.is_some() {
                entry.why = why;
            }
        }
        if outcome == Outcome::Done {
            self.successes.push(lane, attempt.number, number);
            self.slots.succeeded();
            let change = self.breaker.succeeded(now.mono, &lane);
            self.changed(change);
            self.fuse.push(lane, false);
            self.finish(id, How::Done);
            self.prove(now);
            return;
        }
        if probe {
            // Whatever else it was, the next probe may come; a failure of the target says below when.
            self.breaker.probe_void();
        }
        let until = match outcome {
            Outcome::Lost { reaped: false } if self.rules.has(Rule::Grace) => {
                deadline + self.settings.timeout_grace
            }
            _ => 0,
        };
        if let Some(entry) = self.lanes.get_mut(id) {
            entry.lost_until = until;
        }
        if skipped {
            // Looked at then, it is finished.
            self.schedule(id, until.max(now.mono));
            return;
        }
        if outcome == Outcome::Aborted || over && !matches!(outcome, Outcome::Hold | Outcome::Reject) {
            self.note_unknown(id);
        }
        match outcome {
            Outcome::Done => {}
            Outcome::Aborted => self.todo.push_back(id),
            Outcome::Reject => {
                let change = self.breaker.answered(now.mono, &lane);
                self.changed(change);
                self.reject(now, id, lane, number, over);
            }
            // While it ends only done and reject are final.
            _ if over => {}
            Outcome::Hold => self.failed(now, id, lane, number, Failed::Hold, probe, 0),
            Outcome::Lost { .. } => {
                self.slots.overloaded(now);
                self.failed(now, id, lane, number, Failed::Overload, probe, until);
            }
            Outcome::Retry { sign, after, pause } => {
                let failed = match sign {
                    Sign::Own => Failed::Own,
                    Sign::Busy | Sign::Unavailable | Sign::Broken => Failed::Overload,
                };
                if matches!(sign, Sign::Busy | Sign::Unavailable) {
                    self.slots.overloaded(now);
                }
                if let Some(pause) = pause {
                    let pause = pause.min(self.settings.retry_after_max);
                    let more = self.random.gen_range(0..=pause / 10);
                    self.paused_until = self.paused_until.max(now.mono + pause + more);
                }
                let until = after.map_or(0, |after| now.mono + after.min(self.settings.retry_after_max));
                self.failed(now, id, lane, number, failed, probe, until);
                if matches!(sign, Sign::Own | Sign::Broken) && after.is_none() {
                    self.ask_for_proof(now, id);
                }
            }
        }
    }

    /// The dead letter was written, or not.
    pub fn letter(&mut self, now: Now, attempt: Attempt, written: bool) {
        let Some(entry) = self.attempted(attempt) else {
            return;
        };
        if !matches!(entry.stage, Stage::Dead(_)) {
            return;
        }
        let (id, skipped) = (attempt.entry, entry.skipped);
        if written {
            self.finish(id, How::Dead);
            return;
        }
        if skipped {
            self.finish(id, How::Skipped);
            return;
        }
        let Some(entry) = self.lanes.get_mut(id) else {
            return;
        };
        entry.stage = Stage::Waiting;
        entry.unwritten = entry.unwritten.saturating_add(1);
        let wait = retry::backoff(&self.settings, entry.unwritten, &mut self.random);
        self.schedule(id, now.mono + wait);
    }

    #[expect(clippy::too_many_arguments, reason = "what is known about one failure")]
    fn failed(
        &mut self,
        now: Now,
        id: EntryId,
        lane: LaneKey,
        number: u64,
        failed: Failed,
        probe: bool,
        not_before: u64,
    ) {
        let failure = Failure {
            number,
            closed: !self.breaker.is_open(),
            others: self.breaker.others_failing(&lane),
            hold: failed == Failed::Hold,
            open_ms: self.breaker.open_ms(now.mono),
        };
        let waits = (self.settings.backoff_first, self.settings.backoff_longest);
        let change = self
            .breaker
            .failed(self.rules, now.mono, lane, failed, probe, waits);
        if change == Change::Opened {
            self.proof = (0, 0);
            self.opened_by = self.lanes.get(id).and_then(|entry| entry.why.clone());
        }
        self.changed(change);
        let Some(entry) = self.lanes.get_mut(id) else {
            return;
        };
        entry
            .tries
            .failed(self.rules, now, &lane, &self.successes, failure);
        let wait = retry::backoff(&self.settings, entry.tries.tries, &mut self.random);
        self.hold(now, id, (now.mono + wait).max(not_before));
        self.thin(&lane, id);
    }

    /// The handler refused a record.
    fn reject(&mut self, now: Now, id: EntryId, lane: LaneKey, number: u64, over: bool) {
        if self.fuse.push(lane, true) {
            self.actions.push(Action::FuseBlown);
        }
        let failure = Failure {
            number,
            closed: !self.breaker.is_open(),
            others: false,
            hold: true,
            open_ms: self.breaker.open_ms(now.mono),
        };
        let Some(entry) = self.lanes.get_mut(id) else {
            return;
        };
        let blown = self.fuse.is_blown();
        if blown && over {
            return;
        }
        entry
            .tries
            .failed(self.rules, now, &lane, &self.successes, failure);
        if blown {
            // Tried again now and then: a better deploy may take it.
            self.hold(now, id, now.mono + self.settings.backoff_longest);
            self.thin(&lane, id);
            return;
        }
        self.hold(now, id, now.mono);
        self.bury(now, id, Reason::Rejected);
    }

    /// A handler had it and may have done it: whoever delivers it next says so. No attempt is spent.
    fn note_unknown(&mut self, id: EntryId) {
        let Some(entry) = self.lanes.get(id).filter(|_| self.rules.has(Rule::Maybe)) else {
            return;
        };
        if let Some(stream) = self.streams.get_mut(&entry.claim) {
            stream.track.suspect_below(entry.offset + 1);
        }
    }

    /// It waits until then, also in the report.
    fn hold(&mut self, now: Now, id: EntryId, due: u64) {
        let Some(entry) = self.lanes.get(id) else { return };
        let wait = i64::try_from(due.saturating_sub(now.mono)).unwrap_or(i64::MAX);
        let held = entry.tries.held(now.unix.saturating_add(wait));
        if let Some(stream) = self.streams.get_mut(&entry.claim) {
            stream.track.hold(entry.offset, held);
        }
        self.note_stall(id);
        self.schedule(id, due);
    }

    pub(super) fn schedule(&mut self, id: EntryId, due: u64) {
        self.unschedule(id);
        let Some(entry) = self.lanes.get_mut(id) else {
            return;
        };
        entry.due = due;
        entry.timed = true;
        self.due.insert((due, id));
    }
}
