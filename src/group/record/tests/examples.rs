//! A record of each type, and the page of the manual that shows them.

use super::*;

fn member(n: u64) -> MemberId {
    MemberId::random(0x5f3a_9c1e_77d0_0b00 + n)
}

fn orders(partition: i32) -> PartitionId {
    ("orders".into(), partition)
}

const ID: [u8; 16] = *b"\x8c\x11\x5e\xd0\x2a\x9b\x4f\x01\xa7\x60\x33\x1c\x9d\x0e\xf2\x45";
const NEW_ID: [u8; 16] = *b"\x1f\x40\x77\xa2\x90\x5d\x4b\xee\x8f\x03\x6c\x21\x55\xb8\x9a\x07";
const FLOOR: u64 = 1_790_000_000_000_000;

fn topics() -> Topics {
    Topics::from([(
        "orders".into(),
        TopicInfo {
            id: ID,
            partitions: 6,
        },
    )])
}

fn token(offset: i64) -> Token {
    Token::granted(FLOOR, Position::new(3, offset))
}

fn a_report() -> Report {
    let mut one = Progress::at(120_453, 7);
    one.done = [120_455..120_458, 120_460..120_461].into_iter().collect();
    one.held.insert(
        120_453,
        Held {
            tries: 2,
            counted: 1,
            first_failed: 1_790_000_100_000,
            due: 1_790_000_160_000,
        },
    );
    let entry = |partition, progress, gap| Entry {
        partition: orders(partition),
        token: token(42),
        progress,
        gap,
    };
    Report {
        member: member(1),
        n: 17,
        entries: vec![
            entry(0, one, None),
            entry(1, Progress::at(99_812, 7), Some(95_000..99_800)),
            entry(2, Progress::at(7_001, 7), None),
        ],
        released: vec![(orders(2), token(42))],
        mark: Some((Position::new(3, 1_000), 0x8f1d_22c0_4be7_9a35)),
    }
}

fn a_note() -> Note {
    let last = |status: &str, excerpt: &str| Last {
        outcome: "retry".into(),
        status: Some(status.into()),
        excerpt: excerpt.into(),
    };
    let holds = Holds {
        token: token(42),
        stopped: Some("4,096 events are not finished".into()),
        running: Some((120_470, 1_790_000_130_000)),
        held: vec![Waiting {
            offset: 120_453,
            last: Some(last("409", "409 Conflict: no such customer")),
            dead: Some("exhausted".into()),
            unwritten: Some("topic orders.dlq.billing does not exist".into()),
        }],
    };
    Note {
        breaker: Some(Open {
            since: 1_790_000_150_000,
            probe: Some(1_790_000_160_000),
            by: Some(last("503", "503 Service Unavailable: the database is down")),
        }),
        fuse: Some("60 of the last 100 events were refused".into()),
        pause: Some(1_790_000_170_000),
        partitions: BTreeMap::from([(orders(0), holds)]),
    }
}

