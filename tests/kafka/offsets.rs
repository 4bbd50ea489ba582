//! Where `consume` starts and stops, compared with kcat given the same flags.

use std::io::{BufRead, BufReader};

use crate::barnabas_bin::{barnabas, consume, live, produce};
use crate::support::{Brokers, kcat};

const FIRST_TIME: i64 = 1_700_000_000_000;

/// 300 records over 3 partitions, a second apart.
fn filled(kafka: &Brokers) -> String {
    let topic = kafka.topic("offsets", 3);
    let line = |n: i64| {
        format!(
            "{{\"key\":\"key-{}\",\"value\":\"value-{n}\",\"partition\":{},\"timestamp\":{}}}\n",
            n % 10,
            n % 3,
            FIRST_TIME + n * 1_000
        )
    };
    let lines: String = (0..300).map(line).collect();
    produce(kafka, &topic, &["-q", "--format", "json"], lines.as_bytes()).success();
    topic
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn the_same_flags_print_what_kcat_prints() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = filled(kafka);
    let (from, until) = (
        format!("s@{}", FIRST_TIME + 90_500),
        format!("e@{}", FIRST_TIME + 200_000),
    );
    let (early, late) = (
        format!("s@{}", FIRST_TIME - 1),
        format!("s@{}", FIRST_TIME + 1_000_000),
    );
    let cases: &[&[&str]] = &[
        &[],
        &["-o", "beginning"],
        &["-o", "end"],
        &["-o", "0"],
        &["-o", "10"],
        &["-o", "100"],
        &["-o", "-10"],
        &["-o", "-1000"],
        &["-o", &from],
        &["-o", &early],
        &["-o", &late],
        &["-o", &from, "-o", &until],
        &["-o", &until],
        &["-p", "1"],
        &["-p", "1", "-o", "-5"],
        &["-p", "2", "-o", "95"],
        &["-p", "0", "-c", "7"],
        &["-p", "0", "-o", "50", "-c", "7"],
        &["-p", "0", "-o", &from, "-o", &until],
    ];
    for flags in cases {
        let all = [&["-q", "-e", "-f", "%t %p %o %k %K %s %S %T %h%%\\n"][..], flags].concat();
        let ours = consume(kafka, &topic, &all).success();
        let bootstrap = kafka.bootstrap();
        let args = [&["-C", "-b", &bootstrap, "-t", &topic][..], &all].concat();
        let Some(theirs) = kcat(&args, b"") else { return };
        let theirs = theirs.success();
        if flags.contains(&"-p") {
            assert_eq!(ours.text(), theirs.text(), "{flags:?}");
        } else {
            assert_eq!(sorted(ours.text()), sorted(theirs.text()), "{flags:?}");
        }
    }
}

#[test]
fn times_are_read_as_rfc_3339_and_as_ago() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = filled(kafka);
    // 2023-11-14T22:13:20Z is FIRST_TIME; the record with n = 60 is a minute later.
    for offset in ["2023-11-14T22:14:20Z", "s@2023-11-14T23:14:20+01:00"] {
        let ours = consume(kafka, &topic, &["-q", "-e", "-o", offset]).success();
        assert_eq!(ours.text().lines().count(), 240, "{offset}");
    }
    produce(kafka, &topic, &[], b"now\n").success();
    assert_eq!(
        consume(kafka, &topic, &["-q", "-e", "-o", "-1h"])
            .success()
            .text(),
        "now\n"
    );
}

#[test]
fn several_topics_are_read_at_once() {
    let Some(kafka) = Brokers::any() else { return };
    let (a, b) = (kafka.topic("several-a", 2), kafka.topic("several-b", 1));
    produce(kafka, &a, &[], b"a\n").success();
    produce(kafka, &b, &[], b"b\n").success();
    let args = [
        "consume",
        "-b",
        &kafka.bootstrap(),
        "-t",
        &a,
        "-t",
        &b,
        "-q",
        "-e",
        "-f",
        "%t %s\\n",
    ];
    let run = barnabas(&args, b"").success();
    assert_eq!(sorted(run.text()), [format!("{a} a"), format!("{b} b")]);
}

#[test]
fn a_key_filter_prints_only_records_with_such_a_key() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = filled(kafka);
    let run = consume(
        kafka,
        &topic,
        &["-q", "-e", "--key-filter", "key-3", "-f", "%k\\n"],
    )
    .success();
    assert_eq!(run.text(), "key-3\n".repeat(30));
    let run = consume(kafka, &topic, &["-q", "-e", "--key-filter", "key-*"]).success();
    assert_eq!(run.text().lines().count(), 300);
}

#[test]
fn records_that_come_later_are_printed_at_once() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("follow", 2);
    produce(kafka, &topic, &[], b"old\n").success();
    let mut consumer = live(kafka, "consume", &topic, &["-q"]);
    let lines = consumer.lines();
    assert_eq!(lines.next(), "old");
    for n in 0..3 {
        produce(kafka, &topic, &[], format!("new-{n}\n").as_bytes()).success();
        assert_eq!(lines.next(), format!("new-{n}"));
    }
    consumer.signal("INT");
    consumer.finish().code(130);
}

#[test]
fn a_closed_pipe_ends_quietly_with_0() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("closed-pipe", 1);
    produce(
        kafka,
        &topic,
        &[],
        "a line of some length\n".repeat(100_000).as_bytes(),
    )
    .success();
    let mut consumer = live(kafka, "consume", &topic, &["-e"]);
    let mut line = String::new();
    BufReader::new(consumer.take_stdout())
        .read_line(&mut line)
        .expect("it prints");
    // The reader is gone here, as with `| head -n 1`.
    let run = consumer.finish().code(0);
    for word in ["error", "panic", "broken pipe"] {
        assert!(!run.stderr.to_lowercase().contains(word), "{}", run.stderr);
    }
}

#[test]
fn an_empty_topic_ends_at_once() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("empty", 3);
    for flags in [
        &["-e"][..],
        &["-e", "-o", "-5"],
        &["-e", "-o", "end"],
        &["-e", "-o", "-1h"],
        &["-e", "-J"],
    ] {
        assert_eq!(consume(kafka, &topic, flags).success().text(), "", "{flags:?}");
    }
}
