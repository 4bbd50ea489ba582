//! What has to be true some time after the faults have ended.
//!
//! - L1: every partition is owned, the load is balanced, and it goes on;
//! - L2: planned joins and leaves repeat nothing and expire nobody;
//! - L3: nobody is stuck, the dead are gone, and an outage alone expires nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::options::Scenario;
use super::process::Process;
use super::world::{Checked, Violation, World};
use crate::group::record::{MemberId, PartitionId};
use crate::group::state::PartitionState;

/// Where each partition's progress was some time before the end.
pub(super) type Base = BTreeMap<PartitionId, i64>;

impl World {
    pub(super) fn base(&self) -> Base {
        let next = |there: &PartitionState| there.progress.next.unwrap_or(-1);
        self.checks
            .oracle
            .partitions
            .iter()
            .map(|(partition, there)| (partition.clone(), next(there)))
            .collect()
    }

    /// The process that is this member, if it does what members do.
    fn serving(&self, member: &MemberId) -> Option<&Process> {
        self.processes.iter().find(|process| {
            process.joined
                && !process.leaving
                && !process.defects.deaf
                && process.member.as_ref().is_some_and(|core| core.id() == member)
        })
    }

    pub(super) fn check_end(&self, base: &Base) -> Checked {
        let fail = |what: String| Err(Violation(what));
        if !self.processes.iter().any(Process::is_healthy) {
            return Ok(());
        }
        for process in &self.processes {
            if process.is_up() && !process.joined && !process.defects.deaf {
                return fail("L3 a healthy process is not in the group".to_owned());
            }
        }
        if let Some(slot) = (0..self.processes.len())
            .find(|slot| self.processes[*slot].is_healthy() && !self.processes[*slot].ready)
        {
            return fail(format!("L1 slot {slot} does not become ready"));
        }
        for (partition, there) in &self.checks.oracle.partitions {
            self.check_partition(base, partition, there)?;
        }
        for (name, source) in &self.sources {
            let known = self.checks.oracle.topics.get(name);
            let subscribed = (self.processes.iter())
                .any(|process| process.is_healthy() && process.seen.contains_key(name));
            if subscribed && known != Some(&source.info) {
                return fail(format!(
                    "L1 topic {name} is {:?} and the state has {known:?}",
                    source.info
                ));
            }
            self.check_balance(name)?;
        }
        for member in self.checks.oracle.members.keys() {
            if self.serving(member).is_none() {
                return fail(format!(
                    "L3 {member} is dead or does not read, and is a member still"
                ));
            }
        }
        let tally = &self.tally;
        if tally.expired_late > 0 {
            return fail(format!(
                "L3 {} members were expired long after the faults had ended",
                tally.expired_late
            ));
        }
        match self.options.scenario {
            Scenario::Planned if tally.expired + tally.removed > 0 => {
                fail("L2 somebody was expired in a planned-only run".to_owned())
            }
            Scenario::Planned => match self.checks.starts.iter().filter(|(_, starts)| **starts > 1).min() {
                Some(((_, partition, offset), starts)) => fail(format!(
                    "L2 offset {offset} of a partition {partition} was handled {starts} times"
                )),
                None => Ok(()),
            },
            Scenario::Outages if tally.expired > 0 => fail(format!(
                "L3 an outage of the log alone expired {} members",
                tally.expired
            )),
            _ => Ok(()),
        }
    }

    fn check_partition(&self, base: &Base, partition: &PartitionId, there: &PartitionState) -> Checked {
        let fail = |what: String| Err(Violation(format!("{what}: {}-{}", partition.0, partition.1)));
        let wanted = (self.processes.iter())
            .any(|process| process.is_healthy() && process.joined && process.seen.contains_key(&partition.0));
        if !wanted {
            return Ok(());
        }
        match &there.owner {
            None => {
                let (target, kept) = (&there.target, &there.kept);
                return fail(format!(
                    "L1 it has no owner at the end (target {target:?}, kept for {kept:?})"
                ));
            }
            Some(owner) if self.serving(owner).is_none() => {
                return fail(format!("L3 it is stuck with {owner}, who is not there"));
            }
            Some(_) => {}
        }
        if there.token.as_ref() < self.checks.tokens.get(partition) {
            return fail("S1c a store has seen a higher token than its owner's: refused for ever".to_owned());
        }
        if there.target != there.owner {
            return fail(format!(
                "L3 it is never handed over: owner {:?}, target {:?}",
                there.owner, there.target
            ));
        }
        let next = there.progress.next.unwrap_or(-1);
        let topic = self
            .checks
            .oracle
            .topics
            .get(&partition.0)
            .map(|topic| topic.id)
            .unwrap_or_default();
        let end = self.source_end(topic, partition).unwrap_or(0);
        if next <= base.get(partition).copied().unwrap_or(-1) && next + 5 < end {
            return fail(format!(
                "L1 it does not go on: next {next}, end {end}, owner {:?}",
                there.owner
            ));
        }
        Ok(())
    }

    fn check_balance(&self, topic: &Arc<str>) -> Checked {
        let state = &self.checks.oracle;
        let mut owned: BTreeMap<&MemberId, usize> = (state.members.iter())
            .filter(|(_, member)| member.topics.contains(topic))
            .map(|(id, _)| (id, 0))
            .collect();
        for ((name, _), there) in &state.partitions {
            if name == topic
                && let Some(count) = there.owner.as_ref().and_then(|owner| owned.get_mut(owner))
            {
                *count += 1;
            }
        }
        match (owned.values().min(), owned.values().max()) {
            (Some(least), Some(most)) if most - least > 1 => {
                Err(Violation(format!("L1 topic {topic} is not balanced: {owned:?}")))
            }
            _ => Ok(()),
        }
    }
}
