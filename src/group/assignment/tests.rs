use proptest::prelude::*;

use super::*;
use crate::group::record::{Position, TopicInfo};

/// `m0`, `m1`, … in the order of joining.
fn member(number: usize) -> MemberId {
    MemberId::random(number as u64)
}

fn partition(topic: usize, number: i32) -> PartitionId {
    (Arc::from(format!("t{topic}")), number)
}

/// A group of topics with so many partitions each.
fn group(topics: &[i32]) -> State {
    let mut state = State::default();
    for (topic, &partitions) in topics.iter().enumerate() {
        let id = [1; 16];
        state
            .topics
            .insert(format!("t{topic}").into(), TopicInfo { id, partitions });
        for number in 0..partitions {
            state
                .partitions
                .insert(partition(topic, number), PartitionState::default());
        }
    }
    state
}

/// A member that subscribes to these topics; those that join later have higher numbers.
fn join(state: &mut State, number: usize, instance: Option<&str>, topics: &[usize]) {
    let at = Position::new(0, i64::try_from(number).unwrap());
    let info = MemberInfo {
        instance: instance.map(str::to_owned),
        host: "h".to_owned(),
        topics: topics
            .iter()
            .map(|topic| Arc::from(format!("t{topic}")))
            .collect(),
        session_ms: 10_000,
        speaks: 1,
        joined: at,
        beat: at,
        n: 0,
    };
    state.members.insert(member(number), info);
}

/// The plan carried out: each target as planned, and owned.
fn carry_out(state: &mut State, plan: &BTreeMap<PartitionId, Option<MemberId>>) {
    for (partition, to) in plan {
        let now = state.partitions.get_mut(partition).unwrap();
        now.target.clone_from(to);
        now.owner.clone_from(to);
        if to.is_some() {
            now.kept = None;
        }
    }
}

fn balanced(topics: &[i32], members: usize) -> State {
    let mut state = group(topics);
    let all: Vec<usize> = (0..topics.len()).collect();
    for number in 0..members {
        join(&mut state, number, None, &all);
    }
    let first = plan(&state, &BTreeSet::new());
    carry_out(&mut state, &first);
    state
}

/// By member: how many it has of a topic, or of all.
fn counts(
    plan: &BTreeMap<PartitionId, Option<MemberId>>,
    topic: Option<usize>,
    members: usize,
) -> Vec<usize> {
    let name = topic.map(|topic| format!("t{topic}"));
    let has = |number| {
        plan.iter()
            .filter(|((topic, _), to)| {
                name.as_deref().is_none_or(|name| &**topic == name) && **to == Some(member(number))
            })
            .count()
    };
    (0..members).map(has).collect()
}

fn moved(state: &State, plan: &BTreeMap<PartitionId, Option<MemberId>>) -> usize {
    let moves = |(partition, to): &(&PartitionId, &Option<MemberId>)| {
        let home = home(state, partition);
        home.is_some() && home != **to
    };
    plan.iter().filter(moves).count()
}

/// Where a partition is at home, worked out another way than by the code under test.
fn home(state: &State, partition: &PartitionId) -> Option<MemberId> {
    let now = &state.partitions[partition];
    let subscribes = |id: &&MemberId| {
        state
            .members
            .get(*id)
            .is_some_and(|info| info.topics.contains(&partition.0))
    };
    let kept_for = |id: &&MemberId| now.kept.is_some() && state.members[*id].instance == now.kept;
    let mut back: Vec<&MemberId> = state.members.keys().filter(subscribes).filter(kept_for).collect();
    back.sort_by_key(|id| state.members[*id].joined);
    let found = back.first().copied();
    found
        .or(now.target.as_ref().filter(subscribes))
        .or(now.owner.as_ref().filter(subscribes))
        .cloned()
}

#[test]
fn the_first_member_gets_everything() {
    let state = balanced(&[3, 2], 1);
    assert!(state.partitions.values().all(|now| now.target == Some(member(0))));
}

