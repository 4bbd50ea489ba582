//! Rules 1, 2, 3 and 4: leases, one record in flight, expiry.

use super::super::{Action, AppendFailed, AppendId};
use super::{World, partition, settings};
use crate::group::record::Record;

#[test]
fn a_lease_runs_from_the_first_sending_once_the_record_was_read_back() {
    let mut world = World::with(1, 1);
    world.sit(settings());
    world.run(5);
    world.seats[1].reads = false;
    let sent = world.now;
    world.run(2_000);
    let joins = world.kinds(0).iter().filter(|kind| **kind == "join").count();
    assert!(joins > 1, "the join was acknowledged and repeated");
    assert_eq!(
        world.seats[1].member.lease_until(),
        None,
        "an acknowledgement proves nothing"
    );
    world.seats[1].reads = true;
    world.run(5);
    let until = world.seats[1].member.lease_until().unwrap();
    assert!(until <= sent + 9_000, "{until} from {sent}");
}

#[test]
fn one_record_is_on_its_way_with_the_same_bytes_until_it_is_read_back() {
    let mut world = World::with(2, 4);
    world.seats[1].reads = false;
    world.run(1_500);
    let since = world.now;
    let (_, number) = world.seats[1].started.keys().next().cloned().unwrap();
    world.works_to(1, number, 7);
    world.run(4_000);
    let sent = world.seats[1].appended(since);
    let reports: Vec<&Record> = sent.iter().filter(|record| record.kind() == "report").collect();
    assert!(
        reports.len() >= 2 && reports.len() < 12,
        "{} repeats",
        reports.len()
    );
    assert!(reports.iter().all(|report| *report == reports[0]));
}

#[test]
fn a_failed_append_is_tried_again_soon() {
    let mut world = World::with(1, 1);
    world.seats[0].writes = false;
    world.run(1_100);
    let id = world.seats[0]
        .story
        .iter()
        .rev()
        .find_map(|(_, action)| match action {
            Action::Append { id, .. } => Some(*id),
            _ => None,
        });
    let clock = world.clock();
    let id: AppendId = id.unwrap();
    world.seats[0].member.appended(clock, id, Err(AppendFailed));
    let since = world.now;
    world.run(150);
    assert_eq!(world.seats[0].appended(since).len(), 1);
}

#[test]
fn a_lease_is_given_up_early_enough_to_cancel_what_runs() {
    let mut world = World::with(1, 1);
    world.seats[0].writes = false;
    world.run(20);
    let until = world.seats[0].member.lease_until().unwrap();
    let since = world.now;
    world.until("the lease is lost", |world| {
        world.seats[0].count(since, |action| *action == Action::Lease { until: 0 }) == 1
    });
    assert!(
        world.now >= until - 500 && world.now <= until - 490,
        "{} of {until}",
        world.now
    );
    world.seats[0].writes = true;
    world.run(2_000);
    assert!(world.seats[0].has_lease(world.now));
    let begun = world.seats[0].count(since, |action| matches!(action, Action::Start { .. }));
    assert_eq!(begun, 0, "the partition is still its own and goes on by itself");
}

#[test]
fn an_outage_of_the_log_expires_nobody() {
    let mut world = World::with(3, 6);
    let ids: Vec<_> = (0..3).map(|index| world.id(index)).collect();
    for seat in &mut world.seats {
        seat.writes = false;
    }
    world.run(60_000);
    assert!(world.seats.iter().all(|seat| !seat.has_lease(world.now)));
    for seat in &mut world.seats {
        seat.writes = true;
    }
    let since = world.end();
    world.run(30_000);
    assert!(!world.kinds(since).contains(&"expire"));
    assert_eq!(ids, (0..3).map(|index| world.id(index)).collect::<Vec<_>>());
    assert!(world.seats.iter().all(|seat| seat.has_lease(world.now)));
}

#[test]
fn a_dead_member_is_replaced_within_its_session_and_half_a_second() {
    for dead in [0, 2] {
        let mut world = World::with(3, 6);
        world.seats[dead].runs = false;
        world.seats[dead].started.clear();
        let took = world.until("others have its partitions", |world| {
            world.shares().iter().sum::<usize>() == 6
        });
        assert!((8_900..=10_500).contains(&took), "member {dead} after {took} ms");
        let expiries = world.kinds(0).iter().filter(|kind| **kind == "expire").count();
        assert_eq!(expiries, 1, "nobody writes what another has written");
    }
}

#[test]
fn who_writes_but_does_not_read_is_expired() {
    let mut world = World::with(2, 2);
    world.seats[1].reads = false;
    let id = world.id(1);
    world.until("it is expired", |world| !world.state(0).members.contains_key(&id));
    world.until("it noticed by its lease", |world| {
        !world.seats[1].has_lease(world.now)
    });
}

#[test]
fn each_member_is_judged_by_its_own_session() {
    let mut world = World::with(1, 4);
    let mut short = settings();
    short.session = 2_000;
    short.cancel = 100;
    world.sit(short);
    world.run(3_000);
    world.seats[1].runs = false;
    let id = world.id(1);
    let took = world.until("it is expired", |world| !world.state(0).members.contains_key(&id));
    assert!((1_500..=2_200).contains(&took), "after {took} ms");
}

#[test]
fn a_frozen_process_counts_the_others_silence_anew() {
    let mut world = World::with(2, 2);
    for seat in &mut world.seats {
        seat.runs = false;
    }
    world.run(30_000);
    let since = world.end();
    for seat in &mut world.seats {
        seat.runs = true;
    }
    world.run(5_000);
    assert!(!world.kinds(since).contains(&"expire"));
}

#[test]
fn a_failover_of_the_leader_moves_only_its_partitions() {
    let mut world = World::with(3, 6);
    let before = world.now;
    world.seats[0].runs = false;
    world.seats[0].started.clear();
    world.until("others have them", |world| {
        world.shares().iter().sum::<usize>() == 6
    });
    for seat in &world.seats[1..] {
        assert_eq!(
            seat.count(before, |action| matches!(action, Action::Drain { .. })),
            0
        );
    }
    assert!((0..6).all(|number| {
        let owners = world
            .seats
            .iter()
            .filter(|seat| seat.started.contains_key(&partition(number)));
        owners.count() == 1
    }));
}
