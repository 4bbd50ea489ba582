//! Dead letters: of what cannot be decoded, of what is too large, and topics that cannot take them.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use serde_json::Value;

use crate::barnabas_bin::{barnabas, consume, produce};
use crate::delivery_handler::{Http, Reply};
use crate::delivery_support::{Case, places};
use crate::member::LIMIT;
use crate::support::{Brokers, Kafka, wait_for};

/// Publishes each line as a batch of its own.
fn one_by_one(case: &Case<'_>, lines: &[&str]) {
    for line in lines {
        produce(
            case.kafka,
            &case.topic,
            &["-K", ":", "-z", "none"],
            line.as_bytes(),
        )
        .success();
    }
}

#[test]
fn a_batch_that_cannot_be_decoded_is_set_aside_and_the_partition_goes_on_behind_it() {
    let Some(kafka) = Kafka::shared() else { return };
    let case = Case::new(kafka, "damaged", 1);
    one_by_one(
        &case,
        &[
            "a:first",
            "b:damaged-one\nb:damaged-two\n",
            "c:third",
            "d:fourth",
            "e:fifth",
        ],
    );
    kafka.damage(&case.topic, 0, b"damaged-two");
    let http = Http::start(|_| Reply::Status(204));
    let mut member = case.posts(&http, &[]);
    member.says("was set aside (undecodable)");
    case.finished();
    member.leaves();
    assert_eq!(http.done(), BTreeSet::from([(0, 0), (0, 3), (0, 4), (0, 5)]));
    assert_eq!(http.count(), 4);
    let letters = case.letters();
    assert_eq!(places(&letters), BTreeSet::from([(0, 1)]));
    let letter = &letters[0];
    assert_eq!(letter.text("outcome"), "undecodable");
    assert_eq!(letter.text("content"), "record-batch");
    assert_eq!(letter.0["source"]["last_offset"].as_i64(), Some(2));
    assert!(!letter.text("error").is_empty(), "{letter:?}");
    let (bootstrap, dlq, id) = (kafka.bootstrap(), case.dlq(), letter.text("id"));
    let dlq_run = |what: &str, flags: &[&str]| {
        let args = [&["dlq", what, "-b", &bootstrap, &dlq, id][..], flags].concat();
        barnabas(&args, b"")
    };
    let shown = dlq_run("show", &["--json"]).success();
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("it is JSON");
    let batch = shown["letters"][0]["value"]["base64"].as_str().expect("bytes");
    let batch = STANDARD.decode(batch).expect("it is base64");
    assert_eq!(batch[..8], 1_i64.to_be_bytes(), "it begins with its offset");
    let holds = |part: &[u8]| batch.windows(part.len()).any(|window| window == part);
    assert!(holds(b"damaged-one"), "what is sound of it is there");
    let shown = dlq_run("show", &[]).success();
    assert!(shown.text().contains("a record batch"), "{}", shown.text());
    assert!(!shown.text().contains("damaged-one"), "{}", shown.text());
    let refused = dlq_run("replay", &["--yes"]);
    assert!(!refused.status.success());
    refused.says("cannot be decoded");
}

#[test]
fn two_batches_in_a_row_that_cannot_be_decoded_blow_the_fuse() {
    let Some(kafka) = Kafka::shared() else { return };
    let case = Case::new(kafka, "damage", 1);
    one_by_one(
        &case,
        &["a:first", "b:damaged-1", "c:damaged-2", "d:damaged-3", "e:last"],
    );
    for marker in ["damaged-1", "damaged-2", "damaged-3"] {
        kafka.damage(&case.topic, 0, marker.as_bytes());
    }
    let http = Http::start(|_| Reply::Status(204));
    let mut member = case.posts(&http, &[]);
    member.says("rejects nearly everything");
    wait_for("the last one is done", LIMIT, || {
        http.done().contains(&(0, 4)).then_some(())
    });
    member.leaves();
    assert!(case.letters().len() <= 1, "{:?}", case.letters());
}

#[test]
fn a_dead_letter_over_the_size_limit_is_kept_as_a_reference() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "large", 1);
    let bootstrap = kafka.bootstrap();
    let args = [
        "topics",
        "create",
        "-b",
        &bootstrap,
        &case.dlq(),
        "--partitions",
        "1",
    ];
    let configs = [
        "--config",
        "max.message.bytes=20000",
        "--config",
        "cleanup.policy=delete",
    ];
    barnabas(&[&args[..], &configs].concat(), b"").success();
    let value = |size: usize| {
        (0..size)
            .map(|n| char::from(b'a' + u8::try_from(n * n % 26).expect("small")))
            .collect::<String>()
    };
    case.publish(&format!("small:{}\nlarge:{}\n", value(1_000), value(200_000)));
    let http = Http::start(|_| Reply::Status(422));
    let member = case.posts(&http, &[]);
    case.finished();
    member.leaves();
    let letters = case.letters();
    assert_eq!(places(&letters), BTreeSet::from([(0, 0), (0, 1)]));
    let large = letters
        .iter()
        .find(|letter| letter.place() == (0, 1))
        .expect("it is there");
    assert_eq!(large.text("value_sha256").len(), 64, "{large:?}");
    let small = letters
        .iter()
        .find(|letter| letter.place() == (0, 0))
        .expect("it is there");
    assert_eq!(small.text("value_sha256"), "", "{small:?}");
    assert!(small.number("size") > 1_000, "{small:?}");
}

