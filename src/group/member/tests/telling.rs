//! What a start says of the owners before it, and which reports are told of.

use super::super::{Action, MemberSettings};
use super::{World, partition, settings};

/// Whether the last start of the one partition was a clean one.
fn was_clean(world: &World, seat: usize) -> bool {
    let mut starts = world.seats[seat]
        .story
        .iter()
        .filter_map(|(_, action)| match action {
            Action::Start { clean, .. } => Some(*clean),
            _ => None,
        });
    starts.next_back().expect("it was started")
}

/// A seat takes over when the one before it has left.
fn follow(world: &mut World, leaving: usize) -> usize {
    let clock = world.clock();
    world.seats[leaving].member.leave(clock);
    let next = world.sit(settings());
    world.until("the next one has it", |world| {
        world.seats[next].started.len() == 1
    });
    next
}

#[test]
fn nobody_has_begun_what_was_never_owned_or_was_given_up_in_order() {
    let mut world = World::with(1, 1);
    assert!(was_clean(&world, 0));
    world.works_to(0, 0, 10);
    world.run(2_000);
    let next = follow(&mut world, 0);
    assert!(was_clean(&world, next));
}

#[test]
fn what_a_dead_owner_had_is_unsure_until_the_next_one_has_reported() {
    let mut world = World::with(1, 1);
    world.works_to(0, 0, 10);
    world.run(2_000);
    world.seats[0].runs = false;
    let second = world.sit(settings());
    world.until("it is taken over", |world| world.seats[second].started.len() == 1);
    assert!(!was_clean(&world, second));
    // It has done nothing and says nothing.
    let (token, progress) = world.seats[second].started[&partition(0)].clone();
    world.seats[second]
        .member
        .progress(&partition(0), token, progress);
    world.run(2_000);
    let third = follow(&mut world, second);
    assert!(!was_clean(&world, third));
    world.works_to(third, 0, 11);
    world.run(2_000);
    let fourth = follow(&mut world, third);
    assert!(was_clean(&world, fourth));
}

#[test]
fn a_report_is_told_of_when_it_was_read_back_and_only_if_that_was_asked_for() {
    for tell_reports in [true, false] {
        let mut world = World::new(1);
        world.sit(MemberSettings {
            tell_reports,
            ..settings()
        });
        world.run(5_000);
        let since = world.now;
        world.seats[0].reads = false;
        world.works_to(0, 0, 10);
        let reported = |world: &World| {
            world.seats[0].count(
                since,
                |action| matches!(action, Action::Reported { progress, .. } if progress.next == Some(10)),
            )
        };
        world.run(1_500);
        assert_eq!(reported(&world), 0, "it is written, and not read");
        world.seats[0].reads = true;
        world.run(1_000);
        assert_eq!(reported(&world), usize::from(tell_reports));
    }
}
