//! `groups`, with members that run `consume --group`.

use std::time::Duration;

use crate::barnabas_bin::{barnabas, command, produce};
use crate::support::{Brokers, Finished, Live, wait_for};

/// Longest that a group may take for what it does at once.
const SOON: Duration = Duration::from_secs(20);

/// `barnabas groups VERB` at the cluster.
fn groups(kafka: &Brokers, args: &[&str]) -> Finished {
    let (verb, rest) = args.split_first().expect("a verb");
    barnabas(&[&["groups", verb, "-b", &kafka.bootstrap()], rest].concat(), b"")
}

/// As [`groups`] with `--json`, read.
fn json(kafka: &Brokers, args: &[&str]) -> serde_json::Value {
    let run = groups(kafka, &[args, &["--json"]].concat()).success();
    serde_json::from_str(run.text()).expect("it prints JSON")
}

fn described(kafka: &Brokers, group: &str) -> serde_json::Value {
    json(kafka, &["describe", group])["groups"][0].take()
}

/// A topic of three partitions with ten records each, and a group's name; no other test has them.
fn prepare(kafka: &Brokers, what: &str) -> (String, String) {
    let topic = format!("{what}-{}", std::process::id());
    let bootstrap = kafka.bootstrap();
    barnabas(
        &["topics", "create", "-b", &bootstrap, &topic, "--partitions", "3"],
        b"",
    )
    .success();
    for partition in ["0", "1", "2"] {
        let lines: String = (0..10).map(|number| format!("{partition}-{number}\n")).collect();
        produce(kafka, &topic, &["-p", partition], lines.as_bytes()).success();
    }
    let group = format!("g-{topic}");
    (topic, group)
}

/// A member of the group that prints `partition offset`.
fn member(kafka: &Brokers, group: &str, topic: &str, instance: &str) -> Live {
    let bootstrap = kafka.bootstrap();
    let args = [
        "consume",
        "-b",
        &bootstrap,
        "-g",
        group,
        "-t",
        topic,
        "--instance",
        instance,
    ];
    let how = ["--session", "2s", "-u", "-f", "%p %o\\n"];
    Live::start(command(&[&args[..], &how].concat()))
}

/// Waits until the group has finished everything.
fn wait_for_lag(kafka: &Brokers, group: &str, lag: i64) {
    wait_for("the group's lag", SOON, || {
        let found = described(kafka, group);
        (found["lag"] == lag).then_some(())
    });
}