#[test]
fn a_joining_member_gets_its_share_and_nothing_else_moves() {
    let mut state = balanced(&[6], 2);
    join(&mut state, 2, None, &[0]);
    let new = plan(&state, &BTreeSet::new());
    assert_eq!(counts(&new, None, 3), [2, 2, 2]);
    assert_eq!(moved(&state, &new), 2);
    let changes = changes(&state, &new);
    assert_eq!(changes.len(), 2);
    assert!(changes.values().all(|to| *to == Some(member(2))));
}

#[test]
fn a_member_that_is_gone_or_leaving_leaves_the_others_what_they_have() {
    for leaving in [false, true] {
        let mut state = balanced(&[7], 3);
        if leaving {
            state.members.get_mut(&member(1)).unwrap().topics.clear();
        } else {
            state.members.remove(&member(1));
        }
        let new = plan(&state, &BTreeSet::new());
        let counts = counts(&new, None, 3);
        assert_eq!(counts[1], 0);
        assert_eq!(counts.iter().sum::<usize>(), 7);
        assert_eq!(moved(&state, &new), 0, "the others keep all that they have");
    }
}

#[test]
fn nobody_gets_a_topic_that_nobody_subscribes_to() {
    let mut state = group(&[2, 2]);
    join(&mut state, 0, None, &[0]);
    // The last subscriber is leaving: it goes on until somebody comes.
    let orphan = state.partitions.get_mut(&partition(1, 0)).unwrap();
    orphan.target = Some(member(0));
    orphan.owner = Some(member(0));
    let new = plan(&state, &BTreeSet::new());
    assert_eq!(new[&partition(1, 0)], None);
    assert_eq!(new[&partition(1, 1)], None);
    assert_eq!(changes(&state, &new)[&partition(1, 0)], None);
    assert_eq!(changes(&state, &new).len(), 3);
}

#[test]
fn topics_of_one_partition_are_shared_by_their_number() {
    let mut state = balanced(&[1; 12], 1);
    for number in 1..3 {
        join(&mut state, number, None, &(0..12).collect::<Vec<_>>());
    }
    let new = plan(&state, &BTreeSet::new());
    assert_eq!(counts(&new, None, 3), [4, 4, 4]);
    assert_eq!(moved(&state, &new), 8);
}

#[test]
fn the_choice_of_extras_levels_the_totals_without_a_move() {
    // Each topic has one extra; from nothing, they go to one member each.
    let state = balanced(&[4, 4, 4], 3);
    let plan = plan(&state, &BTreeSet::new());
    assert_eq!(counts(&plan, None, 3), [4, 4, 4]);
    assert_eq!(moved(&state, &plan), 0);
}

#[test]
fn levelling_goes_along_chains_of_topics() {
    // m0 has two more than m2, and no topic in common: m1 hands on what it gets.
    let mut state = group(&[1, 1, 1]);
    join(&mut state, 0, None, &[0, 1]);
    join(&mut state, 1, None, &[1, 2]);
    join(&mut state, 2, None, &[2]);
    for (topic, owner) in [(0, 0), (1, 0), (2, 1)] {
        let now = state.partitions.get_mut(&partition(topic, 0)).unwrap();
        now.target = Some(member(owner));
        now.owner = Some(member(owner));
    }
    assert_eq!(counts(&plan(&state, &BTreeSet::new()), None, 3), [1, 1, 1]);
}

#[test]
fn what_runs_stays_before_what_is_only_planned() {
    let mut state = group(&[4]);
    join(&mut state, 0, None, &[0]);
    join(&mut state, 1, None, &[0]);
    for number in 0..4 {
        let now = state.partitions.get_mut(&partition(0, number)).unwrap();
        now.target = Some(member(0));
        now.owner = Some(member(usize::from(number < 2)));
    }
    let plan = plan(&state, &BTreeSet::new());
    assert_eq!(plan[&partition(0, 2)], Some(member(0)));
    assert_eq!(plan[&partition(0, 3)], Some(member(0)));
}

/// Three members with two partitions each; the one named `b` has gone.
fn without_b(partitions: i32) -> State {
    let mut state = group(&[partitions]);
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        join(&mut state, number, Some(name), &[0]);
    }
    let first = plan(&state, &BTreeSet::new());
    carry_out(&mut state, &first);
    state.members.remove(&member(1));
    for now in state
        .partitions
        .values_mut()
        .filter(|now| now.owner == Some(member(1)))
    {
        now.target = None;
        now.owner = None;
        now.kept = Some("b".to_owned());
    }
    state
}

