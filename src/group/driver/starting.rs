//! Partitions that are about to start: first it is asked whether their topics were cut back behind what the group has
//! done (rule 10). Pure.

use std::collections::BTreeMap;

use super::Event;
use crate::broker::epochs::EpochEnd;
use crate::broker::metadata::Metadata;
use crate::group::record::{PartitionId, Token};
use crate::progress::Progress;

/// One that the outside has not heard of.
#[derive(Debug)]
struct Held {
    token: Token,
    progress: Progress,
    clean: bool,
    /// Events that follow its start.
    behind: Vec<Event>,
}

/// Those held back.
#[derive(Debug, Default)]
pub(super) struct Starting {
    held: BTreeMap<PartitionId, Held>,
    /// Those that are to be asked about.
    unasked: BTreeMap<PartitionId, i32>,
}

impl Starting {
    /// A partition starts: at once if nothing can have been cut off, since its leader is still the one that led it when
    /// the group was there.
    pub(super) fn start(
        &mut self,
        view: &Metadata,
        partition: PartitionId,
        token: Token,
        (progress, clean): (Progress, bool),
    ) -> Option<Event> {
        let leader = view.leader(&partition.0, partition.1);
        let known = progress.next.is_some() && progress.epoch >= 0;
        if !known || leader.is_some_and(|(_, epoch)| epoch == progress.epoch) {
            return Some(Event::Start {
                partition,
                token,
                progress,
                clean,
            });
        }
        self.unasked.insert(partition.clone(), progress.epoch);
        let held = Held {
            token,
            progress,
            clean,
            behind: Vec::new(),
        };
        self.held.insert(partition, held);
        None
    }

    /// What is to be asked now, about which leader epochs.
    pub(super) fn take_unasked(&mut self) -> BTreeMap<PartitionId, i32> {
        std::mem::take(&mut self.unasked)
    }

    /// An event that follows the start of its partition: it comes back if that has started.
    pub(super) fn follow(&mut self, partition: &PartitionId, token: Token, event: Event) -> Option<Event> {
        match self.held.get_mut(partition).filter(|held| held.token == token) {
            Some(held) => {
                held.behind.push(event);
                None
            }
            None => Some(event),
        }
    }

    /// A partition is to end: whether the outside has never heard of it.
    pub(super) fn end(&mut self, partition: &PartitionId, token: Token) -> bool {
        let held = self.held.get(partition).is_some_and(|held| held.token == token);
        if held {
            self.held.remove(partition);
            self.unasked.remove(partition);
        }
        held
    }

    /// What was answered about a partition under this epoch; none if it could not be found out, which the fetch from
    /// that place does anyhow. Its start and what follows, or where the topic was cut back to: then it is held until it
    /// is ended.
    pub(super) fn answered(
        &mut self,
        partition: &PartitionId,
        epoch: i32,
        end: Option<EpochEnd>,
    ) -> Result<Vec<Event>, (Token, i64)> {
        let Some(held) = self
            .held
            .get(partition)
            .filter(|held| held.progress.epoch == epoch)
        else {
            return Ok(Vec::new());
        };
        if let (Some(end), Some(next)) = (end, held.progress.next)
            && (0..next).contains(&end.end)
        {
            return Err((held.token, end.end));
        }
        let Some(held) = self.held.remove(partition) else {
            return Ok(Vec::new());
        };
        let start = Event::Start {
            partition: partition.clone(),
            token: held.token,
            progress: held.progress,
            clean: held.clean,
        };
        Ok(std::iter::once(start).chain(held.behind).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::broker::metadata::{Partition, Topic};

    fn id() -> PartitionId {
        (Arc::from("t"), 0)
    }

    fn token() -> Token {
        Token::try_from(9).unwrap()
    }

    fn view(leader_epoch: i32) -> Metadata {
        let partition = Partition {
            leader: Some(1),
            leader_epoch,
            ..Partition::default()
        };
        let topic = Topic {
            id: [1; 16],
            internal: false,
            error: None,
            partitions: vec![partition],
        };
        Metadata {
            topics: BTreeMap::from([("t".to_owned(), topic)]),
            ..Metadata::default()
        }
    }

    /// Held, as the topic has had another leader since.
    fn held() -> Starting {
        let mut starting = Starting::default();
        let none = starting.start(&view(6), id(), token(), (Progress::at(100, 5), true));
        assert!(none.is_none());
        assert_eq!(starting.take_unasked(), BTreeMap::from([(id(), 5)]));
        starting
    }

    fn end(end: i64) -> Option<EpochEnd> {
        Some(EpochEnd { epoch: 5, end })
    }

    #[test]
    fn under_the_same_leader_it_starts_at_once() {
        for (leader_epoch, progress) in [(5, Progress::at(100, 5)), (6, Progress::at(100, -1))] {
            let mut starting = Starting::default();
            let started = starting.start(&view(leader_epoch), id(), token(), (progress, true));
            assert!(matches!(started, Some(Event::Start { .. })));
        }
    }

    #[test]
    fn what_follows_a_start_waits_with_it() {
        let mut starting = held();
        let pause = Event::Pause {
            partition: id(),
            token: token(),
        };
        assert!(starting.follow(&id(), token(), pause).is_none());
        let events = starting.answered(&id(), 5, end(100)).unwrap();
        assert!(matches!(events[..], [Event::Start { .. }, Event::Pause { .. }]));
        let unpause = Event::Unpause {
            partition: id(),
            token: token(),
        };
        assert!(starting.follow(&id(), token(), unpause).is_some());
    }

    #[test]
    fn a_topic_that_was_cut_back_does_not_start() {
        let mut starting = held();
        assert_eq!(starting.answered(&id(), 5, end(80)).unwrap_err(), (token(), 80));
        assert!(starting.end(&id(), token()));
        assert!(!starting.end(&id(), token()));
    }

    #[test]
    fn an_answer_that_says_nothing_starts_it() {
        for end in [None, end(-1), end(100), end(2_000)] {
            assert_eq!(held().answered(&id(), 5, end).unwrap().len(), 1, "{end:?}");
        }
    }

    #[test]
    fn an_answer_for_one_that_has_ended_starts_nothing() {
        let mut starting = held();
        assert!(starting.end(&id(), token()));
        assert!(starting.answered(&id(), 5, end(100)).unwrap().is_empty());
    }
}
