//! A group under load and faults: nothing is lost, the order per key is kept apart from repeats, and repeats are few.
//!
//! `BARNABAS_ROUNDS=10 cargo test --test kafka group_faults` goes ten times through all faults, with sessions of 10 s and
//! members that stand still for 30 s; without it each fault comes once, with sessions of 3 s and 6 s.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ChildStdin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::barnabas_bin::live;
use crate::group::group_name;
use crate::member::{Ended, Line, Member};
use crate::support::{Kafka, Live, loud, wait_for};

const PARTITIONS: i32 = 6;
const KEYS: usize = 100;
/// Records per second.
const RATE: usize = 2_000;
/// Time between two bursts.
const TICK: Duration = Duration::from_millis(10);
/// How much later than its followers a record may be read from another process' pipe.
const READING: Duration = Duration::from_secs(1);
/// Longest that a group under a fault may print nothing.
const LIMIT: Duration = Duration::from_secs(90);

/// What is done to the group.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Kill,
    Stop,
    Leave,
    Join,
    BrokerKilled,
    LeaderMoved,
}

const FAULTS: [Fault; 6] = [
    Fault::Kill,
    Fault::Stop,
    Fault::Leave,
    Fault::Join,
    Fault::BrokerKilled,
    Fault::LeaderMoved,
];

/// How long and how hard.
#[derive(Debug, Clone, Copy)]
struct Plan {
    rounds: usize,
    session: &'static str,
    stopped: Duration,
}

impl Plan {
    fn get() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test has no settings to go through")]
        let rounds = std::env::var("BARNABAS_ROUNDS").ok();
        match rounds.and_then(|rounds| rounds.parse().ok()) {
            Some(rounds) => Self {
                rounds,
                session: "10s",
                stopped: Duration::from_secs(30),
            },
            None => Self {
                rounds: 1,
                session: "3s",
                stopped: Duration::from_secs(6),
            },
        }
    }
}

/// Publishes `key sequence` for 100 keys, 2,000 a second, until it is told to stop.
struct Publisher {
    producer: Live,
    stop: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
    writer: JoinHandle<ChildStdin>,
}

impl Publisher {
    fn start(kafka: &Kafka, topic: &str) -> Self {
        let mut producer = live(kafka, "produce", topic, &["-K", ":"]);
        let mut stdin = producer.take_stdin();
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&written));
        let writer = thread::spawn(move || {
            let burst = RATE * usize::try_from(TICK.as_millis()).expect("small") / 1_000;
            let mut due = barnabas::clock::now();
            while !stopped.load(Ordering::Relaxed) {
                let first = count.load(Ordering::Relaxed);
                let mut text = String::new();
                for n in first..first + burst {
                    let _ = writeln!(text, "k{0}:k{0} {1}", n % KEYS, n / KEYS);
                }
                stdin.write_all(text.as_bytes()).expect("the producer reads");
                count.store(first + burst, Ordering::Relaxed);
                due += TICK;
                // This is the rate, not a wait for something.
                thread::sleep(due.saturating_duration_since(barnabas::clock::now()));
            }
            stdin
        });
        Self {
            producer,
            stop,
            written,
            writer,
        }
    }

    /// Stops; returns how many records were published.
    fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.writer.join().expect("the writer does not panic"));
        self.producer.finish().success();
        self.written.load(Ordering::Relaxed)
    }
}

/// The group's members, living and gone.
struct Group<'k> {
    kafka: &'k Kafka,
    name: String,
    topic: String,
    session: &'static str,
    living: Vec<Member>,
    gone: Vec<Ended>,
}

impl Group<'_> {
    fn join(&mut self) {
        let args = ["-t", &self.topic, "--session", self.session];
        let mut member = Member::start(self.kafka, &self.name, &args);
        member.ready();
        self.living.push(member);
    }

    /// Every member's lines, by member.
    fn printed(&self) -> Vec<Vec<Line>> {
        let gone = self.gone.iter().map(|ended| ended.printed.clone());
        gone.chain(self.living.iter().map(Member::printed)).collect()
    }

    /// Waits until each partition is printed by somebody after `since`.
    fn all_partitions_go_on(&self, since: Instant) {
        wait_for("all partitions go on", LIMIT, || {
            let seen: BTreeSet<i32> = self
                .living
                .iter()
                .flat_map(|member| member.printed_after(since))
                .map(|line| read(&line).0)
                .collect();
            (seen.len() == usize::try_from(PARTITIONS).expect("small")).then_some(())
        });
    }

    /// Waits until so many different records are printed.
    fn prints_all(&self, count: usize) {
        let mut distinct: BTreeSet<String> = BTreeSet::new();
        let value = |line: Line| line.text.splitn(3, ' ').nth(2).map(str::to_owned);
        let gone = self.gone.iter().flat_map(|ended| ended.printed.clone());
        distinct.extend(gone.filter_map(value));
        let mut looked_at = vec![0; self.living.len()];
        wait_for("all that was published is printed", LIMIT, || {
            for (member, from) in self.living.iter().zip(&mut looked_at) {
                let lines = member.printed_from(*from);
                *from += lines.len();
                distinct.extend(lines.into_iter().filter_map(value));
            }
            (distinct.len() >= count).then_some(())
        });
    }

    fn removed(&self) -> usize {
        let said = self.living.iter().flat_map(Member::said);
        said.filter(|line| line.contains("removed from group")).count()
    }

    fn suffer(&mut self, fault: Fault, plan: Plan) {
        let log = format!("barnabas.group.{}", self.name);
        match fault {
            Fault::Kill => {
                let victim = self.living.remove(0);
                victim.signal("KILL");
                self.gone.push(victim.finish());
                self.all_partitions_go_on(barnabas::clock::now());
                self.join();
            }
            Fault::Stop => {
                let removed = self.removed();
                self.living[0].signal("STOP");
                // The others take over meanwhile.
                thread::sleep(plan.stopped);
                self.living[0].signal("CONT");
                wait_for("it reads that it was removed", LIMIT, || {
                    (self.removed() > removed).then_some(())
                });
            }
            Fault::Leave => {
                let leaver = self.living.remove(0);
                self.gone.push(leaver.leaves());
                self.all_partitions_go_on(barnabas::clock::now());
                self.join();
            }
            Fault::Join => {
                self.join();
                self.all_partitions_go_on(barnabas::clock::now());
                let leaver = self.living.remove(0);
                self.gone.push(leaver.leaves());
            }
            Fault::BrokerKilled => {
                let removed = self.removed();
                let leader = self.kafka.leader(&log, 0);
                self.kafka.kill(leader);
                self.all_partitions_go_on(barnabas::clock::now() + Duration::from_secs(1));
                self.kafka.start(leader);
                assert_eq!(self.removed(), removed, "an outage of the log expired somebody");
            }
            Fault::LeaderMoved => {
                let leader = self.kafka.leader(&log, 0);
                self.kafka.stop(leader);
                self.all_partitions_go_on(barnabas::clock::now());
                self.kafka.start(leader);
            }
        }
        self.all_partitions_go_on(barnabas::clock::now());
    }
}

