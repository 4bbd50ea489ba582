//! Rules 8, 9, 10 and 13: joining, first positions, removal, a lost log.

use std::sync::Arc;

use super::super::{Action, Lost, Member, MemberSettings};
use super::{World, partition, settings, topic};
use crate::group::record::{MemberId, Position, Record, Topics};
use crate::group::rules::Rules;
use crate::progress::Progress;

#[test]
fn the_first_member_founds_the_log_and_starts_all() {
    let mut world = World::new(3);
    world.sit(settings());
    let took = world.until("it has all", |world| world.shares() == [3]);
    assert!(took < 300, "{took} ms");
    assert_eq!(world.kinds(0)[..3], ["found", "join", "assign"]);
    let floor = world.state(0).floor;
    assert!(
        (1_000_000..1_100_000).contains(&floor),
        "the wall clock in µs: {floor}"
    );
    world.run(20);
    assert_eq!(world.seats[0].count(0, |action| *action == Action::Ready), 1);
}

#[test]
fn two_founders_agree_on_the_first_record() {
    let mut world = World::new(2);
    world.sit(settings());
    world.sit(settings());
    world.run(5_000);
    assert_eq!(world.shares(), [1, 1]);
    assert_eq!(world.state(0).hash(), world.state(1).hash());
}

#[test]
fn nothing_starts_before_the_first_position_was_read_back() {
    let mut world = World::new(1);
    world.sit(settings());
    world.seats[0].finds = false;
    world.run(500);
    let find = world.seats[0].story.iter().find_map(|(_, action)| match action {
        Action::FindPosition {
            partition,
            token,
            late,
        } => Some((partition.clone(), *token, *late)),
        _ => None,
    });
    let (partition, token, late) = find.unwrap();
    assert!(!late);
    assert_eq!(world.seats[0].count(0, |action| *action == Action::Ready), 0);
    world.seats[0].withheld = vec!["report"];
    let clock = world.clock();
    world.seats[0].member.found_position(&partition, token, 42, 3);
    world.seats[0].member.tick(clock);
    world.run(2_000);
    assert_eq!(world.shares(), [0]);
    world.seats[0].withheld.clear();
    world.run(3_000);
    assert_eq!(world.seats[0].started[&partition], (token, Progress::at(42, 3)));
    assert_eq!(world.seats[0].count(0, |action| *action == Action::Ready), 1);
}

#[test]
fn a_first_position_is_not_found_twice_under_one_token() {
    let mut world = World::new(1);
    world.sit(settings());
    world.seats[0].finds = false;
    world.until("the position is asked for", |world| {
        world.seats[0].count(0, |action| matches!(action, Action::FindPosition { .. })) == 1
    });
    let token = world.state(0).partitions[&partition(0)].token.unwrap();
    world.seats[0].withheld = vec!["report"];
    let clock = world.clock();
    world.seats[0].member.found_position(&partition(0), token, 42, -1);
    world.seats[0].member.tick(clock);
    // The partition is to move, and then it is not.
    let other = MemberId::random(77);
    let end = world.end();
    world.append(&Record::Join {
        member: other.clone(),
        instance: None,
        host: "host".to_owned(),
        topics: world.topics.clone(),
        session_ms: 60_000,
        speaks: 1,
        read: end,
    });
    for target in [other, world.id(0)] {
        world.run(5);
        let assign = Record::Assign {
            by: world.id(0),
            basis: world.state(0).version,
            changes: [(partition(0), Some(target))].into(),
        };
        world.append(&assign);
        world.run(5);
    }
    // A second answer, by now at another offset, is not heard.
    world.seats[0].member.found_position(&partition(0), token, 99, -1);
    world.seats[0].withheld.clear();
    world.until("it has started", |world| world.shares() == [1]);
    assert_eq!(world.seats[0].started[&partition(0)].1.next, Some(42));
    assert_eq!(
        world.seats[0].count(0, |action| matches!(action, Action::FindPosition { .. })),
        1
    );
}

#[test]
fn a_paused_group_finds_positions_and_starts_when_it_is_resumed() {
    let mut world = World::new(1);
    world.append(&Record::Found { floor: 5, level: 1 });
    let pause = Record::Pause {
        by: "op".to_owned(),
        why: String::new(),
        partition: None,
        seen: Position::ZERO,
    };
    let paused = world.append(&pause);
    world.sit(settings());
    world.run(3_000);
    assert_eq!(world.shares(), [0]);
    assert_eq!(world.state(0).partitions[&partition(0)].progress.next, Some(0));
    let resume = Record::Resume {
        by: "op".to_owned(),
        why: String::new(),
        partition: None,
        seen: paused,
    };
    let resumed = world.append(&resume);
    world.run(20);
    assert_eq!(world.shares(), [1]);
    let since = world.now;
    world.append(&Record::Pause {
        by: "op".to_owned(),
        why: String::new(),
        partition: None,
        seen: resumed,
    });
    world.run(20);
    let pauses = world.seats[0].count(since, |action| matches!(action, Action::Pause { .. }));
    assert_eq!(pauses, 1);
}

