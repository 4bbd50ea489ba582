//! `barnabas demo`: the whole play, that its account adds up, and that nothing of it stays.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::place::command;
use crate::support::dist::installed;
use crate::support::{Live, skipped, wait_for};

const STEPS: [&str; 8] = [
    "start", "steady", "poison", "outage", "kill -9", "join", "replay", "finish",
];
/// How long consumers may take to be gone.
const SOON: Duration = Duration::from_secs(30);

/// One after another, but for those that are to run at once: each has five processes at work.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A demo that runs, and what it has said so far.
struct Demo {
    child: Child,
    /// Where its sandbox listens.
    address: String,
    lines: Option<std::io::Lines<BufReader<std::process::ChildStderr>>>,
}

/// A demo that has ended.
struct Ended {
    code: Option<i32>,
    signal: Option<i32>,
    stdout: String,
    stderr: Vec<String>,
}

impl Demo {
    fn start(args: &[&str]) -> Self {
        let mut child = command(&[&["demo"], args].concat())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let address = first
            .strip_prefix("barnabas: sandbox on ")
            .unwrap_or_else(|| panic!("{first}"));
        let address = address.split(',').next().unwrap().to_owned();
        Demo {
            child,
            address,
            lines: Some(lines),
        }
    }

    /// Reads on until it says this.
    fn until(&mut self, part: &str) {
        let found = self
            .lines
            .as_mut()
            .unwrap()
            .any(|line| line.unwrap().contains(part));
        assert!(found, "it has ended before it said {part:?}");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    fn end(mut self) -> Ended {
        let lines = self.lines.take().unwrap();
        let stderr: JoinHandle<Vec<String>> = std::thread::spawn(|| lines.map_while(Result::ok).collect());
        let mut stdout = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut stdout)
            .unwrap();
        let status = self.child.wait().unwrap();
        Ended {
            code: status.code(),
            signal: status.signal(),
            stdout,
            stderr: stderr.join().unwrap(),
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processes that have this in their command line.
fn processes(address: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(address))
        .collect()
}

fn all_gone(address: &str) {
    wait_for(&format!("the consumers of {address} are gone"), SOON, || {
        processes(address).is_empty().then_some(())
    });
}

fn number(account: &Value, name: &str) -> u64 {
    account[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name}: {account}"))
}

/// The sum, from the figures alone.
fn adds_up(account: &Value) {
    let published = number(account, "published");
    assert!(published > 300, "{account}");
    assert_eq!(number(account, "in_topic"), published, "{account}");
    assert_eq!(
        number(account, "once") + number(account, "again") + number(account, "dead_lettered"),
        published,
        "{account}"
    );
    assert_eq!(number(account, "dead_lettered"), 1, "{account}");
    assert_eq!(number(account, "replayed"), 1, "{account}");
    for nothing in ["lost", "out_of_order", "wrongly_set_aside"] {
        assert_eq!(account[nothing], serde_json::json!([]), "{account}");
    }
    assert_eq!(
        account["duplicates"]["unexplained"],
        serde_json::json!([]),
        "{account}"
    );
    assert!(number(account, "failed_attempts") > 5, "{account}");
}

#[test]
fn the_demo_tells_each_step_adds_up_and_leaves_no_process() {
    let _alone = alone();
    let mut demo = Demo::start(&["--fast"]);
    let address = demo.address.clone();
    demo.until("steady: done");
    assert_eq!(processes(&address).len(), 3, "{:?}", processes(&address));
    let ended = demo.end();
    let told = ended.stderr.join("\n");
    assert_eq!(ended.code, Some(0), "{told}\n{}", ended.stdout);
    for step in &STEPS[2..] {
        let begins = told.find(&format!("barnabas: {step}: "));
        let over = told.find(&format!("barnabas: {step}: done after "));
        assert!(begins.is_some() && begins < over, "{step}\n{told}");
    }
    assert!(
        told.contains("  published "),
        "how it stands is told in between\n{told}"
    );
    assert!(
        !told.contains('\x1b') && !ended.stdout.contains('\x1b'),
        "no terminal"
    );
    let line = |what: &str| -> u64 {
        let line = ended.stdout.lines().find_map(|line| line.strip_prefix(what));
        let number = line.and_then(|line| line.split_whitespace().next());
        let number = number.unwrap_or_else(|| panic!("{what}\n{}", ended.stdout));
        number.replace(',', "").parse().unwrap()
    };
    assert_eq!(
        line("published"),
        line("= processed once") + line("+ processed twice") + line("+ dead-lettered")
    );
    assert_eq!((line("lost"), line("out of order")), (0, 0));
    assert!(ended.stdout.ends_with("it adds up\n"), "{}", ended.stdout);
    all_gone(&address);
}

#[test]
fn two_demos_at_once_do_not_disturb_each_other() {
    let _alone = alone();
    let demo = |seed: &str| Live::start(command(&["demo", "--fast", "--json", "--quiet", "--seed", seed]));
    let both = [demo("7"), demo("8")];
    for (demo, seed) in both.into_iter().zip([7, 8]) {
        let ended = demo.finish().success();
        assert_eq!(ended.stderr, "", "--quiet");
        let report: Value = serde_json::from_str(ended.text()).unwrap();
        assert_eq!(
            (&report["result"], &report["adds_up"]),
            (&"played".into(), &true.into())
        );
        assert_eq!(report["seed"], seed);
        let steps: Vec<&str> = report["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| step["step"].as_str().unwrap())
            .collect();
        assert_eq!(steps, STEPS);
        adds_up(&report["account"]);
    }
}

#[test]
fn on_a_terminal_it_is_painted() {
    if !installed("script", "--version") {
        return skipped("the demo at a terminal", "script");
    }
    let _alone = alone();
    let program = command(&[]).get_program().to_owned().into_string().unwrap();
    let mut script = Command::new("script");
    let line = format!("stty cols 110 rows 32; {program} demo --fast --config /dev/null");
    script
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("NO_COLOR");
    // The terminal stays as long as its keyboard does.
    let ended = Live::start(script).finish().success();
    let painted = ended.text();
    for step in &STEPS[1..] {
        assert!(painted.contains(&format!("▶ {step}")), "{step}\n{painted}");
    }
    let last = painted.rsplit("barnabas demo").next().unwrap();
    for part in ["PARTITION", "CONSUMER", "✓ ", "■ done", "it adds up"] {
        assert!(last.contains(part), "{part}\n{last}");
    }
    assert!(painted.contains("\x1b[32m"), "with colours");
}

#[test]
fn ctrl_c_ends_the_demo_and_its_consumers() {
    let mut demo = Demo::start(&[]);
    let address = demo.address.clone();
    demo.until("barnabas: steady: ");
    demo.signal("INT");
    let ended = demo.end();
    assert_eq!(ended.code, Some(130), "{:?}\n{}", ended.stderr, ended.stdout);
    assert!(
        ended.stdout.contains("interrupted: this is how far it got"),
        "{}",
        ended.stdout
    );
    all_gone(&address);
}

#[test]
fn a_consumer_that_ends_by_itself_fails_the_demo() {
    let mut demo = Demo::start(&["--fast"]);
    let address = demo.address.clone();
    demo.until("steady: ");
    // The URL has the consumer's index.
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let is_third = |line: &[u8]| {
        let line = String::from_utf8_lossy(line).replace('\0', " ");
        line.contains(&address) && line.contains("/2 ")
    };
    let third = all
        .filter(|entry| std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| is_third(&line)))
        .find_map(|entry| entry.file_name().into_string().ok())
        .unwrap();
    assert!(
        Command::new("kill")
            .args(["-s", "KILL", &third])
            .status()
            .unwrap()
            .success()
    );
    let ended = demo.end();
    let told = ended.stderr.join("\n");
    assert_eq!(ended.code, Some(1), "{told}\n{}", ended.stdout);
    assert!(
        told.contains("the demo failed at") && told.contains("c-3 has ended with signal: 9"),
        "{told}"
    );
    assert!(
        ended.stdout.contains("failed: this is how far it got"),
        "{}",
        ended.stdout
    );
    all_gone(&address);
}

#[test]
fn consumers_do_not_outlive_a_demo_that_is_killed() {
    let mut demo = Demo::start(&["--fast"]);
    let address = demo.address.clone();
    demo.until("start: done");
    assert_eq!(processes(&address).len(), 3);
    demo.signal("KILL");
    assert_eq!(demo.end().signal, Some(9));
    all_gone(&address);
}
