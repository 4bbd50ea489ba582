use bytes::Bytes;
use proptest::prelude::*;

use super::super::book::{Delivery, Ending};
use super::super::orders::Event;
use super::*;

/// What a handler may be given, in order.
#[derive(Debug, Clone)]
struct Run {
    key: usize,
    seq: u32,
    ending: Ending,
    member: usize,
    redelivered: bool,
    replay: bool,
}

/// A run of a demo in which all is well: keys with so many events each; the first event of key 0 is poison and is
/// set aside and replayed; member 0 is killed half-way, and its last event comes again.
fn good(lengths: &[u32]) -> (Vec<Run>, usize) {
    let run = |key, seq, ending| Run {
        key,
        seq,
        ending,
        member: 0,
        redelivered: false,
        replay: false,
    };
    let mut runs = Vec::new();
    for seq in 0..lengths.iter().copied().max().unwrap_or(0) {
        for (key, length) in lengths.iter().enumerate().filter(|(_, length)| seq < **length) {
            let _ = length;
            if (key, seq) == (0, 0) {
                runs.push(run(0, 0, Ending::Failed(500)));
                runs.push(run(0, 0, Ending::Failed(500)));
            } else {
                runs.push(run(key, seq, Ending::Done));
            }
        }
    }
    let half = runs.len() / 2;
    let mut again = runs[..half]
        .iter()
        .rev()
        .find(|run| run.ending == Ending::Done)
        .cloned();
    for run in &mut runs[half..] {
        run.member = 1;
    }
    if let Some(again) = &mut again {
        again.member = 1;
        again.redelivered = true;
        runs.insert(half, again.clone());
    }
    let replay = Run {
        member: 1,
        replay: true,
        ..run(0, 0, Ending::Done)
    };
    runs.push(replay);
    (runs, half)
}

fn told(lengths: &[u32], runs: &[Run], killed_before: usize) -> Account {
    let mut book = Book::default();
    let mut offset = 0;
    for (key, length) in lengths.iter().enumerate() {
        for seq in 0..*length {
            let event = Event {
                key: format!("k{key}"),
                seq,
                kind: "order.placed",
                data: Bytes::new(),
            };
            let index = book.submitted(event, (key, seq) == (0, 0), 0);
            book.acknowledged(index, 0, Some(offset));
            offset += 1;
        }
    }
    for (number, run) in runs.iter().enumerate() {
        if number == killed_before {
            book.lost_member(0, Cause::Killed, 0);
        }
        let delivery = Delivery {
            number: number as u64,
            member: run.member,
            id: format!("k{}.{}", run.key, run.seq),
            redelivered: run.redelivered,
            replay: run.replay,
            data: Bytes::new(),
        };
        book.begun(&delivery, None, 0);
        book.ended(number as u64, run.ending, 0);
    }
    assert!(book.letter((0, 0)));
    Account::of(&book, u64::try_from(offset).ok(), |_| true)
}

fn lengths() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(2u32..6, 3..8)
}

