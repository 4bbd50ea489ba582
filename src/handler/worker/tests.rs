//! Real processes: scripts of sh, and of Python where a worker has to see more than lines.

use std::path::PathBuf;

use super::super::Sign;
use super::super::tests::{delivery, holding};
use super::*;

/// For what must happen soon.
const SOON: Duration = Duration::from_secs(30);

/// Takes the id out of `$line`.
const ID: &str = r#"id=${line#*:}; id=${id%%,*}"#;

fn test(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(SOON, future).await.expect("it hangs") });
}

fn pool(words: &[&str], workers: usize, inflight: usize) -> Pool {
    Pool::start(Settings {
        command: words.iter().map(|&word| word.to_owned()).collect(),
        workers: NonZeroUsize::new(workers).unwrap(),
        inflight: NonZeroUsize::new(inflight).unwrap(),
    })
}

/// One worker that does this with each `$line` and its `$id`.
fn each(script: &str) -> Pool {
    pool(
        &[
            "sh",
            "-c",
            &format!("while read -r line; do {ID}; {script}; done"),
        ],
        1,
        1,
    )
}

fn at(offset: i64) -> Delivery {
    Delivery { offset, ..delivery() }
}

async fn run(pool: &Pool, delivery: Delivery) -> Answer {
    pool.clone().run(delivery, std::future::pending()).await
}

fn within(millis: u64) -> Delivery {
    Delivery {
        deadline: Duration::from_millis(millis),
        ..delivery()
    }
}

