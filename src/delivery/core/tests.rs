//! What one core does, step by step; whole lives are in the simulation.

mod backlog;
mod handing_over;
mod resting;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use super::{Batch, Core, Grant};
use crate::delivery::rules::Rules;
use crate::delivery::{
    Action, BODIES_PER_HELD_LANE, Claim, Concurrency, Fetched, Letter, Now, Order, Outcome, Reason, Reloaded,
    Settings, Sign, Start,
};
use crate::progress::Progress;

const BROKEN: Outcome = Outcome::Retry {
    sign: Sign::Broken,
    after: None,
    pause: None,
};

/// A core with one partition, and what it asked for.
struct Bench {
    core: Core<i64>,
    claim: Claim,
    now: Now,
    starts: Vec<Start<i64>>,
    letters: Vec<Letter<i64>>,
    other: Vec<Action<i64>>,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        Self::resumed(settings, Progress::at(0, -1), false)
    }

    fn resumed(settings: Settings, progress: Progress, taken_over: bool) -> Self {
        let now = Now {
            mono: 1_000,
            unix: 1_700_000_000_000,
        };
        let mut core = Core::new(settings, Rules::all(), 1);
        let grant = Grant {
            taken_over,
            ..Grant::default()
        };
        let claim = core.grant(now, (Arc::from("orders"), 0), 7, progress, grant);
        let mut bench = Self {
            core,
            claim,
            now,
            starts: Vec::new(),
            letters: Vec::new(),
            other: Vec::new(),
        };
        bench.poll();
        bench
    }

    fn poll(&mut self) {
        self.core.poll(self.now, true);
        for action in self.core.take_actions() {
            match action {
                Action::Start(start) => self.starts.push(start),
                Action::DeadLetter(letter) => self.letters.push(letter),
                other => self.other.push(other),
            }
        }
    }

    /// Records from `from` on, one for each key.
    fn fetch(&mut self, from: i64, keys: &[Option<u64>]) {
        self.fetch_batch(from, keys, false, 0);
    }

    /// Written so many milliseconds ago.
    fn fetch_aged(&mut self, from: i64, keys: &[Option<u64>], ago: i64) {
        self.fetch_batch(from, keys, false, ago);
    }

    /// In a compressed batch.
    fn fetch_whole(&mut self, from: i64, keys: &[Option<u64>]) {
        self.fetch_batch(from, keys, true, 0);
    }

    fn fetch_batch(&mut self, from: i64, keys: &[Option<u64>], whole: bool, ago: i64) {
        let end = from + i64::try_from(keys.len()).unwrap();
        let records = keys.iter().zip(from..).map(|(key, offset)| Fetched {
            offset,
            key: *key,
            id: None,
            timestamp: self.now.unix - ago,
            size: 1_000,
            body: offset,
            refused: None,
        });
        let batch = Batch {
            offsets: from..end,
            log_end: end,
            epoch: 0,
            whole,
        };
        self.core
            .fetched(self.now, self.claim, batch, records.collect::<Vec<_>>());
        self.poll();
    }

    fn wait(&mut self, ms: u64) {
        self.now.mono += ms;
        self.now.unix += i64::try_from(ms).unwrap();
        self.poll();
    }

    fn started(&mut self) -> Vec<i64> {
        self.starts.iter().map(|start| start.offset).collect()
    }

    /// Ends the attempt that runs for this offset.
    fn end(&mut self, offset: i64, outcome: Outcome) {
        let at = self
            .starts
            .iter()
            .position(|start| start.offset == offset)
            .unwrap();
        let start = self.starts.remove(at);
        self.core.outcome(self.now, start.attempt, outcome, None);
        self.poll();
    }

    fn next(&self) -> Option<i64> {
        self.core.progress(self.claim).and_then(|progress| progress.next)
    }
}

fn slots(most: u32) -> Settings {
    Settings {
        concurrency: Concurrency::Fixed(NonZeroU32::new(most).unwrap()),
        // What is looked at here is the other bounds.
        ahead: Settings::default().max_unfinished,
        ..Settings::default()
    }
}

