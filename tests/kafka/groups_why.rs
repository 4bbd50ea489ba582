//! `groups why`: what holds a group back is named from outside of its members.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::barnabas_bin::barnabas;
use crate::delivery_handler::{Http, Reply, Seen};
use crate::delivery_support::{Case, all_done};
use crate::member::LIMIT;
use crate::support::{Brokers, Finished, loud, wait_for};

/// `barnabas groups VERB` of the case's group.
fn groups(case: &Case<'_>, args: &[&str]) -> Finished {
    let (verb, rest) = args.split_first().expect("a verb");
    let bootstrap = case.kafka.bootstrap();
    barnabas(
        &[&["groups", verb, "-b", &bootstrap, &case.group], rest].concat(),
        b"",
    )
}

fn json(case: &Case<'_>, args: &[&str]) -> Value {
    let run = groups(case, &[args, &["--json"]].concat()).success();
    serde_json::from_str(run.text()).expect("it prints JSON")
}

/// Asks until it is answered with something that is wanted.
#[track_caller]
pub(crate) fn why(case: &Case<'_>, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    wait_for(what, LIMIT, || {
        // A first member may not have made the log yet.
        let run = groups(case, &["why", "--json"]);
        last = serde_json::from_str(run.text()).unwrap_or_default();
        if !wanted(&last) {
            // Each look is a process.
            thread::sleep(Duration::from_millis(200));
            return None;
        }
        Some(())
    });
    last
}

#[track_caller]
fn nothing(case: &Case<'_>) {
    why(case, "nothing holds it back", |why| {
        why["held_back"] == false && why["partitions"] == Value::Array(Vec::new())
    });
    let text = groups(case, &["why"]).success();
    assert_eq!(
        text.text().trim_end(),
        format!("nothing holds group {} back", case.group)
    );
}

fn has(why: &Value, reason: &str) -> bool {
    let partitions = why["partitions"].as_array();
    let mut reasons = partitions
        .into_iter()
        .flatten()
        .filter_map(|partition| partition["reasons"].as_array());
    reasons.any(|reasons| reasons.iter().any(|one| one == reason))
}

/// How many notes there are in the group's log.
fn noted(case: &Case<'_>) -> usize {
    let story = json(case, &["history", "--all"]);
    let entries = story["entries"].as_array().expect("a story");
    entries.iter().filter(|entry| entry["event"] == "noted").count()
}

/// A handler that answers so until it is mended.
fn broken(reply: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> (Http, Arc<AtomicBool>) {
    let mended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&mended);
    let http = Http::start(move |seen| {
        let reply = reply(seen).filter(|_| !told.load(Ordering::SeqCst));
        reply.unwrap_or(Reply::Status(204))
    });
    (http, mended)
}

#[test]
fn one_key_that_fails_is_named_with_its_attempts_and_its_last_answer_until_it_is_done() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "why-key", 1);
    let (http, mended) =
        broken(|seen| (seen.key == "bad").then_some(Reply::Body(503, "the ledger\r\n\u{1b}[31m is locked")));
    case.publish_numbered(100, 20);
    case.publish("bad:1\n");
    case.publish_numbered(100, 20);
    let member = case.posts(&http, &[]);
    let found = why(&case, "the key is named", |why| {
        why["partitions"][0]["records"][0]["status"] == "503"
    });
    assert_eq!(found["partitions"].as_array().map(Vec::len), Some(1));
    let partition = &found["partitions"][0];
    assert_eq!((&partition["next"], &partition["held"]), (&100.into(), &1.into()));
    assert_eq!(partition["reasons"], serde_json::json!(["held"]));
    assert_eq!(partition["owner"]["member"].as_str().map(str::len), Some(16));
    let record = &partition["records"][0];
    assert_eq!((&record["offset"], &record["key"]), (&100.into(), &"bad".into()));
    assert_eq!(
        (&record["outcome"], &record["found"]),
        (&"retry".into(), &"yes".into())
    );
    assert_eq!(
        record["excerpt"],
        "503 Service Unavailable: the ledger [31m is locked"
    );
    let number = |name: &str| record[name].as_f64().expect(name);
    assert!(
        number("tries") >= 3.0 && number("tries") >= number("counted"),
        "{record}"
    );
    assert!(
        number("age_s") >= number("failing_s") && number("failing_s") >= 3.0,
        "{record}"
    );
    assert_eq!(
        found["members"],
        Value::Array(Vec::new()),
        "neither breaker nor fuse"
    );

    let text = groups(&case, &["why", "--partition", "0"]).success();
    for part in [
        "1 partition is held back",
        "1 event waits after failures",
        "bad",
        "the ledger [31m is locked",
    ] {
        assert!(text.text().contains(part), "{part}: {}", text.text());
    }
    assert!(!text.text().contains('\u{1b}'), "a terminal is told nothing");
    groups(&case, &["why", "--partition", "7"])
        .code(1)
        .says("no partition 7");
    groups(&case, &["why", "--topic", "other"])
        .code(1)
        .says("does not have topic other");

    mended.store(true, Ordering::SeqCst);
    case.finished();
    nothing(&case);
    // An idle group writes no notes; of a key that failed dozens of times it has written a few.
    let before = wait_for("that it is over is noted", LIMIT, || {
        Some(noted(&case)).filter(|notes| *notes >= 2)
    });
    thread::sleep(Duration::from_secs(7));
    let after = noted(&case);
    loud(&format!("one failing key: {after} notes"));
    assert!(
        before == after && (2..=8).contains(&after),
        "{before} and {after} notes"
    );
    member.leaves();
}

