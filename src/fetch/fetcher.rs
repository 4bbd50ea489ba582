//! The fetcher: one request per broker for all its partitions, bounded by bytes.
//!
//! One task owns the cursors. As soon as an answer has come, and its batches' headers have told where to go on, the
//! next request leaves; the answer itself goes to whoever reads, through a channel that bounds what is in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::cursor::{Advance, Cursor};
use crate::broker::backoff::Backoff;
use crate::broker::cluster::{Cluster, Lane, Node};
use crate::broker::connection::Connection;
use crate::broker::error::{Error, Retry};
use crate::broker::fetch::{self as wire, FetchLimits, Part, Wanted};
use crate::broker::metadata::PartitionId;
use crate::broker::offsets;
use crate::clock;
use crate::record::AbortedTransaction;

/// Answers that wait for the reader, beside the one it works on.
const AHEAD: usize = 1;
/// Delays after errors.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Errors in a row after which a topic that the brokers do not know is taken for deleted: about 3 s.
const MAX_UNKNOWN: u32 = 5;

/// Records of one partition, as they came.
#[derive(Debug)]
pub struct Fetched {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The broker they came from.
    pub broker: i32,
    /// The offsets that were asked for: batches may begin before and end behind them.
    pub offsets: Range<i64>,
    /// Batches; the last one may be cut.
    pub set: Bytes,
    /// Transactions that were aborted.
    pub aborted: Vec<AbortedTransaction>,
}

/// What the fetcher has to tell.
#[derive(Debug)]
pub enum Event {
    /// An answer with records.
    Fetched(Vec<Fetched>),
    /// The position was not in the log any more, or not yet.
    Moved {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// Where reading was.
        from: i64,
        /// Where it goes on.
        to: i64,
    },
    /// The topic was deleted and created again: its new log is read from the beginning.
    Recreated {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// Where reading was in the old log.
        from: i64,
    },
    /// Reading a partition has ended for good.
    Failed {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// Why.
        error: FetchError,
    },
}

/// Why a partition cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The brokers' word.
    #[error(transparent)]
    Broker(#[from] Error),
    /// The brokers' bytes.
    #[error("partition {partition} of topic {topic} cannot be read beyond offset {offset}: {reason}")]
    Broken {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where reading stopped.
        offset: i64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// Another topic of the same name, where an end in the old one was asked for.
    #[error(
        "topic {topic} was deleted and created again while it was read (up to offset {offset} of partition {partition})"
    )]
    Recreated {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where reading was in the old log.
        offset: i64,
    },
}

/// A handle to the fetcher's task, which ends with it, or when all cursors are done.
#[derive(Debug)]
pub struct Fetcher {
    events: mpsc::Receiver<Event>,
    stop: Arc<Notify>,
}

/// Ends a fetcher from outside of whatever reads it.
#[derive(Debug)]
pub struct Stopper(Arc<Notify>);

impl Stopper {
    /// What was fetched already can still be read.
    pub fn stop(&self) {
        self.0.notify_one();
    }
}

impl Fetcher {
    /// Starts fetching.
    #[must_use]
    pub fn start(cluster: Cluster, cursors: Vec<Cursor>, limits: FetchLimits, read_committed: bool) -> Self {
        let (send, events) = mpsc::channel(AHEAD);
        let cursors = cursors
            .into_iter()
            .filter(|cursor| !cursor.is_done())
            .map(|cursor| ((Arc::clone(&cursor.topic), cursor.partition), cursor))
            .collect();
        let view = cluster.view();
        let topic_ids = view
            .topics
            .iter()
            .map(|(name, topic)| (name.clone(), topic.id))
            .collect();
        let task = Task {
            cluster,
            topic_ids,
            limits,
            read_committed,
            cursors,
            brokers: BTreeMap::new(),
            answers: FuturesUnordered::new(),
            jobs: JoinSet::new(),
            ready: VecDeque::new(),
            refreshing: false,
            moving: BTreeSet::new(),
        };
        let stop = Arc::new(Notify::new());
        tokio::spawn(task.run(send, Arc::clone(&stop)));
        Self { events, stop }
    }

