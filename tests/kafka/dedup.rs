//! `--dedup`: what was published twice is done once, whoever owns the partition by then; what was not done is never dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use barnabas::clock;

use crate::barnabas_bin::produce;
use crate::delivery_handler::{Http, Reply, Seen, in_order, one_at_a_time};
use crate::delivery_support::Case;
use crate::member::LIMIT;
use crate::support::{Brokers, loud, wait_for};

const KEYS: usize = 200;
/// So far behind the first the second of an event is published.
const BEHIND: usize = 300;

/// An event as a line for `produce --format json`: its number is its id, `copy` tells the two apart.
type Line = fn(usize, usize) -> String;

fn by_attributes(n: usize, copy: usize) -> String {
    format!(
        r#"{{"key":"k{}","value":"{n} {copy}","headers":{{"ce_id":"{n}","ce_source":"/orders"}}}}"#,
        n % KEYS
    )
}

fn by_header(n: usize, copy: usize) -> String {
    // The event's own id is another one each time, as of a sender that makes a new event of each try.
    format!(
        r#"{{"key":"k{}","value":"{n} {copy}","headers":{{"ce_id":"{n}-{copy}","order":"{n}"}}}}"#,
        n % KEYS
    )
}

fn by_value(n: usize, copy: usize) -> String {
    format!(
        r#"{{"key":"k{}","value":"{{\"try\":{copy},\"order\":{{\"id\":{n}}}}}"}}"#,
        n % KEYS
    )
}

/// Events from and to these numbers, and behind each the second of an earlier one.
fn each_twice(line: Line, from: usize, to: usize) -> String {
    (from..to).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "{}", line(n, 1));
        if let Some(earlier) = n.checked_sub(BEHIND) {
            let _ = writeln!(text, "{}", line(earlier, 2));
        }
        text
    })
}

/// The number and the copy out of a request.
fn number(seen: &Seen) -> (usize, usize) {
    let digits: Vec<usize> = seen
        .value
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    match digits[..] {
        // In JSON the copy comes first.
        [copy, n] if seen.value.starts_with('{') => (n, copy),
        [n, copy] => (n, copy),
        _ => panic!("{}", seen.value),
    }
}

/// How often each event was done, by the places that its copies have.
fn done(seen: &[Seen]) -> BTreeMap<usize, BTreeMap<(i32, i64), usize>> {
    let mut done: BTreeMap<usize, BTreeMap<(i32, i64), usize>> = BTreeMap::new();
    for seen in seen.iter().filter(|seen| seen.status == 204) {
        let places = done.entry(number(seen).0).or_default();
        *places.entry(seen.place()).or_default() += 1;
    }
    done
}

/// Publishes events twice while members join, leave and are killed.
fn published_twice(name: &str, flags: &[&str], line: Line) {
    const COUNT: usize = 2_000;
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, name, 6);
    let http = Http::start(|_| Reply::After(Duration::from_millis(2), 204));
    let flags = [&["--dedup", "--concurrency", "8"][..], flags].concat();
    let join = || {
        let mut member = case.posts(&http, &flags);
        member.ready();
        member
    };
    let publish = |from: usize, to: usize| {
        let lines = each_twice(line, from, to);
        produce(kafka, &case.topic, &["--format", "json"], lines.as_bytes()).success();
    };
    let done_to = |count: usize| {
        wait_for(&format!("{count} are done"), LIMIT, || {
            (http.done_count() >= count).then_some(())
        });
    };
    // In good order: nothing at all comes twice.
    let (first, second) = (join(), join());
    publish(0, 500);
    done_to(300);
    let third = join();
    publish(500, 1_000);
    done_to(700);
    first.leaves();
    done_to(1_000);
    case.finished();
    assert_eq!(http.count(), 1_000, "requests until then");

    publish(1_000, 1_500);
    done_to(1_100);
    second.signal("KILL");
    second.finish();
    let fourth = join();
    publish(1_500, COUNT);
    // The rest of the second ones.
    let rest = (COUNT - BEHIND..COUNT).map(|n| line(n, 2) + "\n");
    let rest: String = rest.collect();
    produce(kafka, &case.topic, &["--format", "json"], rest.as_bytes()).success();
    case.finished();
    for member in [third, fourth] {
        member.leaves();
    }
    let seen = http.seen();
    let done = done(&seen);
    assert_eq!(done.len(), COUNT, "each is done");
    let twice: Vec<_> = done.iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(twice.is_empty(), "{} events twice: {twice:?}", twice.len());
    let again: usize = done
        .values()
        .flat_map(BTreeMap::values)
        .map(|times| times - 1)
        .sum();
    loud(&format!(
        "{name}: {COUNT} events published twice, one member killed: 0 done twice, {again} come again after the kill"
    ));
    // What the killed one had in hand and what it did in the half second before its last report.
    assert!(again <= 8 + 1_000, "{again}");
    in_order(&seen, &BTreeSet::new());
    one_at_a_time(&seen);
}