proptest! {
    #[test]
    fn a_good_run_adds_up(lengths in lengths()) {
        let (runs, half) = good(&lengths);
        let account = told(&lengths, &runs, half);
        prop_assert!(account.adds_up(), "{account:?}");
        prop_assert_eq!(account.dead_lettered, 1);
        prop_assert_eq!(account.replayed, 1);
        prop_assert_eq!(account.duplicates.killed, 1);
    }

    #[test]
    fn an_event_that_is_never_processed_is_lost(lengths in lengths(), at in any::<prop::sample::Index>()) {
        let (mut runs, half) = good(&lengths);
        let done: Vec<usize> = (0..runs.len()).filter(|at| runs[*at].ending == Ending::Done).collect();
        let lost = runs[done[at.index(done.len())]].clone();
        runs.retain(|run| (run.key, run.seq, run.replay) != (lost.key, lost.seq, lost.replay));
        let account = told(&lengths, &runs, half);
        prop_assert!(!account.adds_up());
        prop_assert_eq!(account.lost, [format!("k{}.{}", lost.key, lost.seq)]);
    }

    #[test]
    fn two_events_of_a_key_in_the_wrong_order_are_told(lengths in lengths(), at in any::<prop::sample::Index>()) {
        let (mut runs, half) = good(&lengths);
        let plain = |run: &Run| !run.redelivered && !run.replay && run.key > 0;
        let next = |runs: &[Run], of: usize| {
            (of + 1..runs.len()).find(|at| plain(&runs[*at]) && runs[*at].key == runs[of].key)
        };
        let pairs: Vec<(usize, usize)> = (0..runs.len())
            .filter(|at| plain(&runs[*at]))
            .filter_map(|at| Some((at, next(&runs, at)?)))
            .collect();
        let (one, two) = pairs[at.index(pairs.len())];
        runs.swap(one, two);
        let account = told(&lengths, &runs, half);
        prop_assert!(!account.adds_up());
        prop_assert!(!account.out_of_order.is_empty(), "{account:?}");
    }

    #[test]
    fn an_event_that_comes_again_without_a_cause_is_told(lengths in lengths(), at in any::<prop::sample::Index>()) {
        let (mut runs, half) = good(&lengths);
        let fresh: Vec<usize> = (0..runs.len()).filter(|at| runs[*at].ending == Ending::Done && runs[*at].member == 1).collect();
        let again = runs[fresh[at.index(fresh.len())]].clone();
        runs.push(Run { redelivered: true, ..again.clone() });
        let account = told(&lengths, &runs, half);
        prop_assert!(!account.adds_up());
        prop_assert_eq!(account.duplicates.unexplained, [format!("k{}.{}", again.key, again.seq)]);
    }

    #[test]
    fn a_topic_that_holds_another_number_is_told(lengths in lengths(), held in 0u64..100) {
        let (runs, half) = good(&lengths);
        let account = Account { in_topic: Some(held), ..told(&lengths, &runs, half) };
        prop_assert_eq!(account.adds_up(), held == u64::from(lengths.iter().sum::<u32>()));
    }
}

/// A book with one event, `k.0`, that the brokers have.
fn one() -> Book {
    let mut book = Book::default();
    let event = Event {
        key: "k".to_owned(),
        seq: 0,
        kind: "order.placed",
        data: Bytes::new(),
    };
    let index = book.submitted(event, false, 0);
    book.acknowledged(index, 0, Some(0));
    book
}

fn delivered(book: &mut Book, number: u64, id: &str, data: &'static [u8]) {
    let delivery = Delivery {
        number,
        member: 0,
        id: id.to_owned(),
        redelivered: false,
        replay: false,
        data: Bytes::from_static(data),
    };
    book.begun(&delivery, None, 0);
    book.ended(number, Ending::Done, 0);
}

fn faults(book: &Book) -> Vec<String> {
    let account = Account::of(book, Some(1), |_| true);
    assert_eq!(account.adds_up(), account.faults().is_empty());
    account.faults()
}

#[test]
fn a_letter_of_a_sound_event_is_told_and_so_is_its_replay_that_never_came() {
    let mut book = one();
    assert!(book.letter((0, 0)));
    assert_eq!(
        faults(&book),
        [
            "1 lost: k.0",
            "1 set aside though nothing is wrong with them: k.0"
        ]
    );
}

#[test]
fn what_was_never_published_altered_or_not_acknowledged_is_told() {
    let mut book = one();
    delivered(&mut book, 1, "k.0", b"");
    assert_eq!(faults(&book), Vec::<String>::new());
    delivered(&mut book, 2, "x.0", b"");
    assert_eq!(faults(&book), ["1 handled that were never published"]);
    let mut book = one();
    delivered(&mut book, 1, "k.0", b"other");
    assert_eq!(faults(&book), ["1 handled with other data than was published"]);
    let mut book = one();
    delivered(&mut book, 1, "k.0", b"");
    let mut event = book.entries()[0].event.clone();
    event.key = "l".to_owned();
    book.submitted(event, false, 0);
    assert_eq!(faults(&book), ["1 not acknowledged by the broker"]);
}

#[test]
fn two_events_of_a_key_at_once_are_told() {
    let mut book = Book::default();
    for seq in 0..2 {
        let event = Event {
            key: "k".to_owned(),
            seq,
            kind: "order.placed",
            data: Bytes::new(),
        };
        let index = book.submitted(event, false, 0);
        book.acknowledged(index, 0, Some(i64::from(seq)));
    }
    for number in 0..2 {
        let delivery = Delivery {
            number,
            member: 0,
            id: format!("k.{number}"),
            redelivered: false,
            replay: false,
            data: Bytes::new(),
        };
        book.begun(&delivery, None, 0);
    }
    (0..2).for_each(|number| book.ended(number, Ending::Done, 0));
    let account = Account::of(&book, None, |_| false);
    assert_eq!(account.out_of_order, ["k.1", "k.1 (two at once)"]);
    assert!(!account.adds_up());
}
