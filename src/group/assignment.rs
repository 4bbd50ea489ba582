//! Who should own which partition: a pure plan from the group's state. Its wishes, the first before the second:
//! 1. of each topic, all its subscribers have the same number of partitions, to within one;
//! 2. the members' totals over all topics are as level as the first wish allows;
//! 3. a partition stays where it is.
//!
//! With one topic, or where the topics' remainders leave the choice, the third costs nothing and the fewest partitions
//! move. The second stands before it for groups of many small topics: twelve topics of one partition each are within one
//! wherever they lie, so without it a second member would be given none of them, for ever.
//!
//! A plan that was carried out is its own plan: nothing moves until something changes.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::record::{MemberId, PartitionId};
use super::state::{MemberInfo, PartitionState, State};
use crate::dead_letter::split_replay;

/// The whole target: each partition of the state with the member that should own it. `None`: nobody subscribes to its
/// topic, or it is held back for the member with an instance name that is `away`, within its grace.
///
/// A leaving member subscribes to nothing (that is how it says so), so it is planned away at once.
#[must_use]
pub fn plan(state: &State, away: &BTreeSet<String>) -> BTreeMap<PartitionId, Option<MemberId>> {
    let members = in_order(state);
    let mut topics = topics(state, &members, away);
    let mut totals = vec![0; members.len()];
    give_extras(&mut topics, &mut totals);
    level(&mut topics, &mut totals, Choice::Free);
    level(&mut topics, &mut totals, Choice::Any);
    let mut plan = BTreeMap::new();
    for topic in topics {
        for (partition, member) in topic.place() {
            plan.insert(partition.clone(), member.map(|member| members[member].0.clone()));
        }
    }
    for partition in state.partitions.keys() {
        if let Some(source) = followed(state, partition) {
            let member: Option<MemberId> = plan.get(&source).cloned().flatten();
            let knows = |member: &MemberId| {
                let info = state.members.get(member);
                info.is_some_and(|info| info.topics.contains(&partition.0))
            };
            plan.insert(partition.clone(), member.filter(knows));
        }
    }
    plan
}

/// The partition that this one follows, wherever it goes: a partition of replays feeds its source partition's handlers,
/// and never runs beside a newer event of its key.
fn followed(state: &State, partition: &PartitionId) -> Option<PartitionId> {
    let (source, _) = split_replay(&partition.0)?;
    let source = (Arc::from(source), partition.1);
    state.partitions.contains_key(&source).then_some(source)
}

/// What of the plan differs from the present target.
#[must_use]
pub fn changes(
    state: &State,
    plan: &BTreeMap<PartitionId, Option<MemberId>>,
) -> BTreeMap<PartitionId, Option<MemberId>> {
    let differs = |(partition, member): &(&PartitionId, &Option<MemberId>)| {
        let now = state.partitions.get(*partition);
        now.is_some_and(|now| now.target != **member)
    };
    let differing = plan.iter().filter(differs);
    differing
        .map(|(partition, member)| (partition.clone(), member.clone()))
        .collect()
}

/// A member, by its number in the order of joining.
type Number = usize;

/// The members in the order in which they joined.
fn in_order(state: &State) -> Vec<(&MemberId, &MemberInfo)> {
    let mut members: Vec<_> = state.members.iter().collect();
    members.sort_by_key(|(id, info)| (info.joined, *id));
    members
}

/// Where a partition is, or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    /// Nowhere.
    None,
    /// With this subscriber: its target, or else its owner, or the one that it was kept for and that is back.
    Member(Number),
    /// Held back for an instance that is away.
    HeldBack,
}

/// Which extras may be moved to level the totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// Those whose move moves no partition.
    Free,
    /// All of them.
    Any,
}

/// One topic: who gets how many of its partitions. A share is `floor`, or one more: an extra.
#[derive(Debug)]
struct Topic<'a> {
    partitions: Vec<(&'a PartitionId, Home)>,
    /// The partitions' indices, first those that run at home: the others cost less to move.
    order: Vec<usize>,
    /// In the order of joining.
    subscribers: Vec<Number>,
    /// By member: partitions at home with it.
    at_home: Vec<usize>,
    floor: usize,
    /// How many subscribers get one more than `floor`.
    extras: usize,
    /// By member: whether it is one of these.
    extra: Vec<bool>,
    /// Subscribers that have more than `floor` at home: to give an extra to one of them saves a move.
    over: usize,
}

