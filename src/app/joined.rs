//! The loop that joins driver, fetcher and handler.

mod owned;
mod source;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::owned::Owned;
use super::{Notice, Permit, Told, Work};
use crate::broker::cluster::Cluster;
use crate::broker::error::Error;
use crate::broker::metadata::PartitionId;
use crate::broker::offsets;
use crate::clock;
use crate::fetch::cursor::Cursor;
use crate::fetch::fetcher::{Fetcher, Partitions};
use crate::group::driver::{Event, Group};
use crate::group::record::Token;
use crate::progress::Progress;
use crate::shutdown::Interrupts;

/// How long a partition that could not be read is left alone.
const RETRY: Duration = Duration::from_secs(30);
/// What leaving may take beside the drain: cancelling (2 s), a last report and `leave` (2 s), and their answers.
const LEAVING: Duration = Duration::from_secs(5);
/// Longest that leaving may take where nothing is owned.
const LEAVING_IDLE: Duration = Duration::from_secs(3);

/// How a member works.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long what is under way may take when this member leaves.
    pub drain: Duration,
    /// Whether to leave when all partitions that it owns are at the end that they had when it took them over.
    pub until_end: bool,
    /// Whether only committed transactions are seen.
    pub read_committed: bool,
}

/// How it came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It has left the group, everything handed over.
    Left {
        /// Partitions that it could not read at the end.
        unread: usize,
        /// Events whose handlers did not end in time and were cancelled: the next owner delivers them again.
        cut_off: usize,
    },
    /// It gave up waiting for that.
    GaveUp {
        /// Partitions that were not handed over.
        held: usize,
    },
    /// A second signal.
    Interrupted,
}

type End = (PartitionId, Token, Result<i64, Error>);

/// A member of a group at work.
pub struct Joined {
    cluster: Cluster,
    limits: Limits,
    group: Group,
    events: mpsc::Receiver<Event>,
    fetcher: Fetcher,
    partitions: Partitions,
    work: mpsc::Sender<Work>,
    told: mpsc::Receiver<Told>,
    /// The handler has ended.
    idle: bool,
    owned: BTreeMap<PartitionId, Owned>,
    /// Work that the handler has no room for yet.
    waiting: VecDeque<Work>,
    last_tag: u64,
    /// Ends that are being looked up.
    ends: JoinSet<End>,
    ready: bool,
    /// Until when leaving may take.
    leaving: Option<Instant>,
}

impl Joined {
    /// Joins what was started: the driver's handle and events, a fetcher and its partitions, the channels to the handler
    /// and from it.
    #[must_use]
    pub fn new(
        (cluster, limits): (Cluster, Limits),
        (group, events): (Group, mpsc::Receiver<Event>),
        (fetcher, partitions): (Fetcher, Partitions),
        (work, told): (mpsc::Sender<Work>, mpsc::Receiver<Told>),
    ) -> Self {
        Self {
            cluster,
            limits,
            group,
            events,
            fetcher,
            partitions,
            work,
            told,
            idle: false,
            owned: BTreeMap::new(),
            waiting: VecDeque::new(),
            last_tag: 0,
            ends: JoinSet::new(),
            ready: false,
            leaving: None,
        }
    }

