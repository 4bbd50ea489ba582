//! Topics come, grow, and are made anew.

use std::sync::Arc;

use super::super::{Change, PartitionState};
use super::{Step, Void};
use crate::group::record::{PartitionId, TopicInfo};

impl Step<'_> {
    /// Takes in what a member says of a topic: a topic that is new to the state is added, one with more partitions
    /// grows, one with another id is left alone (that takes a grow which names the former id). Whether it changed
    /// anything.
    pub(super) fn take_topic(&mut self, name: &Arc<str>, topic: TopicInfo, late: bool) -> bool {
        match self.state.topics.get(name).copied() {
            None => self.add(name, 0, topic, late),
            Some(known) if known.id == topic.id && known.partitions < topic.partitions => {
                self.add(name, known.partitions, topic, true);
            }
            Some(_) => return false,
        }
        true
    }

    fn add(&mut self, name: &Arc<str>, from: i32, topic: TopicInfo, late: bool) {
        self.state.topics.insert(name.clone(), topic);
        for partition in from..topic.partitions {
            let state = PartitionState {
                late,
                ..PartitionState::default()
            };
            self.state.partitions.insert((name.clone(), partition), state);
        }
        self.changes.push(Change::Grown {
            topic: name.clone(),
            from,
            to: topic.partitions,
        });
    }

    pub(super) fn grow(&mut self, name: &Arc<str>, id: [u8; 16], partitions: i32) -> Result<(), Void> {
        let known = *self
            .state
            .topics
            .get(name)
            .ok_or("nobody subscribes to the topic")?;
        if known.id != id {
            return Err("it is about another topic of that name");
        }
        if known.partitions >= partitions {
            return Err("the topic has as many partitions already");
        }
        self.add(name, known.partitions, TopicInfo { id, partitions }, true);
        self.state.version = self.at;
        Ok(())
    }

    /// The topic was deleted and made anew: all its progress is that of another topic. Owners and targets stay, so that
    /// no partition changes hands while its handlers run; the new token makes an owner end those first.
    pub(super) fn recreate(
        &mut self,
        name: &Arc<str>,
        was: [u8; 16],
        id: [u8; 16],
        partitions: i32,
    ) -> Result<(), Void> {
        let known = *self
            .state
            .topics
            .get(name)
            .ok_or("nobody subscribes to the topic")?;
        if known.id != was || id == was {
            return Err("it is about another topic of that name");
        }
        self.state
            .topics
            .insert(name.clone(), TopicInfo { id, partitions });
        self.state.version = self.at;
        self.changes.push(Change::Recreated { topic: name.clone() });
        for partition in 0..known.partitions {
            let partition = (name.clone(), partition);
            if partition.1 < partitions {
                self.begin_anew(&partition);
            } else {
                self.drop_partition(&partition);
            }
        }
        if known.partitions < partitions {
            self.add(name, known.partitions, TopicInfo { id, partitions }, true);
        }
        Ok(())
    }

    fn begin_anew(&mut self, partition: &PartitionId) {
        let Some(state) = self.state.partitions.get_mut(partition) else {
            return;
        };
        let before = std::mem::take(&mut state.progress);
        state.kept = None;
        state.late = true;
        state.token = Some(self.token);
        self.changes.push(Change::Reset {
            partition: partition.clone(),
            from: before.next,
            to: None,
            token: self.token,
        });
    }

    fn drop_partition(&mut self, partition: &PartitionId) {
        self.set_target(partition, None);
        let owner = self
            .state
            .partitions
            .get(partition)
            .and_then(|state| state.owner.clone());
        self.set_owner(partition, None);
        self.state.partitions.remove(partition);
        if let Some(member) = owner {
            self.changes.push(Change::Freed {
                partition: partition.clone(),
                member,
            });
        }
    }
}
