//! Brokers that die and come back, leaders that move, in the middle of work.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::time::Duration;

use crate::barnabas_bin::{barnabas, consume, live, produce};
use crate::support::{Finished, Kafka, Live, kcat, wait_for};

/// Longest wait for something to arrive while other tests use the machine as well.
const LIMIT: Duration = Duration::from_secs(100);

/// Numbered lines.
fn numbered(count: usize) -> String {
    let mut lines = String::with_capacity(count * 60);
    for n in 0..count {
        let _ = writeln!(
            lines,
            "{n:07} and some text, so that it is a record of usual size"
        );
    }
    lines
}

fn number(line: &str) -> usize {
    line.get(..7)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("no number: {line:?}"))
}

/// Of lines `partition number…`: nothing lost, nothing doubled, and in each partition the order of the input.
fn is_whole(lines: &str, count: usize) {
    let mut last: Vec<Option<usize>> = vec![None; 16];
    let mut seen = vec![false; count];
    for line in lines.lines() {
        let (partition, rest) = line.split_once(' ').expect("the format has a blank");
        let partition: usize = partition.parse().expect("a number");
        let n = number(rest);
        assert!(
            last[partition] < Some(n),
            "partition {partition}: {n} comes behind {:?}",
            last[partition]
        );
        assert!(!std::mem::replace(&mut seen[n], true), "{n} is there twice");
        last[partition] = Some(n);
    }
    let missing: Vec<usize> = (0..count).filter(|n| !seen[*n]).collect();
    assert!(
        missing.is_empty(),
        "{} are missing, from {:?} on",
        missing.len(),
        missing.first()
    );
}

/// The topic as lines `partition value`, read by kcat if it is there.
fn read_back(kafka: &Kafka, topic: &str) -> Finished {
    let flags = ["-q", "-e", "-f", "%p %s\\n"];
    let bootstrap = kafka.bootstrap();
    let args = [&["-C", "-b", &bootstrap, "-t", topic][..], &flags].concat();
    kcat(&args, b"")
        .unwrap_or_else(|| consume(kafka, topic, &flags))
        .success()
}

fn arrived(kafka: &Kafka, topic: &str, count: i64, producer: &mut Live) {
    wait_for(
        &format!("{count} records arrive, or the producer gives up"),
        LIMIT,
        || (kafka.written(topic) >= count || producer.ended()).then_some(()),
    );
}

#[test]
fn a_broker_killed_twice_in_mid_produce_loses_doubles_and_reorders_nothing() {
    const COUNT: usize = 1_000_000;
    let Some(kafka) = Kafka::one() else { return };
    let topic = kafka.topic("restarted", 3);
    let mut producer = live(&kafka, "produce", &topic, &[]);
    let mut stdin = producer.take_stdin();
    let writer = std::thread::spawn(move || stdin.write_all(numbered(COUNT).as_bytes()));
    for arrivals in [200_000, 600_000] {
        arrived(&kafka, &topic, arrivals, &mut producer);
        kafka.kill(0);
        kafka.start(0);
        let there = kafka.written(&topic);
        assert!(
            there < 1_000_000,
            "the kill came too late to prove anything: {there} records were there"
        );
    }
    let written = writer.join().expect("no panic");
    producer.finish().code(0).says("1,000,000 records");
    written.expect("barnabas reads to the end");
    is_whole(read_back(&kafka, &topic).text(), COUNT);
}

#[test]
fn leaders_that_move_in_mid_produce_and_mid_consume_are_followed() {
    const COUNT: usize = 300_000;
    let Some(kafka) = Kafka::three() else { return };
    let topic = kafka.topic("moved", 3);
    let mut producer = live(&kafka, "produce", &topic, &["-z", "lz4"]);
    let mut stdin = producer.take_stdin();
    let (resume, resumed) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        let lines = numbered(COUNT);
        let middle = lines.len() / 2;
        stdin.write_all(&lines.as_bytes()[..middle])?;
        // The second half goes out while the leader is dead.
        let _ = resumed.recv();
        stdin.write_all(&lines.as_bytes()[middle..])
    });
    arrived(&kafka, &topic, 50_000, &mut producer);
    let leader = kafka.leader(&topic, 0);
    kafka.kill(leader);
    resume.send(()).expect("the writer waits");
    let written = writer.join().expect("no panic");
    producer.finish().code(0);
    written.expect("barnabas reads to the end");
    kafka.start(leader);
    is_whole(read_back(&kafka, &topic).text(), COUNT);

    // The reader stops at a full pipe; the leader of what is left dies; reading goes on.
    let count = COUNT.to_string();
    let mut consumer = live(&kafka, "consume", &topic, &["-q", "-c", &count, "-f", "%p %s\\n"]);
    let mut output = BufReader::new(consumer.take_stdout());
    let mut text = String::new();
    for _ in 0..1_000 {
        output.read_line(&mut text).expect("it prints text");
    }
    kafka.kill(kafka.leader(&topic, 1));
    std::io::Read::read_to_string(&mut output, &mut text).expect("it prints text");
    consumer.finish().code(0);
    is_whole(&text, COUNT);
}

#[test]
fn a_consumer_outlives_a_restart() {
    let Some(kafka) = Kafka::one() else { return };
    let topic = kafka.topic("outlived", 1);
    produce(&kafka, &topic, &[], b"before\n").success();
    let mut consumer = live(&kafka, "consume", &topic, &["-q"]);
    let lines = consumer.lines();
    assert_eq!(lines.next(), "before");
    kafka.kill(0);
    kafka.start(0);
    produce(&kafka, &topic, &[], b"after\n").success();
    assert_eq!(lines.next(), "after");
}

#[test]
fn a_topic_created_anew_is_read_from_its_beginning() {
    let Some(kafka) = Kafka::one() else { return };
    let topic = kafka.topic("anew", 1);
    produce(&kafka, &topic, &[], b"old 1\nold 2\nold 3\n").success();
    let mut consumer = live(&kafka, "consume", &topic, &["-q"]);
    let lines = consumer.lines();
    for line in ["old 1", "old 2", "old 3"] {
        assert_eq!(lines.next(), line);
    }
    let topics = |verb: &str, args: &[&str]| {
        barnabas(
            &[&["topics", verb, "-b", &kafka.bootstrap(), &topic], args].concat(),
            b"",
        )
        .success()
    };
    topics("delete", &["--yes"]);
    topics("create", &["--partitions", "1"]);
    produce(&kafka, &topic, &[], b"new 1\nnew 2\n").success();
    assert_eq!(lines.next(), "new 1");
    assert_eq!(lines.next(), "new 2");
}
