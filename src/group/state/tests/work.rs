use super::script::{a, at_work, member};
use crate::group::record::{Entry, Record, Report};
use crate::group::rules::{Rule, Rules};
use crate::group::state::{Change, MAX_DONE, bound};
use crate::progress::Progress;

#[test]
fn a_repeat_of_a_report_is_void_and_no_sign_of_life() {
    let mut script = at_work(None);
    let report = Record::Report(script.report(1, vec![]));
    script.holds(&report);
    let beat = script.state.members[&member(1)].beat;
    assert_eq!(script.void(&report), "a repeat of an older report");
    assert_eq!(script.state.members[&member(1)].beat, beat);
}

#[test]
fn a_report_of_the_dead_is_void() {
    let mut script = at_work(None);
    let report = Record::Report(script.report(1, vec![script.entry(0, Progress::at(150, 0))]));
    let expire = script.expire(1);
    script.holds(&expire);
    assert_eq!(script.void(&report), "the member is gone");
}

#[test]
fn a_zombie_commit_is_void() {
    let mut script = at_work(None);
    let entry = script.entry(0, Progress::at(150, 0));
    script.assigns(&[(0, Some(2))]);
    let release = script.release(1, 0);
    script.holds(&release);
    let token = entry.token;
    let changes = script.reports(1, vec![entry]);
    assert_eq!(
        changes,
        [
            Change::Beat(member(1)),
            Change::Stale {
                partition: a(0),
                token
            }
        ]
    );
    assert_eq!(script.partition(0).progress.next, Some(100));
}

#[test]
fn a_commit_by_another_than_the_owner_is_void() {
    let mut script = at_work(None);
    let entry = script.entry(0, Progress::at(150, 0));
    script.reports(2, vec![entry]);
    assert_eq!(script.partition(0).progress.next, Some(100));
}

#[test]
fn each_entry_holds_on_its_own() {
    let mut script = at_work(None);
    let theirs = script.entry(2, Progress::at(150, 0));
    let none = Entry {
        partition: a(70),
        ..theirs.clone()
    };
    let ours = script.entry(1, Progress::at(150, 0));
    script.reports(1, vec![ours, theirs, none]);
    assert_eq!(
        [1, 2].map(|p| script.partition(p).progress.next),
        [Some(150), Some(100)]
    );
}

fn with_done(next: i64, offsets: &[i64]) -> Progress {
    let mut progress = Progress::at(next, 0);
    for &offset in offsets {
        progress.finish(offset);
    }
    progress
}

#[test]
fn progress_is_merged_so_that_what_was_skipped_stays_skipped() {
    let mut script = at_work(None);
    // Written before the member has read the skip.
    let report = Record::Report(script.report(1, vec![script.entry(0, with_done(101, &[105]))]));
    skip_107(&mut script);
    script.holds(&report);
    assert_eq!(script.partition(0).progress, with_done(101, &[105, 107]));
}

#[test]
fn without_merging_a_report_undoes_a_skip() {
    let mut script = at_work(Some(Rule::MergeProgress));
    let report = Record::Report(script.report(1, vec![script.entry(0, with_done(101, &[105]))]));
    skip_107(&mut script);
    script.holds(&report);
    assert!(!script.partition(0).progress.is_finished(107));
}

fn skip_107(script: &mut super::script::Script) {
    let skip = Record::Skip {
        by: "anna".into(),
        why: "test".into(),
        partition: a(0),
        offset: 107,
        seen: script.token(0),
    };
    script.holds(&skip);
}

#[test]
fn an_older_report_under_the_same_token_takes_nothing_back() {
    let mut script = at_work(None);
    script.reports(1, vec![script.entry(0, with_done(120, &[130]))]);
    script.reports(1, vec![script.entry(0, with_done(110, &[125]))]);
    assert_eq!(script.partition(0).progress, with_done(120, &[125, 130]));
}

#[test]
fn a_gap_is_told() {
    let mut script = at_work(None);
    let entry = Entry {
        gap: Some(100..150),
        ..script.entry(0, Progress::at(150, 0))
    };
    let changes = script.reports(1, vec![entry]);
    assert_eq!(
        changes[2],
        Change::Gap {
            partition: a(0),
            lost: 100..150
        }
    );
}

#[test]
fn an_entry_without_a_position_changes_nothing() {
    let mut script = at_work(None);
    let before = script.partition(0).clone();
    script.reports(1, vec![script.entry(0, Progress::default())]);
    assert_eq!(*script.partition(0), before);
}

#[test]
fn a_release_under_an_older_token_is_void() {
    let mut script = at_work(None);
    let release = script.release(1, 0);
    let reset = script.reset(0, Some(10));
    script.holds(&reset);
    script.holds(&release);
    assert_eq!(script.owner(0), Some(1));
}

#[test]
fn what_is_released_back_to_its_owner_has_a_new_token() {
    let mut script = at_work(None);
    let before = script.token(0);
    let release = script.release(1, 0);
    script.holds(&release);
    assert_eq!(script.owner(0), Some(1));
    assert!(script.token(0) > before);
}

#[test]
fn a_release_without_a_target_leaves_the_partition_free() {
    let mut script = at_work(None);
    script.assigns(&[(0, None)]);
    let token = script.token(0);
    let release = script.release(1, 0);
    script.holds(&release);
    assert_eq!((script.owner(0), script.token(0)), (None, token));
    script.assigns(&[(0, Some(2))]);
    assert_eq!(script.owner(0), Some(2));
}

#[test]
fn the_last_progress_counts_before_the_release_in_the_same_record() {
    let mut script = at_work(None);
    script.assigns(&[(0, Some(2))]);
    let entry = script.entry(0, Progress::at(177, 0));
    let report = Record::Report(Report {
        released: vec![(a(0), entry.token)],
        ..script.report(1, vec![entry])
    });
    script.holds(&report);
    assert_eq!(
        (script.owner(0), script.partition(0).progress.next),
        (Some(2), Some(177))
    );
}

/// Every second offset from 1 on.
fn holes(n: i64) -> Progress {
    with_done(0, &(0..n).map(|i| 2 * i + 1).collect::<Vec<_>>())
}

#[test]
fn done_has_16_kib_or_a_share_of_16_mib() {
    let mut few = holes(10_000);
    bound(Rules::all(), &mut few, 6);
    assert!(few.encode_done(usize::MAX).len() <= MAX_DONE);
    assert!(few.gaps() > 6_000);
    let mut many = holes(10_000);
    bound(Rules::all(), &mut many, 10_000);
    assert!(many.encode_done(usize::MAX).len() <= 1_677);
    assert!(many.gaps() > 400);
    assert!(many.is_finished(1), "the top is left out");
}

#[test]
fn without_top_only_a_hole_comes_back_below_finished_work() {
    let mut progress = holes(10_000);
    bound(Rules::all().without(Rule::TopOnly), &mut progress, 10_000);
    assert!(!progress.is_finished(1) && progress.is_finished(19_999));
}

#[test]
fn what_reports_add_up_to_is_bounded_too() {
    let mut script = at_work(None);
    for part in 0..4_i64 {
        let offsets: Vec<_> = (0..5_000).map(|i| 101 + 2 * (part * 5_000 + i)).collect();
        script.reports(1, vec![script.entry(0, with_done(100, &offsets))]);
    }
    let progress = &script.partition(0).progress;
    assert!(progress.encode_done(usize::MAX).len() <= MAX_DONE);
    assert!(progress.is_finished(101));
}
