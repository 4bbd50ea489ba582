use super::*;

fn event(key: &str, seq: u32) -> Event {
    Event {
        key: key.to_owned(),
        seq,
        kind: "order.placed",
        data: Bytes::from_static(b"{}"),
    }
}

fn delivery(number: u64, member: usize, id: &str) -> Delivery {
    Delivery {
        number,
        member,
        id: id.to_owned(),
        redelivered: false,
        replay: false,
        data: Bytes::from_static(b"{}"),
    }
}

#[test]
fn an_event_is_unfinished_until_it_is_processed_or_has_a_letter() {
    let mut book = Book::default();
    let one = book.submitted(event("a", 0), false, 5);
    let two = book.submitted(event("b", 0), true, 7);
    book.acknowledged(one, 0, Some(0));
    book.acknowledged(two, 1, Some(0));
    assert_eq!((book.published(), book.oldest_unfinished()), (2, Some(5)));
    book.begun(&delivery(1, 0, "a.0"), Some((0, 0)), 8);
    book.ended(1, Ending::Failed(500), 9);
    assert_eq!((book.failed(), book.oldest_unfinished()), (1, Some(5)));
    book.begun(&delivery(2, 0, "a.0"), Some((0, 0)), 10);
    book.ended(2, Ending::Done, 11);
    assert_eq!((book.finished(), book.oldest_unfinished()), (1, Some(7)));
    assert!(book.letter((1, 0)) && !book.letter((2, 0)));
    assert_eq!((book.unfinished(), book.letters()), (0, 1));
}

#[test]
fn a_place_is_learnt_from_the_handler_if_the_acknowledgement_had_none() {
    let mut book = Book::default();
    let index = book.submitted(event("a", 0), true, 0);
    book.acknowledged(index, 3, None);
    assert!(!book.letter((3, 9)));
    book.begun(&delivery(1, 0, "a.0"), Some((3, 9)), 1);
    assert!(book.letter((3, 9)));
}

#[test]
fn what_was_never_published_and_what_was_altered_is_counted() {
    let mut book = Book::default();
    book.submitted(event("a", 0), false, 0);
    book.begun(&delivery(1, 0, "x.0"), None, 1);
    let mut altered = delivery(2, 0, "a.0");
    altered.data = Bytes::from_static(b"[]");
    book.begun(&altered, None, 1);
    assert_eq!((book.strangers(), book.altered()), (1, 1));
}

#[test]
fn only_a_redelivery_after_the_loss_of_the_member_before_has_a_cause() {
    let mut book = Book::default();
    book.submitted(event("a", 0), false, 0);
    book.begun(&delivery(1, 0, "a.0"), None, 1);
    book.ended(1, Ending::Done, 2);
    book.lost_member(0, Cause::Killed, 2);
    let mut again = delivery(2, 1, "a.0");
    again.redelivered = true;
    book.begun(&again, None, 3);
    book.begun(&delivery(3, 1, "a.0"), None, 3);
    let [first, told, silent] = book.attempts() else {
        panic!("{book:?}");
    };
    assert_eq!(book.cause(first, told), Some(Cause::Killed));
    assert_eq!(book.cause(first, silent), None);
    assert_eq!(book.cause(told, told), None, "member 1 was not lost");
}

#[test]
fn what_was_done_long_before_a_member_was_lost_has_no_cause_to_come_again() {
    let mut book = Book::default();
    book.submitted(event("a", 0), false, 0);
    book.begun(&delivery(1, 0, "a.0"), None, 1);
    book.ended(1, Ending::Done, 2);
    book.lost_member(0, Cause::Killed, 2 + UNREPORTED + 1);
    let mut again = delivery(2, 1, "a.0");
    again.redelivered = true;
    book.begun(&again, None, 3 + UNREPORTED);
    assert_eq!(book.cause(&book.attempts()[0], &book.attempts()[1]), None);
}

#[test]
fn what_was_answered_on_a_connection_that_was_closed_then_may_come_again_soon_if_it_says_so() {
    let mut book = Book::default();
    book.submitted(event("a", 0), false, 0);
    book.begun(&delivery(1, 0, "a.0"), None, 1);
    book.ended(1, Ending::Done, 2);
    let mut again = delivery(2, 0, "a.0");
    book.begun(&again, None, 4);
    again.redelivered = true;
    book.begun(&again, None, 5);
    book.begun(&again, None, 6 + UNREPORTED);
    assert_eq!(book.cause(&book.attempts()[0], &book.attempts()[2]), None);
    book.unread(1, 3);
    let of = |at: usize| book.cause(&book.attempts()[0], &book.attempts()[at]);
    assert_eq!((of(1), of(2), of(3)), (None, Some(Cause::Unread), None));
}

#[test]
fn what_goes_on_beside_a_poisoned_event_is_counted() {
    let mut book = Book::default();
    let poison = book.submitted(event("p", 0), true, 0);
    book.acknowledged(poison, 0, Some(0));
    let later = book.submitted(event("p", 1), false, 0);
    book.acknowledged(later, 0, Some(1));
    for (n, partition) in [(0, 0), (1, 1)] {
        let index = book.submitted(event(&format!("k{n}"), 0), false, 0);
        book.acknowledged(index, partition, Some(2));
    }
    let mut number = 0;
    let mut run = |book: &mut Book, id: &str, ending, at| {
        number += 1;
        book.begun(&delivery(number, 0, id), None, at);
        book.ended(number, ending, at);
    };
    run(&mut book, "p.0", Ending::Failed(500), 100);
    run(&mut book, "k0.0", Ending::Done, 150);
    run(&mut book, "k1.0", Ending::Done, 250);
    run(&mut book, "p.0", Ending::Failed(500), 300);
    book.letter((0, 0));
    run(&mut book, "p.1", Ending::Done, 400);
    let expected = PoisonSeen {
        attempts: 2,
        letter: true,
        others: 2,
        beside: 1,
        longest_pause: 100,
        later: 1,
    };
    assert_eq!(book.poison(poison, 500), expected);
}
