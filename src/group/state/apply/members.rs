//! Members come and go: join, subscribe, leave, expire, and the assignment among them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::{Change, MAX_GONE, MAX_JOIN_DELAY, MemberInfo};
use super::{GONE, Step, Void};
use crate::group::record::{MemberId, PartitionId, Position, Report, Topics};
use crate::group::rules::Rule;

impl Step<'_> {
    pub(super) fn join(
        &mut self,
        member: &MemberId,
        info: MemberInfo,
        topics: &Topics,
        read: i64,
    ) -> Result<(), Void> {
        if self.state.members.contains_key(member) {
            return Err("the member lives already");
        }
        // A join that was written long ago must not bring back a member whose id was forgotten since.
        if self.rules.has(Rule::Gone) {
            if self.state.gone.contains(member) {
                return Err(GONE);
            }
            if self.at.offset().saturating_sub(read) > MAX_JOIN_DELAY {
                return Err("the join came too late");
            }
        }
        if info.speaks < self.state.level {
            return Err("the member does not speak the group's record version");
        }
        self.state.index.joined(member, self.at);
        self.state.members.insert(member.clone(), info);
        self.state.version = self.at;
        self.changes.push(Change::Joined(member.clone()));
        self.changes.push(Change::Beat(member.clone()));
        for (name, topic) in topics {
            self.take_topic(name, *topic, false);
        }
        Ok(())
    }

    pub(super) fn subscribe(&mut self, member: &MemberId, n: u64, topics: &Topics) -> Result<(), Void> {
        self.beat(member, n)?;
        let names: BTreeSet<Arc<str>> = topics.keys().cloned().collect();
        if let Some(info) = self.state.members.get_mut(member)
            && info.topics != names
        {
            info.topics = names;
            self.state.version = self.at;
            self.changes.push(Change::Subscribed(member.clone()));
            if self.rules.has(Rule::LiveTarget) {
                self.untarget_what_it_dropped(member, topics);
            }
        }
        for (name, topic) in topics {
            if self.take_topic(name, *topic, true) {
                self.state.version = self.at;
            }
        }
        Ok(())
    }

    fn untarget_what_it_dropped(&mut self, member: &MemberId, topics: &Topics) {
        let dropped: Vec<_> = self
            .state
            .targeted_at(member)
            .filter(|(topic, _)| !topics.contains_key(topic))
            .cloned()
            .collect();
        for partition in dropped {
            self.set_target(&partition, None);
        }
    }

    /// A numbered sign of life.
    pub(super) fn beat(&mut self, member: &MemberId, n: u64) -> Result<(), Void> {
        let info = self.state.members.get_mut(member).ok_or(GONE)?;
        if self.rules.has(Rule::OneInFlight) && n <= info.n {
            return Err("a repeat of an older report");
        }
        info.n = n;
        info.beat = self.at;
        self.changes.push(Change::Beat(member.clone()));
        Ok(())
    }

    pub(super) fn leave(&mut self, report: &Report) -> Result<(), Void> {
        if !self.state.members.contains_key(&report.member) {
            return Err(GONE);
        }
        self.work(report);
        self.changes.push(Change::Left(report.member.clone()));
        self.remove(&report.member);
        Ok(())
    }

    pub(super) fn expire(&mut self, member: &MemberId, seen: Position, by: &MemberId) -> Result<(), Void> {
        let info = self.state.members.get(member).ok_or(GONE)?;
        if info.beat != seen {
            return Err("the member gave a sign of life since");
        }
        self.changes.push(Change::Expired {
            member: member.clone(),
            by: by.clone(),
        });
        self.remove(member);
        Ok(())
    }

    /// Frees what a member owned and clears the targets that name it. What was its own, not on the way to another, is
    /// kept for its instance name, if it has one.
    fn remove(&mut self, member: &MemberId) {
        let Some(info) = self.state.members.remove(member) else {
            return;
        };
        self.state.index.left(info.joined);
        self.state.version = self.at;
        if self.rules.has(Rule::Gone) {
            self.state.gone.push_back(member.clone());
            if self.state.gone.len() > MAX_GONE {
                self.state.gone.pop_front();
            }
        }
        let owned: Vec<_> = self.state.owned_by(member).cloned().collect();
        let targeted: Vec<_> = self.state.targeted_at(member).cloned().collect();
        for partition in owned {
            if let Some(state) = self.set_owner(&partition, None)
                && state.target.as_ref().is_none_or(|target| target == member)
                && info.instance.is_some()
            {
                state.kept.clone_from(&info.instance);
            }
            self.changes.push(Change::Freed {
                partition: partition.clone(),
                member: member.clone(),
            });
            if self.rules.has(Rule::Settle) {
                self.freed.push(partition);
            }
        }
        if !self.rules.has(Rule::LiveTarget) {
            return;
        }
        for partition in targeted {
            self.set_target(&partition, None);
            if let Some(state) = self.state.partitions.get_mut(&partition)
                && info.instance.is_some()
            {
                state.kept.clone_from(&info.instance);
            }
        }
    }

    /// Each entry on its own; one whose member is gone or does not subscribe changes nothing.
    pub(super) fn assign(
        &mut self,
        basis: Position,
        changes: &BTreeMap<PartitionId, Option<MemberId>>,
    ) -> Result<(), Void> {
        if basis != self.state.version {
            return Err("it is based on an older state of the group");
        }
        let mut any = false;
        for (partition, target) in changes {
            if let Some(target) = target
                && !self.may_be_target(target, partition)
            {
                continue;
            }
            let Some(state) = self.state.partitions.get_mut(partition) else {
                continue;
            };
            let kept = target.is_some() && state.kept.take().is_some();
            any |= kept || state.target != *target;
            self.set_target(partition, target.clone());
            self.freed.push(partition.clone());
        }
        if !any {
            return Err("it changes nothing");
        }
        self.state.version = self.at;
        Ok(())
    }
}
