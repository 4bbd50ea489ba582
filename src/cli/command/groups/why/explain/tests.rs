use super::*;
use crate::group::record::{Last, Open, Token, Waiting};
use crate::group::state::MemberInfo;
use crate::progress::{Held, Progress};

const NOW: i64 = 1_700_000_000_000;

fn member() -> MemberId {
    MemberId::random(1)
}

fn id() -> PartitionId {
    ("orders".into(), 3)
}

/// A group of one member that owns a partition and has finished it up to 100.
fn state() -> State {
    let mut state = State::default();
    let info = MemberInfo {
        instance: Some("worker-0".to_owned()),
        host: "node-7".to_owned(),
        topics: BTreeSet::from(["orders".into()]),
        session_ms: 10_000,
        speaks: 1,
        joined: Position::new(0, 1),
        beat: Position::new(0, 2),
        n: 0,
    };
    state.members.insert(member(), info);
    let partition = PartitionState {
        target: Some(member()),
        owner: Some(member()),
        token: Token::try_from(77).ok(),
        progress: Progress::at(100, -1),
        ..PartitionState::default()
    };
    state.partitions.insert(id(), partition);
    state
}

fn hold(state: &mut State, offset: i64) {
    let held = Held {
        tries: 7,
        counted: 3,
        first_failed: NOW - 90_000,
        due: NOW + 12_000,
    };
    if let Some(partition) = state.partitions.get_mut(&id()) {
        partition.progress.held.insert(offset, held);
    }
}

fn holds(token: u64) -> Holds {
    Holds {
        token: Token::try_from(token).unwrap(),
        stopped: None,
        running: None,
        held: vec![Waiting {
            offset: 100,
            last: Some(Last {
                outcome: "retry".to_owned(),
                status: Some("503".to_owned()),
                excerpt: "down".to_owned(),
            }),
            dead: None,
            unwritten: None,
        }],
    }
}

fn noted(holds: Holds) -> Note {
    Note {
        partitions: BTreeMap::from([(id(), holds)]),
        ..Note::default()
    }
}

/// A log in which the member reported so many milliseconds ago.
fn reported(ago: i64) -> Vec<LogLine> {
    vec![(Position::new(0, 2), NOW - ago, Ok(Record::Mark { by: member() }))]
}

struct Asked {
    partitions: Vec<Why>,
    members: Vec<MemberWhy>,
}

fn ask(state: &State, note: Option<&Note>, log: &[LogLine], end: i64) -> Asked {
    let me = member();
    let bounds = BTreeMap::from([(id(), (0, end))]);
    let facts = Facts {
        state,
        notes: note.map(|note| (&me, (NOW - 1_000, note))).into_iter().collect(),
        log,
        bounds: &bounds,
        now: NOW,
    };
    Asked {
        partitions: facts.partitions(&[id()]),
        members: facts.members(),
    }
}

fn reasons(state: &State, note: Option<&Note>) -> Vec<&'static str> {
    let asked = ask(state, note, &reported(0), 150);
    asked.partitions.into_iter().flat_map(|why| why.reasons).collect()
}

#[test]
fn a_partition_that_is_at_its_end_is_left_out_and_one_behind_has_a_backlog() {
    assert!(ask(&state(), None, &[], 100).partitions.is_empty());
    let behind = ask(&state(), None, &reported(0), 150).partitions;
    assert_eq!((behind[0].lag, behind[0].is_held_back()), (Some(50), false));
    assert_eq!(behind[0].reasons, ["backlog"]);
}

