//! A partition's log: batches in segments, as they came, in memory. Pure: time is an argument.

mod batch;
mod check;
mod clean;
mod producers;

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};

use super::code;
use super::config::Rules;
use crate::record::{BatchHeader, Batches, Codec, DecodeBuffer, Remainder};
pub(crate) use clean::Cleaned;
use producers::{Judgement, Producers};

/// What a batch takes of the memory, in bytes.
pub(crate) fn cost(bytes: &Bytes) -> usize {
    bytes.len() + BATCH_COST
}

/// What a batch costs beside its bytes, roughly.
const BATCH_COST: usize = 96;

/// A batch in its place.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) base: i64,
    pub(crate) last: i64,
    max_timestamp: i64,
    pub(crate) bytes: Bytes,
}

/// Some batches in a row, which retention takes together.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// The first offset it may hold.
    pub(crate) base: i64,
    pub(crate) batches: Vec<Stored>,
    /// Bytes of its batches.
    bytes: usize,
    max_timestamp: i64,
    /// When its first batch came, in milliseconds since the epoch.
    since: i64,
}

impl Segment {
    fn new(base: i64, since: i64) -> Self {
        Segment {
            base,
            batches: Vec::new(),
            bytes: 0,
            max_timestamp: -1,
            since,
        }
    }

    fn push(&mut self, stored: Stored) {
        self.bytes += stored.bytes.len();
        self.max_timestamp = self.max_timestamp.max(stored.max_timestamp);
        self.batches.push(stored);
    }

    /// What it takes of the memory.
    fn cost(&self) -> usize {
        self.bytes + self.batches.len() * BATCH_COST
    }
}

/// A transaction that was aborted, in this partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first: i64,
    /// The marker's offset.
    last: i64,
}

/// Where a batch went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base: i64,
    /// The broker's time, if that is what the topic keeps, and the batch's if it was there already; -1 otherwise.
    pub(crate) append_time: i64,
    /// The segment and the bytes that are new in it; `None` if it was there already.
    pub(crate) new: Option<(i64, Bytes)>,
}

/// Why a batch was not appended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// Kafka's.
    pub(crate) code: i16,
    /// Records by their place in the batch, with what is wrong about them.
    pub(crate) records: Vec<(i32, String)>,
}

impl From<i16> for Rejected {
    fn from(code: i16) -> Self {
        let records = Vec::new();
        Rejected { code, records }
    }
}

/// A partition's log.
#[derive(Debug)]
pub(crate) struct Log {
    /// Never empty; the last one is written to.
    segments: VecDeque<Segment>,
    start: i64,
    end: i64,
    /// Each leader epoch and the offset it began at.
    epochs: Vec<(i32, i64)>,
    producers: Producers,
    /// Producers with an open transaction and its first offset here.
    open: BTreeMap<i64, i64>,
    aborted: Vec<Aborted>,
    /// Up to here it was compacted.
    clean_to: i64,
}

impl Log {
    /// An empty one.
    pub(crate) fn new(now: i64) -> Self {
        Log {
            segments: VecDeque::from([Segment::new(0, now)]),
            start: 0,
            end: 0,
            epochs: vec![(0, 0)],
            producers: Producers::default(),
            open: BTreeMap::new(),
            aborted: Vec::new(),
            clean_to: 0,
        }
    }

    /// One that was kept: segments in order with their batches, the offset it began at and its leader epoch.
    pub(crate) fn recovered(segments: Vec<(i64, Bytes)>, start: i64, epoch: i32, now: i64) -> Self {
        let mut log = Log::new(now);
        log.start = start;
        log.segments.clear();
        for (base, set) in segments {
            log.segments.push_back(Segment::new(base, now));
            log.end = log.end.max(base);
            for batch in Batches::new(&set) {
                log.note(&batch.header, batch.control().ok().flatten(), now);
                log.store(&batch.header, set.slice(batch.range()));
            }
        }
        if log.segments.is_empty() {
            log.segments.push_back(Segment::new(start, now));
        }
        log.end = log.end.max(start);
        // Where older epochs began is in the batches; which one holds now is not.
        let mut epochs: Vec<(i32, i64)> = Vec::new();
        for stored in log.segments.iter().flat_map(|segment| &segment.batches) {
            let of = Batches::new(&stored.bytes)
                .next()
                .map_or(0, |batch| batch.header.leader_epoch);
            if epochs.last().is_none_or(|(last, _)| of > *last) {
                epochs.push((of, stored.base));
            }
        }
        if epochs.last().is_none_or(|(last, _)| epoch > *last) {
            epochs.push((epoch, log.end));
        }
        log.epochs = epochs;
        log
    }

