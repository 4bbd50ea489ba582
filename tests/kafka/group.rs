//! `consume --group`: processes that share partitions, where they start, what comes later, and how they end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::barnabas_bin::{barnabas, command, live, produce};
use crate::member::{LIMIT, Line, Member};
use crate::support::{Brokers, Finished, Kafka, Live, wait_for};

/// A group's name that no other test has.
pub(crate) fn group_name(name: &str) -> String {
    static GROUPS: AtomicU32 = AtomicU32::new(0);
    format!(
        "{name}-{}-{}",
        std::process::id(),
        GROUPS.fetch_add(1, Ordering::Relaxed)
    )
}

/// Kafka's own tool for groups.
fn consumer_groups(kafka: &Kafka, args: &[&str]) -> Finished {
    let bootstrap = kafka.bootstrap();
    let args = [&["--bootstrap-server", &bootstrap][..], args].concat();
    kafka.java(
        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        &args,
        b"",
    )
}

/// Committed offset and lag of each partition, as `kafka-consumer-groups --describe` has them; −1 for none.
pub(crate) fn described(kafka: &Kafka, group: &str, topic: &str) -> BTreeMap<i32, (i64, i64)> {
    let run = consumer_groups(kafka, &["--describe", "--group", group]);
    let rows = run.text().lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<i64>().ok();
        if fields.get(1) != Some(&topic) {
            return None;
        }
        let partition = i32::try_from(number(2)?).ok()?;
        Some((partition, (number(3).unwrap_or(-1), number(5).unwrap_or(-1))))
    });
    rows.collect()
}

fn numbered(range: std::ops::Range<usize>) -> String {
    range.fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "k{}:{n}", n % 50);
        text
    })
}

/// Publishes numbered records with 50 keys.
fn publish(kafka: &Brokers, topic: &str, range: std::ops::Range<usize>) {
    produce(kafka, topic, &["-K", ":"], numbered(range).as_bytes()).success();
}

/// Waits until all of these numbers are printed by any of the members, and sees that each is printed once.
#[track_caller]
fn print_once(members: &[&Member], range: std::ops::Range<usize>) {
    let numbers = || -> Vec<usize> {
        let lines = members.iter().flat_map(|member| member.printed());
        lines
            .map(|line| value(&line).parse().expect("a number"))
            .filter(|n| range.contains(n))
            .collect()
    };
    wait_for("all is printed", LIMIT, || {
        (numbers().len() >= range.len()).then_some(())
    });
    let all = numbers();
    let distinct: BTreeSet<usize> = all.iter().copied().collect();
    assert_eq!(
        (distinct.len(), all.len()),
        (range.len(), range.len()),
        "lost or doubled"
    );
}

fn partition(line: &Line) -> i32 {
    let first = line.text.split(' ').next().and_then(|first| first.parse().ok());
    first.expect("lines begin with the partition")
}

fn value(line: &Line) -> &str {
    line.text.splitn(3, ' ').nth(2).expect("lines have three parts")
}

fn partitions(member: &Member) -> BTreeSet<i32> {
    member.printed().iter().map(partition).collect()
}

#[test]
fn members_share_the_partitions_and_a_planned_join_and_leave_repeat_nothing() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("shared", 6);
    let group = group_name("shared");
    publish(kafka, &topic, 0..300);
    let mut first = Member::start(kafka, &group, &["-t", &topic]);
    assert_eq!(first.ready(), "6 of 6 partitions");
    print_once(&[&first], 0..300);
    let mut second = Member::start(kafka, &group, &["-t", &topic]);
    assert_eq!(second.ready(), "3 of 6 partitions");
    publish(kafka, &topic, 300..600);
    print_once(&[&first, &second], 0..600);
    let seconds = partitions(&second);
    assert_eq!(seconds.len(), 3, "{seconds:?}");
    let late = first.printed().split_off(300);
    assert!(late.iter().all(|line| !seconds.contains(&partition(line))));
    let ended = first.leaves();
    assert!(
        ended.said.iter().all(|line| !line.contains("warning")),
        "{:?}",
        ended.said
    );
    publish(kafka, &topic, 600..700);
    wait_for("the rest is printed", LIMIT, || {
        (ended.printed.len() + second.count() >= 700).then_some(())
    });
    assert_eq!(ended.printed.len() + second.count(), 700, "something was doubled");
    // Whoever comes back goes on where the group was.
    second.leaves();
    publish(kafka, &topic, 700..710);
    let mut third = Member::start(kafka, &group, &["-t", &topic, "-e"]);
    third.prints(10);
    let ended = third.finish();
    assert_eq!(
        (ended.code, ended.printed.len()),
        (Some(0), 10),
        "{:?}",
        ended.said
    );
}

