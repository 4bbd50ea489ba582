//! Reading the log: one fetch after the other, each with the epoch of what was read before it, so that the broker says
//! when that is not in the log any more.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{LogError, PARTITION, Right, bounds};
use crate::broker::cluster::{Cluster, Lane, Node};
use crate::broker::error::{Error, Retry};
use crate::broker::fetch::{self as wire, FetchLimits, Part, Wanted};
use crate::broker::metadata::Metadata;
use crate::clock;
use crate::group::member::Lost;
use crate::group::record::Position;
use crate::record::{BatchError, Batches, DecodeBuffer, Reason};

/// Bytes of one answer; a larger record comes all the same.
const ANSWER_BYTES: i32 = 4 << 20;
/// How much longer than the broker may wait its answer is waited for. The members' reports come every second or so, and
/// one who hears nothing should look for another leader long before its lease ends.
const LATE: Duration = Duration::from_secs(3);
/// How long a topic may be unknown to the brokers that asked for it: they learn of a new one at different times.
const UNKNOWN: Duration = Duration::from_secs(5);
/// Tries to read bytes that make no sense before they are believed to lie in the log so.
const UNREADABLE: u32 = 3;

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Where it lies.
    pub at: Position,
    /// Its writer's clock, in milliseconds since 1970.
    pub timestamp: i64,
    /// What it says; empty if it is null.
    pub payload: Bytes,
}

/// What one fetch brought.
#[derive(Debug)]
pub(super) enum Answer {
    /// Records, which may be none.
    Read {
        records: Vec<LogRecord>,
        /// Where the log begins.
        start: i64,
        /// The end of what may be read.
        end: i64,
    },
    /// The place in the log is lost: it goes on at `restart_at`.
    Lost { lost: Lost, restart_at: i64 },
}

/// Why a fetch brought nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// It would fail again.
    Final(LogError),
    /// It may not.
    Passing(Error),
}

/// A place in the log.
#[derive(Debug)]
pub(super) struct Reader {
    cluster: Cluster,
    topic: Arc<str>,
    id: [u8; 16],
    position: i64,
    /// The leader epoch of the batch before it; −1 before the first.
    last_epoch: i32,
    /// Since when the brokers have said that the topic does not exist (monotonic milliseconds).
    unknown_since: Option<u64>,
    unreadable: u32,
}

impl Reader {
    pub(super) fn new(cluster: Cluster, topic: Arc<str>, id: [u8; 16], position: i64) -> Self {
        Self {
            cluster,
            topic,
            id,
            position,
            last_epoch: -1,
            unknown_since: None,
            unreadable: 0,
        }
    }

    /// The next offset to be read.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Reads up to this offset, until `--timeout` passes without anything new.
    pub(super) async fn read_to(&mut self, end: i64) -> Result<Vec<LogRecord>, LogError> {
        let mut all = Vec::new();
        while self.position < end {
            let before = self.position;
            all.extend(self.read_some(Duration::ZERO).await?);
            if self.position == before {
                // It was cut back, or a new leader does not know yet how far it may be read.
                let (_, now) = bounds(&self.cluster, &self.topic)
                    .await
                    .map_err(|error| LogError::of(error, Right::Read, &self.topic))?;
                if now <= self.position {
                    break;
                }
            }
        }
        Ok(all)
    }

