//! Members with handlers that are killed, stand still, leave, or lose their lease while events are in hand and retries wait.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::delivery_handler::{Http, Reply, Seen, in_order, one_at_a_time, owners_in_turn};
use crate::delivery_support::{Case, numbered, places};
use crate::groups_why::why;
use crate::member::LIMIT;
use crate::support::{Brokers, Kafka, loud, wait_for};

/// How many of the attempts count at least and at most, by what the handler saw of others at the time: another key's success
/// ended since the attempt before, and another one began after it and ended before the next.
fn counted(seen: &[Seen], tried: &[&Seen]) -> (usize, usize) {
    /// How much later the member may know than the handler, on a machine that does other things.
    const SLACK: Duration = Duration::from_millis(200);
    let others: Vec<(Instant, Instant)> = seen
        .iter()
        .filter(|other| other.status == 204)
        .filter_map(|other| Some((other.began, other.ended?)))
        .collect();
    let count = |slack: Duration, wide: Duration| {
        let each = (0..tried.len()).filter(|at| {
            let Some(ended) = tried[*at].ended else {
                return false;
            };
            let before = at.checked_sub(1).and_then(|before| tried[before].ended);
            let proven_before = before.is_none_or(|before| {
                others
                    .iter()
                    .any(|(_, over)| *over > before + slack && *over < ended + wide)
            });
            // The last one was decided when the next would have been due; that is not seen.
            let next = tried.get(at + 1).map(|next| next.began);
            let proven_after = others.iter().any(|(began, over)| {
                *began > ended + slack && next.is_none_or(|next| *over + slack < next + wide)
            });
            proven_before && proven_after
        });
        each.count()
    };
    (count(SLACK, Duration::ZERO), count(Duration::ZERO, SLACK))
}

fn of(http: &Http, key: &str) -> Vec<Seen> {
    http.seen().into_iter().filter(|seen| seen.key == key).collect()
}

#[test]
fn attempts_are_carried_over_when_the_owner_is_killed_twice() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "carried", 1);
    let http = Http::start(|seen| match seen.key.as_str() {
        "poison" => Reply::Status(500),
        _ => Reply::Status(204),
    });
    case.publish("poison:0\n");
    let flags = ["--retry", "9", "--backoff", "400ms..800ms"];
    let tries = |why: &Value| why["partitions"][0]["records"][0]["tries"].as_u64().unwrap_or(0);
    // At each kill: attempts in the group's log at least, and those that the handler had seen.
    let mut reported: Vec<(u64, usize)> = Vec::new();
    case.with_traffic(|| {
        for _ in 0..2 {
            let before = reported.last().map_or(0, |(tries, _)| *tries);
            let member = case.posts(&http, &flags);
            let found = why(&case, "three more attempts are reported", |why| {
                tries(why) >= before + 3
            });
            member.signal("KILL");
            member.finish();
            reported.push((tries(&found), of(&http, "poison").len()));
        }
        let mut member = case.posts(&http, &flags);
        member.says("was set aside (exhausted)");
        case.publish("poison:1\n");
        wait_for("its follower is tried", LIMIT, || {
            of(&http, "poison")
                .iter()
                .any(|seen| seen.value == "1")
                .then_some(())
        });
        member.leaves();
    });
    let seen = http.seen();
    let tried: Vec<&Seen> = seen
        .iter()
        .filter(|seen| seen.key == "poison" && seen.value == "0")
        .collect();
    let letters = case.letters();
    let letter = letters
        .iter()
        .find(|letter| letter.text("key") == "poison")
        .expect("it is there");
    let numbers: Vec<u32> = tried.iter().map(|seen| seen.attempt).collect();
    let (sure, possible) = counted(&seen, &tried);
    loud(&format!(
        "9 counted attempts, the owner killed twice: {numbers:?}, of which {sure} to {possible} count"
    ));
    let last = *numbers.last().expect("it was tried");
    assert_eq!(letter.number("deliveries"), i64::from(last), "its attempts");
    // Attempts that were not reported before a kill are made again under their numbers, and no others.
    for (at, pair) in numbers.windows(2).enumerate() {
        let kill = reported.iter().find(|(_, seen)| *seen == at + 1);
        let least = kill.map_or(pair[0], |(tries, _)| u32::try_from(*tries).expect("few"));
        assert!(
            (least + 1..=pair[0] + 1).contains(&pair[1]),
            "{numbers:?}, at kills {reported:?}"
        );
    }
    // A kill loses the attempts that were made again, and whether the one before them counted.
    let lost = numbers.len() - usize::try_from(last).expect("few") + 2;
    assert!(
        sure <= 9 + lost && possible >= 9,
        "{sure} to {possible} of {numbers:?}"
    );
    owners_in_turn(&http.seen());
    in_order(&http.seen(), &places(&letters));
}

