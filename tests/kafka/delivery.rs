//! `consume --group --http`: events that fail, always or at times, hold back their own key and nothing else.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use crate::delivery_handler::{Http, Reply, Seen, in_order, one_at_a_time};
use crate::delivery_support::{Case, all_done, numbered, places, warnings};
use crate::member::LIMIT;
use crate::support::{Brokers, loud, wait_for};

/// Attempts of those at this place.
fn attempts(seen: &[Seen], place: (i32, i64)) -> Vec<u32> {
    let there = seen.iter().filter(|seen| seen.place() == place);
    there.map(|seen| seen.attempt).collect()
}

/// A number that looks random and is the same in each run.
fn mixed(seen: &Seen) -> u64 {
    let place = u64::try_from(seen.offset).unwrap_or(0) * 31 + u64::from(seen.partition.unsigned_abs());
    let number = place * 1_000 + u64::from(seen.attempt);
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
}

#[test]
fn a_handler_that_fails_one_percent_at_random_gets_each_event_once_more_and_in_order() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "one-percent", 3);
    let http = Http::start(|seen| match mixed(seen) % 100 {
        0 => Reply::Status(500),
        _ => Reply::Status(204),
    });
    case.publish_numbered(1_500, 100);
    let member = case.posts(&http, &[]);
    all_done(&http, 1_500);
    case.finished();
    let ended = member.leaves();
    let seen = http.seen();
    in_order(&seen, &BTreeSet::new());
    one_at_a_time(&seen);
    let failed = seen.iter().filter(|seen| seen.status == 500).count();
    assert!(failed > 5, "{failed}");
    assert_eq!(
        seen.len(),
        1_500 + failed,
        "each failure is one more attempt, and nothing else"
    );
    for seen in &seen {
        let expected = u32::try_from(seen.before).expect("few") + 1;
        assert_eq!(seen.attempt, expected, "{seen:?}");
    }
    assert_eq!(warnings(&ended.said), Vec::<&String>::new());
    assert_eq!(case.letters().len(), 0);
}

#[test]
fn a_key_that_always_fails_ends_in_the_dead_letters_and_holds_back_no_other() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "poison", 1);
    // Others take their time, so that there are some as long as the poison is tried.
    let http = Http::start(|seen| match seen.key.as_str() {
        "poison" => Reply::With(500, "x-why: no".to_owned()),
        _ => Reply::After(Duration::from_millis(5), 204),
    });
    let lines = numbered(3_000, |n| match n {
        100 | 200 => "poison".to_owned(),
        _ => format!("k{}", n % 500),
    });
    case.publish(&lines);
    let member = case.posts(&http, &["--retry", "4", "--concurrency", "8"]);
    all_done(&http, 2_998);
    // What is left is proven by what comes after it.
    let more = std::sync::atomic::AtomicUsize::new(0);
    wait_for("both are dead letters", LIMIT, || {
        case.publish("other:1\n");
        more.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        (member
            .said()
            .iter()
            .filter(|line| line.contains("was set aside"))
            .count()
            == 2)
            .then_some(())
    });
    case.finished();
    member.leaves();
    let seen = http.seen();
    let letters = case.letters();
    let dead = places(&letters);
    assert_eq!(dead, BTreeSet::from([(0, 100), (0, 200)]));
    in_order(&seen, &dead);
    one_at_a_time(&seen);
    for letter in &letters {
        let tried = attempts(&seen, letter.place());
        assert_eq!(
            tried,
            (1..=u32::try_from(tried.len()).expect("few")).collect::<Vec<_>>()
        );
        loud(&format!("4 counted attempts: {} in all", tried.len()));
        // Those that did not count are those for which nothing else succeeded at the time.
        assert!((4..=20).contains(&tried.len()), "{tried:?}");
        assert_eq!(
            letter.number("deliveries"),
            i64::try_from(tried.len()).expect("few")
        );
        assert_eq!(
            (letter.text("outcome"), letter.text("status")),
            ("exhausted", "500")
        );
    }
    // The second one came only after the first was set aside.
    let last = seen
        .iter()
        .rposition(|seen| seen.offset == 100)
        .expect("it was tried");
    let first = seen
        .iter()
        .position(|seen| seen.offset == 200)
        .expect("it was tried");
    assert!(last < first);
    // Nobody waited for it: when it was set aside, thousands had passed it.
    let done_before = seen[..last]
        .iter()
        .filter(|seen| seen.offset > 100 && seen.status == 204)
        .count();
    assert!(done_before > 20, "{done_before}");
}

#[test]
fn a_failing_key_does_not_cost_the_others_their_throughput() {
    let Some(kafka) = Brokers::any() else { return };
    let run = |poison: bool| {
        let case = Case::new(kafka, "throughput", 1);
        let http = Http::start(move |seen| match seen.key.as_str() {
            "poison" if poison => Reply::Status(500),
            _ => Reply::After(Duration::from_millis(4), 204),
        });
        let lines = numbered(2_001, |n| match n {
            0 => "poison".to_owned(),
            _ => format!("k{}", n % 1_000),
        });
        case.publish(&lines);
        // Never proven to be bad within this test.
        let mut member = case.posts(&http, &["--retry", "10000", "--concurrency", "8"]);
        all_done(&http, if poison { 2_000 } else { 2_001 });
        assert!(!member.ended());
        let seen = http.seen();
        let ended = seen
            .iter()
            .filter(|seen| seen.status == 204)
            .filter_map(|seen| seen.ended);
        let took = ended.max().expect("all is done").duration_since(seen[0].began);
        (took.as_secs_f64(), seen.len())
    };
    // At the same time, as the machine may be busy with other tests.
    let (without, with) = thread::scope(|scope| {
        let without = scope.spawn(|| run(false));
        let with = run(true);
        (without.join().expect("it does not panic"), with)
    });
    loud(&format!(
        "2,000 events: {:.2} s; with a key that fails ({} attempts): {:.2} s",
        without.0,
        with.1 - 2_000,
        with.0
    ));
    assert!(
        with.0 < without.0 * 1.3 + 0.5,
        "{} s against {} s",
        with.0,
        without.0
    );
}

