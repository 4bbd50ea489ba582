//! Our own commands on the sandbox: publishing, printing, topics, groups, handlers, dead letters. And what it promises of
//! itself: how soon it answers, and what it says.

use std::time::Duration;

use crate::place::{Process, barnabas, command};
use crate::support::{Live, wait_for};

fn on(sandbox: &Process, args: &[&str], input: &str) -> crate::support::Finished {
    let (verb, rest) = args.split_at(1);
    barnabas(
        &[verb, &["-b", &sandbox.address], rest].concat(),
        input.as_bytes(),
    )
}

/// As [`on`], of a command with a word more in its name.
fn on2(sandbox: &Process, args: &[&str]) -> crate::support::Finished {
    let (verb, rest) = args.split_at(2);
    barnabas(&[verb, &["-b", &sandbox.address], rest].concat(), b"")
}

#[test]
fn every_codec_goes_in_and_comes_out_whole_and_in_order() {
    let sandbox = Process::start(&[]);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        sandbox.create(codec);
        let lines: String = (0..50_000)
            .map(|n| format!("{codec} {n} {}\n", "x".repeat(n % 50)))
            .collect();
        on(&sandbox, &["produce", "-t", codec, "-z", codec, "-q"], &lines).success();
        assert_eq!(
            on(&sandbox, &["consume", "-t", codec, "-e", "-q"], "")
                .success()
                .text(),
            lines,
            "{codec}"
        );
    }
}

#[test]
fn topics_are_created_described_changed_and_deleted() {
    let sandbox = Process::start(&["--partitions", "3"]);
    on2(
        &sandbox,
        &["topics", "create", "a", "--partitions", "2", "--retention", "1h"],
    )
    .success();
    on2(&sandbox, &["topics", "create", "b"]).success();
    on2(&sandbox, &["topics", "create", "a"])
        .code(1)
        .says("exists already");
    on2(&sandbox, &["topics", "create", "c", "--replication", "3"])
        .code(1)
        .says("more replicas asked for than there are brokers");
    on2(
        &sandbox,
        &[
            "topics",
            "alter",
            "a",
            "--partitions",
            "4",
            "--config",
            "max.message.bytes=5000",
            "--yes",
        ],
    )
    .success();
    on2(
        &sandbox,
        &["topics", "alter", "a", "--config", "retention.ms=x", "--yes"],
    )
    .code(1);
    let listed = on2(&sandbox, &["topics", "list", "--json"]).success();
    let listed: serde_json::Value = serde_json::from_str(listed.text()).unwrap();
    assert_eq!(listed.to_string().matches("\"name\"").count(), 2, "{listed}");
    let described = on2(&sandbox, &["topics", "describe", "a", "--json"]).success();
    assert!(
        described.text().contains("3600000") && described.text().contains("5000"),
        "{}",
        described.text()
    );
    on2(&sandbox, &["topics", "delete", "a", "b", "--yes"]).success();
    assert_eq!(
        on2(&sandbox, &["topics", "list"])
            .success()
            .text()
            .lines()
            .filter(|line| !line.is_empty())
            .count(),
        0
    );
}

#[test]
fn offsets_are_asked_for_by_time_and_from_the_end() {
    let sandbox = Process::start(&[]);
    sandbox.create("t");
    on(&sandbox, &["produce", "-t", "t", "-q"], "one\ntwo\nthree\n").success();
    assert_eq!(
        on(&sandbox, &["consume", "-t", "t", "-o", "-1", "-e", "-q"], "")
            .success()
            .text(),
        "three\n"
    );
    assert_eq!(
        on(&sandbox, &["consume", "-t", "t", "-o", "-1h", "-e", "-q"], "")
            .success()
            .text(),
        "one\ntwo\nthree\n"
    );
    assert_eq!(
        on(&sandbox, &["consume", "-t", "t", "-o", "1", "-c", "1", "-q"], "")
            .success()
            .text(),
        "two\n"
    );
}

