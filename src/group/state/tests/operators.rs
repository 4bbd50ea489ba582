use super::script::{FLOOR, a, at_work, founded, member};
use crate::group::record::{Note, Position, Record, Token};
use crate::group::rules::Rule;
use crate::group::state::{Change, MARK_DISTANCE};
use crate::progress::{Held, Progress};

#[test]
fn a_reset_moves_a_partition_under_a_new_token() {
    let mut script = at_work(None);
    let mut progress = Progress::at(120, 5);
    progress.finish(125);
    progress.held.insert(
        121,
        Held {
            tries: 1,
            counted: 1,
            first_failed: 0,
            due: 0,
        },
    );
    script.reports(1, vec![script.entry(0, progress)]);
    script.assigns(&[(0, Some(2))]);
    let (at, version) = (script.at(), script.state.version);
    let reset = script.reset(0, Some(10));
    let token = Token::granted(FLOOR, at);
    let changes = script.holds(&reset);
    assert_eq!(
        changes,
        [Change::Reset {
            partition: a(0),
            from: Some(120),
            to: Some(10),
            token
        }]
    );
    assert_eq!(script.partition(0).progress, Progress::at(10, -1));
    assert_eq!(script.partition(0).token, Some(token));
    assert_eq!(
        (script.owner(0), script.target(0)),
        (Some(1), Some(2)),
        "they stay"
    );
    assert_eq!(script.state.version, version, "it makes no assignment void");
}

#[test]
fn what_was_in_flight_at_a_reset_can_no_longer_commit() {
    let mut script = at_work(None);
    let entry = script.entry(0, Progress::at(150, 0));
    let reset = script.reset(0, Some(10));
    script.holds(&reset);
    script.reports(1, vec![entry]);
    assert_eq!(script.partition(0).progress.next, Some(10));
}

#[test]
fn without_a_new_token_what_was_in_flight_undoes_the_reset() {
    let mut script = at_work(Some(Rule::ResetToken));
    let entry = script.entry(0, Progress::at(150, 0));
    let reset = script.reset(0, Some(10));
    script.holds(&reset);
    script.reports(1, vec![entry]);
    assert_eq!(script.partition(0).progress.next, Some(150));
}

#[test]
fn of_two_resets_of_the_same_state_the_first_wins() {
    let mut script = at_work(None);
    let (first, second) = (script.reset(0, Some(10)), script.reset(0, Some(20)));
    script.holds(&first);
    assert_eq!(script.void(&second), "the partition has another token by now");
    assert_eq!(script.partition(0).progress.next, Some(10));
}

#[test]
fn without_compare_and_set_a_doubled_reset_throws_back() {
    let mut script = at_work(Some(Rule::CasReset));
    let reset = script.reset(0, Some(10));
    script.holds(&reset);
    script.reports(1, vec![script.entry(0, Progress::at(50, 0))]);
    script.holds(&reset);
    assert_eq!(script.partition(0).progress.next, Some(10));
}

#[test]
fn each_partition_of_a_reset_is_moved_on_its_own() {
    let mut script = at_work(None);
    let reset = Record::Reset {
        by: "anna".into(),
        why: "test".into(),
        partitions: vec![
            (a(0), Some(10), script.token(0)),
            (a(1), Some(10), Token::NONE),
            (a(9), Some(10), Token::NONE),
        ],
    };
    assert_eq!(script.holds(&reset).len(), 1);
    assert_eq!(
        [0, 1].map(|p| script.partition(p).progress.next),
        [Some(10), Some(100)]
    );
}

#[test]
fn a_reset_to_none_drops_the_progress() {
    let mut script = at_work(None);
    let reset = script.reset(0, None);
    script.holds(&reset);
    assert_eq!(script.partition(0).progress, Progress::default());
}

#[test]
fn a_partition_without_a_token_can_be_reset() {
    let mut script = founded();
    script.joins(1, &[("a", 1)]);
    assert_eq!(script.partition(0).token, None);
    let reset = script.reset(0, Some(5));
    script.holds(&reset);
    assert!(script.partition(0).token.is_some());
    assert_eq!(script.void(&reset), "the partition has another token by now");
}

fn skip(offset: i64, seen: Token) -> Record {
    Record::Skip {
        by: "anna".into(),
        why: "poison".into(),
        partition: a(0),
        offset,
        seen,
    }
}

#[test]
fn a_skipped_record_is_finished_and_no_longer_held() {
    let mut script = at_work(None);
    let mut progress = Progress::at(100, 0);
    progress.held.insert(
        100,
        Held {
            tries: 1,
            counted: 1,
            first_failed: 0,
            due: 0,
        },
    );
    progress.finish(101);
    script.reports(1, vec![script.entry(0, progress)]);
    let token = script.token(0);
    script.holds(&skip(100, token));
    assert_eq!(script.partition(0).progress, Progress::at(102, 0));
    assert_eq!(script.token(0), token, "its owner goes on");
    assert_eq!(script.void(&skip(100, token)), "the record is finished already");
    assert_eq!(
        script.void(&skip(103, Token::NONE)),
        "the partition has another token by now"
    );
}

#[test]
fn nothing_is_skipped_before_the_first_position() {
    let mut script = founded();
    script.joins(1, &[("a", 1)]);
    assert_eq!(
        script.void(&skip(0, Token::NONE)),
        "the partition has no position yet"
    );
}

