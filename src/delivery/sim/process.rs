//! A process with its core: a pipeline without IO, which does what the core says.

use std::collections::BTreeMap;

use rand::Rng;

use super::log::Truth;
use super::scenario::{BODY, DRAIN, LETTERS, REPORT};
use super::world::{Event, Inner, Running, UNIX, World, say};
use crate::delivery::core::{Batch, Core, Grant};
use crate::delivery::dedup::EventId;
use crate::delivery::{Action, Claim, Fetched, Now, Outcome, Reloaded};
use crate::progress::Progress;

/// The body of a record: which one it is.
pub(super) type Body = (usize, i64);

#[derive(Default)]
pub(super) struct Process {
    pub(super) core: Option<Core<Body>>,
    pub(super) life: u64,
    skew: i64,
    pub(super) claims: BTreeMap<Claim, Held>,
    /// A report is in flight.
    reporting: bool,
    wake: u64,
    /// Last progress of what ended.
    ended: Vec<(usize, u64, Progress)>,
    /// Homes of which all has ended, to be released.
    releases: Vec<usize>,
}

pub(super) struct Held {
    pub(super) log: usize,
    pub(super) token: u64,
    /// Fetches of another turn are of the past.
    turn: u64,
    from: i64,
    fetching: bool,
    /// Nothing is there to be fetched.
    idle: bool,
}

impl World {
    fn clock(&self, process: usize) -> Now {
        Now {
            mono: self.now,
            unix: UNIX + i64::try_from(self.now).unwrap() + self.processes[process].skew,
        }
    }

    fn claim_of(&self, process: usize, log: usize) -> Option<Claim> {
        let token = self.logs[log].token;
        let held = self.processes[process].claims.iter();
        held.filter(|(_, held)| held.log == log && held.token == token)
            .map(|(claim, _)| *claim)
            .next()
    }

    pub(super) fn send(&mut self, process: usize, wait: u64, inner: Inner) {
        let life = self.processes[process].life;
        self.after(wait, Event::To(process, life, inner));
    }

    /// Begins to live, if it does not.
    pub(super) fn wake_process(&mut self, process: usize) {
        if self.processes[process].core.is_some() {
            return;
        }
        let skew = if self.c.skew > 0 {
            self.random.gen_range(-self.c.skew..=self.c.skew)
        } else {
            0
        };
        let seed = self.random.r#gen();
        let settings = self.c.settings();
        let life = self.processes[process].life + 1;
        self.processes[process] = Process {
            core: Some(Core::new(settings, self.rules, seed)),
            life,
            skew,
            ..Process::default()
        };
        self.send(process, REPORT, Inner::Report);
    }

    /// It dies.
    pub(super) fn abandon(&mut self, process: usize) {
        let life = self.processes[process].life;
        let gone: Vec<Running> = self
            .running
            .extract_if(.., |run| run.process == (process, life))
            .collect();
        for run in gone {
            // An HTTP handler goes on without its owner.
            if !self.c.worker && self.logs[run.at.0].rec(run.at.1).truth == Truth::Good && self.roll(300) {
                self.at(run.until, Event::Effect(run.at.0, run.at.1));
            }
        }
        self.processes[process] = Process {
            life: life + 1,
            ..Process::default()
        };
    }

    pub(super) fn grant_log(&mut self, process: usize, log: usize) {
        let now = self.clock(process);
        let this = &mut self.logs[log];
        this.token += 1;
        let (token, progress) = (this.token, this.progress.clone());
        say!(self, "grant of {log} to {process} under {token}: {progress:?}");
        let this = &mut self.logs[log];
        this.told = false;
        this.known = progress
            .held
            .iter()
            .map(|(offset, held)| (*offset, held.tries))
            .collect();
        let first = self.homes[this.home].logs[0];
        let grant = Grant {
            taken_over: self.logs[log].abrupt,
            beside: (first != log).then(|| Self::partition(first)),
            retention: (self.c.retention > 0).then_some(self.c.retention),
        };
        let Some(core) = &mut self.processes[process].core else {
            return;
        };
        let claim = core.grant(now, Self::partition(log), token, progress, grant);
        let held = Held {
            log,
            token,
            turn: 0,
            from: 0,
            fetching: false,
            idle: false,
        };
        self.processes[process].claims.insert(claim, held);
    }

