//! Rules 5, 6 and 8: tokens, hand-over, leaving.

use super::super::{Action, MemberSettings};
use super::{World, partition, settings};
use crate::group::record::Record;
use crate::progress::Progress;

fn is_drain(action: &Action) -> bool {
    matches!(action, Action::Drain { .. })
}

fn is_start(action: &Action) -> bool {
    matches!(action, Action::Start { .. })
}

#[test]
fn a_joining_member_gets_its_share_and_nothing_else_pauses() {
    let mut world = World::with(1, 4);
    let since = world.now;
    for number in 0..4 {
        world.works_to(0, number, 10);
    }
    world.sit(settings());
    let took = world.until("it has its share", |world| world.shares() == [2, 2]);
    assert!(took < 400, "{took} ms");
    assert_eq!(world.seats[0].count(since, is_drain), 2);
    assert_eq!(world.seats[0].count(since, is_start), 0);
    for (_, progress) in world.seats[1].started.values() {
        assert_eq!(
            progress.next,
            Some(10),
            "the last progress comes with the release"
        );
    }
}

#[test]
fn the_next_owner_starts_only_when_the_last_handler_has_ended() {
    let mut world = World::with(1, 2);
    world.seats[0].ends = false;
    world.sit(settings());
    world.run(2_000);
    assert_eq!(world.shares(), [1, 0]);
    world.end_handlers(0);
    let took = world.until("it is handed over", |world| world.shares() == [1, 1]);
    assert!(took <= 50, "{took} ms");
}

#[test]
fn a_drain_ends_in_cancelling() {
    let mut world = World::with(1, 2);
    world.seats[0].ends = false;
    world.sit(settings());
    let since = world.now;
    world.until("it is cancelled", |world| {
        world.seats[0].count(since, |action| matches!(action, Action::Cancel { .. })) == 1
    });
    assert!(world.now >= since + 3_000 && world.now < since + 3_600);
}

#[test]
fn a_partition_whose_next_owner_died_before_the_release_goes_on() {
    let mut world = World::with(1, 2);
    world.seats[0].ends = false;
    world.sit(settings());
    world.run(1_000);
    let (moving, token) = world.seats[0].to_end[0].clone();
    world.seats[1].runs = false;
    world.seats[1].member.take_actions();
    let id = world.id(1);
    // The drain is cancelled long before; its handlers take their time.
    world.until("the other is expired", |world| {
        !world.state(0).members.contains_key(&id)
    });
    world.run(500);
    world.end_handlers(0);
    world.run(100);
    assert_eq!(
        world.seats[0].started[&moving].0, token,
        "no release was sent: the same ownership goes on"
    );
}

#[test]
fn nothing_starts_under_a_token_whose_release_was_sent() {
    let mut world = World::with(1, 2);
    world.seats[0].ends = false;
    world.sit(settings());
    let since = world.now;
    world.until("it drains", |world| world.seats[0].count(since, is_drain) == 1);
    let (_, drained) = world.seats[0].to_end[0].clone();
    let (end, id) = (world.end(), world.id(0));
    world.until("nothing of its own is on its way", |world| {
        let own = |record: Record| matches!(record, Record::Report(report) if report.member == id);
        world.records(end).into_iter().any(own)
    });
    world.run(5);
    world.seats[0].withheld = vec!["report"];
    world.end_handlers(0);
    let last = world.seats[0].appended(since).pop();
    assert!(matches!(last, Some(Record::Report(report)) if report.released.len() == 1));
    world.seats[0].ends = true;
    world.seats[1].runs = false;
    let leave = Record::Expire {
        member: world.id(1),
        seen: world.state(0).members[&world.id(1)].beat,
        by: world.id(0),
        after_ms: 0,
    };
    world.append(&leave);
    world.run(1_000);
    world.seats[0].withheld.clear();
    world.run(3_000);
    let again = world.seats[0].count(
        since,
        |action| matches!(action, Action::Start { token, .. } if *token == drained),
    );
    assert_eq!(again, 0);
    assert_eq!(world.shares()[0], 2, "it comes back under a new token");
}

#[test]
fn a_reset_ends_the_old_handlers_before_the_new_start() {
    let mut world = World::with(1, 1);
    world.works_to(0, 0, 50);
    world.run(2_000);
    world.seats[0].ends = false;
    let (token, _) = world.seats[0].started[&partition(0)].clone();
    let since = world.now;
    world.append(&Record::Reset {
        by: "op".to_owned(),
        why: "test".to_owned(),
        partitions: vec![(partition(0), Some(7), token)],
    });
    world.run(500);
    assert_eq!(world.shares(), [0]);
    let cancel = Action::Cancel {
        partition: partition(0),
        token,
    };
    assert_eq!(world.seats[0].count(since, |action| *action == cancel), 1);
    // What the old handlers still say is not heard.
    world.seats[0]
        .member
        .progress(&partition(0), token, Progress::at(99, -1));
    world.end_handlers(0);
    world.run(100);
    let (new, progress) = world.seats[0].started[&partition(0)].clone();
    assert!(new > token);
    assert_eq!(progress.next, Some(7));
    world.run(2_000);
    assert_eq!(world.state(0).partitions[&partition(0)].progress.next, Some(7));
}