#[test]
fn one_key_runs_one_at_a_time_and_others_beside_it() {
    let mut bench = Bench::new(slots(10));
    bench.fetch(0, &[Some(1), Some(1), Some(2), None, None]);
    assert_eq!(bench.started(), [0, 2, 3, 4]);
    bench.end(0, Outcome::Done);
    assert_eq!(bench.started(), [2, 3, 4, 1]);
    assert_eq!(bench.next(), Some(1));
}

#[test]
fn by_partition_one_runs_and_without_order_all_do() {
    for (order, expected) in [(Order::Partition, vec![0]), (Order::None, vec![0, 1, 2])] {
        let mut bench = Bench::new(Settings { order, ..slots(10) });
        bench.fetch(0, &[Some(1), Some(1), None]);
        assert_eq!(bench.started(), expected);
    }
}

#[test]
fn offsets_without_a_record_are_finished() {
    let mut bench = Bench::new(slots(1));
    let batch = Batch {
        offsets: 0..10,
        log_end: 10,
        epoch: 3,
        whole: false,
    };
    bench.core.fetched(bench.now, bench.claim, batch, Vec::new());
    let told = bench.core.take_changed();
    assert_eq!(
        told.first().map(|(_, progress)| (progress.next, progress.epoch)),
        Some((Some(10), 3))
    );
}

#[test]
fn a_failed_record_holds_back_its_key_and_its_attempts_are_told() {
    let mut bench = Bench::new(slots(10));
    bench.fetch(0, &[Some(1), Some(1), Some(2)]);
    bench.end(2, Outcome::Done);
    bench.end(0, BROKEN);
    assert_eq!(bench.started(), [0i64; 0]);
    let progress = bench.core.progress(bench.claim).unwrap();
    assert_eq!(progress.held.get(&0).map(|held| held.tries), Some(1));
    assert!(progress.is_finished(2) && !progress.is_finished(1));
    bench.wait(500);
    assert_eq!(
        bench
            .starts
            .iter()
            .map(|start| (start.offset, start.tries))
            .collect::<Vec<_>>(),
        [(0, 2)]
    );
}

#[test]
fn the_second_outcome_of_an_attempt_is_ignored() {
    let mut bench = Bench::new(slots(10));
    bench.fetch(0, &[Some(1)]);
    let attempt = bench.starts[0].attempt;
    bench.end(0, BROKEN);
    bench.core.outcome(bench.now, attempt, Outcome::Done, None);
    assert_eq!(bench.next(), Some(0));
    assert_eq!(bench.core.slots().0, 0);
}

#[test]
fn a_lost_attempt_waits_for_its_deadline_and_grace_unless_it_was_reaped() {
    for (reaped, wait) in [(false, 35_000), (true, 500)] {
        let mut bench = Bench::new(slots(10));
        bench.fetch(0, &[Some(1)]);
        bench.end(0, Outcome::Lost { reaped });
        bench.wait(wait - 1);
        assert_eq!(bench.started().is_empty(), !reaped);
        bench.wait(1);
        assert_eq!(bench.started(), [0]);
    }
}

#[test]
fn a_rejected_record_is_finished_once_its_dead_letter_is_acknowledged() {
    let mut bench = Bench::new(slots(10));
    bench.fetch(0, &[Some(1), Some(1)]);
    bench.end(0, Outcome::Reject);
    assert_eq!(
        (bench.letters[0].reason, bench.letters[0].body),
        (Reason::Rejected, Some(0))
    );
    let attempt = bench.letters.remove(0).attempt;
    bench.core.letter(bench.now, attempt, false);
    bench.poll();
    assert_eq!((bench.next(), bench.letters.len()), (Some(0), 0));
    bench.wait(1_000);
    let attempt = bench.letters.remove(0).attempt;
    bench.core.letter(bench.now, attempt, true);
    bench.poll();
    assert_eq!((bench.next(), bench.started()), (Some(1), vec![1]));
}