#[test]
fn a_running_group_is_described_reset_and_told_of() {
    let Some(kafka) = Brokers::any() else { return };
    let (topic, group) = prepare(kafka, "groups-reset");
    let mut member = member(kafka, &group, &topic, "one");
    let lines = member.lines();
    for _ in 0..30 {
        lines.next();
    }
    wait_for_lag(kafka, &group, 0);
    let found = described(kafka, &group);
    assert_eq!(found["state"], "active");
    assert_eq!(found["members"][0]["instance"], "one");
    assert_eq!(found["members"][0]["leader"], true);
    assert_eq!(found["partitions"].as_array().unwrap().len(), 3);
    for partition in found["partitions"].as_array().unwrap() {
        assert_eq!((&partition["next"], &partition["end"]), (&10.into(), &10.into()));
        assert_eq!(partition["owner"], found["members"][0]["member"]);
    }
    let text = groups(kafka, &["describe", &group]).success();
    assert!(
        text.text().contains("1 member, 3 partitions of 1 topic, lag 0"),
        "{}",
        text.text()
    );
    // Logs that other tests have damaged make it exit with 1.
    let listed = groups(kafka, &["list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(listed.text()).expect("it prints JSON");
    let line = listed["groups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["group"] == group.as_str());
    assert_eq!(line.unwrap()["partitions"], 3);

    // Only told, refused, and done: the member jumps there while it runs.
    let dry = ["reset", &group, "--to", "4", "--partition", "1", "--dry-run"];
    assert_eq!(json(kafka, &dry)["partitions"][0]["result"], "would_reset");
    groups(kafka, &["reset", &group, "--to", "11", "--yes"])
        .code(1)
        .says("its offsets are 0 to 10");
    let reset = [
        "reset",
        &group,
        "--to",
        "7",
        "--partition",
        "1",
        "--why",
        "incident 42",
        "--yes",
    ];
    let done = json(kafka, &reset);
    assert_eq!(done["partitions"][0]["from"], 10);
    assert_eq!(done["partitions"][0]["result"], "reset");
    let again: Vec<String> = (0..3).map(|_| lines.next()).collect();
    assert_eq!(again, ["1 7", "1 8", "1 9"]);
    wait_for_lag(kafka, &group, 0);
    groups(
        kafka,
        &["reset", &group, "--by", "-1", "--topic", &topic, "--yes"],
    )
    .success();
    let mut again: Vec<String> = (0..3).map(|_| lines.next()).collect();
    again.sort();
    assert_eq!(again, ["0 9", "1 9", "2 9"]);

    groups(kafka, &["delete", &group, "--yes"])
        .code(1)
        .says("stop them first");
    member.signal("TERM");
    member.finish().success();
    let story = groups(kafka, &["history", &group]).success();
    for part in [
        "the group was founded",
        "joined for",
        "incident 42",
        &format!("reset {topic} 1: 10 → 7"),
        "left",
    ] {
        assert!(story.text().contains(part), "{part}: {}", story.text());
    }
    let entries = json(kafka, &["history", &group]);
    let events = entries["entries"].as_array().unwrap();
    assert!(
        events
            .iter()
            .any(|entry| entry["event"] == "joined" && entry["member"]["instance"] == "one")
    );

    // Nothing is left, so that a new group of the name begins as a new one.
    let deleted = json(kafka, &["delete", &group, "--yes"]);
    assert_eq!(
        (&deleted["result"], &deleted["native"]),
        (&"deleted".into(), &"deleted".into())
    );
    groups(kafka, &["describe", &group])
        .code(1)
        .says("there is no such group");
}

#[test]
fn a_paused_group_processes_nothing_until_it_is_resumed() {
    let Some(kafka) = Brokers::any() else { return };
    let (topic, group) = prepare(kafka, "groups-pause");
    let mut member = member(kafka, &group, &topic, "one");
    let lines = member.lines();
    for _ in 0..30 {
        lines.next();
    }
    wait_for_lag(kafka, &group, 0);
    let paused = json(kafka, &["pause", &group, "--why", "upgrade"]);
    assert_eq!(paused["result"], "paused");
    assert_eq!(json(kafka, &["pause", &group])["result"], "already_paused");
    assert_eq!(described(kafka, &group)["state"], "paused");
    produce(kafka, &topic, &["-p", "0"], b"new\n").success();
    wait_for_lag(kafka, &group, 1);
    groups(kafka, &["pause", &group, "-p", "2"]).success();
    groups(kafka, &["resume", &group])
        .success()
        .says(&format!("still paused by themselves: {topic} 2"));
    assert_eq!(lines.next(), "0 10");
    member.signal("TERM");
    member.finish().success();
}

#[test]
fn a_skipped_record_is_not_processed() {
    let Some(kafka) = Brokers::any() else { return };
    let (topic, group) = prepare(kafka, "groups-skip");
    let mut first = member(kafka, &group, &topic, "one");
    let lines = first.lines();
    for _ in 0..30 {
        lines.next();
    }
    wait_for_lag(kafka, &group, 0);
    first.signal("TERM");
    first.finish().success();
    groups(kafka, &["reset", &group, "--to", "7", "--yes"]).success();
    let skip = ["skip", &group, "-t", &topic, "-p", "1", "-o", "8", "--yes"];
    assert_eq!(json(kafka, &skip)["result"], "skipped");
    assert_eq!(json(kafka, &skip)["result"], "finished_already");
    groups(
        kafka,
        &["skip", &group, "-t", &topic, "-p", "1", "-o", "10", "--yes"],
    )
    .code(1)
    .says("the partition ends at 10");
    assert_eq!(described(kafka, &group)["partitions"][1]["gaps"], 1);
    let mut second = member(kafka, &group, &topic, "two");
    let lines = second.lines();
    let mut printed: Vec<String> = (0..8).map(|_| lines.next()).collect();
    printed.sort();
    assert_eq!(printed, ["0 7", "0 8", "0 9", "1 7", "1 9", "2 7", "2 8", "2 9"]);
    second.signal("TERM");
    second.finish().success();
}

#[test]
fn a_group_whose_members_crashed_is_deleted_when_their_sessions_are_over() {
    let Some(kafka) = Brokers::any() else { return };
    let (topic, group) = prepare(kafka, "groups-crash");
    let mut member = member(kafka, &group, &topic, "one");
    let lines = member.lines();
    for _ in 0..30 {
        lines.next();
    }
    member.signal("KILL");
    let _ = member.finish();
    groups(kafka, &["delete", &group, "--yes"])
        .success()
        .says("looking whether they live");
    groups(kafka, &["history", &group])
        .code(1)
        .says("there is no such group");
}

#[test]
fn an_unknown_group_is_answered_with_similar_names() {
    let Some(kafka) = Brokers::any() else { return };
    let (topic, group) = prepare(kafka, "groups-unknown");
    let mut member = member(kafka, &group, &topic, "one");
    member.lines().next();
    member.signal("TERM");
    member.finish().success();
    let wrong = format!("{group}x");
    for verb in ["describe", "history", "pause"] {
        groups(kafka, &[verb, &wrong])
            .code(1)
            .says(&format!("did you mean {group}?"));
    }
}