#[test]
fn kafkas_own_tool_shows_what_was_committed_and_the_lag_within_2_s() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.topic("described", 2);
    let group = group_name("described");
    produce(kafka, &topic, &["-p", "0"], b"a\nb\nc\n").success();
    let mut member = Member::start(kafka, &group, &["-t", &topic]);
    member.ready();
    member.prints(3);
    let printed = barnabas::clock::now();
    loop {
        // The JVM takes a second or so to begin; the offsets are asked for after that.
        let began = printed.elapsed();
        let seen = described(kafka, &group, &topic);
        if seen == BTreeMap::from([(0, (3, 0)), (1, (0, 0))]) {
            break;
        }
        assert!(
            began < Duration::from_secs(1),
            "{seen:?} {:?} after printing",
            printed.elapsed()
        );
    }
    // Behind by what nobody prints.
    member.leaves();
    produce(kafka, &topic, &["-p", "1"], b"d\ne\n").success();
    let seen = described(kafka, &group, &topic);
    assert_eq!(seen, BTreeMap::from([(0, (3, 0)), (1, (0, 2))]));
}

#[test]
fn a_new_group_starts_where_it_is_told_and_only_a_new_one() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.topic("starts", 1);
    let lines: String = (0..10)
        .map(|n| {
            format!(
                "{{\"value\":\"{n}\",\"timestamp\":{}}}\n",
                1_700_000_000_000_i64 + n * 1_000
            )
        })
        .collect();
    produce(kafka, &topic, &["--format", "json"], lines.as_bytes()).success();
    let native = group_name("native");
    let reset = [
        "--reset-offsets",
        "--group",
        &native,
        "--topic",
        &topic,
        "--to-offset",
        "7",
        "--execute",
    ];
    consumer_groups(kafka, &reset).success();
    let from_native = format!("kafka-group:{native}");
    for (from, first) in [
        ("earliest", 0),
        ("latest", 10),
        ("@1700000004500", 5),
        ("2023-11-14T22:13:21Z", 1),
        (from_native.as_str(), 7),
    ] {
        let group = group_name("starts");
        let read = |from: &str| {
            let args = [
                "consume",
                "-b",
                &kafka.bootstrap(),
                "-g",
                &group,
                "-t",
                &topic,
                "--from",
                from,
                "-e",
            ];
            barnabas(&args, b"").success()
        };
        let expected: String = (first..10).map(|n| format!("{n}\n")).collect();
        assert_eq!(read(from).text(), expected, "{from}");
        assert_eq!(
            read("earliest").text(),
            "",
            "{from}: the group has a position already"
        );
    }
}

#[test]
fn a_group_takes_over_from_a_native_one_of_the_same_name() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.topic("taken", 1);
    produce(kafka, &topic, &[], b"0\n1\n2\n3\n4\n").success();
    let group = group_name("taken");
    let reset = [
        "--reset-offsets",
        "--group",
        &group,
        "--topic",
        &topic,
        "--to-offset",
        "3",
        "--execute",
    ];
    consumer_groups(kafka, &reset).success();
    let from = format!("kafka-group:{group}");
    let args = [
        "consume",
        "-b",
        &kafka.bootstrap(),
        "-g",
        &group,
        "-t",
        &topic,
        "--from",
        &from,
        "-e",
    ];
    assert_eq!(barnabas(&args, b"").success().text(), "3\n4\n");
    assert_eq!(described(kafka, &group, &topic), BTreeMap::from([(0, (5, 0))]));
}

