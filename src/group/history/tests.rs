use std::collections::BTreeMap;

use super::*;
use crate::group::record::{Entry as Reported, MemberId, PartitionId, Report, Token, TopicInfo, Topics};
use crate::group::snapshot;
use crate::progress::Progress;

/// A log as it is written; the state beside it gives what records have to refer to.
struct Written {
    lines: Vec<Line>,
    state: State,
    numbers: BTreeMap<MemberId, u64>,
}

impl Written {
    fn new() -> Self {
        let mut log = Self {
            lines: Vec::new(),
            state: State::default(),
            numbers: BTreeMap::new(),
        };
        log.write(
            0,
            Record::Found {
                floor: 1_000,
                level: 1,
            },
        );
        log
    }

    /// Time in milliseconds.
    fn write(&mut self, time: i64, record: Record) -> Position {
        let at = Position::new(0, i64::try_from(self.lines.len()).unwrap());
        self.state.apply(Rules::all(), at, &record);
        self.lines.push((at, time, Ok(record)));
        at
    }

    fn join(&mut self, time: i64, member: u64, partitions: i32) -> MemberId {
        let id = MemberId::random(member << 32);
        let info = TopicInfo {
            id: [1; 16],
            partitions,
        };
        let join = Record::Join {
            member: id.clone(),
            instance: Some(format!("i{member}")),
            host: format!("h{member}"),
            topics: Topics::from([("orders".into(), info)]),
            session_ms: 10_000,
            speaks: 1,
            read: i64::try_from(self.lines.len()).unwrap(),
        };
        self.write(time, join);
        id
    }

    fn assign(&mut self, time: i64, by: &MemberId, to: &[(i32, &MemberId)]) {
        let to = to
            .iter()
            .map(|&(number, member)| (("orders".into(), number), Some(member.clone())));
        let record = Record::Assign {
            by: by.clone(),
            basis: self.state.version,
            changes: to.collect(),
        };
        self.write(time, record);
    }

    fn report(&mut self, member: &MemberId, next: &[(i32, i64)], release: &[i32]) -> Report {
        let token = |number: i32| {
            self.state.partitions[&("orders".into(), number)]
                .token
                .unwrap_or(Token::NONE)
        };
        let n = self.numbers.entry(member.clone()).or_default();
        *n += 1;
        Report {
            member: member.clone(),
            n: *n,
            entries: next
                .iter()
                .map(|&(number, next)| Reported {
                    partition: ("orders".into(), number),
                    token: token(number),
                    progress: Progress::at(next, -1),
                    gap: None,
                })
                .collect(),
            released: release
                .iter()
                .map(|&number| (("orders".into(), number), token(number)))
                .collect(),
            mark: None,
        }
    }

    /// What is told of the records after this many, without details.
    fn told(&self, after: usize) -> Vec<String> {
        let entries = story(&self.lines);
        let after = i64::try_from(after).unwrap();
        let entries = entries
            .iter()
            .filter(|entry| entry.offset >= after && !entry.event.is_detail());
        entries.map(|entry| entry.event.to_string()).collect()
    }

    fn len(&self) -> usize {
        self.lines.len()
    }
}

#[test]
fn a_group_is_founded_joined_and_assigned() {
    let mut log = Written::new();
    let a = log.join(10, 1, 3);
    log.assign(110, &a, &[(0, &a), (1, &a), (2, &a)]);
    let report = log.report(&a, &[(0, 5), (1, 7)], &[]);
    log.write(200, Record::Report(report));
    assert_eq!(
        log.told(0),
        [
            "the group was founded, level 1",
            "i1 (00000001 on h1) joined for orders, session 10.0 s",
            "i1 (00000001 on h1) decided: orders 0-2 to i1 (00000001 on h1)",
            "i1 (00000001 on h1) got orders 0-2",
            "i1 (00000001 on h1) begins orders 0 at 5, orders 1 at 7",
        ]
    );
    let len = log.len();
    let report = log.report(&a, &[(0, 6)], &[]);
    log.write(300, Record::Report(report));
    assert_eq!(log.told(len), [""; 0], "more progress is no news");
}