#[test]
fn a_poison_record_is_dead_lettered_after_exactly_the_counted_attempts_also_under_a_second_owner() {
    let settings = Settings {
        retries: NonZeroU32::new(5).unwrap(),
        ..slots(4)
    };
    let mut bench = Bench::new(settings.clone());
    let mut tries = 0;
    let mut offset = 0;
    let mut owners = 1;
    bench.fetch(0, &[Some(0)]);
    while bench.letters.is_empty() {
        if bench.started().contains(&0) {
            tries += 1;
            bench.end(0, BROKEN);
            offset += 1;
            bench.fetch(offset, &[Some(100)]);
            bench.end(offset, Outcome::Done);
        }
        bench.wait(50);
        // Between an attempt's judgement and the next: what it knows is in the report.
        if tries == 3 && owners == 1 && bench.started().contains(&0) {
            let progress = bench.core.progress(bench.claim).unwrap().clone();
            assert_eq!(progress.held.get(&0).map(|held| held.tries), Some(3));
            let now = bench.now;
            bench = Bench::resumed(settings.clone(), progress, true);
            bench.now = now;
            bench.fetch(0, &[Some(0)]);
            owners = 2;
        }
        assert!(tries < 20);
    }
    // The attempt whose failure had not been judged when the owner went does not count.
    assert_eq!(tries, 6);
    assert_eq!(bench.letters[0].reason, Reason::Exhausted);
}

#[test]
fn an_outage_makes_no_dead_letter_and_one_probe_at_a_time_finds_its_end() {
    let mut bench = Bench::new(slots(10));
    bench.fetch(0, &(0..40).map(Some).collect::<Vec<_>>());
    let mut down = 0;
    while bench.now.mono < 61_000 {
        for offset in bench.started() {
            down += 1;
            bench.end(offset, Outcome::Hold);
        }
        assert!(!bench.core.is_open() || bench.starts.len() <= 1);
        let next = bench.core.next_wake(bench.now).unwrap();
        bench.wait(next - bench.now.mono);
    }
    assert!(down < 30, "{down} attempts in a minute of outage");
    while bench.next() != Some(40) {
        for offset in bench.started() {
            bench.end(offset, Outcome::Done);
        }
        let next = bench.core.next_wake(bench.now).unwrap_or(bench.now.mono + 1);
        bench.wait(next - bench.now.mono);
    }
    assert!(bench.letters.is_empty() && !bench.core.is_open());
}

#[test]
fn retry_after_pauses_the_whole_target() {
    let mut bench = Bench::new(slots(1));
    bench.fetch(0, &[Some(1), Some(2)]);
    let busy = Outcome::Retry {
        sign: Sign::Busy,
        after: None,
        pause: Some(10_000),
    };
    bench.end(0, busy);
    bench.wait(9_999);
    assert!(bench.started().is_empty());
    bench.wait(1_002);
    assert_eq!(bench.started().len(), 1);
}

#[test]
fn a_takeover_reads_the_gaps_first_and_says_maybe() {
    let mut progress = Progress::at(2, 0);
    progress.done.insert_range(3..5_000);
    let mut bench = Bench::resumed(slots(10), progress, true);
    assert!(matches!(bench.other[0], Action::Fetch { from: 2, .. }));
    bench.fetch(2, &[Some(1), Some(1), Some(2)]);
    assert!(matches!(bench.other[1], Action::Fetch { from: 5_000, .. }));
    assert_eq!(bench.started(), [2]);
    assert!(bench.starts[0].redelivered);
}

#[test]
fn a_drain_waits_for_what_runs_and_spends_no_attempt() {
    let mut bench = Bench::new(slots(2));
    bench.fetch(0, &[Some(1), Some(2), Some(3)]);
    bench.core.drain(bench.claim);
    bench.end(0, Outcome::Done);
    assert_eq!(bench.started(), [1]);
    bench.end(1, BROKEN);
    let Some(Action::Ended { progress, .. }) = bench.other.last() else {
        panic!("{:?}", bench.other)
    };
    let tries: Vec<(i64, u32)> = progress.held.iter().map(|(at, held)| (*at, held.tries)).collect();
    assert_eq!((progress.next, tries), (Some(1), vec![(1, 0)]));
}

