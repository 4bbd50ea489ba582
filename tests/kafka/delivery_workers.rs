//! `consume --group --exec` and `--exec-each`: workers that die, talk nonsense, answer twice or never.
//!
//! The workers are Python or sh scripts; each writes down what it gets, a line `partition offset attempt pid` in a file
//! that is opened for appending, so the record is of what was really handled.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use crate::delivery_scripts::Worker;
use crate::delivery_support::{Case, places};
use crate::member::{LIMIT, Member};
use crate::support::{Brokers, wait_for};

/// Starts a member with the worker, and waits until the group has finished all.
fn through(case: &Case<'_>, worker: &Worker, flags: &[&str]) -> Vec<String> {
    let command = worker.command("python3");
    let member = case.member(&[&["--exec", &command][..], flags].concat());
    case.finished();
    member.leaves().said
}

/// Each of these once, but those.
fn once_but(counts: &BTreeMap<i64, usize>, all: i64, but: &[(i64, usize)]) {
    let expected: BTreeMap<i64, usize> = (0..all)
        .map(|offset| (offset, 1))
        .chain(but.iter().copied())
        .collect();
    assert_eq!(*counts, expected);
}

#[test]
fn workers_share_the_events_and_keep_the_order_of_each_key() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "workers", 1);
    let Some(worker) = Worker::python(
        kafka,
        "good",
        "for job, at in events(): say(id=job['id'], ok=True)\n",
    ) else {
        return;
    };
    case.publish_numbered(2_000, 20);
    through(&case, &worker, &["--workers", "3", "--worker-inflight", "4"]);
    let seen = worker.seen();
    once_but(&worker.counts(), 2_000, &[]);
    let mut last: BTreeMap<i64, i64> = BTreeMap::new();
    for (offset, ..) in &seen {
        let before = last.insert(offset % 20, *offset);
        assert!(before < Some(*offset), "{offset} came behind {before:?}");
    }
    let processes: BTreeSet<u32> = seen.iter().map(|(.., process)| *process).collect();
    assert_eq!(processes.len(), 3);
}

#[test]
fn a_worker_that_retries_rejects_skips_and_is_unclear_is_understood() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "answers", 1);
    let body = r#"
for job, at in events():
    first = job["attempt"] == 1
    if at == 10 and first: say(id=job["id"], retry="not yet", after_ms=300)
    elif at == 20: say(id=job["id"], reject="never")
    elif at == 30: say(id=job["id"], skip="not mine")
    elif at == 40 and first: say(id=job["id"])
    elif at == 50 and first: say(id=job["id"], ok=False)
    else: say(id=job["id"], ok=True)
"#;
    let Some(worker) = Worker::python(kafka, "answers", body) else {
        return;
    };
    case.publish_numbered(100, 100);
    through(&case, &worker, &[]);
    once_but(&worker.counts(), 100, &[(10, 2), (40, 2), (50, 2)]);
    let letters = case.letters();
    assert_eq!(places(&letters), BTreeSet::from([(0, 20)]));
    assert_eq!(
        (letters[0].text("outcome"), letters[0].text("error")),
        ("rejected", "never")
    );
}

#[test]
fn a_worker_that_dies_with_an_event_is_started_again_and_gets_it_again() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "dying", 1);
    let body = r#"
for job, at in events():
    if at in (5, 50) and job["attempt"] == 1:
        print("something broke", file=sys.stderr, flush=True)
        os._exit(3)
    say(id=job["id"], ok=True)
"#;
    let Some(worker) = Worker::python(kafka, "dying", body) else {
        return;
    };
    case.publish_numbered(100, 100);
    through(&case, &worker, &[]);
    once_but(&worker.counts(), 100, &[(5, 2), (50, 2)]);
    assert_eq!(case.letters().len(), 0);
}

#[test]
fn an_event_that_always_kills_its_worker_is_set_aside_and_the_others_are_done() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "killer", 1);
    let body = r#"
for job, at in events():
    if at == 5:
        print("cannot bear it", file=sys.stderr, flush=True)
        os._exit(3)
    time.sleep(0.02)
    say(id=job["id"], ok=True)
