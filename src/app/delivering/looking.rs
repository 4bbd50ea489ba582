//! Records fetched once more, beside the fetcher: one whose body left the buffer, and the ids behind a position.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::body::Body;
use crate::broker::cluster::{Cluster, Lane, Node};
use crate::broker::error::{Error, Retry};
use crate::broker::fetch::{self as wire, FetchLimits, Part, Wanted};
use crate::broker::metadata::PartitionId;
use crate::broker::offsets::{self, OffsetQuery};
use crate::delivery::Reloaded;
use crate::delivery::dedup::EventId;
use crate::record::{AbortedFilter, Batches, DecodeBuffer, RecordView, Verdict};

/// Bytes at a time for one record: a batch is brought whole, however large it is.
const OF_ONE: i32 = 64 << 10;
/// Bytes at a time for ids.
const OF_IDS: i32 = 4 << 20;

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
) -> Result<Reloaded<Arc<Body>>, Error> {
    let part = match part(cluster, id, offset, OF_ONE, read_committed).await {
        Ok(part) => part,
        Err(error) if error.is_out_of_range() => return Ok(Reloaded::BelowStart),
        Err(error) => return Err(error),
    };
    let mut found = None;
    each(&part, read_committed, |record, codec| {
        if record.offset == offset {
            found = Some(Body::copy(record, codec));
        }
    });
    Ok(match found {
        Some(body) => {
            let size = body.size();
            Reloaded::Body(body, size)
        }
        None if part.log_start > offset => Reloaded::BelowStart,
        None => Reloaded::Compacted,
    })
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
        Reloaded::Body(body, _) => Found::Record(body.key.clone(), body.timestamp),
        Reloaded::Compacted => Found::Compacted,
        Reloaded::BelowStart => Found::Deleted,
    })
}

/// Where the ids in the window begin.
///
/// # Errors
/// As [`offsets::list`].
pub(super) async fn window_start(cluster: &Cluster, id: &PartitionId, since: i64) -> Result<i64, Error> {
    let wanted = [OffsetQuery::At(since), OffsetQuery::Earliest].map(|query| offsets::Wanted {
        topic: Arc::clone(&id.0),
        partition: id.1,
        query,
    });
    let found = offsets::list(cluster, &wanted, false).await?;
    for found in found {
        if let Some(found) = found? {
            return Ok(found.offset);
        }
    }
    Ok(0)
}

/// A stretch of ids from `from` on, and where the next one begins; `None` where the log ends.
///
/// # Errors
/// As [`reload`].
pub(super) async fn ids(
    cluster: &Cluster,
    id: &PartitionId,
    from: i64,
    (read_committed, replay): (bool, bool),
) -> Result<(Ids, Option<i64>), Error> {
    let part = match part(cluster, id, from, OF_IDS, read_committed).await {
        Ok(part) => part,
        Err(error) if error.is_out_of_range() => return Ok((Ids::new(), None)),
        Err(error) => return Err(error),
    };
    let mut ids = Ids::new();
    each(&part, read_committed, |record, _| {
        if record.offset >= from
            && let Some(event) = Body::event_id(record.headers, replay)
        {
            ids.push((record.offset, event, record.timestamp));
        }
    });
    let next = Batches::new(&part.records)
        .last()
        .map(|batch| batch.header.next_offset());
    Ok((ids, next.filter(|next| *next > from)))
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
