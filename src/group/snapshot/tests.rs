use std::sync::Arc;

use super::*;
use crate::group::record::{MAX_RECORD, MemberId, TopicInfo, Unreadable};
use crate::group::state::Mark;

/// A founded group of that many partitions, right after a mark.
fn marked(partitions: i32) -> (State, Position) {
    let mut state = State::default();
    let member = MemberId::random(7);
    let id = [7; 16];
    let records = [
        Record::Found {
            floor: 1 << 50,
            level: 1,
        },
        Record::Join {
            member: member.clone(),
            instance: Some("worker-0".into()),
            host: "here".into(),
            topics: [(Arc::from("orders"), TopicInfo { id, partitions })].into(),
            session_ms: 10_000,
            speaks: 1,
            read: 1,
        },
        Record::Mark { by: member },
    ];
    for (offset, record) in (0..).zip(&records) {
        assert!(state.apply(Rules::all(), Position::new(0, offset), record).held);
    }
    (state, Position::new(0, 2))
}

fn mark() -> Record {
    Record::Mark {
        by: MemberId::random(7),
    }
}

fn read_all(collector: &mut Collector, parts: &[Record]) -> Vec<State> {
    let at = |offset| Position::new(0, offset);
    (10..)
        .zip(parts)
        .filter_map(|(offset, part)| collector.read(at(offset), part))
        .collect()
}

#[test]
fn a_small_state_is_one_piece_and_comes_back() {
    let (state, at) = marked(3);
    let parts = parts(&state, at);
    assert_eq!(parts.len(), 1);
    let mut collector = Collector::new(Rules::all());
    collector.read(at, &mark());
    assert_eq!(read_all(&mut collector, &parts), [state]);
}

#[test]
fn a_large_state_comes_in_pieces_that_fit_into_records() -> Result<(), Unreadable> {
    let (state, at) = marked(50_000);
    let mut parts = parts(&state, at);
    assert!(parts.len() > 1);
    for part in &mut parts {
        let json = part.encode();
        assert!(json.len() <= MAX_RECORD);
        *part = Record::decode(&json)?;
    }
    // In any order, and doubled.
    parts.reverse();
    parts.insert(0, parts[0].clone());
    let mut collector = Collector::new(Rules::all());
    collector.read(at, &mark());
    assert_eq!(read_all(&mut collector, &parts), [state]);
    Ok(())
}

#[test]
fn a_snapshot_whose_mark_was_not_read_is_not_taken() {
    let (state, at) = marked(3);
    let parts = parts(&state, at);
    let mut collector = Collector::new(Rules::all());
    // The same offset in another epoch is another place.
    collector.read(Position::new(1, at.offset()), &mark());
    assert_eq!(read_all(&mut collector, &parts), []);
}

#[test]
fn without_the_cut_rule_a_snapshot_is_taken_whose_mark_is_gone() {
    let (state, at) = marked(3);
    let mut collector = Collector::new(Rules::all().without(Rule::SnapshotCut));
    assert_eq!(read_all(&mut collector, &parts(&state, at)), [state]);
}

#[test]
fn an_incomplete_snapshot_is_not_taken() {
    let (state, at) = marked(50_000);
    let parts = parts(&state, at);
    let mut collector = Collector::new(Rules::all());
    collector.read(at, &mark());
    assert_eq!(read_all(&mut collector, &parts[1..]), []);
    assert_eq!(
        read_all(&mut collector, &parts[..1]),
        [state],
        "until its last piece comes"
    );
}

#[test]
fn a_snapshot_with_a_wrong_hash_is_not_taken() {
    let (state, at) = marked(3);
    let mut parts = parts(&state, at);
    let Record::Part { hash, .. } = &mut parts[0] else {
        panic!("it is a part");
    };
    let right = *hash;
    *hash ^= 1;
    let mut collector = Collector::new(Rules::all());
    collector.read(at, &mark());
    let wrong = parts[0].clone();
    assert_eq!(collector.read(Position::new(0, 10), &wrong), None);
    let Record::Part { hash, bytes, .. } = &mut parts[0] else {
        panic!("it is a part");
    };
    *hash = right;
    bytes.truncate(40);
    assert_eq!(read_all(&mut collector, &parts), []);
}

#[test]
fn pieces_out_of_number_are_passed_over() {
    let (_, at) = marked(3);
    let mut collector = Collector::new(Rules::all());
    collector.read(at, &mark());
    for (n, of) in [(1, 1), (0, 0), (0, u32::MAX)] {
        let part = Record::Part {
            mark: at,
            n,
            of,
            bytes: Vec::new(),
            hash: 0,
        };
        assert_eq!(collector.read(Position::new(0, 10), &part), None);
    }
    assert!(collector.begun.is_empty());
}

#[test]
fn a_state_that_has_moved_on_has_no_snapshot() {
    let (mut state, at) = marked(3);
    assert_eq!(parts(&state, Position::new(0, 1)), []);
    state.paused = true;
    assert_eq!(parts(&state, at), []);
    state.mark = Some(Mark {
        at,
        hash: state.hash(),
    });
    assert_eq!(parts(&state, at).len(), 1);
}
