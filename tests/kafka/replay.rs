//! Dead letters that go back to their group, and come to its handlers: once each, to no other group, in order per key, never
//! beside a newer event of their key.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::barnabas_bin::{barnabas, live, path};
use crate::delivery_handler::{Http, Reply, Seen, in_order, one_at_a_time, owners_in_turn};
use crate::delivery_support::{Case, places};
use crate::group::group_name;
use crate::member::LIMIT;
use crate::support::dist::installed;
use crate::support::{Brokers, Finished, Live, loud, skipped, wait_for};

/// How soon a topic of replays is to be read that was made while the group runs. (It is looked for every 3 s.)
const SOON: Duration = Duration::from_secs(12);

impl Case<'_> {
    /// `barnabas dlq VERB` of this group's letters from its topic.
    pub(crate) fn dead_letters(&self, verb: &str, args: &[&str]) -> Finished {
        let (bootstrap, dlq) = (self.kafka.bootstrap(), self.dlq());
        barnabas(&[&["dlq", verb, "-b", &bootstrap, &dlq], args].concat(), b"")
    }

    /// Has all open letters replayed.
    pub(crate) fn replay(&self, args: &[&str]) -> Finished {
        self.dead_letters("replay", &[&["--yes"], args].concat())
    }

    /// Of all its letters, each of another key: the state, and how often it was replayed.
    fn states(&self) -> BTreeMap<String, (String, i64)> {
        let run = self.dead_letters("list", &["--all", "--json"]).success();
        let report: serde_json::Value = serde_json::from_slice(&run.stdout).expect("it is JSON");
        let letters = report["letters"].as_array().expect("it lists letters");
        let state = |letter: &serde_json::Value| {
            let text = |name: &str| letter[name].as_str().unwrap_or_default().to_owned();
            (
                text("key"),
                (text("state"), letter["replays"].as_i64().expect("a number")),
            )
        };
        letters.iter().map(state).collect()
    }

    fn replays(&self) -> String {
        format!("{}.replay.{}", self.topic, self.group)
    }

    /// Waits until so many letters are open, and nothing of the topic waits.
    #[track_caller]
    fn has_letters(&self, count: usize) {
        self.finished();
        assert_eq!(self.letters().len(), count);
    }
}

/// A handler that refuses what is bad until it is mended.
struct Mended {
    http: Http,
    mended: Arc<AtomicBool>,
}

impl Mended {
    /// It takes so long for each.
    fn start(time: Duration) -> Self {
        let mended = Arc::new(AtomicBool::new(false));
        let is_mended = Arc::clone(&mended);
        let http = Http::start(move |seen| match seen.value.starts_with("bad") {
            true if !is_mended.load(Ordering::SeqCst) => Reply::After(time, 422),
            _ => Reply::After(time, 204),
        });
        Self { http, mended }
    }

    fn mend(&self) {
        self.mended.store(true, Ordering::SeqCst);
    }

    /// What it saw of replays, and of the topic itself.
    fn apart(&self) -> (Vec<Seen>, Vec<Seen>) {
        let seen = self.http.seen().into_iter();
        seen.partition(|seen| !seen.header("barnabas-replay").is_empty())
    }

    fn replayed(&self) -> usize {
        self.apart().0.len()
    }

    /// Waits until it has done so many different replays.
    #[track_caller]
    fn does(&self, count: usize) {
        wait_for(&format!("{count} replays are done"), LIMIT, || {
            let replays = self.apart().0;
            let done = replays.iter().filter(|seen| seen.status == 204);
            let done: BTreeSet<(i32, i64)> = done.map(Seen::place).collect();
            (done.len() >= count).then_some(())
        });
    }
}

/// So many bad events of `keys` keys, one in each six, by chance: did all keys come to theirs in the same round, each would wait for
/// its dead letter while the others do the same, and that looks like a bad deploy to the fuse.
fn some_bad(bad: usize, keys: usize) -> String {
    let mut random = StdRng::seed_from_u64(6);
    let six = |six: usize| {
        let chosen = random.gen_range(0..6);
        (0..6).fold(String::new(), |text, at| {
            let (n, kind) = (six * 6 + at, if at == chosen { "bad" } else { "good" });
            text + &format!("k{}:{kind}-{n}\n", n % keys)
        })
    };
    (0..bad).map(six).collect()
}

