//! Large groups: how soon they settle, and what their logs cost.

use super::checks::Checks;
use super::dice::Dice;
use super::log::Fetched;
use super::options::{Options, Scenario};
use super::process::{Process, Subscription};
use super::world::{Event, World};
use crate::group::member::{Member, MemberSettings, Now};
use crate::group::record::Record;
use crate::group::rules::Rules;

/// A world without faults of that many members, which join within `spread` ms, with ten partitions each.
fn large(members: usize, session: u64, spread: u64, rate: u64) -> World {
    let mut dice = Dice::new(1);
    let options = Options {
        processes: members,
        session,
        partitions: vec![i32::try_from(10 * members).unwrap()],
        rate,
        calm_at: u64::MAX / 4,
        done_bytes: None,
        mark_bytes: None,
        deletes: true,
        ..Options::draw(Scenario::Planned, 1, &mut dice)
    };
    let mut world = World::new(options, Rules::all(), dice);
    world.checks = Checks::light(Rules::all());
    for slot in 0..members {
        world.processes.push(Process::down());
        let delay = world.dice.between(0, spread);
        world.at(delay, Event::StartProcess(slot));
    }
    world
}

/// When the last member joined (world time), if all have.
fn last_join(world: &World) -> Option<i64> {
    let state = &world.checks.oracle;
    if state.members.len() < world.processes.len() {
        return None;
    }
    let joins = world
        .log
        .records()
        .iter()
        .filter(|logged| matches!(logged.sent.record, Some(Record::Join { .. })));
    joins.map(|logged| logged.timestamp - super::world::EPOCH).max()
}

fn has_converged(world: &World) -> bool {
    let state = &world.checks.oracle;
    let share = state.partitions.len() / world.processes.len();
    last_join(world).is_some()
        && !state.partitions.is_empty()
        && state
            .partitions
            .values()
            .all(|there| there.owner.is_some() && there.owner == there.target)
        && state
            .partitions
            .values()
            .all(|there| there.progress.next.is_some())
        && state
            .members
            .keys()
            .all(|member| state.owned_by(member).count() == share)
}

#[test]
fn a_hundred_members_share_a_thousand_partitions_within_three_seconds() {
    let mut world = large(100, 15_000, 2000, 5000);
    while !has_converged(&world) {
        let next = world.now + 20;
        assert!(next < 15_000, "it does not converge: {:?}", world.tally);
        world.run(next).unwrap();
    }
    let joined = u64::try_from(last_join(&world).unwrap()).unwrap();
    println!(
        "last join at {joined} ms, all settled at {} ms: {:?}",
        world.now, world.tally
    );
    assert!(
        world.now <= joined + 3000,
        "{} ms after the last join",
        world.now - joined
    );
    assert!(world.tally.assigns < 3, "{} assignments", world.tally.assigns);
    world.run(world.now + 5000).unwrap();
    assert!(
        has_converged(&world) && world.tally.assigns < 3,
        "it does not rest: {:?}",
        world.tally
    );
}

/// One line of the table in docs/performance.md.
fn figures(members: usize, session: u64, settle: u64, measure: u64) {
    let mut world = large(members, session, settle / 4, 1000);
    world.run(settle).unwrap();
    assert!(has_converged(&world), "{:?}", world.tally);
    let (records, bytes) = (world.log.end(), world.log.bytes());
    world.run(settle + measure).unwrap();
    let seconds = measure as f64 / 1000.0;
    let rate = (world.log.end() - records) as f64 / seconds;
    let kept: u64 = (world.log.records().iter())
        .filter(|logged| logged.offset >= world.log.start())
        .map(|logged| logged.sent.payload.len() as u64)
        .sum();
    let grown = (world.log.bytes() - bytes) as f64 / seconds;
    let begin = crate::clock::now();
    let replayed = replay(&world);
    println!(
        "{members} members, {} partitions: {rate:.1} appends/s, {:.1} kB/s written; a start reads {replayed} records, {:.2} MB, in {:?}",
        10 * members,
        grown / 1000.0,
        kept as f64 / 1e6,
        begin.elapsed(),
    );
}

/// Reads the log as a new member does, until it could join.
fn replay(world: &World) -> usize {
    let now = Now {
        mono: 1000,
        lease: 1000,
    };
    let mut member = Member::new(
        MemberSettings::new("sim", "replay", world.options.session),
        7,
        Rules::all(),
        now,
    );
    member.topics_seen(world.visible(Subscription::First));
    let Fetched::Records { records, start, end } = world.log.fetch(world.log.start(), None, usize::MAX)
    else {
        panic!("the log's start is in the log")
    };
    for logged in &records {
        member.read(now, logged.position(), logged.timestamp, &logged.sent.payload);
    }
    member.log_at(now, start, end);
    assert_eq!(member.state().hash(), world.checks.oracle.hash());
    records.len()
}

/// `cargo test --profile sim --lib group::sim::scale -- --ignored --nocapture` on an otherwise quiet machine.
#[test]
#[ignore = "minutes; prints the table of docs/performance.md"]
fn what_the_log_costs() {
    figures(10, 10_000, 20_000, 120_000);
    figures(100, 15_000, 30_000, 120_000);
    figures(1000, 45_000, 60_000, 60_000);
}
