//! A topic of dead letters read.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::ledger::{Ledger, Place};
use super::letter::{self, Entry, Letter};
use crate::broker::Error;
use crate::broker::cluster::Cluster;
use crate::broker::fetch::FetchLimits;
use crate::broker::metadata::PartitionId;
use crate::broker::offsets;
use crate::fetch::cursor::Cursor;
use crate::fetch::event::{Event, FetchError};
use crate::fetch::fetcher::Fetcher;
use crate::record::{AbortedFilter, Batches, Codec, DecodeBuffer, RecordView, Verdict};

/// Bytes of one answer.
const MAX_BYTES: i32 = 4 << 20;
/// How long a broker waits for records; there are always some.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// Bytes of a key that are kept.
const MAX_KEY: usize = 1 << 10;
/// Wanted offsets that are no further apart are read in one go.
const NEAR: i64 = 500;
/// The header with an event's type.
const EVENT_TYPE: &[u8] = b"ce_type";

/// Why a topic of dead letters cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The brokers' word.
    #[error(transparent)]
    Broker(#[from] Error),
    /// It ends in the middle of it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Nothing came any more.
    #[error("topic {topic} cannot be read on: no answer of the brokers within {within:?}")]
    Silent {
        /// The topic.
        topic: String,
        /// How long it was waited for.
        within: Duration,
    },
}

impl ReadError {
    /// Whether the brokers could not be reached at all.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Broker(error) | Self::Fetch(FetchError::Broker(error)) => error.is_unreachable(),
            Self::Fetch(_) => false,
            Self::Silent { .. } => true,
        }
    }
}

/// What is kept of a letter when all of them are read.
#[derive(Debug, Clone)]
pub struct Detail {
    /// What its headers say.
    pub letter: Letter,
    /// When it was written, in milliseconds since the epoch.
    pub time: i64,
    /// The key, or its beginning.
    pub key: Option<Bytes>,
    /// The event's type, if it is a CloudEvent.
    pub kind: Option<String>,
    /// Bytes of key, value and headers.
    pub size: usize,
}

/// All that a topic of dead letters holds.
#[derive(Debug)]
pub struct Everything {
    /// Letters and resolutions.
    pub ledger: Ledger<Detail>,
    /// Where each partition begins and ends.
    pub bounds: BTreeMap<i32, (i64, i64)>,
    /// Batches that could not be read, and why, for people.
    pub unreadable: Vec<String>,
}

/// The id of a letter that has none: its place, as `PARTITION:OFFSET`.
#[must_use]
pub fn place_id(place: Place) -> String {
    format!("{}:{}", place.partition, place.offset)
}

/// Reads a topic of dead letters to where it ends now.
///
/// # Errors
/// The brokers cannot be asked, or the topic cannot be read.
pub async fn everything(cluster: &Cluster, topic: &str) -> Result<Everything, ReadError> {
    let topic: Arc<str> = Arc::from(topic);
    let view = cluster.refresh(Some(&[&*topic])).await?;
    let count = view.topics.get(&*topic).map_or(0, |topic| topic.partitions.len());
    let partitions: Vec<PartitionId> = (0..)
        .take(count)
        .map(|partition| (Arc::clone(&topic), partition))
        .collect();
    let found = offsets::bounds(cluster, &partitions, true).await?;
    let mut bounds = BTreeMap::new();
    for ((_, partition), found) in partitions.iter().zip(found) {
        bounds.insert(*partition, found?);
    }
    let mut ledger = Ledger::default();
    let ranges = bounds
        .iter()
        .map(|(partition, (start, end))| (*partition, *start..*end));
    let ranges: Vec<_> = ranges.collect();
    let unreadable = scan(cluster, &topic, ranges, |found| {
        let place = found.place;
        match letter::read(found.record.headers.iter()) {
            Entry::Resolution(resolution) => ledger.resolution(&resolution, place),
            Entry::Letter(letter) => {
                let id = letter.id.clone().unwrap_or_else(|| place_id(place));
                ledger.letter(id, letter.replays, place, detail(*letter, found.record));
            }
        }
    })
    .await?;
    Ok(Everything {
        ledger,
        bounds,
        unreadable,
    })
}

