//! Attempts and dead letters of a process, and what must hold for each.

use rand::Rng;

use super::log::Truth;
use super::process::Body;
use super::scenario::{REPORT, RETRIES, UNPROVEN, within};
use super::world::{Event, Inner, Running, World, say};
use crate::delivery::{Attempt, Letter, Now, Outcome, Reason, Start};

impl World {
    pub(super) fn started(&mut self, process: usize, start: &Start<Body>) {
        let (log, offset) = start.body;
        let Some(held) = self.processes[process].claims.get(&start.claim) else {
            return;
        };
        let (token, life) = (held.token, self.processes[process].life);
        self.starts += 1;
        let (outcome, wait, effect, outage) = self.handle(log, offset);
        say!(
            self,
            "{process} starts {log}/{offset} attempt {} under {token}: {outcome:?} in {wait}",
            start.tries
        );
        let now = self.now;
        let begun = &mut self.logs[log].rec_mut(offset).begun;
        if outcome != Outcome::Hold && std::mem::replace(begun, true) && !start.redelivered {
            self.bad(format!("P12 {log}/{offset} comes again and does not say so"));
        }
        let this = &self.logs[log];
        let (home, key) = (this.home, this.rec(offset).key);
        if let Some(key) = key
            && let Some(other) = self.running.iter().find(|run| {
                run.process == (process, life) && run.home == home && run.key == key && run.until > now
            })
        {
            let what = format!("P2b {log}/{offset} starts while {:?} of key {key} runs", other.at);
            self.bad(what);
        }
        let this = &self.logs[log];
        if this.token == token && this.progress.is_finished(offset) && !this.rec(offset).skipped {
            self.bad(format!(
                "P6 {log}/{offset} starts though the group knows that it is finished"
            ));
        }
        let this = &self.logs[log];
        if let Some((done, by)) = this.rec(offset).done {
            let kept = this
                .ended
                .get(&by)
                .is_some_and(|ended| done + REPORT + 1_300 < *ended);
            if by == token || kept && this.reset.is_none_or(|(when, _)| done > when) {
                self.bad(format!(
                    "P6 {log}/{offset} is repeated, done at {done} under {by}"
                ));
            }
        }
        let this = &self.logs[log];
        if this.token == token && this.known.get(&offset).is_some_and(|known| start.tries <= *known) {
            self.bad(format!("P8 {log}/{offset} starts attempt {} again", start.tries));
        }
        if self.c.dedup && self.logs[log].token == token {
            self.check_duplicate(log, offset);
        }
        let until = now + effect.unwrap_or(wait).max(wait);
        self.running.push(Running {
            process: (process, life),
            home,
            key: key.unwrap_or(u32::MAX - u32::try_from(offset).unwrap()),
            attempt: start.attempt,
            at: (log, offset),
            until,
        });
        if let (Some(effect), true) = (effect, outcome != Outcome::Done) {
            self.after(effect, Event::Effect(log, offset));
        }
        let rec = self.logs[log].rec_mut(offset);
        if outcome != Outcome::Done {
            rec.first_failed.get_or_insert(now);
            if outage {
                rec.failed_in_outage += 1;
            } else {
                rec.failed_itself += 1;
            }
        }
        self.send(
            process,
            wait,
            Inner::Handled(start.attempt, outcome, (log, offset)),
        );
    }

    /// An event that the group knows as finished is not delivered under another offset.
    pub(super) fn check_duplicate(&mut self, log: usize, offset: i64) {
        let this = &self.logs[log];
        let rec = this.rec(offset);
        let twin = (0..offset).find(|at| {
            let other = this.rec(*at);
            let lasting = !other.gone && *at >= this.start && this.reset.is_none();
            lasting
                && other.id == rec.id
                && other.replay == rec.replay
                && other.data
                && this.progress.is_finished(*at)
                && (other.done.is_some() || other.lettered)
        });
        if let Some(twin) = twin {
            self.bad(format!(
                "P9 {log}/{offset} is delivered though its event is finished at {twin}"
            ));
        }
        let this = &self.logs[log];
        let rec = this.rec(offset);
        let below = (0..offset).find(|at| {
            let other = this.rec(*at);
            other.id == rec.id
                && other.replay == rec.replay
                && other.data
                && other.truth != Truth::Garbage
                && !other.has_reason()
                && other.ended.is_none()
                && *at >= this.start
                && !this.progress.is_finished(*at)
                && !this.is_duplicate(*at)
        });
        if let Some(below) = below {
            self.bad(format!(
                "P9 {log}/{offset} is delivered before {below} with its id is finished"
            ));
        }
    }