fn pause(partition: Option<i32>, seen: Position) -> Record {
    Record::Pause {
        by: "anna".into(),
        why: "test".into(),
        partition: partition.map(a),
        seen,
    }
}

fn resume(partition: Option<i32>, seen: Position) -> Record {
    Record::Resume {
        by: "anna".into(),
        why: "test".into(),
        partition: partition.map(a),
        seen,
    }
}

#[test]
fn the_group_and_single_partitions_are_paused_each_by_itself() {
    let mut script = at_work(None);
    let at = script.at();
    assert_eq!(script.holds(&pause(None, Position::ZERO)), [Change::Paused(None)]);
    assert_eq!(script.state.pause_seen, at);
    assert_eq!(
        script.holds(&pause(Some(0), Position::ZERO)),
        [Change::Paused(Some(a(0)))]
    );
    script.holds(&resume(None, at));
    assert!(script.state.is_paused(&a(0)) && !script.state.is_paused(&a(1)));
    assert_eq!(
        script.void(&pause(Some(9), Position::ZERO)),
        "there is no such partition"
    );
}

#[test]
fn a_doubled_pause_does_not_undo_a_resume() {
    let mut script = at_work(None);
    let first = pause(None, Position::ZERO);
    let at = script.at();
    script.holds(&first);
    script.holds(&resume(None, at));
    assert_eq!(script.void(&first), "another pause or resume came first");
    assert!(!script.state.paused);
}

#[test]
fn a_resume_of_what_is_not_paused_is_told_and_changes_nothing() {
    let mut script = at_work(None);
    let before = script.state.hash();
    let resumed = resume(None, Position::ZERO);
    assert_eq!(script.holds(&resumed), [Change::Resumed(None)]);
    assert_eq!(
        script.holds(&resume(Some(0), Position::ZERO)),
        [Change::Resumed(Some(a(0)))]
    );
    assert_eq!(script.state.hash(), before);
    // One that comes late, behind a pause, is no answer to that.
    script.holds(&pause(None, Position::ZERO));
    assert_eq!(script.void(&resumed), "another pause or resume came first");
    let seen = script.state.pause_seen;
    assert_eq!(script.void(&pause(None, seen)), "it is paused already");
}

#[test]
fn a_note_changes_nothing_whoever_writes_it() {
    let mut script = at_work(None);
    let before = script.state.clone();
    for member in [member(1), member(9)] {
        let note = Note {
            fuse: Some("20 of the last 20 events were refused".into()),
            ..Note::default()
        };
        let noted = Record::Note { member, note };
        assert_eq!(script.void(&noted), "a note changes nothing");
    }
    assert_eq!(script.state, before);
}

#[test]
fn without_compare_and_set_a_doubled_pause_undoes_a_resume() {
    let mut script = at_work(Some(Rule::CasPause));
    let first = pause(None, Position::ZERO);
    let at = script.at();
    script.holds(&first);
    script.holds(&resume(None, at));
    script.holds(&first);
    assert!(script.state.paused);
}

#[test]
fn a_mark_holds_when_the_last_one_is_100_records_back() {
    let mut script = at_work(None);
    let mark = Record::Mark { by: member(1) };
    let at = script.at();
    let changes = script.holds(&mark);
    let last = script.state.mark.expect("it held");
    assert_eq!((last.at, last.hash), (at, script.state.hash()));
    assert_eq!(changes, [Change::Marked(last)]);
    assert_eq!(script.void(&mark), "the last mark is too near");
    script.offset = at.offset() + MARK_DISTANCE - 1;
    assert_eq!(script.void(&mark), "the last mark is too near");
    script.holds(&mark);
}

#[test]
fn the_hash_stays_the_same_from_build_to_build() {
    // Members of different builds compare it. Where this changes, the record version has to.
    let mut script = at_work(None);
    script.holds(&Record::Mark { by: member(1) });
    assert_eq!(
        String::from_utf8_lossy(&script.state.encode()),
        AT_WORK.replace('\n', "")
    );
    assert_eq!(
        script.state.mark.expect("it held").hash,
        10_555_663_498_010_144_926
    );
}

const AT_WORK: &str = r#"{"level":1,"floor":1790000000000000,"version":"0:3","mark":"0:6","renewed":0,"members":{
"0000000000000001":{"host":"host-1","topics":["a"],"session_ms":10000,"speaks":1,"joined":"0:1","beat":"0:4","n":1},
"0000000000000002":{"host":"host-2","topics":["a"],"session_ms":10000,"speaks":1,"joined":"0:2","beat":"0:5","n":1}},
"gone":[],"topics":{"a":{"id":"YQAAAAAAAAAAAAAAAAAAAA","partitions":4}},"partitions":{"a":{
"0":{"target":"0000000000000001","owner":"0000000000000001","token":1790000000000003,"next":100,"epoch":0},
"1":{"target":"0000000000000001","owner":"0000000000000001","token":1790000000000003,"next":100,"epoch":0},
"2":{"target":"0000000000000002","owner":"0000000000000002","token":1790000000000003,"next":100,"epoch":0},
"3":{"target":"0000000000000002","owner":"0000000000000002","token":1790000000000003,"next":100,"epoch":0}}}}"#;