#[test]
fn a_hand_over_is_told_with_the_time_since_it_was_decided() {
    let mut log = Written::new();
    let a = log.join(10, 1, 2);
    log.assign(110, &a, &[(0, &a), (1, &a)]);
    let b = log.join(1_000, 2, 2);
    let len = log.len();
    log.assign(1_100, &a, &[(1, &b)]);
    let report = log.report(&a, &[(1, 7)], &[1]);
    log.write(1_350, Record::Report(report));
    assert_eq!(
        log.told(len),
        [
            "i1 (00000001 on h1) decided: orders 1 from i1 (00000001 on h1) to i2 (00000002 on h2)",
            "i1 (00000001 on h1) begins orders 1 at 7",
            "i2 (00000002 on h2) took over orders 1 from i1 (00000001 on h1) in 0.25 s",
        ]
    );
}

#[test]
fn an_expiry_tells_by_whom_after_how_long_and_who_had_to_wait() {
    let mut log = Written::new();
    let a = log.join(10, 1, 2);
    let b = log.join(20, 2, 2);
    log.assign(110, &a, &[(0, &a), (1, &b)]);
    let len = log.len();
    let expire = Record::Expire {
        member: b.clone(),
        seen: log.state.members[&b].beat,
        by: a.clone(),
        after_ms: 10_020,
    };
    log.write(10_200, expire);
    log.assign(10_450, &a, &[(1, &a)]);
    assert_eq!(
        log.told(len),
        [
            "i2 (00000002 on h2) was expired by i1 (00000001 on h1) after 10.0 s of silence; it owned orders 1",
            "i1 (00000001 on h1) decided: orders 1 from i2 (00000002 on h2) to i1 (00000001 on h1)",
            "i1 (00000001 on h1) got orders 1, unowned for 0.25 s after i2 (00000002 on h2)",
        ]
    );
}

#[test]
fn operators_are_named_with_their_reasons() {
    let mut log = Written::new();
    let a = log.join(10, 1, 2);
    log.assign(110, &a, &[(0, &a), (1, &a)]);
    let report = log.report(&a, &[(0, 5), (1, 7)], &[]);
    log.write(200, Record::Report(report));
    let len = log.len();
    let partition: PartitionId = ("orders".into(), 0);
    let by = || "ann@desk".to_owned();
    let seen = |log: &Written| log.state.partitions[&("orders".into(), 0)].seen();
    let record = Record::Skip {
        by: by(),
        why: "not JSON".to_owned(),
        partition: partition.clone(),
        offset: 9,
        seen: seen(&log),
    };
    log.write(300, record);
    let record = Record::Reset {
        by: by(),
        why: "incident 42".to_owned(),
        partitions: vec![(partition.clone(), Some(0), seen(&log))],
    };
    log.write(310, record);
    let record = Record::Pause {
        by: by(),
        why: String::new(),
        partition: None,
        seen: Position::ZERO,
    };
    let paused = log.write(320, record);
    let record = Record::Resume {
        by: by(),
        why: String::new(),
        partition: None,
        seen: paused,
    };
    log.write(330, record);
    let record = Record::Pause {
        by: by(),
        why: "look".to_owned(),
        partition: Some(partition),
        seen: Position::ZERO,
    };
    log.write(340, record);
    assert_eq!(
        log.told(len),
        [
            "ann@desk skipped offset 9 of orders 0 (not JSON)",
            "ann@desk reset orders 0: 5 → 0 (incident 42)",
            "ann@desk paused the group",
            "ann@desk resumed the group",
            "ann@desk paused orders 0 (look)",
        ]
    );
}

