//! Rules 7 and 11: what the leader decides, and when its deputies do.

use std::sync::Arc;

use super::super::{Action, MemberSettings};
use super::{World, partition, settings, topic};
use crate::group::record::{MemberId, Record, Topics};

fn join(number: u64) -> impl Fn(i64) -> Record {
    move |read| Record::Join {
        member: MemberId::random(number),
        instance: None,
        host: "host".to_owned(),
        topics: Topics::from([(Arc::from("t"), topic(1, 4))]),
        session_ms: 60_000,
        speaks: 1,
        read,
    }
}

#[test]
fn an_assignment_is_written_100_ms_after_the_last_change() {
    let mut world = World::with(1, 4);
    let since = world.end();
    for number in 100..105 {
        let end = world.end();
        world.append(&join(number)(end));
        world.run(80);
    }
    assert!(!world.kinds(since).contains(&"assign"));
    world.run(30);
    assert_eq!(
        world
            .kinds(since)
            .iter()
            .filter(|kind| **kind == "assign")
            .count(),
        1
    );
}

#[test]
fn an_assignment_is_written_3_s_after_the_first_change_at_most() {
    let mut world = World::with(1, 4);
    let since = world.end();
    let began = world.now;
    let mut number = 100;
    while !world.kinds(since).contains(&"assign") {
        let end = world.end();
        world.append(&join(number)(end));
        world.run(80);
        number += 1;
    }
    assert!(
        (2_900..3_150).contains(&(world.now - began)),
        "{}",
        world.now - began
    );
}

#[test]
fn a_plan_that_changes_nothing_is_not_written() {
    let mut world = World::with(3, 2);
    let since = world.end();
    world.run(10_000);
    assert!(!world.kinds(since).contains(&"assign"));
    assert_eq!(
        world.seats[2].count(0, |action| *action == Action::Ready),
        1,
        "with nothing to own it is ready"
    );
}

#[test]
fn a_deputy_assigns_when_the_leader_does_not() {
    let mut world = World::with(2, 4);
    world.seats[0].withheld = vec!["assign"];
    world.sit(settings());
    let took = world.until("the deputy has assigned", |world| world.shares()[2] > 0);
    assert!((5_000..5_500).contains(&took), "after half a session: {took}");
    let by = world
        .records(0)
        .into_iter()
        .rev()
        .find_map(|record| match record {
            Record::Assign { by, .. } => Some(by),
            _ => None,
        });
    assert_eq!(by, Some(world.id(1)));
}

#[test]
fn new_partitions_are_taken_in_as_late() {
    let mut world = World::with(2, 2);
    let topics = Topics::from([(Arc::from("t"), topic(1, 4))]);
    let since = world.now;
    let end = world.end();
    for seat in &mut world.seats {
        seat.member.topics_seen(topics.clone());
    }
    world.run(1_000);
    assert_eq!(world.shares(), [2, 2]);
    assert_eq!(world.kinds(end).iter().filter(|kind| **kind == "grow").count(), 1);
    for seat in &world.seats {
        let late = seat.count(since, |action| {
            matches!(action, Action::FindPosition { late: true, .. })
        });
        assert_eq!(late, 1);
    }
}

#[test]
fn a_deputy_tells_of_growth_when_the_first_subscriber_does_not() {
    let mut world = World::with(2, 2);
    let topics = Topics::from([(Arc::from("t"), topic(1, 3))]);
    world.seats[1].member.topics_seen(topics);
    let took = world.until("it has grown", |world| world.state(0).partitions.len() == 3);
    assert!((5_000..5_200).contains(&took), "{took}");
}

#[test]
fn a_topic_made_anew_is_begun_anew_and_old_metadata_does_not_bring_it_back() {
    let mut world = World::with(2, 2);
    world.works_to(0, 0, 50);
    world.run(2_000);
    let anew = Topics::from([(Arc::from("t"), topic(2, 2))]);
    let since = world.now;
    world.seats[0].member.topics_seen(anew.clone());
    world.run(8_000);
    let state = &world.state(1).partitions[&partition(0)];
    assert_eq!((state.progress.next, state.late), (Some(0), true));
    let asked = world.seats[0].count(since, |action| {
        matches!(action, Action::FindPosition { late: true, .. })
    });
    assert_eq!(asked, 1);
    assert_eq!(world.state(0).topics.get("t").unwrap().id, [2; 16]);
    assert_eq!(world.kinds(0).iter().filter(|kind| **kind == "grow").count(), 1);
}

#[test]
fn metadata_older_than_what_the_group_knows_changes_no_topic() {
    let mut world = World::with(2, 2);
    let of = |id| Topics::from([(Arc::from("t"), topic(id, 2))]);
    // It was made anew twice; the first member has seen the last, the second the one between.
    world.seats[1].member.topics_seen(of(2));
    world.seats[0].member.topics_seen(of(3));
    world.run(900);
    world.seats[1].member.topics_seen(of(2));
    world.run(6_000);
    assert_eq!(world.state(0).topics.get("t").unwrap().id, [3; 16]);
    // What it has looked up long after is news.
    world.seats[1].member.topics_seen(of(4));
    world.run(6_000);
    assert_eq!(world.state(0).topics.get("t").unwrap().id, [4; 16]);
}

#[test]
fn a_patterns_new_topic_is_subscribed_to_and_read_from_its_beginning() {
    let mut world = World::new(2);
    let pattern = || MemberSettings {
        pattern: true,
        ..settings()
    };
    world.sit(pattern());
    world.run(3_000);
    let both = Topics::from([(Arc::from("t"), topic(1, 2)), (Arc::from("u"), topic(7, 2))]);
    let since = world.now;
    world.seats[0].member.topics_seen(both.clone());
    world.run(1_000);
    let late = |world: &World, index: usize| {
        world.seats[index].count(since, |action| {
            matches!(action, Action::FindPosition { late: true, .. })
        })
    };
    assert_eq!(late(&world, 0), 2);
    assert_eq!(world.shares(), [4]);
    // One that joins with a topic which the group does not know subscribes to it after its join.
    world.topics = both;
    world.topics.insert(Arc::from("w"), topic(8, 2));
    world.sit(pattern());
    world.run(3_000);
    assert_eq!(late(&world, 1), 2, "of the new topic; the others have positions");
    assert_eq!(
        world.kinds(0).iter().filter(|kind| **kind == "subscribe").count(),
        2
    );
}

#[test]
fn a_topic_that_is_not_subscribed_to_any_more_is_given_up() {
    let mut world = World::new(2);
    world.topics.insert(Arc::from("u"), topic(7, 2));
    world.sit(settings());
    world.run(3_000);
    let only = Topics::from([(Arc::from("u"), topic(7, 2))]);
    world.seats[0].member.topics_seen(only);
    world.run(3_000);
    assert_eq!(world.shares(), [2]);
    assert_eq!(world.state(0).partitions[&partition(0)].owner, None);
}