#[test]
fn a_cancelled_partition_aborts_its_handlers_and_gives_up_its_dead_letters_in_time() {
    let mut bench = Bench::new(slots(2));
    bench.fetch(0, &[Some(1), Some(2)]);
    bench.end(1, Outcome::Reject);
    let until = bench.now.mono + 3_000;
    bench.core.cancel(bench.claim, until);
    bench.poll();
    assert!(matches!(bench.other.last(), Some(Action::Abort(_))));
    bench.end(0, Outcome::Aborted);
    assert!(!matches!(bench.other.last(), Some(Action::Ended { .. })));
    assert_eq!(bench.core.next_wake(bench.now), Some(until));
    bench.wait(3_000);
    let Some(Action::Ended { progress, .. }) = bench.other.last() else {
        panic!("{:?}", bench.other)
    };
    let tries: Vec<(i64, u32)> = progress.held.iter().map(|(at, held)| (*at, held.tries)).collect();
    assert_eq!((progress.next, tries), (Some(0), vec![(0, 0), (1, 1)]));
}

#[test]
fn with_commit_each_a_key_waits_for_the_report() {
    let mut bench = Bench::new(Settings {
        commit_each: true,
        ..slots(2)
    });
    bench.fetch(0, &[Some(1), Some(1), Some(2)]);
    bench.end(0, Outcome::Done);
    bench.end(2, Outcome::Done);
    assert!(bench.started().is_empty());
    bench.core.reported(bench.claim, &Progress::at(0, -1));
    bench.poll();
    assert!(bench.started().is_empty());
    bench.core.reported(bench.claim, &Progress::at(1, -1));
    bench.poll();
    assert_eq!(bench.started(), [1]);
}

#[test]
fn a_key_with_a_third_of_the_traffic_that_fails_keeps_few_bodies_and_does_not_stop_the_others() {
    let mut bench = Bench::new(slots(8));
    let keys: Vec<_> = (0..3_000u64)
        .map(|i| Some(if i % 3 == 0 { 0 } else { i }))
        .collect();
    bench.fetch(0, &keys[..30]);
    bench.end(0, BROKEN);
    bench.fetch(30, &keys[30..]);
    let mut done = BTreeSet::new();
    while done.len() < 2_000 {
        for offset in bench.started() {
            if offset % 3 == 0 {
                bench.end(offset, BROKEN);
            } else {
                bench.end(offset, Outcome::Done);
                done.insert(offset);
            }
        }
        bench.poll();
    }
    let body = u64::from(1_000 + Core::<i64>::OVERHEAD);
    assert!(bench.core.buffered() <= (u64::from(BODIES_PER_HELD_LANE) + 8) * body);
    assert_eq!(bench.core.unfinished(), 1_000);
}

#[test]
fn bodies_that_left_the_buffer_come_again_in_order() {
    let mut bench = Bench::new(slots(8));
    bench.fetch(0, &[Some(0)]);
    bench.end(0, BROKEN);
    bench.fetch(1, &[Some(0); 100]);
    let mut order = Vec::new();
    let mut waits: BTreeMap<i64, u32> = BTreeMap::new();
    while bench.next() != Some(101) {
        bench.wait(100);
        for offset in bench.started() {
            bench.end(offset, Outcome::Done);
            order.push(offset);
        }
        for action in std::mem::take(&mut bench.other) {
            if let Action::Reload { claim, offset } = action {
                *waits.entry(offset).or_default() += 1;
                bench.core.reloaded(claim, offset, Reloaded::Body(offset, 1_000));
            }
        }
        bench.poll();
    }
    assert_eq!(order, (0..=100).collect::<Vec<_>>());
    assert!(waits.values().all(|times| *times == 1), "{waits:?}");
    assert_eq!(bench.core.buffered(), 0);
}