    pub(super) fn to(&mut self, process: usize, life: u64, inner: Inner) {
        if self.processes[process].life != life || self.processes[process].core.is_none() {
            return;
        }
        let now = self.clock(process);
        match inner {
            Inner::Wake => self.processes[process].wake = 0,
            Inner::Report => self.send_report(process),
            Inner::Fetched { claim, turn } => self.fetch(process, claim, turn),
            Inner::Handled(attempt, outcome, at) => self.handled(process, now, attempt, outcome, at),
            Inner::Lettered(attempt, written) => self.core(process).letter(now, attempt, written),
            Inner::Reloaded(claim, offset) => self.reload(process, claim, offset),
            Inner::ReadBack(claim, to) => self.read_back(process, claim, to),
            Inner::Cancel(home) => {
                if self.homes[home].draining.is_some() && self.homes[home].owner == Some(process) {
                    let until = self.now + LETTERS;
                    for log in self.homes[home].logs.clone() {
                        if let Some(claim) = self.claim_of(process, log) {
                            self.core(process).cancel(claim, until);
                        }
                    }
                }
            }
            Inner::Resume => {
                self.resumed += 1;
                self.core(process).resume();
            }
        }
        self.poll(process);
    }

    pub(super) fn core(&mut self, process: usize) -> &mut Core<Body> {
        self.processes[process].core.as_mut().unwrap()
    }

    pub(super) fn poll(&mut self, process: usize) {
        let now = self.clock(process);
        if self.processes[process].core.is_none() {
            return;
        }
        self.core(process).poll(now, true);
        for action in self.core(process).take_actions() {
            self.act(process, action);
        }
        let core = self.core(process);
        let used = core.buffered();
        let wake = core.next_wake(now);
        let unit = u64::from(BODY + Core::<Body>::OVERHEAD);
        let most = self.c.buffer + self.c.buffer / 8 + 3;
        if used > most * unit {
            self.bad(format!(
                "P4 {} bodies in memory, {} allowed",
                used / unit,
                self.c.buffer
            ));
        }
        if self.core(process).unfinished() > self.c.bound * self.logs.len() {
            self.bad("P4 more unfinished records than allowed".into());
        }
        if let Some(wake) = wake {
            let wake = wake.max(self.now + 1);
            let known = self.processes[process].wake;
            if known == 0 || wake < known {
                self.processes[process].wake = wake;
                self.send(process, wake - self.now, Inner::Wake);
            }
        }
    }

    fn act(&mut self, process: usize, action: Action<Body>) {
        match action {
            Action::Fetch { claim, from } => {
                let Some(held) = self.processes[process].claims.get_mut(&claim) else {
                    return;
                };
                held.turn += 1;
                (held.from, held.fetching, held.idle) = (from, true, false);
                let turn = held.turn;
                let wait = self.random.gen_range(1..=20);
                self.send(process, wait, Inner::Fetched { claim, turn });
            }
            Action::Pause { claim } => {
                if let Some(held) = self.processes[process].claims.get_mut(&claim) {
                    held.turn += 1;
                    held.fetching = false;
                }
            }
            Action::Reload { claim, offset } => {
                say!(self, "{process} fetches {offset} of {claim:?} again");
                let wait = self.random.gen_range(10..=30);
                self.send(process, wait, Inner::Reloaded(claim, offset));
            }
            Action::FetchAgain { claim, .. } => {
                if let Some(held) = self.processes[process].claims.get(&claim) {
                    let turn = held.turn;
                    self.send(process, 20, Inner::Fetched { claim, turn });
                }
            }
            Action::ReadBack { claim, to } => self.send(process, 20, Inner::ReadBack(claim, to)),
            Action::Start(start) => self.started(process, &start),
            Action::Abort(attempt) => {
                let life = self.processes[process].life;
                let runs = |run: &mut Running| run.process == (process, life) && run.attempt == attempt;
                let mut at = None;
                for run in self.running.extract_if(.., runs).collect::<Vec<_>>() {
                    at = Some(run.at);
                    if !self.c.worker
                        && self.logs[run.at.0].rec(run.at.1).truth == Truth::Good
                        && self.roll(300)
                    {
                        self.at(run.until, Event::Effect(run.at.0, run.at.1));
                    }
                }
                let wait = self.random.gen_range(1..=20);
                if let Some(at) = at {
                    self.send(process, wait, Inner::Handled(attempt, Outcome::Aborted, at));
                }
            }
            Action::DeadLetter(letter) => self.write(process, &letter),
            Action::Gap { claim, offsets } => {
                let Some(log) = self.processes[process].claims.get(&claim).map(|held| held.log) else {
                    return;
                };
                for offset in offsets {
                    say!(self, "gap at {log}/{offset}");
                    let now = self.now;
                    let (start, rec) = (self.logs[log].start, self.logs[log].rec_mut(offset));
                    rec.lost = true;
                    rec.ended.get_or_insert(now);
                    if offset >= start {
                        self.bad(format!("P1 {log}/{offset} is called lost and is not"));
                    } else if self.c.scenario == "retention" {
                        self.bad(format!(
                            "P1 retention took {log}/{offset} before it went to the dead letters"
                        ));
                    }
                }
            }
            Action::Breaker { open } => {
                say!(self, "breaker of {process} open: {open}");
                self.opened += u32::from(open);
                if open && self.c.quiet {
                    self.bad("P7 the breaker opened for poison keys".into());
                }
            }
            Action::FuseBlown => {
                say!(self, "fuse of {process} blown");
                self.send(process, 3_000, Inner::Resume);
            }
            Action::Ended { claim, progress } => self.ended(process, claim, progress),
        }
    }

