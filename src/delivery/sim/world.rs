//! The world around the cores: time, partitions, the group, faults, and what must always hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::log::{Log, Rec, Truth};
use super::process::Process;
use super::scenario::{Config, END, FAULTS};
use crate::delivery::rules::Rules;
use crate::delivery::{Attempt, Claim, Now, Outcome, PartitionId};
use crate::progress::Progress;

/// What happens at a time.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Produce,
    Trickle,
    /// For a process in this life.
    To(usize, u64, Inner),
    /// A handler's effect that no owner sees.
    Effect(usize, i64),
    /// A dead letter arrives.
    Letter(usize, i64),
    Report {
        process: usize,
        life: u64,
        entries: Vec<(usize, u64, Progress)>,
        released: Option<usize>,
    },
    Grant(usize),
    Crash,
    Move,
    Skip,
    Reset,
    Compact,
    Replay,
    Pause,
    Retention,
    /// A good record is to be finished by now.
    Check(usize, i64),
    Drained(usize, u64),
}

/// For a process.
#[derive(Debug, Clone)]
pub(super) enum Inner {
    Wake,
    Report,
    Fetched { claim: Claim, turn: u64 },
    Handled(Attempt, Outcome, (usize, i64)),
    Lettered(Attempt, bool),
    Reloaded(Claim, i64),
    ReadBack(Claim, i64),
    Cancel(usize),
    Resume,
}

/// A source partition, and the one of its replay topic beside it: owned together.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) logs: Vec<usize>,
    pub(super) owner: Option<usize>,
    pub(super) draining: Option<u64>,
}

/// A handler that runs, wherever.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) process: (usize, u64),
    pub(super) home: usize,
    pub(super) key: u32,
    pub(super) attempt: Attempt,
    pub(super) at: (usize, i64),
    pub(super) until: u64,
}

pub(super) struct World {
    pub(super) c: Config,
    pub(super) rules: Rules,
    pub(super) random: StdRng,
    pub(super) now: u64,
    seq: u64,
    pub(super) events: BTreeMap<(u64, u64), Event>,
    pub(super) logs: Vec<Log>,
    pub(super) homes: Vec<Home>,
    pub(super) processes: Vec<Process>,
    pub(super) running: Vec<Running>,
    pub(super) letters: Vec<(usize, i64)>,
    produced: usize,
    pub(super) trace: Option<Vec<String>>,
    pub(super) broken: Option<String>,
    pub(super) opened: u32,
    pub(super) starts: u64,
    pub(super) deploy_letters: BTreeSet<(usize, i64)>,
    pub(super) resumed: usize,
}

/// For the trace, without building what is not kept.
macro_rules! say {
    ($world:expr, $($arg:tt)*) => {
        if let Some(trace) = &mut $world.trace {
            trace.push(format!("{:>6} {}", $world.now, format!($($arg)*)));
        }
    };
}
pub(super) use say;

pub(super) const UNIX: i64 = 1_700_000_000_000;

impl World {
    pub(super) fn new(c: Config, rules: Rules, seed: u64, trace: bool) -> Self {
        let mut logs = Vec::new();
        let mut homes = Vec::new();
        for home in 0..c.homes {
            let mut own = Vec::new();
            for _ in 0..if c.replays > 0 { 2 } else { 1 } {
                own.push(logs.len());
                logs.push(Log {
                    home,
                    progress: Progress::at(0, -1),
                    ..Log::default()
                });
            }
            homes.push(Home {
                logs: own,
                owner: None,
                draining: None,
            });
        }
        let mut world = Self {
            random: StdRng::seed_from_u64(seed ^ 0x5EED),
            rules,
            now: 0,
            seq: 0,
            events: BTreeMap::new(),
            logs,
            homes,
            processes: (0..2).map(|_| Process::default()).collect(),
            running: Vec::new(),
            letters: Vec::new(),
            produced: 0,
            trace: trace.then(Vec::new),
            broken: None,
            opened: 0,
            starts: 0,
            deploy_letters: BTreeSet::new(),
            resumed: 0,
            c,
        };
        world.at(1, Event::Produce);
        for home in 0..world.homes.len() {
            world.at(1, Event::Grant(home));
        }
        let faults = [
            (world.c.crash, Event::Crash),
            (world.c.moves, Event::Move),
            (world.c.skips, Event::Skip),
            (world.c.resets, Event::Reset),
            (world.c.compact, Event::Compact),
            (world.c.replays, Event::Replay),
            (world.c.pauses, Event::Pause),
        ];
        for (every, event) in faults.into_iter().filter(|(every, _)| *every > 0) {
            let mut time = 0;
            loop {
                time += world.random.gen_range(1..=2 * every);
                if time >= FAULTS {
                    break;
                }
                world.at(time, event.clone());
            }
        }
        world.at(FAULTS, Event::Pause);
        if world.c.retention > 0 {
            world.at(100, Event::Retention);
        }
        world
    }

