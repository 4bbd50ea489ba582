//! What cannot be reached, does not exist, or is no setting.

use std::net::TcpListener;
use std::time::Duration;

use crate::barnabas_bin::{barnabas, consume, produce};
use crate::support::{Brokers, ports};

/// Both commands with further flags: the exit code, and what stderr says.
fn both(topic: &str, args: &[&str], code: i32, says: &[&str]) {
    for verb in [&["produce"][..], &["consume", "-e"]] {
        let started = barnabas::clock::now();
        let mut run = barnabas(&[verb, &["-t", topic], args].concat(), b"never\n").code(code);
        for part in says {
            run = run.says(part);
        }
        assert!(run.stdout.is_empty(), "stdout is for data: {:?}", run.stdout);
        assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{} took {:?}",
            run.command,
            started.elapsed()
        );
    }
}

#[test]
fn an_unknown_broker_is_named() {
    both(
        "t",
        &["-b", "no-such-host.invalid:9092", "--timeout", "2s"],
        4,
        &["no-such-host.invalid"],
    );
}

#[test]
fn a_port_where_nobody_listens_is_named() {
    let address = format!("127.0.0.1:{}", ports::free());
    both("t", &["-b", &address, "--timeout", "2s"], 4, &[&address]);
}

#[test]
fn a_port_that_never_answers_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("it is bound").to_string();
    both("t", &["-b", &address, "--timeout", "2s"], 4, &[&address]);
}

#[test]
fn a_port_of_another_protocol_is_given_up() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || {
        for stream in other.incoming() {
            let _ = stream.map(|mut stream| {
                std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n")
            });
        }
    });
    // Something is reached, but no broker.
    both("t", &["-b", &address, "--timeout", "2s"], 4, &[&address, "http"]);
}

#[test]
fn one_living_broker_among_dead_ones_is_enough() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("among-dead", 1);
    let brokers = format!(
        "127.0.0.1:{},no-such-host.invalid:9092,{}",
        ports::free(),
        kafka.bootstrap()
    );
    barnabas(&["produce", "-b", &brokers, "-t", &topic], b"through\n").success();
    let run = barnabas(&["consume", "-b", &brokers, "-t", &topic, "-q", "-e"], b"").success();
    assert_eq!(run.text(), "through\n");
}

#[test]
fn a_missing_topic_is_named() {
    let Some(kafka) = Brokers::any() else { return };
    both(
        "no-such-topic",
        &["-b", &kafka.bootstrap()],
        1,
        &["no-such-topic"],
    );
}

#[test]
fn a_partition_out_of_range_is_named() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("two-partitions", 2);
    both(
        &topic,
        &["-b", &kafka.bootstrap(), "-p", "2"],
        1,
        &["partition", "2", &topic],
    );
    assert_eq!(kafka.written(&topic), 0);
}

#[test]
fn an_unknown_property_is_refused_by_name() {
    both(
        "t",
        &["-b", "127.0.0.1:1", "-X", "no.such.property=1"],
        2,
        &["no.such.property"],
    );
    both(
        "t",
        &["-b", "127.0.0.1:1", "-X", "linger.ms=soon"],
        2,
        &["linger.ms"],
    );
    both(
        "t",
        &["-b", "127.0.0.1:1", "-X", "security.protocol=carrier_pigeon"],
        2,
        &["security.protocol"],
    );
}

#[test]
fn an_offset_behind_the_end_is_told_or_waits_at_the_end() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("behind", 1);
    produce(kafka, &topic, &[], b"only\n").success();
    let run = consume(kafka, &topic, &["-e", "-o", "1000"]);
    assert!(matches!(run.status.code(), Some(0 | 1)), "{}", run.stderr);
    assert!(run.stdout.is_empty());
}

#[test]
fn a_missing_file_is_named_and_the_others_go_out() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("missing-file", 1);
    let run = produce(kafka, &topic, &["/nonexistent/file.txt"], b"");
    assert!(
        matches!(run.status.code(), Some(1 | 2)),
        "{}: {}",
        run.status,
        run.stderr
    );
    run.says("/nonexistent/file.txt");
}

#[test]
fn an_empty_file_publishes_nothing_and_is_no_error() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("empty-file", 1);
    let file = kafka.scratch("empty").join("empty.txt");
    std::fs::write(&file, b"").expect("target/ can be written");
    let file = file.display().to_string();
    for (args, input) in [
        (&[&file[..]][..], &b""[..]),
        (&[], b""),
        (&["--format", "json"], b""),
    ] {
        produce(kafka, &topic, args, input).code(0);
    }
    assert_eq!(kafka.written(&topic), 0);
}
