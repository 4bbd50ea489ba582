//! What a run is like: loads, faults and handlers, drawn from a seed.

use std::num::NonZeroU32;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::delivery::core::Core;
use crate::delivery::{Concurrency, Dedup, Settings};

/// Milliseconds of one attempt.
pub(super) const TIMEOUT: u64 = 300;
pub(super) const GRACE: u64 = 100;
pub(super) const RETRIES: u32 = 4;
pub(super) const BACKOFF_MAX: u64 = 600;
pub(super) const UNPROVEN: u64 = 15_000;
/// After a crash its partitions are free.
pub(super) const SESSION: u64 = 800;
pub(super) const REPORT: u64 = 100;
pub(super) const DRAIN: u64 = 400;
/// Dead letters after the drain.
pub(super) const LETTERS: u64 = 150;
/// Faults end then.
pub(super) const FAULTS: u64 = 22_000;
/// Then the handler is mended, where that is allowed: while every lane fails and nothing new can be fetched, bad records
/// and an outage are the same, and only the source's retention ends them.
pub(super) const MENDED: u64 = 70_000;
/// A run that takes longer is stuck.
pub(super) const END: u64 = 120_000;
pub(super) const BODY: u32 = 1_000;

/// Times, from and to.
pub(super) type Spans = Vec<(u64, u64)>;

/// One run.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) scenario: &'static str,
    pub(super) homes: usize,
    pub(super) records: usize,
    pub(super) keys: u32,
    /// Between two records: milliseconds at most.
    pub(super) gap: u64,
    pub(super) concurrency: u32,
    pub(super) bound: usize,
    /// Bodies in memory.
    pub(super) buffer: u64,
    pub(super) dedup: bool,
    pub(super) commit_each: bool,
    /// A worker that is killed at its time-out; else an HTTP handler, which goes on.
    pub(super) worker: bool,
    /// In thousandths: of reports that are slow, of records without a key …
    pub(super) slow_report: u32,
    pub(super) keyless: u32,
    pub(super) poison: u32,
    pub(super) reject: u32,
    pub(super) garbage: u32,
    pub(super) transient: u32,
    pub(super) slow: u32,
    pub(super) duplicate: u32,
    pub(super) poison_keys: u32,
    pub(super) hang_keys: u32,
    /// Times between faults: 0 for none.
    pub(super) crash: u64,
    pub(super) moves: u64,
    pub(super) skips: u64,
    pub(super) resets: u64,
    pub(super) compact: u64,
    pub(super) replays: u64,
    pub(super) pauses: u64,
    pub(super) outages: Spans,
    /// Of a third of the keys.
    pub(super) partial: Spans,
    pub(super) deploys: Spans,
    pub(super) letters_down: Spans,
    pub(super) retention: u64,
    /// Between the clocks of two owners at most.
    pub(super) skew: i64,
    /// A good record of a good key is finished within this.
    pub(super) within: u64,
    /// The breaker has no reason to open.
    pub(super) quiet: bool,
    /// Nothing more comes after the records.
    pub(super) silent: bool,
    /// Bad records stay bad: the run has to end without a mended handler.
    pub(super) hopeless: bool,
    /// `--hold-for`; no record is given up before, however long the backlog is.
    pub(super) hold_for: u64,
    /// So many of the first records are there from the beginning.
    pub(super) backlog: usize,
}

pub(super) const SCENARIOS: &[&str] = &[
    "plain",
    "crash",
    "letters",
    "outage",
    "partial",
    "timeout",
    "dedup",
    "skip",
    "reset",
    "compact",
    "skew",
    "poison",
    "retention",
    "garbage",
    "deploy",
    "one bad",
    "hang",
    "ranges",
    "tight",
    "patient",
    "hot",
    "rotate",
    "silent",
    "all",
];

impl Config {
    pub(super) fn new(scenario: &'static str, seed: u64) -> Self {
        let mut r = StdRng::seed_from_u64(seed);
        let r = &mut r;
        let mut c = Self {
            scenario,
            homes: r.gen_range(1..=2),
            records: r.gen_range(60..=160),
            keys: r.gen_range(2..=9),
            gap: r.gen_range(50..=300),
            concurrency: r.gen_range(1..=8),
            bound: r.gen_range(30..=60),
            buffer: r.gen_range(20..=40),
            dedup: false,
            commit_each: false,
            worker: r.gen_ratio(3, 10),
            slow_report: 50,
            keyless: 50,
            poison: 20,
            reject: 10,
            garbage: 0,
            transient: r.gen_range(0..200),
            slow: 0,
            duplicate: 0,
            poison_keys: 0,
            hang_keys: 0,
            crash: 0,
            moves: 0,
            skips: 0,
            resets: 0,
            compact: 0,
            replays: 0,
            pauses: 0,
            outages: vec![],
            partial: vec![],
            deploys: vec![],
            letters_down: vec![],
            retention: 0,
            skew: 0,
            within: 0,
            quiet: false,
            silent: false,
            hopeless: false,
            hold_for: 0,
            backlog: 0,
        };
        let all = scenario == "all";
        let mut on = |name: &str| scenario == name || all && r.gen_ratio(4, 10);
        let chosen: Vec<&str> = SCENARIOS[1..12].iter().copied().filter(|name| on(name)).collect();
        for name in chosen {
            c.add(name, r);
        }
        if all {
            c.commit_each = r.gen_ratio(1, 5);
            c.pauses = if r.gen_ratio(1, 5) { 3_000 } else { 0 };
            c.garbage = if r.gen_ratio(1, 5) { 20 } else { 0 };
        }
        c.special(r);
        c
    }