/// Good events of the same keys, all the time while `work` is done.
fn with_newer_events<T>(case: &Case<'_>, keys: usize, work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stopped = scope.spawn(|| {
            let mut producer = live(case.kafka, "produce", &case.topic, &["-K", ":"]);
            let mut n = 0_usize;
            while !stop.load(Ordering::SeqCst) {
                producer.write(format!("k{}:newer-{n}\n", n * 7 % keys).as_bytes());
                n += 1;
                thread::sleep(Duration::from_millis(2));
            }
            producer.close().success();
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::SeqCst);
        stopped.join().expect("the producer works");
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Sees that the replays of each key began in the order of the events that they are of.
#[track_caller]
fn in_order_of_their_events(replays: &[Seen]) {
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for seen in replays.iter().filter(|seen| seen.before == 0) {
        let (_, number) = seen.value.rsplit_once('-').expect("it has a number");
        let number = number.parse().expect("a number");
        let before = last.insert(&seen.key, number);
        assert!(
            before.is_none_or(|before| before < number),
            "{} of {} came after {before:?}",
            seen.value,
            seen.key
        );
    }
}

/// Sees that newer events of some keys were done between the replays of the same keys: else nothing was tried here.
#[track_caller]
fn newer_ones_flowed(replays: &[Seen], others: &[Seen]) {
    let (first, last) = (
        replays.first().expect("there are").began,
        replays.last().expect("there are").began,
    );
    let between = |seen: &&Seen| seen.value.starts_with("newer") && (first..last).contains(&seen.began);
    let keys: BTreeSet<&str> = others
        .iter()
        .filter(between)
        .map(|seen| seen.key.as_str())
        .collect();
    let both = replays.iter().filter(|seen| keys.contains(seen.key.as_str()));
    assert!(both.count() > replays.len() / 4, "{} keys", keys.len());
}

#[test]
fn a_thousand_letters_come_once_each_to_their_group_alone_and_in_order() {
    const BAD: usize = 1_000;
    const KEYS: usize = 250;
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "replayed", 6);
    let beside = Case {
        kafka,
        topic: case.topic.clone(),
        group: group_name("beside"),
    };
    let handler = Mended::start(Duration::from_millis(2));
    let other = Http::start(|_| Reply::Status(204));
    case.publish(&some_bad(BAD, KEYS));
    let member = case.posts(&handler.http, &[]);
    let other_member = beside.posts(&other, &[]);
    case.has_letters(BAD);
    handler.mend();
    let began = with_newer_events(&case, KEYS, || {
        let began = barnabas::clock::now();
        // Slowly enough for newer events to come between them.
        let rate = ["--rate", "125"];
        case.replay(&rate).success().says("replayed 1,000 letters");
        loud(&format!(
            "1,000 letters were replayed within {:?}",
            began.elapsed()
        ));
        case.replay(&[]).success().says("nothing to replay");
        handler.does(BAD);
        began
    });
    case.finished();
    beside.finished();
    member.leaves();
    other_member.leaves();

    let (replays, others) = handler.apart();
    let first = replays.first().expect("there are").began - began;
    let last = replays.last().expect("there are").began - began;
    loud(&format!(
        "the first came {first:?} after the command began, the last after {last:?}"
    ));
    assert!(first < SOON, "{first:?}");
    assert_eq!(replays.len(), BAD, "requests with replays");
    let events: BTreeSet<&str> = replays.iter().map(|seen| seen.value.as_str()).collect();
    assert_eq!(events.len(), BAD, "events replayed");
    let topics: BTreeSet<&str> = replays
        .iter()
        .map(|seen| {
            seen.header("barnabas-record")
                .split('/')
                .next()
                .unwrap_or_default()
        })
        .collect();
    assert_eq!(topics, BTreeSet::from([case.replays().as_str()]));
    assert!(replays.iter().all(|seen| seen.header("barnabas-replay") == "1"));
    in_order_of_their_events(&replays);
    in_order(&replays, &BTreeSet::new());
    in_order(&others, &BTreeSet::new());
    newer_ones_flowed(&replays, &others);
    // A key's partition has the same number in both topics.
    one_at_a_time(&handler.http.seen());

    let seen = other.seen();
    assert!(seen.iter().all(|seen| seen.header("barnabas-replay").is_empty()));
    assert_eq!(
        seen.len(),
        other.done().len(),
        "the other group's events come once"
    );
    assert_eq!(other.done(), places_of(&others), "and are those of the topic");
    assert_eq!(case.letters().len(), 0);
}

