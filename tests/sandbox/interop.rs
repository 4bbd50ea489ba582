//! Clients that are not ours on the sandbox: kcat, Java's console tools and `kafka-consumer-groups`, confluent-kafka
//! (Python), kafkajs (Node), franz-go (Go); for the last three, where their runtimes are on the machine. Each publishes with every codec, reads in a group, and asks for offsets by time.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::{Process, barnabas};
use crate::support::dist::{Dist, installed};
use crate::support::run::run_command;
use crate::support::{Finished, kcat, loud, skipped};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

fn lines() -> String {
    (0..1000)
        .map(|n| format!("k{} value {n} ünïcødé {}\n", n % 17, "abc".repeat(n % 101)))
        .collect()
}

fn ours(sandbox: &Process, topic: &str) -> String {
    let args = ["consume", "-b", &sandbox.address, "-t", topic, "-e", "-q"];
    barnabas(&args, b"").success().text().to_owned()
}

#[test]
fn kcat_publishes_reads_lists_and_joins_a_group() {
    let sandbox = Process::start(&["--partitions", "2"]);
    let at = sandbox.address.as_str();
    let lines = lines();
    for codec in CODECS {
        let args = ["-b", at, "-P", "-t", codec, "-p", "0", "-z", codec];
        let Some(done) = kcat(&args, lines.as_bytes()) else {
            return;
        };
        done.success();
        assert_eq!(ours(&sandbox, codec), lines, "{codec}");
        let read = kcat(&["-b", at, "-C", "-t", codec, "-e", "-q"], b"")
            .unwrap()
            .success();
        assert_eq!(read.text(), lines, "{codec}");
    }
    let listed = kcat(&["-b", at, "-L", "-t", "zstd"], b"").unwrap().success();
    assert!(
        listed.text().contains("topic \"zstd\" with 2 partitions"),
        "{}",
        listed.text()
    );
    let found = kcat(&["-b", at, "-Q", "-t", "zstd:0:0"], b"").unwrap().success();
    assert!(found.text().contains("zstd [0] offset 0"), "{}", found.text());
    let group = [
        "-b",
        at,
        "-G",
        "readers",
        "-X",
        "auto.offset.reset=earliest",
        "-c",
        "1000",
        "-q",
        "zstd",
    ];
    assert_eq!(kcat(&group, b"").unwrap().success().text(), lines);
    let transactional = [
        "-b",
        at,
        "-P",
        "-t",
        "tx",
        "-p",
        "0",
        "-X",
        "transactional.id=kcat",
    ];
    kcat(&transactional, b"in a transaction\n").unwrap().success();
    assert_eq!(ours(&sandbox, "tx"), "in a transaction\n");
}

/// One of Kafka's own tools.
fn java(dist: &Dist, main: &str, args: &[&str], input: &[u8]) -> Finished {
    let mut command = Command::new("java");
    command
        .args([
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xmx256m",
            "-cp",
            &dist.class_path(),
            main,
        ])
        .args(args);
    run_command(command, input)
}