#[test]
fn what_is_kept_is_held_back_within_the_grace_and_given_away_after_it() {
    let state = without_b(6);
    let held = plan(&state, &BTreeSet::from(["b".to_owned()]));
    assert_eq!(held.values().filter(|to| to.is_none()).count(), 2);
    assert_eq!(changes(&state, &held), BTreeMap::new());
    let given = plan(&state, &BTreeSet::new());
    assert_eq!(counts(&given, None, 3), [3, 0, 3]);
}

#[test]
fn a_name_that_is_back_gets_what_was_kept_for_it() {
    let mut state = without_b(6);
    join(&mut state, 3, Some("b"), &[0]);
    join(&mut state, 4, Some("b"), &[0]);
    let mut without_second = state.clone();
    without_second.members.remove(&member(4));
    let new = plan(&without_second, &BTreeSet::new());
    assert_eq!(counts(&new, None, 4), [2, 0, 2, 2]);
    assert_eq!(moved(&without_second, &new), 0);
    // Of two with the name, the first to have joined is the one.
    let new = plan(&state, &BTreeSet::from(["b".to_owned()]));
    assert!(counts(&new, None, 5)[3] > 0);
    assert!(
        new.values().all(Option::is_some),
        "nothing is held back from the one that is back"
    );
}

#[test]
fn a_name_never_takes_from_the_living() {
    let mut state = without_b(6);
    let given = plan(&state, &BTreeSet::new());
    carry_out(&mut state, &given);
    let owned = counts(&given, None, 3);
    assert_eq!(owned, [3, 0, 3]);
    join(&mut state, 3, Some("b"), &[0]);
    let new = plan(&state, &BTreeSet::new());
    assert_eq!(
        counts(&new, None, 4),
        [2, 0, 2, 2],
        "it gets a share as anyone would"
    );
}

#[test]
fn an_absent_instance_holds_back_no_more_than_its_share_and_takes_nothing_new() {
    let mut state = without_b(6);
    for number in 0..3 {
        let now = state.partitions.get_mut(&partition(0, number)).unwrap();
        *now = PartitionState {
            kept: Some("b".to_owned()),
            ..PartitionState::default()
        };
    }
    for number in 3..6 {
        *state.partitions.get_mut(&partition(0, number)).unwrap() = PartitionState::default();
    }
    let away = BTreeSet::from(["b".to_owned()]);
    let new = plan(&state, &away);
    assert_eq!(new.values().filter(|to| to.is_none()).count(), 2);
    assert_eq!(counts(&new, None, 3), [2, 0, 2]);
    for now in state.partitions.values_mut() {
        now.kept = None;
    }
    assert!(plan(&state, &away).values().all(Option::is_some));
}

#[test]
fn the_plan_of_a_large_group_is_quick() {
    let mut slowest = std::time::Duration::ZERO;
    for topics in [vec![1000], vec![100; 10], vec![1; 1000]] {
        let mut state = balanced(&topics, 90);
        for number in 90..100 {
            join(&mut state, number, None, &(0..topics.len()).collect::<Vec<_>>());
        }
        let begun = crate::clock::now();
        let plan = plan(&state, &BTreeSet::new());
        let took = begun.elapsed();
        eprintln!(
            "{} topics of {}: {took:?}, {} moves",
            topics.len(),
            topics[0],
            moved(&state, &plan)
        );
        slowest = slowest.max(took);
    }
    // Some 50 times what it takes, for the slowest of machines.
    assert!(slowest < std::time::Duration::from_secs(2), "{slowest:?}");
}

/// A group in any state that its records could have led to, and more.
#[derive(Debug, Clone)]
struct Any {
    partitions: Vec<i32>,
    /// Per member: its name, if any, and the topics that it subscribes to, as bits.
    members: Vec<(Option<u8>, u8)>,
    /// For each partition in turn: target, owner (numbers of members, living or not) and name that it is kept for.
    places: Vec<(Option<usize>, Option<usize>, Option<u8>)>,
}