/// Partition, key and number of a line `partition offset key number`.
fn read(line: &Line) -> (i32, &str, usize) {
    let parts: Vec<&str> = line.text.split(' ').collect();
    let [partition, _, key, number] = parts[..] else {
        panic!("not a line of ours: {:?}", line.text)
    };
    let partition = partition.parse().expect("a partition");
    (partition, key, number.parse().expect("a number"))
}

/// Nothing is lost; per key nothing comes before what precedes it was printed. Returns the times of the repeats.
fn judge(printed: &[Vec<Line>], count: usize) -> Vec<Instant> {
    let mut first: BTreeMap<(&str, usize), Instant> = BTreeMap::new();
    let mut repeats = Vec::new();
    let mut lines: Vec<&Line> = printed.iter().flatten().collect();
    lines.sort_by_key(|line| line.at);
    for line in lines {
        let (_, key, number) = read(line);
        match first.entry((key, number)) {
            Entry::Occupied(_) => repeats.push(line.at),
            Entry::Vacant(new) => drop(new.insert(line.at)),
        }
    }
    let expected = (0..count).map(|n| (format!("k{}", n % KEYS), n / KEYS));
    let lost: Vec<_> = expected
        .filter(|(key, number)| !first.contains_key(&(key.as_str(), *number)))
        .collect();
    assert!(
        lost.is_empty(),
        "{} are lost: {:?} …",
        lost.len(),
        &lost[..lost.len().min(5)]
    );
    for ((key, number), at) in &first {
        let before = number
            .checked_sub(1)
            .and_then(|before| first.get(&(*key, before)));
        assert!(
            before.is_none_or(|before| *before <= *at + READING),
            "{key} {number} was printed before its predecessor"
        );
    }
    // In one process the order is exact: a number goes on by one, or back to what is repeated.
    for lines in printed {
        let mut last: BTreeMap<&str, usize> = BTreeMap::new();
        for line in lines {
            let (_, key, number) = read(line);
            if let Some(before) = last.insert(key, number) {
                let seen_before = first.get(&(key, number)).is_some_and(|at| *at < line.at);
                assert!(number > before || seen_before, "{key}: {number} behind {before}");
            }
        }
    }
    repeats
}

#[test]
fn a_group_under_faults_loses_nothing_and_repeats_little() {
    let plan = Plan::get();
    let Some(kafka) = Kafka::three() else { return };
    let topic = kafka.topic("suffering", PARTITIONS);
    let mut group = Group {
        kafka: &kafka,
        name: group_name("suffering"),
        topic: topic.clone(),
        session: plan.session,
        living: Vec::new(),
        gone: Vec::new(),
    };
    for _ in 0..3 {
        group.join();
    }
    let publisher = Publisher::start(&kafka, &topic);
    group.all_partitions_go_on(barnabas::clock::now());
    let mut ends = Vec::new();
    for round in 0..plan.rounds {
        for fault in FAULTS {
            let began = barnabas::clock::now();
            group.suffer(fault, plan);
            let ended = barnabas::clock::now();
            ends.push((round, fault, began, ended));
        }
    }
    let count = publisher.finish();
    group.prints_all(count);
    while let Some(member) = group.living.pop() {
        group.gone.push(member.leaves());
    }
    let repeats = judge(&group.printed(), count);
    let mut total = 0;
    for (round, fault, began, ended) in ends {
        let repeated = repeats.iter().filter(|at| began < **at && **at <= ended).count();
        total += repeated;
        loud(&format!(
            "round {round}, {fault:?}: {repeated} repeats, {:.1} s",
            ended.duration_since(began).as_secs_f64()
        ));
        // What one member prints between two reports (1 s; half of it in sessions of 3 s), and what is in flight.
        let most = match fault {
            Fault::Leave | Fault::Join => 0,
            _ => RATE,
        };
        assert!(repeated <= most, "{fault:?}: {repeated} repeats");
    }
    loud(&format!("{count} records, {total} repeats in all"));
}