    /// A way to end it while it is read elsewhere.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.stop))
    }

    /// The next event; `None` when all cursors are done.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Likewise, on a thread outside the runtime.
    pub fn blocking_next(&mut self) -> Option<Event> {
        self.events.blocking_recv()
    }

    /// What is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}

#[derive(Default)]
struct Broker {
    connection: Option<Arc<Connection>>,
    busy: bool,
    /// The last partition that brought records: the next request begins behind it. A broker fills an answer in the
    /// request's order, so that busy partitions at its beginning would leave no room for the others.
    served: Option<PartitionId>,
    not_before: Option<Instant>,
    backoff: Option<Backoff>,
}

struct Answered {
    broker: i32,
    asked: Vec<PartitionId>,
    result: Result<Vec<Part>, Error>,
}

enum Done {
    Refreshed(Result<(), Error>),
    Connected(i32, Result<Arc<Connection>, Error>),
    Found(PartitionId, Result<(i64, i64), Error>),
}

struct Task {
    cluster: Cluster,
    /// Topic → its id when reading began.
    topic_ids: BTreeMap<String, [u8; 16]>,
    limits: FetchLimits,
    read_committed: bool,
    cursors: BTreeMap<PartitionId, Cursor>,
    brokers: BTreeMap<i32, Broker>,
    answers: FuturesUnordered<Pin<Box<dyn Future<Output = Answered> + Send>>>,
    jobs: JoinSet<Done>,
    ready: VecDeque<Event>,
    refreshing: bool,
    /// Partitions whose position is being looked up.
    moving: BTreeSet<PartitionId>,
}

impl Task {
    async fn run(mut self, events: mpsc::Sender<Event>, stop: Arc<Notify>) {
        loop {
            let now = clock::now();
            self.drive(now);
            if self.cursors.is_empty() && self.ready.is_empty() {
                return;
            }
            let wake = self.next_wake(now);
            tokio::select! {
                room = events.reserve(), if !self.ready.is_empty() => match (room, self.ready.pop_front()) {
                    (Ok(room), Some(event)) => room.send(event),
                    // Nobody reads any more.
                    _ => return,
                },
                () = stop.notified() => return,
                () = events.closed(), if self.ready.is_empty() => return,
                Some(answered) = self.answers.next(), if !self.answers.is_empty() => self.answered(answered),
                Some(done) = self.jobs.join_next(), if !self.jobs.is_empty() => {
                    if let Ok(done) = done {
                        self.done(done);
                    }
                }
                () = clock::sleep_until(wake) => {}
            }
        }
    }

    /// When something is to be done without an event from outside. `now` is the time that `drive` went by, lest
    /// something that falls due in between be missed.
    fn next_wake(&self, now: Instant) -> Option<Instant> {
        let cursors = self.cursors.values().filter_map(|cursor| cursor.not_before);
        let brokers = self
            .brokers
            .values()
            .filter(|broker| !broker.busy)
            .filter_map(|broker| broker.not_before);
        cursors.chain(brokers).filter(|at| *at > now).min()
    }

    /// Sends what can be sent.
    fn drive(&mut self, now: Instant) {
        if !self.ready.is_empty() {
            return;
        }
        let view = self.cluster.view();
        let mut by_broker: BTreeMap<i32, Vec<Wanted>> = BTreeMap::new();
        let mut leaderless = false;
        for (id, cursor) in &self.cursors {
            if cursor.not_before.is_some_and(|at| now < at) || self.moving.contains(id) {
                continue;
            }
            match view.leader(&id.0, id.1) {
                Some((leader, leader_epoch)) => by_broker.entry(leader).or_default().push(Wanted {
                    topic: Arc::clone(&id.0),
                    partition: id.1,
                    offset: cursor.position,
                    leader_epoch,
                    last_epoch: cursor.last_epoch,
                }),
                None => leaderless = true,
            }
        }
        if leaderless {
            self.refresh();
        }
        for (id, wanted) in by_broker {
            self.ask(id, wanted, now);
        }
    }