#[test]
fn a_group_of_which_all_is_well_writes_no_note() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "why-well", 2);
    let http = Http::start(|seen| match (seen.offset % 100, seen.before) {
        // One of a hundred succeeds the second time.
        (7, 0) => Reply::Status(503),
        _ => Reply::After(Duration::from_millis(2), 204),
    });
    case.publish_numbered(4_000, 500);
    let member = case.posts(&http, &["--concurrency", "4"]);
    all_done(&http, 4_000);
    case.finished();
    nothing(&case);
    member.leaves();
    assert_eq!(noted(&case), 0);
}

#[test]
fn an_open_breaker_is_named_with_what_opened_it() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "why-breaker", 1);
    let mut http = Http::start(|_| Reply::Status(204));
    let mut member = case.posts(&http, &["--instance", "worker-0"]);
    member.ready();
    http.die();
    case.publish_numbered(50, 10);
    let found = why(&case, "the breaker is named", |why| {
        why["members"][0]["breaker"].is_object() && has(why, "breaker")
    });
    let of = &found["members"][0];
    assert_eq!((&of["instance"], &of["fuse"]), (&"worker-0".into(), &Value::Null));
    assert_eq!(of["breaker"]["outcome"], "hold");
    assert!(
        of["breaker"]["excerpt"]
            .as_str()
            .is_some_and(|text| text.contains("refused")),
        "{of}"
    );
    let text = groups(&case, &["why"]).success();
    assert!(
        text.text().contains("the breaker has been open for"),
        "{}",
        text.text()
    );
    http.rise();
    all_done(&http, 50);
    case.finished();
    nothing(&case);
    member.leaves();
}

#[test]
fn a_blown_fuse_is_named_and_a_resume_alone_makes_it_whole() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "why-fuse", 1);
    let (http, mended) = broken(|_| Some(Reply::Body(422, "no such field: total")));
    case.publish_numbered(200, 200);
    let mut member = case.posts(&http, &["--concurrency", "4"]);
    member.says("groups resume");
    let found = why(&case, "the fuse is named", |why| {
        why["members"][0]["fuse"].is_string()
            && has(why, "fuse")
            && why["partitions"][0]["records"][0]["status"] == "422"
    });
    assert_eq!(found["partitions"][0]["records"][0]["outcome"], "reject");
    let text = groups(&case, &["why"]).success();
    let advice = format!("barnabas groups resume {}", case.group);
    for part in [
        advice.as_str(),
        "the fuse has blown: 20 of the last 20 events were refused",
        "no such field",
    ] {
        assert!(text.text().contains(part), "{part}: {}", text.text());
    }
    let letters = case.letters().len();
    // Nothing was paused.
    let resumed = json(&case, &["resume", "--why", "it is meant"]);
    assert_eq!(resumed["result"], "not_paused");
    wait_for("more are set aside", LIMIT, || {
        (case.letters().len() > letters).then_some(())
    });
    let history = groups(&case, &["history"]).success();
    assert!(history.text().contains("resumed the group"), "{}", history.text());
    mended.store(true, Ordering::SeqCst);
    case.finished();
    // It has blown anew meanwhile, and stays so without a word.
    groups(&case, &["resume"]).success();
    nothing(&case);
    member.leaves();
    assert!(case.letters().len() < 100, "{} letters", case.letters().len());
}

#[test]
fn a_slow_handler_a_pause_and_a_missing_owner_are_told() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "why-slow", 1);
    groups(&case, &["why"]).code(1).says("there is no such group");
    let http = Http::start(|seen| match (seen.offset, seen.before) {
        (3, 0) => Reply::After(Duration::from_secs(30), 204),
        _ => Reply::Status(204),
    });
    case.publish_numbered(10, 10);
    let member = case.posts(&http, &["--handler-timeout", "60s", "--concurrency", "4"]);
    let found = why(&case, "the slow event is named", |why| has(why, "slow"));
    assert_eq!(found["partitions"][0]["running"]["offset"], 3);
    groups(&case, &["pause", "--why", "incident 42"]).success();
    let text = groups(&case, &["why"]).success();
    assert!(text.text().contains("(incident 42)"), "{}", text.text());
    assert!(has(&json(&case, &["why"]), "paused"));
    groups(&case, &["resume"]).success();
    // Killed, with nobody left to notice.
    drop(member);
    why(&case, "its owner is silent", |why| has(why, "silent"));
    let member = case.posts(&http, &[]);
    case.finished();
    nothing(&case);
    member.leaves();
    case.publish("late:1\n");
    let left = why(&case, "nobody owns it", |why| has(why, "no_owner"));
    assert_eq!(left["partitions"][0]["owner"], Value::Null);
}
