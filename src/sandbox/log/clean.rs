//! What goes from a log: by time, by size, by an operator's order, by key. Pure.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use super::{Log, Segment, Stored, batch, codec};
use crate::record::{
    AbortedFilter, AbortedTransaction, BatchBuilder, BatchOptions, Batches, Compression, Compressor,
    DecodeBuffer, Header, NewRecord, TimestampType, Verdict,
};
use crate::sandbox::config::Rules;

/// What happened to segments, by base offset; for whoever keeps them elsewhere.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Cleaned {
    /// They are gone.
    pub(crate) dropped: Vec<i64>,
    /// They have these batches now.
    pub(crate) rewritten: Vec<(i64, Vec<Bytes>)>,
}

impl Cleaned {
    pub(crate) fn is_empty(&self) -> bool {
        self.dropped.is_empty() && self.rewritten.is_empty()
    }
}

impl Log {
    /// Takes away what is before `offset`. Segments go when all of them is.
    pub(crate) fn delete_before(&mut self, offset: i64) -> Cleaned {
        let mut cleaned = Cleaned::default();
        self.start = self.start.max(offset.min(self.end));
        while let Some(next) = self.segments.get(1)
            && next.base <= self.start
        {
            cleaned
                .dropped
                .extend(self.segments.pop_front().map(|segment| segment.base));
        }
        // The memory of the rest is given back at once; on a disk it stays until its segment goes.
        if let Some(first) = self.segments.front_mut() {
            let before = first.batches.partition_point(|stored| stored.last < self.start);
            let gone: usize = first
                .batches
                .drain(..before)
                .map(|stored| stored.bytes.len())
                .sum();
            first.bytes -= gone;
        }
        self.aborted.retain(|aborted| aborted.last >= self.start);
        cleaned
    }

    /// What Kafka's cleaner would do now.
    pub(crate) fn clean(&mut self, rules: &Rules, now: i64) -> Cleaned {
        let mut cleaned = Cleaned::default();
        if rules.producer_expiry < i64::MAX {
            self.producers.forget(now.saturating_sub(rules.producer_expiry));
        }
        if rules.delete {
            let expired = now.saturating_sub(rules.retention_ms);
            while self.segments.front().is_some_and(|first| {
                !first.batches.is_empty() && rules.retention_ms >= 0 && first.max_timestamp < expired
            }) {
                self.drop_first(now, &mut cleaned);
            }
            while rules.retention_bytes >= 0
                && self.segments.front().is_some_and(|first| {
                    let left = i64::try_from(self.bytes() - first.bytes).unwrap_or(i64::MAX);
                    !first.batches.is_empty() && left >= rules.retention_bytes
                })
            {
                self.drop_first(now, &mut cleaned);
            }
        }
        if rules.compact {
            self.compact(rules, now, &mut cleaned);
        }
        cleaned
    }