#[test]
fn a_group_shares_partitions_and_goes_on_where_it_was() {
    let sandbox = Process::start(&["--partitions", "4"]);
    sandbox.create("t");
    let first: String = (0..400).map(|n| format!("k{n}\t{n}\n")).collect();
    on(&sandbox, &["produce", "-t", "t", "-K", "\t", "-q"], &first).success();
    let member = || {
        let args = [
            "consume",
            "-b",
            &sandbox.address,
            "-t",
            "t",
            "-g",
            "g",
            "--from",
            "beginning",
            "-q",
        ];
        Live::start(command(&args))
    };
    let mut one = member();
    let lines = one.lines();
    let mut seen: Vec<u32> = (0..400).map(|_| lines.next().parse().unwrap()).collect();
    seen.sort_unstable();
    assert!((0..400).eq(seen));
    let mut two = member();
    let more = two.lines();
    wait_for(
        "the second member owns partitions",
        Duration::from_secs(30),
        || {
            let described = on2(&sandbox, &["groups", "describe", "g", "--json"]);
            let owners: serde_json::Value = serde_json::from_str(described.text()).ok()?;
            (owners.to_string().matches("\"member\"").count() > 0).then_some(())
        },
    );
    one.signal("TERM");
    one.finish();
    on(&sandbox, &["produce", "-t", "t", "-K", "\t", "-q"], "k\tlast\n").success();
    assert_eq!(more.next(), "last");
    two.signal("TERM");
    two.finish();
    let described = on2(&sandbox, &["groups", "list"]).success();
    assert!(described.text().contains('g'), "{}", described.text());
}

#[test]
fn what_a_handler_rejects_goes_to_the_dead_letters() {
    let sandbox = Process::start(&[]);
    sandbox.create("orders");
    on(&sandbox, &["produce", "-t", "orders", "-q"], "good\nbad\ngood\n").success();
    let script = "sh -c 'read line; case $line in *bad*) exit 65;; esac'";
    let args = [
        "consume",
        "-b",
        &sandbox.address,
        "-t",
        "orders",
        "-g",
        "billing",
        "--from",
        "beginning",
        "--exec-each",
        script,
    ];
    let handler = Live::start(command(&args));
    let letters = || on2(&sandbox, &["dlq", "list", "--json"]);
    wait_for("a dead letter", Duration::from_secs(40), || {
        letters().text().contains("\"offset\":1").then_some(())
    });
    handler.signal("TERM");
    handler.finish();
}

#[test]
fn it_answers_within_50_ms_of_its_start_and_says_what_it_is() {
    // The best of a few: what else the machine does is not the sandbox's.
    let times = (0..10).map(|_| {
        let started = barnabas::clock::now();
        let sandbox = Process::start(&[]);
        let mut client = std::net::TcpStream::connect(&sandbox.address).unwrap();
        std::io::Write::write_all(&mut client, b"\"list\"\n").unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut client, &mut answer).unwrap();
        assert_eq!(answer, "{\"faults\":{\"faults\":[],\"shift\":0}}\n");
        started.elapsed()
    });
    let best = times.min().unwrap();
    // Not optimised, it takes a little longer.
    let limit = if cfg!(debug_assertions) { 150 } else { 50 };
    assert!(best < Duration::from_millis(limit), "{best:?}");
}

#[test]
fn idle_it_takes_little_memory() {
    let sandbox = Process::start(&[]);
    on2(&sandbox, &["topics", "create", "t"]).success();
    let status = std::fs::read_to_string(format!("/proc/{}/status", sandbox.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    // Not optimised, the program alone is larger than that.
    let limit = if cfg!(debug_assertions) { 60 } else { 15 };
    assert!(kib < limit << 10, "{kib} KiB");
}

#[test]
fn what_cannot_be_is_said() {
    let sandbox = Process::start(&[]);
    barnabas(&["sandbox", "--listen", &sandbox.address], b"")
        .code(1)
        .says("cannot listen on");
    barnabas(&["sandbox", "--listen", "example.org:9092"], b"")
        .code(2)
        .says("is no IP address");
    barnabas(&["sandbox", "--topics", "/nonexistent"], b"")
        .code(2)
        .says("cannot be read");
    barnabas(&["sandbox", "fault", "-b", "127.0.0.1:1", "clear"], b"")
        .code(1)
        .says("no sandbox answers at 127.0.0.1:1");
}