"#;
    let Some(worker) = Worker::python(kafka, "killer", body) else {
        return;
    };
    case.publish_numbered(50, 50);
    let command = worker.command("python3");
    let mut member = case.member(&[
        "--exec",
        &command,
        "--workers",
        "2",
        "--retry",
        "2",
        "--backoff",
        "300ms..600ms",
    ]);
    // The other worker proves meanwhile that it is the event.
    case.with_traffic(|| member.says("was set aside (exhausted)"));
    case.finished();
    member.leaves();
    let letters = case.letters();
    assert_eq!(places(&letters), BTreeSet::from([(0, 5)]));
    assert!(
        letters[0].text("error").contains("cannot bear it"),
        "{:?}",
        letters[0]
    );
    let counts = worker.counts();
    let tried = counts[&5];
    assert!((2..=20).contains(&tried), "{tried}");
    let all = i64::try_from(counts.len()).expect("few");
    once_but(&counts, all, &[(5, tried)]);
}

#[test]
fn what_several_held_when_their_worker_died_runs_again_alone_and_is_nobodys_fault() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "together", 1);
    let body = r#"
first = not os.path.exists(sys.argv[1] + ".died")
held = []
for job, at in events():
    if not first or at < 10:
        say(id=job["id"], ok=True)
        continue
    held.append(job)
    if len(held) == 4:
        open(sys.argv[1] + ".died", "w").close()
        os._exit(1)
"#;
    let Some(worker) = Worker::python(kafka, "together", body) else {
        return;
    };
    case.publish_numbered(50, 50);
    through(&case, &worker, &["--worker-inflight", "4", "--retry", "1"]);
    let again: Vec<(i64, u32)> = worker
        .seen()
        .iter()
        .filter(|(.., attempt, _)| *attempt > 1)
        .map(|seen| (seen.0, seen.1))
        .collect();
    assert_eq!(again, [], "no attempt is spent");
    once_but(&worker.counts(), 50, &[(10, 2), (11, 2), (12, 2), (13, 2)]);
    assert_eq!(case.letters().len(), 0);
}

#[test]
fn garbage_and_second_and_unknown_answers_do_no_harm() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "talking", 1);
    let body = r#"
for job, at in events():
    print("working on it …", flush=True)
    sys.stdout.buffer.write(b"\xff\xfe\x00 not text\n[1, 2]\n\n"); sys.stdout.flush()
    say(id=999999, ok=True)
    say(id=job["id"], ok=True)
    say(id=job["id"], reject="changed my mind")
"#;
    let Some(worker) = Worker::python(kafka, "talking", body) else {
        return;
    };
    case.publish_numbered(200, 50);
    through(&case, &worker, &["--worker-inflight", "3"]);
    once_but(&worker.counts(), 200, &[]);
    assert_eq!(case.letters().len(), 0);
}

#[test]
fn a_broken_answer_and_an_endless_line_end_the_worker_and_the_event_comes_again() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "broken-answer", 1);
    let body = r#"
for job, at in events():
    if at == 5 and job["attempt"] == 1: print('{"id": 5, "ok', flush=True)
    elif at == 9 and job["attempt"] == 1:
        while True: sys.stdout.write("x" * 65536)
    else: say(id=job["id"], ok=True)
"#;
    let Some(worker) = Worker::python(kafka, "broken-answer", body) else {
        return;
    };
    case.publish_numbered(30, 30);
    through(&case, &worker, &[]);
    once_but(&worker.counts(), 30, &[(5, 2), (9, 2)]);
    assert_eq!(case.letters().len(), 0);
}

#[test]
fn a_worker_that_never_answers_an_event_is_killed_and_no_other_waits_for_long() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "silent", 1);
    let body = r#"
for job, at in events():
    if at == 7 and job["attempt"] < 3: continue
    say(id=job["id"], ok=True)
"#;
    let Some(worker) = Worker::python(kafka, "silent", body) else {
        return;
    };
    case.publish_numbered(100, 100);
    // A worker that is killed needs a moment to be there again.
    let flags = ["--handler-timeout", "4s", "--worker-inflight", "4"];
    through(&case, &worker, &flags);
    let seen = worker.seen();
    let sevens: Vec<u32> = seen
        .iter()
        .filter(|(offset, ..)| *offset == 7)
        .map(|(_, attempt, _)| *attempt)
        .collect();
    assert_eq!(sevens, [1, 2, 3]);
    assert_eq!(worker.counts().len(), 100);
    assert_eq!(case.letters().len(), 0);
}

#[test]
fn a_worker_that_does_not_read_its_stdin_is_out_of_order_and_the_events_wait() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "deaf", 1);
    let body = r#"
if not os.path.exists(sys.argv[1] + ".deaf"):
    open(sys.argv[1] + ".deaf", "w").close()
    time.sleep(60)