    fn ask(&mut self, id: i32, mut wanted: Vec<Wanted>, now: Instant) {
        let broker = self.brokers.entry(id).or_default();
        if broker.busy || broker.not_before.is_some_and(|at| now < at) {
            return;
        }
        broker.busy = true;
        let Some(connection) = broker
            .connection
            .clone()
            .filter(|connection| !connection.is_spent(now))
        else {
            let cluster = self.cluster.clone();
            self.jobs.spawn(async move {
                Done::Connected(id, cluster.connection(Node::Broker(id), Lane::Fetch).await)
            });
            return;
        };
        if let Some((topic, partition)) = &broker.served {
            let turn =
                wanted.partition_point(|wanted| (&wanted.topic, wanted.partition) <= (topic, *partition));
            wanted.rotate_left(turn);
        }
        let asked = wanted
            .iter()
            .map(|wanted| (Arc::clone(&wanted.topic), wanted.partition))
            .collect();
        let pending = wire::send(&connection, &wanted, self.limits, self.read_committed);
        self.answers.push(Box::pin(async move {
            Answered {
                broker: id,
                asked,
                result: pending.await,
            }
        }));
    }

    fn refresh(&mut self) {
        if self.refreshing {
            return;
        }
        self.refreshing = true;
        let refresh = self.cluster.refresh_topics_of(self.cursors.keys());
        self.jobs.spawn(async move { Done::Refreshed(refresh.await) });
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Refreshed(result) => {
                self.refreshing = false;
                if let Err(error) = &result {
                    tracing::warn!("cannot get metadata: {}", error.chain());
                    if error.retry() == Retry::No && !error.is_unreachable() {
                        let error = error.clone();
                        self.fail_all(&error);
                        return;
                    }
                }
                self.recreated();
                self.leaderless();
            }
            Done::Connected(id, result) => {
                let broker = self.brokers.entry(id).or_default();
                broker.busy = false;
                match result {
                    Ok(connection) => {
                        broker.connection = Some(connection);
                        broker.not_before = None;
                        broker.backoff = None;
                    }
                    Err(error) => self.broker_failed(id, &error),
                }
            }
            Done::Found(id, result) => self.found(&id, result),
        }
    }

    /// Finds topics that were deleted and created again, whose offsets mean something else now.
    fn recreated(&mut self) {
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
                let (topic, partition, from) = (Arc::clone(&id.0), id.1, cursor.position);
                if cursor.stop.is_some() {
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
                        error,
                    });
                } else {
                    cursor.move_to(0, None);
                    self.ready.push_back(Event::Recreated {
                        topic,
                        partition,
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
    fn leaderless(&mut self) {
        let view = self.cluster.view();
        let mut gone = Vec::new();
        for (id, cursor) in &mut self.cursors {
            if view.leader(&id.0, id.1).is_some() {
                continue;
            }
            let error = view.leaderless(format!("reading partition {} of topic {}", id.1, id.0), &id.0);
            // For a moment a broker may not know of a topic; one that stays unknown was deleted.
            let lasting =
                error.retry() == Retry::No || (error.is_unknown_topic() && cursor.errors >= MAX_UNKNOWN);
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

    fn fail(&mut self, id: PartitionId, error: FetchError) {
        self.cursors.remove(&id);
        let (topic, partition) = id;
        self.ready.push_back(Event::Failed {
            topic,
            partition,
            error,
        });
    }

    fn broker_failed(&mut self, id: i32, error: &Error) {
        tracing::info!("{error}");
        if error.retry() == Retry::No {
            self.fail_all(error);
            return;
        }
        let broker = self.brokers.entry(id).or_default();
        broker.connection = None;
        let backoff = broker
            .backoff
            .get_or_insert_with(|| Backoff::new(RETRY.0, RETRY.1, clock::random()));
        broker.not_before = backoff.next().map(|delay| clock::now() + delay);
        self.refresh();
    }

    fn fail_all(&mut self, error: &Error) {
        for ((topic, partition), _) in std::mem::take(&mut self.cursors) {
            self.ready.push_back(Event::Failed {
                topic,
                partition,
                error: error.clone().into(),
            });
        }
    }

    fn answered(&mut self, answered: Answered) {
        let Answered {
            broker,
            asked,
            result,
        } = answered;
        self.brokers.entry(broker).or_default().busy = false;
        let parts = match result {
            Ok(parts) => parts,
            Err(error) => return self.broker_failed(broker, &error),
        };
        let mut fetched = Vec::new();
        let mut served = None;
        for part in parts {
            // The names are ours: the answer's would be one more copy per partition and answer.
            let known = asked
                .iter()
                .find(|id| *id.0 == *part.topic && id.1 == part.partition);
            if let Some(id) = known.cloned() {
                if !part.records.is_empty() {
                    served = Some(id.clone());
                }
                self.part(broker, &id, part, &mut fetched);
            }
        }
        if served.is_some() {
            self.brokers.entry(broker).or_default().served = served;
        }
        if !fetched.is_empty() {
            self.ready.push_back(Event::Fetched(fetched));
        }
    }

    fn part(&mut self, broker: i32, id: &PartitionId, part: Part, fetched: &mut Vec<Fetched>) {
        let Some(cursor) = self.cursors.get_mut(id) else {
            return;
        };
        if let Some(error) = part.error {
            return self.part_failed(id, &error);
        }
        if let Some(to) = part.diverged {
            // A log parts where it was read already, never ahead.
            let (from, to) = (cursor.position, to.min(cursor.position));
            cursor.move_to(to, None);
            if from == to {
                return;
            }
            self.ready.push_back(Event::Moved {
                topic: Arc::clone(&id.0),
                partition: id.1,
                from,
                to,
            });
            return;
        }
        match cursor.advance(&part.records) {
            Advance::Nothing => {}
            Advance::Records(offsets) => fetched.push(Fetched {
                topic: Arc::clone(&id.0),
                partition: id.1,
                broker,
                offsets,
                set: part.records,
                aborted: part.aborted,
            }),
            Advance::Broken { offset, reason } => {
                let error = FetchError::Broken {
                    topic: id.0.to_string(),
                    partition: id.1,
                    offset,
                    reason,
                };
                return self.fail(id.clone(), error);
            }
        }
        if cursor.is_done() {
            self.cursors.remove(id);
        }
    }

    fn part_failed(&mut self, id: &PartitionId, error: &Error) {
        let Some(cursor) = self.cursors.get_mut(id) else {
            return;
        };
        if error.is_out_of_range() {
            return self.look_up(id.clone());
        }
        match error.retry() {
            Retry::No => self.fail(id.clone(), error.clone().into()),
            Retry::Again => wait(cursor),
            Retry::Refresh => {
                tracing::info!("{error}");
                wait(cursor);
                self.refresh();
            }
        }
    }

    /// The position is not in the log: finds out where the log begins and ends.
    fn look_up(&mut self, id: PartitionId) {
        if !self.moving.insert(id.clone()) {
            return;
        }
        let cluster = self.cluster.clone();
        let read_committed = self.read_committed;
        self.jobs.spawn(async move {
            // Another topic of this name would explain it.
            let known = cluster.refresh(Some(&[&*id.0])).await;
            if let Err(error) = known {
                return Done::Found(id, Err(error));
            }
            let bounds = offsets::bounds(&cluster, std::slice::from_ref(&id), read_committed).await;
            let bound = bounds.and_then(|mut bounds| bounds.pop().unwrap_or(Err(Error::Closed)));
            Done::Found(id, bound)
        });
    }

    fn found(&mut self, id: &PartitionId, result: Result<(i64, i64), Error>) {
        self.moving.remove(id);
        self.recreated();
        let Some(cursor) = self.cursors.get_mut(id) else {
            return;
        };
        match result {
            Ok((start, end)) => {
                let from = cursor.position;
                if (start..=end).contains(&from) {
                    // Moved meanwhile; or it was a follower or a leader that is not up to date yet.
                    return wait(cursor);
                }
                let to = from.clamp(start, end.max(start));
                cursor.move_to(to, (to < from).then_some(end));
                if cursor.is_done() {
                    self.cursors.remove(id);
                }
                self.ready.push_back(Event::Moved {
                    topic: Arc::clone(&id.0),
                    partition: id.1,
                    from,
                    to,
                });
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

/// The delay doubles with each error in a row.
fn wait(cursor: &mut Cursor) {
    let delay = RETRY.0 * 2u32.pow(cursor.errors.min(6));
    cursor.errors += 1;
    cursor.not_before = Some(clock::now() + delay.min(RETRY.1));
}
