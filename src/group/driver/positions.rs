//! First positions: where a group begins in partitions of which it knows nothing (rule 9).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::StartFrom;
use crate::broker::Error;
use crate::broker::cluster::Cluster;
use crate::broker::commits::{self, Committed};
use crate::broker::offsets::{self, OffsetQuery, Wanted};
use crate::dead_letter::split_replay;
use crate::group::mirror::Marker;
use crate::group::record::{PartitionId, Token};

/// A partition that wants one.
#[derive(Debug, Clone)]
pub(super) struct Wants {
    pub(super) partition: PartitionId,
    pub(super) token: Token,
    /// It is to begin at its beginning, whatever the policy says.
    pub(super) late: bool,
}

/// How they are found.
#[derive(Debug, Clone)]
pub(super) struct Finder {
    pub(super) cluster: Cluster,
    pub(super) group: String,
    pub(super) from: StartFrom,
    pub(super) read_committed: bool,
    /// The log's id as Kafka's tools print it.
    pub(super) log: String,
    /// The log's floor: what was committed under a smaller token is from a log that is no more.
    pub(super) floor: u64,
}

/// The offset, and the leader epoch that goes with it (−1 if none is known).
pub(super) type Position = Result<(i64, i32), Error>;

impl Finder {
    /// Finds all of them.
    pub(super) async fn find(&self, wants: Vec<Wants>) -> Vec<(Wants, Position)> {
        let early: Vec<PartitionId> = wants
            .iter()
            .filter(|wants| !wants.late)
            .map(|wants| wants.partition.clone())
            .collect();
        let mut told = match self.committed(&early).await {
            Ok(told) => told,
            Err(error) => {
                let failed = wants.into_iter().map(|wants| (wants, Err(error.clone())));
                return failed.collect();
            }
        };
        let query = |wants: &Wants| {
            // What was replayed to this group waits for it, wherever it begins with what is new.
            let replay = split_replay(&wants.partition.0).is_some_and(|(_, group)| group == self.group);
            match self.from {
                StartFrom::Latest if !wants.late && !replay => OffsetQuery::Latest,
                StartFrom::Time(millis) if !wants.late && !replay => OffsetQuery::At(millis),
                _ => OffsetQuery::Earliest,
            }
        };
        let mut found: BTreeMap<PartitionId, Position> = BTreeMap::new();
        for wants in &wants {
            if let Some(committed) = told.remove(&wants.partition).filter(|_| !wants.late) {
                let position = (committed.offset, committed.leader_epoch);
                found.insert(wants.partition.clone(), Ok(position));
            }
        }
        let open: Vec<&Wants> = wants
            .iter()
            .filter(|wants| !found.contains_key(&wants.partition))
            .collect();
        let queries: Vec<(PartitionId, OffsetQuery)> = open
            .iter()
            .map(|wants| (wants.partition.clone(), query(wants)))
            .collect();
        found.extend(self.look_up(queries).await);
        let answer = |wants: Wants| {
            let position = found.get(&wants.partition).cloned();
            (wants, position.unwrap_or(Err(Error::Closed)))
        };
        wants.into_iter().map(answer).collect()
    }

    /// What Kafka's own group says: of the group whose commits are to be taken over, and of this one's own from a log
    /// that was lost, which comes first. (Without `--rebuild-from-native` no log is founded over such commits.)
    async fn committed(&self, partitions: &[PartitionId]) -> Result<BTreeMap<PartitionId, Committed>, Error> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut told = match &self.from {
            StartFrom::KafkaGroup(other) => {
                commits::committed(&self.cluster, other, Some(partitions)).await?
            }
            _ => BTreeMap::new(),
        };
        let own = match commits::committed(&self.cluster, &self.group, Some(partitions)).await {
            Ok(own) => own,
            // Then the mirror has not written there either.
            Err(error) if error.is_unauthorised() => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let of_a_lost_log = |committed: &Committed| {
            let marker = committed.metadata.parse::<Marker>();
            marker.is_ok_and(|marker| marker.log != self.log || marker.token.number() < self.floor)
        };
        told.extend(own.into_iter().filter(|(_, committed)| of_a_lost_log(committed)));
        Ok(told)
    }

    async fn look_up(&self, queries: Vec<(PartitionId, OffsetQuery)>) -> BTreeMap<PartitionId, Position> {
        let mut found = BTreeMap::new();
        let mut beyond = Vec::new();
        for ((id, query), outcome) in self.list(queries).await {
            match outcome {
                Ok(Some(position)) => {
                    found.insert(id, Ok(position));
                }
                // Nothing is that young: behind the newest record.
                Ok(None) if query != OffsetQuery::Latest => beyond.push((id, OffsetQuery::Latest)),
                Ok(None) => {
                    found.insert(id, Ok((0, -1)));
                }
                Err(error) => {
                    found.insert(id, Err(error));
                }
            }
        }
        if !beyond.is_empty() {
            let again = self.list(beyond).await.into_iter();
            found.extend(again.map(|((id, _), outcome)| (id, outcome.map(|found| found.unwrap_or((0, -1))))));
        }
        found
    }

    async fn list(
        &self,
        queries: Vec<(PartitionId, OffsetQuery)>,
    ) -> Vec<((PartitionId, OffsetQuery), Result<Option<(i64, i32)>, Error>)> {
        if queries.is_empty() {
            return Vec::new();
        }
        let wanted: Vec<Wanted> = queries
            .iter()
            .map(|((topic, partition), query)| Wanted {
                topic: Arc::clone(topic),
                partition: *partition,
                query: *query,
            })
            .collect();
        let outcomes = match offsets::list(&self.cluster, &wanted, self.read_committed).await {
            Ok(outcomes) => outcomes,
            Err(error) => vec![Err(error); queries.len()],
        };
        let place = |outcome: offsets::Outcome| {
            outcome.map(|found| found.map(|found| (found.offset, found.leader_epoch)))
        };
        queries.into_iter().zip(outcomes.into_iter().map(place)).collect()
    }
}