    /// The first offset that can be read.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// The offset that comes next. As there is one replica, it is the high watermark.
    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// Before this offset no transaction is open.
    pub(crate) fn stable_end(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.end)
    }

    /// Of all batches kept.
    pub(crate) fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// What it takes of the memory, in bytes.
    pub(crate) fn cost(&self) -> usize {
        self.segments.iter().map(Segment::cost).sum()
    }

    /// The leader epoch that holds.
    pub(crate) fn epoch(&self) -> i32 {
        self.epochs.last().map_or(0, |(epoch, _)| *epoch)
    }

    /// A new leader, which is the old one.
    pub(crate) fn bump_epoch(&mut self) {
        let next = self.epoch() + 1;
        // An epoch that wrote nothing leaves no trace.
        self.epochs.retain(|(_, start)| *start < self.end);
        self.epochs.push((next, self.end));
    }

    /// Which epoch at most `epoch` there was, and where it ended: (-1, -1) for one that is not known yet.
    pub(crate) fn epoch_end(&self, epoch: i32) -> (i32, i64) {
        if epoch > self.epoch() || epoch < 0 {
            return (-1, -1);
        }
        let after = self.epochs.partition_point(|(known, _)| *known <= epoch);
        let end = self.epochs.get(after).map_or(self.end, |(_, start)| *start);
        match after.checked_sub(1).and_then(|at| self.epochs.get(at)) {
            Some((known, _)) => (*known, end),
            None => (epoch, self.start),
        }
    }

    /// The leader epoch that held at an offset.
    pub(crate) fn epoch_at(&self, offset: i64) -> i32 {
        let after = self.epochs.partition_point(|(_, start)| *start <= offset);
        let at = after.checked_sub(1).and_then(|at| self.epochs.get(at));
        at.map_or(self.epoch(), |(epoch, _)| *epoch)
    }

    /// The highest producer id in it, -1 for none.
    pub(crate) fn highest_producer(&self) -> i64 {
        self.producers.highest()
    }

    /// The epoch a producer last wrote with.
    pub(crate) fn producer_epoch(&self, producer_id: i64) -> Option<i16> {
        self.producers.epoch(producer_id)
    }

    /// Producers whose transaction is open here.
    pub(crate) fn open_transactions(&self) -> impl Iterator<Item = i64> {
        self.open.keys().copied()
    }

    /// Appends the batch of a Produce request; `place` is this partition, for words.
    ///
    /// # Errors
    /// Kafka's error code, and what is wrong about which record.
    pub(crate) fn append(
        &mut self,
        mut set: BytesMut,
        rules: &Rules,
        now: i64,
        place: (&str, i32),
    ) -> Result<Appended, Rejected> {
        let mut batches = Batches::new(&set);
        let batch = batches.next().ok_or(code::INVALID_RECORD)?;
        if batches.next().is_some() || batches.remainder() != Remainder::None {
            return Err(code::INVALID_RECORD.into());
        }
        let mut header = batch.header;
        if header.size > rules.max_message_bytes {
            return Err(code::MESSAGE_TOO_LARGE.into());
        }
        if header.magic != 2 {
            return Err(code::INVALID_RECORD.into());
        }
        batch.verify().map_err(|_| code::CORRUPT_MESSAGE)?;
        if header.codec().is_err() {
            return Err(code::UNSUPPORTED_COMPRESSION_TYPE.into());
        }
        let count = i64::from(header.count);
        if count < 1 || header.last_offset - header.base_offset != count - 1 || header.is_control() {
            return Err(code::INVALID_RECORD.into());
        }
        check::records(&batch, rules, now, place)?;
        if let Judgement::Known { base, timestamp } = self.producers.judge(&header)? {
            // Kafka tells this even if the time is the producer's.
            let append_time = timestamp;
            let new = None;
            return Ok(Appended {
                base,
                append_time,
                new,
            });
        }
        header.base_offset = self.end;
        header.last_offset = self.end + count - 1;
        batch::place(&mut set, self.end, self.epoch());
        if rules.append_time {
            batch::append_time(&mut set, now);
            header.max_timestamp = now;
        }
        let (segment, bytes) = self.push(&header, set.freeze(), rules, now);
        Ok(Appended {
            base: header.base_offset,
            append_time: if rules.append_time { now } else { -1 },
            new: Some((segment, bytes)),
        })
    }

    /// Ends a producer's transaction in this partition. Returns what is new, as [`Appended::new`].
    pub(crate) fn end_transaction(
        &mut self,
        producer: (i64, i16),
        committed: bool,
        rules: &Rules,
        now: i64,
    ) -> Option<(i64, Bytes)> {
        let mut set = batch::marker(producer.0, producer.1, committed, now)?;
        batch::place(&mut set, self.end, self.epoch());
        let set = set.freeze();
        let header = Batches::new(&set).next()?.header;
        Some(self.push(&header, set.clone(), rules, now))
    }

    fn push(&mut self, header: &BatchHeader, bytes: Bytes, rules: &Rules, now: i64) -> (i64, Bytes) {
        self.roll_if_due(rules, header.size, now);
        let marker = Batches::new(&bytes)
            .next()
            .and_then(|batch| batch.control().ok().flatten());
        self.note(header, marker, now);
        self.store(header, bytes.clone());
        (self.segments.back().map_or(0, |segment| segment.base), bytes)
    }

    fn roll_if_due(&mut self, rules: &Rules, more: usize, now: i64) {
        if let Some(active) = self.segments.back_mut() {
            if active.batches.is_empty() {
                active.since = now;
            } else if active.bytes + more > rules.segment_bytes || now - active.since > rules.segment_ms {
                self.segments.push_back(Segment::new(self.end, now));
            }
        }
    }

    /// What producers and transactions make of a batch.
    fn note(&mut self, header: &BatchHeader, marker: Option<crate::record::ControlRecord>, now: i64) {
        use crate::record::ControlRecord;
        self.producers.appended(header, now);
        match marker {
            Some(ControlRecord::Abort | ControlRecord::Commit) => {
                if let Some(first) = self.open.remove(&header.producer_id)
                    && marker == Some(ControlRecord::Abort)
                {
                    self.aborted.push(Aborted {
                        producer_id: header.producer_id,
                        first,
                        last: header.base_offset,
                    });
                }
            }
            Some(ControlRecord::Other(_)) => {}
            None if header.is_transactional() => {
                self.open.entry(header.producer_id).or_insert(header.base_offset);
            }
            None => {}
        }
    }

    fn store(&mut self, header: &BatchHeader, bytes: Bytes) {
        self.end = header.next_offset();
        if let Some(active) = self.segments.back_mut() {
            active.push(Stored {
                base: header.base_offset,
                last: header.last_offset,
                max_timestamp: header.max_timestamp,
                bytes,
            });
        }
    }

    /// The batches from the one on that holds `offset`, or the next one there is.
    fn at_or_behind(&self, offset: i64) -> impl Iterator<Item = &Stored> {
        let segment = self
            .segments
            .partition_point(|segment| segment.base <= offset)
            .saturating_sub(1);
        let first = self.segments.get(segment).map_or(0, |segment| {
            segment.batches.partition_point(|stored| stored.last < offset)
        });
        self.segments
            .iter()
            .skip(segment)
            .flat_map(|segment| &segment.batches)
            .skip(first)
    }

    /// Batches from `offset` on, of at most `max` bytes; with `at_least_one` the first one in any case. Committed ones
    /// end before the first open transaction.
    pub(crate) fn read(&self, offset: i64, max: usize, at_least_one: bool, committed: bool) -> Vec<Bytes> {
        let bound = if committed { self.stable_end() } else { self.end };
        let mut read = Vec::new();
        let mut bytes = 0;
        for stored in self.at_or_behind(offset).take_while(|stored| stored.last < bound) {
            bytes += stored.bytes.len();
            if bytes > max && !(at_least_one && read.is_empty()) {
                break;
            }
            read.push(stored.bytes.clone());
        }
        read
    }

    /// The bytes that could be read from `offset` on, as far as `enough`.
    pub(crate) fn available(&self, offset: i64, enough: usize, committed: bool) -> usize {
        let bound = if committed { self.stable_end() } else { self.end };
        let mut bytes = 0;
        for stored in self.at_or_behind(offset).take_while(|stored| stored.last < bound) {
            bytes += stored.bytes.len();
            if bytes >= enough {
                break;
            }
        }
        bytes
    }

    /// The aborted transactions that concern offsets from `from` up to before `to`.
    pub(crate) fn aborted(&self, from: i64, to: i64) -> Vec<Aborted> {
        let concerns = |aborted: &&Aborted| aborted.last >= from && aborted.first < to;
        self.aborted.iter().filter(concerns).copied().collect()
    }

    /// The first record at or after a time, with its time.
    pub(crate) fn at_time(&self, time: i64) -> Option<(i64, i64)> {
        self.at_or_behind(self.start)
            .filter(|stored| stored.max_timestamp >= time)
            .find_map(|stored| find_record(stored, self.start, |timestamp| timestamp >= time))
    }

    /// The record with the highest time, the first of them, with its time.
    pub(crate) fn at_max_time(&self) -> Option<(i64, i64)> {
        let max = self
            .at_or_behind(self.start)
            .map(|stored| stored.max_timestamp)
            .max()?;
        self.at_or_behind(self.start)
            .filter(|stored| stored.max_timestamp == max)
            .find_map(|stored| find_record(stored, self.start, |timestamp| timestamp == max))
    }
}

/// The first record of a batch, at `from` or behind, whose time is right; with its time.
fn find_record(stored: &Stored, from: i64, right: impl Fn(i64) -> bool) -> Option<(i64, i64)> {
    let batch = Batches::new(&stored.bytes).next()?;
    let mut buffer = DecodeBuffer::new();
    let mut records = batch.records(&mut buffer).ok()?;
    records.find_map(|record| {
        let record = record.ok()?;
        (record.offset >= from && right(record.timestamp)).then_some((record.timestamp, record.offset))
    })
}

/// The codec of a batch whose header was found right.
fn codec(header: &BatchHeader) -> Codec {
    header.codec().unwrap_or_default()
}
