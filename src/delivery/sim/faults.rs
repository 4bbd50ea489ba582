//! Faults, and what handlers do.

use rand::Rng;

use super::log::{Rec, Truth};
use super::scenario::{MENDED, SESSION, within};
use super::world::{Event, World, say};
use crate::delivery::Outcome;
use crate::progress::Progress;

impl World {
    pub(super) fn crash(&mut self) {
        let process = self.random.gen_range(0..self.processes.len());
        if self.processes[process].core.is_none() {
            return;
        }
        say!(self, "CRASH of {process}");
        self.abandon(process);
        for home in 0..self.homes.len() {
            if self.homes[home].owner == Some(process) {
                self.homes[home].owner = None;
                self.homes[home].draining = None;
                let now = self.now;
                for log in self.homes[home].logs.clone() {
                    let token = self.logs[log].token;
                    self.logs[log].ended.insert(token, now);
                    self.logs[log].abrupt = true;
                }
                self.after(SESSION, Event::Grant(home));
            }
        }
        // Half of what it had sent is lost with it.
        if self.roll(500) {
            self.events
                .retain(|_, event| !matches!(event, Event::Report { process: p, .. } if *p == process));
        }
    }

    pub(super) fn hand_over(&mut self) {
        let home = self.random.gen_range(0..self.homes.len());
        if let Some(process) = self.homes[home].owner
            && self.homes[home].draining.is_none()
        {
            self.homes[home].draining = Some(self.now);
            say!(self, "home {home} is handed over");
            self.drain(process, home);
            self.after(3_000, Event::Drained(home, self.now));
        }
    }

    pub(super) fn skip(&mut self) {
        let log = self.random.gen_range(0..self.logs.len());
        let this = &self.logs[log];
        let (Some(next), Some(process)) = (this.progress.next, self.homes[this.home].owner) else {
            return;
        };
        let open: Vec<i64> = (next..this.end())
            .filter(|at| this.rec(*at).data && !this.progress.is_finished(*at))
            .take(20)
            .collect();
        if open.is_empty() {
            return;
        }
        let offset = open[self.random.gen_range(0..open.len())];
        say!(self, "the operator skips {log}/{offset}");
        let now = self.now;
        let this = &mut self.logs[log];
        this.rec_mut(offset).skipped = true;
        this.rec_mut(offset).ended.get_or_insert(now);
        this.progress.finish(offset);
        self.skip_in(process, log, offset);
    }

    pub(super) fn reset(&mut self) {
        let log = self.random.gen_range(0..self.logs.len());
        let home = self.logs[log].home;
        let this = &mut self.logs[log];
        let (Some(next), Some(process)) = (this.progress.next, self.homes[home].owner) else {
            return;
        };
        if this.reset.is_some() || next <= this.start + 5 || self.homes[home].draining.is_some() {
            return;
        }
        let target = self.random.gen_range(this.start..next);
        this.reset = Some((self.now, target));
        this.progress = Progress::at(target, -1);
        this.token += 1;
        this.abrupt = true;
        this.known.clear();
        for rec in this.recs.iter_mut().skip(usize::try_from(target).unwrap()) {
            rec.done = None;
            rec.skipped = false;
            rec.begun = false;
        }
        say!(self, "reset of {log} to {target}");
        self.reset_in(process, log);
    }

    pub(super) fn compact(&mut self) {
        let log = self.random.gen_range(0..self.logs.len());
        let this = &mut self.logs[log];
        if this.recs.len() < 6 {
            return;
        }
        let at = self.random.gen_range(0..this.recs.len());
        let key = this.recs[at].key;
        if key.is_some() && this.recs[at + 1..].iter().any(|rec| rec.key == key && rec.data) {
            this.recs[at].gone = true;
            say!(self, "compacted {log}/{at}");
        }
    }

    pub(super) fn replay(&mut self) {
        if self.letters.is_empty() {
            return;
        }
        let (from, offset) = self.letters[self.random.gen_range(0..self.letters.len())];
        let home = self.logs[from].home;
        let log = self.homes[home].logs[1];
        let old = self.logs[from].rec(offset).clone();
        if old.truth == Truth::Garbage {
            return;
        }
        let truth = if self.roll(700) { Truth::Good } else { old.truth };
        let mut rec = Rec::new(old.key, old.id, truth, self.now);
        let (from, offset, replays) = old.replay.unwrap_or((from, offset, 0));
        rec.replay = Some((from, offset, replays + 1));
        self.append(log, rec);
    }

    pub(super) fn pause(&mut self) {
        let all = 0..self.homes.len();
        let some = self.random.gen_range(all.clone());
        for home in if self.faults() { some..some + 1 } else { all } {
            if let Some(process) = self.homes[home].owner {
                let paused = self.faults() && self.roll(500);
                self.pause_in(process, home, paused);
            }
        }
    }

    pub(super) fn retain(&mut self) {
        let now = self.now;
        for at in 0..self.logs.len() {
            let this = &mut self.logs[at];
            while this.start < this.end() && this.rec(this.start).at + self.c.retention < now {
                this.start += 1;
            }
        }
        self.after(100, Event::Retention);
    }

    /// What a handler does with this record, started now: the outcome its owner gets, after how long, and the
    /// handler's own end with an effect, if it has one.
    pub(super) fn handle(&mut self, log: usize, offset: i64) -> (Outcome, u64, Option<u64>, bool) {
        use super::scenario::{GRACE, TIMEOUT};
        use crate::delivery::Sign;
        let rec = self.logs[log].rec(offset);
        let (truth, key) = (rec.truth, rec.key.unwrap_or(7));
        let quick = self.random.gen_range(10..=50);
        let broken = Outcome::Retry {
            sign: Sign::Broken,
            after: None,
            pause: None,
        };
        let lost = Outcome::Lost {
            reaped: self.c.worker,
        };
        let outage = within(&self.c.outages, self.now);
        if outage || key % 3 == 0 && within(&self.c.partial, self.now) {
            return match self.random.gen_range(0..4) {
                0 if outage => (Outcome::Hold, 10, None, true),
                0 | 1 => (broken, 10, None, outage),
                2 => (lost, TIMEOUT, None, outage),
                _ => {
                    let unavailable = Outcome::Retry {
                        sign: Sign::Unavailable,
                        after: None,
                        pause: Some(100),
                    };
                    (unavailable, 10, None, outage)
                }
            };
        }
        if within(&self.c.deploys, self.now) {
            return (Outcome::Reject, quick, None, true);
        }
        let mended = self.now > MENDED && !self.c.hopeless;
        match truth {
            Truth::Poison | Truth::Hang if mended => (Outcome::Done, quick, Some(quick), false),
            Truth::Poison => (broken, quick, None, false),
            Truth::Reject | Truth::Garbage => (Outcome::Reject, quick, None, false),
            Truth::Hang => (lost, TIMEOUT, None, false),
            Truth::Good if self.faults() && self.roll(self.c.transient) => (broken, quick, None, false),
            Truth::Good if self.faults() && self.roll(self.c.slow) => {
                let late = (!self.c.worker).then(|| TIMEOUT + self.random.gen_range(1..GRACE));
                (lost, TIMEOUT, late, false)
            }
            Truth::Good => (Outcome::Done, quick, Some(quick), false),
        }
    }
}
