//! The fetcher: one request per broker for all its partitions, bounded by bytes.
//!
//! One task owns the cursors. As soon as an answer has come, and its batches' headers have told where to go on, the
//! next request leaves; the answer itself goes to whoever reads, through a channel that bounds what is in memory.
//!
//! Partitions may come and go while it runs ([`Partitions`]). One that comes while its broker holds a request of ours
//! back for want of records does not wait for that: it is asked for beside it, over a connection of its own, until the
//! next request for all.

mod moves;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::cursor::{Advance, Cursor};
use super::event::{Event, FetchError, Fetched};
use crate::broker::backoff::Backoff;
use crate::broker::cluster::{Cluster, Lane, Node};
use crate::broker::connection::Connection;
use crate::broker::error::{Error, Retry};
use crate::broker::fetch::{self as wire, FetchLimits, Part, Wanted};
use crate::broker::metadata::PartitionId;
use crate::clock;

/// Answers that wait for the reader, beside the one it works on.
const AHEAD: usize = 1;
/// Changes of the partitions that wait for the task.
const CHANGES: usize = 64;
/// Delays after errors.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Errors in a row after which a topic that the brokers do not know is taken for deleted: about 3 s.
const MAX_UNKNOWN: u32 = 5;
/// Longest that a broker holds back a request beside another one.
const BESIDE_WAIT: Duration = Duration::from_millis(500);

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

/// Which partitions a fetcher fetches. When it is dropped, those that are there are read to their end.
#[derive(Debug)]
pub struct Partitions(mpsc::Sender<Change>);

#[derive(Debug)]
enum Change {
    Add(Box<Cursor>),
    Remove(PartitionId),
    Pause(PartitionId, bool),
}

impl Partitions {
    /// Fetches this partition as well, or from now on with this cursor. What was fetched of it before and not read yet
    /// may still be read, but under the old cursor's tag.
    pub async fn add(&self, cursor: Cursor) {
        self.tell(Change::Add(Box::new(cursor))).await;
    }

    /// Fetches a partition no more. What was fetched may still be read.
    pub async fn remove(&self, partition: PartitionId) {
        self.tell(Change::Remove(partition)).await;
    }

    /// Leaves a partition out of requests. What is on its way comes all the same.
    pub async fn pause(&self, partition: PartitionId) {
        self.tell(Change::Pause(partition, true)).await;
    }

    /// Asks for it again.
    pub async fn resume(&self, partition: PartitionId) {
        self.tell(Change::Pause(partition, false)).await;
    }

    async fn tell(&self, change: Change) {
        // The task is gone only at the end of all.
        let _ = self.0.send(change).await;
    }
}

impl Fetcher {
    /// Starts fetching these partitions, each until its cursor is done.
    #[must_use]
    pub fn start(cluster: Cluster, cursors: Vec<Cursor>, limits: FetchLimits, read_committed: bool) -> Self {
        let mut task = Task::new(cluster, limits, read_committed);
        for cursor in cursors {
            task.add(cursor);
        }
        Self::spawn(task)
    }

    /// Starts a fetcher whose partitions come and go.
    #[must_use]
    pub fn open(cluster: Cluster, limits: FetchLimits, read_committed: bool) -> (Self, Partitions) {
        let mut task = Task::new(cluster, limits, read_committed);
        let (send, changes) = mpsc::channel(CHANGES);
        task.changes = Some(changes);
        (Self::spawn(task), Partitions(send))
    }

    fn spawn(task: Task) -> Self {
        let (send, events) = mpsc::channel(AHEAD);
        let stop = Arc::new(Notify::new());
        tokio::spawn(task.run(send, Arc::clone(&stop)));
        Self { events, stop }
    }

    /// A way to end it while it is read elsewhere.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.stop))
    }

    /// The next event; `None` when all cursors are done and no more can come.
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
    /// For all its partitions.
    all: Link,
    /// For those that came since the request for all left.
    beside: Link,
    /// The last partition that brought records: the next request begins behind it. A broker fills an answer in the
    /// request's order, so that busy partitions at its beginning would leave no room for the others.
    served: Option<PartitionId>,
    not_before: Option<Instant>,
    backoff: Option<Backoff>,
}

#[derive(Default)]
struct Link {
    connection: Option<Arc<Connection>>,
    busy: bool,
}

