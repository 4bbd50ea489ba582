//! A position in a partition, and how answers move it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::record::{Batches, Remainder};

/// Where reading a partition is.
#[derive(Debug, Clone)]
pub struct Cursor {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The next offset to be read.
    pub position: i64,
    /// The leader epoch of the batch before it; −1 before the first.
    pub last_epoch: i32,
    /// Reading ends before this offset.
    pub stop: Option<i64>,
    /// Nothing is fetched before that time: after an error.
    pub not_before: Option<Instant>,
    /// Errors in a row.
    pub errors: u32,
    /// Stands in everything that is told of this partition, to tell it from what was fetched for an earlier cursor.
    pub tag: u64,
    /// Whether reading goes on where the log was cut back or made anew. If not, the cursor stops there, and whoever
    /// owns it adds another one.
    pub follows: bool,
    /// The first request goes over a new connection: what came over the old one cannot be read.
    pub anew: bool,
    /// Left out of requests.
    pub(super) paused: bool,
    /// Left out of them until another cursor comes.
    pub(super) stopped: bool,
    /// The broker whose request under way asks for it.
    pub(super) asked: Option<i32>,
}

/// What an answer held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advance {
    /// Nothing new.
    Nothing,
    /// Records in this range of offsets, as far as they exist.
    Records(Range<i64>),
    /// Bytes in which no batch can be found: nothing behind this offset can be read.
    Broken {
        /// The offset at which it happens.
        offset: i64,
        /// What is wrong.
        reason: &'static str,
    },
}

impl Cursor {
    /// A cursor at `position`.
    #[must_use]
    pub fn new(topic: Arc<str>, partition: i32, position: i64, stop: Option<i64>) -> Self {
        Self {
            topic,
            partition,
            position,
            last_epoch: -1,
            stop,
            not_before: None,
            errors: 0,
            tag: 0,
            follows: true,
            anew: false,
            paused: false,
            stopped: false,
            asked: None,
        }
    }

    /// A cursor of somebody who decides for himself what follows from a cut or another topic. `last_epoch` is the
    /// leader epoch of the record before `position`, −1 if not known.
    #[must_use]
    pub fn owned(topic: Arc<str>, partition: i32, position: i64, last_epoch: i32, tag: u64) -> Self {
        Self {
            last_epoch,
            tag,
            follows: false,
            ..Self::new(topic, partition, position, None)
        }
    }