#[test]
fn every_resume_is_told_to_who_is_meant_whether_or_not_there_was_a_pause() {
    let mut world = World::with(2, 2);
    world.until("each has one", |world| world.shares() == [1, 1]);
    let resume = |partition| Record::Resume {
        by: "op".to_owned(),
        why: String::new(),
        partition,
        seen: Position::ZERO,
    };
    let told = |world: &World, since| -> Vec<usize> {
        let resumed = |action: &Action| matches!(action, Action::Resumed);
        world
            .seats
            .iter()
            .map(|seat| seat.count(since, resumed))
            .collect()
    };
    let since = world.now;
    world.append(&resume(None));
    world.run(20);
    assert_eq!(told(&world, since), [1, 1]);
    let since = world.now;
    let of_second = world.state(0).owned_by(&world.id(1)).next().cloned();
    world.append(&resume(of_second));
    world.run(20);
    assert_eq!(told(&world, since), [0, 1]);
    // Who comes later reads of them, and was not meant.
    let since = world.now;
    world.sit(settings());
    world.run(5_000);
    assert_eq!(told(&world, since), [0, 0, 0]);
}

#[test]
fn a_skipped_record_is_told_to_its_owner() {
    let mut world = World::with(1, 1);
    let (token, _) = world.seats[0].started[&partition(0)].clone();
    world.append(&Record::Skip {
        by: "op".to_owned(),
        why: String::new(),
        partition: partition(0),
        offset: 5,
        seen: token,
    });
    world.run(20);
    let skip = Action::Skip {
        partition: partition(0),
        token,
        offset: 5,
    };
    assert_eq!(world.seats[0].count(0, |action| *action == skip), 1);
}

#[test]
fn only_what_changed_is_reported() {
    let mut world = World::with(1, 3);
    let since = world.now;
    world.works_to(0, 1, 9);
    let (token, _) = world.seats[0].started[&partition(2)].clone();
    world.seats[0].member.gap(&partition(2), token, 0..4);
    world.run(5_000);
    let reports = world.seats[0].appended(since);
    let entries = reports.iter().filter_map(|record| match record {
        Record::Report(report) => Some(report.entries.len()),
        _ => None,
    });
    let entries: Vec<usize> = entries.collect();
    assert_eq!(entries.len(), 3, "one for what is new, then one each two seconds");
    assert_eq!(entries.iter().sum::<usize>(), 2);
}

fn expire(world: &mut World, index: usize) {
    let member = world.id(index);
    let seen = world.state(index).members[&member].beat;
    let by = member.clone();
    let after_ms = 0;
    world.append(&Record::Expire {
        member,
        seen,
        by,
        after_ms,
    });
    world.run(5);
}

#[test]
fn a_removed_member_joins_under_a_new_id_each_time_later() {
    let mut world = World::with(1, 1);
    let mut waits = Vec::new();
    for _ in 0..7 {
        let before = world.id(0);
        expire(&mut world, 0);
        assert_ne!(world.id(0), before);
        assert!(!world.seats[0].has_lease(world.now));
        waits.push(world.until("it is back", |world| world.seats[0].has_lease(world.now)));
    }
    assert!(waits[0] < 50, "{waits:?}");
    assert!((500..600).contains(&waits[1]), "{waits:?}");
    assert!((1_000..1_100).contains(&waits[2]), "{waits:?}");
    assert!((10_000..10_100).contains(&waits[6]), "{waits:?}");
    let since = world.now;
    world.run(100_100);
    assert_eq!(
        world.seats[0].count(since, |action| matches!(action, Action::Removed { .. })),
        0
    );
    expire(&mut world, 0);
    let wait = world.until("it is back", |world| world.seats[0].has_lease(world.now));
    assert!(wait < 50, "after ten quiet sessions it is forgotten: {wait}");
}

#[test]
fn a_removed_member_waits_for_its_handlers_before_it_starts_again() {
    let mut world = World::with(1, 1);
    world.seats[0].ends = false;
    expire(&mut world, 0);
    world.run(8_000);
    assert_eq!(world.shares(), [0], "World checks that nothing starts before");
    world.end_handlers(0);
    world.run(3_000);
    assert_eq!(world.shares(), [1]);
}