#[test]
fn losses_growth_and_leaving_are_told() {
    let mut log = Written::new();
    let a = log.join(10, 1, 1);
    log.assign(110, &a, &[(0, &a)]);
    let len = log.len();
    let mut report = log.report(&a, &[(0, 40)], &[]);
    report.entries[0].gap = Some(10..40);
    log.write(200, Record::Report(report));
    let grow = Record::Grow {
        topic: "orders".into(),
        id: [1; 16],
        partitions: 2,
        was: None,
    };
    log.write(210, grow);
    let report = log.report(&a, &[], &[0]);
    log.write(220, Record::Leave(report));
    let told = log.told(len);
    assert_eq!(told[0], "i1 (00000001 on h1) begins orders 0 at 40");
    assert_eq!(
        told[1],
        "orders 0: offsets 10 to 39 were gone before i1 (00000001 on h1) got to them"
    );
    assert_eq!(told[2], "topic orders grew from 1 to 2 partitions");
    assert!(told[3].starts_with("i1 (00000001 on h1) left"), "{}", told[3]);
}

#[test]
fn what_is_void_is_a_detail_with_its_reason() {
    let mut log = Written::new();
    let a = log.join(10, 1, 1);
    let stale = Record::Expire {
        member: a.clone(),
        seen: Position::new(9, 9),
        by: a,
        after_ms: 10_000,
    };
    let at = log.write(20, stale);
    log.lines
        .push((Position::new(0, at.offset() + 1), 30, Err(Unreadable::NotJson)));
    assert_eq!(log.told(2), [""; 0]);
    let entries = story(&log.lines);
    let details: Vec<&Event> = entries
        .iter()
        .map(|entry| &entry.event)
        .filter(|event| event.is_detail())
        .collect();
    match details.as_slice() {
        [
            Event::Void {
                record: "expire",
                by: Some(by),
                why,
            },
            Event::Void {
                record: "record",
                why: unreadable,
                ..
            },
        ] => {
            assert_eq!(by, "i1 (00000001 on h1)");
            assert!(!why.is_empty());
            assert!(unreadable.contains("JSON"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_that_was_cut_is_told_from_its_snapshot_on() {
    let mut log = Written::new();
    let a = log.join(10, 1, 1);
    log.assign(110, &a, &[(0, &a)]);
    for time in 0..100 {
        let report = log.report(&a, &[(0, time)], &[]);
        log.write(200 + time, Record::Report(report));
    }
    let mark = log.write(400, Record::Mark { by: a.clone() });
    for part in snapshot::parts(&log.state, mark) {
        log.write(410, part);
    }
    let partition: PartitionId = ("orders".into(), 0);
    let reset = Record::Reset {
        by: "ann".to_owned(),
        why: String::new(),
        partitions: vec![(
            partition.clone(),
            Some(3),
            log.state.partitions[&partition].seen(),
        )],
    };
    log.write(420, reset);
    log.lines.drain(..usize::try_from(mark.offset()).unwrap() - 5);
    assert_eq!(
        log.told(0),
        [
            format!(
                "older records are gone; a snapshot as of offset {} has one member: i1 (00000001 on h1)",
                mark.offset()
            ),
            "ann reset orders 0: 99 → 3".to_owned(),
        ]
    );
    log.lines
        .retain(|(_, _, record)| !matches!(record, Ok(Record::Part { .. })));
    let told = log.told(0);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("cannot be told"), "{}", told[0]);
}

#[test]
fn entries_are_flat_json_with_their_time() {
    let log = Written::new();
    let json = serde_json::to_value(story(&log.lines)).unwrap();
    let expected = serde_json::json!([{
        "time": "1970-01-01T00:00:00.000Z", "offset": 0, "epoch": 0, "event": "founded", "level": 1
    }]);
    assert_eq!(json, expected);
}

#[test]
fn a_log_of_nothing_has_no_story() {
    assert_eq!(story(&[]), []);
}