impl Any {
    fn state(&self) -> State {
        let mut state = group(&self.partitions);
        for (number, (name, topics)) in self.members.iter().enumerate() {
            let topics: Vec<usize> = (0..self.partitions.len())
                .filter(|topic| topics & (1 << topic) != 0)
                .collect();
            join(
                &mut state,
                number,
                name.map(|name| name.to_string()).as_deref(),
                &topics,
            );
        }
        let places = self.places.iter().cycle();
        for (now, (target, owner, kept)) in state.partitions.values_mut().zip(places) {
            now.target = target.map(member);
            now.owner = owner.map(member);
            now.kept = kept.map(|name| name.to_string());
        }
        state
    }
}

fn any(
    members: usize,
    topics: usize,
    partitions: i32,
    equal: bool,
    kept: bool,
) -> impl Strategy<Value = Any> {
    let who = (proptest::option::of(0..3_u8), 0..1_u8 << topics);
    let place = (
        proptest::option::weighted(0.8, 0..members + 2),
        proptest::option::weighted(0.6, 0..members + 2),
        proptest::option::weighted(if kept { 0.2 } else { 0.01 }, 0..3_u8),
    );
    (
        proptest::collection::vec(0..=partitions, 1..=topics),
        proptest::collection::vec(who, 1..=members),
        proptest::collection::vec(place, 40),
    )
        .prop_map(move |(partitions, mut members, places)| {
            for (_, topics) in members.iter_mut().filter(|_| equal) {
                *topics = u8::MAX;
            }
            Any {
                partitions,
                members,
                places,
            }
        })
}

/// What the best plans cost: (the least sum of the totals' squares; the fewest moves of all balanced plans; those of
/// the balanced plans with the least sum), by trying all balanced plans.
fn best(state: &State, topics: usize, members: usize) -> (usize, usize, usize) {
    // Per topic: every balanced way to share it, as counts by member, with the fewest moves.
    let mut ways: Vec<BTreeMap<Vec<usize>, usize>> = Vec::new();
    for topic in 0..topics {
        let name: Arc<str> = format!("t{topic}").into();
        let homes: Vec<Option<MemberId>> = state
            .partitions
            .keys()
            .filter(|(of, _)| *of == name)
            .map(|partition| home(state, partition))
            .collect();
        let sharers: Vec<usize> = (0..members)
            .filter(|&n| state.members[&member(n)].topics.contains(&name))
            .collect();
        let mut found = BTreeMap::new();
        if sharers.is_empty() {
            found.insert(vec![0; members], 0);
        } else {
            for mut code in 0..sharers.len().pow(u32::try_from(homes.len()).unwrap()) {
                let (mut counts, mut moves) = (vec![0; members], 0);
                for home in &homes {
                    let to = sharers[code % sharers.len()];
                    code /= sharers.len();
                    counts[to] += 1;
                    moves += usize::from(home.as_ref().is_some_and(|home| *home != member(to)));
                }
                let shares: Vec<usize> = sharers.iter().map(|&n| counts[n]).collect();
                if shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1 {
                    let least = found.entry(counts).or_insert(moves);
                    *least = moves.min(*least);
                }
            }
        }
        ways.push(found);
    }
    let mut sums = BTreeMap::from([(vec![0; members], 0)]);
    for ways in ways {
        let mut next: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        for (totals, moves) in &sums {
            for (counts, more) in &ways {
                let totals = totals.iter().zip(counts).map(|(a, b)| a + b).collect();
                let least = next.entry(totals).or_insert(usize::MAX);
                *least = (moves + more).min(*least);
            }
        }
        sums = next;
    }
    let squares = |totals: &Vec<usize>| totals.iter().map(|total| total * total).sum::<usize>();
    let least = sums.keys().map(squares).min().unwrap();
    let fewest = sums.values().copied().min().unwrap();
    let with_least = sums
        .iter()
        .filter(|(totals, _)| squares(totals) == least)
        .map(|(_, moves)| *moves)
        .min()
        .unwrap();
    (least, fewest, with_least)
}

