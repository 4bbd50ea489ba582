//! The log stays short, and can be begun to be read at any time.

use super::super::{Action, MemberSettings};
use super::{World, settings};
use crate::group::record::{Record, Report};

fn small() -> MemberSettings {
    MemberSettings {
        snapshot_bytes: 20_000,
        ..settings()
    }
}

fn busy(world: &mut World, ms: u64) {
    let end = world.now + ms;
    while world.now < end {
        for index in 0..world.seats.len() {
            let numbers: Vec<i32> = world.seats[index]
                .started
                .keys()
                .map(|(_, number)| *number)
                .collect();
            for number in numbers {
                let next = i64::try_from(world.now).unwrap();
                world.works_to(index, number, next);
            }
        }
        world.run(100);
    }
}

fn small_world(members: usize) -> World {
    let mut world = World::new(4);
    for _ in 0..members {
        world.sit(small());
        world.run(50);
    }
    busy(&mut world, 200_000);
    world
}

#[test]
fn the_log_is_cut_at_the_mark_of_the_snapshot_before_the_last() {
    let world = small_world(2);
    assert!(world.start > 0, "{} records", world.end());
    assert!(world.log.iter().map(|(_, payload)| payload.len()).sum::<usize>() < 100_000);
    let kinds = world.kinds(world.start);
    assert_eq!(kinds[0], "mark");
    assert!(kinds.iter().filter(|kind| **kind == "mark").count() >= 2);
    let parts = kinds.iter().filter(|kind| **kind == "part").count();
    assert!(parts >= 2, "two complete snapshots are there");
}

#[test]
fn a_new_member_takes_a_snapshot_and_what_follows_its_mark() {
    let mut world = small_world(2);
    let old: Vec<_> = world.shares();
    assert_eq!(old, [2, 2]);
    world.sit(small());
    world.run(5_000);
    assert_eq!(world.state(2).hash(), world.state(0).hash());
    assert_eq!(world.shares().iter().sum::<usize>(), 4);
    assert!(world.shares()[2] >= 1);
    world.seats[0].runs = false;
    world.seats[0].started.clear();
    world.run(15_000);
    assert_eq!(world.shares().iter().sum::<usize>(), 4);
    busy(&mut world, 100_000);
    assert_eq!(world.state(2).hash(), world.state(1).hash());
}

#[test]
fn a_reader_that_was_overtaken_by_the_cut_begins_again() {
    let mut world = small_world(2);
    world.seats[1].reads = false;
    let old = world.id(1);
    busy(&mut world, 320_000);
    let start = world.start;
    assert!(start > world.seats[1].next);
    world.seats[1].reads = true;
    busy(&mut world, 20_000);
    assert_ne!(world.id(1), old);
    assert_eq!(world.shares(), [2, 2]);
}

#[test]
fn a_deputy_writes_the_snapshot_that_the_leader_does_not() {
    let mut world = World::new(4);
    world.sit(small());
    world.run(50);
    world.sit(small());
    world.seats[0].withheld = vec!["mark", "part"];
    busy(&mut world, 200_000);
    assert!(world.start > 0);
    assert_eq!(world.kinds(world.start)[0], "mark");
}

#[test]
fn a_snapshot_that_its_writer_did_not_finish_is_written_anew() {
    let mut world = World::new(4);
    world.sit(small());
    world.run(50);
    world.sit(small());
    world.seats[0].withheld = vec!["part"];
    busy(&mut world, 300_000);
    assert!(world.kinds(world.start).contains(&"part"));
}

fn vote(world: &mut World, by: usize, hash: u64) {
    let member = world.id(by);
    let mark = world.state(0).mark.unwrap();
    let n = world.state(0).members[&member].n + 1_000;
    world.append(&Record::Report(Report {
        member,
        n,
        entries: Vec::new(),
        released: Vec::new(),
        mark: Some((mark.at, hash)),
    }));
}

#[test]
fn a_member_whose_state_differs_from_most_others_stops() {
    let mut world = small_world(3);
    let fatal = |world: &World| -> Vec<usize> {
        let is_fatal = |action: &Action| matches!(action, Action::Fatal(_));
        world.seats.iter().map(|seat| seat.count(0, is_fatal)).collect()
    };
    vote(&mut world, 1, 7);
    world.run(5);
    assert_eq!(fatal(&world), [0, 0, 0], "one of three is not most");
    vote(&mut world, 2, 7);
    world.run(5);
    assert_eq!(fatal(&world)[0], 1);
}

#[test]
fn a_disputed_mark_cuts_nothing() {
    let mut world = small_world(2);
    let mark = world.state(0).mark.unwrap().at;
    world.seats[0].withheld = vec!["part"];
    let mut waits = 0..2_000;
    while world.state(0).mark.unwrap().at == mark && waits.next().is_some() {
        busy(&mut world, 50);
    }
    assert_ne!(world.state(0).mark.unwrap().at, mark);
    vote(&mut world, 1, 7);
    world.seats[0].withheld.clear();
    let (start, end) = (world.start, world.end());
    world.run(8_000);
    assert_eq!(world.start, start);
    assert!(!world.kinds(end).contains(&"part"));
    assert_eq!(
        world.seats[0].count(0, |action| matches!(action, Action::Warn(_))),
        1
    );
}
