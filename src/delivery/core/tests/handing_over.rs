//! What the next owner says of records that may have been delivered.

use super::{BROKEN, Bench, slots};
use crate::delivery::{Action, Outcome};
use crate::progress::Progress;

/// The last progress of a partition that has ended.
fn last_progress(bench: &Bench) -> Progress {
    match bench.other.last() {
        Some(Action::Ended { progress, .. }) => progress.clone(),
        other => panic!("it has not ended: {other:?}"),
    }
}

fn flags(bench: &Bench) -> Vec<(i64, bool)> {
    let starts = bench.starts.iter();
    starts.map(|start| (start.offset, start.redelivered)).collect()
}

#[test]
fn what_was_there_when_the_owner_died_may_come_again_and_later_records_not() {
    let mut bench = Bench::resumed(slots(10), Progress::at(0, -1), true);
    bench.fetch(0, &[Some(1), Some(2)]);
    bench.fetch(2, &[Some(3)]);
    assert_eq!(flags(&bench), [(0, true), (1, true), (2, false)]);
}

#[test]
fn a_partition_given_up_in_order_brings_no_doubt() {
    let mut bench = Bench::resumed(slots(10), Progress::at(7, -1), false);
    bench.fetch(7, &[Some(1), Some(2)]);
    assert_eq!(flags(&bench), [(7, false), (8, false)]);
}

#[test]
fn doubts_are_handed_over_until_what_they_are_about_is_finished() {
    let mut first = Bench::resumed(slots(1), Progress::at(0, -1), true);
    first.fetch(0, &[Some(1), Some(2), Some(3)]);
    first.end(0, Outcome::Done);
    first.core.drain(first.claim);
    // The last of the three is finished, the second is not.
    first.core.skip(first.now, first.claim, 2);
    first.end(1, BROKEN);
    let progress = last_progress(&first);
    assert_eq!(progress.next, Some(1));
    let mut second = Bench::resumed(slots(10), progress, false);
    second.fetch(1, &[Some(2), Some(3), Some(4)]);
    assert_eq!(flags(&second), [(1, true), (3, false)]);
}

#[test]
fn a_handler_that_was_cut_off_leaves_a_doubt_and_no_attempt() {
    let mut bench = Bench::new(slots(2));
    bench.fetch(0, &[Some(1), Some(2), Some(3)]);
    bench.core.cancel(bench.claim, bench.now.mono);
    bench.end(0, Outcome::Aborted);
    bench.end(1, Outcome::Aborted);
    let mut next = Bench::resumed(slots(10), last_progress(&bench), false);
    next.fetch(0, &[Some(1), Some(2), Some(3)]);
    assert_eq!(flags(&next), [(0, true), (1, true), (2, false)]);
    assert!(next.starts.iter().all(|start| start.tries == 1));
}

#[test]
fn a_failure_before_the_end_does_not_hide_a_doubt_about_those_before_it() {
    let mut bench = Bench::resumed(slots(10), Progress::at(0, -1), true);
    bench.fetch(0, &[Some(1), Some(2)]);
    bench.end(1, BROKEN);
    let progress = bench.core.progress(bench.claim).unwrap().clone();
    assert_eq!(progress.held.get(&1).map(|held| held.tries), Some(1));
    let mut next = Bench::resumed(slots(10), progress, false);
    next.fetch(0, &[Some(1), Some(2)]);
    assert_eq!(flags(&next), [(0, true)]);
}