    fn ended(&mut self, process: usize, claim: Claim, progress: Progress) {
        let Some(held) = self.processes[process].claims.remove(&claim) else {
            return;
        };
        let log = held.log;
        let life = self.processes[process].life;
        self.running
            .retain(|run| run.process != (process, life) || run.at.0 != log);
        say!(self, "ended: {log} under {}", held.token);
        let now = self.now;
        self.logs[log].ended.insert(held.token, now);
        let home = self.logs[log].home;
        if held.token != self.logs[log].token {
            // A reset: its new token.
            if self.homes[home].draining.is_none() && self.homes[home].owner == Some(process) {
                self.grant_log(process, log);
                for action in self.core(process).take_actions() {
                    self.act(process, action);
                }
            } else {
                self.release(process, home);
            }
            return;
        }
        self.processes[process].ended.push((log, held.token, progress));
        self.release(process, home);
    }

    fn release(&mut self, process: usize, home: usize) {
        let logs = &self.logs;
        if self.processes[process]
            .claims
            .values()
            .all(|held| logs[held.log].home != home)
        {
            self.processes[process].releases.push(home);
            self.try_release(process);
        }
    }

    /// A release waits until the report in flight was read back.
    fn try_release(&mut self, process: usize) {
        if self.processes[process].reporting {
            return;
        }
        let Some(home) = self.processes[process].releases.pop() else {
            return;
        };
        let entries = std::mem::take(&mut self.processes[process].ended);
        self.send_entries(process, entries, Some(home));
    }

    fn send_entries(
        &mut self,
        process: usize,
        entries: Vec<(usize, u64, Progress)>,
        released: Option<usize>,
    ) {
        let slow = self.faults() && self.roll(self.c.slow_report);
        let wait = self.random.gen_range(10..=if slow { 600 } else { 30 });
        self.processes[process].reporting = true;
        let life = self.processes[process].life;
        self.after(
            wait,
            Event::Report {
                process,
                life,
                entries,
                released,
            },
        );
    }

    fn send_report(&mut self, process: usize) {
        self.send(process, REPORT, Inner::Report);
        if self.processes[process].reporting {
            return;
        }
        let changed = self.core(process).take_changed();
        let of = |(claim, progress): (Claim, Progress)| {
            let held = self.processes[process].claims.get(&claim)?;
            Some((held.log, held.token, progress))
        };
        let mut entries: Vec<_> = changed.into_iter().filter_map(of).collect();
        entries.append(&mut self.processes[process].ended);
        if !entries.is_empty() {
            self.send_entries(process, entries, None);
        }
    }

    pub(super) fn read_back_report(&mut self, process: usize, life: u64, entries: &[(usize, u64, Progress)]) {
        if self.processes[process].life != life || self.processes[process].core.is_none() {
            return;
        }
        self.processes[process].reporting = false;
        for (log, _, _) in entries {
            if let Some(claim) = self.claim_of(process, *log) {
                let progress = self.logs[*log].progress.clone();
                self.core(process).reported(claim, &progress);
            }
        }
        self.try_release(process);
        self.poll(process);
    }

    pub(super) fn produced_to(&mut self, process: usize, log: usize) {
        let held = self.processes[process].claims.iter_mut();
        let idle = held.filter(|(_, held)| held.log == log && held.fetching && held.idle);
        let woken: Vec<_> = idle
            .map(|(claim, held)| {
                held.idle = false;
                (*claim, held.turn)
            })
            .collect();
        for (claim, turn) in woken {
            self.send(process, 5, Inner::Fetched { claim, turn });
        }
    }

