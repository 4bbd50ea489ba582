//! From a batch to its records, which borrow from it or from the buffer it is decompressed into.

use std::fmt;
use std::ops::Range;

use super::compression::{Decompressor, MAX_DECOMPRESSED};
use super::header::{AT_ATTRIBUTES, BATCH_OVERHEAD, BatchHeader, TimestampType};
use super::varint::Reader;
use super::{BatchError, Codec, Header, Reason};

/// The shortest record in bytes: length, attributes, two deltas, null key, null value, no headers.
const MIN_RECORD: usize = 7;

/// A batch found by [`super::Batches`]: its header is read, its records are not.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// What the header says.
    pub header: BatchHeader,
    frame: &'a [u8],
    at: usize,
}

/// What a control batch says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlRecord {
    /// The producer's transaction was aborted.
    Abort,
    /// The producer's transaction was committed.
    Commit,
    /// A marker that is none of a transaction, with its type: of no meaning to consumers.
    Other(i16),
}

/// The room that compressed batches are decompressed into, used again from batch to batch.
pub struct DecodeBuffer {
    decompressor: Decompressor,
}

impl DecodeBuffer {
    /// With [`MAX_DECOMPRESSED`] as the limit.
    #[must_use]
    pub fn new() -> Self {
        DecodeBuffer::with_limit(MAX_DECOMPRESSED)
    }

    /// `max_decompressed`: the most bytes a batch may decompress to.
    #[must_use]
    pub fn with_limit(max_decompressed: usize) -> Self {
        DecodeBuffer {
            decompressor: Decompressor::new(max_decompressed),
        }
    }
}

impl Default for DecodeBuffer {
    fn default() -> Self {
        DecodeBuffer::new()
    }
}

impl fmt::Debug for DecodeBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeBuffer").finish_non_exhaustive()
    }
}

impl<'a> Batch<'a> {
    pub(super) fn new(header: BatchHeader, frame: &'a [u8], at: usize) -> Self {
        Batch { header, frame, at }
    }