#[test]
fn a_full_buffer_stops_fetching_and_room_goes_on() {
    let mut bench = Bench::new(Settings {
        max_buffer: 40 * u64::from(1_000 + Core::<i64>::OVERHEAD),
        ..slots(1)
    });
    bench.fetch(0, &[None; 100]);
    assert!(matches!(bench.other.last(), Some(Action::Pause { .. })));
    let taken = i64::try_from(bench.core.unfinished()).unwrap();
    assert!((20..=40).contains(&taken), "{taken}");
    for offset in 0..taken {
        bench.end(offset, Outcome::Done);
    }
    let fetch = bench
        .other
        .iter()
        .filter(|action| matches!(action, Action::Fetch { from, .. } if *from == taken));
    assert_eq!(fetch.count(), 1);
}

/// `cargo test --release delivery::core::tests::how_fast -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn how_fast() {
    // Nanoseconds of CPU: the machine may be shared.
    let cpu = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        text.split(' ')
            .next()
            .and_then(|ns| ns.parse::<u64>().ok())
            .unwrap()
    };
    const EVENTS: u64 = 300_000;
    for (partitions, keys, failing) in [
        (1, 10_000, false),
        (12, 10_000, false),
        (12, 10_000, true),
        (1_000, 10_000, false),
    ] {
        let mut core = Core::<Arc<[u8]>>::new(slots(64), Rules::all(), 1);
        let mut now = Now {
            mono: 1,
            unix: 1_700_000_000_000,
        };
        let body: Arc<[u8]> = Arc::from([0; 1_000]);
        let poison: Arc<[u8]> = Arc::from([1]);
        let topic: Arc<str> = Arc::from("orders");
        let claims: Vec<Claim> = (0..partitions)
            .map(|p| {
                core.grant(
                    now,
                    (Arc::clone(&topic), p),
                    7,
                    Progress::at(0, -1),
                    Grant::default(),
                )
            })
            .collect();
        let mut running = std::collections::VecDeque::new();
        let (mut fetch, mut finished, mut key) = (Vec::new(), 0u64, 0u64);
        let begin = cpu();
        while finished < EVENTS {
            now.mono += 1;
            core.poll(now, true);
            for action in core.take_actions() {
                match action {
                    Action::Start(start) => running.push_back(start),
                    Action::Fetch { claim, from } => fetch.push((claim, from)),
                    Action::Pause { claim } => fetch.retain(|(other, _)| *other != claim),
                    Action::DeadLetter(letter) => core.letter(now, letter.attempt, true),
                    _ => {}
                }
            }
            if running.len() < 32 {
                for (claim, from) in &mut fetch {
                    let records: Vec<_> = (*from..*from + 500)
                        .map(|offset| {
                            key = key.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                            let bad = (key >> 33) % keys % 100 == 0;
                            Fetched {
                                offset,
                                key: Some((key >> 33) % keys),
                                id: None,
                                timestamp: now.unix,
                                size: 1_000,
                                body: Arc::clone(if bad { &poison } else { &body }),
                                refused: None,
                            }
                        })
                        .collect();
                    let batch = Batch {
                        offsets: *from..*from + 500,
                        log_end: i64::MAX,
                        epoch: 0,
                        whole: false,
                    };
                    *from += 500;
                    core.fetched(now, *claim, batch, records);
                }
            }
            for _ in 0..running.len().min(16) {
                let Some(start) = running.pop_front() else { break };
                finished += 1;
                let bad = failing && *start.body == [1];
                core.outcome(now, start.attempt, if bad { BROKEN } else { Outcome::Done }, None);
            }
            if now.mono.is_multiple_of(200) {
                core.take_changed();
            }
        }
        let each = (cpu() - begin) / EVENTS;
        println!(
            "{partitions} partitions, {keys} keys, 1 % of the keys failing {failing}: {each} ns an event, {claims:?}",
            claims = claims.len()
        );
    }
}
