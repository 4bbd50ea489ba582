use std::path::PathBuf;

use super::super::tests::{delivery, holding, record};
use super::*;

/// For what must happen soon.
const SOON: Duration = Duration::from_secs(20);

fn test(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(SOON, future).await.expect("it hangs") });
}

fn commands(words: &[&str]) -> Commands {
    Commands::new(Settings {
        command: words.iter().map(|&word| word.to_owned()).collect(),
        at_once: NonZeroUsize::new(2).unwrap(),
    })
}

async fn run(script: &str, delivery: Delivery) -> Answer {
    commands(&["sh", "-c", script])
        .run(delivery, std::future::pending())
        .await
}

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("barnabas-command-{name}-{}", std::process::id()))
}

#[test]
fn exit_codes_mean_what_the_table_says() {
    test(async {
        for (script, outcome) in [
            ("exit 0", Outcome::Done),
            ("exit 75", Outcome::retry(Sign::Own)),
            ("exit 1", Outcome::retry(Sign::Own)),
            ("exit 65", Outcome::Reject),
            ("exit 126", Outcome::Hold),
            ("no-such-command-at-all", Outcome::Hold),
            ("kill -SEGV $$", Outcome::Lost { reaped: true }),
        ] {
            assert_eq!(run(script, delivery()).await.outcome, outcome, "{script}");
        }
        let missing = commands(&["/no/such/program"])
            .run(delivery(), std::future::pending())
            .await;
        assert_eq!(missing.outcome, Outcome::Hold);
        assert!(
            missing.excerpt.starts_with("cannot start `/no/such/program`"),
            "{}",
            missing.excerpt
        );
    });
}

#[test]
fn data_comes_on_stdin_and_attributes_in_the_environment() {
    test(async {
        let script = r#"read -r data; echo "$data|$CE_ID|$BARNABAS_KEY|$BARNABAS_FENCE|$BARNABAS_REDELIVERED|$LD_PRELOAD|$PYTHONUNBUFFERED|$CE_PATH"; exit 65"#;
        let headers: [(&str, Option<&[u8]>); 3] = [
            ("ce_id", Some(b"a'b; $(x)\n")),
            ("ce_path", Some(b"/evil")),
            ("ce_LD_PRELOAD", Some(b"/evil")),
        ];
        let with = Delivery {
            record: record(Some(b"k 1"), Some(b"{\"a\":1}\n"), &headers),
            redelivered: true,
            ..delivery()
        };
        let answer = run(script, with).await;
        assert_eq!(
            answer.excerpt,
            "exit 65: {\"a\":1}|a'b; $(x)\n|k 1|9.2|maybe||1|/evil"
        );
    });
}

#[test]
fn not_reading_stdin_is_no_error_however_much_there_is() {
    test(async {
        let large = holding(Some(&[b'x'; 1 << 20]));
        assert_eq!(run("exit 0", large.clone()).await, Answer::done());
        assert_eq!(run("exec <&-; sleep 0.05", large.clone()).await, Answer::done());
        assert_eq!(run("test $(wc -c) = 1048576", large).await, Answer::done());
    });
}

#[test]
fn the_end_of_stderr_is_the_reason() {
    test(async {
        let answer = run(
            "yes noise | head -c 300000 >&2; echo 'at last' >&2; echo out; exit 1",
            delivery(),
        )
        .await;
        assert!(answer.excerpt.ends_with("at last"), "{}", answer.excerpt);
        assert!(answer.excerpt.len() <= super::super::MAX_EXCERPT);
        assert_eq!(run("echo out; exit 1", delivery()).await.excerpt, "exit 1: out");
    });
}

#[test]
fn what_does_not_end_in_time_is_killed_with_all_it_has_started() {
    test(async {
        let pids = file("pids");
        let script = format!("trap '' TERM; sleep 60 & echo $$ $! > {}; wait", pids.display());
        let short = Delivery {
            deadline: Duration::from_millis(500),
            ..delivery()
        };
        let answer = run(&script, short).await;
        assert_eq!(answer.outcome, Outcome::Lost { reaped: true });
        let text = std::fs::read_to_string(&pids).unwrap();
        std::fs::remove_file(&pids).unwrap();
        for pid in text.split_whitespace() {
            gone(pid).await;
        }
    });
}

/// Waits until a process is gone, or is dead and its new parent has not looked yet.
async fn gone(pid: &str) {
    loop {
        match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) if !stat.contains(") Z ") => tokio::time::sleep(Duration::from_millis(10)).await,
            _ => return,
        }
    }
}

#[test]
fn cancelling_and_dropping_kill() {
    test(async {
        let pids = file("cancelled");
        let script = format!(
            "echo $$ > {}.new; mv {}.new {}; exec sleep 60",
            pids.display(),
            pids.display(),
            pids.display()
        );
        let written = || async {
            loop {
                match std::fs::read_to_string(&pids) {
                    Ok(pid) => {
                        std::fs::remove_file(&pids).unwrap();
                        return pid;
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        let commands = commands(&["sh", "-c", &script]);
        let (told, pid) = tokio::sync::oneshot::channel();
        let until = written();
        let cancel = async move { drop(told.send(until.await)) };
        // The cancelling future borrows from here, which a spawned one could not.
        let answer = commands
            .clone()
            .run(delivery(), Unchecked(Box::pin(cancel)))
            .await;
        assert_eq!(answer.outcome, Outcome::Aborted);
        gone(pid.await.unwrap().trim()).await;

        let pid = {
            let run = commands.run(delivery(), std::future::pending());
            tokio::select! {
                _ = run => panic!("it ended"),
                pid = written() => pid,
            }
        };
        gone(pid.trim()).await;
    });
}

/// A boxed future as an argument.
struct Unchecked<F>(std::pin::Pin<Box<F>>);

impl<F: Future<Output = ()>> Future for Unchecked<F> {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

#[test]
fn something_left_behind_that_holds_the_pipes_does_not_hold_up_the_answer() {
    test(async {
        let start = clock::now();
        assert_eq!(run("sleep 5 & exit 0", delivery()).await, Answer::done());
        assert!(start.elapsed() < Duration::from_secs(4));
    });
}

#[test]
fn what_does_not_fit_into_variables_is_rejected() {
    test(async {
        let key = |key: Vec<u8>| Delivery {
            record: record(Some(&key), Some(b"{}"), &[]),
            ..delivery()
        };
        let large = run("exit 0", key(vec![b'x'; MAX_VARIABLES])).await;
        assert_eq!(large.outcome, Outcome::Reject);
        assert!(large.excerpt.contains("over the 65536"), "{}", large.excerpt);
        assert_eq!(run("exit 0", key(vec![b'a', 0])).await.outcome, Outcome::Reject);
        assert_eq!(run("exit 0", key(vec![0xff])).await, Answer::done());
    });
}
