use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::dead_letter::ledger::{Ledger, Place, State};
use crate::dead_letter::resolution::{Kind, Resolution};

#[derive(Debug, Clone)]
enum Entry {
    Letter(String, u32),
    Resolution(String, u32, Kind),
}

fn resolution(id: &str, replays: u32, kind: Kind) -> Resolution {
    Resolution {
        id: id.to_owned(),
        kind,
        replays,
        by: String::new(),
        why: String::new(),
        to: None,
    }
}

/// A ledger of the entries of each partition from an offset on.
fn ledger(partitions: &[(i64, &[Entry])]) -> Ledger<()> {
    let mut ledger = Ledger::default();
    for (partition, (start, entries)) in (0..).zip(partitions) {
        for (offset, entry) in (0..).zip(*entries).filter(|(offset, _)| offset >= start) {
            let place = Place { partition, offset };
            match entry {
                Entry::Letter(id, replays) => ledger.letter(id.clone(), *replays, place, ()),
                Entry::Resolution(id, up_to, kind) => {
                    ledger.resolution(&resolution(id, *up_to, *kind), place)
                }
            }
        }
    }
    ledger
}

fn letter(id: &str, replays: u32) -> Entry {
    Entry::Letter(id.to_owned(), replays)
}

fn replayed(id: &str, up_to: u32) -> Entry {
    Entry::Resolution(id.to_owned(), up_to, Kind::Replayed)
}

fn states(ledger: &Ledger<()>) -> Vec<(String, State, usize)> {
    ledger
        .letters()
        .map(|letter| (letter.id.to_owned(), letter.state, letter.copies))
        .collect()
}

#[test]
fn copies_of_a_letter_are_one_letter() {
    let found = states(&ledger(&[(0, &[letter("a", 0), letter("b", 0), letter("a", 0)])]));
    assert_eq!(
        found,
        [("a".to_owned(), State::Open, 2), ("b".to_owned(), State::Open, 1)]
    );
}

#[test]
fn a_copy_that_comes_after_the_replay_stays_dealt_with() {
    let found = states(&ledger(&[(
        0,
        &[letter("a", 0), replayed("a", 0), letter("a", 0)],
    )]));
    assert_eq!(found, [("a".to_owned(), State::Resolved(Kind::Replayed), 2)]);
}

#[test]
fn a_letter_that_fails_again_after_its_replay_is_open_again() {
    let found = states(&ledger(&[(
        0,
        &[letter("a", 0), replayed("a", 0), letter("a", 1)],
    )]));
    assert_eq!(found, [("a".to_owned(), State::Open, 2)]);
}

#[test]
fn a_purge_stops_at_the_first_open_letter() {
    let entries = [
        letter("a", 0),
        replayed("a", 0),
        letter("b", 0),
        letter("c", 0),
        replayed("c", 0),
    ];
    let ledger = ledger(&[(0, &entries), (0, &[letter("d", 0)])]);
    let points = ledger.purge_points(&BTreeMap::from([(0, 5), (1, 1)]));
    assert_eq!(points, BTreeMap::from([(0, 2), (1, 0)]));
}

#[test]
fn a_purge_keeps_the_resolution_of_a_copy_that_stays() {
    let entries = [letter("a", 0), replayed("a", 0), letter("b", 0), letter("a", 0)];
    let points = ledger(&[(0, &entries)]).purge_points(&BTreeMap::from([(0, 4)]));
    assert_eq!(points, BTreeMap::from([(0, 1)]));
}

fn entry() -> impl Strategy<Value = Entry> {
    let id = proptest::sample::select(vec!["a", "b", "c", "d"]);
    (id, 0..3_u32, 0..3_u8).prop_map(|(id, replays, what)| match what {
        0 => letter(id, replays),
        1 => replayed(id, replays),
        _ => Entry::Resolution(id.to_owned(), replays, Kind::Discarded),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_purge_opens_nothing_and_takes_nothing_open(first in vec(entry(), 0..12), second in vec(entry(), 0..12)) {
        let ends = BTreeMap::from([(0, first.len() as i64), (1, second.len() as i64)]);
        let before = ledger(&[(0, &first), (0, &second)]);
        let points = before.purge_points(&ends);
        let after = ledger(&[(points[&0], &first), (points[&1], &second)]);
        let open = |ledger: &Ledger<()>| -> Vec<String> {
            let open = ledger.letters().filter(|letter| letter.state == State::Open);
            open.map(|letter| letter.id.to_owned()).collect()
        };
        prop_assert_eq!(open(&before), open(&after));
        // What is left begins with something that is needed, or is empty.
        prop_assert!(points.iter().all(|(partition, point)| *point <= ends[partition]));
    }

    #[test]
    fn the_order_of_reading_does_not_matter(entries in vec(entry(), 0..12)) {
        let mut backwards = Ledger::default();
        for (offset, entry) in (0..).zip(&entries).collect::<Vec<_>>().into_iter().rev() {
            let place = Place { partition: 0, offset };
            match entry {
                Entry::Letter(id, replays) => backwards.letter(id.clone(), *replays, place, ()),
                Entry::Resolution(id, up_to, kind) => backwards.resolution(&resolution(id, *up_to, *kind), place),
            }
        }
        prop_assert_eq!(states(&ledger(&[(0, &entries)])), states(&backwards));
    }
}