/// Each topic with its subscribers and the homes of its partitions.
fn topics<'a>(
    state: &'a State,
    members: &[(&MemberId, &MemberInfo)],
    away: &BTreeSet<String>,
) -> Vec<Topic<'a>> {
    let mut by_topic: BTreeMap<&Arc<str>, Vec<(&PartitionId, &PartitionState)>> = BTreeMap::new();
    for (partition, now) in &state.partitions {
        if followed(state, partition).is_some() {
            continue;
        }
        by_topic.entry(&partition.0).or_default().push((partition, now));
    }
    let mut subscribers: Vec<Vec<Number>> = vec![Vec::new(); by_topic.len()];
    for (number, (_, member)) in members.iter().enumerate() {
        // Both are in order: one walk finds what they share.
        let mut wanted = member.topics.iter().peekable();
        for (index, topic) in by_topic.keys().enumerate() {
            while wanted.next_if(|name| *name < *topic).is_some() {}
            if wanted.next_if(|name| *name == *topic).is_some() {
                subscribers[index].push(number);
            }
        }
    }
    let numbers: BTreeMap<&MemberId, Number> = members
        .iter()
        .enumerate()
        .map(|(number, (id, _))| (*id, number))
        .collect();
    by_topic
        .into_values()
        .zip(subscribers)
        .map(|(partitions, subscribers)| Topic::new(&partitions, subscribers, members, &numbers, away))
        .collect()
}

