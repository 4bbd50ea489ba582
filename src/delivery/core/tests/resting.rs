//! How much of a partition is taken ahead of what starts.

use super::{Bench, slots};
use crate::delivery::{Action, Outcome, Settings};

/// Two slots, and room for 32 heads that may start.
fn resting() -> Settings {
    Settings {
        ahead: 32,
        ..slots(2)
    }
}

/// The last that was said about fetching.
fn last(bench: &Bench) -> Option<&Action<i64>> {
    let of_fetching = |action: &&Action<i64>| matches!(action, Action::Pause { .. } | Action::Fetch { .. });
    bench.other.iter().rev().find(of_fetching)
}

fn work(bench: &mut Bench, events: usize) {
    for _ in 0..events {
        let offset = bench.starts[0].offset;
        bench.end(offset, Outcome::Done);
    }
}

#[test]
fn enough_that_may_start_stops_fetching_and_half_of_it_goes_on_where_it_was() {
    let mut bench = Bench::new(resting());
    let keys: Vec<_> = (0..1_000).map(Some).collect();
    bench.fetch(0, &keys);
    assert!(matches!(last(&bench), Some(Action::Pause { .. })));
    assert_eq!(bench.core.wants(bench.claim), None);
    assert_eq!(
        bench.core.unfinished(),
        32,
        "of a batch that can be left in its midst"
    );
    assert_eq!(bench.core.stopped(bench.claim), None, "nothing is wrong");
    work(&mut bench, 13);
    assert_eq!(bench.core.wants(bench.claim), None, "17 may start");
    work(&mut bench, 1);
    assert!(matches!(last(&bench), Some(Action::Fetch { from: 32, .. })));
    bench.fetch(32, &keys[32..]);
    assert!((32..=34).contains(&(bench.core.unfinished())));
}

#[test]
fn a_batch_that_costs_decompressing_is_taken_whole() {
    let mut bench = Bench::new(resting());
    bench.fetch_whole(0, &[None; 300]);
    assert_eq!(bench.core.unfinished(), 300);
    assert_eq!(bench.core.wants(bench.claim), None);
}

#[test]
fn records_that_wait_for_others_are_not_enough() {
    let mut bench = Bench::new(resting());
    // One key: its head alone may start, and others are looked for behind it.
    bench.fetch(0, &[Some(7); 500]);
    assert_eq!(bench.core.unfinished(), 500);
    assert_eq!(bench.core.wants(bench.claim), Some(500));
    bench.fetch(500, &[None; 500]);
    assert_eq!(bench.core.wants(bench.claim), None);
    assert!((531..=533).contains(&bench.core.unfinished()));
}

#[test]
fn it_goes_on_also_where_what_may_start_fails() {
    let mut bench = Bench::new(resting());
    bench.fetch(0, &[None; 100]);
    assert_eq!(bench.core.wants(bench.claim), None);
    let mut tried = 0;
    while bench.core.wants(bench.claim).is_none() {
        assert!(
            tried < 32,
            "all were tried, none is finished, and no others are looked for"
        );
        // The breaker opens, and tries one at a time.
        bench.wait(60_000);
        for offset in bench.started() {
            bench.end(offset, super::BROKEN);
            tried += 1;
        }
    }
    assert_eq!(bench.core.unfinished(), 32);
}

#[test]
fn of_what_the_source_is_about_to_delete_as_much_is_taken_as_may_be() {
    let mut bench = Bench::new(resting());
    bench.fetch(0, &[None; 100]);
    assert_eq!(
        (bench.core.unfinished(), bench.core.wants(bench.claim)),
        (32, None)
    );
    // Four fifths of the retention pass while nothing is done.
    bench.core.retention(bench.claim, Some(100_000));
    bench.wait(81_000);
    let next = bench.core.wants(bench.claim).expect("it goes on");
    assert_eq!(next, 32);
    bench.fetch_aged(next, &[None; 2_000], 81_000);
    assert_eq!(bench.core.unfinished(), 2_032);
    // A marker of a transaction stands behind them.
    bench.fetch_whole(2_032, &[]);
    assert_eq!(bench.core.wants(bench.claim), Some(2_032));
    bench.wait(1_000);
    assert_eq!(bench.letters.len(), 2_030, "all but what runs");
}