fn detail(letter: Letter, record: &RecordView<'_>) -> Detail {
    let kind = record.headers.iter().find(|(name, _)| *name == EVENT_TYPE);
    let headers = record.headers.iter();
    let headers: usize = headers
        .map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len))
        .sum();
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    Detail {
        letter,
        time: record.timestamp,
        key: record
            .key
            .map(|key| Bytes::copy_from_slice(&key[..key.len().min(MAX_KEY)])),
        kind: kind
            .and_then(|(_, value)| value)
            .map(|kind| String::from_utf8_lossy(&kind[..kind.len().min(MAX_KEY)]).into_owned()),
        size: length(record.key) + length(record.value) + headers,
    }
}

/// A record with all its bytes.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Where it is.
    pub place: Place,
    /// Its timestamp, in milliseconds since the epoch.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// The codec of its batch.
    pub codec: Codec,
}

impl Stored {
    fn of(found: &Found<'_>) -> Self {
        let record = found.record;
        let copy = Bytes::copy_from_slice;
        Self {
            place: found.place,
            timestamp: record.timestamp,
            key: record.key.map(copy),
            value: record.value.map(copy),
            headers: record
                .headers
                .iter()
                .map(|(name, value)| (copy(name), value.map(copy)))
                .collect(),
            codec: found.codec,
        }
    }

    /// Its headers, borrowed.
    pub fn headers(&self) -> impl Iterator<Item = crate::record::Header<'_>> + Clone {
        let headers = self.headers.iter();
        headers.map(|(name, value)| (&**name, value.as_deref()))
    }
}

/// Reads these records; those that are not there any more are left out.
///
/// # Errors
/// The brokers cannot be asked, or the topic cannot be read.
pub async fn records(
    cluster: &Cluster,
    topic: &str,
    wanted: &BTreeSet<Place>,
) -> Result<BTreeMap<Place, Stored>, ReadError> {
    let topic: Arc<str> = Arc::from(topic);
    let mut found = BTreeMap::new();
    let bounds = bounds_of(cluster, &topic, wanted).await?;
    // One range of a partition at a time: a fetcher has one cursor for each.
    let mut rounds: Vec<Vec<(i32, Range<i64>)>> = Vec::new();
    let mut next_round: BTreeMap<i32, usize> = BTreeMap::new();
    for (partition, range) in near(wanted) {
        // Waiting for what is not there yet might never end.
        let Some((start, end)) = bounds.get(&partition) else {
            continue;
        };
        let range = range.start.max(*start)..range.end.min(*end);
        if range.is_empty() {
            continue;
        }
        let round = next_round.entry(partition).or_default();
        if rounds.len() <= *round {
            rounds.resize_with(*round + 1, Vec::new);
        }
        rounds[*round].push((partition, range));
        *round += 1;
    }
    for ranges in rounds {
        scan(cluster, &topic, ranges, |record| {
            if wanted.contains(&record.place) {
                found.insert(record.place, Stored::of(&record));
            }
        })
        .await?;
    }
    Ok(found)
}

/// Where the partitions of these places begin and end; those that are not there are left out.
async fn bounds_of(
    cluster: &Cluster,
    topic: &Arc<str>,
    places: &BTreeSet<Place>,
) -> Result<BTreeMap<i32, (i64, i64)>, ReadError> {
    let numbers: BTreeSet<i32> = places.iter().map(|place| place.partition).collect();
    let view = cluster.refresh(Some(&[&**topic])).await?;
    let count = view
        .topics
        .get(&**topic)
        .map_or(0, |topic| topic.partitions.len());
    let partitions: Vec<PartitionId> = numbers
        .into_iter()
        .filter(|number| usize::try_from(*number).is_ok_and(|number| number < count))
        .map(|number| (Arc::clone(topic), number))
        .collect();
    let found = offsets::bounds(cluster, &partitions, true).await?;
    let mut bounds = BTreeMap::new();
    for ((_, partition), found) in partitions.iter().zip(found) {
        bounds.insert(*partition, found?);
    }
    Ok(bounds)
}