#[test]
fn a_letter_is_the_record_to_the_byte_with_why_in_its_headers() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "bytes", 2);
    let line = r#"{"key":"k","value":"the value","partition":1,"headers":{"a":"1","ce_id":"7"}}"#;
    produce(kafka, &case.topic, &["--format", "json"], line.as_bytes()).success();
    let http = Http::start(|_| Reply::Status(422));
    let member = case.posts(&http, &[]);
    case.finished();
    member.leaves();
    let format = "%p|%k|%s|%h\\n";
    let printed = consume(kafka, &case.dlq(), &["-e", "-q", "-f", format]).success();
    let text = printed.text().trim_end();
    assert!(text.starts_with("1|k|the value|a=1,ce_id=7,"), "{text}");
    for header in [
        format!("__dlq.errors.topic={}", case.topic),
        "__dlq.errors.partition=1".to_owned(),
        "__dlq.errors.offset=0".to_owned(),
        format!("__dlq.errors.group={}", case.group),
        "__dlq.errors.delivery.count=1".to_owned(),
        "__dlq.errors.outcome=rejected".to_owned(),
        "__dlq.errors.status=422".to_owned(),
    ] {
        assert!(text.contains(&header), "{header} in {text}");
    }
}

#[test]
fn a_compacted_topic_of_dead_letters_is_refused_at_the_start() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "compacted", 1);
    let bootstrap = kafka.bootstrap();
    let args = [
        "topics",
        "create",
        "-b",
        &bootstrap,
        &case.dlq(),
        "--partitions",
        "1",
    ];
    barnabas(
        &[&args[..], &["--config", "cleanup.policy=compact"]].concat(),
        b"",
    )
    .success();
    case.publish_numbered(1, 1);
    let http = Http::start(|_| Reply::Status(204));
    let ended = case.posts(&http, &[]).finish();
    assert!(matches!(ended.code, Some(code) if code != 0), "{ended:?}");
    let said = ended.said.join("\n");
    assert!(said.contains(&case.dlq()) && said.contains("compact"), "{said}");
    assert_eq!(http.count(), 0);
}

#[test]
fn a_missing_topic_of_dead_letters_that_may_not_be_made_is_refused_at_the_start() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "no-dlq", 1);
    case.publish_numbered(1, 1);
    let http = Http::start(|_| Reply::Status(204));
    let ended = case.posts(&http, &["--dlq-create", "false"]).finish();
    assert!(matches!(ended.code, Some(code) if code != 0), "{ended:?}");
    assert!(ended.said.join("\n").contains(&case.dlq()), "{ended:?}");
    assert_eq!(http.count(), 0);
}

#[test]
fn while_a_topic_of_dead_letters_is_away_the_record_waits_with_its_key_and_the_rest_goes_on() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "dlq-away", 1);
    let http = Http::start(|seen| {
        if seen.value == "bad" {
            Reply::Status(422)
        } else {
            Reply::Status(204)
        }
    });
    let mut member = case.posts(&http, &[]);
    member.ready();
    kafka.delete_topic(&case.dlq());
    case.publish("k1:bad\nk1:1\nk2:2\nk3:3\n");
    member.says("cannot be set aside");
    wait_for("the others are done", LIMIT, || {
        (http.done_count() == 2).then_some(())
    });
    assert!(!http.done().contains(&(0, 1)), "its key waits");
    let bootstrap = kafka.bootstrap();
    barnabas(
        &[
            "topics",
            "create",
            "-b",
            &bootstrap,
            &case.dlq(),
            "--partitions",
            "1",
        ],
        b"",
    )
    .success();
    case.finished();
    member.leaves();
    assert_eq!(places(&case.letters()), BTreeSet::from([(0, 0)]));
    let seen = http.seen();
    assert_eq!(
        seen.iter().filter(|seen| seen.offset == 0).count(),
        1,
        "it was not handled again"
    );
}

#[test]
fn an_event_over_the_limit_is_set_aside_without_the_handler_seeing_it() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "max-event", 1);
    case.publish(&format!("k1:small\nk2:{}\nk3:small\n", "x".repeat(5_000)));
    let http = Http::start(|_| Reply::Status(204));
    let member = case.posts(&http, &["--max-event", "1000"]);
    case.finished();
    member.leaves();
    assert_eq!(http.done(), BTreeSet::from([(0, 0), (0, 2)]));
    let letters = case.letters();
    assert_eq!(places(&letters), BTreeSet::from([(0, 1)]));
    assert_eq!(letters[0].text("outcome"), "invalid");
}
