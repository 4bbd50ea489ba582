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
    fn push(&mut self, place: u64) {
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
}

/// Buffers kept for further batches at most.
const MAX_SPARE: usize = 4;

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
        }
    }

    /// Appends a record to its partition's batch. Returns the batch that had no room for it, if any. `now` is asked
    /// for a new batch only: per record, the clock would cost as much as the checksum.
    ///
    /// # Errors
    /// The record is larger than the topic takes.
    pub fn append(
        &mut self,
        partition: i32,
        record: &NewRecord<'_>,
        place: u64,
        now: impl FnOnce() -> Instant,
    ) -> Result<Option<Batch>, TooLarge> {
        let index = usize::try_from(partition).unwrap_or_default();
        if index >= self.open.len() {
            self.open.resize_with(index + 1, || None);
        }
        let mut full = None;
        if let Some(open) = &mut self.open[index] {
            let grown = open.builder.len() + open.builder.encoded_size(record);
            if grown > self.limits.batch_bytes || open.builder.count() >= self.limits.batch_records {
                full = self.seal(partition);
            }
        }
        let open = match &mut self.open[index] {
            Some(open) => open,
            none => {
                let options = BatchOptions {
                    compression: self.limits.compression,
                    // Growing by doubling would copy, and end at twice the limit. Pages that are not written to cost nothing.
                    capacity: self.limits.batch_bytes,
                };
                let buffer = self.spare.pop().unwrap_or_default();
                let due = now() + self.limits.linger;
                self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
                none.insert(Open {
                    builder: BatchBuilder::with_buffer(options, buffer),
                    places: Places::default(),
                    due,
                })
            }
        };
        let before = open.builder.len();
        if let Some(limit) = self.limits.record_bytes
            && open.builder.is_empty()
        {
            let size = BATCH_OVERHEAD + open.builder.encoded_size(record);
            if size > limit {
                self.open[index] = None;
                return Err(TooLarge { size, limit });
            }
        }
        if let Err(e) = open.builder.append(record) {
            if open.builder.is_empty() {
                self.open[index] = None;
            }
            return Err(TooLarge {
                size: e.size,
                limit: i32::MAX.unsigned_abs() as usize,
            });
        }
        open.places.push(place);
        self.bytes += open.builder.len() - if before == BATCH_OVERHEAD { 0 } else { before };
        Ok(full)
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