impl<'a> Topic<'a> {
    fn new(
        partitions: &[(&'a PartitionId, &PartitionState)],
        subscribers: Vec<Number>,
        members: &[(&MemberId, &MemberInfo)],
        numbers: &BTreeMap<&MemberId, Number>,
        away: &BTreeSet<String>,
    ) -> Self {
        let mut subscribes = vec![false; members.len()];
        for &number in &subscribers {
            subscribes[number] = true;
        }
        let living = |id: &Option<MemberId>| {
            let number = numbers.get(id.as_ref()?).copied()?;
            subscribes[number].then_some(Home::Member(number))
        };
        // The first to have joined, if several have the name.
        let named = |name: &str| {
            let found = subscribers
                .iter()
                .find(|&&number| members[number].1.instance.as_deref() == Some(name));
            found.map(|&number| Home::Member(number))
        };
        let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
        let mut homes = Vec::with_capacity(partitions.len());
        for (_, now) in partitions {
            let kept = now.kept.as_deref();
            let back = kept.and_then(named);
            if back.is_none()
                && let Some(name) = kept.filter(|name| away.contains(*name))
            {
                *waiting.entry(name).or_default() += 1;
                homes.push(Home::HeldBack);
            } else {
                homes.push(
                    back.or_else(|| living(&now.target))
                        .or_else(|| living(&now.owner))
                        .unwrap_or(Home::None),
                );
            }
        }
        hold_back(partitions, &mut homes, &waiting, subscribers.len());
        let runs = |index: usize| match homes[index] {
            Home::Member(number) => partitions[index].1.owner.as_ref() == Some(members[number].0),
            Home::None | Home::HeldBack => false,
        };
        let mut order: Vec<usize> = (0..partitions.len()).collect();
        order.sort_by_key(|&index| !runs(index));
        let mut at_home = vec![0; members.len()];
        for home in &homes {
            if let Home::Member(number) = home {
                at_home[*number] += 1;
            }
        }
        let shared = homes.iter().filter(|home| **home != Home::HeldBack).count();
        let (floor, extras) = match subscribers.len() {
            0 => (0, 0),
            sharers => (shared / sharers, shared % sharers),
        };
        Self {
            partitions: partitions
                .iter()
                .map(|(partition, _)| *partition)
                .zip(homes)
                .collect(),
            order,
            over: subscribers
                .iter()
                .filter(|&&number| at_home[number] > floor)
                .count(),
            extra: vec![false; members.len()],
            subscribers,
            at_home,
            floor,
            extras,
        }
    }

    /// Whether it is the same for the moves if this member gets an extra or another one of its kind does.
    fn is_free(&self, member: Number) -> bool {
        match self.over.cmp(&self.extras) {
            Ordering::Greater => self.at_home[member] > self.floor,
            Ordering::Less => self.at_home[member] <= self.floor,
            Ordering::Equal => false,
        }
    }

    fn may(&self, choice: Choice, member: Number) -> bool {
        choice == Choice::Any || self.is_free(member)
    }

    /// Every partition with the member that shall have it: as many as its share allows stay at home.
    fn place(&self) -> Vec<(&'a PartitionId, Option<Number>)> {
        let mut room: Vec<usize> = self
            .extra
            .iter()
            .map(|extra| self.floor + usize::from(*extra))
            .collect();
        let mut placed: Vec<(&PartitionId, Option<Number>)> = self
            .partitions
            .iter()
            .map(|(partition, _)| (*partition, None))
            .collect();
        let mut homeless = Vec::new();
        for &index in &self.order {
            match self.partitions[index].1 {
                Home::Member(member) if room[member] > 0 => {
                    room[member] -= 1;
                    placed[index].1 = Some(member);
                }
                Home::HeldBack => {}
                Home::Member(_) | Home::None => homeless.push(index),
            }
        }
        // There is room for exactly these, unless nobody subscribes.
        let mut with_room = self
            .subscribers
            .iter()
            .flat_map(|&member| std::iter::repeat_n(member, room[member]));
        for index in homeless {
            placed[index].1 = with_room.next();
        }
        placed
    }
}

/// An instance that is away counts as one more sharer, but takes nothing new: what it has beyond its share is not held
/// back for it, and without a living subscriber there is nobody to hold it back from.
fn hold_back(
    partitions: &[(&PartitionId, &PartitionState)],
    homes: &mut [Home],
    waiting: &BTreeMap<&str, usize>,
    living: usize,
) {
    let most = partitions.len().div_ceil((living + waiting.len()).max(1));
    let mut held: BTreeMap<&str, usize> = BTreeMap::new();
    for ((_, now), home) in partitions.iter().zip(homes) {
        if let (Home::HeldBack, Some(name)) = (*home, now.kept.as_deref()) {
            let held = held.entry(name).or_default();
            if *held == most {
                *home = Home::None;
            } else {
                *held += 1;
            }
        }
    }
}

/// Gives each topic's extras where they save moves; where that leaves a choice, to those with the lowest totals.
fn give_extras(topics: &mut [Topic<'_>], totals: &mut [usize]) {
    for topic in topics.iter_mut() {
        for &member in &topic.subscribers {
            totals[member] += topic.floor;
            if topic.at_home[member] > topic.floor && topic.over <= topic.extras {
                topic.extra[member] = true;
                totals[member] += 1;
            }
        }
    }
    for topic in topics.iter_mut() {
        let given = if topic.over <= topic.extras { topic.over } else { 0 };
        let mut free: Vec<Number> = topic
            .subscribers
            .iter()
            .copied()
            .filter(|&member| topic.is_free(member))
            .collect();
        free.sort_by_key(|&member| (totals[member], member));
        for member in free.into_iter().take(topic.extras - given) {
            topic.extra[member] = true;
            totals[member] += 1;
        }
    }
}

/// Makes the totals as level as can be by handing extras on: along a chain of topics, from a member to one that has at
/// least two fewer. Where there is no such chain, no choice is more level (Harvey, Ladner, Lovász, Tamir: Semi-matchings
/// for bipartite graphs and load balancing, 2006).
fn level(topics: &mut [Topic<'_>], totals: &mut [usize], choice: Choice) {
    while let Some(chain) = find_chain(topics, totals, choice) {
        for Step { topic, from, to } in chain {
            topics[topic].extra[from] = false;
            topics[topic].extra[to] = true;
            totals[from] -= 1;
            totals[to] += 1;
        }
    }
}

/// An extra of a topic goes from one member to another.
struct Step {
    topic: usize,
    from: Number,
    to: Number,
}

/// The shortest chain from the member with the highest total that has one. What was reached in vain from a higher total
/// leads nowhere from a lower one: each member is looked at once.
fn find_chain(topics: &[Topic<'_>], totals: &[usize], choice: Choice) -> Option<Vec<Step>> {
    let mut starts: Vec<Number> = (0..totals.len()).collect();
    starts.sort_by_key(|&member| (std::cmp::Reverse(totals[member]), member));
    let least = totals.iter().min().copied().unwrap_or(0);
    let mut seen = vec![false; totals.len()];
    // By member: from whom, and which topic's extra.
    let mut came: Vec<Option<(Number, usize)>> = vec![None; totals.len()];
    for start in starts {
        if totals[start] < least + 2 {
            return None;
        }
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        let mut reached = VecDeque::from([start]);
        while let Some(from) = reached.pop_front() {
            for (index, topic) in topics.iter().enumerate() {
                if !topic.extra[from] || !topic.may(choice, from) {
                    continue;
                }
                for &to in &topic.subscribers {
                    if seen[to] || topic.extra[to] || !topic.may(choice, to) {
                        continue;
                    }
                    seen[to] = true;
                    came[to] = Some((from, index));
                    if totals[to] + 2 <= totals[start] {
                        return Some(chain(&came, to));
                    }
                    reached.push_back(to);
                }
            }
        }
    }
    None
}

fn chain(came: &[Option<(Number, usize)>], end: Number) -> Vec<Step> {
    let mut chain = Vec::new();
    let mut to = end;
    while let Some((from, topic)) = came[to] {
        chain.push(Step { topic, from, to });
        to = from;
    }
    chain
}

#[cfg(test)]
mod tests;