    fn fetch(&mut self, process: usize, claim: Claim, turn: u64) {
        let Some(held) = self.processes[process].claims.get_mut(&claim) else {
            return;
        };
        if held.turn != turn || !held.fetching {
            return;
        }
        let (log, from) = (held.log, held.from);
        let this = &self.logs[log];
        if from >= this.end() {
            held.idle = true;
            return;
        }
        if from < this.start {
            let start = this.start;
            self.core(process).lost(claim, start);
            return;
        }
        let most = from + self.random.gen_range(1..=12);
        let this = &self.logs[log];
        let garbage =
            |at: &i64| this.rec(*at).truth == Truth::Garbage && this.rec(*at).data && !this.rec(*at).gone;
        let to = (from..most.min(this.end()))
            .find(garbage)
            .unwrap_or(most.min(this.end()));
        if to == from {
            self.core(process).undecodable(claim, from..from + 1);
            return;
        }
        let records: Vec<Fetched<Body>> = (from..to)
            .filter(|at| this.rec(*at).data && !this.rec(*at).gone)
            .map(|offset| {
                let rec = this.rec(offset);
                Fetched {
                    offset,
                    key: rec.key.map(u64::from),
                    id: Some(Self::event_id(rec.id, rec.replay)),
                    timestamp: UNIX + i64::try_from(rec.at).unwrap(),
                    size: BODY,
                    body: (log, offset),
                    refused: None,
                }
            })
            .collect();
        let batch = Batch {
            offsets: from..to,
            log_end: this.end(),
            epoch: 0,
            whole: to % 2 == 0,
        };
        let now = self.clock(process);
        self.core(process).fetched(now, claim, batch, records);
        // Unless the core says otherwise.
        if let Some(held) = self.processes[process].claims.get_mut(&claim) {
            held.from = to;
        }
        self.send(process, 5, Inner::Fetched { claim, turn });
    }

    fn event_id(id: u32, replay: Option<(usize, i64, u32)>) -> EventId {
        match replay {
            None => EventId::event(b"s", &id.to_be_bytes()),
            Some((log, offset, replays)) => EventId::replay(format!("{log}/{offset}").as_bytes(), replays),
        }
    }

    fn reload(&mut self, process: usize, claim: Claim, offset: i64) {
        let Some(log) = self.processes[process].claims.get(&claim).map(|held| held.log) else {
            return;
        };
        let reloaded = if offset < self.logs[log].start {
            Reloaded::BelowStart
        } else if self.logs[log].rec(offset).gone {
            Reloaded::Compacted
        } else {
            Reloaded::Body((log, offset), BODY)
        };
        self.core(process).reloaded(claim, offset, reloaded);
    }

    fn read_back(&mut self, process: usize, claim: Claim, to: i64) {
        let Some(log) = self.processes[process].claims.get(&claim).map(|held| held.log) else {
            return;
        };
        let this = &self.logs[log];
        let there = (this.start..to.min(this.end())).filter(|at| {
            let rec = this.rec(*at);
            rec.data && !rec.gone && rec.truth != Truth::Garbage
        });
        let records: Vec<_> = there
            .map(|at| {
                let rec = this.rec(at);
                (
                    at,
                    Self::event_id(rec.id, rec.replay),
                    UNIX + i64::try_from(rec.at).unwrap(),
                )
            })
            .collect();
        self.core(process).read_back(claim, records);
        self.core(process).read_back_done(claim);
    }

    pub(super) fn drain(&mut self, process: usize, home: usize) {
        for log in self.homes[home].logs.clone() {
            if let Some(claim) = self.claim_of(process, log) {
                self.core(process).drain(claim);
            }
        }
        self.send(process, DRAIN, Inner::Cancel(home));
        self.poll(process);
    }

    pub(super) fn skip_in(&mut self, process: usize, log: usize, offset: i64) {
        if let Some(claim) = self.claim_of(process, log) {
            let now = self.clock(process);
            self.core(process).skip(now, claim, offset);
            self.poll(process);
        }
    }

    pub(super) fn reset_in(&mut self, process: usize, log: usize) {
        let now = self.now;
        let claims = self.processes[process].claims.iter();
        let old: Vec<Claim> = claims
            .filter(|(_, held)| held.log == log)
            .map(|(claim, _)| *claim)
            .collect();
        for claim in old {
            self.core(process).cancel(claim, now);
        }
        self.poll(process);
    }

    pub(super) fn pause_in(&mut self, process: usize, home: usize, paused: bool) {
        for log in self.homes[home].logs.clone() {
            if let Some(claim) = self.claim_of(process, log) {
                self.core(process).pause(claim, paused);
            }
        }
        self.poll(process);
    }
}