#[test]
fn a_held_record_is_told_with_its_attempts_and_its_last_answer() {
    let mut state = state();
    hold(&mut state, 100);
    let why = ask(&state, Some(&noted(holds(77))), &reported(0), 101).partitions;
    assert_eq!((why[0].reasons.as_slice(), why[0].held), (["held"].as_slice(), 1));
    let text = format!(
        "{}\n{}",
        table(&why).render(false),
        records::table(&why).render(false)
    );
    for part in [
        "worker-0 on node-7",
        "1 event waits after failures",
        "503: down",
        "90 s",
        "in 12 s",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_was_noted_under_another_token_is_of_the_past() {
    let mut state = state();
    hold(&mut state, 100);
    let why = ask(&state, Some(&noted(holds(76))), &reported(0), 150).partitions;
    assert!(
        records::table(&why).render(false).ends_with('-'),
        "no answer is known"
    );
    assert_eq!(why[0].records.len(), 1);
}

#[test]
fn a_record_that_only_its_owner_knows_of_is_told_until_it_is_finished() {
    let mut state = state();
    assert_eq!(reasons(&state, Some(&noted(holds(77)))), ["held"]);
    if let Some(partition) = state.partitions.get_mut(&id()) {
        partition.progress.finish(100);
    }
    assert_eq!(reasons(&state, Some(&noted(holds(77)))), ["backlog"]);
}

#[test]
fn of_many_records_the_oldest_are_told() {
    let mut state = state();
    (100..140).for_each(|offset| hold(&mut state, offset));
    let why = &ask(&state, None, &reported(0), 150).partitions[0];
    assert_eq!((why.held, why.records.len()), (40, MAX_RECORDS));
    assert_eq!(why.records[0].offset, 100);
}

#[test]
fn nobody_owns_it_for_a_reason() {
    let mut state = state();
    let mut of = |change: &dyn Fn(&mut State)| {
        if let Some(partition) = state.partitions.get_mut(&id()) {
            (partition.owner, partition.target) = (None, None);
        }
        change(&mut state);
        let why = ask(&state, None, &[], 150).partitions.remove(0);
        (why.reasons[0], why.why)
    };
    let target = |state: &mut State, target: Option<MemberId>| {
        if let Some(partition) = state.partitions.get_mut(&id()) {
            partition.target = target;
        }
    };
    let (reason, text) = of(&|state| target(state, Some(member())));
    assert_eq!(
        (reason, text.as_str()),
        ("moving", "nobody owns it: worker-0 on node-7 is about to")
    );
    assert_eq!(of(&|_| {}), ("no_owner", "nobody owns it yet".to_owned()));
    let (_, text) = of(&|state| {
        state.members.get_mut(&member()).unwrap().topics.clear();
    });
    assert!(text.ends_with("no member subscribes to orders"), "{text}");
    let (_, text) = of(&|state| state.members.clear());
    assert!(text.ends_with("the group has no members"), "{text}");
}

#[test]
fn an_owner_that_has_died_with_nobody_left_to_notice_is_silent() {
    let mut state = state();
    let why = |state: &State, ago| ask(state, None, &reported(ago), 150).partitions[0].clone();
    assert_eq!(why(&state, 19_000).reasons, ["backlog"]);
    let silent = why(&state, 300_000);
    assert_eq!(silent.reasons, ["silent"]);
    assert!(silent.why.contains("5 min ago"), "{}", silent.why);
    // One whose last report is no longer in the log is not accused.
    state.members.get_mut(&member()).unwrap().beat = Position::new(0, 9);
    assert_eq!(why(&state, 300_000).reasons, ["backlog"]);
}

#[test]
fn a_pause_is_told_with_who_and_why() {
    let mut state = state();
    let at = Position::new(0, 7);
    (state.paused, state.pause_seen) = (true, at);
    let pause = Record::Pause {
        by: "ann@ops".to_owned(),
        why: "the database is moved".to_owned(),
        partition: None,
        seen: Position::ZERO,
    };
    let mut log = reported(0);
    log.push((at, NOW - 60_000, Ok(pause)));
    let why = &ask(&state, None, &log, 150).partitions[0];
    assert_eq!(why.reasons, ["paused"]);
    assert_eq!(
        why.why,
        "the group is paused by ann@ops for 60 s (the database is moved)"
    );
    assert!(
        ask(&state, None, &log, 100).partitions.is_empty(),
        "there is nothing to do"
    );
}

#[test]
fn a_slow_handler_is_told_until_what_it_has_is_finished() {
    let mut state = state();
    let note = noted(Holds {
        running: Some((120, NOW - 35_000)),
        held: Vec::new(),
        ..holds(77)
    });
    let why = &ask(&state, Some(&note), &reported(0), 150).partitions[0];
    assert_eq!(why.reasons, ["slow"]);
    assert_eq!(why.why, "the handler has had offset 120 for 35 s");
    if let Some(partition) = state.partitions.get_mut(&id()) {
        partition.progress.finish(120);
    }
    assert_eq!(reasons(&state, Some(&note)), ["backlog"]);
}

#[test]
fn breaker_and_fuse_are_told_of_the_member_and_of_what_they_hold_back() {
    let mut state = state();
    hold(&mut state, 100);
    let note = Note {
        breaker: Some(Open {
            since: NOW - 34_000,
            probe: Some(NOW + 12_000),
            by: holds(77).held.remove(0).last,
        }),
        fuse: Some("20 of the last 20 events were refused".to_owned()),
        ..Note::default()
    };
    assert_eq!(reasons(&state, Some(&note)), ["breaker", "fuse", "held"]);
    let members = ask(&state, Some(&note), &reported(0), 150).members;
    let lines = members[0].lines("g", NOW);
    assert_eq!(
        lines[0],
        "worker-0 on node-7: the breaker has been open for 34 s: 503: down; one event is tried in 12 s"
    );
    assert!(
        lines[1].contains("20 of the last 20 events were refused"),
        "{}",
        lines[1]
    );
    assert!(lines[1].ends_with("barnabas groups resume g"), "{}", lines[1]);
    assert!(ask(&state, Some(&Note::default()), &[], 150).members.is_empty());
}

#[test]
fn a_span_is_rounded_down_to_its_unit() {
    let spans = [0.4, 119.9, 120.0, 7_199.0, 7_200.0, 172_799.0, 172_800.0].map(span);
    assert_eq!(spans, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d"]);
}