    pub(super) fn at(&mut self, time: u64, event: Event) {
        self.seq += 1;
        self.events.insert((time.max(self.now), self.seq), event);
    }

    pub(super) fn after(&mut self, wait: u64, event: Event) {
        self.at(self.now + wait, event);
    }

    pub(super) fn faults(&self) -> bool {
        self.now < FAULTS
    }

    pub(super) fn roll(&mut self, thousandths: u32) -> bool {
        self.random.gen_range(0..1000) < thousandths
    }

    pub(super) fn bad(&mut self, what: String) {
        say!(self, "!!! {what}");
        if self.broken.is_none() {
            self.broken = Some(format!("at {}: {what}", self.now));
        }
    }

    /// Runs to the end: what was broken, if anything was.
    pub(super) fn run(&mut self) {
        while self.broken.is_none() {
            let Some(((time, _), event)) = self.events.pop_first() else {
                self.bad("P5 nothing more happens".into());
                break;
            };
            self.now = time;
            if time > END {
                self.bad("P5 no end in sight".into());
                break;
            }
            self.happen(event);
            let over = self.produced >= self.c.records && time > FAULTS;
            if over && self.logs.iter().all(|log| log.progress.next == Some(log.end())) {
                break;
            }
        }
        if let Some(broken) = &mut self.broken
            && broken.contains("P5")
        {
            let waiting: Vec<_> = self
                .processes
                .iter()
                .filter_map(|process| process.core.as_ref())
                .flat_map(|core| {
                    core.waiting(Now {
                        mono: self.now,
                        unix: UNIX,
                    })
                    .take(3)
                    .collect::<Vec<_>>()
                })
                .collect();
            let cores: Vec<_> = self
                .processes
                .iter()
                .map(|process| process.core.as_ref())
                .collect();
            if let Some(trace) = &mut self.trace {
                trace.push(format!("{cores:#?}"));
            }
            let logs: Vec<_> = self.logs.iter().map(|log| (log.end(), &log.progress)).collect();
            broken.push_str(&format!(" {logs:?} homes {:?} waiting {waiting:?}", self.homes));
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Produce => self.produce(),
            Event::Trickle => self.trickle(),
            Event::To(process, life, inner) => self.to(process, life, inner),
            Event::Effect(log, offset) => {
                say!(self, "late effect of {log}/{offset}");
                self.effect(log, offset);
            }
            Event::Letter(log, offset) => {
                say!(self, "dead letter of {log}/{offset} is there");
                self.letters.push((log, offset));
                let now = self.now;
                let rec = self.logs[log].rec_mut(offset);
                rec.lettered = true;
                rec.ended.get_or_insert(now);
            }
            Event::Report {
                process,
                life,
                entries,
                released,
            } => self.report(process, life, entries, released),
            Event::Grant(home) => self.grant(home),
            Event::Crash => self.crash(),
            Event::Move => self.hand_over(),
            Event::Skip => self.skip(),
            Event::Reset => self.reset(),
            Event::Compact => self.compact(),
            Event::Replay => self.replay(),
            Event::Pause => self.pause(),
            Event::Retention => self.retain(),
            Event::Check(log, offset) => {
                let rec = self.logs[log].rec(offset);
                if rec.ended.is_none() && !rec.gone {
                    self.bad(format!(
                        "P3 good record {log}/{offset} of key {:?} still waits",
                        rec.key
                    ));
                }
            }
            Event::Drained(home, since) => {
                if self.homes[home].draining == Some(since) {
                    self.bad(format!("P5 home {home} drains since {since}"));
                }
            }
        }
    }

    fn truth(&mut self, key: u32) -> Truth {
        if key < self.c.poison_keys {
            Truth::Poison
        } else if key < self.c.hang_keys {
            Truth::Hang
        } else if self.roll(self.c.poison) {
            Truth::Poison
        } else if self.roll(self.c.reject) {
            Truth::Reject
        } else if self.roll(self.c.garbage) {
            Truth::Garbage
        } else {
            Truth::Good
        }
    }