#[test]
fn members_killed_stopped_and_drained_under_load_lose_nothing_and_keep_the_order() {
    const COUNT: usize = 3_000;
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "suffers", 6);
    // A tenth fails at first, so retries wait wherever something happens.
    let http = Http::start(|seen| match seen.offset % 10 {
        3 if seen.before == 0 => Reply::Status(500),
        _ => Reply::After(Duration::from_millis(20), 204),
    });
    case.publish(&numbered(COUNT, |n| format!("k{}", n % 300)));
    let flags = ["--concurrency", "4", "--backoff", "100ms..600ms"];
    let join = || {
        let mut member = case.posts(&http, &flags);
        member.ready();
        member
    };
    let (killed, mut stopped) = (join(), join());
    let done = |count: usize| {
        wait_for(&format!("{count} are done"), LIMIT, || {
            (http.done_count() >= count).then_some(())
        })
    };
    done(COUNT / 10);
    killed.signal("KILL");
    killed.finish();
    let drained = join();
    done(COUNT * 3 / 10);
    stopped.signal("STOP");
    thread::sleep(Duration::from_secs(4));
    done(COUNT * 5 / 10);
    stopped.signal("CONT");
    stopped.says("removed from group");
    let last = join();
    done(COUNT * 7 / 10);
    let before = http.count();
    drained.leaves();
    done(COUNT);
    case.finished();
    stopped.leaves();
    last.leaves();
    let seen = http.seen();
    assert_eq!(http.done_count(), COUNT);
    in_order(&seen, &BTreeSet::new());
    owners_in_turn(&seen);
    let again = |seen: &[Seen]| {
        seen.iter()
            .filter(|seen| seen.before > usize::from(seen.offset % 10 == 3))
            .count()
    };
    loud(&format!(
        "{COUNT} events, a kill, a stop and two drains: {} repeats",
        again(&seen)
    ));
    assert!(again(&seen) < COUNT / 5, "{}", again(&seen));
    assert_eq!(
        again(&seen[before.min(seen.len())..]),
        0,
        "a drain repeats nothing"
    );
    assert_eq!(case.letters().len(), 0);
}

#[test]
fn a_member_that_leaves_waits_for_what_is_in_hand_and_for_no_retry() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "drains", 1);
    let http = Http::start(|seen| match (seen.key.as_str(), seen.before) {
        ("slow", _) => Reply::After(Duration::from_secs(2), 204),
        // Not before four seconds are over: a back-off alone may be over at once.
        ("later", 0) => Reply::With(503, "retry-after: 4".to_owned()),
        _ => Reply::Status(204),
    });
    case.publish("slow:0\nlater:1\nslow:2\n");
    let flags = ["--backoff", "5s..5s", "--handler-timeout", "30s"];
    let member = case.posts(&http, &flags);
    wait_for("both are there", LIMIT, || (http.count() == 2).then_some(()));
    thread::sleep(Duration::from_millis(200));
    let ended = member.leaves();
    assert_eq!(http.done(), BTreeSet::from([(0, 0)]));
    assert_eq!(http.count(), 2, "{:?}", ended.said);
    let member = case.posts(&http, &flags);
    wait_for("all is done", LIMIT, || (http.done_count() == 3).then_some(()));
    case.finished();
    member.leaves();
    let seen = http.seen();
    assert_eq!(seen.len(), 4);
    in_order(&seen, &BTreeSet::new());
    owners_in_turn(&seen);
    assert_eq!(
        of(&http, "later")
            .iter()
            .map(|seen| seen.attempt)
            .collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn a_member_whose_handler_does_not_end_in_time_gives_up_with_1_and_the_next_delivers_it_again() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "undrained", 1);
    let http = Http::start(|seen| match seen.before {
        0 if seen.key == "slow" => Reply::After(Duration::from_secs(30), 204),
        _ => Reply::Status(204),
    });
    case.publish("slow:0\nother:1\n");
    let member = case.posts(&http, &["--drain-timeout", "1s", "--handler-timeout", "30s"]);
    wait_for("both are there", LIMIT, || (http.count() == 2).then_some(()));
    let began = barnabas::clock::now();
    member.signal("TERM");
    let ended = member.finish();
    let took = began.elapsed();
    assert_eq!(ended.code, Some(1), "{:?}", ended.said);
    assert!((1.0..6.0).contains(&took.as_secs_f64()), "{took:?}");
    assert!(of(&http, "slow")[0].gone.is_some(), "its connection was closed");
    let member = case.posts(&http, &[]);
    case.finished();
    member.leaves();
    let slow: Vec<u32> = of(&http, "slow").iter().map(|seen| seen.attempt).collect();
    assert_eq!(slow, [1, 1], "what we ended ourselves is no attempt");
    assert_eq!(of(&http, "slow")[1].header("barnabas-redelivered"), "maybe");
    assert_eq!(http.done_count(), 2);
}

