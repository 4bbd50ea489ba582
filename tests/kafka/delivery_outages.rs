//! Handlers that are down, wrong or broken: it is not the events' fault, so nothing is lost and nothing set aside.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use crate::barnabas_bin::barnabas;
use crate::delivery_handler::{Http, Reply, in_order, one_at_a_time};
use crate::delivery_support::{Case, all_done};
use crate::member::{LIMIT, Member};
use crate::support::{Brokers, loud, wait_for};

/// Waits until the breaker has opened and the member has said so.
fn opens(member: &mut Member) {
    member.says("the handler is out of order");
}

#[test]
fn a_handler_that_is_down_for_a_while_gets_all_of_it_later_and_in_order() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "down", 2);
    let mut http = Http::start(|_| Reply::After(Duration::from_millis(2), 204));
    case.publish_numbered(2_000, 100);
    let mut member = case.posts(&http, &["--retry", "2", "--concurrency", "8"]);
    wait_for("it is in the middle", LIMIT, || {
        (http.count() > 300).then_some(())
    });
    http.die();
    opens(&mut member);
    // Far longer than two attempts take.
    thread::sleep(Duration::from_secs(3));
    let before = http.count();
    http.rise();
    all_done(&http, 2_000);
    case.finished();
    member.says("in order again");
    member.leaves();
    let seen = http.seen();
    in_order(&seen, &BTreeSet::new());
    // What was in its hands when it died comes again, and nothing else.
    let broken = seen.iter().filter(|seen| seen.ended.is_none()).count();
    let again = seen.iter().filter(|seen| seen.before > 0).count();
    loud(&format!(
        "down after {before} requests: {broken} broke off, {again} came again"
    ));
    // One whose answer was under way is at work no more, but its answer did not arrive.
    assert!(again <= broken + 8, "{again} came again, {broken} broke off");
    assert_eq!(case.letters().len(), 0);
}

#[test]
fn a_handler_that_dies_with_every_event_in_its_hands_gets_each_again() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "dies", 1);
    let mut http = Http::start(|seen| match seen.before {
        // For ever, as far as this test goes; but the dying do not linger.
        0 if seen.offset < 8 => Reply::After(Duration::from_secs(20), 204),
        _ => Reply::Status(204),
    });
    case.publish_numbered(200, 50);
    let member = case.posts(&http, &["--concurrency", "8"]);
    wait_for("eight are in its hands", LIMIT, || {
        (http.count() == 8).then_some(())
    });
    // Long enough that none can have met a connection that was just being closed.
    thread::sleep(Duration::from_millis(1_200));
    http.die();
    http.rise();
    wait_for("all is done", LIMIT, || (http.done_count() == 200).then_some(()));
    case.finished();
    member.leaves();
    let seen = http.seen();
    assert_eq!(seen.iter().filter(|seen| seen.before > 0).count(), 8);
    assert!(
        seen.iter()
            .filter(|seen| seen.before > 0)
            .all(|seen| seen.attempt >= 2)
    );
    assert_eq!(case.letters().len(), 0);
}

/// A handler that answers all with `reply` until it is told to be good: the group holds, sets nothing aside, asks little,
/// and goes on where it was.
fn holds(name: &str, wrong: impl Fn() -> Reply + Send + Sync + 'static) {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, name, 2);
    let good = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = std::sync::Arc::clone(&good);
    let http = Http::start(move |_| {
        if told.load(std::sync::atomic::Ordering::SeqCst) {
            Reply::Status(204)
        } else {
            wrong()
        }
    });
    case.publish_numbered(500, 100);
    let mut member = case.posts(&http, &["--retry", "2"]);
    opens(&mut member);
    let began = http.count();
    thread::sleep(Duration::from_secs(2));
    let asked = http.count() - began;
    loud(&format!(
        "{name}: {began} requests until the breaker opened, {asked} in the 2 s after"
    ));
    // Those that were under way, and a probe each 200 ms.
    assert!(asked <= 64 + 40, "{asked}");
    good.store(true, std::sync::atomic::Ordering::SeqCst);
    wait_for("all is done", LIMIT, || (http.done_count() == 500).then_some(()));
    case.finished();
    member.leaves();
    let seen = http.seen();
    in_order(&seen, &BTreeSet::new());
    one_at_a_time(&seen);
    assert_eq!(case.letters().len(), 0);
}

#[test]
fn a_handler_that_answers_500_to_all_is_an_outage() {
    holds("all-500", || Reply::Status(500));
}

#[test]
fn a_redirect_to_a_login_is_a_wrong_target_and_is_not_followed() {
    holds("login", || Reply::With(302, "location: /login".to_owned()));
}

#[test]
fn a_handler_that_wants_a_login_is_a_wrong_target() {
    holds("unauthorized", || Reply::Status(401));
}

