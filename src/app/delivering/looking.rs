//! Records fetched once more, beside the fetcher: one whose body left the buffer, and the ids before a position.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ids::IdFrom;
use crate::broker::cluster::{Cluster, Lane, Node};
use crate::broker::error::{Error, ResponseError, Retry};
use crate::broker::fetch::{self as wire, FetchLimits, Part, Wanted};
use crate::broker::metadata::PartitionId;
use crate::broker::offsets::{self, OffsetQuery};
use crate::clock;
use crate::delivery::dedup::EventId;
use crate::delivery::{Claim, Reloaded};
use crate::record::{AbortedFilter, Batches, DecodeBuffer, OwnedRecord, RecordView, Verdict};

/// Bytes at a time for one record: a batch is brought whole, however large it is.
const OF_ONE: i32 = 64 << 10;
/// Bytes at a time for ids: all partitions are read at once, and memory is for the ids.
const OF_IDS: i32 = 1 << 20;

/// Ids and timestamps with their offsets.
pub(super) type Ids = Vec<(i64, EventId, i64)>;

/// One record, or why it is not there. Errors that pass are waited out.
///
/// # Errors
/// Those that do not pass within `--timeout`.
pub(super) async fn reload(
    cluster: &Cluster,
    id: &PartitionId,
    offset: i64,
    read_committed: bool,
) -> Result<Reloaded<Arc<OwnedRecord>>, Error> {
    let part = match part(cluster, id, offset, OF_ONE, read_committed).await {
        Ok(part) => part,
        Err(error) if error.is_out_of_range() => return Ok(Reloaded::BelowStart),
        Err(error) => return Err(error),
    };
    let mut found = None;
    each(&part, read_committed, |record, codec| {
        if record.offset == offset {
            found = Some(OwnedRecord::copy(record, codec));
        }
    });
    Ok(match found {
        Some(body) => {
            let size = body.size();
            Reloaded::Body(body, size)
        }
        None if part.log_start > offset => Reloaded::BelowStart,
        None if tells_of(&part, offset) => Reloaded::Compacted,
        // A new leader may not tell the end of its log yet, and a batch may be damaged on its way.
        None => return Err(not_told(id, offset)),
    })
}

/// Whether an answer says that a record is not there: a sound batch would hold it, or the first one behind it was read.
fn tells_of(part: &Part, offset: i64) -> bool {
    let batch = Batches::new(&part.records).find(|batch| batch.header.next_offset() > offset);
    batch.is_some_and(|batch| {
        let mut buffer = DecodeBuffer::new();
        batch.header.base_offset > offset
            || batch
                .records(&mut buffer)
                .is_ok_and(|mut records| records.all(|record| record.is_ok()))
    })
}

fn not_told(id: &PartitionId, offset: i64) -> Error {
    Error::Refused {
        what: format!("reading offset {offset} of partition {} of topic {}", id.1, id.0),
        code: ResponseError::OffsetNotAvailable,
        message: Some("the answer does not hold it".to_owned()),
    }
}

/// A record that somebody asks for, or why it is not there.
pub(crate) enum Found {
    /// It is: its key, and its timestamp in milliseconds since the epoch.
    Record(Option<Bytes>, i64),
    /// Compaction has removed it, or it was never one for readers.
    Compacted,
    /// The log begins behind it.
    Deleted,
}

/// Looks up the key and the time of one record.
///
/// # Errors
/// As [`reload`].
pub(crate) async fn look_up(
    cluster: &Cluster,
    id: &PartitionId,
    offset: i64,
    read_committed: bool,
) -> Result<Found, Error> {
    Ok(match reload(cluster, id, offset, read_committed).await? {
        Reloaded::Body(body, _) => Found::Record(body.key().map(Bytes::copy_from_slice), body.timestamp),
        Reloaded::Compacted => Found::Compacted,
        Reloaded::BelowStart => Found::Deleted,
    })
}

