//! Records gathered into batches per partition: by bytes, count and linger.

use std::time::{Duration, Instant};

use crate::record::{BATCH_OVERHEAD, BatchBuilder, BatchOptions, Compression, NewRecord, SealedBatch};

/// When a batch is closed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a batch before compression, header included. A larger record gets a batch of its own.
    pub batch_bytes: usize,
    /// Records of a batch.
    pub batch_records: i32,
    /// How long a record waits for others.
    pub linger: Duration,
    /// Bytes of a record's own batch at most; `None`: the brokers judge.
    pub record_bytes: Option<usize>,
    /// The codec and its level.
    pub compression: Compression,
}

/// A record that no batch of the topic could hold. It was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record needs {size} bytes; the topic takes {limit} (max.message.bytes)")]
pub struct TooLarge {
    /// Bytes that its batch would have.
    pub size: usize,
    /// The limit in bytes.
    pub limit: usize,
}

/// Where a batch's records came from, for example line numbers: kept as runs of consecutive ones.
#[derive(Debug, Clone, Default)]
pub struct Places {
    runs: Vec<(u64, u32)>,
}

impl Places {
    /// The place of the next record.
    pub(super) fn push(&mut self, place: u64) {
        match self.runs.last_mut() {
            Some((first, count)) if *first + u64::from(*count) == place => *count += 1,
            _ => self.runs.push((place, 1)),
        }
    }

    /// The place of the record with that index in the batch.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<u64> {
        let mut left = index;
        for &(first, count) in &self.runs {
            if left < count {
                return Some(first + u64::from(left));
            }
            left -= count;
        }
        None
    }

    /// How many places there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.runs.iter().map(|(_, count)| count).sum()
    }
}

/// A closed batch of one partition.
#[derive(Debug)]
pub struct Batch {
    /// The partition.
    pub partition: i32,
    /// The records, not compressed yet.
    pub sealed: SealedBatch,
    /// How many records.
    pub records: u32,
    /// Bytes before compression.
    pub bytes: usize,
    /// Where they came from.
    pub places: Places,
}

#[derive(Debug)]
struct Open {
    builder: BatchBuilder,
    places: Places,
    due: Instant,
}

/// The open batches of one topic.
#[derive(Debug)]
pub struct Accumulator {
    limits: Limits,
    open: Vec<Option<Open>>,
    bytes: usize,
    next_due: Option<Instant>,
    /// Buffers of batches that were acknowledged: fresh pages cost about as much as the copying into them.
    spare: Vec<Vec<u8>>,
    /// Always empty: tells how large a record is in a batch of its own.
    measure: BatchBuilder,
}

/// A batch's length is a signed 32-bit number; the room left is for the frame around it.
const MAX_BATCH: usize = (i32::MAX as usize) - (1 << 20);
/// Buffers kept for further batches at most.
const MAX_SPARE: usize = 4;

/// Where a partition's batch is.
fn index(partition: i32) -> usize {
    usize::try_from(partition).unwrap_or_default()
}