    /// Where in the record set it stands, in bytes: what to slice out of a `Bytes` to keep it.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.at..self.at + self.frame.len()
    }

    /// The whole batch.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.frame
    }

    fn error(&self, reason: Reason) -> BatchError {
        BatchError {
            base: self.header.base_offset,
            last: self.header.last_offset,
            reason,
        }
    }

    /// Checks format version and checksum.
    ///
    /// # Errors
    /// One of them is not right; the error covers all offsets of the batch.
    pub fn verify(&self) -> Result<(), BatchError> {
        if self.header.magic != 2 {
            return Err(self.error(Reason::Magic(self.header.magic)));
        }
        let found = crc32c::crc32c(&self.frame[AT_ATTRIBUTES..]);
        let expected = self.header.crc;
        if found != expected {
            return Err(self.error(Reason::Checksum { expected, found }));
        }
        Ok(())
    }

    /// Its records: also those of a control batch, whose one record [`control`](Self::control) reads.
    ///
    /// Damage inside a batch whose checksum is right is found by the iterator: it gives the records before the
    /// damage, then one error with the offsets that are lost.
    ///
    /// # Errors
    /// Nothing of the batch can be read; the error covers all its offsets.
    pub fn records<'b>(&self, buffer: &'b mut DecodeBuffer) -> Result<Records<'b>, BatchError>
    where
        'a: 'b,
    {
        self.verify()?;
        self.open(buffer)
    }

    /// Its records from a [`Place`] on, where all of them are known to be sound: neither the checksum nor headers are looked at again. If
    /// it is compressed, it is decompressed again.
    ///
    /// # Errors
    /// As of [`records`](Self::records), and if the place is none of this batch.
    pub fn records_from<'b>(
        &self,
        buffer: &'b mut DecodeBuffer,
        place: Place,
    ) -> Result<Records<'b>, BatchError>
    where
        'a: 'b,
    {
        let all = self.open(buffer)?;
        let payload = all.rest.rest();
        let rest = payload
            .len()
            .checked_sub(place.bytes)
            .and_then(|from| payload.get(from..));
        let rest = rest.filter(|_| place.left <= all.left);
        let rest = rest.ok_or_else(|| self.error(Reason::Malformed("a place that is not in it")))?;
        Ok(Records {
            rest: Reader::new(rest),
            left: place.left,
            next_delta: place.next_delta,
            sound: true,
            ..all
        })
    }

    fn open<'b>(&self, buffer: &'b mut DecodeBuffer) -> Result<Records<'b>, BatchError>
    where
        'a: 'b,
    {
        let header = &self.header;
        let codec = header
            .codec()
            .map_err(|number| self.error(Reason::Codec(number)))?;
        let malformed = |what| self.error(Reason::Malformed(what));
        let delta = header.last_offset - header.base_offset;
        if i32::from_be_bytes(super::header::array(self.frame, super::header::AT_LAST_DELTA)) < 0 {
            return Err(malformed("the last offset is before the first"));
        }
        let count = u32::try_from(header.count).map_err(|_| malformed("a negative number of records"))?;
        if i64::from(count) > delta + 1 {
            return Err(malformed("more records than offsets"));
        }
        let payload = self.frame.get(BATCH_OVERHEAD..).unwrap_or_default();
        // Compaction may leave a batch without records, whose payload is then not even a compressed nothing.
        let payload: &'b [u8] = if codec == Codec::None || (count == 0 && payload.is_empty()) {
            payload
        } else {
            buffer
                .decompressor
                .decompress(codec, payload)
                .map_err(|error| self.error(Reason::Decompress(error)))?
        };
        if usize::try_from(count)
            .unwrap_or(usize::MAX)
            .saturating_mul(MIN_RECORD)
            > payload.len()
        {
            return Err(malformed("more records than bytes for them"));
        }
        Ok(Records {
            rest: Reader::new(payload),
            left: count,
            next_delta: 0,
            last_delta: delta,
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            append_time: (header.timestamp_type() == TimestampType::LogAppendTime)
                .then_some(header.max_timestamp),
            sound: false,
            done: false,
        })
    }

    /// The marker of a control batch, `None` of any other.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn control(&self) -> Result<Option<ControlRecord>, BatchError> {
        if !self.header.is_control() {
            return Ok(None);
        }
        // Brokers do not compress them, so the buffer is never filled.
        let mut buffer = DecodeBuffer::new();
        let mut records = self.records(&mut buffer)?;
        let record = records.next().transpose()?;
        let key = record.and_then(|record| record.key);
        match key {
            // A version, which may rise, and a type.
            Some([_, _, high, low, ..]) => Ok(Some(match i16::from_be_bytes([*high, *low]) {
                0 => ControlRecord::Abort,
                1 => ControlRecord::Commit,
                other => ControlRecord::Other(other),
            })),
            _ => Err(self.error(Reason::Malformed("a control batch without a marker"))),
        }
    }
}

/// A record, as a view into its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since the epoch, -1 for none.
    pub timestamp: i64,
    /// Whose clock that was.
    pub timestamp_type: TimestampType,
    /// Null, or the key's bytes.
    pub key: Option<&'a [u8]>,
    /// Null, or the value's bytes.
    pub value: Option<&'a [u8]>,
    /// In order, doubles included.
    pub headers: Headers<'a>,
}

/// A record's headers, which were found well-formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Headers<'a> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// One after the other.
    #[must_use]
    pub fn iter(&self) -> HeadersIter<'a> {
        HeadersIter {
            rest: Reader::new(self.bytes),
            left: self.count,
        }
    }

    /// As they stand in the batch.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Of bytes that were found well-formed.
    pub(super) fn sound(bytes: &'a [u8], count: usize) -> Self {
        Headers { bytes, count }
    }

    #[cold]
    fn read(reader: &mut Reader<'a>, count: usize) -> Option<Self> {
        let bytes = reader.rest();
        for _ in 0..count {
            header(reader)?;
        }
        let read = bytes.len() - reader.rest().len();
        Some(Headers {
            bytes: bytes.get(..read)?,
            count,
        })
    }
}

fn header<'a>(reader: &mut Reader<'a>) -> Option<Header<'a>> {
    let name = reader.nullable()??;
    Some((name, reader.nullable()?))
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = Header<'a>;
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

