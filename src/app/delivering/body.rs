//! A record as it waits for its handler: a copy of its own, so that one that waits does not keep the bytes of a whole
//! fetch in memory.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;

use crate::delivery::Fetched;
use crate::delivery::dedup::EventId;
use crate::event::Header;
use crate::record::{Codec, RecordView, TimestampType};

/// A record.
#[derive(Debug)]
pub(super) struct Body {
    /// Key, value, then each header's name and value, one behind the other.
    bytes: Bytes,
    /// How many of them are the key's, if it has one.
    key: Option<u32>,
    value: Option<u32>,
    /// How many are each header's name's and, unless it is null, its value's. Thousands of records wait: as slices of their
    /// own, six headers would take more memory than all else of a usual one.
    headers: Box<[(u32, Option<u32>)]>,
    pub(super) timestamp: i64,
    pub(super) append_time: bool,
    /// That of its batch.
    pub(super) codec: Codec,
}

impl Body {
    /// Copies a record, into one allocation and one for the lengths of its headers.
    pub(super) fn copy(record: &RecordView<'_>, codec: Codec) -> Arc<Self> {
        let (mut of_headers, mut count) = (0, 0);
        for (name, value) in record.headers.iter() {
            of_headers += name.len() + value.map_or(0, <[u8]>::len);
            count += 1;
        }
        let of_record = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        let mut all = Vec::with_capacity(of_headers + of_record);
        let mut put = |bytes: &[u8]| {
            all.extend_from_slice(bytes);
            // No record is as long as this counts.
            u32::try_from(bytes.len()).unwrap_or(u32::MAX)
        };
        let key = record.key.map(&mut put);
        let value = record.value.map(&mut put);
        let mut headers = Vec::with_capacity(count);
        headers.extend(
            record
                .headers
                .iter()
                .map(|(name, value)| (put(name), value.map(&mut put))),
        );
        Arc::new(Self {
            bytes: Bytes::from(all),
            key,
            value,
            headers: headers.into_boxed_slice(),
            timestamp: record.timestamp,
            append_time: record.timestamp_type == TimestampType::LogAppendTime,
            codec,
        })
    }

    /// Its key.
    pub(super) fn key(&self) -> Option<&[u8]> {
        self.key.map(|len| &self.bytes[..size(len)])
    }

    /// Its value.
    pub(super) fn value(&self) -> Option<&[u8]> {
        let begin = self.key.map_or(0, size);
        self.value.map(|len| &self.bytes[begin..begin + size(len)])
    }

    /// Its headers, as the rest of the crate has them.
    pub(super) fn headers(&self) -> Vec<crate::record::Header<'_>> {
        let mut rest = &self.bytes[self.key.map_or(0, size) + self.value.map_or(0, size)..];
        let mut take = |len: u32| {
            let (taken, behind) = rest.split_at(size(len));
            rest = behind;
            taken
        };
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            headers.push((take(*name), value.map(&mut take)));
        }
        headers
    }

    /// A part of it that keeps the whole in memory, without a copy.
    pub(super) fn shared(&self, part: &[u8]) -> Bytes {
        self.bytes.slice_ref(part)
    }

    /// Its headers as a handler gets them.
    pub(super) fn shared_headers(&self) -> Vec<Header> {
        let headers = self.headers().into_iter();
        headers
            .map(|(name, value)| (self.shared(name), value.map(|value| self.shared(value))))
            .collect()
    }

    /// Bytes of key, value and headers.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that it keeps in memory.
    pub(super) fn size(&self) -> u32 {
        let kept = self.bytes.len() + size_of_val(&*self.headers) + size_of::<Self>();
        u32::try_from(kept).unwrap_or(u32::MAX)
    }
}

/// The record for the core, with the id that it is compared by.
pub(super) fn fetched(record: &RecordView<'_>, codec: Codec, id: Option<EventId>) -> Fetched<Arc<Body>> {
    let body = Body::copy(record, codec);
    Fetched {
        offset: record.offset,
        key: record.key.map(hash),
        id,
        timestamp: record.timestamp,
        size: body.size(),
        body,
        refused: None,
    }
}

fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

fn size(len: u32) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, BatchOptions, Batches, Compressor, DecodeBuffer, NewRecord};

    #[test]
    fn a_copy_has_all_that_the_record_has_null_and_empty_told_apart() {
        let headers: [crate::record::Header<'_>; 4] = [
            (b"a", Some(b"one")),
            (b"", None),
            (b"a", Some(b"")),
            (b"long name", Some(&[0; 300])),
        ];
        let texts = [None, Some("one"), Some("")].map(|text| text.map(str::as_bytes));
        for (key, value) in texts.into_iter().flat_map(|key| texts.map(|value| (key, value))) {
            for headers in [&headers[..], &[]] {
                let record = NewRecord {
                    key,
                    value,
                    headers,
                    timestamp: 7,
                };
                let mut batch = BatchBuilder::new(BatchOptions::default());
                batch.append(&record).unwrap();
                let set = batch.seal().finish(-1, -1, -1, &mut Compressor::new()).unwrap();
                let batch = Batches::new(&set).next().unwrap();
                let mut buffer = DecodeBuffer::new();
                let view = batch.records(&mut buffer).unwrap().next().unwrap().unwrap();
                let body = Body::copy(&view, Codec::None);
                assert_eq!((body.key(), body.value()), (key, value));
                assert_eq!(body.headers(), headers);
                let shared = body.shared_headers();
                let shared: Vec<_> = shared
                    .iter()
                    .map(|(name, value)| (&**name, value.as_deref()))
                    .collect();
                assert_eq!(shared, headers);
                assert_eq!(body.timestamp, 7);
            }
        }
    }
}
