//! A record that fails and `--hold-for`, in a backlog.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use super::{BROKEN, Bench, slots};
use crate::delivery::{Action, Letter, Outcome, Settings};

const DAY: u64 = 86_400_000;

fn held_for_a_day() -> Settings {
    Settings {
        hold_for: DAY,
        retries: NonZeroU32::new(2).unwrap(),
        ..slots(16)
    }
}

/// Fetches what the core wants of `backlog` records.
fn feed(bench: &mut Bench, backlog: i64, nth: i64) {
    while let Some(from) = bench.core.wants(bench.claim).filter(|from| *from < backlog) {
        let to = backlog.min(from + 500);
        let keys: Vec<Option<u64>> = (from..to)
            .map(|at| Some(if at % nth == 0 { 0 } else { at.unsigned_abs() }))
            .collect();
        bench.fetch(from, &keys);
        if bench.core.wants(bench.claim) == Some(from) {
            return;
        }
    }
}

/// Has the bodies that the core asks for.
fn reload(bench: &mut Bench) {
    for action in std::mem::take(&mut bench.other) {
        if let Action::Reload { claim, offset } = action {
            let body = crate::delivery::Reloaded::Body(offset, 1_000);
            bench.core.reloaded(claim, offset, body);
        }
    }
}

/// Works through `backlog` records of which every `nth` is of the failing key, for as long as anything new starts.
/// What was done, and what was given up.
fn work(bench: &mut Bench, backlog: i64, nth: i64) -> (BTreeSet<i64>, Vec<Letter<i64>>) {
    let (mut done, mut letters) = (BTreeSet::new(), Vec::new());
    let mut idle = 0;
    while idle < 200 {
        feed(bench, backlog, nth);
        let before = done.len() + letters.len();
        for offset in bench.started() {
            if offset % nth == 0 {
                bench.end(offset, BROKEN);
            } else {
                bench.end(offset, Outcome::Done);
                done.insert(offset);
            }
        }
        for letter in std::mem::take(&mut bench.letters) {
            bench.core.letter(bench.now, letter.attempt, true);
            letters.push(letter);
        }
        reload(bench);
        idle = if done.len() + letters.len() > before {
            0
        } else {
            idle + 1
        };
        // A long time for the retries, and none for what is new.
        bench.wait(if idle > 0 { 1_000 } else { 5 });
    }
    (done, letters)
}

#[test]
fn a_backlog_of_others_does_not_shorten_the_time_for_which_a_record_is_held() {
    let mut bench = Bench::new(held_for_a_day());
    let (done, letters) = work(&mut bench, 30_000, 1_000);
    assert_eq!(done.len(), 30_000 - 30);
    assert!(letters.is_empty(), "{letters:?}");
    assert_eq!(bench.core.unfinished(), 30);
    let tries = bench.core.waiting(bench.now).map(|waits| waits.counted).max();
    assert!(tries >= Some(2), "it is proven: {tries:?}");
}

#[test]
fn a_failing_key_with_a_third_of_the_records_gives_way_when_three_quarters_of_the_bound_wait_for_it() {
    let mut bench = Bench::new(held_for_a_day());
    let (done, letters) = work(&mut bench, 30_000, 3);
    assert_eq!(done.len(), 20_000, "the others are done");
    let kept = bench.core.unfinished();
    assert!((3_072..=4_096).contains(&kept), "{kept} of the key wait");
    let offsets: Vec<i64> = letters.iter().map(|letter| letter.offsets.start).collect();
    let first: Vec<i64> = (0..30_000).step_by(3).take(offsets.len()).collect();
    assert_eq!(offsets, first, "in order, and no more than needed");
}

/// A handler that takes 2 ms: how many milliseconds until all others are done, and until the first was given up.
fn time_for_others(bench: &mut Bench, backlog: i64, nth: i64) -> (u64, u64) {
    let (begin, mut first) = (bench.now.mono, None);
    let mut others = backlog - (backlog + nth - 1) / nth;
    while others > 0 {
        feed(bench, backlog, nth);
        bench.wait(2);
        for offset in bench.started() {
            let fails = offset % nth == 0;
            bench.end(offset, if fails { BROKEN } else { Outcome::Done });
            others -= i64::from(!fails);
        }
        for letter in std::mem::take(&mut bench.letters) {
            first.get_or_insert(bench.now.mono - begin);
            bench.core.letter(bench.now, letter.attempt, true);
        }
        reload(bench);
        assert!(bench.now.mono - begin < 3_600_000, "{others} are not done");
    }
    (bench.now.mono - begin, first.unwrap_or_default())
}

#[test]
fn a_failing_key_with_a_third_of_the_records_costs_its_partition_no_back_off_for_each() {
    let (fine, _) = time_for_others(&mut Bench::new(slots(16)), 30_000, 30_000);
    let (failing, head) = time_for_others(&mut Bench::new(slots(16)), 30_000, 3);
    println!("{fine} {failing} {head}");
    // The first is to have all its attempts, of which each needs proof. Of 10,000 records of the key 4,096 may wait, and the
    // rest goes one after the other.
    assert!(head < 10 * 60_000, "{head} ms until the first was given up");
    assert!(
        failing - head < fine + 2 * 2 * 6_000,
        "{failing} ms, {head} of them for the first, and {fine} ms without a failing key"
    );
}

#[test]
fn proof_does_not_cut_the_grace_of_a_lost_attempt_short() {
    let mut bench = Bench::new(Settings {
        max_unfinished: 16,
        retries: NonZeroU32::MIN,
        ..slots(16)
    });
    let (bad, other) = (Some(0), Some(9));
    bench.fetch(0, &[bad, other, bad]);
    bench.end(0, BROKEN);
    bench.end(1, Outcome::Done);
    bench.fetch(3, &[other]);
    bench.end(3, Outcome::Done);
    bench.wait(60_000);
    let letter = bench.letters.pop().expect("the first is given up");
    bench.core.letter(bench.now, letter.attempt, true);
    bench.poll();
    // Its follower fails where there is room, without proof, and is lost the next time.
    bench.end(2, BROKEN);
    bench.wait(60_000);
    assert_eq!(bench.started(), [2]);
    bench.fetch(4, &[other, other]);
    bench.end(4, Outcome::Done);
    bench.end(2, Outcome::Lost { reaped: false });
    bench.end(5, Outcome::Done);
    // Now there is no room any more, and another succeeds.
    bench.fetch(6, &[bad; 12]);
    bench.fetch(18, &[other]);
    assert!(bench.core.pressure(bench.claim).0);
    bench.end(18, Outcome::Done);
    assert!(
        bench.letters.is_empty() && bench.starts.is_empty(),
        "it may still run"
    );
    bench.wait(100_000);
    assert!(!bench.letters.is_empty() || !bench.starts.is_empty());
}
