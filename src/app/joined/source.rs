//! What the fetcher brings and tells.

use std::sync::Arc;

use super::{Joined, Notice, Owned, RETRY, Work};
use crate::broker::metadata::PartitionId;
use crate::clock;
use crate::fetch::event::{Event as Fetch, FetchError, Fetched};

impl Joined {
    /// The partition's entry, if this comes from the cursor that fetches it.
    fn fetching(&mut self, id: &PartitionId, tag: u64) -> Option<&mut Owned> {
        self.owned.get_mut(id).filter(|owned| owned.fetching == Some(tag))
    }

    pub(super) async fn fetched(&mut self, event: Fetch, tell: &mut impl FnMut(Notice)) {
        match event {
            Fetch::Fetched(parts) => parts.into_iter().for_each(|part| self.records(part)),
            Fetch::Moved {
                topic,
                partition,
                tag,
                from,
                to,
            } => {
                let id = (topic, partition);
                if self.fetching(&id, tag).is_none() {
                    return;
                }
                if to > from {
                    self.gone(id, from, to, tell).await;
                } else {
                    self.cut_back(id, from, to, tell).await;
                }
            }
            Fetch::Recreated {
                topic,
                partition,
                tag,
                from,
            } => {
                let partition = (topic, partition);
                // The driver sees it as well, and gives the new topic's partitions new tokens.
                if self.fetching(&partition, tag).is_some() {
                    tell(Notice::Recreated { partition, from });
                }
            }
            Fetch::Failed {
                topic,
                partition,
                tag,
                error,
            } => self.failed((topic, partition), tag, error, tell),
        }
    }

    fn records(&mut self, fetched: Fetched) {
        let id = (Arc::clone(&fetched.topic), fetched.partition);
        let Some(owned) = self.fetching(&id, fetched.tag) else {
            return;
        };
        owned.at_work += 1;
        let work = Work {
            fetched,
            token: owned.token,
            permit: owned.permit.clone(),
            finished: owned.finished.clone(),
        };
        self.waiting.push_back(work);
    }

    /// Offsets that fell off the source's start: the fetcher is behind them already.
    async fn gone(&mut self, id: PartitionId, from: i64, to: i64, tell: &mut impl FnMut(Notice)) {
        let Some(owned) = self.owned.get_mut(&id) else {
            return;
        };
        owned.progress.done.insert_range(from..to);
        owned.progress.normalise();
        owned.news = true;
        let token = owned.token;
        self.group.gap(id.clone(), token, from..to).await;
        self.pass_on(&id).await;
        tell(Notice::Gone {
            partition: id,
            offsets: from..to,
        });
    }

    /// The source was cut back: by an unclean election, or a topic of the same name that is younger than we know. A
    /// reset through the log gives the partition a new token and position; until then it is not fetched.
    async fn cut_back(&mut self, id: PartitionId, from: i64, to: i64, tell: &mut impl FnMut(Notice)) {
        let Some(owned) = self.owned.get(&id) else { return };
        let token = owned.token;
        self.group.cut_back(id.clone(), token, to).await;
        tell(Notice::CutBack {
            partition: id,
            from,
            to,
        });
    }

    fn failed(&mut self, id: PartitionId, tag: u64, error: FetchError, tell: &mut impl FnMut(Notice)) {
        let Some(owned) = self.fetching(&id, tag) else {
            return;
        };
        owned.fetching = None;
        owned.retry = Some(clock::now() + RETRY);
        tell(Notice::Unread { partition: id, error });
    }
}