#[test]
fn javas_tools_publish_read_create_describe_and_reset() {
    let dist = match Dist::get() {
        Ok(dist) => dist,
        Err(missing) => return skipped("Java's tools on the sandbox", missing),
    };
    let sandbox = Process::start(&[]);
    let at = ["--bootstrap-server", &sandbox.address];
    let topics = |args: &[&str]| {
        java(
            dist,
            "org.apache.kafka.tools.TopicCommand",
            &[&at, args].concat(),
            b"",
        )
        .success()
    };
    topics(&[
        "--create",
        "--topic",
        "java",
        "--partitions",
        "2",
        "--config",
        "retention.ms=3600000",
    ]);
    let described = topics(&["--describe", "--topic", "java"]);
    assert!(
        described.text().contains("PartitionCount: 2") && described.text().contains("retention.ms=3600000"),
        "{}",
        described.text()
    );
    let lines = lines();
    for codec in CODECS {
        let args = [&at[..], &["--topic", codec, "--compression-codec", codec]].concat();
        java(
            dist,
            "org.apache.kafka.tools.ConsoleProducer",
            &args,
            lines.as_bytes(),
        )
        .success();
        assert_eq!(ours(&sandbox, codec), lines, "{codec}");
    }
    let read = [
        "--topic",
        "lz4",
        "--group",
        "readers",
        "--from-beginning",
        "--max-messages",
        "1000",
        "--timeout-ms",
        "30000",
    ];
    let read = java(
        dist,
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
        &[&at[..], &read].concat(),
        b"",
    )
    .success();
    assert_eq!(read.text(), lines);
    let groups = |args: &[&str]| {
        java(
            dist,
            "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            &[&at, args].concat(),
            b"",
        )
        .success()
    };
    assert_eq!(groups(&["--list"]).text().trim(), "readers");
    let described = groups(&["--describe", "--group", "readers"]);
    let row: Vec<&str> = described
        .text()
        .lines()
        .find(|line| line.contains("lz4"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(
        row[..6],
        ["readers", "lz4", "0", "1000", "1000", "0"],
        "{}",
        described.text()
    );
    let reset = [
        "--group",
        "readers",
        "--topic",
        "lz4",
        "--reset-offsets",
        "--to-offset",
        "40",
        "--execute",
    ];
    assert!(groups(&reset).text().contains("40"));
    groups(&["--delete", "--group", "readers"]);
    let configs = [
        "--entity-type",
        "topics",
        "--entity-name",
        "java",
        "--alter",
        "--add-config",
        "max.message.bytes=2000",
    ];
    java(
        dist,
        "kafka.admin.ConfigCommand",
        &[&at[..], &configs].concat(),
        b"",
    )
    .success();
    let described = topics(&["--describe", "--topic", "java"]);
    assert!(
        described.text().contains("max.message.bytes=2000"),
        "{}",
        described.text()
    );
    topics(&["--delete", "--topic", "java"]);
    assert!(!topics(&["--list"]).text().contains("java"));
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox/clients")
}

/// Runs another client's script, which ends with 0 if all it tried was right, and looks at what it published.
fn script(sandbox: &Process, mut command: Command, name: &str) {
    command.arg(&sandbox.address);
    run_command(command, b"").success();
    for codec in CODECS {
        let read = ours(sandbox, &format!("{name}-{codec}"));
        assert_eq!(read.lines().count(), 300, "{name}, {codec}");
    }
}

#[test]
fn confluent_kafka_for_python_does_what_it_does_with_kafka() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python");
    let python = if own.is_file() {
        own
    } else {
        PathBuf::from("python3")
    };
    if !installed(python.to_str().unwrap(), "--version") {
        return loud("SKIPPED confluent-kafka on the sandbox: no `python3` on PATH");
    }
    let here = Command::new(&python)
        .args(["-c", "import confluent_kafka"])
        .output();
    if !here.is_ok_and(|ran| ran.status.success()) {
        let missing = "python3 cannot import confluent_kafka (python3 -m venv target/python; target/python/bin/pip install confluent-kafka)";
        return skipped("confluent-kafka on the sandbox", missing);
    }
    let mut command = Command::new(python);
    command.arg(clients().join("confluent.py"));
    script(&Process::start(&["--partitions", "3"]), command, "python");
}

#[test]
fn kafkajs_does_what_it_does_with_kafka() {
    if !installed("node", "--version") {
        return loud("SKIPPED kafkajs on the sandbox: no `node` on PATH");
    }
    let folder = clients().join("kafkajs");
    if !folder.join("node_modules/kafkajs").is_dir() {
        return skipped(
            "kafkajs on the sandbox",
            "it is not installed (npm install --no-package-lock in tests/sandbox/clients/kafkajs)",
        );
    }
    let mut command = Command::new("node");
    command.arg(folder.join("client.js"));
    script(&Process::start(&["--partitions", "3"]), command, "kafkajs");
}

#[test]
fn franz_go_does_what_it_does_with_kafka() {
    if !installed("go", "version") {
        return loud("SKIPPED franz-go on the sandbox: no `go` on PATH");
    }
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("franz");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&binary)
        .arg(".")
        .current_dir(clients().join("franz"))
        .output()
        .unwrap();
    if !built.status.success() {
        return skipped("franz-go on the sandbox", &String::from_utf8_lossy(&built.stderr));
    }
    script(
        &Process::start(&["--partitions", "3"]),
        Command::new(binary),
        "franz",
    );
}