#[test]
fn events_published_twice_are_done_once_by_their_source_and_id() {
    published_twice("dedup", &[], by_attributes);
}

#[test]
fn events_published_twice_are_done_once_by_a_header() {
    published_twice("dedup-header", &["--dedup-id", "header:order"], by_header);
}

#[test]
fn events_published_twice_are_done_once_by_a_place_in_their_value() {
    published_twice("dedup-json", &["--dedup-id", "json:/order/id"], by_value);
}

#[test]
fn a_dead_letter_is_delivered_in_spite_of_the_window_as_often_as_it_is_replayed() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "dedup-replay", 1);
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let http = Http::start(move |seen| match seen.value.starts_with("bad") {
        true if !is_mended.load(Ordering::SeqCst) => Reply::Status(422),
        _ => Reply::Status(204),
    });
    let event = |value: &str, id: &str| {
        format!(r#"{{"key":"k","value":"{value}","headers":{{"ce_id":"{id}","ce_source":"/s"}}}}"#) + "\n"
    };
    let publish =
        |lines: &str| drop(produce(kafka, &case.topic, &["--format", "json"], lines.as_bytes()).success());
    // Its copy is dropped: the letter keeps the event.
    publish(&(event("bad", "1") + &event("good", "2") + &event("bad", "1") + &event("good", "2")));
    let replays = || {
        let seen = http.seen();
        let replays = seen.iter().map(|seen| seen.header("barnabas-replay").to_owned());
        replays.filter(|number| !number.is_empty()).collect::<Vec<_>>()
    };
    let replay = |times: usize| {
        case.replay(&[]).success().says("replayed 1 letter");
        wait_for("it is delivered", LIMIT, || {
            (replays().len() == times).then_some(())
        });
        case.finished();
    };
    let member = case.posts(&http, &["--dedup"]);
    case.finished();
    assert_eq!(http.count(), 2);
    // It fails again, and again behind an owner that has read its ids back.
    replay(1);
    replay(2);
    member.leaves();
    mended.store(true, Ordering::SeqCst);
    let member = case.posts(&http, &["--dedup"]);
    replay(3);
    assert_eq!(replays(), ["1", "2", "3"]);
    assert_eq!(case.letters().len(), 0);
    // And the event is still known.
    publish(&event("bad", "1"));
    case.finished();
    member.leaves();
    assert_eq!(http.count(), 5);
}

#[test]
fn the_window_is_of_the_events_times_also_for_a_new_owner_far_behind() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "dedup-old", 1);
    let http = Http::start(|_| Reply::Status(204));
    let minute = |id: usize, minutes: i64| {
        let time = clock::unix_millis() - (180 - minutes) * 60_000;
        format!(r#"{{"key":"k","value":"{id} 1","ts":{time},"headers":{{"ce_id":"{id}","ce_source":"/s"}}}}"#)
            + "\n"
    };
    let publish =
        |lines: &str| drop(produce(kafka, &case.topic, &["--format", "json"], lines.as_bytes()).success());
    let flags = ["--dedup", "--dedup-window", "30m"];
    publish(&(minute(1, 0) + &minute(2, 20)));
    let member = case.posts(&http, &flags);
    case.finished();
    member.leaves();
    // All of it hours ago; the first one was done more than half an hour before its second, the other one not.
    publish(&(minute(1, 31) + &minute(2, 49) + &minute(3, 50)));
    let member = case.posts(&http, &flags);
    case.finished();
    member.leaves();
    let seen = http.seen();
    let done: Vec<(usize, i64)> = seen.iter().map(|seen| (number(seen).0, seen.offset)).collect();
    assert_eq!(done, [(1, 0), (2, 1), (1, 2), (3, 4)]);
}
