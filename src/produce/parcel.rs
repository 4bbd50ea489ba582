//! A batch or a part of one on its way: how it is stamped, divided, settled.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::producer::Outcome;
use super::queue::{Item, Queue};
use crate::broker::error::Error;
use crate::broker::metadata::PartitionId;
use crate::record::{
    self, BatchBuilder, BatchError, BatchOptions, Batches, Compressor, DecodeBuffer, Identity, NewRecord,
    SealedBatch,
};

/// Delays between tries of a batch.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A batch or a part of one, as it waits in its queue.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) batch: u64,
    pub(super) tag: u64,
    pub(super) reply: mpsc::UnboundedSender<Outcome>,
    /// Its records within the batch that was submitted.
    pub(super) records: Range<u32>,
    pub(super) state: State,
    /// A buffer that is free again.
    pub(super) spare: Option<Vec<u8>>,
    pub(super) attempts: u32,
    /// Why the last try failed.
    pub(super) error: Option<Error>,
}

#[derive(Debug)]
pub(super) enum State {
    /// Not compressed (nor to be): finished when it is first sent.
    Sealed(Option<SealedBatch>),
    /// On its way through another thread.
    Compressing,
    /// As it goes to the broker; with the numbers it is stamped with.
    Finished {
        bytes: Bytes,
        stamp: Option<(Identity, i32)>,
    },
}

/// Notes why nothing can be sent, for the report if that lasts.
pub(super) fn note_oldest(queue: &mut Queue<Parcel>, error: &Error) {
    if let Some(parcel) = queue.find_waiting(|_| true) {
        parcel.error = Some(error.clone());
    }
}

pub(super) fn note_where(
    queues: &mut BTreeMap<PartitionId, Queue<Parcel>>,
    error: &Error,
    which: impl Fn(&PartitionId, &Queue<Parcel>) -> bool,
) {
    for (id, queue) in queues {
        if which(id, queue) {
            note_oldest(queue, error);
        }
    }
}

/// Notes why a try failed. Returns the delay before the next one, which doubles with each try.
pub(super) fn failed_again(queue: &mut Queue<Parcel>, ordinal: u64, error: &Error) -> Duration {
    let mut attempts = 0;
    queue.note(ordinal, |parcel| {
        parcel.error = Some(error.clone());
        attempts = parcel.attempts;
        parcel.attempts += 1;
    });
    (RETRY.0 * 2u32.pow(attempts.min(5))).min(RETRY.1)
}

pub(super) fn give_up(queue: &mut Queue<Parcel>, error: &Error) {
    for item in queue.drain_waiting() {
        settle(item, Err(error.clone()), None);
    }
}

/// Tells the sender. One that does not listen any more needs no answer.
pub(super) fn settle(item: Item<Parcel>, result: Result<i64, Error>, spare: Option<Vec<u8>>) {
    let Parcel {
        tag, reply, records, ..
    } = item.payload;
    drop(reply.send(Outcome {
        tag,
        records,
        result,
        spare,
    }));
}

pub(super) fn size(parcel: &Parcel) -> Option<usize> {
    match &parcel.state {
        State::Sealed(sealed) => sealed.as_ref().map(SealedBatch::len),
        State::Compressing => None,
        State::Finished { bytes, .. } => Some(bytes.len()),
    }
}

/// The batch as it goes to the broker, with its producer's numbers.
pub(super) fn stamped(parcel: &mut Parcel, identity: Identity, sequence: i32) -> Result<Bytes, Error> {
    let numbers = Some((identity, sequence));
    let bytes = match &mut parcel.state {
        State::Finished { bytes, stamp } if *stamp == numbers => return Ok(bytes.clone()),
        State::Finished { bytes, .. } => {
            let mut batch = Vec::from(std::mem::take(bytes));
            record::stamp(&mut batch, identity.id, identity.epoch, sequence);
            batch
        }
        State::Sealed(sealed) => {
            let sealed = sealed
                .take()
                .ok_or_else(|| Error::Unencodable("an empty batch".to_owned()))?;
            sealed
                .finish(identity.id, identity.epoch, sequence, &mut Compressor::new())
                .map_err(|e| Error::Unencodable(e.to_string()))?
        }
        State::Compressing => return Err(Error::Unencodable("a batch that is being compressed".to_owned())),
    };
    let bytes = Bytes::from(bytes);
    parcel.state = State::Finished {
        bytes: bytes.clone(),
        stamp: numbers,
    };
    Ok(bytes)
}

pub(super) fn take_buffer(state: &mut State) -> Option<Vec<u8>> {
    match std::mem::replace(state, State::Compressing) {
        State::Finished { bytes, .. } => bytes.try_into_mut().ok().map(Vec::from),
        _ => None,
    }
}

/// The first records of a batch, and the rest.
pub(super) fn halves(
    batch: &Bytes,
    first: u32,
    compression: record::Compression,
) -> Result<(SealedBatch, SealedBatch), BatchError> {
    let options = BatchOptions {
        compression,
        capacity: batch.len() / 2,
    };
    let mut left = BatchBuilder::new(options);
    let mut right = BatchBuilder::new(options);
    let mut buffer = DecodeBuffer::new();
    for batch in Batches::new(batch) {
        for (index, record) in (0..).zip(batch.records(&mut buffer)?) {
            let record = record?;
            let headers: Vec<_> = record.headers.iter().collect();
            let copy = NewRecord {
                key: record.key,
                value: record.value,
                headers: &headers,
                timestamp: record.timestamp,
            };
            let half = if index < first { &mut left } else { &mut right };
            // A part is never longer than the whole.
            let appended = half.append(&copy);
            debug_assert!(appended.is_ok(), "{appended:?}");
        }
    }
    Ok((left.seal(), right.seal()))
}
