//! What is kept in a folder is there again, also after `kill -9` and a torn tail.

use std::path::{Path, PathBuf};

use crate::place::{Process, barnabas};
use crate::same::requests::Requests;
use crate::wire::{Client, NOBODY, batch, publish};

fn folder(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sandbox-{test}"));
    let _ = std::fs::remove_dir_all(&path);
    path
}

fn consume(sandbox: &Process, args: &[&str]) -> String {
    let read = barnabas(
        &[&["consume", "-b", &sandbox.address, "-e", "-q", "-t", "t"], args].concat(),
        b"",
    );
    read.success().text().to_owned()
}

fn produce(sandbox: &Process, text: &str) {
    barnabas(
        &["produce", "-b", &sandbox.address, "-t", "t", "-q"],
        text.as_bytes(),
    )
    .success();
}

#[test]
fn records_topics_and_offsets_outlive_the_process() {
    let data = folder("outlive");
    let data_arg = data.to_str().unwrap();
    let topics = data.with_extension("topics");
    std::fs::write(
        &topics,
        "# what we need\nt 1 retention.ms=-1\nstate 3 cleanup.policy=compact\n",
    )
    .unwrap();
    let args = ["--data", data_arg, "--topics", topics.to_str().unwrap()];
    let sandbox = Process::start(&args);
    produce(&sandbox, "one\ntwo\n");
    let again = Process::start_failing(&["--data", data_arg]);
    assert!(again.contains("another sandbox has the folder"), "{again}");
    sandbox.kill();

    let sandbox = Process::start(&args);
    assert_eq!(consume(&sandbox, &[]), "one\ntwo\n");
    produce(&sandbox, "three\n");
    let described = barnabas(
        &["topics", "describe", "-b", &sandbox.address, "state", "--json"],
        b"",
    )
    .success();
    assert!(described.text().contains("\"compact\""), "{}", described.text());
    sandbox.kill();
    assert_eq!(
        consume(&Process::start(&["--data", data_arg]), &[]),
        "one\ntwo\nthree\n"
    );
}

#[test]
fn a_torn_tail_is_cut_off_and_writing_goes_on_behind_what_is_sound() {
    let data = folder("torn");
    let data_arg = data.to_str().unwrap();
    let sandbox = Process::start(&["--data", data_arg]);
    sandbox.create("t");
    for line in ["one\n", "two\n", "three\n"] {
        produce(&sandbox, line);
    }
    sandbox.kill();
    let mut segments = Vec::new();
    for topic in std::fs::read_dir(&data).unwrap() {
        let partition = topic.unwrap().path().join("0");
        if partition.is_dir() {
            segments.extend(
                std::fs::read_dir(partition)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    assert_eq!(segments.len(), 1);
    let bytes = std::fs::read(&segments[0]).unwrap();
    std::fs::write(&segments[0], &bytes[..bytes.len() - 3]).unwrap();
    let sandbox = Process::start(&["--data", data_arg]);
    assert_eq!(consume(&sandbox, &[]), "one\ntwo\n");
    produce(&sandbox, "four\n");
    assert_eq!(consume(&sandbox, &["-f", "%o %s\\n"]), "0 one\n1 two\n2 four\n");
    sandbox.kill();
    assert_eq!(
        consume(&Process::start(&["--data", data_arg]), &[]),
        "one\ntwo\nfour\n"
    );
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_with_a_request_in_flight() {
    let data = folder("killed");
    let args = ["--data", data.to_str().unwrap()];
    let mut sandbox = Process::start(&args);
    sandbox.create("t");
    let mut expected = String::new();
    let mut count = 0;
    for round in 0..6 {
        let address = sandbox.address.parse().unwrap();
        let mut client = Client::connect(address).await;
        let now = barnabas::clock::unix_millis();
        let one = |value: &str| batch(&[("k", Some(value))], now, NOBODY);
        for n in 0..20 {
            let value = format!("{round}-{n}");
            let answer = client.produce("t", 0, None, one(&value)).await;
            assert_eq!((answer.error_code, answer.base_offset), (0, count));
            expected.push_str(&format!("{count} {value}\n"));
            count += 1;
        }
        let commit = format!("commit g t 0 {count} {round}");
        assert_eq!(Requests::new(address).run(&commit).await, "error 0");
        let committed = format!("error 0 0, offset {count}, Some(\"{round}\")");
        // Large, so that it may be half written.
        let flying = format!("{round}-{}", "in-flight-".repeat(50_000));
        client.send(9, &publish("t", 0, None, one(&flying))).await;
        sandbox.kill();

        sandbox = Process::start(&args);
        let held = consume(&sandbox, &["-f", "%o %s\\n"]);
        // What was not acknowledged may be there, whole, or not.
        let with = format!("{expected}{count} {flying}\n");
        if held == with {
            (expected, count) = (with, count + 1);
        }
        assert!(
            held == expected,
            "round {round}: {} bytes, {} expected",
            held.len(),
            expected.len()
        );
        let address = sandbox.address.parse().unwrap();
        assert_eq!(Requests::new(address).run("committed g t 0").await, committed);
    }
}