impl Accumulator {
    /// No open batches.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            open: Vec::new(),
            bytes: 0,
            next_due: None,
            spare: Vec::new(),
            measure: BatchBuilder::new(BatchOptions {
                compression: limits.compression,
                capacity: 0,
            }),
        }
    }

    /// Appends a record to its partition's batch. Returns the batch that had no room for it, if any. `now` is asked
    /// for a new batch only: per record, the clock would cost as much as the checksum. (A box, since there is one for
    /// thousands of records, and each answer is moved.)
    ///
    /// # Errors
    /// The record is larger than the topic takes.
    pub fn append(
        &mut self,
        partition: i32,
        record: &NewRecord<'_>,
        place: u64,
        now: impl FnOnce() -> Instant,
    ) -> Result<Option<Box<Batch>>, TooLarge> {
        let index = index(partition);
        if index >= self.open.len() {
            self.open.resize_with(index + 1, || None);
        }
        if let Some(open) = &mut self.open[index]
            && open.builder.count() < self.limits.batch_records
        {
            let before = open.builder.len();
            // One of 2 GiB is full as well.
            if let Ok(true) = open.builder.append_within(record, self.limits.batch_bytes) {
                open.places.push(place);
                self.bytes += open.builder.len() - before;
                return Ok(None);
            }
        }
        self.append_to_new(partition, record, place, now())
    }

    /// Closes the partition's batch, and appends the record to a new one, however large it is.
    #[cold]
    fn append_to_new(
        &mut self,
        partition: i32,
        record: &NewRecord<'_>,
        place: u64,
        now: Instant,
    ) -> Result<Option<Box<Batch>>, TooLarge> {
        // Before anything is closed: a refused record leaves the batch that it would have displaced as it is.
        let size = BATCH_OVERHEAD + self.measure.encoded_size(record);
        let limit = self.limits.record_bytes.unwrap_or(MAX_BATCH).min(MAX_BATCH);
        if size > limit {
            return Err(TooLarge { size, limit });
        }
        let full = self.seal(partition);
        let options = BatchOptions {
            compression: self.limits.compression,
            // Growing by doubling would copy, and end at twice the limit. Pages that are not written to cost nothing.
            capacity: self.limits.batch_bytes,
        };
        let mut builder = BatchBuilder::with_buffer(options, self.spare.pop().unwrap_or_default());
        if let Err(e) = builder.append(record) {
            // A new batch has room for what was measured above, so nothing was displaced.
            debug_assert!(full.is_none(), "{e}");
            return Err(TooLarge {
                size: e.size,
                limit: MAX_BATCH,
            });
        }
        let mut places = Places::default();
        places.push(place);
        let due = now + self.limits.linger;
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
        self.bytes += builder.len();
        self.open[index(partition)] = Some(Open { builder, places, due });
        Ok(full.map(Box::new))
    }

    /// Bytes in open batches.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the first open batch has lingered long enough.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.next_due
    }

    /// Closes those that have lingered long enough.
    pub fn take_due(&mut self, now: Instant) -> Vec<Batch> {
        self.take(|open| open.due <= now)
    }

    /// Closes all.
    pub fn take_all(&mut self) -> Vec<Batch> {
        self.take(|_| true)
    }

    /// Closes the largest, when memory is short.
    pub fn take_largest(&mut self) -> Option<Batch> {
        let sizes = self
            .open
            .iter()
            .enumerate()
            .filter_map(|(i, open)| Some((open.as_ref()?.builder.len(), i)));
        let (_, index) = sizes.max()?;
        self.seal(i32::try_from(index).ok()?)
    }

    /// Takes back the buffer of a batch that is done.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(buffer);
        }
    }

    fn take(&mut self, which: impl Fn(&Open) -> bool) -> Vec<Batch> {
        let mut taken = Vec::new();
        for index in 0..self.open.len() {
            if self.open[index].as_ref().is_some_and(&which) {
                taken.extend(
                    i32::try_from(index)
                        .ok()
                        .and_then(|partition| self.seal(partition)),
                );
            }
        }
        self.next_due = self.open.iter().flatten().map(|open| open.due).min();
        taken
    }

    fn seal(&mut self, partition: i32) -> Option<Batch> {
        let open = self.open.get_mut(usize::try_from(partition).ok()?)?.take()?;
        let bytes = open.builder.len();
        let records = open.builder.count().unsigned_abs();
        self.bytes -= bytes;
        Some(Batch {
            partition,
            sealed: open.builder.seal(),
            records,
            bytes,
            places: open.places,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            batch_bytes: 500,
            batch_records: 10,
            linger: Duration::from_millis(5),
            record_bytes: Some(1000),
            compression: Compression::default(),
        }
    }

    fn record(value: &[u8]) -> NewRecord<'_> {
        NewRecord {
            value: Some(value),
            ..NewRecord::default()
        }
    }

    #[test]
    fn a_batch_is_closed_by_the_record_that_does_not_fit_into_its_bytes() {
        let now = crate::clock::now();
        let mut open = Accumulator::new(limits());
        assert!(
            open.append(0, &record(&[b'a'; 300]), 1, || now)
                .unwrap()
                .is_none()
        );
        let full = open.append(0, &record(&[b'b'; 300]), 2, || now).unwrap().unwrap();
        assert_eq!((full.records, full.places.get(0)), (1, Some(1)));
        assert!(full.bytes <= 500);
        let rest = open.take_all();
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].places.get(0), Some(2));
        assert_eq!(open.bytes(), 0);
        assert_eq!(open.next_due(), None);
    }

    #[test]
    fn a_batch_is_closed_by_its_count_of_records() {
        let now = crate::clock::now();
        let mut open = Accumulator::new(limits());
        let full: Vec<_> = (0..25)
            .filter_map(|place| open.append(3, &record(b"v"), place, || now).unwrap())
            .collect();
        assert_eq!(full.iter().map(|b| b.records).collect::<Vec<_>>(), [10, 10]);
        assert_eq!(full[1].places.get(9), Some(19));
        assert!(full.iter().all(|batch| batch.partition == 3));
    }

    #[test]
    fn a_record_larger_than_a_batch_and_within_the_limit_gets_a_batch_of_its_own() {
        let now = crate::clock::now();
        let mut open = Accumulator::new(limits());
        open.append(0, &record(b"a"), 1, || now).unwrap();
        let before = open.append(0, &record(&[b'b'; 800]), 2, || now).unwrap().unwrap();
        assert_eq!(before.records, 1);
        let large = open.append(0, &record(b"c"), 3, || now).unwrap().unwrap();
        assert_eq!((large.records, large.places.get(0)), (1, Some(2)));
    }

    #[test]
    fn a_record_that_is_too_large_displaces_nothing() {
        let now = crate::clock::now();
        let mut open = Accumulator::new(limits());
        open.append(0, &record(b"kept"), 1, || now).unwrap();
        let bytes = open.bytes();
        let refused = open.append(0, &record(&[b'x'; 2000]), 2, || now).unwrap_err();
        assert_eq!(refused.limit, 1000);
        assert!(refused.size > 2000);
        assert_eq!(open.bytes(), bytes);
        // Key and headers count.
        let headers: &[crate::record::Header<'_>] = &[(b"name", Some(&[b'h'; 300]))];
        let with_headers = NewRecord {
            key: Some(&[b'k'; 300]),
            headers,
            ..record(&[b'v'; 400])
        };
        assert!(open.append(0, &with_headers, 3, || now).is_err());
        let kept = open.take_all();
        assert_eq!(kept.len(), 1);
        assert_eq!((kept[0].records, kept[0].places.get(0)), (1, Some(1)));
    }

    #[test]
    fn a_refused_first_record_opens_no_batch() {
        let now = crate::clock::now();
        let mut open = Accumulator::new(limits());
        assert!(open.append(0, &record(&[b'x'; 2000]), 1, || now).is_err());
        assert_eq!((open.bytes(), open.next_due()), (0, None));
        assert!(open.take_all().is_empty());
    }

    #[test]
    fn batches_linger_each_from_their_first_record_on() {
        let now = crate::clock::now();
        let ms = Duration::from_millis;
        let mut open = Accumulator::new(limits());
        open.append(0, &record(b"a"), 1, || now).unwrap();
        open.append(1, &record(b"b"), 2, || now + ms(3)).unwrap();
        open.append(0, &record(b"c"), 3, || now + ms(4)).unwrap();
        assert_eq!(open.next_due(), Some(now + ms(5)));
        assert!(open.take_due(now + ms(4)).is_empty());
        let due = open.take_due(now + ms(5));
        assert_eq!((due.len(), due[0].partition, due[0].records), (1, 0, 2));
        assert_eq!(open.next_due(), Some(now + ms(8)));
    }

    #[test]
    fn the_largest_is_taken_when_memory_is_short() {
        let now = crate::clock::now();
        let mut open = Accumulator::new(limits());
        for (partition, length) in [(0, 10), (1, 200), (2, 100)] {
            open.append(partition, &record(&vec![b'v'; length]), 1, || now)
                .unwrap();
        }
        let order: Vec<_> = std::iter::from_fn(|| open.take_largest())
            .map(|batch| batch.partition)
            .collect();
        assert_eq!(order, [1, 2, 0]);
        assert_eq!(open.bytes(), 0);
    }

    #[test]
    fn a_buffer_that_comes_back_is_used_again() {
        let now = crate::clock::now();
        let mut open = Accumulator::new(limits());
        open.recycle(Vec::with_capacity(12_345));
        open.append(0, &record(b"a"), 1, || now).unwrap();
        assert!(open.spare.is_empty());
        for _ in 0..10 {
            open.recycle(Vec::new());
        }
        assert_eq!(open.spare.len(), MAX_SPARE);
    }

    #[test]
    fn places_are_kept_as_runs() {
        let mut places = Places::default();
        for place in [5, 6, 7, 100, 101, 3] {
            places.push(place);
        }
        assert_eq!(places.runs.len(), 3);
        assert_eq!(places.count(), 6);
        let all: Vec<_> = (0..7).map(|index| places.get(index)).collect();
        assert_eq!(
            all,
            [Some(5), Some(6), Some(7), Some(100), Some(101), Some(3), None]
        );
    }
}