fn places_of(seen: &[Seen]) -> BTreeSet<(i32, i64)> {
    seen.iter().map(Seen::place).collect()
}

#[test]
fn letters_are_replayed_in_order_while_members_join_leave_and_die() {
    const BAD: usize = 600;
    const KEYS: usize = 150;
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "replayed-moving", 6);
    let handler = Mended::start(Duration::from_millis(5));
    case.publish(&some_bad(BAD, KEYS));
    let flags = ["--concurrency", "4"];
    let join = || {
        let mut member = case.posts(&handler.http, &flags);
        member.ready();
        member
    };
    let first = join();
    case.has_letters(BAD);
    handler.mend();
    let rest = with_newer_events(&case, KEYS, || {
        thread::scope(|scope| {
            let replaying = scope.spawn(|| case.replay(&["--rate", "60"]).success());
            let when = |count: usize| {
                wait_for(&format!("{count} replays came"), LIMIT, || {
                    (handler.replayed() >= count).then_some(())
                });
            };
            when(20);
            let second = join();
            when(150);
            let third = join();
            when(250);
            first.leaves();
            when(350);
            second.signal("KILL");
            second.finish();
            when(450);
            let fourth = join();
            replaying.join().expect("it works").says("replayed 600 letters");
            handler.does(BAD);
            [third, fourth]
        })
    });
    case.finished();
    for member in rest {
        member.leaves();
    }
    let (replays, others) = handler.apart();
    let events: BTreeSet<&str> = replays.iter().map(|seen| seen.value.as_str()).collect();
    assert_eq!(events.len(), BAD, "events replayed");
    loud(&format!(
        "600 letters replayed while members joined, left and died: {} came again",
        replays.len() - BAD
    ));
    in_order_of_their_events(&replays);
    for seen in [&replays, &others] {
        in_order(seen, &BTreeSet::new());
        owners_in_turn(seen);
    }
    newer_ones_flowed(&replays, &others);
    one_at_a_time(&handler.http.seen());
    assert_eq!(case.letters().len(), 0);
}

#[test]
fn a_replay_that_fails_is_a_letter_again_three_times_at_most() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "replay-fails", 2);
    let handler = Mended::start(Duration::ZERO);
    case.publish("a:bad\na:1\nb:bad\nc:bad\nd:2\n");
    let member = case.posts(&handler.http, &[]);
    case.has_letters(3);
    // Only what is meant, and nothing where it is only to be told.
    let told = case
        .dead_letters("replay", &["--key", "a", "--dry-run"])
        .success();
    assert!(told.text().contains("would replay 1 letter"), "{}", told.text());
    for replays in 1..=3 {
        case.replay(&["--key", "a"]).success().says("replayed 1 letter");
        wait_for("the letter is open again", LIMIT, || {
            let state = case.states().remove("a").expect("it is there");
            assert!(state.1 <= replays, "{state:?}");
            (state == ("open".to_owned(), replays)).then_some(())
        });
    }
    case.replay(&["--key", "a"])
        .code(3)
        .says("it failed again after 3 replays")
        .says("--to-source, or discard it");
    handler.mend();
    case.replay(&["--key", "b"]).success();
    handler.does(1);
    let state = |state: &str, replays| (state.to_owned(), replays);
    let states = [
        ("a", state("open", 3)),
        ("b", state("replayed", 0)),
        ("c", state("open", 0)),
    ];
    assert_eq!(
        case.states(),
        states.map(|(key, state)| (key.to_owned(), state)).into()
    );
    case.dead_letters("discard", &["--key", "a", "--yes"]).success();
    assert_eq!(case.states().remove("a"), Some(state("discarded", 3)));
    // The rest once more: c alone is open.
    case.replay(&[]).success().says("replayed 1 letter");
    handler.does(2);
    case.replay(&[]).success().says("nothing to replay");
    member.leaves();
    let (replays, _) = handler.apart();
    let told: Vec<(&str, &str)> = replays
        .iter()
        .map(|seen| (seen.key.as_str(), seen.header("barnabas-replay")))
        .collect();
    assert_eq!(told, [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"), ("c", "1")]);
    let seen = handler.http.seen();
    let keys = handler_keys(&seen, "a");
    assert_eq!(keys.len(), 1, "one idempotency key over all replays: {keys:?}");
    assert_eq!(case.letters().len(), 0);
}

/// The idempotency keys of the bad event of a key.
fn handler_keys<'s>(seen: &'s [Seen], key: &str) -> BTreeSet<&'s str> {
    let of = seen.iter().filter(|seen| seen.key == key && seen.value == "bad");
    of.map(|seen| seen.header("idempotency-key")).collect()
}