impl Broker {
    fn link(&mut self, lane: Lane) -> &mut Link {
        match lane {
            Lane::Beside => &mut self.beside,
            _ => &mut self.all,
        }
    }
}

struct Answered {
    broker: i32,
    lane: Lane,
    asked: Vec<Asked>,
    result: Result<Vec<Part>, Error>,
}

/// A partition in a request, and the tag of its cursor then.
type Asked = (PartitionId, u64);

enum Done {
    Refreshed(Result<(), Error>),
    Connected(i32, Lane, Result<Arc<Connection>, Error>),
    Found(Asked, Result<(i64, i64), Error>),
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
    /// `None`: no partition comes or goes any more.
    changes: Option<mpsc::Receiver<Change>>,
}

impl Task {
    fn new(cluster: Cluster, limits: FetchLimits, read_committed: bool) -> Self {
        Self {
            cluster,
            topic_ids: BTreeMap::new(),
            limits,
            read_committed,
            cursors: BTreeMap::new(),
            brokers: BTreeMap::new(),
            answers: FuturesUnordered::new(),
            jobs: JoinSet::new(),
            ready: VecDeque::new(),
            refreshing: false,
            moving: BTreeSet::new(),
            changes: None,
        }
    }

    async fn run(mut self, events: mpsc::Sender<Event>, stop: Arc<Notify>) {
        loop {
            let now = clock::now();
            self.drive(now);
            if self.cursors.is_empty() && self.ready.is_empty() && self.changes.is_none() {
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
                change = next_change(&mut self.changes), if self.changes.is_some() => match change {
                    Some(change) => self.change(change),
                    None => self.changes = None,
                },
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
        let brokers = self.brokers.values().filter_map(|broker| broker.not_before);
        cursors.chain(brokers).filter(|at| *at > now).min()
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Add(cursor) => self.add(*cursor),
            Change::Remove(id) => self.remove(&id),
            Change::Pause(id, paused) => {
                if let Some(cursor) = self.cursors.get_mut(&id) {
                    cursor.paused = paused;
                }
            }
        }
    }

    fn add(&mut self, cursor: Cursor) {
        let id = (Arc::clone(&cursor.topic), cursor.partition);
        self.remove(&id);
        if cursor.is_done() {
            return;
        }
        let view = self.cluster.view();
        if cursor.anew
            && let Some((leader, _)) = view.leader(&id.0, id.1)
            && let Some(broker) = self.brokers.get(&leader)
        {
            let links = [&broker.all, &broker.beside];
            links
                .iter()
                .filter_map(|link| link.connection.as_ref())
                .for_each(|connection| connection.give_up());
        }
        let known = self.cursors.keys().any(|(topic, _)| *topic == id.0);
        if let Some(topic) = view.topics.get(&*id.0).filter(|_| !known) {
            self.topic_ids.insert(id.0.to_string(), topic.id);
        }
        self.cursors.insert(id, cursor);
    }

    fn remove(&mut self, id: &PartitionId) {
        if self.cursors.remove(id).is_none() {
            return;
        }
        self.moving.remove(id);
        let ready = std::mem::take(&mut self.ready);
        self.ready = ready.into_iter().filter_map(|event| event.without(id)).collect();
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
            let waits = cursor.not_before.is_some_and(|at| now < at) || self.moving.contains(id);
            if waits || cursor.paused || cursor.stopped {
                continue;
            }
            match view.leader(&id.0, id.1) {
                Some((leader, _)) if cursor.asked == Some(leader) => {}
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
        if broker.not_before.is_some_and(|at| now < at) {
            return;
        }
        let (lane, link) = match &mut broker.all {
            // One that is being connected to takes all when it is there.
            all if all.busy && all.connection.is_some() => (Lane::Beside, &mut broker.beside),
            all => (Lane::Fetch, all),
        };
        if link.busy {
            return;
        }
        link.busy = true;
        let Some(connection) = link
            .connection
            .clone()
            .filter(|connection| !connection.is_spent(now))
        else {
            link.connection = None;
            let cluster = self.cluster.clone();
            self.jobs.spawn(async move {
                Done::Connected(id, lane, cluster.connection(Node::Broker(id), lane).await)
            });
            return;
        };
        let mut limits = self.limits;
        if lane == Lane::Beside {
            limits.max_wait = limits.max_wait.min(BESIDE_WAIT);
        } else if let Some((topic, partition)) = &broker.served {
            let turn =
                wanted.partition_point(|wanted| (&wanted.topic, wanted.partition) <= (topic, *partition));
            wanted.rotate_left(turn);
        }
        let mut asked = Vec::with_capacity(wanted.len());
        for wanted in &wanted {
            let partition = (Arc::clone(&wanted.topic), wanted.partition);
            if let Some(cursor) = self.cursors.get_mut(&partition) {
                if lane == Lane::Fetch {
                    cursor.asked = Some(id);
                }
                asked.push((partition, cursor.tag));
            }
        }
        let pending = wire::send(&connection, &wanted, limits, self.read_committed);
        self.answers.push(Box::pin(async move {
            Answered {
                broker: id,
                lane,
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
            Done::Connected(id, lane, result) => {
                let broker = self.brokers.entry(id).or_default();
                broker.link(lane).busy = false;
                match result {
                    Ok(connection) => {
                        broker.link(lane).connection = Some(connection);
                        broker.not_before = None;
                        broker.backoff = None;
                    }
                    Err(error) => self.broker_failed(id, &error),
                }
            }
            Done::Found(asked, result) => self.found(&asked, result),
        }
    }

    fn fail(&mut self, id: PartitionId, error: FetchError) {
        let tag = self.cursors.remove(&id).map_or(0, |cursor| cursor.tag);
        let (topic, partition) = id;
        self.ready.push_back(Event::Failed {
            topic,
            partition,
            tag,
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
        broker.all.connection = None;
        broker.beside.connection = None;
        let backoff = broker
            .backoff
            .get_or_insert_with(|| Backoff::new(RETRY.0, RETRY.1, clock::random()));
        broker.not_before = backoff.next().map(|delay| clock::now() + delay);
        self.refresh();
    }

    fn fail_all(&mut self, error: &Error) {
        let ids: Vec<PartitionId> = self.cursors.keys().cloned().collect();
        for id in ids {
            self.fail(id, error.clone().into());
        }
    }

    fn answered(&mut self, answered: Answered) {
        let Answered {
            broker,
            lane,
            asked,
            result,
        } = answered;
        self.brokers.entry(broker).or_default().link(lane).busy = false;
        if lane == Lane::Fetch {
            for (id, _) in &asked {
                if let Some(cursor) = self.cursors.get_mut(id).filter(|at| at.asked == Some(broker)) {
                    cursor.asked = None;
                }
            }
        }
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
                .find(|(id, _)| *id.0 == *part.topic && id.1 == part.partition);
            if let Some((id, tag)) = known {
                if !part.records.is_empty() {
                    served = Some(id.clone());
                }
                self.part(broker, id, *tag, part, &mut fetched);
            }
        }
        if served.is_some() {
            self.brokers.entry(broker).or_default().served = served;
        }
        if !fetched.is_empty() {
            self.ready.push_back(Event::Fetched(fetched));
        }
    }

    fn part(&mut self, broker: i32, id: &PartitionId, tag: u64, part: Part, fetched: &mut Vec<Fetched>) {
        // What an earlier cursor asked for says nothing of this one. One that stopped is told of once.
        let Some(cursor) = self.cursors.get_mut(id).filter(|cursor| cursor.tag == tag) else {
            return;
        };
        if let Some(error) = part.error {
            return self.part_failed(id, &error);
        }
        if let Some(to) = part.diverged {
            // A log parts where it was read already, never ahead.
            let (from, to) = (cursor.position, to.min(cursor.position));
            if from == to {
                return cursor.move_to(to, None);
            }
            return self.moved(id, from, to, None);
        }
        match cursor.advance(&part.records) {
            Advance::Nothing => {}
            Advance::Records(offsets) => fetched.push(Fetched {
                topic: Arc::clone(&id.0),
                partition: id.1,
                tag,
                broker,
                offsets,
                high_watermark: part.high_watermark,
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
}

async fn next_change(changes: &mut Option<mpsc::Receiver<Change>>) -> Option<Change> {
    match changes {
        Some(changes) => changes.recv().await,
        None => None,
    }
}

/// The delay doubles with each error in a row.
fn wait(cursor: &mut Cursor) {
    let delay = RETRY.0 * 2u32.pow(cursor.errors.min(6));
    cursor.errors += 1;
    cursor.not_before = Some(clock::now() + delay.min(RETRY.1));
}