    /// Whether all that was asked for has been read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.stop.is_some_and(|stop| self.position >= stop)
    }

    /// Goes on elsewhere, in a log that now ends at `end`, if that is known: what was behind it is gone, and waiting
    /// for as much to be written again might never end.
    pub fn move_to(&mut self, to: i64, end: Option<i64>) {
        self.position = to;
        // It is the epoch of what was read before the old position.
        self.last_epoch = -1;
        if let (Some(stop), Some(end)) = (self.stop, end) {
            self.stop = Some(stop.min(end));
        }
    }

    /// Moves behind the batches of an answer, by their headers alone. It goes on by a batch's last offset and not by
    /// its last record's: the end of a transaction and compaction leave offsets without a record.
    pub fn advance(&mut self, set: &[u8]) -> Advance {
        let from = self.position;
        let mut batches = Batches::new(set);
        let mut whole = false;
        for batch in batches.by_ref() {
            whole = true;
            // A fetch from the middle of a batch brings all of it.
            let next = batch.header.next_offset();
            if next > self.position {
                self.position = next;
                self.last_epoch = batch.header.leader_epoch;
            }
        }
        self.errors = 0;
        self.not_before = None;
        if self.position > from {
            return Advance::Records(from..self.position.min(self.stop.unwrap_or(i64::MAX)));
        }
        match batches.remainder() {
            Remainder::None => Advance::Nothing,
            // Read before already: two requests asked for it.
            Remainder::Truncated { .. } if whole => Advance::Nothing,
            // A broker brings at least one whole batch, whatever the limits are (KIP-74).
            Remainder::Truncated { .. } => Advance::Broken {
                offset: from,
                reason: "the broker sent less than a whole batch",
            },
            Remainder::Broken { reason, .. } => Advance::Broken { offset: from, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, BatchOptions, Compressor, NewRecord};

    fn batch(records: usize, base: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for _ in 0..records {
            builder
                .append(&NewRecord {
                    value: Some(b"v"),
                    ..NewRecord::default()
                })
                .unwrap();
        }
        let mut batch = builder.seal().finish(-1, -1, -1, &mut Compressor::new()).unwrap();
        batch[..8].copy_from_slice(&base.to_be_bytes());
        batch
    }

    fn cursor(position: i64, stop: Option<i64>) -> Cursor {
        Cursor::new(Arc::from("t"), 0, position, stop)
    }

    #[test]
    fn a_cursor_moves_behind_whole_batches_and_leaves_out_a_cut_one() {
        let mut set = [batch(3, 10), batch(2, 13), batch(5, 15)].concat();
        set.truncate(set.len() - 1);
        let mut at = cursor(10, None);
        assert_eq!(at.advance(&set), Advance::Records(10..15));
        assert_eq!(at.position, 15);
    }

    #[test]
    fn a_fetch_from_the_middle_of_a_batch_brings_what_is_behind_it() {
        let mut at = cursor(12, Some(14));
        assert_eq!(at.advance(&batch(5, 10)), Advance::Records(12..14));
        assert!(at.is_done());
    }

    #[test]
    fn an_empty_answer_moves_nothing() {
        let mut at = cursor(12, None);
        assert_eq!(at.advance(&[]), Advance::Nothing);
        assert_eq!(at.position, 12);
    }

    #[test]
    fn a_batch_that_ends_behind_the_stop_ends_reading_and_tells_only_what_was_asked_for() {
        let mut at = cursor(10, Some(12));
        assert_eq!(at.advance(&batch(5, 10)), Advance::Records(10..12));
        assert!(at.is_done());
        assert!(!cursor(10, None).is_done());
        assert!(cursor(12, Some(12)).is_done());
    }

    #[test]
    fn batches_that_were_read_already_move_nothing() {
        let mut at = cursor(20, None);
        assert_eq!(at.advance(&batch(5, 10)), Advance::Nothing);
        assert_eq!(at.position, 20);
    }

    #[test]
    fn batches_that_were_read_already_and_a_cut_one_behind_them_are_no_error() {
        let mut set = [batch(5, 10), batch(5, 15)].concat();
        set.truncate(set.len() - 1);
        let mut at = cursor(15, None);
        assert_eq!(at.advance(&set), Advance::Nothing);
        assert_eq!(at.position, 15);
    }

    #[test]
    fn a_gap_between_batches_is_stepped_over() {
        let mut at = cursor(10, None);
        let set = [batch(2, 15), batch(1, 40)].concat();
        assert_eq!(at.advance(&set), Advance::Records(10..41));
        assert_eq!(at.position, 41);
    }

    #[test]
    fn a_log_that_was_cut_short_is_read_to_its_new_end() {
        let mut at = cursor(50, Some(100));
        at.last_epoch = 7;
        at.move_to(30, Some(30));
        assert_eq!((at.position, at.last_epoch), (30, -1));
        assert!(at.is_done());
        let mut parted = cursor(50, Some(100));
        parted.move_to(30, None);
        assert_eq!(parted.stop, Some(100));
    }

    #[test]
    fn an_answer_ends_the_row_of_errors() {
        let mut at = cursor(10, None);
        at.errors = 3;
        at.not_before = Some(crate::clock::now());
        at.advance(&[]);
        assert_eq!((at.errors, at.not_before), (0, None));
    }

    #[test]
    fn bytes_without_a_batch_are_told_and_not_waited_for() {
        let mut at = cursor(10, None);
        assert!(matches!(
            at.advance(&batch(3, 10)[..40]),
            Advance::Broken { offset: 10, .. }
        ));
        assert!(matches!(
            at.advance(&[0xff; 100]),
            Advance::Broken { offset: 10, .. }
        ));
    }
}
