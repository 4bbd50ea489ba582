//! One scenario, `same.txt`, on the sandbox and on Apache Kafka: what they answer is to be equal to the byte.
//!
//! `$` is a command of barnabas, `<` a line of its standard input, `@` a request on the wire (`same/requests.rs`). Below is
//! the transcript: two spaces and a line of standard output, `!` and a line of standard error, `=` and what a request came
//! to, `?` and an exit code other than 0. What differs from run to run (addresses, ids, times of today) is replaced.
//!
//! `BLESS=1 cargo test --test sandbox same` writes the transcript anew, from Kafka.

pub(crate) mod requests;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use regex_lite::Regex;

use crate::place::{Process, command};
use crate::support::Kafka;
use crate::support::run::run_within;

/// The longest that one command or request may take.
const LIMIT: Duration = Duration::from_secs(60);

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox/same.txt")
}

/// The scenario with the transcript of a run at this address.
async fn transcript(script: &str, address: &str) -> String {
    let mut requests = requests::Requests::new(address.parse().unwrap());
    let hide = Hide::new(address);
    let mut out = String::new();
    let mut lines = script.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(args) = line.strip_prefix("$ ") {
            let _ = writeln!(out, "{line}");
            let mut input = String::new();
            while let Some(text) = lines.next_if(|line| line.starts_with('<')) {
                let _ = writeln!(out, "{text}");
                let _ = writeln!(input, "{}", text.strip_prefix("< ").unwrap_or_default());
            }
            out.push_str(&hide.all(&run(args, &input, address)));
        } else if let Some(request) = line.strip_prefix("@ ") {
            let _ = writeln!(out, "{line}");
            let answer = tokio::time::timeout(LIMIT, requests.run(request)).await;
            let answer = answer.unwrap_or_else(|_| panic!("@ {request}: no answer within {LIMIT:?}"));
            let _ = writeln!(out, "= {}", hide.all(&answer));
        } else if line.is_empty() || line.starts_with('#') {
            let _ = writeln!(out, "{line}");
        }
        // Anything else is the transcript of another run.
    }
    out
}

/// A command of barnabas, and what it said.
fn run(args: &str, input: &str, address: &str) -> String {
    let args = words(args);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut command = command(&args);
    command.env("BARNABAS_BROKERS", address);
    let ran = run_within(command, input.as_bytes(), LIMIT);
    let mut said = String::new();
    for line in String::from_utf8_lossy(&ran.stdout).lines() {
        let _ = writeln!(said, "  {line}");
    }
    for line in ran.stderr.lines() {
        let _ = writeln!(said, "! {line}");
    }
    match ran.status.code() {
        Some(0) => {}
        code => {
            let _ = writeln!(
                said,
                "? {}",
                code.map_or("killed".to_owned(), |code| code.to_string())
            );
        }
    }
    said
}

/// Words with spaces between; what is in single quotes is one.
fn words(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let (mut word, mut quoted, mut begun) = (String::new(), false, false);
    for c in text.chars() {
        match c {
            '\'' => (quoted, begun) = (!quoted, true),
            ' ' if !quoted => {
                if begun {
                    all.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        all.push(word);
    }
    all
}

/// Replaces what differs from run to run.
struct Hide(Vec<(Regex, &'static str)>);

impl Hide {
    fn new(address: &str) -> Self {
        let rules = [
            (address.replace('.', r"\."), "HOST:PORT"),
            (r#""id": ?"[A-Za-z0-9_-]{22}""#.to_owned(), r#""id":"ID""#),
            (r"\bid [A-Za-z0-9_-]{22}\b".to_owned(), "id ID"),
            (r"\b20(2[4-9]|[3-9]\d)-\d\d-\d\dT[0-9:.]+Z".to_owned(), "TIME"),
            // Milliseconds since 2024, and tokens: those and three digits more.
            (r"\b1(7[1-9]|[89]\d)\d{10}\b".to_owned(), "MILLIS"),
            (r"\b1(7[1-9]|[89]\d)\d{13}\b".to_owned(), "TOKEN-OF-16-CHAR"),
            (r"barnabas [A-Za-z0-9_-]{22} ".to_owned(), "barnabas LOG-ID "),
        ];
        Self(
            rules
                .map(|(rule, with)| (Regex::new(&rule).unwrap(), with))
                .into(),
        )
    }

    fn all(&self, text: &str) -> String {
        let hide = |text: String, (rule, with): &(Regex, &str)| rule.replace_all(&text, *with).into_owned();
        self.0.iter().fold(text.to_owned(), hide)
    }
}

#[track_caller]
fn compare(written: &str, seen: &str, who: &str) {
    let differs = written.lines().zip(seen.lines()).position(|(a, b)| a != b);
    let Some(at) =
        differs.or_else(|| (written != seen).then(|| written.lines().count().min(seen.lines().count())))
    else {
        return;
    };
    let around = |text: &str| {
        let lines = text.lines().skip(at.saturating_sub(4)).take(12);
        lines.collect::<Vec<_>>().join("\n")
    };
    // All of it, to be looked at beside the other.
    let file = crate::support::dist::target().join(format!("same-{who}.txt"));
    std::fs::write(&file, seen).unwrap();
    panic!(
        "line {}: the file says\n{}\n\nand {who}\n{}\n\nAll of it is in {}.",
        at + 1,
        around(written),
        around(seen),
        file.display()
    );
}

#[tokio::test]
async fn the_sandbox_says_the_same() {
    let sandbox = Process::start(&[
        "--no-auto-create",
        "--topic-config",
        "retention.ms=-1",
        "--topic-config",
        "min.insync.replicas=1",
    ]);
    let written = std::fs::read_to_string(path()).unwrap();
    compare(&written, &transcript(&written, &sandbox.address).await, "sandbox");
}

#[tokio::test]
async fn kafka_says_the_same() {
    // One of its own: the scenario lists all topics and groups.
    let Some(kafka) = Kafka::one() else { return };
    let written = std::fs::read_to_string(path()).unwrap();
    let seen = transcript(&written, &kafka.bootstrap()).await;
    if std::env::var("BLESS").is_ok_and(|value| value == "1") {
        std::fs::write(path(), &seen).unwrap();
        return;
    }
    compare(&written, &seen, "kafka");
}

#[test]
fn quotes_hold_words_together() {
    assert_eq!(words("a 'b c'd  ''"), ["a", "b cd", ""]);
}
