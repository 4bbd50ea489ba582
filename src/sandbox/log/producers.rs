//! What a partition knows of its idempotent producers: epochs and the last batches' sequence numbers. Pure.
//!
//! As Kafka's `ProducerStateManager` and `ProducerAppendInfo`.

use std::collections::{BTreeMap, VecDeque};

use crate::record::BatchHeader;
use crate::sandbox::code;

/// Batches of a producer that are recognised when they are sent again.
const REMEMBERED: usize = 5;

#[derive(Debug, Clone)]
struct Producer {
    epoch: i16,
    /// First and last sequence number, base offset and highest time.
    batches: VecDeque<(i32, i32, i64, i64)>,
    /// When it last wrote, in milliseconds since the epoch.
    at: i64,
}

/// The producers of a partition.
#[derive(Debug, Clone, Default)]
pub(crate) struct Producers {
    known: BTreeMap<i64, Producer>,
}

/// What to do with a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Append it.
    New,
    /// It is in the log already.
    Known {
        /// Its first offset.
        base: i64,
        /// Its highest time.
        timestamp: i64,
    },
}

fn last_sequence(header: &BatchHeader) -> i32 {
    wrapping(
        header.base_sequence,
        i32::try_from(header.last_offset - header.base_offset).unwrap_or(0),
    )
}

/// Sequence numbers go on at 0 behind the highest.
fn wrapping(sequence: i32, more: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(more);
    i32::try_from(sum % (i64::from(i32::MAX) + 1)).unwrap_or(0)
}

impl Producers {
    /// Judges a batch before it is appended.
    pub(crate) fn judge(&self, header: &BatchHeader) -> Result<Judgement, i16> {
        if header.producer_id < 0 {
            return Ok(Judgement::New);
        }
        let Some(known) = self.known.get(&header.producer_id) else {
            // As Kafka: whatever was known of it may have been deleted with its records.
            return Ok(Judgement::New);
        };
        if header.producer_epoch < known.epoch {
            return Err(code::INVALID_PRODUCER_EPOCH);
        }
        if header.producer_epoch > known.epoch {
            return if header.base_sequence == 0 {
                Ok(Judgement::New)
            } else {
                Err(code::OUT_OF_ORDER_SEQUENCE)
            };
        }
        let span = (header.base_sequence, last_sequence(header));
        if let Some((.., base, timestamp)) = known
            .batches
            .iter()
            .find(|(first, last, ..)| (*first, *last) == span)
        {
            let (base, timestamp) = (*base, *timestamp);
            return Ok(Judgement::Known { base, timestamp });
        }
        let next = known.batches.back().map_or(0, |(_, last, ..)| wrapping(*last, 1));
        if header.base_sequence == next {
            Ok(Judgement::New)
        } else {
            Err(code::OUT_OF_ORDER_SEQUENCE)
        }
    }

    /// Remembers a batch that was appended, or found in the log at start.
    pub(crate) fn appended(&mut self, header: &BatchHeader, at: i64) {
        if header.producer_id < 0 {
            return;
        }
        let known = self.known.entry(header.producer_id).or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            batches: VecDeque::new(),
            at,
        });
        if known.epoch != header.producer_epoch {
            known.epoch = header.producer_epoch;
            known.batches.clear();
        }
        known.at = at;
        // A marker has no sequence number.
        if header.base_sequence >= 0 {
            if known.batches.len() == REMEMBERED {
                known.batches.pop_front();
            }
            let span = (header.base_sequence, last_sequence(header));
            known
                .batches
                .push_back((span.0, span.1, header.base_offset, header.max_timestamp));
        }
    }

    /// The highest producer id seen, -1 for none.
    pub(crate) fn highest(&self) -> i64 {
        self.known.last_key_value().map_or(-1, |(id, _)| *id)
    }

    /// The epoch a producer last wrote with.
    pub(crate) fn epoch(&self, producer_id: i64) -> Option<i16> {
        self.known.get(&producer_id).map(|known| known.epoch)
    }

    /// Forgets producers that have not written since.
    pub(crate) fn forget(&mut self, before: i64) {
        self.known.retain(|_, known| known.at >= before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(epoch: i16, sequence: i32, count: i32, offset: i64) -> BatchHeader {
        BatchHeader {
            base_offset: offset,
            last_offset: offset + i64::from(count) - 1,
            leader_epoch: 0,
            magic: 2,
            crc: 0,
            attributes: 0,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: 7,
            producer_epoch: epoch,
            base_sequence: sequence,
            count,
            size: 61,
        }
    }

    #[test]
    fn a_batch_sent_again_is_known_and_a_gap_is_refused() {
        let mut producers = Producers::default();
        for batch in 0..6 {
            let header = header(0, batch * 10, 10, i64::from(batch) * 100);
            assert_eq!(producers.judge(&header), Ok(Judgement::New));
            producers.appended(&header, 0);
        }
        assert_eq!(
            producers.judge(&header(0, 10, 10, 0)),
            Ok(Judgement::Known {
                base: 100,
                timestamp: 0
            })
        );
        assert_eq!(
            producers.judge(&header(0, 0, 10, 0)),
            Err(code::OUT_OF_ORDER_SEQUENCE)
        );
        assert_eq!(
            producers.judge(&header(0, 70, 10, 0)),
            Err(code::OUT_OF_ORDER_SEQUENCE)
        );
        assert_eq!(producers.judge(&header(0, 60, 1, 0)), Ok(Judgement::New));
    }

    #[test]
    fn an_old_epoch_is_refused_and_a_new_one_starts_at_0() {
        let mut producers = Producers::default();
        producers.appended(&header(3, 0, 1, 0), 0);
        assert_eq!(
            producers.judge(&header(2, 1, 1, 0)),
            Err(code::INVALID_PRODUCER_EPOCH)
        );
        assert_eq!(
            producers.judge(&header(4, 1, 1, 0)),
            Err(code::OUT_OF_ORDER_SEQUENCE)
        );
        assert_eq!(producers.judge(&header(4, 0, 1, 0)), Ok(Judgement::New));
    }

    #[test]
    fn sequence_numbers_go_on_at_0_behind_the_highest() {
        let mut producers = Producers::default();
        producers.appended(&header(0, i32::MAX - 1, 2, 0), 0);
        assert_eq!(producers.judge(&header(0, 0, 1, 2)), Ok(Judgement::New));
        producers.appended(&header(0, i32::MAX, 2, 4), 0);
        assert_eq!(producers.judge(&header(0, 1, 1, 6)), Ok(Judgement::New));
    }
}