#[test]
fn a_second_signal_ends_a_member_at_once() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "twice", 1);
    let http = Http::start(|_| Reply::After(Duration::from_secs(30), 204));
    case.publish("slow:0\n");
    let mut member = case.posts(&http, &["--handler-timeout", "30s"]);
    wait_for("it is in hand", LIMIT, || (http.count() == 1).then_some(()));
    member.signal("TERM");
    member.says("leaving group");
    let began = barnabas::clock::now();
    member.signal("INT");
    let ended = member.finish();
    assert_eq!(ended.code, Some(130), "{:?}", ended.said);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn a_worker_that_is_slow_is_waited_for_and_ended_with_its_member() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "worker-drains", 1);
    let done = kafka.scratch("drain").join("done");
    let script = format!(
        "read -r line; sleep 1.5; echo '{{\"id\":1,\"ok\":true}}'; echo done >> {done}; read -r line; echo eof >> {done}",
        done = done.display()
    );
    let path = kafka.scratch("drain").join("worker.sh");
    std::fs::write(&path, script).expect("target/ can be written");
    case.publish("k:0\n");
    let command = format!("sh {}", path.display());
    let mut member = case.member(&["--exec", &command]);
    member.ready();
    thread::sleep(Duration::from_millis(500));
    let began = barnabas::clock::now();
    member.leaves();
    loud(&format!(
        "a worker with 1 s to go: left after {:.1?}",
        began.elapsed()
    ));
    assert_eq!(std::fs::read_to_string(&done).unwrap_or_default(), "done\neof\n");
    assert_eq!(case.described()["lag"].as_i64(), Some(0));
}

#[test]
fn a_member_without_its_lease_starts_nothing_and_ends_what_runs() {
    let Some(kafka) = Kafka::one() else { return };
    let case = Case::new(&kafka, "lease", 1);
    let mended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&mended);
    let http = Http::start(move |seen| match seen.key.as_str() {
        _ if told.load(Ordering::SeqCst) => Reply::Status(204),
        "failing" => Reply::Status(400 + 9),
        "slow" => Reply::After(Duration::from_secs(40), 204),
        _ => Reply::Status(204),
    });
    case.publish("slow:0\nfailing:1\nfailing:2\nother:3\n");
    let member = case.posts(
        &http,
        &[
            "--backoff",
            "50ms..50ms",
            "--retry",
            "100000",
            "--handler-timeout",
            "60s",
        ],
    );
    wait_for("it fails", LIMIT, || {
        (of(&http, "failing").len() > 10).then_some(())
    });
    // What was done is in a report by then.
    thread::sleep(Duration::from_secs(1));
    kafka.kill(0);
    let killed = barnabas::clock::now();
    let gone: Instant = wait_for("what runs is ended", LIMIT, || of(&http, "slow")[0].gone);
    let count = http.count();
    thread::sleep(Duration::from_secs(2));
    assert_eq!(http.count(), count, "something was started without a lease");
    let last = of(&http, "failing").last().expect("it failed").began;
    loud(&format!(
        "session 2s, broker killed: the last start after {:.2} s, what ran was ended after {:.2} s",
        last.duration_since(killed).as_secs_f64(),
        gone.duration_since(killed).as_secs_f64()
    ));
    assert!(last.duration_since(killed) < Duration::from_millis(2_500));
    assert!(gone.duration_since(killed) < Duration::from_millis(4_500));
    mended.store(true, Ordering::SeqCst);
    kafka.start(0);
    wait_for("all is done", LIMIT, || (http.done_count() == 4).then_some(()));
    loud(&format!("all done {:.1?} after the kill", killed.elapsed()));
    case.finished();
    member.leaves();
    let seen = http.seen();
    in_order(&seen, &BTreeSet::new());
    one_at_a_time(&seen);
    owners_in_turn(&seen);
    let attempts: Vec<u32> = of(&http, "slow").iter().map(|seen| seen.attempt).collect();
    assert_eq!(attempts, [1, 1], "what we ended ourselves is no attempt");
    assert_eq!(of(&http, "other").len(), 1);
    assert_eq!(case.letters().len(), 0);
}
