//! What a handler can count on: how long a failing event is held, what a kill repeats, and what says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::delivery_handler::{Http, Reply, Seen, in_order};
use crate::delivery_support::{Case, all_done, numbered};
use crate::member::LIMIT;
use crate::support::{Brokers, loud, wait_for};

/// How often each record was seen.
fn times(seen: &[Seen]) -> BTreeMap<(i32, i64), usize> {
    let mut times = BTreeMap::new();
    for seen in seen {
        *times.entry(seen.place()).or_default() += 1;
    }
    times
}

fn is_flagged(seen: &Seen) -> bool {
    seen.header("barnabas-redelivered") == "maybe"
}

#[test]
fn an_event_is_held_for_as_long_as_asked_while_a_backlog_of_others_is_done() {
    const COUNT: usize = 20_000;
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "held-for", 1);
    let http = Http::start(|seen| match seen.key.as_str() {
        "bad" => Reply::Status(500),
        _ => Reply::Status(204),
    });
    let others = numbered(COUNT, |n| format!("k{}", n % 1_000));
    case.publish(&format!("bad:first\n{others}bad:second\n"));
    let flags = ["--hold-for", "1h", "--retry", "2", "--backoff", "10ms..50ms"];
    let member = case.posts(&http, &flags);
    all_done(&http, COUNT);
    let tries = http.seen().iter().filter(|seen| seen.key == "bad").count();
    loud(&format!(
        "{COUNT} others were done while one was tried {tries} times"
    ));
    assert!(tries > 10, "it is tried all the while: {tries}");
    member.leaves();
    assert!(case.letters().is_empty(), "{:?}", case.letters());
    assert_eq!(
        case.described()["lag"].as_i64(),
        Some(20_002),
        "the first one is not finished"
    );
}

#[test]
fn with_commit_each_a_kill_repeats_one_record_of_a_key_at_most() {
    const COUNT: usize = 400;
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "commit-each", 2);
    let http = Http::start(|_| Reply::After(Duration::from_millis(3), 204));
    case.publish_numbered(COUNT, 20);
    let flags = ["--commit", "each"];
    let member = case.posts(&http, &flags);
    wait_for("a good part is done", LIMIT, || {
        (http.done_count() >= 100).then_some(())
    });
    member.signal("KILL");
    member.finish();
    let mut member = case.posts(&http, &flags);
    member.ready();
    all_done(&http, COUNT);
    case.finished();
    member.leaves();
    let seen = http.seen();
    let mut of_key: BTreeMap<&str, usize> = BTreeMap::new();
    let times = times(&seen);
    for again in seen.iter().filter(|seen| seen.before > 0) {
        *of_key.entry(&again.key).or_default() += 1;
        assert!(is_flagged(again), "{again:?} does not say that it comes again");
    }
    loud(&format!(
        "killed in mid-work, these keys had a record twice: {of_key:?}"
    ));
    assert!(of_key.values().all(|repeats| *repeats == 1), "{of_key:?}");
    assert_eq!(times.len(), COUNT);
    in_order(&seen, &BTreeSet::new());
}

#[test]
fn what_a_dead_owner_had_in_hand_says_so_and_what_a_leaving_one_left_does_not() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "maybe", 1);
    let http = Http::start(|seen| match (seen.offset, seen.before) {
        // Still at work when the owner dies: it has nothing to report.
        (0..4, 0) => Reply::After(Duration::from_secs(20), 204),
        _ => Reply::Status(204),
    });
    case.publish_numbered(4, 4);
    let flags = ["--handler-timeout", "60s"];
    let member = case.posts(&http, &flags);
    wait_for("all are in hand", LIMIT, || (http.count() == 4).then_some(()));
    assert!(
        !http.seen().iter().any(is_flagged),
        "they come for the first time"
    );
    member.signal("KILL");
    member.finish();
    let mut member = case.posts(&http, &flags);
    member.ready();
    all_done(&http, 4);
    let again: Vec<Seen> = http.seen().into_iter().filter(|seen| seen.before > 0).collect();
    assert!(again.len() == 4 && again.iter().all(is_flagged), "{again:?}");
    case.publish_numbered(10, 10);
    all_done(&http, 14);
    member.leaves();
    case.publish_numbered(10, 10);
    let member = case.posts(&http, &flags);
    all_done(&http, 24);
    member.leaves();
    let later: Vec<Seen> = http.seen().into_iter().filter(|seen| seen.offset >= 4).collect();
    assert!(later.len() == 20 && !later.iter().any(is_flagged), "{later:?}");
}