#[test]
fn partitions_and_topics_that_come_later_are_read_from_their_beginning() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("grows", 1);
    let group = group_name("grows");
    let regex = format!("{topic}(-more)?");
    let mut member = Member::start(
        kafka,
        &group,
        &["--topics-regex", &regex, "--from", "latest", "-f", "%t %p %s\\n"],
    );
    assert_eq!(member.ready(), "1 of 1 partition");
    let bootstrap = kafka.bootstrap();
    barnabas(
        &[
            "topics",
            "alter",
            "-b",
            &bootstrap,
            &topic,
            "--partitions",
            "2",
            "--yes",
        ],
        b"",
    )
    .success();
    produce(kafka, &topic, &["-p", "1"], b"new partition\n").success();
    let more = format!("{topic}-more");
    barnabas(
        &["topics", "create", "-b", &bootstrap, &more, "--partitions", "1"],
        b"",
    )
    .success();
    produce(kafka, &more, &[], b"new topic\n").success();
    let began = barnabas::clock::now();
    let mut printed = member.prints(2);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    printed.sort();
    assert_eq!(
        printed,
        [format!("{topic} 1 new partition"), format!("{more} 0 new topic")]
    );
    member.leaves();
}

#[test]
fn a_topic_made_anew_is_read_from_its_beginning() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("anew-in-group", 1);
    let group = group_name("anew");
    produce(kafka, &topic, &[], b"old 1\nold 2\nold 3\n").success();
    let mut member = Member::start(kafka, &group, &["-t", &topic]);
    member.prints(3);
    let bootstrap = kafka.bootstrap();
    barnabas(&["topics", "delete", "-b", &bootstrap, &topic, "--yes"], b"").success();
    barnabas(
        &["topics", "create", "-b", &bootstrap, &topic, "--partitions", "1"],
        b"",
    )
    .success();
    produce(kafka, &topic, &[], b"new 1\nnew 2\n").success();
    assert_eq!(member.prints(5)[3..], ["0 0 new 1", "0 1 new 2"]);
    member.leaves();
}

#[test]
fn a_reader_that_goes_away_ends_a_member_quietly_and_hands_over_at_once() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("closed", 2);
    let group = group_name("closed");
    let mut first = Live::start(command(&[
        "consume",
        "-b",
        &kafka.bootstrap(),
        "-g",
        &group,
        "-t",
        &topic,
        "--session",
        "30s",
        "-q",
    ]));
    publish(kafka, &topic, 0..10);
    assert_eq!(first.lines().next().len(), 1);
    // The reader is gone here, as with `| head -n 1`; the member notices with the next record.
    publish(kafka, &topic, 10..20);
    let ended = first.finish().code(0);
    assert_eq!(ended.stderr, "");
    let began = barnabas::clock::now();
    let mut second = Member::start(kafka, &group, &["-t", &topic]);
    assert_eq!(second.ready(), "2 of 2 partitions");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    second.leaves();
}

#[test]
fn a_member_that_is_killed_is_replaced_after_its_session() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("killed", 4);
    let group = group_name("killed");
    let args = ["-t", &topic, "--session", "2s"];
    let mut first = Member::start(kafka, &group, &args);
    first.ready();
    let mut second = Member::start(kafka, &group, &args);
    assert_eq!(second.ready(), "2 of 4 partitions");
    publish(kafka, &topic, 0..100);
    print_once(&[&first, &second], 0..100);
    let had = second.count();
    first.signal("KILL");
    let killed = barnabas::clock::now();
    let theirs: BTreeSet<i32> = (0..4).filter(|p| !partitions(&second).contains(p)).collect();
    publish(kafka, &topic, 100..200);
    let seen = wait_for("the dead member's partitions are printed", LIMIT, || {
        let printed = second.printed().split_off(had);
        let line = printed.iter().find(|line| theirs.contains(&partition(line)))?;
        Some(line.at.duration_since(killed))
    });
    crate::support::loud(&format!("kill -9, session 2s: printed again after {seen:.1?}"));
    assert!(seen < Duration::from_secs(5), "{seen:?}");
    second.leaves();
}