/// The headers of a record, one after the other.
#[derive(Debug, Clone)]
pub struct HeadersIter<'a> {
    rest: Reader<'a>,
    left: usize,
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        header(&mut self.rest)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for HeadersIter<'_> {}

/// The records of a batch. After an error there are no more.
#[derive(Debug, Clone)]
pub struct Records<'b> {
    rest: Reader<'b>,
    left: u32,
    /// The lowest offset delta that the next record may have.
    next_delta: i64,
    last_delta: i64,
    base_offset: i64,
    base_timestamp: i64,
    append_time: Option<i64>,
    /// They are known to be well-formed.
    sound: bool,
    done: bool,
}

/// How far the records of a batch were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Records that are left, and their bytes.
    left: u32,
    bytes: usize,
    next_delta: i64,
}

impl<'b> Records<'b> {
    /// The same records, if all of them can be read. What follows reads them faster.
    #[must_use]
    pub fn checked(mut self) -> Option<Self> {
        if !self.clone().all(|record| record.is_ok()) {
            return None;
        }
        self.sound = true;
        Some(self)
    }

    /// Where it stands, for [`Batch::records_from`]. Of no use after an error.
    #[must_use]
    #[inline]
    pub fn place(&self) -> Place {
        Place {
            left: self.left,
            bytes: self.rest.rest().len(),
            next_delta: self.next_delta,
        }
    }

    #[inline]
    fn record(&mut self) -> Result<RecordView<'b>, &'static str> {
        let length = self.rest.varint().and_then(|length| usize::try_from(length).ok());
        let body = length
            .and_then(|length| self.rest.take(length))
            .ok_or("a record beyond the batch's end")?;
        let mut body = Reader::new(body);
        let view = self
            .body(&mut body)
            .ok_or("a record that is shorter than its parts")?;
        if !body.rest().is_empty() {
            return Err("a record that is longer than its parts");
        }
        let delta = view.offset;
        if delta < self.next_delta || delta > self.last_delta {
            return Err("offsets out of order");
        }
        self.next_delta = delta + 1;
        Ok(RecordView {
            offset: self.base_offset.saturating_add(delta),
            ..view
        })
    }

    /// With the offset's delta in place of the offset.
    #[inline]
    fn body(&self, body: &mut Reader<'b>) -> Option<RecordView<'b>> {
        body.byte()?; // attributes: none are defined
        let timestamp_delta = body.varlong()?;
        let offset_delta = body.varint()?;
        let key = body.nullable()?;
        let value = body.nullable()?;
        let headers = match body.varint()? {
            0 => Headers::default(),
            count if self.sound => {
                let bytes = body.take(body.rest().len())?;
                Headers::sound(bytes, usize::try_from(count).ok()?)
            }
            count => Headers::read(body, usize::try_from(count).ok()?)?,
        };
        let (timestamp, timestamp_type) = match self.append_time {
            None => (
                self.base_timestamp.wrapping_add(timestamp_delta),
                TimestampType::CreateTime,
            ),
            Some(timestamp) => (timestamp, TimestampType::LogAppendTime),
        };
        Some(RecordView {
            offset: i64::from(offset_delta),
            timestamp,
            timestamp_type,
            key,
            value,
            headers,
        })
    }

    #[cold]
    fn fail(&mut self, what: &'static str) -> Option<Result<RecordView<'b>, BatchError>> {
        self.done = true;
        Some(Err(BatchError {
            base: self
                .base_offset
                .saturating_add(self.next_delta.min(self.last_delta)),
            last: self.base_offset.saturating_add(self.last_delta),
            reason: Reason::Malformed(what),
        }))
    }
}

impl<'b> Iterator for Records<'b> {
    type Item = Result<RecordView<'b>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.left == 0 {
            if !self.rest.rest().is_empty() {
                return self.fail("bytes behind the last record");
            }
            self.done = true;
            return None;
        }
        self.left -= 1;
        match self.record() {
            Ok(view) => Some(Ok(view)),
            Err(what) => self.fail(what),
        }
    }
}

impl std::iter::FusedIterator for Records<'_> {}