/// Ranges of offsets in which all these places are.
fn near(wanted: &BTreeSet<Place>) -> Vec<(i32, Range<i64>)> {
    let mut ranges: Vec<(i32, Range<i64>)> = Vec::new();
    for place in wanted {
        match ranges.last_mut() {
            Some((partition, range)) if *partition == place.partition && place.offset - range.end <= NEAR => {
                range.end = place.offset + 1;
            }
            _ => ranges.push((place.partition, place.offset..place.offset.saturating_add(1))),
        }
    }
    ranges
}

/// A record as it is read.
struct Found<'a> {
    place: Place,
    record: &'a RecordView<'a>,
    codec: Codec,
}

/// Reads ranges of partitions, one of each at most, and tells what could not be read.
async fn scan(
    cluster: &Cluster,
    topic: &Arc<str>,
    ranges: Vec<(i32, Range<i64>)>,
    mut visit: impl FnMut(Found<'_>),
) -> Result<Vec<String>, ReadError> {
    // The leaders; another topic than the last one may be read.
    cluster.refresh(Some(&[&**topic])).await?;
    let cursors = ranges
        .into_iter()
        .map(|(partition, range)| Cursor::new(Arc::clone(topic), partition, range.start, Some(range.end)))
        .collect();
    let limits = FetchLimits {
        max_bytes: MAX_BYTES,
        max_partition_bytes: MAX_BYTES,
        min_bytes: 1,
        max_wait: MAX_WAIT,
    };
    let mut fetcher = Fetcher::start(cluster.clone(), cursors, limits, true);
    let mut buffer = DecodeBuffer::new();
    let mut unreadable = Vec::new();
    let within = cluster.settings().request_timeout;
    loop {
        let silent = |_| ReadError::Silent {
            topic: topic.to_string(),
            within,
        };
        let Some(event) = tokio::time::timeout(within, fetcher.next())
            .await
            .map_err(silent)?
        else {
            break;
        };
        let parts = match event {
            Event::Fetched(parts) => parts,
            Event::Failed { error, .. } => return Err(error.into()),
            // Retention, or a purge, was faster: what is gone is gone.
            Event::Moved { .. } | Event::Recreated { .. } => continue,
        };
        for part in parts {
            let mut transactions = AbortedFilter::read_committed(part.aborted.iter().copied());
            for batch in Batches::new(&part.set) {
                let codec = batch.header.codec().unwrap_or(Codec::None);
                let records = match transactions.decide(&batch) {
                    Ok(Verdict::Deliver) => batch.records(&mut buffer),
                    Ok(Verdict::Aborted | Verdict::Control(_)) => continue,
                    Err(error) => Err(error),
                };
                let told = |error| format!("partition {} of topic {topic}: {error}", part.partition);
                match records {
                    Err(error) => unreadable.push(told(error)),
                    Ok(records) => {
                        for record in records {
                            match record {
                                Err(error) => unreadable.push(told(error)),
                                Ok(record) if part.offsets.contains(&record.offset) => visit(Found {
                                    place: Place {
                                        partition: part.partition,
                                        offset: record.offset,
                                    },
                                    record: &record,
                                    codec,
                                }),
                                Ok(_) => {}
                            }
                        }
                    }
                }
            }
        }
    }
    Ok(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_near_each_other_are_read_in_one_go() {
        let place = |partition, offset| Place { partition, offset };
        let wanted = BTreeSet::from([
            place(0, 3),
            place(0, 5),
            place(0, 5000),
            place(1, 4),
            place(1, i64::MAX),
        ]);
        assert_eq!(
            near(&wanted),
            [(0, 3..6), (0, 5000..5001), (1, 4..5), (1, i64::MAX..i64::MAX)]
        );
    }
}
