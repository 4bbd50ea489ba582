//! `--dedup` with its window full: memory, takeover, and whether anything comes twice or is lost. `cargo bench --bench dedup`;
//! see `docs/performance.md`.
//!
//! `cargo bench --bench dedup -- [--ids N] [--barnabas PATH]`
//!
//! 1. As many different events as the window holds are published and given to one member. Its peak memory is the figure.
//! 2. That one leaves, and another takes over: how long it takes to read the ids back is what it says itself (`-v`); from its
//!    start to the first delivery from each partition is measured outside, and beside it that of a member without `--dedup`.
//! 3. 100,000 events are published twice while members join, leave and are killed; one of them is refused at first, and its
//!    dead letter is replayed. The sink in this process writes down what it is given.
#![allow(missing_docs, clippy::print_stdout, reason = "a program, not a library")]
#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

mod sink;
#[path = "../../tests/kafka/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sink::{Book, Shared, lock, sink};
use support::{Jvm, Kafka};

const PARTITIONS: usize = 6;
/// Events published twice.
const TWICE: usize = 100_000;
/// The one of them that is refused at first.
const BAD: usize = 77_777;
/// Longest that anything may take.
const LIMIT: Duration = Duration::from_secs(300);

/// A member; killed when dropped.
struct Member(Child);

impl Member {
    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The kernel's word on its peak.
    fn peak_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .expect("Linux");
        let kib: f64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|n| n.parse().ok())
            .expect("a number");
        kib / 1024.0
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {name}");
    }

    fn leave(mut self) {
        self.signal("TERM");
        let status = self.0.wait().expect("a child");
        assert!(status.success(), "a member left with {status}");
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A topic with a group of members.
struct Case<'k> {
    kafka: &'k Kafka,
    barnabas: PathBuf,
    topic: String,
    url: String,
    book: Shared,
    /// Lines of standard error.
    said: Arc<Mutex<Vec<String>>>,
}

