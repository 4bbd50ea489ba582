//! A record as it waits for its handler: a copy of its own, so that one that waits does not keep the bytes of a whole
//! fetch in memory.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;

use crate::dead_letter::replay::Origin;
use crate::delivery::Fetched;
use crate::delivery::dedup::EventId;
use crate::event::Header;
use crate::record::{Codec, Headers, RecordView, TimestampType};

/// A record.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<Header>,
    pub(super) timestamp: i64,
    pub(super) append_time: bool,
    /// That of its batch.
    pub(super) codec: Codec,
}

impl Body {
    /// Copies a record, into one allocation and one for the list of its headers.
    pub(super) fn copy(record: &RecordView<'_>, codec: Codec) -> Arc<Self> {
        let of_headers: usize = record
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len))
            .sum();
        let of_record = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        let mut all = Vec::with_capacity(of_headers + of_record);
        let mut put = |bytes: &[u8]| {
            let begin = all.len();
            all.extend_from_slice(bytes);
            begin..all.len()
        };
        let key = record.key.map(&mut put);
        let value = record.value.map(&mut put);
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(name, value)| (put(name), value.map(&mut put)))
            .collect();
        let all = Bytes::from(all);
        Arc::new(Self {
            key: key.map(|range| all.slice(range)),
            value: value.map(|range| all.slice(range)),
            headers: headers
                .into_iter()
                .map(|(name, value)| (all.slice(name), value.map(|range| all.slice(range))))
                .collect(),
            timestamp: record.timestamp,
            append_time: record.timestamp_type == TimestampType::LogAppendTime,
            codec,
        })
    }

    /// Its headers, as the rest of the crate has them.
    pub(super) fn headers(&self) -> Vec<crate::record::Header<'_>> {
        let headers = self.headers.iter();
        headers
            .map(|(name, value)| (name.as_ref(), value.as_deref()))
            .collect()
    }

    /// Bytes of key, value and headers.
    pub(super) fn bytes(&self) -> usize {
        let headers = self.headers.iter();
        let of_headers: usize = headers
            .map(|(name, value)| name.len() + value.as_ref().map_or(0, Bytes::len))
            .sum();
        of_headers + self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len)
    }

    /// Bytes that it keeps in memory.
    pub(super) fn size(&self) -> u32 {
        let lists = self.headers.len() * size_of::<Header>() + size_of::<Self>();
        u32::try_from(self.bytes() + lists).unwrap_or(u32::MAX)
    }

    /// What its event is compared by, if it is one with an id. A replayed one is compared by its dead letter's.
    pub(super) fn event_id(headers: Headers<'_>, replay: bool) -> Option<EventId> {
        if replay {
            let origin = Origin::read(headers.iter())?;
            return Some(EventId::replay(origin.id.as_bytes()));
        }
        let (mut source, mut id) = (None, None);
        for (name, value) in headers.iter() {
            match name {
                b"ce_source" => source = value,
                b"ce_id" => id = value,
                _ => {}
            }
        }
        let id = id.filter(|id| !id.is_empty())?;
        Some(EventId::event(source.unwrap_or_default(), id))
    }
}

/// The record for the core. `dedup` is whether its id matters, and whether it is of a topic of replays.
pub(super) fn fetched(record: &RecordView<'_>, codec: Codec, dedup: Option<bool>) -> Fetched<Arc<Body>> {
    let body = Body::copy(record, codec);
    Fetched {
        offset: record.offset,
        key: record.key.map(hash),
        id: dedup.and_then(|replay| Body::event_id(record.headers, replay)),
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
