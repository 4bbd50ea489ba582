//! Positions that mean nothing any more: topics made anew, partitions without a leader, offsets out of range.

use std::sync::Arc;

use super::{Asked, Done, MAX_UNKNOWN, Task, wait};
use crate::broker::error::{Error, Retry};
use crate::broker::metadata::PartitionId;
use crate::broker::offsets;
use crate::fetch::event::{Event, FetchError};

impl Task {
    /// Finds topics that were deleted and created again, whose offsets mean something else now.
    pub(super) fn recreated(&mut self) {
        let view = self.cluster.view();
        for (name, known) in &mut self.topic_ids {
            let now = view
                .topics
                .get(name)
                .filter(|topic| topic.error.is_none())
                .map(|topic| topic.id);
            let Some(now) = now.filter(|now| now != known) else {
                continue;
            };
            *known = now;
            let of_topic = self.cursors.iter_mut().filter(|(id, _)| *id.0 == **name);
            let mut ended = Vec::new();
            for (id, cursor) in of_topic {
                let (topic, partition) = (Arc::clone(&id.0), id.1);
                let (tag, from) = (cursor.tag, cursor.position);
                if cursor.stop.is_some() && cursor.follows {
                    ended.push(id.clone());
                    let topic_name = topic.to_string();
                    let error = FetchError::Recreated {
                        topic: topic_name,
                        partition,
                        offset: from,
                    };
                    self.ready.push_back(Event::Failed {
                        topic,
                        partition,
                        tag,
                        error,
                    });
                } else {
                    if cursor.follows {
                        cursor.move_to(0, None);
                    } else {
                        cursor.stopped = true;
                    }
                    self.ready.push_back(Event::Recreated {
                        topic,
                        partition,
                        tag,
                        from,
                    });
                }
            }
            for id in ended {
                self.cursors.remove(&id);
            }
        }
    }

    /// Waits for partitions without a leader; gives up those that will not get one.
    pub(super) fn leaderless(&mut self) {
        let view = self.cluster.view();
        let mut gone = Vec::new();
        for (id, cursor) in &mut self.cursors {
            if view.leader(&id.0, id.1).is_some() {
                continue;
            }
            let error = view.leaderless(format!("reading partition {} of topic {}", id.1, id.0), &id.0);
            // For a moment a broker may not know of a topic; one that stays unknown was deleted, and may be made anew
            // for those who go by its id.
            let deleted = error.is_unknown_topic() && cursor.follows && cursor.errors >= MAX_UNKNOWN;
            let lasting = deleted || error.retry() == Retry::No;
            if lasting {
                gone.push((id.clone(), error));
            } else {
                if cursor.errors == MAX_UNKNOWN {
                    tracing::warn!("{error}; waiting for it");
                }
                wait(cursor);
            }
        }
        for (id, error) in gone {
            self.fail(id, error.into());
        }
    }

    /// Goes on elsewhere, in a log that ends at `end`, if that is known, and tells. A cursor that does not follow stops
    /// where its log was cut back; what retention took is lost to it as well.
    pub(super) fn moved(&mut self, id: &PartitionId, from: i64, to: i64, end: Option<i64>) {
        let Some(cursor) = self.cursors.get_mut(id) else {
            return;
        };
        let tag = cursor.tag;
        if cursor.follows || to > from {
            cursor.move_to(to, end);
        } else {
            cursor.stopped = true;
        }
        if cursor.is_done() {
            self.cursors.remove(id);
        }
        self.ready.push_back(Event::Moved {
            topic: Arc::clone(&id.0),
            partition: id.1,
            tag,
            from,
            to,
        });
    }

    /// The position is not in the log: finds out where the log begins and ends.
    pub(super) fn look_up(&mut self, id: PartitionId) {
        let Some(tag) = self.cursors.get(&id).map(|cursor| cursor.tag) else {
            return;
        };
        if !self.moving.insert(id.clone()) {
            return;
        }
        let cluster = self.cluster.clone();
        let read_committed = self.read_committed;
        self.jobs.spawn(async move {
            // Another topic of this name would explain it.
            let known = cluster.refresh(Some(&[&*id.0])).await;
            if let Err(error) = known {
                return Done::Found((id, tag), Err(error));
            }
            let bounds = offsets::bounds(&cluster, std::slice::from_ref(&id), read_committed).await;
            let bound = bounds.and_then(|mut bounds| bounds.pop().unwrap_or(Err(Error::Closed)));
            Done::Found((id, tag), bound)
        });
    }

    pub(super) fn found(&mut self, (id, tag): &Asked, result: Result<(i64, i64), Error>) {
        self.recreated();
        let Some(cursor) = self.cursors.get_mut(id).filter(|cursor| cursor.tag == *tag) else {
            return;
        };
        self.moving.remove(id);
        if cursor.stopped {
            return;
        }
        match result {
            Ok((start, end)) => {
                let from = cursor.position;
                if (start..=end).contains(&from) {
                    // Moved meanwhile; or it was a follower or a leader that is not up to date yet.
                    return wait(cursor);
                }
                let to = from.clamp(start, end.max(start));
                self.moved(id, from, to, (to < from).then_some(end));
            }
            Err(error) if error.retry() == Retry::No && !error.is_unreachable() => {
                self.fail(id.clone(), error.into());
            }
            Err(error) => {
                tracing::warn!("{error}");
                wait(cursor);
            }
        }
    }
}