    pub(super) fn handled(
        &mut self,
        process: usize,
        now: Now,
        attempt: Attempt,
        outcome: Outcome,
        (log, offset): (usize, i64),
    ) {
        let life = self.processes[process].life;
        let this = (process, life);
        let known = self
            .running
            .iter()
            .any(|run| run.process == this && run.attempt == attempt);
        // Aborted meanwhile: the owner is told that, and nothing else.
        if !known && outcome != Outcome::Aborted {
            return;
        }
        self.running.retain(|run| {
            run.process != this
                || run.attempt != attempt
                || run.until > now.mono && outcome != Outcome::Aborted
        });
        if outcome == Outcome::Done {
            self.effect(log, offset);
            let claims = &self.processes[process].claims;
            let token = claims
                .values()
                .find(|held| held.log == log)
                .map_or(0, |held| held.token);
            let this = &mut self.logs[log];
            if token == this.token {
                this.rec_mut(offset).done = Some((now.mono, token));
            }
            if let Some(key) = this.rec(offset).key {
                this.dead_keys.remove(&key);
            }
        }
        self.core(process).outcome(now, attempt, outcome, None);
    }

    pub(super) fn write(&mut self, process: usize, letter: &Letter<Body>) {
        let Some(log) = self.processes[process]
            .claims
            .get(&letter.claim)
            .map(|held| held.log)
        else {
            return;
        };
        let offset = letter.offsets.start;
        say!(
            self,
            "{process} writes a dead letter for {log}/{offset}: {:?}",
            letter.reason
        );
        let down = within(&self.c.letters_down, self.now);
        let written = !(down || self.faults() && self.c.retention == 0 && self.roll(200));
        // Written, and the acknowledgement lost.
        let there = written || !down && self.roll(500);
        let slow = if self.c.retention > 0 { 3 } else { 1 };
        let wait = self.random.gen_range(10..=60) * slow;
        self.check_letter(log, offset, letter);
        if there {
            self.after(wait, Event::Letter(log, offset));
        }
        let wait = wait + if written { 1 } else { 100 };
        self.send(process, wait, Inner::Lettered(letter.attempt, written));
    }

    pub(super) fn check_letter(&mut self, log: usize, offset: i64, letter: &Letter<Body>) {
        let this = &self.logs[log];
        let rec = this.rec(offset).clone();
        match letter.reason {
            Reason::Exhausted => {
                let outage_only =
                    rec.failed_in_outage > 0 && rec.failed_itself == 0 && rec.truth == Truth::Good;
                let patient = rec.first_failed.is_none_or(|first| self.now < first + UNPROVEN);
                let follows = rec.key.is_some_and(|key| this.dead_keys.contains(&key));
                if outage_only && patient && !follows {
                    self.bad(format!(
                        "P7 {log}/{offset} goes to the dead letters for an outage"
                    ));
                }
                let held = rec
                    .first_failed
                    .is_some_and(|first| self.now + 1_000 < first + self.c.hold_for);
                if held && !follows && self.c.scenario == "patient" {
                    self.bad(format!(
                        "P11 {log}/{offset} is given up before --hold-for is over"
                    ));
                }
                if letter.tries < RETRIES && !follows {
                    self.bad(format!(
                        "P7 {log}/{offset} is given up after {} attempts",
                        letter.tries
                    ));
                }
            }
            Reason::Rejected => {
                if rec.truth != Truth::Reject {
                    self.deploy_letters.insert((log, offset));
                }
                // Half of the fuse's window, and what was on its way; after an operator's word a fifth of it.
                if self.deploy_letters.len() > 65 + 28 * self.resumed {
                    self.bad(format!(
                        "P10 a bad deploy makes {} dead letters",
                        self.deploy_letters.len()
                    ));
                }
            }
            Reason::Undecodable if rec.truth != Truth::Garbage => {
                self.bad(format!("P1 {log}/{offset} could be decoded"));
            }
            _ => {}
        }
        if let Some(key) = rec.key {
            self.logs[log].dead_keys.insert(key);
        }
    }
}