#[test]
fn what_was_replayed_waits_for_a_group_that_does_not_run() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "replay-waits", 2);
    let handler = Mended::start(Duration::ZERO);
    case.publish("a:bad\nb:bad\nc:1\n");
    let member = case.posts(&handler.http, &[]);
    case.has_letters(2);
    member.leaves();
    handler.mend();
    case.replay(&[]).success().says("replayed 2 letters");
    let member = case.posts(&handler.http, &[]);
    handler.does(2);
    member.leaves();
    // It knows its positions in the topic of replays: nothing comes twice.
    case.publish("d:3\n");
    let member = case.posts(&handler.http, &[]);
    case.finished();
    member.leaves();
    assert_eq!(handler.replayed(), 2);
}

#[test]
fn a_group_that_begins_with_what_is_new_still_gets_what_was_replayed_to_it() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "replay-latest", 1);
    let handler = Mended::start(Duration::ZERO);
    case.publish("a:bad\nb:1\n");
    let member = case.posts(&handler.http, &[]);
    case.has_letters(1);
    member.leaves();
    let bootstrap = kafka.bootstrap();
    // The group is gone with its positions, its letters are not.
    barnabas(&["groups", "delete", "-b", &bootstrap, &case.group, "--yes"], b"").success();
    handler.mend();
    case.replay(&[]).success().says("replayed 1 letter");
    let member = case.posts(&handler.http, &["--from", "latest"]);
    handler.does(1);
    member.leaves();
    let again = handler.http.seen().into_iter().filter(|seen| seen.key == "b");
    assert_eq!(again.count(), 1, "what is old does not come again");
}

#[test]
fn replaying_to_the_source_asks_twice() {
    let Some(kafka) = Brokers::any() else { return };
    if !installed("script", "--version") {
        return skipped(
            "a question at a terminal",
            "no `script` on PATH (Debian: apt-get install bsdutils)",
        );
    }
    let case = Case::new(kafka, "to-source", 1);
    let handler = Mended::start(Duration::ZERO);
    case.publish("a:bad\nb:1\n");
    let member = case.posts(&handler.http, &[]);
    case.has_letters(1);
    member.leaves();
    let program = path().into_string().expect("a path that is text");
    let command = format!(
        "{program} dlq replay -b {} {} --to-source",
        kafka.bootstrap(),
        case.dlq()
    );
    // The terminal stays until the command has ended, or its last words would be lost.
    let answer = |answers: &str| {
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]);
        let mut script = Live::start(script);
        script.write(answers.as_bytes());
        script.finish()
    };
    let asked = answer("y\nn\n");
    assert!(!asked.status.success());
    let text = asked.text();
    for part in ["replay 1 letter", "every reader of", "nothing is replayed"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(places(&case.letters()).len(), 1, "it is still open");
    assert_eq!(kafka.written(&case.topic), 2);
    let text = answer("y\ny\n").success();
    assert!(text.text().contains("replayed 1 letter"), "{}", text.text());
    assert_eq!(kafka.written(&case.topic), 3);
    assert_eq!(case.letters().len(), 0);
}
