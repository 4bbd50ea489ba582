//! How many records are in partitions, from the offsets at their ends.

use std::sync::Arc;

use super::Named;
use crate::broker::offsets::{self, OffsetQuery, Outcome, Wanted};
use crate::broker::{Cluster, Error};

/// A partition's ends. Nothing where they are not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ends {
    /// The first offset that is still there.
    pub(super) earliest: Option<i64>,
    /// The offset behind the last record.
    pub(super) latest: Option<i64>,
}

impl Ends {
    /// As many records as there are offsets. There are fewer where a topic is compacted, and where transactions end:
    /// their markers take offsets too.
    pub(super) fn records_at_most(self) -> Option<u64> {
        u64::try_from(self.latest?.saturating_sub(self.earliest?)).ok()
    }
}

/// The sum over partitions, if all are known.
pub(super) fn sum(ends: &[Ends]) -> Option<u64> {
    ends.iter().map(|ends| ends.records_at_most()).sum()
}

/// Asks for the ends of all partitions: for each topic its partitions in order, and what could not be found out.
///
/// # Errors
/// If the brokers cannot be asked.
pub(super) async fn ends(
    cluster: &Cluster,
    topics: &[Named<'_>],
) -> Result<(Vec<Vec<Ends>>, Vec<Error>), Error> {
    let mut wanted = Vec::new();
    for (name, topic) in topics {
        let name: Arc<str> = Arc::from(*name);
        // Those without a leader would be waited for until --timeout.
        let led = (0..).zip(&topic.partitions).filter(|(_, p)| p.leader.is_some());
        for (partition, _) in led {
            for query in [OffsetQuery::Earliest, OffsetQuery::Latest] {
                let topic = Arc::clone(&name);
                wanted.push(Wanted {
                    topic,
                    partition,
                    query,
                });
            }
        }
    }
    let outcomes = offsets::list(cluster, &wanted, false).await?;
    let mut found = topics
        .iter()
        .map(|(_, topic)| vec![Ends::default(); topic.partitions.len()])
        .collect::<Vec<_>>();
    let failures = enter(topics, &wanted, outcomes, &mut found);
    Ok((found, failures))
}

fn enter(
    topics: &[Named<'_>],
    wanted: &[Wanted],
    outcomes: Vec<Outcome>,
    ends: &mut [Vec<Ends>],
) -> Vec<Error> {
    let mut failures = Vec::new();
    for (wanted, outcome) in wanted.iter().zip(outcomes) {
        let place = topics
            .iter()
            .position(|(name, _)| **name == *wanted.topic)
            .and_then(|topic| ends.get_mut(topic))
            .and_then(|partitions| partitions.get_mut(usize::try_from(wanted.partition).ok()?));
        let Some(place) = place else { continue };
        match outcome {
            Ok(found) => {
                let offset = found.map(|found| found.offset);
                match wanted.query {
                    OffsetQuery::Earliest => place.earliest = offset,
                    _ => place.latest = offset,
                }
            }
            Err(error) => failures.push(error),
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_the_offsets_between_the_ends_if_both_are_known() {
        let both = Ends {
            earliest: Some(10),
            latest: Some(25),
        };
        let one = Ends {
            earliest: None,
            latest: Some(25),
        };
        assert_eq!(both.records_at_most(), Some(15));
        assert_eq!(one.records_at_most(), None);
        assert_eq!(sum(&[both, both]), Some(30));
        assert_eq!(sum(&[both, one]), None);
        assert_eq!(sum(&[]), Some(0));
    }
}
