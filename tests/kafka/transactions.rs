//! Topics written by a transactional producer, which aborts.

use crate::barnabas_bin::{barnabas, consume};
use crate::support::{Kafka, kcat};

/// A topic after the judge's rounds: committed, aborted, in no transaction; and one left open at the end.
fn written(kafka: &Kafka) -> String {
    let topic = kafka.topic("transactions", 1);
    let judge = kafka
        .java_source("Judge.java", &["transactions", &kafka.bootstrap(), &topic], b"")
        .success();
    assert_eq!(judge.text(), "open\n");
    topic
}

fn expected(aborted_and_open: bool) -> String {
    let mut lines = String::new();
    for round in 0..3 {
        for fate in ["committed", "aborted"] {
            for i in 0..10 {
                if fate == "committed" || aborted_and_open {
                    lines += &format!("{fate}-{round}-{i}\n");
                }
            }
        }
        lines += &format!("plain-{round}\n");
    }
    if aborted_and_open {
        lines += "open\n";
    }
    lines
}

#[test]
fn a_group_counts_markers_and_aborted_records_as_done() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = written(kafka);
    let group = crate::group::group_name("transactions");
    let run = consume(kafka, &topic, &["-q", "-e", "-g", &group]).success();
    assert_eq!(run.text(), expected(false));
    // Only the open transaction is left: what is before it is committed, up to the last marker.
    let described = crate::group::described(kafka, &group, &topic);
    let read = kafka.written(&topic) - 1;
    assert_eq!(described[&0].0, read, "{described:?}");
}

#[test]
fn only_committed_records_are_printed_unless_asked_otherwise() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = written(kafka);
    // An open transaction does not keep `-e` waiting: the end is the last stable offset.
    assert_eq!(
        consume(kafka, &topic, &["-q", "-e"]).success().text(),
        expected(false)
    );
    for flags in [
        ["--isolation", "read_uncommitted"],
        ["-X", "isolation.level=read_uncommitted"],
    ] {
        let ours = consume(kafka, &topic, &[&["-q", "-e"], &flags[..]].concat()).success();
        assert_eq!(ours.text(), expected(true), "{flags:?}");
    }
    // kcat agrees, so the judge wrote what it says.
    for (level, all) in [("read_committed", false), ("read_uncommitted", true)] {
        let level = format!("isolation.level={level}");
        let args = [
            "-C",
            "-b",
            &kafka.bootstrap(),
            "-t",
            &topic,
            "-q",
            "-e",
            "-X",
            &level,
        ];
        let Some(kcat) = kcat(&args, b"") else { return };
        assert_eq!(kcat.success().text(), expected(all));
    }
    // Reading may begin within an aborted transaction: offsets 11 to 20 are the first one, 21 its marker.
    for offset in ["0", "5", "11", "15", "20", "21", "22", "-3", "-1"] {
        let flags = ["-q", "-e", "-o", offset, "-f", "%o %s\\n"];
        let ours = consume(kafka, &topic, &flags).success();
        let args = [
            &[
                "-C",
                "-b",
                &kafka.bootstrap(),
                "-t",
                &topic,
                "-X",
                "isolation.level=read_committed",
            ],
            &flags[..],
        ];
        let Some(kcat) = kcat(&args.concat(), b"") else {
            return;
        };
        assert_eq!(ours.text(), kcat.success().text(), "-o {offset}");
    }
}

#[test]
fn a_topic_of_control_batches_only_ends_like_an_empty_one() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = written(kafka);
    // Behind the last plain record of round 0 and before the next: nothing but what was not committed.
    let run = barnabas(
        &[
            "consume",
            "-b",
            &kafka.bootstrap(),
            "-t",
            &topic,
            "-q",
            "-e",
            "-o",
            "11",
            "-c",
            "1",
            "-f",
            "%s\\n",
        ],
        b"",
    );
    assert_eq!(run.success().text(), "plain-0\n");
}
