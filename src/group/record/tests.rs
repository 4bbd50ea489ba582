use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::progress::Held;

mod examples;

fn decoded(text: &str) -> Result<Record, Unreadable> {
    Record::decode(text.as_bytes())
}

#[test]
fn each_record_is_read_as_it_was_written() {
    for (_, record) in examples::all() {
        let json = record.encode();
        assert_eq!(
            Record::decode(&json),
            Ok(record),
            "{}",
            String::from_utf8_lossy(&json)
        );
    }
}

#[test]
fn unknown_fields_are_passed_over() {
    for (_, record) in examples::all() {
        let mut json: serde_json::Value = serde_json::from_slice(&record.encode()).expect("JSON");
        json["from_the_future"] = serde_json::json!({"a": [1, 2]});
        assert_eq!(Record::decode(json.to_string().as_bytes()), Ok(record));
    }
}

#[test]
fn an_unknown_type_of_this_version_is_named() {
    let unknown = decoded(r#"{"v":1,"type":"sing"}"#);
    assert_eq!(unknown, Err(Unreadable::UnknownType("sing".into())));
}

#[test]
fn a_newer_version_is_told() {
    assert_eq!(
        decoded(r#"{"v":2,"type":"mark","by":5}"#),
        Err(Unreadable::Version(2))
    );
    assert_eq!(
        decoded(r#"{"type":"mark","v":18446744073709551615}"#),
        Err(Unreadable::Version(u32::MAX))
    );
}

#[test]
fn garbage_is_no_json() {
    for garbage in [
        "",
        "hello",
        "[]",
        "{}",
        r#"{"v":"1","type":"mark"}"#,
        "{\"v\":1,",
        "\u{0}",
    ] {
        assert_eq!(decoded(garbage), Err(Unreadable::NotJson), "{garbage:?}");
    }
    assert_eq!(Record::decode(&[0xff, 0xfe]), Err(Unreadable::NotJson));
}

#[test]
fn what_is_too_large_is_not_looked_at() {
    let large = vec![b' '; MAX_RECORD + 1];
    assert_eq!(Record::decode(&large), Err(Unreadable::TooLarge(MAX_RECORD + 1)));
}

#[test]
fn wrong_fields_are_told() {
    let member = "0123456789abcdef";
    for wrong in [
        r#"{"v":1,"type":"mark"}"#.to_owned(),
        r#"{"v":1,"type":"mark","by":"me"}"#.to_owned(),
        r#"{"v":0,"type":"mark","by":"0123456789abcdef"}"#.to_owned(),
        r#"{"v":1,"type":"found","floor":4503599627370496,"level":1}"#.to_owned(),
        r#"{"v":1,"type":"found","floor":1,"level":0}"#.to_owned(),
        format!(
            r#"{{"v":1,"type":"report","member":"{member}","n":1,"progress":{{"a":{{"-1":{{"token":1}}}}}}}}"#
        ),
        format!(
            r#"{{"v":1,"type":"report","member":"{member}","n":1,"progress":{{"a":{{"0":{{"token":1,"next":-1}}}}}}}}"#
        ),
        format!(
            r#"{{"v":1,"type":"report","member":"{member}","n":1,"progress":{{"a":{{"0":{{"token":1,"done":"AQE"}}}}}}}}"#
        ),
        format!(
            r#"{{"v":1,"type":"report","member":"{member}","n":1,"progress":{{"a":{{"0":{{"token":1,"next":1,"done":"AA"}}}}}}}}"#
        ),
        format!(
            r#"{{"v":1,"type":"report","member":"{member}","n":1,"progress":{{"a":{{"0":{{"token":1,"gap":[3,3]}}}}}}}}"#
        ),
        format!(
            r#"{{"v":1,"type":"report","member":"{member}","n":1,"released":{{"a":{{"0":9007199254740992}}}}}}"#
        ),
        format!(
            r#"{{"v":1,"type":"subscribe","member":"{member}","n":1,"topics":{{"a":{{"id":"AAAA","partitions":1}}}}}}"#
        ),
        format!(
            r#"{{"v":1,"type":"subscribe","member":"{member}","n":1,"topics":{{"a":{{"id":"AAAAAAAAAAAAAAAAAAAAAA","partitions":2000000000}}}}}}"#
        ),
        r#"{"v":1,"type":"pause","by":"x","why":"","topic":"a","seen":"0:0"}"#.to_owned(),
        r#"{"v":1,"type":"pause","by":"x","why":"","seen":"-1:0"}"#.to_owned(),
        r#"{"v":1,"type":"skip","by":"x","why":"","topic":"a","partition":0,"offset":-1,"seen":1}"#
            .to_owned(),
        r#"{"v":1,"type":"part","mark":"0:5","n":0,"of":1,"hash":"0","bytes":"?"}"#.to_owned(),
    ] {
        assert!(
            matches!(decoded(&wrong), Err(Unreadable::Malformed(_))),
            "{wrong}: {:?}",
            decoded(&wrong)
        );
    }
}

#[test]
fn progress_out_of_line_is_written_in_line() {
    let mut report = report(1, 1, 0);
    report.entries[0].progress.done.insert_range(0..8);
    let Ok(Record::Report(read)) = Record::decode(&Record::Report(report).encode()) else {
        panic!("it cannot be read");
    };
    assert_eq!(read.entries[0].progress, Progress::at(8, 0));
}

#[test]
fn positions_are_ordered_by_epoch_first() {
    assert!(Position::new(1, 0) > Position::new(0, i64::MAX));
    assert!(Position::new(1, 5) > Position::new(1, 4));
    assert_eq!(Position::new(-1, 7), Position::new(0, 7));
    assert_eq!("3:17".parse(), Ok(Position::new(3, 17)));
    assert_eq!(Position::new(3, 17).to_string(), "3:17");
    for wrong in ["", "3", "3:", ":1", "-1:1", "1:-1", "1:2:3", "4294967296:1"] {
        assert!(wrong.parse::<Position>().is_err(), "{wrong}");
    }
}

#[test]
fn a_token_grows_with_the_position_and_stays_below_2_to_the_53rd() {
    let floor = 1_790_000_000_000_000;
    let mut last = Token::NONE;
    for at in [(0, 1), (0, 2), (0, 1 << 31), (1, 3), (7, 4), (1 << 19, 5)] {
        let token = Token::granted(floor, Position::new(at.0, at.1));
        assert!(token > last, "{at:?}");
        last = token;
    }
    assert!(last < Token::MAX);
    assert_eq!(
        Token::granted(u64::MAX, Position::new(i32::MAX, i64::MAX)),
        Token::MAX
    );
    assert!(Token::try_from(1 << 53).is_err());
}

#[test]
fn a_member_s_id_has_16_digits() {
    let id = MemberId::random(0xab);
    assert_eq!(id.as_str(), "00000000000000ab");
    assert_eq!("00000000000000ab".parse(), Ok(id));
    for wrong in ["", "ab", "00000000000000AB", "00000000000000a\u{e9}"] {
        assert!(wrong.parse::<MemberId>().is_err(), "{wrong}");
    }
}

/// A report with as many entries, of which each second one has done work above a hole, and as many releases.
fn report(n: u64, entries: i32, released: i32) -> Report {
    let id = |partition| (Arc::from("orders"), partition);
    let token = Token::granted(1 << 50, Position::ZERO);
    let entry = |partition| {
        let mut progress = Progress::at(5, 0);
        if partition % 2 == 1 {
            progress.finish(9);
        }
        Entry {
            partition: id(partition),
            token,
            progress,
            gap: None,
        }
    };
    Report {
        member: MemberId::random(1),
        n,
        entries: (0..entries).map(entry).collect(),
        released: (0..released).map(|partition| (id(partition), token)).collect(),
        mark: Some((Position::new(1, 2), 3)),
    }
}

#[test]
fn a_small_report_stays_whole() {
    let report = report(7, 20, 3);
    assert_eq!(split_report(report.clone(), MAX_REPORT), [report]);
}

#[test]
fn a_large_report_is_split_between_partitions() {
    let whole = report(7, 1_000, 300);
    let pieces = split_report(whole.clone(), 10_000);
    assert!(pieces.len() > 5);
    let mut entries = Vec::new();
    let mut released = Vec::new();
    for (n, piece) in (7..).zip(&pieces) {
        assert!(Record::Report(piece.clone()).encode().len() <= 10_000);
        assert_eq!((&piece.member, piece.n), (&whole.member, n));
        entries.extend(piece.entries.clone());
        // The last progress and the release are one record.
        for release in &piece.released {
            assert!(piece.entries.iter().any(|entry| entry.partition == release.0));
            released.push(release.clone());
        }
    }
    assert_eq!((entries, released), (whole.entries, whole.released));
    assert!(
        pieces[..pieces.len() - 1]
            .iter()
            .all(|piece| piece.mark.is_none())
    );
    assert_eq!(pieces[pieces.len() - 1].mark, whole.mark);
}

#[test]
fn an_entry_too_large_for_any_report_goes_alone() {
    let pieces = split_report(report(1, 3, 0), 10);
    assert_eq!(pieces.len(), 3);
    assert!(pieces.iter().all(|piece| piece.entries.len() == 1));
}

#[test]
fn a_large_assignment_is_split() {
    let changes: BTreeMap<_, _> = (0..5_000)
        .map(|partition| {
            let member = (partition % 3 > 0).then(|| MemberId::random(partition % 7));
            (
                (Arc::from("orders"), i32::try_from(partition).expect("small")),
                member,
            )
        })
        .collect();
    let pieces = split_changes(changes.clone(), 20_000);
    assert!(pieces.len() > 1);
    let mut together = BTreeMap::new();
    for piece in pieces {
        let record = Record::Assign {
            by: MemberId::random(1),
            basis: Position::new(i32::MAX, i64::MAX),
            changes: piece.clone(),
        };
        assert!(record.encode().len() <= 20_000);
        assert_eq!(Record::decode(&record.encode()), Ok(record));
        together.extend(piece);
    }
    assert_eq!(together, changes);
}

prop_compose! {
    fn an_entry()(
        next in proptest::option::of(0..i64::MAX / 2),
        done in proptest::collection::vec((0..1_000_i64, 1..100_i64), 0..5),
        held in proptest::collection::btree_map(0..i64::MAX, (1..9_u32, 0..9_u32, any::<i64>(), any::<i64>()), 0..4),
        epoch in -1..9_i32,
        token in 0..1_u64 << 53,
        gap in proptest::option::of((0..100_i64, 1..100_i64)),
        partition in 0..9_i32,
        topic in "[a-z\"\\\\\u{1f600}.]{1,9}",
    ) -> Entry {
        let from = next.unwrap_or(0);
        let done = if next.is_some() { done } else { Vec::new() };
        let held = held.into_iter().map(|(offset, (tries, counted, first_failed, due))| {
            (offset, Held { tries, counted, first_failed, due })
        });
        let mut progress = Progress {
            next,
            done: done.into_iter().map(|(start, len)| from + start..from + start + len).collect(),
            held: held.collect(),
            epoch,
        };
        progress.normalise();
        Entry {
            partition: (topic.into(), partition),
            token: Token::try_from(token).expect("below 2^53"),
            progress,
            gap: gap.map(|(start, len)| start..start + len),
        }
    }
}

proptest! {
    #[test]
    fn any_report_is_read_as_it_was_written(
        member in any::<u64>(),
        n in any::<u64>(),
        entries in proptest::collection::vec(an_entry(), 0..6),
        mark in proptest::option::of((0..9_i32, 0..i64::MAX, any::<u64>())),
    ) {
        let entries: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.partition.clone(), entry)).collect();
        let report = Report {
            member: MemberId::random(member),
            n,
            released: entries.iter().map(|(id, entry)| (id.clone(), entry.token)).collect(),
            entries: entries.into_values().collect(),
            mark: mark.map(|(epoch, offset, hash)| (Position::new(epoch, offset), hash)),
        };
        let json = Record::Report(report.clone()).encode();
        prop_assert_eq!(Record::decode(&json), Ok(Record::Report(report.clone())));
        let json = Record::Leave(report.clone()).encode();
        prop_assert_eq!(Record::decode(&json), Ok(Record::Leave(report)));
    }

    #[test]
    fn no_bytes_make_it_panic(which in 0..32_usize, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let examples = examples::all();
        let mut json = examples[which % examples.len()].1.encode();
        let at = at.index(json.len());
        json[at] = byte;
        let _ = Record::decode(&json);
        let _ = Record::decode(&json[..at]);
    }
}