    /// One fetch that may be repeated until `--timeout` is over.
    pub(super) async fn read_some(&mut self, wait: Duration) -> Result<Vec<LogRecord>, LogError> {
        let within = self.cluster.settings().timeout;
        let deadline = clock::now() + within;
        loop {
            match self.fetch(wait).await {
                Ok(Answer::Read { records, .. }) => return Ok(records),
                Ok(Answer::Lost { .. }) => {
                    return Err(LogError::Cut {
                        topic: self.topic.to_string(),
                    });
                }
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Passing(error)) if clock::now() >= deadline => return Err(error.into()),
                Err(Fault::Passing(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// One fetch, for which the broker may wait so long if there is nothing. After a fault that new metadata may mend,
    /// it has been asked for.
    pub(super) async fn fetch(&mut self, wait: Duration) -> Result<Answer, Fault> {
        self.is_the_same(&self.cluster.view())?;
        let error = match self.try_fetch(wait).await {
            Ok(part) => match part.error {
                Some(error) if error.is_out_of_range() => return self.out_of_range().await,
                Some(error) => error,
                None => {
                    self.unknown_since = None;
                    return self.take(part).await;
                }
            },
            Err(error) => error,
        };
        match error.retry() {
            Retry::No => Err(Fault::Final(LogError::of(error, Right::Read, &self.topic))),
            Retry::Again => Err(Fault::Passing(error)),
            Retry::Refresh => {
                self.refresh().await?;
                Err(Fault::Passing(error))
            }
        }
    }

    async fn try_fetch(&self, wait: Duration) -> Result<Part, Error> {
        let view = self.cluster.view();
        let what = || format!("reading topic {}", self.topic);
        let Some((leader, leader_epoch)) = view.leader(&self.topic, PARTITION) else {
            return Err(view.leaderless(what(), &self.topic));
        };
        let connection = self.cluster.connection(Node::Broker(leader), Lane::Log).await?;
        let wanted = Wanted {
            topic: Arc::clone(&self.topic),
            partition: PARTITION,
            offset: self.position,
            leader_epoch,
            last_epoch: self.last_epoch,
        };
        let limits = FetchLimits {
            max_bytes: ANSWER_BYTES,
            max_partition_bytes: ANSWER_BYTES,
            min_bytes: 1,
            max_wait: wait,
        };
        let pending = wire::send(&connection, &[wanted], limits, false);
        let Ok(parts) = tokio::time::timeout(wait + LATE, pending).await else {
            connection.give_up();
            return Err(Error::Timeout {
                broker: connection.broker().clone(),
                api: "Fetch",
                within: wait + LATE,
            });
        };
        parts?.pop().ok_or(Error::Closed)
    }

    /// Asks for metadata, and looks whether the topic is still the same.
    async fn refresh(&mut self) -> Result<(), Fault> {
        let view = match self.cluster.refresh(Some(&[&*self.topic])).await {
            Ok(view) => view,
            Err(error) if error.is_unauthorised() => {
                return Err(Fault::Final(LogError::of(error, Right::Describe, &self.topic)));
            }
            // The brokers may come back; who waits for them says how long.
            Err(error) => return Err(Fault::Passing(error)),
        };
        let topic = view.topics.get(&*self.topic);
        let unknown = topic.is_none_or(|topic| {
            let error = topic.error.map(|code| super::refused("finding the log", code));
            error.is_some_and(|error| error.is_unknown_topic())
        });
        if !unknown {
            self.unknown_since = None;
            return self.is_the_same(&view);
        }
        let now = clock::mono_millis();
        let since = *self.unknown_since.get_or_insert(now);
        if u128::from(now - since) >= UNKNOWN.as_millis() {
            let topic = self.topic.to_string();
            return Err(Fault::Final(LogError::Deleted { topic }));
        }
        Ok(())
    }

    /// Whether the topic is the one that it was: offsets in another one mean nothing here.
    fn is_the_same(&self, view: &Metadata) -> Result<(), Fault> {
        let topic = view.topics.get(&*self.topic);
        if topic.is_some_and(|topic| topic.error.is_none() && topic.id != self.id) {
            let topic = self.topic.to_string();
            return Err(Fault::Final(LogError::Recreated { topic }));
        }
        Ok(())
    }

    async fn out_of_range(&mut self) -> Result<Answer, Fault> {
        self.refresh().await?;
        let (start, end) = bounds(&self.cluster, &self.topic)
            .await
            .map_err(|error| match error.retry() {
                Retry::No if !error.is_unreachable() => {
                    Fault::Final(LogError::of(error, Right::Read, &self.topic))
                }
                _ => Fault::Passing(error),
            })?;
        if (start..=end).contains(&self.position) {
            // A leader that was not up to date, or a place that came back.
            let error = super::refused(
                &format!("reading topic {}", self.topic),
                crate::broker::error::ResponseError::OffsetNotAvailable,
            );
            return Err(Fault::Passing(error));
        }
        Ok(self.lose(Lost::OutOfRange, start))
    }

    fn lose(&mut self, lost: Lost, restart_at: i64) -> Answer {
        self.position = restart_at;
        self.last_epoch = -1;
        Answer::Lost { lost, restart_at }
    }

    async fn take(&mut self, part: Part) -> Result<Answer, Fault> {
        if part.diverged.is_some() {
            let (start, _) = bounds(&self.cluster, &self.topic).await.map_err(Fault::Passing)?;
            return Ok(self.lose(Lost::Diverged, start));
        }
        let start = match part.log_start {
            // Not told by brokers before Kafka 1.0.
            start if start < 0 => 0,
            start => start,
        };
        let before = self.position;
        match self.decode(&part.records) {
            Ok(records) => {
                self.unreadable = 0;
                Ok(Answer::Read {
                    records,
                    start,
                    end: part.high_watermark,
                })
            }
            Err(source) => {
                self.unreadable += 1;
                let error = LogError::Unreadable {
                    topic: self.topic.to_string(),
                    offset: before,
                    source,
                };
                if self.unreadable >= UNREADABLE {
                    return Err(Fault::Final(error));
                }
                tracing::warn!("{error}; trying again");
                Err(Fault::Passing(Error::Closed))
            }
        }
    }

    /// Moves behind the records. Damage is damage to every member alike: nothing is passed over.
    fn decode(&mut self, set: &[u8]) -> Result<Vec<LogRecord>, BatchError> {
        let mut records = Vec::new();
        let mut buffer = DecodeBuffer::new();
        let (mut position, mut epoch) = (self.position, self.last_epoch);
        for batch in Batches::new(set) {
            let header = batch.header;
            // A fetch from the middle of a batch brings all of it.
            if header.next_offset() <= position {
                continue;
            }
            if !header.is_control() {
                for record in batch.records(&mut buffer)? {
                    let record = record?;
                    if record.offset >= position {
                        records.push(LogRecord {
                            at: Position::new(header.leader_epoch, record.offset),
                            timestamp: record.timestamp,
                            payload: Bytes::copy_from_slice(record.value.unwrap_or_default()),
                        });
                    }
                }
            }
            (position, epoch) = (header.next_offset(), header.leader_epoch);
        }
        if position == self.position && !set.is_empty() {
            return Err(BatchError {
                base: position,
                last: position,
                reason: Reason::Malformed("the broker sent less than a whole batch"),
            });
        }
        (self.position, self.last_epoch) = (position, epoch);
        Ok(records)
    }
}