    /// When the oldest segment was begun, if there is anything in it to go.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.segments
            .front()
            .filter(|first| !first.batches.is_empty())
            .map(|first| first.since)
    }

    /// Drops the oldest segment, if need be the one that is written to.
    pub(crate) fn drop_oldest(&mut self, now: i64) -> Cleaned {
        let mut cleaned = Cleaned::default();
        self.drop_first(now, &mut cleaned);
        cleaned
    }

    fn drop_first(&mut self, now: i64, cleaned: &mut Cleaned) {
        if self.segments.len() == 1 {
            self.segments.push_back(Segment::new(self.end, now));
        }
        cleaned
            .dropped
            .extend(self.segments.pop_front().map(|segment| segment.base));
        self.start = self
            .start
            .max(self.segments.front().map_or(self.end, |first| first.base));
        self.aborted.retain(|aborted| aborted.last >= self.start);
    }

    /// Leaves of each key the newest record, in the segments that are not written to any more and have no open transaction.
    fn compact(&mut self, rules: &Rules, now: i64, cleaned: &mut Cleaned) {
        let stable = self.stable_end();
        let old_enough = now.saturating_sub(rules.min_compaction_lag);
        let closed = self.segments.len().saturating_sub(1);
        let count = (0..closed)
            .take_while(|&at| {
                let end = self.segments.get(at + 1).map_or(self.end, |next| next.base);
                end <= stable && self.segments[at].max_timestamp <= old_enough
            })
            .count();
        let bytes = |from: i64| -> usize {
            let segments = self
                .segments
                .iter()
                .take(count)
                .filter(|segment| segment.base >= from);
            segments.map(|segment| segment.bytes).sum()
        };
        let (dirty, all) = (bytes(self.clean_to), bytes(0));
        // A ratio of sizes, to compare with another one: no precision is needed.
        if dirty == 0 || (dirty as f64) < rules.min_dirty_ratio * all as f64 {
            return;
        }
        let newest = self.newest(count);
        self.clean_to = self.segments.get(count).map_or(self.end, |next| next.base);
        for segment in self.segments.iter_mut().take(count) {
            let tombstones = segment.max_timestamp >= now.saturating_sub(rules.delete_retention);
            let mut kept: Vec<Stored> = Vec::with_capacity(segment.batches.len());
            let mut changed = false;
            for stored in &segment.batches {
                match survivors(stored, &newest, tombstones) {
                    Some(batches) => {
                        changed = true;
                        kept.extend(batches);
                    }
                    None => kept.push(stored.clone()),
                }
            }
            if changed {
                segment.bytes = kept.iter().map(|stored| stored.bytes.len()).sum();
                segment.batches = kept;
                let batches = segment
                    .batches
                    .iter()
                    .map(|stored| stored.bytes.clone())
                    .collect();
                cleaned.rewritten.push((segment.base, batches));
            }
        }
    }

    /// Of each key the newest committed record's offset, in the first segments.
    fn newest(&self, count: usize) -> HashMap<Bytes, i64> {
        let mut newest = HashMap::new();
        let aborted = self.aborted.iter().map(|aborted| AbortedTransaction {
            first_offset: aborted.first,
            producer_id: aborted.producer_id,
        });
        let mut filter = AbortedFilter::read_committed(aborted);
        let mut buffer = DecodeBuffer::new();
        for stored in self
            .segments
            .iter()
            .take(count)
            .flat_map(|segment| &segment.batches)
        {
            let Some(batch) = Batches::new(&stored.bytes).next() else {
                continue;
            };
            if !matches!(filter.decide(&batch), Ok(Verdict::Deliver)) {
                continue;
            }
            let records = batch.records(&mut buffer).into_iter().flatten().flatten();
            for record in records {
                if let Some(key) = record.key {
                    newest.insert(Bytes::copy_from_slice(key), record.offset);
                }
            }
        }
        newest
    }
}

/// What is left of a batch, in as many batches as it has runs of records in a row; `None` if all of it is left. Markers
/// stay, and so do batches that cannot be read.
fn survivors(stored: &Stored, newest: &HashMap<Bytes, i64>, tombstones: bool) -> Option<Vec<Stored>> {
    let batch = Batches::new(&stored.bytes).next()?;
    let header = batch.header;
    if header.is_control() {
        return None;
    }
    let mut buffer = DecodeBuffer::new();
    let records: Vec<_> = batch.records(&mut buffer).ok()?.collect::<Result<_, _>>().ok()?;
    let stays = |key: Option<&[u8]>, value: Option<&[u8]>, offset: i64| {
        key.and_then(|key| newest.get(key)) == Some(&offset) && (value.is_some() || tombstones)
    };
    let left: BTreeSet<i64> = records
        .iter()
        .filter(|record| stays(record.key, record.value, record.offset))
        .map(|record| record.offset)
        .collect();
    if left.len() == records.len() {
        return None;
    }
    let compression = Compression::from(codec(&header));
    let mut compressor = Compressor::new();
    let mut runs: Vec<(i64, BatchBuilder)> = Vec::new();
    for record in records.iter().filter(|record| left.contains(&record.offset)) {
        let headers: Vec<Header<'_>> = record.headers.iter().collect();
        let new = NewRecord {
            key: record.key,
            value: record.value,
            headers: &headers,
            timestamp: record.timestamp,
        };
        let goes_on = runs
            .last()
            .is_some_and(|(base, run)| base + i64::from(run.count()) == record.offset);
        if !goes_on {
            let options = BatchOptions {
                compression,
                ..BatchOptions::default()
            };
            runs.push((record.offset, BatchBuilder::new(options)));
        }
        let (_, run) = runs.last_mut()?;
        run.append(&new).ok()?;
    }
    let mut batches = Vec::with_capacity(runs.len());
    for (base, run) in runs {
        let (count, max_timestamp) = (i64::from(run.count()), run.max_timestamp());
        // The sequence number of what has gone is of no use to anybody: the producer's state has it.
        let mut bytes = run.seal().finish(-1, -1, -1, &mut compressor).ok()?;
        if header.timestamp_type() == TimestampType::LogAppendTime {
            batch::append_time(&mut bytes, max_timestamp);
        }
        batch::place(&mut bytes, base, header.leader_epoch);
        batches.push(Stored {
            base,
            last: base + count - 1,
            max_timestamp,
            bytes: bytes.into(),
        });
    }
    Some(batches)
}
