//! The producer: idempotent, acks=all, up to five requests in flight per broker, order kept through retries.
//!
//! One task owns the queues of all partitions. Batches come in through a bounded channel; what became of their
//! records goes back through the sender that came with them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::compress::{Compressed, Job, Pool};
use super::parcel::{
    Parcel, RETRY, State, failed_again, give_up, halves, note_oldest, note_where, settle, size, stamped,
    take_buffer,
};
use super::queue::{Item, Queue, Settled, Verdict};
use crate::broker::backoff::Backoff;
use crate::broker::cluster::{Cluster, Lane, Node};
use crate::broker::connection::Connection;
use crate::broker::error::{Error, Retry};
use crate::broker::metadata::PartitionId;
use crate::broker::produce::{self as wire, Answer, Outgoing, Sent};
use crate::clock;
use crate::record::{self, Codec, Identity, SealedBatch};

/// Batches that may wait in the producer's inbox.
const INBOX: usize = 16;
/// Requests in flight per broker. A broker works on one request of a connection at a time: more would only wait there.
const MAX_REQUESTS: usize = 5;
/// Bytes of a request at most, unless a single batch is larger.
const MAX_REQUEST_BYTES: usize = 1 << 20;
/// Bytes in flight per broker at which no further request is sent: each is copied once more until it is in the socket.
const MAX_BYTES_IN_FLIGHT: usize = 4 << 20;

/// What the producer needs to know beside the cluster.
#[derive(Debug, Clone, Copy)]
pub struct ProducerSettings {
    /// How long a batch may wait for its acknowledgement before it is given up (`delivery.timeout.ms`, 120 s).
    pub delivery_timeout: Duration,
    /// How long the brokers may take to have a batch on all replicas in sync (`request.timeout.ms`, 30 s).
    pub request_timeout: Duration,
    /// The codec and its level, for the parts of a batch that has to be divided.
    pub compression: record::Compression,
}

/// A batch to be published.
#[derive(Debug)]
pub struct Submit {
    /// The topic's name.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// The records.
    pub batch: SealedBatch,
    /// The sender's name for this batch.
    pub tag: u64,
    /// Hears of each part of the batch. Unbounded, but no sender has more parts out than it has records out.
    pub reply: mpsc::UnboundedSender<Outcome>,
}

/// What became of a batch or, where it had to be divided, of a part of it.
#[derive(Debug)]
pub struct Outcome {
    /// The batch.
    pub tag: u64,
    /// The part: indices of its records.
    pub records: Range<u32>,
    /// The offset of the first of them (−1: an earlier try was acknowledged without it), or why they were given up.
    pub result: Result<i64, Error>,
    /// A buffer to be used again.
    pub spare: Option<Vec<u8>>,
}

/// A handle to the producer's task, which ends when the last handle is gone and all is settled.
#[derive(Debug, Clone)]
pub struct Producer {
    inbox: mpsc::Sender<Submit>,
}

impl Producer {
    /// Starts the task, which asks for a producer id at once.
    #[must_use]
    pub fn start(cluster: Cluster, settings: ProducerSettings) -> Self {
        let (inbox, submits) = mpsc::channel(INBOX);
        let task = Task {
            cluster,
            settings,
            queues: BTreeMap::new(),
            brokers: HashMap::new(),
            requests: FuturesUnordered::new(),
            jobs: JoinSet::new(),
            pool: Pool::new(),
            to_compress: VecDeque::new(),
            next_batch: 0,
            identity: None,
            identifying: false,
            refreshing: false,
        };
        tokio::spawn(task.run(submits));
        Self { inbox }
    }

    /// Hands a batch over; waits while the inbox is full.
    ///
    /// # Errors
    /// Gives the batch back if the task has ended.
    pub async fn submit(&self, submit: Submit) -> Result<(), Box<Submit>> {
        self.inbox.send(submit).await.map_err(|e| Box::new(e.0))
    }
}

/// What a broker's requests need.
#[derive(Debug, Default)]
struct Broker {
    connection: Option<Arc<Connection>>,
    connecting: bool,
    not_before: Option<Instant>,
    backoff: Option<Backoff>,
    requests: usize,
    bytes: usize,
}