    fn produce(&mut self) {
        let home = self.random.gen_range(0..self.homes.len());
        let log = self.homes[home].logs[0];
        let key = self.random.gen_range(0..self.c.keys);
        let truth = self.truth(key);
        let id = u32::try_from(self.produced).unwrap();
        let bad_key = key < self.c.poison_keys.max(self.c.hang_keys);
        let keyless = !bad_key && self.roll(self.c.keyless);
        let mut rec = Rec::new((!keyless).then_some(key), id, truth, self.now);
        rec.data = !self.roll(40);
        let end = self.logs[log].end();
        if self.c.dedup && end > 0 && self.roll(self.c.duplicate) {
            let other = self.logs[log]
                .rec(end - 1 - self.random.gen_range(0..end.min(20)))
                .clone();
            if other.data && other.truth != Truth::Garbage {
                rec.id = other.id;
                if self.roll(600) {
                    (rec.key, rec.truth) = (other.key, other.truth);
                }
            }
        }
        if self.c.within > 0 && rec.data && truth == Truth::Good && !bad_key {
            self.after(self.c.within, Event::Check(log, end));
        }
        self.append(log, rec);
        self.produced += 1;
        if self.produced < self.c.backlog {
            self.after(0, Event::Produce);
        } else if self.produced < self.c.records {
            let gap = self.random.gen_range(1..=self.c.gap);
            self.after(gap, Event::Produce);
        } else if !self.c.silent {
            self.at(FAULTS, Event::Trickle);
        }
    }

    /// Good records of new keys, now and then: without any traffic an open breaker may stay open.
    fn trickle(&mut self) {
        let id = u32::try_from(self.produced).unwrap();
        self.produced += 1;
        let log = self.homes[0].logs[0];
        self.append(log, Rec::new(Some(1_000 + id), id, Truth::Good, self.now));
        self.after(1_500, Event::Trickle);
    }

    pub(super) fn append(&mut self, log: usize, rec: Rec) {
        say!(
            self,
            "append {log}/{} {:?} id {} {:?}",
            self.logs[log].end(),
            rec.key,
            rec.id,
            rec.truth
        );
        self.logs[log].recs.push(rec);
        for process in 0..self.processes.len() {
            self.produced_to(process, log);
        }
    }

    /// The handler has done it, whoever knows that.
    pub(super) fn effect(&mut self, log: usize, offset: i64) {
        let now = self.now;
        let this = &mut self.logs[log];
        let key = this.rec(offset).key;
        let first = this.rec(offset).succeeded.is_none();
        this.rec_mut(offset).succeeded.get_or_insert(now);
        let ended = this.rec(offset).ended.is_some();
        this.rec_mut(offset).ended.get_or_insert(now);
        if !first || ended || key.is_none() || self.c.garbage > 0 {
            return;
        }
        let before = (this.start..offset).find(|at| {
            let rec = this.rec(*at);
            rec.key == key
                && rec.ended.is_none()
                && !rec.has_reason()
                && !(self.c.dedup && this.is_duplicate(*at))
        });
        if let Some(before) = before {
            self.bad(format!(
                "P2 {log}/{offset} succeeded before {log}/{before} of its key was finished"
            ));
        }
    }

    fn report(
        &mut self,
        process: usize,
        life: u64,
        entries: Vec<(usize, u64, Progress)>,
        released: Option<usize>,
    ) {
        for (log, token, progress) in &entries {
            if self.logs[*log].token == *token {
                self.merge(*log, progress);
            } else {
                say!(self, "a void report of {log} under token {token}");
            }
        }
        if let Some(home) = released {
            self.homes[home].owner = None;
            self.homes[home].draining = None;
            for log in self.homes[home].logs.clone() {
                self.logs[log].abrupt &= !self.logs[log].told;
            }
            say!(self, "home {home} is free");
            self.after(30, Event::Grant(home));
        }
        self.read_back_report(process, life, &entries);
    }

    fn merge(&mut self, log: usize, progress: &Progress) {
        let this = &mut self.logs[log];
        let before = this.progress.clone();
        this.progress.merge(progress);
        let after = this.progress.clone();
        this.told |= after != before;
        say!(self, "report {log}: {after:?}");
        let end = self.logs[log].end();
        for offset in before.next.unwrap()..end {
            let this = &self.logs[log];
            if !after.is_finished(offset) || before.is_finished(offset) || this.rec(offset).has_reason() {
                continue;
            }
            if self.c.dedup && this.is_duplicate(offset) {
                let now = self.now;
                self.logs[log].rec_mut(offset).ended.get_or_insert(now);
            } else {
                self.bad(format!(
                    "P1 {log}/{offset} counts as finished for no reason: {:?}",
                    this.rec(offset)
                ));
            }
        }
        for (offset, held) in &before.held {
            if after.held.get(offset).is_some_and(|now| now.tries < held.tries) {
                self.bad(format!("P8 attempts of {log}/{offset} fell"));
            }
        }
    }

    fn grant(&mut self, home: usize) {
        if self.homes[home].owner.is_some() {
            return;
        }
        let process = self.random.gen_range(0..self.processes.len());
        self.homes[home].owner = Some(process);
        self.wake_process(process);
        for log in self.homes[home].logs.clone() {
            self.grant_log(process, log);
        }
        self.poll(process);
    }

    pub(super) fn partition(log: usize) -> PartitionId {
        (Arc::from("topic"), i32::try_from(log).unwrap())
    }
}
