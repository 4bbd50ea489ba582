use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Held, Progress, Ranges};

fn ranges(pairs: &[(i64, i64)]) -> Ranges {
    pairs.iter().map(|&(start, end)| start..end).collect()
}

fn pairs(ranges: &Ranges) -> Vec<(i64, i64)> {
    ranges.iter().collect()
}

const WAITS: Held = Held {
    tries: 1,
    counted: 1,
    first_failed: 1_000,
    due: 2_000,
};

#[test]
fn ranges_that_touch_become_one() {
    let mut set = ranges(&[(1, 3), (5, 7), (10, 12)]);
    set.insert(4);
    assert_eq!(pairs(&set), [(1, 3), (4, 7), (10, 12)]);
    set.insert(3);
    assert_eq!(pairs(&set), [(1, 7), (10, 12)]);
    set.insert_range(0..20);
    assert_eq!(pairs(&set), [(0, 20)]);
}

#[test]
fn the_last_offset_of_all_does_no_harm() {
    let mut set = Ranges::default();
    set.insert(i64::MAX);
    assert!(set.is_empty());
    set.insert(i64::MAX - 1);
    assert!(set.contains(i64::MAX - 1));
}

#[test]
fn next_moves_over_what_is_finished() {
    let mut progress = Progress::at(10, 3);
    progress.finish(12);
    progress.finish(11);
    assert_eq!((progress.next, progress.gaps()), (Some(10), 1));
    assert!(progress.is_finished(11) && !progress.is_finished(10));
    progress.finish(10);
    assert_eq!((progress.next, progress.gaps()), (Some(13), 0));
    progress.finish(5);
    assert_eq!(progress.next, Some(13));
}

#[test]
fn what_is_finished_is_not_held() {
    let mut progress = Progress::at(10, 0);
    progress.held.insert(10, WAITS);
    progress.held.insert(12, WAITS);
    let mut other = Progress::at(11, 0);
    other.finish(12);
    progress.merge(&other);
    assert_eq!(progress.held, BTreeMap::new());
}

#[test]
fn more_tries_win() {
    let later = Held {
        tries: 2,
        due: 5,
        ..WAITS
    };
    let mut progress = Progress::at(10, 0);
    progress.held.insert(10, later);
    let mut older = Progress::at(10, 0);
    older.held.insert(10, WAITS);
    progress.merge(&older);
    assert_eq!(progress.held[&10], later);
}

#[test]
fn what_does_not_fit_of_done_is_left_out_from_the_top_only() {
    let mut progress = Progress::at(0, 0);
    for offset in (1..4_000).step_by(2) {
        progress.finish(offset);
    }
    let text = progress.encode_done(800);
    assert!(text.len() <= 800 && text.len() > 790);
    let done = Progress::decode_done(0, &text).expect("it was written just now");
    assert_eq!(pairs(&done), pairs(&progress.done)[..done.len()]);
    progress.cut_top(800);
    assert_eq!(progress.done, done);
}

#[test]
fn a_cut_from_the_bottom_leaves_a_hole_below_finished_work() {
    let mut progress = Progress::at(0, 0);
    for offset in (1..4_000).step_by(2) {
        progress.finish(offset);
    }
    progress.cut_bottom(800);
    assert!(!progress.is_finished(1) && progress.is_finished(3_999));
}

#[test]
fn garbled_ranges_are_refused() {
    for (next, text) in [
        (0, "!"),
        (0, "AA"),               // an empty run
        (0, "AQ"),               // a gap without a run
        (0, "gA"),               // a varint without its end
        (0, "////////////////"), // a length above 2^63
        (i64::MAX, "AQE"),       // behind the last offset
        (i64::MAX - 1, "AQE"),
    ] {
        assert!(Progress::decode_done(next, text).is_err(), "{next} {text}");
    }
    assert_eq!(pairs(&Progress::decode_done(7, "AQE").expect("1, 1")), [(8, 9)]);
}

/// What a progress says of the offsets below 60, without any cleverness.
fn finished(progress: &Progress) -> BTreeSet<i64> {
    (0..60).filter(|&offset| progress.is_finished(offset)).collect()
}