/// The batch with this offset as it is in the log, and what is wrong with it; `None` if it is not there any more.
///
/// # Errors
/// As [`reload`].
pub(super) async fn batch(
    cluster: &Cluster,
    id: &PartitionId,
    offset: i64,
) -> Result<Option<(Bytes, String)>, Error> {
    let part = match part(cluster, id, offset, OF_ONE, false).await {
        Ok(part) => part,
        Err(error) if error.is_out_of_range() => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = Batches::new(&part.records).find(|batch| batch.header.next_offset() > offset);
    Ok(found.map(|batch| {
        let mut buffer = DecodeBuffer::new();
        let why = match batch.records(&mut buffer) {
            Ok(mut records) => records.find_map(|record| record.err().map(|why| why.to_string())),
            Err(why) => Some(why.to_string()),
        };
        (part.records.slice_ref(batch.bytes()), why.unwrap_or_default())
    }))
}

/// Ids that are read back.
#[derive(Debug, Clone)]
pub(super) struct Back {
    pub(super) claim: Claim,
    pub(super) id: PartitionId,
    /// How records are read: only what was committed; as replays.
    pub(super) how: (bool, bool),
    pub(super) ids: IdFrom,
    /// The first offset that is not finished.
    pub(super) next: i64,
    /// The end of what is read.
    pub(super) to: i64,
    /// The window: milliseconds, and ids at most.
    pub(super) window: (i64, usize),
    /// Where to go on; none until that is found out.
    pub(super) from: Option<i64>,
    pub(super) began: Instant,
    /// Ids so far.
    pub(super) found: usize,
}

impl Back {
    /// Is there nothing more?
    pub(super) fn is_over(&self) -> bool {
        self.from.is_some_and(|from| from >= self.to)
    }

    /// For the log.
    pub(super) fn tell(&self) {
        let (topic, partition) = &self.id;
        let (found, took) = (self.found, self.began.elapsed());
        tracing::info!("read back {found} ids of {topic}/{partition} within {took:.3?}");
    }

    /// The next ids, in ascending order.
    ///
    /// # Errors
    /// Those that do not pass within `--timeout`; where to go on is as before.
    pub(super) async fn step(&mut self, cluster: &Cluster) -> Result<Ids, Error> {
        let from = match self.from {
            Some(from) => from,
            None => self.start(cluster).await?,
        };
        self.from = Some(from);
        if self.is_over() {
            return Ok(Ids::new());
        }
        let (read_committed, replay) = self.how;
        let part = match part(cluster, &self.id, from, OF_IDS, read_committed).await {
            Ok(part) => part,
            Err(error) if error.is_out_of_range() => {
                // Retention was faster, or the log was cut off.
                let start = list(cluster, &self.id, OffsetQuery::Earliest).await?;
                self.from = Some(start.filter(|start| *start > from).unwrap_or(self.to));
                return Ok(Ids::new());
            }
            Err(error) => return Err(error),
        };
        let (mut found, to) = (Ids::new(), self.to);
        each(&part, read_committed, |record, _| {
            if (from..to).contains(&record.offset)
                && let Some(event) = self.ids.of(record, replay)
            {
                found.push((record.offset, event, record.timestamp));
            }
        });
        let next = Batches::new(&part.records)
            .last()
            .map(|batch| batch.header.next_offset());
        self.from = match next.filter(|next| *next > from) {
            None if part.high_watermark < to => return Err(not_told(&self.id, from)),
            next => Some(next.unwrap_or(to)),
        };
        self.found += found.len();
        Ok(found)
    }

    /// Where the window of the first event begins that is not finished; what is not in that one is in no later one's.
    async fn start(&self, cluster: &Cluster) -> Result<i64, Error> {
        let (millis, most) = self.window;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let few = self.to.saturating_sub(most).max(0);
        let mut since = clock::unix_millis();
        match part(cluster, &self.id, self.next, OF_ONE, self.how.0).await {
            Ok(part) => {
                let first = Batches::new(&part.records).next();
                since = first.map_or(since, |batch| since.min(batch.header.base_timestamp));
            }
            // Then nobody knows how old the first one is.
            Err(error) if error.is_out_of_range() => since = i64::MIN,
            Err(error) => return Err(error),
        }
        let since = since.saturating_sub(millis).max(0);
        // Nothing is that young: the window is empty.
        let young = list(cluster, &self.id, OffsetQuery::At(since)).await?;
        Ok(young.map_or(self.to, |young| young.max(few)))
    }
}

async fn list(cluster: &Cluster, id: &PartitionId, query: OffsetQuery) -> Result<Option<i64>, Error> {
    let wanted = offsets::Wanted {
        topic: Arc::clone(&id.0),
        partition: id.1,
        query,
    };
    let found = offsets::list(cluster, &[wanted], false).await?;
    let found = found.into_iter().next().unwrap_or(Err(Error::Closed))?;
    Ok(found.map(|found| found.offset))
}

/// A partition's records from an offset on.
async fn part(
    cluster: &Cluster,
    id: &PartitionId,
    offset: i64,
    max_bytes: i32,
    read_committed: bool,
) -> Result<Part, Error> {
    let limits = FetchLimits {
        max_bytes,
        max_partition_bytes: max_bytes,
        min_bytes: 0,
        max_wait: Duration::ZERO,
    };
    cluster
        .retry(|| async {
            let view = cluster.view();
            let Some((leader, leader_epoch)) = view.leader(&id.0, id.1) else {
                cluster.refresh(Some(&[&*id.0])).await?;
                let what = format!("reading partition {} of topic {}", id.1, id.0);
                return Err(view.leaderless(what, &id.0));
            };
            let connection = cluster.connection(Node::Broker(leader), Lane::Other).await?;
            let wanted = Wanted {
                topic: Arc::clone(&id.0),
                partition: id.1,
                offset,
                leader_epoch,
                last_epoch: -1,
            };
            let parts = wire::send(&connection, &[wanted], limits, read_committed).await?;
            let part = parts.into_iter().next().ok_or(Error::Closed)?;
            match &part.error {
                None => Ok(part),
                Some(error) => {
                    if error.retry() == Retry::Refresh {
                        cluster.refresh(Some(&[&*id.0])).await?;
                    }
                    Err(error.clone())
                }
            }
        })
        .await
}

/// Calls `each` for the records that can be read and are seen.
fn each(part: &Part, read_committed: bool, mut each: impl FnMut(&RecordView<'_>, crate::record::Codec)) {
    let mut transactions = if read_committed {
        AbortedFilter::read_committed(part.aborted.iter().copied())
    } else {
        AbortedFilter::read_uncommitted()
    };
    let mut buffer = DecodeBuffer::new();
    for batch in Batches::new(&part.records) {
        let Ok(Verdict::Deliver) = transactions.decide(&batch) else {
            continue;
        };
        let codec = batch.header.codec().unwrap_or_default();
        if let Ok(records) = batch.records(&mut buffer) {
            records
                .map_while(Result::ok)
                .for_each(|record| each(&record, codec));
        }
    }
}