impl Case<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.barnabas);
        command
            .env_clear()
            .args(args)
            .args(["-b", &self.kafka.bootstrap()]);
        command
    }

    fn member(&self, group: &str, flags: &[&str]) -> Member {
        let mut child = self
            .command(&[
                "consume",
                "-v",
                "-t",
                &self.topic,
                "-g",
                group,
                "--http",
                &self.url,
            ])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("barnabas starts");
        let lines = BufReader::new(child.stderr.take().expect("piped"));
        let said = Arc::clone(&self.said);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                said.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Member(child)
    }

    fn publish(&self, events: impl Iterator<Item = usize>) {
        let mut child = self
            .command(&["produce", "-q", "--format", "json", "-t", &self.topic])
            .stdin(Stdio::piped())
            .spawn()
            .expect("barnabas starts");
        let mut stdin = std::io::BufWriter::new(child.stdin.take().expect("piped"));
        let mut line = String::new();
        for n in events {
            line.clear();
            event(&mut line, n);
            stdin.write_all(line.as_bytes()).expect("it reads");
        }
        drop(stdin);
        assert!(child.wait().expect("a child").success(), "publishing failed");
    }

    fn wait(&self, what: &str, mut condition: impl FnMut(&Book) -> bool) {
        let began = Instant::now();
        while !condition(&lock(&self.book)) {
            assert!(
                began.elapsed() < LIMIT,
                "not within {LIMIT:?}: {what}: {:?}",
                self.said
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// From a member's start to the first delivery from each partition.
    fn delivers_again(&self, group: &str, flags: &[&str]) -> (Member, Duration) {
        lock(&self.book).first.clear();
        let began = Instant::now();
        let member = self.member(group, flags);
        self.wait("all partitions are delivered from", |book| {
            book.first.len() == PARTITIONS
        });
        let last = lock(&self.book).first.values().max().copied();
        (member, last.expect("there are") - began)
    }

    /// The most milliseconds that a partition's ids took, and all ids, of the members until now.
    fn read_back(&self) -> (f64, usize) {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut longest, mut all) = (0.0_f64, 0);
        for line in said.iter().filter_map(|line| line.split_once("read back ")) {
            let mut words = line.1.split(' ');
            all += words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
            let time = words.next_back().unwrap_or_default();
            let millis = match (
                time.strip_suffix("ms"),
                time.strip_suffix("µs"),
                time.strip_suffix('s'),
            ) {
                (Some(n), ..) => n.parse().unwrap_or(f64::NAN),
                (_, Some(n), _) => n.parse().unwrap_or(f64::NAN) / 1e3,
                (.., Some(n)) => n.parse().unwrap_or(f64::NAN) * 1e3,
                _ => f64::NAN,
            };
            longest = longest.max(millis);
        }
        (longest, all)
    }
}

/// As services publish them: a CloudEvent in binary mode with 200 bytes of JSON.
fn event(line: &mut String, n: usize) {
    let _ = writeln!(
        line,
        r#"{{"key":"customer-{}","value":"{{\"order\":\"0f8fad5b-d9cb-469f-a165-{n:012}\",\"total\":{{\"amount\":129.95,\"currency\":\"EUR\"}},\"items\":[{{\"sku\":\"A-1\",\"count\":2}},{{\"sku\":\"B-7\",\"count\":1}}],\"note\":\"ring twice, please\"}}","headers":{{"ce_specversion":"1.0","ce_id":"0f8fad5b-d9cb-469f-a165-{n:012}","ce_source":"/shop/orders","ce_type":"order.completed","content-type":"application/json"}}}}"#,
        n % 50_000
    );
}

fn target(name: &str, limit: f64, seen: f64, unit: &str) -> bool {
    let met = seen <= limit;
    let word = if met { "yes" } else { "NO" };
    println!("| {name} | ≤ {limit} {unit} | {seen:.2} {unit} | {word} |");
    met
}

fn main() -> Result<(), String> {
    let mut ids = 1_000_000;
    let mut barnabas = PathBuf::from(env!("CARGO_BIN_EXE_barnabas"));
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match (arg.as_str(), args.next()) {
            ("--ids", Some(value)) => ids = value.parse().map_err(|_| "--ids N")?,
            ("--barnabas", Some(value)) => barnabas = value.into(),
            ("--bench", None) => {} // from cargo
            ("--bench", Some(other)) => return Err(format!("{other}: --bench comes last")),
            (other, _) => return Err(format!("{other}?")),
        }
    }
    let options = support::Options {
        jvm: Jvm::Full,
        ..support::Options::default()
    };
    let Some(kafka) = Kafka::start_with(&options) else {
        return Ok(());
    };
    let book = Shared::default();
    let mut case = Case {
        topic: kafka.topic("window", i32::try_from(PARTITIONS).expect("few")),
        url: sink(&book),
        kafka: &kafka,
        barnabas,
        book,
        said: Arc::default(),
    };
    println!("| figure | target | seen | met |\n| --- | ---: | ---: | --- |");
    let window = format!("1h,{ids}");
    let flags = ["--dedup", "--dedup-window", &window];
    let mut met = true;

    // Memory: all ids through one member.
    case.publish(0..ids);
    let began = Instant::now();
    let member = case.member("window", &flags);
    case.wait("the window is full", |book| book.different >= ids);
    let rate = ids as f64 / began.elapsed().as_secs_f64();
    met &= target(
        "a member with a full window, peak",
        64.0,
        member.peak_mib(),
        "MiB",
    );
    member.leave();

    // Takeover: the next one reads all of them back; some events wait for it.
    let more = ids..ids + 6_000;
    case.publish(more.clone());
    let (member, with) = case.delivers_again("window", &flags);
    let (longest, all) = case.read_back();
    if all < ids * 9 / 10 {
        return Err(format!("{all} of {ids} ids were read back"));
    }
    met &= target(&format!("takeover: {all} ids read back"), 2.0, longest / 1e3, "s");
    case.wait("what waited is done", |book| book.different >= more.end);
    met &= target("its peak", 64.0, member.peak_mib(), "MiB");
    member.leave();
    let again = lock(&case.book).times.iter().filter(|times| **times != 1).count();
    met &= target(
        "of them delivered again after the hand-over",
        0.0,
        again as f64,
        "events",
    );
    case.publish(more.end..more.end + 6_000);
    let (member, without) = case.delivers_again("window", &[]);
    member.leave();

    // 100,000 events twice, while members come and go.
    *lock(&case.book) = Book {
        refuses: true,
        ..Book::default()
    };
    case.topic = kafka.topic("twice", i32::try_from(PARTITIONS).expect("few"));
    let (first, second) = (case.member("twice", &flags), case.member("twice", &flags));
    let twice = |from: usize, to: usize| (from..to).flat_map(|n| [Some(n), n.checked_sub(5_000)]).flatten();
    case.publish(twice(0, TWICE / 3));
    let third = case.member("twice", &flags);
    case.publish(twice(TWICE / 3, TWICE / 2));
    first.leave();
    case.publish(twice(TWICE / 2, TWICE * 4 / 5));
    second.signal("KILL");
    drop(second);
    let fourth = case.member("twice", &flags);
    case.publish(twice(TWICE * 4 / 5, TWICE).chain(TWICE - 5_000..TWICE));
    case.wait("each is delivered", |book| book.different >= TWICE);
    let dlq = format!("{}.dlq.twice", case.topic);
    let began = Instant::now();
    while !case
        .command(&["dlq", "replay", &dlq, "--yes"])
        .output()
        .is_ok_and(|run| String::from_utf8_lossy(&run.stderr).contains("replayed 1 letter"))
    {
        assert!(began.elapsed() < LIMIT, "there is no letter");
        std::thread::sleep(Duration::from_millis(200));
    }
    case.wait("the letter is delivered", |book| book.replayed > 0);
    // All seconds have passed when the group is at the end.
    while !finished(&case) {
        assert!(began.elapsed() < LIMIT, "the group does not come to the end");
        std::thread::sleep(Duration::from_millis(200));
    }
    third.leave();
    fourth.leave();
    let book = lock(&case.book);
    let lost = (0..TWICE).filter(|n| book.times[*n] == 0).count();
    let again: usize = book
        .times
        .iter()
        .map(|times| usize::from(times.saturating_sub(1)))
        .sum();
    met &= target(
        "events published twice: delivered twice",
        0.0,
        book.elsewhere as f64,
        "events",
    );
    met &= target("wrongly dropped", 0.0, lost as f64, "events");
    met &= target(
        "the dead letter's replay: missing or doubled",
        0.0,
        (book.replayed as f64 - 1.0).abs(),
        "events",
    );
    println!(
        "\nBeside that: {rate:.0} events/s while the window filled; from the start of a process to the first delivery from each partition {with:.2?}, without --dedup {without:.2?}; {again} events came again after kill -9, from the same place."
    );
    if met {
        Ok(())
    } else {
        Err("not all targets are met".to_owned())
    }
}

/// Whether the group of the events published twice is at the end.
fn finished(case: &Case<'_>) -> bool {
    let run = case.command(&["groups", "describe", "twice", "--json"]).output();
    let text = run.map(|run| String::from_utf8_lossy(&run.stdout).into_owned());
    let report: Option<serde_json::Value> = text.ok().and_then(|text| serde_json::from_str(&text).ok());
    report.is_some_and(|report| report["groups"][0]["lag"] == 0)
}
