//! A record as it waits: a copy of its own, so that one that waits does not keep the bytes of a whole fetch in memory.

use std::sync::Arc;

use super::{Codec, Header, Headers, RecordView, TimestampType, varint};

/// A record with bytes of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    /// Key, value, and the headers as they stand in a batch, one behind the other.
    bytes: Box<[u8]>,
    /// How many of them are the key's, if it has one.
    key: Option<u32>,
    value: Option<u32>,
    /// How many headers there are. Thousands of records wait: as slices of their own, six headers would take more memory than all
    /// else of a usual one.
    headers: u32,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// The broker has set it when it appended the record.
    pub append_time: bool,
    /// That of its batch.
    pub codec: Codec,
}

impl OwnedRecord {
    /// Copies a record.
    #[must_use]
    pub fn copy(record: &RecordView<'_>, codec: Codec) -> Arc<Self> {
        let headers = (record.headers.bytes(), record.headers.len());
        Arc::new(Self {
            timestamp: record.timestamp,
            append_time: record.timestamp_type == TimestampType::LogAppendTime,
            codec,
            ..Self::of(record.key, record.value, headers)
        })
    }

    /// Of parts, with timestamp 0.
    #[must_use]
    pub fn new(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) -> Self {
        let mut encoded = Vec::new();
        let mut put = |part: Option<&[u8]>| {
            let len = part.map_or(-1, |part| i64::try_from(part.len()).unwrap_or(i64::MAX));
            let mut bytes = [0; varint::MAX_VARLONG];
            let end = varint::put(&mut bytes, 0, len);
            encoded.extend_from_slice(&bytes[..end]);
            encoded.extend_from_slice(part.unwrap_or_default());
        };
        for (name, value) in headers {
            put(Some(name));
            put(*value);
        }
        Self::of(key, value, (&encoded, headers.len()))
    }

    fn of(key: Option<&[u8]>, value: Option<&[u8]>, headers: (&[u8], usize)) -> Self {
        let parts = [key.unwrap_or_default(), value.unwrap_or_default(), headers.0];
        // No record is as long as this counts.
        let len = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX);
        Self {
            bytes: parts.concat().into_boxed_slice(),
            key: key.map(len),
            value: value.map(len),
            headers: u32::try_from(headers.1).unwrap_or(u32::MAX),
            timestamp: 0,
            append_time: false,
            codec: Codec::None,
        }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.key.map(|len| &self.bytes[..size(len)])
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        let begin = self.key.map_or(0, size);
        self.value.map(|len| &self.bytes[begin..begin + size(len)])
    }

    /// Its headers, in order.
    #[must_use]
    pub fn headers(&self) -> Headers<'_> {
        let begin = self.key.map_or(0, size) + self.value.map_or(0, size);
        Headers::sound(&self.bytes[begin..], size(self.headers))
    }

    /// Bytes of key, value and headers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of_header = |(name, value): Header<'_>| name.len() + value.map_or(0, <[u8]>::len);
        let of_headers: usize = self.headers().iter().map(of_header).sum();
        self.key.map_or(0, size) + self.value.map_or(0, size) + of_headers
    }

    /// Bytes that it keeps in memory.
    #[must_use]
    pub fn size(&self) -> u32 {
        u32::try_from(self.bytes.len() + size_of::<Self>()).unwrap_or(u32::MAX)
    }
}

fn size(len: u32) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::{BatchBuilder, BatchOptions, Batches, Compressor, DecodeBuffer, NewRecord};
    use super::*;

    #[test]
    fn a_copy_has_all_that_the_record_has_null_and_empty_told_apart() {
        let headers: [Header<'_>; 4] = [
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
                let copy = OwnedRecord::copy(&view, Codec::None);
                assert_eq!((copy.key(), copy.value()), (key, value));
                assert_eq!(copy.headers().iter().collect::<Vec<_>>(), headers);
                let parts = OwnedRecord::new(key, value, headers);
                assert_eq!(
                    parts,
                    OwnedRecord {
                        timestamp: 0,
                        ..(*copy).clone()
                    }
                );
                let bytes = headers
                    .iter()
                    .map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len));
                let of_record = [key, value].into_iter().flatten().map(<[u8]>::len);
                assert_eq!(copy.bytes(), bytes.chain(of_record).sum::<usize>());
                assert_eq!(copy.timestamp, 7);
            }
        }
    }
}