fn check_balance(
    state: &State,
    plan: &BTreeMap<PartitionId, Option<MemberId>>,
    any: &Any,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(plan.len(), state.partitions.len());
    for topic in 0..any.partitions.len() {
        let name: Arc<str> = format!("t{topic}").into();
        let counts = counts(plan, Some(topic), any.members.len());
        let subscribes = |number: &usize| state.members[&member(*number)].topics.contains(&name);
        let (subscribers, others): (Vec<usize>, Vec<usize>) = (0..any.members.len()).partition(subscribes);
        prop_assert!(others.iter().all(|&number| counts[number] == 0), "{counts:?}");
        let shares: Vec<usize> = subscribers.iter().map(|&number| counts[number]).collect();
        if let (Some(most), Some(least)) = (shares.iter().max(), shares.iter().min()) {
            prop_assert!(most - least <= 1, "topic {topic}: {counts:?}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_topic_is_shared_to_within_one_by_its_subscribers(any in any(6, 4, 9, false, true), away in proptest::collection::btree_set(0..3_u8, 0..3)) {
        let state = any.state();
        let away = away.iter().map(u8::to_string).collect();
        let plan = plan(&state, &away);
        check_balance(&state, &plan, &any)?;
        for ((topic, number), to) in &plan {
            let somebody = state.subscribers(topic).next().is_some();
            let kept = state.partitions[&(topic.clone(), *number)].kept.as_ref();
            let held_back = kept.is_some_and(|name| away.contains(name));
            prop_assert!(to.is_some() == somebody || held_back && to.is_none(), "{topic} {number}: {to:?}");
        }
    }

    #[test]
    fn one_topic_moves_the_fewest_partitions(any in any(4, 1, 5, false, true)) {
        let state = any.state();
        let plan = plan(&state, &BTreeSet::new());
        let (_, fewest, _) = best(&state, any.partitions.len(), any.members.len());
        prop_assert_eq!(moved(&state, &plan), fewest);
    }

    #[test]
    fn totals_are_as_level_as_balanced_topics_allow(any in any(3, 3, 5, false, true)) {
        let state = any.state();
        let plan = plan(&state, &BTreeSet::new());
        check_balance(&state, &plan, &any)?;
        let totals = counts(&plan, None, any.members.len());
        let squares: usize = totals.iter().map(|total| total * total).sum();
        let (least, fewest, with_least) = best(&state, any.partitions.len(), any.members.len());
        prop_assert_eq!(squares, least);
        if fewest == with_least {
            prop_assert_eq!(moved(&state, &plan), fewest, "levelling is free here");
        }
    }

    #[test]
    fn equal_subscriptions_are_level_in_all_and_moved_as_little_as_that_allows(any in any(3, 3, 5, true, true)) {
        let state = any.state();
        let plan = plan(&state, &BTreeSet::new());
        let totals = counts(&plan, None, any.members.len());
        prop_assert!(totals.iter().max().unwrap() - totals.iter().min().unwrap() <= 1, "{totals:?}");
        let (_, _, with_least) = best(&state, any.partitions.len(), any.members.len());
        prop_assert_eq!(moved(&state, &plan), with_least);
    }

    #[test]
    fn a_plan_that_was_carried_out_is_its_own_plan(any in any(6, 4, 9, false, true)) {
        let mut state = any.state();
        let first = plan(&state, &BTreeSet::new());
        prop_assert_eq!(&plan(&state, &BTreeSet::new()), &first);
        carry_out(&mut state, &first);
        let second = plan(&state, &BTreeSet::new());
        prop_assert_eq!(&second, &first);
        prop_assert!(changes(&state, &second).is_empty());
    }

    #[test]
    fn one_more_member_moves_its_share_only(members in 1..8_usize, partitions in proptest::collection::vec(0..20_i32, 1..4)) {
        let mut state = balanced(&partitions, members);
        join(&mut state, members, None, &(0..partitions.len()).collect::<Vec<_>>());
        let plan = plan(&state, &BTreeSet::new());
        let total: i32 = partitions.iter().sum();
        let share = counts(&plan, None, members + 1)[members];
        let total = usize::try_from(total).unwrap();
        prop_assert!(share == total / (members + 1) || share == total.div_ceil(members + 1));
    }
}
