//! Who owns and should own what.

use std::collections::{BTreeMap, BTreeSet};

use crate::group::record::{MemberId, PartitionId, Position};

/// What follows from members and partitions, kept beside them so that a record costs what it touches.
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

    pub(super) fn targeted<'a>(&'a self, member: &MemberId) -> impl Iterator<Item = &'a PartitionId> + use<'a> {
        self.targeted.get(member).into_iter().flatten()
    }
}