#[test]
fn a_port_that_speaks_another_protocol_is_an_outage() {
    holds("garbage", || {
        Reply::Raw(b"220 mail.example ESMTP\r\n250 go on\r\n")
    });
}

#[test]
fn answers_that_break_off_are_an_outage() {
    holds("breaks-off", || {
        Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc")
    });
}

#[test]
fn answers_without_an_end_are_an_outage_and_are_not_read_to_it() {
    holds("endless", || Reply::Endless);
}

#[test]
fn a_route_that_is_not_there_is_tried_again_until_it_is() {
    // 404 may be the event's (no such order) or the deploy's (no such route): while all get it, nothing counts.
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "route", 1);
    let good = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = std::sync::Arc::clone(&good);
    let http = Http::start(move |_| match told.load(std::sync::atomic::Ordering::SeqCst) {
        true => Reply::Status(204),
        false => Reply::Status(404),
    });
    case.publish_numbered(100, 20);
    let member = case.posts(&http, &["--retry", "2"]);
    wait_for("each head is tried five times", LIMIT, || {
        (http.count() >= 100).then_some(())
    });
    assert_eq!(http.seen().iter().filter(|seen| seen.offset >= 20).count(), 0);
    good.store(true, std::sync::atomic::Ordering::SeqCst);
    all_done(&http, 100);
    case.finished();
    member.leaves();
    in_order(&http.seen(), &BTreeSet::new());
    assert_eq!(case.letters().len(), 0);
}

#[test]
fn a_deploy_that_refuses_everything_blows_the_fuse_before_there_are_many_dead_letters() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "fuse", 2);
    let good = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = std::sync::Arc::clone(&good);
    let http = Http::start(move |_| match told.load(std::sync::atomic::Ordering::SeqCst) {
        true => Reply::Status(204),
        false => Reply::Status(422),
    });
    case.publish_numbered(1_000, 200);
    let mut member = case.posts(&http, &["--concurrency", "8"]);
    member.says("rejects nearly everything");
    thread::sleep(Duration::from_secs(1));
    let letters = case.letters();
    loud(&format!(
        "422 to all: {} dead letters before the fuse",
        letters.len()
    ));
    assert!(letters.len() <= 20 + 8, "{}", letters.len());
    assert!(
        letters
            .iter()
            .all(|letter| letter.text("outcome") == "rejected" && letter.text("status") == "422")
    );
    // Mended: what is held is done, also without a word of the operator's.
    good.store(true, std::sync::atomic::Ordering::SeqCst);
    wait_for("the rest is done", LIMIT, || {
        (http.done_count() == 1_000 - letters.len()).then_some(())
    });
    case.finished();
    member.leaves();
    assert_eq!(case.letters().len(), letters.len());
}

#[test]
fn an_operator_who_resumes_after_the_fuse_lets_some_more_be_set_aside() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "meant", 1);
    let http = Http::start(|seen| match seen.value.parse::<u32>() {
        Ok(number) if number < 60 => Reply::Status(422),
        _ => Reply::Status(204),
    });
    case.publish_numbered(80, 80);
    let mut member = case.posts(&http, &["--concurrency", "8"]);
    member.says("rejects nearly everything");
    let bootstrap = kafka.bootstrap();
    let mut letters = case.letters().len();
    for _ in 0..10 {
        barnabas(&["groups", "resume", "-b", &bootstrap, &case.group], b"").success();
        wait_for("more letters, or all", LIMIT, || {
            let now = case.letters().len();
            (now > letters || now == 60).then_some(())
        });
        letters = case.letters().len();
        if letters == 60 {
            break;
        }
    }
    case.finished();
    member.leaves();
    assert_eq!(case.letters().len(), 60);
    assert_eq!(http.done_count(), 20);
}

#[test]
fn a_handler_that_asks_for_a_pause_gets_it() {
    let Some(kafka) = Brokers::any() else { return };
    let case = Case::new(kafka, "pause", 1);
    let http = Http::start(|seen| match (seen.offset, seen.attempt) {
        (10, 1) => Reply::With(429, "retry-after: 2".to_owned()),
        _ => Reply::Status(204),
    });
    case.publish_numbered(100, 100);
    let member = case.posts(&http, &["--concurrency", "2"]);
    all_done(&http, 100);
    case.finished();
    member.leaves();
    let seen = http.seen();
    let asked = seen
        .iter()
        .find(|seen| seen.status == 429)
        .and_then(|seen| seen.ended)
        .expect("it asked");
    let meanwhile = seen
        .iter()
        .filter(|seen| seen.began > asked && seen.began < asked + Duration::from_millis(1_900));
    // One was in its hands.
    assert!(meanwhile.count() <= 2);
    assert_eq!(seen.len(), 101);
}
