//! What the cluster looks like: brokers, topics, partitions, leaders.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::MetadataResponse;

use super::error::Error;
use super::settings::HostPort;

/// A view of the cluster, as one answer told it, merged over time.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// Broker id → address.
    pub brokers: BTreeMap<i32, HostPort>,
    /// The cluster's own id.
    pub cluster_id: Option<String>,
    /// Whom to ask for changes: the controller, or with KRaft a broker that passes them on to it.
    pub controller: Option<i32>,
    /// Topic name → what is known of it. Topics that were asked for and do not exist are here with their error.
    pub topics: BTreeMap<String, Topic>,
}

/// A topic.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Changes when the topic is deleted and created again.
    pub id: [u8; 16],
    /// Kafka's own (`__consumer_offsets`).
    pub internal: bool,
    /// Why nothing is known of it.
    pub error: Option<ResponseError>,
    /// By partition number, without gaps.
    pub partitions: Vec<Partition>,
}

/// A partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partition {
    /// The leading broker, unless there is none at the moment.
    pub leader: Option<i32>,
    /// Grows with each leader.
    pub leader_epoch: i32,
    /// Brokers that hold a copy.
    pub replicas: Vec<i32>,
    /// Those in sync.
    pub isr: Vec<i32>,
    /// Those that are down.
    pub offline: Vec<i32>,
}

impl Metadata {
    /// Reads an answer.
    pub(crate) fn from_response(response: &MetadataResponse) -> Self {
        let brokers = response
            .brokers
            .iter()
            .filter_map(|broker| {
                let port = u16::try_from(broker.port).ok()?;
                Some((
                    broker.node_id.0,
                    HostPort {
                        host: broker.host.to_string(),
                        port,
                    },
                ))
            })
            .collect();
        let topics = response.topics.iter().filter_map(|topic| {
            let name = topic.name.as_ref()?.to_string();
            let mut partitions = Vec::new();
            for partition in &topic.partitions {
                let index = usize::try_from(partition.partition_index).ok()?;
                if partitions.len() <= index {
                    partitions.resize(index + 1, Partition::default());
                }
                let ids = |ids: &[kafka_protocol::messages::BrokerId]| ids.iter().map(|id| id.0).collect();
                partitions[index] = Partition {
                    leader: (partition.leader_id.0 >= 0).then_some(partition.leader_id.0),
                    leader_epoch: partition.leader_epoch,
                    replicas: ids(&partition.replica_nodes),
                    isr: ids(&partition.isr_nodes),
                    offline: ids(&partition.offline_replicas),
                };
            }
            Some((
                name,
                Topic {
                    id: topic.topic_id.into_bytes(),
                    internal: topic.is_internal,
                    error: ResponseError::try_from_code(topic.error_code),
                    partitions,
                },
            ))
        });
        Self {
            brokers,
            cluster_id: response.cluster_id.as_ref().map(ToString::to_string),
            controller: (response.controller_id.0 >= 0).then_some(response.controller_id.0),
            topics: topics.collect(),
        }
    }

    /// Takes over what a newer answer tells. A leader of an older epoch does not replace a newer one's
    /// (brokers learn of moves at different times), unless the topic is another one.
    pub(crate) fn merge(&mut self, newer: &Self) {
        self.brokers.clone_from(&newer.brokers);
        self.cluster_id.clone_from(&newer.cluster_id);
        self.controller = newer.controller;
        for (name, topic) in &newer.topics {
            let mut topic = topic.clone();
            if let Some(old) = self.topics.get(name).filter(|old| old.id == topic.id) {
                for (old, new) in old.partitions.iter().zip(&mut topic.partitions) {
                    if new.leader_epoch < old.leader_epoch {
                        new.clone_from(old);
                    }
                }
            }
            self.topics.insert(name.clone(), topic);
        }
    }

    /// The leader of a partition and its epoch, if one is known.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<(i32, i32)> {
        let partition = self
            .topics
            .get(topic)?
            .partitions
            .get(usize::try_from(partition).ok()?)?;
        Some((partition.leader?, partition.leader_epoch))
    }

    /// Why a partition without a leader cannot be used: what the brokers say of its topic, or just that.
    pub(crate) fn leaderless(&self, what: String, topic: &str) -> Error {
        let error = self.topics.get(topic).and_then(|topic| topic.error);
        Error::Refused {
            what,
            code: error.unwrap_or(ResponseError::LeaderNotAvailable),
            message: None,
        }
    }
}

/// A topic's name and the partition's number.
pub type PartitionId = (Arc<str>, i32);

/// A view that others may keep.
pub type View = Arc<Metadata>;

#[cfg(test)]
mod tests {
    use super::*;

    fn with_leader(id: u8, leader: i32, leader_epoch: i32) -> Metadata {
        let partition = Partition {
            leader: Some(leader),
            leader_epoch,
            ..Partition::default()
        };
        let topic = Topic {
            id: [id; 16],
            internal: false,
            error: None,
            partitions: vec![partition],
        };
        Metadata {
            topics: BTreeMap::from([("t".to_owned(), topic)]),
            ..Metadata::default()
        }
    }

    #[test]
    fn an_older_leader_does_not_replace_a_newer_one() {
        let mut view = with_leader(1, 2, 5);
        view.merge(&with_leader(1, 1, 4));
        assert_eq!(view.leader("t", 0), Some((2, 5)));
        view.merge(&with_leader(1, 3, 6));
        assert_eq!(view.leader("t", 0), Some((3, 6)));
    }

    #[test]
    fn a_topic_made_anew_starts_with_its_own_epochs() {
        let mut view = with_leader(1, 2, 5);
        view.merge(&with_leader(2, 1, 0));
        assert_eq!(view.leader("t", 0), Some((1, 0)));
    }

    #[test]
    fn an_unknown_partition_has_no_leader() {
        let view = with_leader(1, 2, 5);
        assert_eq!(view.leader("t", 1), None);
        assert_eq!(view.leader("t", -1), None);
        assert_eq!(view.leader("u", 0), None);
    }
}