    fn add(&mut self, name: &str, r: &mut StdRng) {
        match name {
            "crash" => {
                self.crash = r.gen_range(2_000..10_000);
                self.moves = r.gen_range(2_000..10_000);
            }
            "letters" => {
                self.moves = 3_000;
                self.poison = 80;
                self.letters_down = spans(r, 2, 500, 5_000);
            }
            "outage" => {
                let count = r.gen_range(1..=2);
                self.outages = spans(r, count, 900, 5_000);
            }
            "partial" => self.partial = spans(r, 1, 1_000, 7_000),
            "timeout" => self.slow = 60,
            "dedup" => {
                self.dedup = true;
                self.duplicate = 200;
                self.replays = 2_000;
                self.skips = 2_000;
                self.resets = if r.gen_ratio(1, 2) { 8_000 } else { 0 };
                self.crash = r.gen_range(3_000..20_000);
            }
            "skip" => self.skips = 1_000,
            "reset" => self.resets = 5_000,
            "compact" => {
                self.compact = 300;
                self.poison = 60;
            }
            "skew" => {
                self.skew = 200_000;
                self.crash = 3_000;
                self.poison = 50;
            }
            "poison" => {
                self.poison_keys = if r.gen_ratio(3, 10) { 3 } else { 1 };
                self.keys = self.keys.max(5);
            }
            _ => {}
        }
    }

    fn special(&mut self, r: &mut StdRng) {
        let calm = |c: &mut Self| {
            c.homes = 1;
            c.records = 160;
            c.poison = 0;
            c.reject = 0;
            c.transient = 0;
        };
        self.hopeless = matches!(
            self.scenario,
            "one bad" | "hang" | "ranges" | "tight" | "silent" | "rotate" | "retention" | "deploy"
        );
        match self.scenario {
            "retention" => {
                self.retention = r.gen_range(5_000..9_000);
                self.poison_keys = 1;
                self.partial = spans(r, 1, 1_000, 7_000);
                (self.bound, self.buffer) = (200, 60);
                // A burst, half of it with one key.
                (self.homes, self.keys, self.gap) = (1, r.gen_range(2..=3), r.gen_range(10..=60));
            }
            "garbage" => self.garbage = 40,
            "deploy" => {
                self.deploys = spans(r, 1, 2_000, 8_000);
                (self.keys, self.reject) = (20, 0);
            }
            "one bad" => {
                calm(self);
                (self.keys, self.poison_keys) = (6, 1);
                (self.within, self.quiet) = (1_500, true);
                (self.bound, self.buffer, self.concurrency, self.gap) = (200, 24, 4, 100);
            }
            "hang" => {
                calm(self);
                (self.keys, self.hang_keys) = (24, 12);
                self.within = 3_000;
                (self.bound, self.buffer, self.concurrency, self.gap) = (200, 200, 4, 200);
            }
            "ranges" => {
                calm(self);
                (self.keys, self.poison_keys) = (6, 2);
                (self.bound, self.buffer, self.concurrency, self.gap) = (40, 60, 4, 100);
                self.within = 8_000;
            }
            "tight" => {
                calm(self);
                (self.keys, self.poison_keys) = (5, 1);
                (self.bound, self.buffer, self.concurrency, self.gap) = (16, 60, 4, 330);
                self.within = 12_000;
            }
            "patient" => {
                calm(self);
                (self.keys, self.poison_keys) = (r.gen_range(12..=16), 1);
                (self.bound, self.buffer, self.concurrency, self.gap) = (40, 60, 4, 30);
                (self.hold_for, self.backlog) = (20_000, 150);
                self.crash = r.gen_range(3_000..9_000);
                self.moves = r.gen_range(3_000..9_000);
            }
            "hot" => {
                calm(self);
                (self.keys, self.poison_keys) = (4, 1);
                (self.bound, self.buffer, self.concurrency, self.gap) = (20, 60, 4, 330);
                (self.within, self.hold_for) = (12_000, 1_000_000);
            }
            "silent" => {
                calm(self);
                (self.keys, self.poison_keys, self.keyless) = (4, 2, 0);
                (self.bound, self.records, self.silent) = (200, 60, true);
            }
            "rotate" => {
                calm(self);
                (self.keys, self.poison_keys) = (8, 1);
                self.outages = spans(r, 1, 2_000, 5_000);
                self.within = 15_000;
            }
            _ => {}
        }
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            concurrency: Concurrency::Fixed(NonZeroU32::new(self.concurrency).unwrap()),
            max_buffer: self.buffer * u64::from(BODY + Core::<usize>::OVERHEAD),
            max_unfinished: self.bound,
            ahead: 1,
            retries: NonZeroU32::new(RETRIES).unwrap(),
            backoff_first: 40,
            backoff_longest: BACKOFF_MAX,
            unproven: UNPROVEN,
            hold_for: self.hold_for,
            timeout: TIMEOUT,
            timeout_grace: GRACE,
            retry_after_max: 500,
            commit_each: self.commit_each,
            dedup: self.dedup.then_some(Dedup {
                ids: 10_000,
                window: 1_000_000,
            }),
            ..Settings::default()
        }
    }
}

fn spans(r: &mut StdRng, count: usize, least: u64, most: u64) -> Spans {
    (0..count)
        .map(|_| {
            let from = r.gen_range(500..15_000);
            (from, from + r.gen_range(least..=most))
        })
        .collect()
}

pub(super) fn within(spans: &Spans, time: u64) -> bool {
    spans.iter().any(|(from, to)| (*from..*to).contains(&time))
}
