//! What tests of handlers share: members, what they are given, dead letters.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::barnabas_bin::{barnabas, live, produce};
use crate::delivery_handler::Http;
use crate::group::group_name;
use crate::member::{LIMIT, Member};
use crate::support::{Brokers, loud, wait_for};

/// Short times, so that a test takes seconds.
const SHORT: [[&str; 2]; 4] = [
    ["--backoff", "20ms..200ms"],
    ["--session", "2s"],
    ["--handler-timeout", "2s"],
    ["--timeout-grace", "200ms"],
];

/// A topic and a group that is given its events.
pub(crate) struct Case<'k> {
    pub(crate) kafka: &'k Brokers,
    pub(crate) topic: String,
    pub(crate) group: String,
}

impl<'k> Case<'k> {
    pub(crate) fn new(kafka: &'k Brokers, name: &str, partitions: i32) -> Self {
        Self::with(kafka, name, partitions, &[])
    }

    /// With configs of the topic.
    pub(crate) fn with(kafka: &'k Brokers, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Self {
        Self {
            topic: kafka.topic_with(name, partitions, configs),
            group: group_name(name),
            kafka,
        }
    }

    /// Publishes lines `key:value`.
    pub(crate) fn publish(&self, lines: &str) {
        produce(self.kafka, &self.topic, &["-K", ":"], lines.as_bytes()).success();
    }

    /// Publishes so many records of `keys` keys in turn, their numbers as values.
    pub(crate) fn publish_numbered(&self, count: usize, keys: usize) {
        self.publish(&numbered(count, |n| format!("k{}", n % keys)));
    }

    /// Starts a member with these flags, and [`SHORT`] times where they say nothing else.
    pub(crate) fn member(&self, flags: &[&str]) -> Member {
        let short = SHORT.iter().filter(|[name, _]| !flags.contains(name));
        let short: Vec<&str> = short.flatten().copied().collect();
        let args = [&["-t", &self.topic][..], &short, flags].concat();
        Member::handle(self.kafka, &self.group, &args)
    }

    /// Starts a member that posts to the handler.
    pub(crate) fn posts(&self, http: &Http, flags: &[&str]) -> Member {
        self.member(&[&["--http", &http.url()][..], flags].concat())
    }

    /// The topic of its dead letters.
    pub(crate) fn dlq(&self) -> String {
        format!("{}.dlq.{}", self.topic, self.group)
    }

    /// Publishes events of other keys all the time, so that whether one is bad can be proven.
    pub(crate) fn with_traffic<T>(&self, work: impl FnOnce() -> T) -> T {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut producer = live(self.kafka, "produce", &self.topic, &["-K", ":"]);
                let mut n = 0_usize;
                while !stop.load(Ordering::SeqCst) {
                    producer.write(format!("other{}:{}\n", n % 50, 1_000_000 + n).as_bytes());
                    n += 1;
                    thread::sleep(Duration::from_millis(10));
                }
                producer.close().success();
            });
            // Also when the work panics: or the scope would wait for ever.
            let done = catch_unwind(AssertUnwindSafe(work));
            stop.store(true, Ordering::SeqCst);
            done.unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Its open dead letters.
    pub(crate) fn letters(&self) -> Vec<Dead> {
        let bootstrap = self.kafka.bootstrap();
        let run = barnabas(&["dlq", "list", "-b", &bootstrap, &self.dlq(), "--json"], b"").success();
        let report: Value = serde_json::from_slice(&run.stdout).expect("it is JSON");
        let letters = report["letters"].as_array().expect("it lists letters");
        letters.iter().map(|letter| Dead(letter.clone())).collect()
    }

    /// Waits until the group's position is the end of each partition, and returns the lines of `groups describe`.
    #[track_caller]
    pub(crate) fn finished(&self) {
        let began = barnabas::clock::now();
        let mut told = false;
        wait_for("the group has finished all", LIMIT, || {
            let finished = self.described()["lag"].as_i64() == Some(0);
            if !finished {
                if !told && began.elapsed() > LIMIT * 3 / 4 {
                    told = true;
                    loud(&self.why());
                }
                // Each look is a process.
                thread::sleep(Duration::from_millis(200));
            }
            finished.then_some(())
        });
    }

    /// What holds the group back, for whoever reads that a test failed.
    fn why(&self) -> String {
        let bootstrap = self.kafka.bootstrap();
        let run = barnabas(&["groups", "why", "-b", &bootstrap, &self.group], b"");
        format!("{}{}", run.text(), run.stderr)
    }

    /// The group as `groups describe --json` has it; null if there is none.
    pub(crate) fn described(&self) -> Value {
        let bootstrap = self.kafka.bootstrap();
        let args = ["groups", "describe", "-b", &bootstrap, &self.group, "--json"];
        let run = barnabas(&args, b"");
        if !run.status.success() {
            assert!(run.stderr.contains("there is no such group"), "{}", run.stderr);
            return Value::Null;
        }
        let report: Value = serde_json::from_slice(&run.stdout).expect("it is JSON");
        report["groups"][0].clone()
    }
}

/// Lines `key:number`.
pub(crate) fn numbered(count: usize, key: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "{}:{n}", key(n));
        text
    })
}

/// An open dead letter, as `dlq list --json` has it.
#[derive(Debug)]
pub(crate) struct Dead(pub(crate) Value);

impl Dead {
    /// Where its record is.
    pub(crate) fn place(&self) -> (i32, i64) {
        let source = &self.0["source"];
        let partition = source["partition"].as_i64().expect("it has a partition");
        let partition = i32::try_from(partition).expect("a partition");
        (partition, source["offset"].as_i64().expect("it has an offset"))
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    pub(crate) fn number(&self, name: &str) -> i64 {
        self.0[name].as_i64().unwrap_or(-1)
    }
}

/// Where the letters' records are.
pub(crate) fn places(letters: &[Dead]) -> BTreeSet<(i32, i64)> {
    letters.iter().map(Dead::place).collect()
}

/// Waits until the handler has answered 2xx for so many records.
#[track_caller]
pub(crate) fn all_done(http: &Http, count: usize) {
    wait_for(&format!("{count} records are done"), LIMIT, || {
        let done = http.done_count();
        assert!(done <= count, "{done} of {count} are done");
        (done == count).then_some(())
    });
}

/// What a member said that is a warning.
pub(crate) fn warnings(said: &[String]) -> Vec<&String> {
    said.iter().filter(|line| line.contains("warning")).collect()
}