#[test]
fn a_count_ends_a_member_and_the_next_one_goes_on_behind_it() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("counted", 1);
    let group = group_name("counted");
    produce(kafka, &topic, &[], b"0\n1\n2\n3\n4\n5\n").success();
    let read = |flags: &[&str]| {
        let args = ["consume", "-b", &kafka.bootstrap(), "-g", &group, "-t", &topic];
        barnabas(&[&args[..], flags].concat(), b"").success()
    };
    assert_eq!(read(&["-c", "2"]).text(), "0\n1\n");
    assert_eq!(read(&["-c", "3", "-u"]).text(), "2\n3\n4\n");
    assert_eq!(read(&["-e"]).text(), "5\n");
}

#[test]
fn an_operator_pauses_skips_and_resets_while_a_member_runs() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("operated", 1);
    let group = group_name("operated");
    let operate = |verb: &str, flags: &[&str]| {
        let args = ["groups", verb, "-b", &kafka.bootstrap(), &group];
        barnabas(&[&args[..], flags].concat(), b"").success();
    };
    produce(kafka, &topic, &[], b"0\n1\n2\n").success();
    let mut member = Member::start(kafka, &group, &["-t", &topic, "-f", "%s\\n"]);
    assert_eq!(member.prints(3), ["0", "1", "2"]);
    operate("pause", &[]);
    // The member reads of it within a moment, and then prints nothing.
    let nothing_more = |member: &Member, count: usize| {
        thread::sleep(Duration::from_secs(1));
        assert_eq!(member.count(), count);
    };
    nothing_more(&member, 3);
    produce(kafka, &topic, &[], b"3\n4\n5\n").success();
    nothing_more(&member, 3);
    operate("skip", &["-t", &topic, "-p", "0", "-o", "4", "--yes"]);
    operate("resume", &[]);
    assert_eq!(member.prints(5)[3..], ["3", "5"]);
    operate("reset", &["--to", "earliest", "--yes"]);
    assert_eq!(member.prints(11)[5..], ["0", "1", "2", "3", "4", "5"]);
    operate("reset", &["--to", "5", "--yes"]);
    assert_eq!(member.prints(12)[11..], ["5"]);
    let ended = member.leaves();
    assert_eq!(ended.printed.len(), 12);
    assert!(
        ended.said.iter().all(|line| !line.contains("warning")),
        "{:?}",
        ended.said
    );
}

#[test]
fn a_member_whose_output_nobody_reads_gives_up_and_is_replaced() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.topic("unread", 1);
    let group = group_name("unread");
    // More than a pipe takes.
    produce(
        kafka,
        &topic,
        &[],
        "a line of some length\n".repeat(20_000).as_bytes(),
    )
    .success();
    let flags = ["-g", &group, "--session", "2s", "--drain-timeout", "1s"];
    let mut stuck = live(kafka, "consume", &topic, &flags);
    // Its stdout is open, and nobody reads it.
    let stdout = stuck.take_stdout();
    wait_for("something is committed", LIMIT, || {
        (described(kafka, &group, &topic).get(&0)?.0 > 0).then_some(())
    });
    stuck.signal("TERM");
    let ended = stuck.finish().code(1);
    assert!(
        ended.stderr.contains("not handed over within --drain-timeout"),
        "{}",
        ended.stderr
    );
    drop(stdout);
    let mut next = Member::start(kafka, &group, &["-t", &topic, "-e"]);
    next.ready();
    let ended = next.finish();
    assert_eq!(ended.code, Some(0), "{:?}", ended.said);
    assert!(
        (10_000..20_000).contains(&ended.printed.len()),
        "{}",
        ended.printed.len()
    );
}