/// A request that was answered, or failed as a whole.
struct Answered {
    broker: i32,
    bytes: usize,
    sent: Vec<(PartitionId, u64)>,
    result: Result<Vec<Answer>, Error>,
}

/// Work that is done beside the task.
enum Done {
    Identity(Result<Identity, Error>),
    Refreshed(Result<(), Error>),
    Connected(i32, Result<Arc<Connection>, Error>),
}

struct Task {
    cluster: Cluster,
    settings: ProducerSettings,
    queues: BTreeMap<PartitionId, Queue<Parcel>>,
    brokers: HashMap<i32, Broker>,
    requests: FuturesUnordered<std::pin::Pin<Box<dyn Future<Output = Answered> + Send>>>,
    jobs: JoinSet<Done>,
    pool: Pool<(PartitionId, u64)>,
    to_compress: VecDeque<Job<(PartitionId, u64)>>,
    next_batch: u64,
    /// The producer id that was got last.
    identity: Option<Identity>,
    identifying: bool,
    refreshing: bool,
}

impl Task {
    async fn run(mut self, mut submits: mpsc::Receiver<Submit>) {
        // Before the first batch comes, which spares it the wait.
        self.ask_for_identity();
        let mut open = true;
        let mut now = clock::now();
        while open || !self.queues.values().all(Queue::is_empty) {
            let wake = self.next_wake(now);
            tokio::select! {
                submit = submits.recv(), if open => match submit {
                    Some(submit) => self.take(submit),
                    None => open = false,
                },
                Some(answered) = self.requests.next(), if !self.requests.is_empty() => self.answered(answered),
                Some(done) = self.pool.next() => self.compressed(done),
                Some(done) = self.jobs.join_next(), if !self.jobs.is_empty() => {
                    // Jobs do not panic; a job that was lost with the runtime needs no answer.
                    if let Ok(done) = done {
                        self.done(done);
                    }
                }
                () = clock::sleep_until(wake) => {}
            }
            now = clock::now();
            self.expire(now);
            self.drive(now);
        }
    }

    fn take(&mut self, submit: Submit) {
        let Submit {
            topic,
            partition,
            batch,
            tag,
            reply,
        } = submit;
        let id = (topic, partition);
        let records = batch.count().unsigned_abs();
        let parcel = self.parcel(&id, batch, 0..records, tag, reply);
        self.queues
            .entry(id)
            .or_default()
            .push(parcel, records, clock::now());
    }

    /// What waits in the queue for a batch, whose compression begins.
    fn parcel(
        &mut self,
        id: &PartitionId,
        batch: SealedBatch,
        records: Range<u32>,
        tag: u64,
        reply: mpsc::UnboundedSender<Outcome>,
    ) -> Parcel {
        self.next_batch += 1;
        let number = self.next_batch;
        let state = if batch.compression().codec() == Codec::None {
            State::Sealed(Some(batch))
        } else {
            self.to_compress.push_back(Job {
                id: (id.clone(), number),
                batch,
            });
            State::Compressing
        };
        Parcel {
            batch: number,
            tag,
            reply,
            records,
            state,
            spare: None,
            attempts: 0,
            error: None,
        }
    }

    /// When something is to be done without an event from outside. What was due by `now` has been done, or waits for
    /// such an event (a connection, an answer): waking up for it would only burn the processor. `now` is the time
    /// that `drive` went by, lest something that falls due in between be missed.
    fn next_wake(&self, now: Instant) -> Option<Instant> {
        let retries = self.queues.values().filter_map(Queue::due);
        let expiries = self
            .queues
            .values()
            .filter_map(|queue| Some(queue.waiting_since()? + self.settings.delivery_timeout));
        let brokers = self
            .brokers
            .values()
            .filter(|b| !b.connecting)
            .filter_map(|b| b.not_before);
        retries
            .chain(expiries)
            .chain(brokers)
            .filter(|at| *at > now)
            .min()
    }

    fn expire(&mut self, now: Instant) {
        for ((topic, partition), queue) in &mut self.queues {
            for item in queue.expire(now, self.settings.delivery_timeout) {
                let within = self.settings.delivery_timeout;
                let last = item.payload.error.clone();
                let error = Error::NotAcknowledged {
                    topic: topic.to_string(),
                    partition: *partition,
                    within,
                    maybe_written: item.maybe_written,
                    source: last.map(Box::new),
                };
                settle(item, Err(error), None);
            }
        }
    }