/// A sentence about a record of each type, and the record.
pub(super) fn all() -> Vec<(&'static str, Record)> {
    vec![
        (
            "The first record of a log. `floor` is the founder's clock in microseconds: every token is at least that.",
            Record::Found {
                floor: FLOOR,
                level: 1,
            },
        ),
        (
            "A member comes. `instance` is there only if it was started with one. `read` is the next offset it would \
             have read when it wrote this.",
            Record::Join {
                member: member(1),
                instance: Some("worker-0".into()),
                host: "10.0.7.12".into(),
                topics: topics(),
                session_ms: 10_000,
                speaks: 1,
                read: 5,
            },
        ),
        (
            "A member's sign of life. `n` is its number; a repeat is void. For each partition that changed: `next` is \
             the first offset that is not finished; `done` the ranges finished above it (base64 of varint run \
             lengths: so many not finished, so many finished, …); `held` the records that wait for another try \
             (offset, tries, tries that count, first failure and next try in milliseconds since 1970; without tries \
             it marks the last of those that may have been delivered, by an owner that died or by a handler that was cut \
             off, together with all before it that are not finished); `epoch` the topic's leader epoch; `gap` the offsets that retention deleted before they were processed. `released` \
             partitions are given up. `mark` is the member's hash of the state at the last mark.",
            Record::Report(a_report()),
        ),
        (
            "A member's last report: it goes. The fields are those of a report.",
            Record::Leave(Report {
                entries: Vec::new(),
                released: Vec::new(),
                mark: None,
                n: 18,
                ..a_report()
            }),
        ),
        (
            "A member was silent for its whole session. Void if it has given a sign of life since the one `seen`.",
            Record::Expire {
                member: member(2),
                seen: Position::new(3, 870),
                by: member(1),
                after_ms: 10_012,
            },
        ),
        (
            "Which member should own what, as far as that changes; `none`: nobody for the time being. Void if it is \
             not based on the latest state.",
            Record::Assign {
                by: member(1),
                basis: Position::new(3, 40),
                changes: BTreeMap::from([
                    (orders(0), Some(member(1))),
                    (orders(1), Some(member(1))),
                    (orders(2), Some(member(3))),
                    (orders(5), None),
                ]),
            },
        ),
        (
            "All the topics that a member subscribes to from now on. With none it is about to leave, and its \
             partitions are moved to others first.",
            Record::Subscribe {
                member: member(1),
                n: 19,
                topics: Topics::new(),
            },
        ),
        (
            "A topic has more partitions. With `was`, the topic's former id, it was deleted and made anew.",
            Record::Grow {
                topic: "orders".into(),
                id: NEW_ID,
                partitions: 12,
                was: Some(ID),
            },
        ),
        (
            "Partitions are moved: `to` an offset, or to none (the first position is worked out again). Void for a \
             partition whose token is not the one `seen` any more (0: it had none).",
            Record::Reset {
                by: "anna@ops-1".into(),
                why: "replay since the deploy".into(),
                partitions: vec![
                    (orders(0), Some(118_000), token(42)),
                    (orders(1), None, token(42)),
                ],
            },
        ),
        (
            "A record counts as finished, whatever became of it.",
            Record::Skip {
                by: "anna@ops-1".into(),
                why: "poison".into(),
                partition: orders(0),
                offset: 120_453,
                seen: token(42),
            },
        ),
        (
            "Nothing new is started, here for one partition; without `topic` and `partition` in the whole group. \
             `seen` is the position of the pause or resume before.",
            Record::Pause {
                by: "anna@ops-1".into(),
                why: "the database is being moved".into(),
                partition: Some(orders(0)),
                seen: Position::ZERO,
            },
        ),
        (
            "The end of a pause, here that of the whole group.",
            Record::Resume {
                by: "anna@ops-1".into(),
                why: "done".into(),
                partition: None,
                seen: Position::new(3, 901),
            },
        ),
        (
            "The record version in force is raised: no older barnabas can join from here on.",
            Record::Level {
                by: "anna@ops-1".into(),
                level: 2,
            },
        ),
        (
            "Every owner gets a new token, after the log was cut back by an unclean election.",
            Record::Renew { by: member(1) },
        ),
        (
            "Every member computes a hash of the state here, and a snapshot may follow.",
            Record::Mark { by: member(1) },
        ),
        (
            "A piece of the snapshot of the state as of a `mark`: piece `n`, from 0, `of` so many. Put together, the \
             `bytes` (base64) are JSON.",
            Record::Part {
                mark: Position::new(3, 1_000),
                n: 0,
                of: 1,
                bytes: br#"{"level":1,"floor":1790000000000000,"#.to_vec(),
                hash: 0x8f1d_22c0_4be7_9a35,
            },
        ),
        (
            "What holds a member's work back, for `groups why`; it takes the place of what that member noted before. \
             `breaker`: open `since`, the next `probe`, and the answer that opened it; `fuse`: what blew it; `pause`: \
             until then the handler wants nothing. Of a partition, while it has this `token`: why fetching has \
             `stopped`; `running`: the event that the handler has had for longest, and since when; `held`: some of \
             the events that wait, with the `last` answer, the reason why one is to become a `dead` letter, and why \
             that was not written (`unwritten`). Times are milliseconds since 1970. Of events there is nothing but \
             their offsets.",
            Record::Note {
                member: member(1),
                note: a_note(),
            },
        ),
    ]
}

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/group-log.md");
const MARKER: &str = "<!-- From here on written by `BLESS=1 cargo test --lib group::record`. -->\n";

/// `BLESS=1 cargo test --lib group::record` writes the examples anew.
#[test]
fn the_manual_shows_each_record_as_it_is_written() {
    let page = std::fs::read_to_string(PAGE).expect("docs/group-log.md");
    let (head, shown) = page.split_once(MARKER).expect("the marker is in the page");
    let mut examples = String::new();
    for (sentence, record) in all() {
        let json = String::from_utf8(record.encode()).expect("JSON is text");
        examples += &format!("\n### {}\n\n{sentence}\n\n```json\n{json}\n```\n", record.kind());
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's own switch, not a setting of the program"
    )]
    let bless = std::env::var_os("BLESS").is_some();
    if bless {
        std::fs::write(PAGE, format!("{head}{MARKER}{examples}")).expect("docs/group-log.md can be written");
    } else {
        assert_eq!(
            shown, examples,
            "BLESS=1 cargo test --lib group::record, then review the difference"
        );
    }
}

#[test]
fn there_is_an_example_of_each_type() {
    let kinds: std::collections::BTreeSet<_> = all().iter().map(|(_, record)| record.kind()).collect();
    assert_eq!(kinds.len(), 17);
}