    /// Works until the group is left: after a signal, at the end, when the handler has ended, or when the driver gives
    /// up. The handler may still be at its last work then, if it was not waited for.
    ///
    /// # Errors
    /// The driver's.
    pub async fn run(
        mut self,
        interrupts: &mut Interrupts,
        mut tell: impl FnMut(Notice),
    ) -> Result<Ending, crate::group::driver::Failure> {
        // Room in it must not keep the rest from being changed.
        let work = self.work.clone();
        loop {
            let retry = self.next_retry();
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(Event::Failed(failure)) => return Err(failure),
                    Some(Event::Left) | None => return Ok(self.left()),
                    Some(event) => self.event(event, &mut tell).await,
                },
                told = self.told.recv(), if !self.idle => match told {
                    Some(told) => self.told(told).await,
                    None => self.handler_ended().await,
                },
                room = work.reserve(), if !self.waiting.is_empty() && !self.idle => {
                    if let (Ok(room), Some(work)) = (room, self.waiting.pop_front()) {
                        room.send(work);
                    }
                }
                event = self.fetcher.next(), if self.waiting.is_empty() => if let Some(event) = event {
                    self.fetched(event, &mut tell).await;
                },
                Some(Ok(found)) = self.ends.join_next(), if !self.ends.is_empty() => self.end_found(found, &mut tell).await,
                () = clock::sleep_until(retry) => self.retry().await,
                () = clock::sleep_until(self.leaving) => return Ok(Ending::GaveUp { held: self.owned.len() }),
                () = interrupts.next() => {
                    if self.leaving.is_some() {
                        return Ok(Ending::Interrupted);
                    }
                    tell(Notice::Leaving);
                    self.begin_leaving();
                }
            }
            self.leave_at_end().await;
        }
    }

    fn left(&self) -> Ending {
        // The driver does not wait for ever for what cannot be stopped.
        let held = self.owned.values().filter(|owned| owned.at_work > 0).count();
        if held > 0 {
            return Ending::GaveUp { held };
        }
        let unread = self.owned.values().filter(|owned| owned.retry.is_some());
        Ending::Left {
            unread: unread.count(),
            cut_off: 0,
        }
    }

    async fn event(&mut self, event: Event, tell: &mut impl FnMut(Notice)) {
        match event {
            Event::Start {
                partition,
                token,
                progress,
                ..
            } => self.start(partition, token, progress).await,
            Event::Pause { partition, token } => self.pause(&partition, token, true).await,
            Event::Unpause { partition, token } => self.pause(&partition, token, false).await,
            // There is no fuse here.
            Event::Resumed => {}
            Event::Skip {
                partition,
                token,
                offset,
            } => self.skip(&partition, token, offset).await,
            Event::Drain { partition, token } => self.give_back(&partition, token, false).await,
            Event::Cancel { partition, token } => self.give_back(&partition, token, true).await,
            Event::Ready { owned, total } => {
                if !std::mem::replace(&mut self.ready, true) {
                    tell(Notice::Ready { owned, total });
                }
            }
            Event::Removed { why } => tell(Notice::Removed { why }),
            // Both end the loop.
            Event::Left | Event::Failed(_) => {}
            // Not asked for.
            Event::Reported { .. } => {}
        }
    }

    async fn start(&mut self, partition: PartitionId, token: Token, progress: Progress) {
        if self.owned.contains_key(&partition) {
            // The driver waits for the end of the old token; what is left of it here does not count.
            self.halt(&partition, true).await;
        }
        let owned = Owned::new(token, progress, Permit::new(self.group.lease()));
        self.owned.insert(partition.clone(), owned);
        self.settle(&partition).await;
    }

    /// The partition's entry, if it is ours under this token.
    fn ours(&mut self, id: &PartitionId, token: Token) -> Option<&mut Owned> {
        self.owned.get_mut(id).filter(|owned| owned.token == token)
    }

    async fn pause(&mut self, id: &PartitionId, token: Token, pause: bool) {
        let Some(owned) = self.ours(id, token) else {
            return;
        };
        owned.paused = pause;
        if pause {
            self.halt(id, false).await;
        }
        self.settle(id).await;
    }

    /// An operator took a record for finished. If the handler has it already, that makes no difference.
    async fn skip(&mut self, id: &PartitionId, token: Token, offset: i64) {
        if let Some(owned) = self.ours(id, token) {
            owned.progress.finish(offset);
            owned.news = true;
            self.pass_on(id).await;
        }
    }

    /// Ends the work on a partition; the driver hears of it when nothing runs any more.
    async fn give_back(&mut self, id: &PartitionId, token: Token, cancel: bool) {
        let Some(owned) = self.ours(id, token) else {
            return;
        };
        owned.ending = true;
        self.halt(id, cancel).await;
        self.settle(id).await;
    }

    /// Begins no more of a partition's records; with `void`, those that were begun are stopped.
    async fn halt(&mut self, id: &PartitionId, void: bool) {
        let Some(owned) = self.owned.get_mut(id) else {
            return;
        };
        if void {
            owned.permit.void();
        } else {
            owned.permit.close();
        }
        self.waiting.retain(|work| {
            let other = work.fetched.partition != id.1 || work.fetched.topic != id.0;
            owned.at_work -= usize::from(!other);
            other
        });
        if owned.fetching.take().is_some() {
            self.partitions.remove(id.clone()).await;
        }
    }

    /// Does what is due for a partition once nothing of it runs: gives it back, or fetches it from where it stands.
    async fn settle(&mut self, id: &PartitionId) {
        let Some(owned) = self.owned.get_mut(id).filter(|owned| owned.at_work == 0) else {
            return;
        };
        if owned.ending {
            let token = owned.token;
            self.pass_on(id).await;
            self.owned.remove(id);
            self.group.ended(id.clone(), token).await;
            return;
        }
        let rests = owned.paused || owned.fetching.is_some() || owned.retry.is_some();
        if rests || self.leaving.is_some() {
            return;
        }
        if self.limits.until_end && owned.end.is_none() {
            self.look_up_end(id);
            return;
        }
        // A first position is reported before anything starts.
        let Some(next) = owned.progress.next else { return };
        self.last_tag += 1;
        let mut cursor = Cursor::owned(Arc::clone(&id.0), id.1, next, owned.progress.epoch, self.last_tag);
        cursor.stop = owned.end;
        owned.fetching = Some(self.last_tag);
        owned.permit = Permit::new(self.group.lease());
        owned.finished = (owned.progress.gaps() > 0).then(|| Arc::new(owned.progress.clone()));
        self.partitions.add(cursor).await;
    }

    fn look_up_end(&mut self, id: &PartitionId) {
        let Some(owned) = self.owned.get(id) else { return };
        let (id, token, cluster) = (id.clone(), owned.token, self.cluster.clone());
        let read_committed = self.limits.read_committed;
        self.ends.spawn(async move {
            let bounds = offsets::bounds(&cluster, std::slice::from_ref(&id), read_committed).await;
            let end = bounds.and_then(|mut bounds| bounds.pop().unwrap_or(Err(Error::Closed)));
            (id, token, end.map(|(_, end)| end))
        });
    }

    async fn end_found(&mut self, (id, token, end): End, tell: &mut impl FnMut(Notice)) {
        let Some(owned) = self.ours(&id, token) else {
            return;
        };
        match end {
            Ok(end) => owned.end = Some(end),
            Err(error) => {
                owned.retry = Some(clock::now() + RETRY);
                tell(Notice::Unread {
                    partition: id.clone(),
                    error: error.into(),
                });
            }
        }
        self.settle(&id).await;
    }

    fn next_retry(&self) -> Option<Instant> {
        self.owned.values().filter_map(|owned| owned.retry).min()
    }

    async fn retry(&mut self) {
        let now = clock::now();
        let mut due = Vec::new();
        for (id, owned) in &mut self.owned {
            if owned.retry.is_some_and(|at| at <= now) {
                owned.retry = None;
                due.push(id.clone());
            }
        }
        for id in due {
            self.settle(&id).await;
        }
    }

    /// Takes in what the handler tells, all that is there, and passes each partition's progress on once.
    async fn told(&mut self, told: Told) {
        let mut grown = BTreeSet::new();
        let mut over = BTreeSet::new();
        let mut next = Some(told);
        while let Some(told) = next {
            match told {
                Told::Progress {
                    partition,
                    token,
                    news,
                } => {
                    if let Some(owned) = self.ours(&partition, token) {
                        owned.progress.merge(&news);
                        owned.news = true;
                        grown.insert(partition);
                    }
                }
                Told::Over { partition, token } => {
                    if let Some(owned) = self.ours(&partition, token) {
                        owned.at_work = owned.at_work.saturating_sub(1);
                        over.insert(partition);
                    }
                }
            }
            next = self.told.try_recv().ok();
        }
        for id in grown {
            self.pass_on(&id).await;
        }
        for id in over {
            self.settle(&id).await;
        }
    }

    async fn pass_on(&mut self, id: &PartitionId) {
        if let Some(owned) = self.owned.get_mut(id).filter(|owned| owned.news) {
            owned.news = false;
            let (token, progress) = (owned.token, owned.progress.clone());
            self.group.progress(id.clone(), token, progress).await;
        }
    }

    /// Nothing runs any more, and nothing will.
    async fn handler_ended(&mut self) {
        self.idle = true;
        self.waiting.clear();
        let ids: Vec<PartitionId> = self.owned.keys().cloned().collect();
        self.leave().await;
        for id in ids {
            if let Some(owned) = self.owned.get_mut(&id) {
                owned.at_work = 0;
            }
            self.settle(&id).await;
        }
    }

    async fn leave_at_end(&mut self) {
        let at_end = self.limits.until_end
            && self.ready
            && self.ends.is_empty()
            && self.owned.values().all(Owned::is_at_end);
        if at_end {
            self.leave().await;
        }
    }

    /// Begins no more, anywhere, and leaves.
    async fn leave(&mut self) {
        if self.leaving.is_some() {
            return;
        }
        self.begin_leaving();
        let ids: Vec<PartitionId> = self.owned.keys().cloned().collect();
        for id in ids {
            self.halt(&id, false).await;
        }
    }

    /// Has the driver leave: it asks for each partition's end. Until then its records go on, since nobody else could have them:
    /// a partition stands still only while it is handed over.
    fn begin_leaving(&mut self) {
        let within = if self.owned.is_empty() {
            LEAVING_IDLE
        } else {
            self.limits.drain + LEAVING
        };
        self.leaving = Some(clock::now() + within);
        self.group.leave();
    }
}