#[test]
fn a_join_that_came_too_late_is_written_anew_under_another_id() {
    let mut world = World::with(1, 1);
    world.sit(settings());
    world.seats[1].withheld = vec!["join"];
    world.run(100);
    let first = world.id(1);
    world.seats[1].reads = false;
    for _ in 0..2_100 {
        world.append_bytes(b"{}".to_vec());
    }
    world.seats[1].withheld.clear();
    world.run(3_000);
    world.seats[1].reads = true;
    world.run(6_000);
    assert_ne!(world.id(1), first);
    assert!(world.state(0).members.contains_key(&world.id(1)));
    assert!(!world.state(0).members.contains_key(&first));
}

#[test]
fn who_lost_its_place_drops_its_state_and_joins_anew() {
    for lost in [Lost::OutOfRange, Lost::Diverged] {
        let mut world = World::with(2, 4);
        let old = world.id(1);
        let clock = world.clock();
        world.epoch = 3;
        let since = world.end();
        world.seats[1].member.log_lost(clock, lost, 0);
        assert_eq!(world.seats[1].member.state().members.len(), 0);
        world.perform(1);
        assert_eq!(world.shares(), [2, 0]);
        world.seats[1].next = 0;
        world.run(3_000);
        assert_ne!(world.id(1), old);
        assert_eq!(world.shares(), [2, 2]);
        assert!(
            !world.state(0).members.contains_key(&old),
            "its former self is not waited for"
        );
        let renewed = world.kinds(since).contains(&"renew");
        assert_eq!(renewed, lost == Lost::Diverged);
    }
}

#[test]
fn an_empty_log_that_may_not_be_founded_is_an_error() {
    let mut world = World::new(1);
    world.sit(MemberSettings {
        found: false,
        ..settings()
    });
    world.run(100);
    let told = world.seats[0].count(
        0,
        |action| matches!(action, Action::Fatal(why) if why.contains("--rebuild")),
    );
    assert_eq!(told, 1);
    assert!(world.log.is_empty());
}

#[test]
fn a_log_without_its_beginning_and_without_a_snapshot_is_an_error() {
    let mut world = World::with(1, 1);
    world.seats.clear();
    world.cut(3);
    world.sit(settings());
    world.run(21_000);
    let told = world.seats[0].count(
        0,
        |action| matches!(action, Action::Fatal(why) if why.contains("--rebuild")),
    );
    assert_eq!(told, 1);
}

#[test]
fn a_lost_log_is_founded_anew_if_that_was_asked_for() {
    let mut world = World::with(1, 1);
    let tokens_before = world.seats[0].started[&partition(0)].0;
    world.seats.clear();
    world.cut(3);
    world.sit(MemberSettings {
        rebuild: true,
        unix_micros: 20_000_000,
        ..settings()
    });
    world.run(30_000);
    assert_eq!(world.shares(), [1]);
    assert!(world.seats[0].started[&partition(0)].0 > tokens_before);
    world.sit(settings());
    world.run(3_000);
    assert_eq!(world.state(0).members.len(), 2, "others can read it from there");
}

#[test]
fn a_build_that_does_not_speak_the_level_says_so() {
    let mut world = World::new(1);
    world.append(&Record::Found { floor: 5, level: 2 });
    world.sit(settings());
    world.run(100);
    let told = world.seats[0].count(
        0,
        |action| matches!(action, Action::Fatal(why) if why.contains("version 2")),
    );
    assert_eq!(told, 1);
}

#[test]
fn unreadable_records_are_counted_and_stop_nobody() {
    let mut world = World::with(1, 1);
    world.append_bytes(b"hello".to_vec());
    world.append_bytes(br#"{"v":9,"type":"report"}"#.to_vec());
    world.run(3_000);
    assert_eq!(world.seats[0].member.unreadable(), 2);
    assert!(world.seats[0].has_lease(world.now));
}

#[test]
fn a_pattern_without_a_topic_waits_for_the_first() {
    let mut world = World::new(1);
    let mut member = Member::new(settings(), 9, Rules::all(), world.clock());
    member.topics_seen(Topics::new());
    let now = world.clock();
    member.log_at(now, 0, 0);
    member.tick(now);
    assert_eq!(member.take_actions(), []);
    member.topics_seen(Topics::from([(Arc::from("new"), topic(3, 1))]));
    member.tick(now);
    assert_eq!(member.take_actions().len(), 1);
    world.run(5);
}