for job, at in events(): say(id=job["id"], ok=True)
"#;
    let Some(worker) = Worker::python(kafka, "deaf", body) else {
        return;
    };
    // More than a pipe takes.
    let line = |n: usize| format!("k{n}:{}\n", "x".repeat(20_000));
    case.publish(&(0..20).map(line).collect::<String>());
    let flags = [
        "--handler-timeout",
        "1s",
        "--worker-inflight",
        "10",
        "--retry",
        "1",
    ];
    through(&case, &worker, &flags);
    once_but(&worker.counts(), 20, &[]);
    assert_eq!(case.letters().len(), 0);
}

#[test]
fn a_worker_that_cannot_live_is_out_of_order_and_nothing_is_lost() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "lifeless", 1);
    let body = r#"
if not os.path.exists(sys.argv[1] + ".mended"):
    print("no such module", file=sys.stderr)
    sys.exit(1)
for job, at in events(): say(id=job["id"], ok=True)
"#;
    let Some(worker) = Worker::python(kafka, "lifeless", body) else {
        return;
    };
    case.publish_numbered(50, 50);
    let command = worker.command("python3");
    let mut member = case.member(&["--exec", &command, "--retry", "1"]);
    member.says("the handler is out of order");
    let mended = format!("{}.mended", worker.log.display());
    fs::write(mended, b"").expect("target/ can be written");
    case.finished();
    member.leaves();
    once_but(&worker.counts(), 50, &[]);
    assert_eq!(case.letters().len(), 0);
}

#[test]
fn a_command_for_each_event_tells_by_its_exit_code() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "each", 1);
    // The data on stdin, coordinates as attributes or arguments are not needed: the value is the number.
    let text = "read -r n; echo \"0 $n 1 $$\" >> \"$1\"\n\
                case $n in\n\
                5) [ -e \"$1.75\" ] || { touch \"$1.75\"; exit 75; } ;;\n\
                6) [ -e \"$1.1\" ] || { touch \"$1.1\"; exit 1; } ;;\n\
                7) echo 'not for us' >&2; exit 65 ;;\n\
                8) [ -e \"$1.kill\" ] || { touch \"$1.kill\"; kill -9 $$; } ;;\n\
                esac\n";
    let worker = Worker::script(kafka, "each.sh", text);
    case.publish_numbered(40, 40);
    let command = worker.command("sh");
    let member: Member = case.member(&["--exec-each", &command]);
    case.finished();
    member.leaves();
    once_but(&worker.counts(), 40, &[(5, 2), (6, 2), (8, 2)]);
    let letters = case.letters();
    assert_eq!(places(&letters), BTreeSet::from([(0, 7)]));
    assert!(
        letters[0].text("error").contains("not for us"),
        "{:?}",
        letters[0]
    );
}

#[test]
fn a_command_that_is_not_there_is_out_of_order_until_it_is() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "absent", 1);
    let script = kafka.scratch("workers").join("absent.sh");
    case.publish_numbered(10, 10);
    let command = script.display().to_string();
    let mut member = case.member(&["--exec-each", &command, "--retry", "1"]);
    member.says("the handler is out of order");
    fs::write(&script, "#!/bin/sh\ncat > /dev/null\n").expect("target/ can be written");
    std::process::Command::new("chmod")
        .arg("+x")
        .arg(&script)
        .status()
        .expect("chmod runs");
    case.finished();
    member.leaves();
    assert_eq!(case.letters().len(), 0);
}

#[test]
fn a_member_that_is_killed_leaves_no_worker_behind() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "orphans", 1);
    let body = "for job, at in events(): say(id=job['id'], ok=True)\n";
    let Some(worker) = Worker::python(kafka, "orphans", body) else {
        return;
    };
    case.publish_numbered(10, 10);
    let command = worker.command("python3");
    let member = case.member(&["--exec", &command, "--workers", "2"]);
    wait_for("all is handled", LIMIT, || {
        (worker.counts().len() == 10).then_some(())
    });
    member.signal("KILL");
    member.finish();
    // Each reads the end of its stdin.
    let processes: BTreeSet<u32> = worker.seen().iter().map(|seen| seen.2).collect();
    wait_for("they have ended", Duration::from_secs(10), || {
        let alive = processes
            .iter()
            .filter(|process| fs::metadata(format!("/proc/{process}")).is_ok());
        (alive.count() == 0).then_some(())
    });
}