prop_compose! {
    fn held()(tries in 1..4_u32, counted in 0..4_u32, first_failed in 0..3_i64, due in 0..3_i64) -> Held {
        Held { tries, counted, first_failed, due }
    }
}

prop_compose! {
    fn progress()(
        next in proptest::option::of(0..40_i64),
        done in proptest::collection::vec((0..50_i64, 1..6_i64), 0..6),
        held in proptest::collection::btree_map(0..60_i64, held(), 0..6),
        epoch in -1..4_i32,
    ) -> Progress {
        let done = done.into_iter().map(|(start, len)| start..start + len).collect();
        let mut progress = Progress { next, done, held, epoch };
        progress.normalise();
        progress
    }
}

fn merged(a: &Progress, b: &Progress) -> Progress {
    let mut a = a.clone();
    a.merge(b);
    a
}

proptest! {
    #[test]
    fn ranges_are_the_set_of_their_offsets(
        changes in proptest::collection::vec((0..3_u8, 0..40_i64, 0..6_i64), 0..40),
    ) {
        let mut set = Ranges::default();
        let mut model = BTreeSet::new();
        for (what, start, len) in changes {
            match what {
                0 => {
                    set.insert_range(start..start + len);
                    model.extend(start..start + len);
                }
                1 => {
                    set.remove_below(start / 4);
                    model.retain(|&offset| offset >= start / 4);
                }
                _ => {
                    set.remove_from(start + 10);
                    model.retain(|&offset| offset < start + 10);
                }
            }
            let offsets: BTreeSet<i64> = set.iter().flat_map(|(start, end)| start..end).collect();
            prop_assert_eq!(&offsets, &model);
            prop_assert!((0..60).all(|offset| set.contains(offset) == model.contains(&offset)));
            let pairs: Vec<_> = set.iter().collect();
            prop_assert!(pairs.iter().all(|(start, end)| start < end));
            prop_assert!(pairs.windows(2).all(|two| two[0].1 < two[1].0));
        }
    }

    #[test]
    fn merge_is_commutative(a in progress(), b in progress()) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
    }

    #[test]
    fn merge_is_associative(a in progress(), b in progress(), c in progress()) {
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
    }

    #[test]
    fn merge_is_idempotent(a in progress(), b in progress()) {
        prop_assert_eq!(merged(&a, &a), a.clone());
        let both = merged(&a, &b);
        prop_assert_eq!(merged(&both, &b), both);
    }

    #[test]
    fn merge_finishes_what_either_has_finished(a in progress(), b in progress()) {
        prop_assume!(a.next.is_some() && b.next.is_some());
        let both: BTreeSet<i64> = finished(&a).union(&finished(&b)).copied().collect();
        prop_assert_eq!(finished(&merged(&a, &b)), both);
    }

    #[test]
    fn done_is_read_as_it_was_written(progress in progress(), shift in 0..1_i64 << 60) {
        prop_assume!(progress.next.is_some());
        let done = progress.done.iter().map(|(start, end)| start + shift..end + shift).collect();
        let progress = Progress { next: progress.next.map(|next| next + shift), done, ..progress };
        let text = progress.encode_done(usize::MAX);
        prop_assert_eq!(Progress::decode_done(progress.next.expect("assumed"), &text), Ok(progress.done));
    }

    #[test]
    fn room_for_less_leaves_a_prefix(progress in progress(), room in 0..30_usize) {
        prop_assume!(progress.next.is_some());
        let next = progress.next.expect("assumed");
        let text = progress.encode_done(room);
        prop_assert!(text.len() <= room);
        let done = Progress::decode_done(next, &text).expect("it was written just now");
        prop_assert!(progress.encode_done(usize::MAX).len() > room || done == progress.done);
        let mut cut = progress.clone();
        cut.cut_top(room);
        prop_assert_eq!(&cut.done, &done);
        prop_assert_eq!(cut.next, progress.next);
        prop_assert!(done.iter().eq(progress.done.iter().take(done.len())));
    }

    #[test]
    fn no_text_makes_it_panic(next in any::<i64>(), text in "[A-Za-z0-9+/=]{0,24}") {
        let _ = Progress::decode_done(next.max(0), &text);
    }
}