fn file(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("barnabas-worker-{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

/// Waits until the file holds that many words.
async fn words(path: &PathBuf, count: usize) -> Vec<String> {
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        if words.len() >= count {
            return words;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_gone(pid: &str) -> bool {
    !std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

async fn gone(pid: &str) {
    while !is_gone(pid) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const LOST: Outcome = Outcome::Lost { reaped: true };

#[test]
fn a_worker_answers_one_event_after_another() {
    test(async {
        let pool = each(r#"echo "{\"id\":$id,\"ok\":true}""#);
        pool.ready().await;
        for offset in 0..20 {
            assert_eq!(run(&pool, at(offset)).await, Answer::done());
        }
        pool.stop(Duration::from_secs(5)).await;
        assert_eq!(run(&pool, at(0)).await.outcome, Outcome::Aborted);
    });
}

#[test]
fn workers_run_side_by_side() {
    test(async {
        // Each answers only when both have been asked.
        let seen = file("side");
        let script = format!(
            r#"while read -r line; do {ID}; echo x >> {0}; while [ $(wc -l < {0}) -lt 2 ]; do sleep 0.02; done; echo "{{\"id\":$id,\"ok\":true}}"; done"#,
            seen.display()
        );
        let pool = pool(&["sh", "-c", &script], 2, 1);
        let (one, two) = tokio::join!(run(&pool, at(1)), run(&pool, at(2)));
        assert_eq!((one, two), (Answer::done(), Answer::done()));
        std::fs::remove_file(seen).unwrap();
    });
}

#[test]
fn retry_reject_and_skip_come_with_their_reason() {
    test(async {
        let pool = each(r#"echo "{\"id\":$id,\"reject\":\"no such order\"}""#);
        let answer = run(&pool, delivery()).await;
        assert_eq!(
            (answer.outcome, answer.excerpt.as_str()),
            (Outcome::Reject, "no such order")
        );
        let pool = each(r#"echo "{\"id\":$id,\"retry\":\"later\",\"after_ms\":7}""#);
        let after = Some(Duration::from_millis(7));
        let wanted = Outcome::Retry {
            sign: Sign::Own,
            after,
            pause: None,
        };
        assert_eq!(run(&pool, delivery()).await.outcome, wanted);
    });
}

#[test]
fn talk_unknown_ids_and_second_answers_change_nothing() {
    test(async {
        let pool = each(
            r#"echo hello; echo "{\"level\":\"info\"}"; echo "{\"id\":99,\"ok\":true}"; echo "{\"id\":$id,\"ok\":true}"; echo "{\"id\":$id,\"reject\":\"x\"}""#,
        );
        assert_eq!(run(&pool, at(1)).await, Answer::done());
        assert_eq!(run(&pool, at(2)).await, Answer::done());
        while pool.ignored() < 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn one_that_dies_before_its_first_answer_holds_and_says_why() {
    test(async {
        let pool = each("echo 'no database' >&2; exit 3");
        let answer = run(&pool, delivery()).await;
        assert_eq!(answer.outcome, Outcome::Hold);
        assert_eq!(answer.excerpt, "the worker: it ended (exit 3): no database");
    });
}

#[test]
fn one_that_cannot_start_or_never_lives_holds() {
    test(async {
        let missing = run(&pool(&["/no/such/program"], 2, 1), delivery()).await;
        assert_eq!(missing.outcome, Outcome::Hold);
        assert!(
            missing.excerpt.starts_with("cannot start `/no/such/program`"),
            "{}",
            missing.excerpt
        );
        assert_eq!(
            run(&pool(&["false"], 1, 1), delivery()).await.outcome,
            Outcome::Hold
        );
    });
}

#[test]
fn one_that_dies_with_one_event_charges_it_and_is_started_again() {
    test(async {
        let pool = each(r#"case $line in *'"offset":2'*) exit 1;; esac; echo "{\"id\":$id,\"ok\":true}""#);
        assert_eq!(run(&pool, at(1)).await, Answer::done());
        let answer = run(&pool, at(2)).await;
        assert_eq!(answer.outcome, LOST);
        assert_eq!(answer.excerpt, "the worker: it ended (exit 1)");
        assert_eq!(run(&pool, at(3)).await, Answer::done());
    });
}

#[test]
fn an_answer_written_just_before_the_end_counts() {
    test(async {
        let pool = each(r#"echo "{\"id\":$id,\"ok\":true}"; exit 0"#);
        assert_eq!(run(&pool, at(1)).await, Answer::done());
    });
}

#[test]
fn one_that_dies_with_several_charges_nobody_and_they_run_again_alone() {
    if std::process::Command::new("python3")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("SKIPPED: python3 is missing");
        return;
    }
    test(async {
        let first = file("several");
        // Its first life: one answer, then two events in hand and death. Its second: rejects whoever is not alone.
        let script = format!(
            r#"
import os, sys, json, select
def read():
    return json.loads(sys.stdin.buffer.raw.readline())
def say(id, **more):
    print(json.dumps(dict(id=id, **more)))
if not os.path.exists("{0}"):
    open("{0}", "w").close()
    say(read()["id"], ok=True)
    read(); read()
    sys.exit(1)
while True:
    event = read()
    if event.get("redelivered") != "maybe": say(event["id"], reject="not marked")
    elif select.select([sys.stdin.buffer.raw], [], [], 0.1)[0]: say(event["id"], reject="not alone")
    else: say(event["id"], ok=True)
"#,
            first.display()
        );
        let pool = pool(&["python3", "-c", &script], 1, 8);
        assert_eq!(run(&pool, at(1)).await, Answer::done());
        let (two, three) = tokio::join!(run(&pool, at(2)), run(&pool, at(3)));
        assert_eq!((two.outcome, three.outcome), (Outcome::Aborted, Outcome::Aborted));
        let (two, three) = tokio::join!(run(&pool, at(2)), run(&pool, at(3)));
        assert_eq!((two, three), (Answer::done(), Answer::done()));
        std::fs::remove_file(first).unwrap();
    });
}

#[test]
fn one_that_never_answers_is_killed_with_all_it_has_started_and_reaped_first() {
    test(async {
        let pids = file("never");
        let pool = each(&format!("sleep 60 & echo $$ $! >> {}; wait", pids.display()));
        let answer = run(&pool, within(500)).await;
        assert_eq!(answer.outcome, LOST);
        let pids = words(&pids, 2).await;
        assert!(is_gone(&pids[0]));
        gone(&pids[1]).await;
    });
}

#[test]
fn a_broken_answer_and_an_endless_line_end_the_worker() {
    test(async {
        let pool = each(
            r#"case $line in *'"offset":1,'*) echo "{\"id\":$id,\"ok\":true}";; *'"offset":2,'*) echo "{\"id\":$id,\"ok\":tr"; sleep 60;; *) cat /dev/zero;; esac"#,
        );
        assert_eq!(run(&pool, at(1)).await, Answer::done());
        let answer = run(&pool, at(2)).await;
        assert_eq!(answer.outcome, LOST);
        assert!(
            answer
                .excerpt
                .starts_with("the worker: it wrote a broken answer: {\"id\":"),
            "{}",
            answer.excerpt
        );
        assert_eq!(run(&pool, at(1)).await, Answer::done());
        let answer = run(&pool, at(3)).await;
        assert_eq!(answer.outcome, LOST);
        assert!(
            answer
                .excerpt
                .starts_with("the worker: it wrote a line over 1 MiB"),
            "{}",
            answer.excerpt
        );
    });
}

#[test]
fn one_that_does_not_read_its_stdin_holds() {
    test(async {
        let large = Delivery {
            record: holding(Some(&[b'x'; 1 << 20])).record,
            ..within(300)
        };
        let answer = run(&pool(&["sleep", "60"], 1, 1), large).await;
        assert_eq!(answer.outcome, Outcome::Hold);
        assert!(
            answer.excerpt.contains("does not read its stdin"),
            "{}",
            answer.excerpt
        );
    });
}

#[test]
fn one_that_writes_before_it_reads_is_no_deadlock() {
    test(async {
        // Two megabytes of talk for each event of one: reading must not wait for writing.
        let pool = each(r#"yes "talk $id" | head -c 2000000; echo; echo "{\"id\":$id,\"ok\":true}""#);
        let large = holding(Some(&[b'x'; 200_000]));
        assert_eq!(run(&pool, large.clone()).await, Answer::done());
        assert_eq!(run(&pool, large).await, Answer::done());
    });
}

#[test]
fn what_finds_no_free_worker_in_time_was_never_begun() {
    test(async {
        let pool = each(r#"sleep 0.5; echo "{\"id\":$id,\"ok\":true}""#);
        pool.ready().await;
        let (first, second) = tokio::join!(run(&pool, at(1)), async {
            tokio::task::yield_now().await;
            run(&pool, within(50)).await
        });
        assert_eq!((first.outcome, second.outcome), (Outcome::Done, Outcome::Aborted));
    });
}

#[test]
fn cancelling_and_dropping_kill_the_worker() {
    test(async {
        let pids = file("cancel");
        let pool = each(&format!("echo $$ >> {}; sleep 60", pids.display()));
        let (cancel, cancelled) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(pool.clone().run(at(1), async { drop(cancelled.await) }));
        let first = words(&pids, 1).await;
        drop(cancel);
        assert_eq!(running.await.unwrap().outcome, Outcome::Aborted);
        assert!(is_gone(&first[0]));

        let running = tokio::spawn(pool.clone().run(at(2), std::future::pending()));
        let second = words(&pids, 2).await;
        running.abort();
        gone(&second[1]).await;
        std::fs::remove_file(pids).unwrap();
    });
}

#[test]
fn stopping_closes_stdin_then_terminates_then_kills() {
    test(async {
        // Ends at the end of its stdin: long before the time is over.
        let pool = each("true");
        pool.ready().await;
        let start = clock::now();
        pool.stop(Duration::from_secs(20)).await;
        assert!(start.elapsed() < Duration::from_secs(5));

        let ends = file("stop");
        let script = format!(
            "trap 'echo term >> {0}; exit' TERM; echo up >> {0}; while :; do sleep 0.05; done",
            ends.display()
        );
        let polite = super::tests::pool(&["sh", "-c", &script], 1, 1);
        words(&ends, 1).await;
        polite.stop(Duration::from_secs(2)).await;
        assert_eq!(words(&ends, 2).await, ["up", "term"]);

        let pids = file("stubborn");
        let script = format!(
            "trap '' TERM; echo $$ > {}; while :; do sleep 0.05; done",
            pids.display()
        );
        let stubborn = super::tests::pool(&["sh", "-c", &script], 1, 1);
        let pid = words(&pids, 1).await;
        stubborn.stop(Duration::from_millis(400)).await;
        assert!(is_gone(&pid[0]));
        let _ = (std::fs::remove_file(ends), std::fs::remove_file(pids));
    });
}

#[test]
fn workers_die_with_the_pool() {
    test(async {
        let pids = file("pool");
        let pool = pool(
            &[
                "sh",
                "-c",
                &format!("echo $$ > {}; exec sleep 60", pids.display()),
            ],
            1,
            1,
        );
        let pid = words(&pids, 1).await;
        drop(pool);
        gone(&pid[0]).await;
        std::fs::remove_file(pids).unwrap();
    });
}