#[test]
fn a_reset_during_a_hand_over_is_released_under_its_new_token() {
    let mut world = World::with(1, 2);
    world.sit(settings());
    world.seats[0].withheld = vec!["report"];
    let since = world.now;
    world.until("it drains", |world| world.seats[0].count(since, is_drain) == 1);
    world.run(50);
    let moving = world.seats[0]
        .story
        .iter()
        .rev()
        .find_map(|(_, action)| match action {
            Action::Drain { partition, token } => Some((partition.clone(), *token)),
            _ => None,
        });
    let (moving, token) = moving.unwrap();
    world.append(&Record::Reset {
        by: "op".to_owned(),
        why: "test".to_owned(),
        partitions: vec![(moving.clone(), Some(3), token)],
    });
    world.run(50);
    world.seats[0].withheld.clear();
    world.run(3_000);
    assert_eq!(world.shares(), [1, 1]);
    assert_eq!(world.seats[1].started[&moving].1.next, Some(3));
}

#[test]
fn a_renewed_token_ends_the_old_handlers_first() {
    let mut world = World::with(1, 1);
    let (token, _) = world.seats[0].started[&partition(0)].clone();
    world.epoch = 5;
    world.append(&Record::Renew { by: world.id(0) });
    world.run(100);
    assert!(world.seats[0].started[&partition(0)].0 > token);
}

#[test]
fn a_leaving_member_works_until_its_partitions_have_another_target() {
    let mut world = World::with(3, 6);
    let leaver = 0;
    let clock = world.clock();
    world.seats[leaver].member.leave(clock);
    let since = world.now;
    world.until("it drains", |world| {
        world.seats[leaver].count(since, is_drain) > 0
    });
    assert!(
        world.now - since >= 100,
        "it went on until the leader, itself, had planned"
    );
    let took = world.until("it has left", |world| {
        world.seats[leaver].count(since, |action| *action == Action::Left) == 1
    });
    assert!(took < 300, "{took} ms");
    assert_eq!(world.shares(), [0, 3, 3]);
    assert!(!world.kinds(0).contains(&"expire"));
    let last = world
        .records(0)
        .into_iter()
        .rfind(|record| record.kind() == "leave");
    assert!(matches!(last, Some(Record::Leave(report)) if report.released.is_empty()));
}

#[test]
fn the_last_member_drains_and_leaves_at_once() {
    let mut world = World::with(1, 3);
    for number in 0..3 {
        world.works_to(0, number, 40);
    }
    let clock = world.clock();
    world.seats[0].member.leave(clock);
    world.run(100);
    assert!(matches!(world.seats[0].story.last(), Some((_, Action::Left))));
    let Some(Record::Leave(report)) = world.records(0).pop() else {
        panic!("no leave");
    };
    assert_eq!(report.entries.len(), 3, "its last progress goes with it");
}

#[test]
fn nothing_is_read_or_done_after_left() {
    let mut world = World::with(1, 1);
    let clock = world.clock();
    world.seats[0].member.leave(clock);
    world.run(200);
    let count = world.seats[0].story.len();
    world.run(20_000);
    assert_eq!(world.seats[0].story.len(), count);
}

#[test]
fn a_member_that_cannot_reach_the_log_leaves_all_the_same() {
    let mut world = World::with(2, 2);
    world.seats[1].writes = false;
    world.seats[1].reads = false;
    world.run(1_500);
    let clock = world.clock();
    let since = world.now;
    world.seats[1].member.leave(clock);
    world.until("it has left", |world| {
        world.seats[1].count(since, |action| *action == Action::Left) == 1
    });
    assert!(world.now <= since + 16_000, "{} ms", world.now - since);
    assert_eq!(
        world.seats[1].count(since, |action| matches!(action, Action::Warn(_))),
        1
    );
}

#[test]
fn a_handler_that_cannot_be_cancelled_does_not_hold_up_leaving() {
    let mut world = World::with(1, 1);
    world.seats[0].ends = false;
    let clock = world.clock();
    let since = world.now;
    world.seats[0].member.leave(clock);
    world.until("it has left", |world| {
        world.seats[0].count(since, |action| *action == Action::Left) == 1
    });
    assert!(
        (4_000..=4_100).contains(&(world.now - since)),
        "{}",
        world.now - since
    );
}

#[test]
fn partitions_wait_for_their_instance_within_its_grace() {
    let named = |name: &str| MemberSettings {
        instance: Some(name.to_owned()),
        grace: 20_000,
        ..settings()
    };
    let mut world = World::new(4);
    world.sit(named("a"));
    world.sit(named("b"));
    world.run(5_000);
    let of_b: Vec<_> = world.seats[1].started.keys().cloned().collect();
    let clock = world.clock();
    world.seats[1].member.leave(clock);
    world.run(5_000);
    assert_eq!(world.shares(), [2, 0], "they are held back");
    world.sit(named("b"));
    world.run(1_000);
    assert_eq!(world.seats[2].started.keys().cloned().collect::<Vec<_>>(), of_b);
    let clock = world.clock();
    world.seats[2].member.leave(clock);
    world.until("the grace is over", |world| world.shares()[0] == 4);
}