#[test]
fn a_failing_key_with_a_third_of_the_traffic_does_not_stop_its_partition() {
    const COUNT: usize = 4_000;
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "hot", 1);
    let http = Http::start(|seen| match seen.key.as_str() {
        "hot" => Reply::Status(500),
        _ => Reply::Status(204),
    });
    let lines = numbered(COUNT, |n| match n % 10 {
        0 | 3 | 6 => "hot".to_owned(),
        _ => format!("k{}", n % 1_000),
    });
    case.publish(&lines);
    // 1,200 records wait behind the first, below the bound of 4,096, and it is never proven: all others pass.
    let flags = ["--retry", "100000", "--backoff", "5ms..20ms"];
    let member = case.posts(&http, &flags);
    all_done(&http, COUNT * 7 / 10);
    let ended = member.leaves();
    assert_eq!(warnings(&ended.said), Vec::<&String>::new());
    let seen = http.seen();
    let hot = seen.iter().filter(|seen| seen.key == "hot");
    let hot: BTreeSet<i64> = hot.map(|seen| seen.offset).collect();
    assert_eq!(hot, BTreeSet::from([0]), "one key is handled one at a time");
    // With more of them than may be unfinished the partition comes to its bound: the proven go, and the others go on.
    case.publish(&numbered(5_000, |n| match n % 50 {
        0 => format!("k{n}"),
        _ => "hot".to_owned(),
    }));
    let flags = ["--retry", "2", "--backoff", "2ms..10ms", "--hold-for", "1h"];
    let member = case.posts(&http, &flags);
    all_done(&http, COUNT * 7 / 10 + 100);
    member.leaves();
    let letters = case.letters();
    loud(&format!(
        "at the bound {} records of the hot key were set aside",
        letters.len()
    ));
    assert!(!letters.is_empty());
    in_order(&http.seen(), &places(&letters));
}

#[test]
fn an_event_that_takes_long_holds_back_its_own_key_only() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "slow", 1);
    let http = Http::start(|seen| match seen.offset {
        0 => Reply::After(Duration::from_secs(5), 204),
        _ => Reply::Status(204),
    });
    case.publish(&numbered(500, |n| {
        if n % 50 == 0 {
            "slow".to_owned()
        } else {
            format!("k{}", n % 90)
        }
    }));
    let member = case.posts(&http, &["--handler-timeout", "30s"]);
    all_done(&http, 500);
    case.finished();
    member.leaves();
    let seen = http.seen();
    in_order(&seen, &BTreeSet::new());
    one_at_a_time(&seen);
    let slow = seen
        .iter()
        .find(|seen| seen.offset == 0)
        .and_then(|seen| seen.ended)
        .expect("done");
    let before = seen
        .iter()
        .filter(|seen| seen.ended.is_some_and(|ended| ended < slow))
        .count();
    assert_eq!((seen.len(), before), (500, 490));
}

#[test]
fn an_event_that_takes_too_long_comes_again_after_the_grace_and_under_another_fence() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "too-slow", 1);
    let http = Http::start(|seen| match (seen.offset, seen.attempt) {
        (0, 1) => Reply::After(Duration::from_millis(1_200), 204),
        _ => Reply::Status(204),
    });
    case.publish("slow:0\nslow:1\nother:2\n");
    let member = case.posts(&http, &["--handler-timeout", "1s"]);
    wait_for("all is done", LIMIT, || (http.count() >= 4).then_some(()));
    case.finished();
    member.leaves();
    let seen = http.seen();
    let slow: Vec<&Seen> = seen.iter().filter(|seen| seen.offset == 0).collect();
    assert_eq!(attempts(&seen, (0, 0)), [1, 2]);
    let wait = slow[1].began.duration_since(slow[0].began);
    assert!(
        wait >= Duration::from_millis(1_150),
        "{wait:?}: the time-out and the grace"
    );
    assert_ne!(slow[0].fence, slow[1].fence);
    assert_eq!(
        slow[0].header("idempotency-key"),
        slow[1].header("idempotency-key")
    );
    in_order(&seen, &BTreeSet::new());
    assert_eq!(case.letters().len(), 0);
}

#[test]
fn a_rate_is_kept_to() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "rate", 2);
    let http = Http::start(|_| Reply::Status(204));
    case.publish_numbered(200, 200);
    let member = case.posts(&http, &["--max-rate", "100"]);
    all_done(&http, 200);
    member.leaves();
    let seen = http.seen();
    let took = seen[199].began.duration_since(seen[0].began);
    // Some may start at once at the beginning.
    assert!((0.9..5.0).contains(&took.as_secs_f64()), "{took:?}");
}
