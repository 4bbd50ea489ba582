//! A slow stdin, Ctrl-C, and what is published until then.

use std::time::Duration;

use crate::barnabas_bin::{consume, live};
use crate::support::{Brokers, wait_for};

fn arrives(kafka: &Brokers, topic: &str, count: i64) {
    wait_for(
        &format!("{count} records are in {topic}"),
        Duration::from_secs(20),
        || (kafka.written(topic) == count).then_some(()),
    );
}

#[test]
fn a_slow_trickle_is_published_line_by_line() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("trickle", 3);
    let mut producer = live(kafka, "produce", &topic, &[]);
    for n in 1..=10 {
        producer.write(format!("line {n}\n").as_bytes());
        arrives(kafka, &topic, n);
    }
    producer.write(b"the last one has no line end");
    producer.close().code(0);
    assert_eq!(kafka.written(&topic), 11);
}

#[test]
fn ctrl_c_ends_with_130_after_what_was_read_is_published() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("interrupted", 1);
    // Nothing goes out by itself: batches are larger than all of it, and wait a minute for more.
    let flags = ["-X", "linger.ms=60000", "-X", "batch.size=900000"];
    let mut producer = live(kafka, "produce", &topic, &flags);
    let line = |n: usize| format!("line {n:06} {}\n", "x".repeat(86));
    let lines: Vec<String> = (0..5_000).map(line).collect();
    producer.write(lines.concat().as_bytes());
    // All is written, so all but what a pipe holds (64 KiB) was read.
    producer.signal("INT");
    let run = producer.finish().code(130);
    let printed = consume(kafka, &topic, &["-q", "-e"]).success();
    let count = printed.text().lines().count();
    assert!(
        count >= 5_000 - 700,
        "{count} of 5000 were published: {}",
        run.stderr
    );
    assert_eq!(printed.text(), lines[..count].concat());
    assert!(
        run.stderr.replace([',', '_'], "").contains(&count.to_string()),
        "{count} in {}",
        run.stderr
    );
}

#[test]
fn ctrl_c_with_nothing_to_do_ends_at_once() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("idle", 1);
    let mut producer = live(kafka, "produce", &topic, &[]);
    producer.write(b"one\n");
    arrives(kafka, &topic, 1);
    producer.signal("INT");
    let started = barnabas::clock::now();
    producer.finish().code(130);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(kafka.written(&topic), 1);
}
