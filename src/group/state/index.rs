//! Who is how old, who owns and who should own what: kept beside the state, so that a record costs what it touches.

use std::collections::{BTreeMap, BTreeSet};

use crate::group::record::{MemberId, PartitionId, Position};

/// Follows from members and partitions; [`State`](super::State)'s own methods keep it so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Index {
    by_age: BTreeMap<Position, MemberId>,
    owned: BTreeMap<MemberId, BTreeSet<PartitionId>>,
    targeted: BTreeMap<MemberId, BTreeSet<PartitionId>>,
}

impl Index {
    /// The living members, the one that joined first at the front.
    pub(super) fn by_age(&self) -> impl Iterator<Item = &MemberId> {
        self.by_age.values()
    }

    pub(super) fn owned<'a>(&'a self, member: &MemberId) -> impl Iterator<Item = &'a PartitionId> + use<'a> {
        self.owned.get(member).into_iter().flatten()
    }

    pub(super) fn targeted<'a>(
        &'a self,
        member: &MemberId,
    ) -> impl Iterator<Item = &'a PartitionId> + use<'a> {
        self.targeted.get(member).into_iter().flatten()
    }

    pub(super) fn joined(&mut self, member: &MemberId, at: Position) {
        self.by_age.insert(at, member.clone());
    }

    pub(super) fn left(&mut self, at: Position) {
        self.by_age.remove(&at);
    }

    pub(super) fn owner(&mut self, partition: &PartitionId, from: Option<&MemberId>, to: Option<&MemberId>) {
        shift(&mut self.owned, partition, from, to);
    }

    pub(super) fn target(&mut self, partition: &PartitionId, from: Option<&MemberId>, to: Option<&MemberId>) {
        shift(&mut self.targeted, partition, from, to);
    }
}

fn shift(
    sets: &mut BTreeMap<MemberId, BTreeSet<PartitionId>>,
    partition: &PartitionId,
    from: Option<&MemberId>,
    to: Option<&MemberId>,
) {
    if let Some(from) = from
        && let Some(set) = sets.get_mut(from)
    {
        set.remove(partition);
        if set.is_empty() {
            sets.remove(from);
        }
    }
    if let Some(to) = to {
        sets.entry(to.clone()).or_default().insert(partition.clone());
    }
}