    /// Starts whatever can be started.
    fn drive(&mut self, now: Instant) {
        self.compress();
        self.identify();
        let view = self.cluster.view();
        let mut leaderless = false;
        let mut by_broker: BTreeMap<i32, Vec<PartitionId>> = BTreeMap::new();
        for (id, queue) in &self.queues {
            let Some(item) = queue.peek(now) else { continue };
            if matches!(item.payload.state, State::Compressing) {
                continue;
            }
            match view.leader(&id.0, id.1) {
                Some((leader, _)) => by_broker.entry(leader).or_default().push(id.clone()),
                None => leaderless = true,
            }
        }
        if leaderless {
            self.refresh();
        }
        for (broker, ready) in by_broker {
            self.send_to(broker, ready, now);
        }
    }

    fn compress(&mut self) {
        while let Some(job) = self.to_compress.pop_front() {
            if let Err(job) = self.pool.start(job) {
                self.to_compress.push_front(job);
                return;
            }
        }
    }

    fn identify(&mut self) {
        let mut lacking = false;
        for queue in self.queues.values_mut().filter(|queue| queue.needs_identity()) {
            // One id serves all partitions, as sequences are per partition, but for one whose sequence is lost.
            lacking |= !self.identity.is_some_and(|identity| queue.identify(identity));
        }
        if lacking {
            self.ask_for_identity();
        }
    }

    fn ask_for_identity(&mut self) {
        if self.identifying {
            return;
        }
        self.identifying = true;
        let cluster = self.cluster.clone();
        self.jobs
            .spawn(async move { Done::Identity(wire::init_producer_id(&cluster).await) });
    }

