use proptest::prelude::*;

use super::super::Origin;
use super::super::tests::{delivery, record};
use super::*;

fn answer(line: &str) -> Answer {
    match read(line.as_bytes()) {
        Line::Answer { id: 7, answer } => answer,
        other => panic!("{other:?}"),
    }
}

fn written(delivery: &Delivery) -> Value {
    let mut out = Vec::new();
    write_delivery(&mut out, 7, delivery).unwrap();
    assert_eq!(out.iter().position(|&byte| byte == b'\n'), Some(out.len() - 1));
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn a_delivery_is_one_line_with_all_that_a_worker_needs() {
    assert_eq!(
        written(&delivery()),
        serde_json::json!({
            "id": 7, "attempt": 2, "deadline_ms": 30000, "fence": "9.2",
            "idempotency_key": delivery().idempotency_key(&delivery().event().unwrap()).to_string(),
            "record": {"topic": "orders", "partition": 3, "offset": 12, "timestamp": 1_700_000_000_000_i64, "key": "k 1"},
            "event": {"data": {"a": 1}},
        })
    );
}

#[test]
fn tombstones_repeats_and_replays_are_marked() {
    let marked = Delivery {
        record: record(Some(b"\xff"), None, &[]),
        redelivered: true,
        origin: Some(Origin {
            topic: "o".into(),
            topic_id: [3; 16],
            partition: 0,
            offset: 5,
            replays: 2,
        }),
        ..delivery()
    };
    let line = written(&marked);
    assert_eq!(line["redelivered"], "maybe");
    assert_eq!(line["tombstone"], true);
    assert_eq!(line["replay"], 2);
    assert_eq!(line["record"]["key_base64"], "/w==");
    assert_eq!(line["event"], serde_json::json!({}));
}

#[test]
fn answers_mean_what_they_say() {
    assert_eq!(answer(r#"{"id":7,"ok":true}"#), Answer::done());
    assert_eq!(answer("{\"id\": 7, \"ok\": true}\r"), Answer::done());
    assert_eq!(answer(r#"{"ok":true,"id":7,"took":3}"#), Answer::done());
    assert_eq!(answer(r#"{"id":7,"skip":"old"}"#).outcome, Outcome::Skip);
    let reject = answer(r#"{"id":7,"reject":"no such order"}"#);
    assert_eq!(
        (reject.outcome, reject.excerpt.as_str()),
        (Outcome::Reject, "no such order")
    );
    let retry = answer(r#"{"id":7,"retry":"busy","after_ms":500}"#);
    let after = Some(Duration::from_millis(500));
    assert_eq!(
        retry.outcome,
        Outcome::Retry {
            sign: Sign::Own,
            after,
            pause: None
        }
    );
    assert_eq!(retry.excerpt, "busy");
}

#[test]
fn what_is_no_clear_yes_is_tried_again() {
    for line in [
        r#"{"id":7}"#,
        r#"{"id":7,"ok":false}"#,
        r#"{"id":7,"ok":"true"}"#,
        r#"{"id":7,"done":true}"#,
    ] {
        assert_eq!(answer(line).outcome, Outcome::retry(Sign::Own), "{line}");
    }
    // Two words: the one that loses nothing.
    assert_eq!(
        answer(r#"{"id":7,"ok":true,"retry":"x"}"#).outcome,
        Outcome::retry(Sign::Own)
    );
}

#[test]
fn only_what_begins_like_an_answer_can_be_a_broken_one() {
    for line in [
        "hello",
        "",
        "{",
        "[1]",
        r#"{"level":"info","id":7}x"#,
        r#"{"level":"info"}"#,
        "7",
        "\u{0}",
    ] {
        assert!(matches!(read(line.as_bytes()), Line::Talk(_)), "{line}");
    }
    for line in [
        r#"{"id":7,"ok":tru"#,
        r#"{"id":7,"ok":true}{"id":8,"ok":true}"#,
        r#"{"id":"7","ok":true}"#,
        r#"{"id":-1}"#,
        r#"{"id":99999999999999999999,"ok":true}"#,
        r#"{"id":07,"ok":true}"#,
    ] {
        assert!(matches!(read(line.as_bytes()), Line::Broken(_)), "{line}");
    }
    assert!(matches!(read(b"{\"id\":7,\"ok\":\xff}"), Line::Broken(_)));
}

#[test]
fn a_line_may_come_in_pieces_and_many_at_once() {
    let mut lines = Lines::default();
    lines.push(b"a");
    assert_eq!(lines.next(), Ok(None));
    lines.push(b"b\nc\n\nd");
    assert_eq!(lines.next(), Ok(Some(&b"ab"[..])));
    assert_eq!(lines.next(), Ok(Some(&b"c"[..])));
    assert_eq!(lines.next(), Ok(Some(&b""[..])));
    assert_eq!(lines.next(), Ok(None));
    lines.push(b"\n");
    assert_eq!(lines.next(), Ok(Some(&b"d"[..])));
}

#[test]
fn a_line_over_1_mib_is_refused_before_its_end_is_seen() {
    let mut lines = Lines::default();
    lines.push(&vec![b'x'; MAX_LINE]);
    assert_eq!(lines.next(), Ok(None));
    lines.push(b"x");
    assert_eq!(lines.next(), Err(LineTooLong));
    let mut lines = Lines::default();
    lines.push(&vec![b'x'; MAX_LINE]);
    lines.push(b"\n");
    assert_eq!(lines.next().unwrap().unwrap().len(), MAX_LINE);
}

proptest! {
    #[test]
    fn the_short_way_reads_what_the_long_way_reads(id in any::<u64>(), a in " {0,2}", b in " {0,2}") {
        let line = format!("{{\"id\":{a}{id},{b}\"ok\":{a}true}}");
        prop_assert_eq!(read(line.as_bytes()), Line::Answer { id, answer: Answer::done() });
    }

    #[test]
    fn no_line_panics_and_what_is_broken_was_no_answer(line in prop::collection::vec(any::<u8>(), 0..80), text in "\\{\"id\":[0-9]{0,22},?\"?(ok|retry|reject)?\"?:?[a-z\"0-9{}]{0,8}\\}?") {
        let _ = read(&line);
        if let Line::Broken(_) = read(text.as_bytes()) {
            prop_assert!(serde_json::from_str::<Value>(&text).is_err() || serde_json::from_str::<Value>(&text).unwrap()["id"].as_u64().is_none());
        }
    }

    #[test]
    fn however_the_bytes_are_cut_the_lines_are_the_same(text in "[ab\n]{0,60}", cuts in prop::collection::vec(1usize..9, 0..20)) {
        let mut lines = Lines::default();
        let mut got: Vec<String> = Vec::new();
        let mut rest = text.as_bytes();
        let mut cuts = cuts.into_iter();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts.next().unwrap_or(rest.len()).min(rest.len()));
            lines.push(now);
            rest = later;
            while let Some(line) = lines.next().unwrap() {
                got.push(String::from_utf8(line.to_vec()).unwrap());
            }
        }
        let mut want: Vec<String> = text.split('\n').map(str::to_owned).collect();
        want.pop();
        prop_assert_eq!(got, want);
    }
}