    fn refresh(&mut self) {
        if self.refreshing {
            return;
        }
        self.refreshing = true;
        let refresh = self.cluster.refresh_topics_of(self.queues.keys());
        self.jobs.spawn(async move { Done::Refreshed(refresh.await) });
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Identity(result) => {
                self.identifying = false;
                match result {
                    Ok(identity) => self.identity = Some(identity),
                    // There was one before, so the settings are right, and the brokers may come back: asked again until
                    // the delivery timeout ends the wait.
                    Err(error @ Error::Unreachable { .. }) if self.identity.is_some() => {
                        tracing::warn!("{error}");
                        note_where(&mut self.queues, &error, |_, queue| queue.needs_identity());
                    }
                    Err(error) => self.give_up_where(&error, Queue::needs_identity),
                }
            }
            Done::Refreshed(result) => {
                self.refreshing = false;
                let view = self.cluster.view();
                if let Err(error) = result
                    && !matches!(error, Error::Closed)
                {
                    tracing::warn!("cannot get metadata: {}", error.chain());
                }
                // Still no leader: the delivery timeout ends the wait.
                let at = clock::now() + RETRY.0 * 4;
                for (id, queue) in &mut self.queues {
                    if view.leader(&id.0, id.1).is_none() {
                        queue.wait_until(at);
                        let what = format!("publishing to partition {} of topic {}", id.1, id.0);
                        note_oldest(queue, &view.leaderless(what, &id.0));
                    }
                }
            }
            Done::Connected(broker, result) => {
                let entry = self.brokers.entry(broker).or_default();
                entry.connecting = false;
                match result {
                    Ok(connection) => {
                        entry.connection = Some(connection);
                        entry.backoff = None;
                        entry.not_before = None;
                    }
                    Err(error) => self.connect_failed(broker, &error),
                }
            }
        }
    }

    fn connect_failed(&mut self, broker: i32, error: &Error) {
        tracing::info!("{error}");
        let entry = self.brokers.entry(broker).or_default();
        let backoff = entry
            .backoff
            .get_or_insert_with(|| Backoff::new(RETRY.0, RETRY.1, clock::random()));
        entry.not_before = backoff.next().map(|delay| clock::now() + delay);
        if error.retry() == Retry::No {
            let view = self.cluster.view();
            let led: Vec<PartitionId> = self
                .queues
                .keys()
                .filter(|id| {
                    view.leader(&id.0, id.1)
                        .is_some_and(|(leader, _)| leader == broker)
                })
                .cloned()
                .collect();
            for id in led {
                if let Some(queue) = self.queues.get_mut(&id) {
                    give_up(queue, error);
                }
            }
        } else {
            let view = self.cluster.view();
            note_where(&mut self.queues, error, |id, _| {
                view.leader(&id.0, id.1)
                    .is_some_and(|(leader, _)| leader == broker)
            });
            self.refresh();
        }
    }

    fn give_up_where(&mut self, error: &Error, which: impl Fn(&Queue<Parcel>) -> bool) {
        for queue in self.queues.values_mut().filter(|queue| which(queue)) {
            give_up(queue, error);
        }
    }

    fn compressed(&mut self, done: Compressed<(PartitionId, u64)>) {
        let (partition, batch) = done.id;
        let Some(queue) = self.queues.get_mut(&partition) else {
            return;
        };
        match done.result {
            Ok(bytes) => {
                if let Some(parcel) = queue.find_waiting(|parcel| parcel.batch == batch) {
                    parcel.state = State::Finished {
                        bytes: bytes.into(),
                        stamp: None,
                    };
                    parcel.spare = done.spare;
                }
            }
            Err(error) => {
                if let Some(item) = queue.remove_waiting(|parcel| parcel.batch == batch) {
                    settle(item, Err(Error::Unencodable(error.to_string())), None);
                }
            }
        }
    }

    fn send_to(&mut self, broker: i32, mut ready: Vec<PartitionId>, now: Instant) {
        let entry = self.brokers.entry(broker).or_default();
        if entry.connecting || entry.not_before.is_some_and(|at| now < at) {
            return;
        }
        let Some(connection) = entry
            .connection
            .clone()
            .filter(|connection| !connection.is_spent(now))
        else {
            entry.connecting = true;
            entry.connection = None;
            let cluster = self.cluster.clone();
            self.jobs.spawn(async move {
                Done::Connected(
                    broker,
                    cluster.connection(Node::Broker(broker), Lane::Other).await,
                )
            });
            return;
        };
        while entry.requests < MAX_REQUESTS && entry.bytes < MAX_BYTES_IN_FLIGHT {
            let mut sent = Vec::new();
            let mut outgoing = Vec::new();
            let mut bytes = 0;
            ready.retain(|id| {
                let Some(queue) = self.queues.get_mut(id) else {
                    return false;
                };
                match queue.peek(now).map(|item| size(&item.payload)) {
                    None | Some(None) => return false,
                    Some(Some(size)) if bytes > 0 && bytes + size > MAX_REQUEST_BYTES => return true,
                    Some(Some(size)) => bytes += size,
                }
                let Some((identity, item)) = queue.send(now) else {
                    return false;
                };
                match stamped(&mut item.payload, identity, item.sequence.unwrap_or_default()) {
                    Ok(batch) => {
                        outgoing.push(Outgoing {
                            topic: Arc::clone(&id.0),
                            partition: id.1,
                            batch,
                        });
                        sent.push((id.clone(), item.ordinal));
                        true
                    }
                    Err(error) => {
                        let ordinal = item.ordinal;
                        if let Settled::Left(item) = queue.settle(ordinal, Verdict::Refused) {
                            settle(item, Err(error), None);
                        }
                        true
                    }
                }
            });
            if outgoing.is_empty() {
                return;
            }
            entry.requests += 1;
            entry.bytes += bytes;
            let pending = wire::send(&connection, outgoing, self.settings.request_timeout);
            self.requests.push(Box::pin(async move {
                Answered {
                    broker,
                    bytes,
                    sent,
                    result: pending.await,
                }
            }));
        }
    }

    fn answered(&mut self, answered: Answered) {
        let Answered {
            broker,
            bytes,
            sent,
            result,
        } = answered;
        if let Some(entry) = self.brokers.get_mut(&broker) {
            entry.requests -= 1;
            entry.bytes -= bytes;
        }
        match result {
            Ok(answers) => {
                let mut answers: HashMap<(String, i32), Answer> = answers
                    .into_iter()
                    .map(|answer| ((answer.topic.clone(), answer.partition), answer))
                    .collect();
                for (id, ordinal) in sent {
                    let answer = answers.remove(&(id.0.to_string(), id.1));
                    self.answer(&id, ordinal, answer);
                }
            }
            Err(error) => {
                tracing::info!("{error}");
                let now = clock::now();
                let lasting = error.retry() == Retry::No;
                for (id, ordinal) in sent {
                    let Some(queue) = self.queues.get_mut(&id) else {
                        continue;
                    };
                    if lasting {
                        // Only a request that was never sent is known not to have been carried out.
                        let verdict = match error {
                            Error::Unspoken { .. } => Verdict::Refused,
                            _ => Verdict::Lost,
                        };
                        if let Settled::Left(item) = queue.settle(ordinal, verdict) {
                            settle(item, Err(error.clone()), None);
                        }
                    } else {
                        let at = now + failed_again(queue, ordinal, &error);
                        queue.settle(ordinal, Verdict::Again { at, unknown: true });
                    }
                }
                self.refresh();
            }
        }
    }

    fn answer(&mut self, id: &PartitionId, ordinal: u64, answer: Option<Answer>) {
        let Some(queue) = self.queues.get_mut(id) else {
            return;
        };
        let now = clock::now();
        let what = || format!("partition {} of topic {}", id.1, id.0);
        let verdict = match answer.as_ref().map(|answer| &answer.sent) {
            Some(Sent::Written { .. } | Sent::Duplicate) => Verdict::Done,
            Some(Sent::OutOfSequence { error }) => {
                // What ends the wait if this goes on for ever.
                queue.note(ordinal, |parcel| parcel.error = Some(error.clone()));
                Verdict::Gap { at: now + RETRY.0 }
            }
            Some(Sent::Divisible { .. }) => Verdict::Refused,
            Some(Sent::Failed { error, unknown: true }) if error.retry() == Retry::No => Verdict::Lost,
            Some(Sent::Failed { error, .. }) if error.retry() == Retry::No => Verdict::Refused,
            Some(Sent::Failed { error, unknown }) => {
                tracing::info!("{}: {error}", what());
                Verdict::Again {
                    at: now + failed_again(queue, ordinal, error),
                    unknown: *unknown,
                }
            }
            None => Verdict::Again {
                at: now + RETRY.1,
                unknown: true,
            },
        };
        let refresh = matches!(&answer, Some(Answer { sent: Sent::Failed { error, .. }, .. }) if error.retry() == Retry::Refresh);
        let settled = queue.settle(ordinal, verdict);
        if refresh {
            self.refresh();
        }
        let Settled::Left(mut item) = settled else { return };
        match answer.map(|answer| answer.sent) {
            Some(Sent::Written { base_offset }) => {
                let spare = item
                    .payload
                    .spare
                    .take()
                    .or_else(|| take_buffer(&mut item.payload.state));
                settle(item, Ok(base_offset), spare);
            }
            Some(Sent::Duplicate) => settle(item, Ok(-1), None),
            Some(Sent::Divisible { error }) if item.records > 1 => self.divide(id, item, error),
            Some(Sent::Divisible { error } | Sent::Failed { error, .. }) => settle(item, Err(error), None),
            Some(Sent::OutOfSequence { .. }) | None => {}
        }
    }

    /// Makes two of a batch that is larger than the topic takes, in its place.
    fn divide(&mut self, id: &PartitionId, item: Item<Parcel>, error: Error) {
        let first = item.records / 2;
        let halves = match &item.payload.state {
            State::Finished { bytes, .. } => halves(bytes, first, self.settings.compression),
            // What was sent is finished.
            State::Sealed(_) | State::Compressing => return settle(item, Err(error), None),
        };
        let (left, right) = match halves {
            Ok(halves) => halves,
            Err(unreadable) => {
                tracing::error!("cannot divide a batch: {unreadable}");
                return settle(item, Err(error), None);
            }
        };
        let Range { start, end } = item.payload.records;
        let middle = start + first;
        for (sealed, records, skip) in [(left, start..middle, 0), (right, middle..end, first)] {
            let count = records.end - records.start;
            let reply = item.payload.reply.clone();
            let parcel = self.parcel(id, sealed, records, item.payload.tag, reply);
            self.queues.entry(id.clone()).or_default().put_back(
                parcel,
                count,
                item.ordinal + u64::from(skip),
                item.since,
            );
        }
    }
}
