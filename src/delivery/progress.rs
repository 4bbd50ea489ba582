//! Finished offsets → next, done, held; and how far the partition was fetched.

use std::collections::VecDeque;
use std::ops::Range;

use crate::progress::{Held, Progress};

/// One partition's progress under one token.
#[derive(Debug)]
pub struct Track {
    progress: Progress,
    /// The next offset to be fetched: everything below it is finished or known.
    position: i64,
    /// Where the source's leader epochs begin, behind `next`.
    epochs: VecDeque<(i64, i32)>,
    /// A handler of another, or one that was cut off, may have begun what is not finished below this offset.
    suspect: i64,
    /// Where the reports say so: a record without tries.
    marker: Option<i64>,
    changed: bool,
}

impl Track {
    /// As the group's log has it. A partition is granted with a first position; without one it begins at 0.
    #[must_use]
    pub fn new(mut progress: Progress) -> Self {
        let position = *progress.next.get_or_insert(0);
        progress.normalise();
        let untried = |(offset, held): (&i64, &Held)| (held.tries == 0).then_some(*offset);
        let marker = progress.held.iter().rev().find_map(untried);
        Self {
            progress,
            position,
            epochs: VecDeque::new(),
            suspect: marker.map_or(i64::MIN, |marker| marker + 1),
            marker,
            changed: false,
        }
    }

    /// The next offset to be fetched.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Fetched up to there.
    pub fn advance(&mut self, position: i64) {
        self.position = self.position.max(position);
    }

    /// Moves over what is finished; whether that leaves out so many offsets that a fetch from there is worth it.
    pub fn seek(&mut self) -> bool {
        /// Fewer are sooner read over than sought over.
        const WORTH: i64 = 1_000;
        let from = self.position;
        let next = self.progress.next.unwrap_or(0).max(from);
        let behind = self.progress.done.iter().find(|(_, end)| *end > next);
        self.position = match behind {
            Some((start, end)) if start <= next => end,
            _ => next,
        };
        self.position - from >= WORTH
    }

    /// Whether the offset is finished.
    #[must_use]
    pub fn is_finished(&self, offset: i64) -> bool {
        self.progress.is_finished(offset)
    }

    /// How a former owner left a record.
    #[must_use]
    pub fn held(&self, offset: i64) -> Option<Held> {
        self.progress.held.get(&offset).copied()
    }

    /// These are finished.
    pub fn finish(&mut self, offsets: Range<i64>) {
        if offsets.end - offsets.start == 1 {
            self.progress.finish(offsets.start);
        } else if !offsets.is_empty() {
            self.progress.done.insert_range(offsets);
            self.progress.normalise();
        }
        if self
            .marker
            .is_some_and(|marker| self.progress.is_finished(marker))
        {
            self.mark();
        }
        self.changed = true;
    }

    /// Whether this record may have been delivered without our knowing.
    #[must_use]
    pub fn is_suspect(&self, offset: i64) -> bool {
        offset < self.suspect
    }

    /// What is not finished below this offset may have been delivered without our knowing.
    pub fn suspect_below(&mut self, end: i64) {
        if end > self.suspect {
            self.suspect = end;
            self.mark();
        }
    }

    /// Marks the last of what is suspect in the progress, for the owners that follow.
    fn mark(&mut self) {
        let next = self.progress.next.unwrap_or(0);
        let unfinished = self.unfinished(next..self.suspect);
        let mut offsets = unfinished.into_iter().rev().flat_map(Iterator::rev);
        // One that waits after a failure says so of itself alone.
        self.marker =
            offsets.find(|offset| self.progress.held.get(offset).is_none_or(|held| held.tries == 0));
        if let Some(marker) = self.marker {
            let untried = Held {
                tries: 0,
                counted: 0,
                first_failed: 0,
                due: 0,
            };
            self.progress.held.insert(marker, untried);
        }
        self.changed = true;
    }

    /// The unfinished ones of these, in ascending order.
    #[must_use]
    pub fn unfinished(&self, offsets: Range<i64>) -> Vec<Range<i64>> {
        let mut rest = Vec::new();
        let mut from = offsets.start.max(self.progress.next.unwrap_or(0));
        for (start, end) in self.progress.done.iter() {
            if start >= offsets.end {
                break;
            }
            if start > from {
                rest.push(from..start);
            }
            from = from.max(end);
        }
        if from < offsets.end {
            rest.push(from..offsets.end);
        }
        rest
    }

    /// This one waits.
    pub fn hold(&mut self, offset: i64, held: Held) {
        self.progress.held.insert(offset, held);
        if self.marker == Some(offset) {
            self.mark();
        }
        self.changed = true;
    }

    /// As it is now.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// As it is now, if it has changed since it was asked for.
    pub fn take_changed(&mut self) -> Option<Progress> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.settle_epoch();
        Some(self.progress.clone())
    }

    /// All of it, at the end.
    #[must_use]
    pub fn into_progress(mut self) -> Progress {
        self.settle_epoch();
        self.progress
    }

    /// The records from `offset` on were written in this leader epoch.
    pub fn note_epoch(&mut self, offset: i64, epoch: i32) {
        /// Epochs that are told apart at most.
        const MOST: usize = 64;
        if epoch > self.epochs.back().map_or(self.progress.epoch, |(_, last)| *last) {
            if self.epochs.len() == MOST {
                self.epochs.pop_back();
            }
            self.epochs.push_back((offset, epoch));
        }
    }

    /// The epoch of the record before `next`: one of a later record would hide that the log was cut back between them.
    fn settle_epoch(&mut self) {
        let next = self.progress.next.unwrap_or(0);
        while let Some((_, epoch)) = self.epochs.front().filter(|(offset, _)| *offset < next) {
            self.progress.epoch = *epoch;
            self.epochs.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_long_finished_range_is_sought_over_and_a_short_one_is_not_worth_it() {
        for (end, worth) in [(15, false), (5_000, true)] {
            let mut progress = Progress::at(10, -1);
            progress.done.insert_range(12..end);
            let mut track = Track::new(progress);
            assert!(!track.seek());
            assert_eq!(track.position(), 10);
            track.advance(12);
            assert_eq!(track.seek(), worth);
            assert_eq!(track.position(), end);
        }
    }

    #[test]
    fn the_epoch_is_that_of_the_record_before_next() {
        let mut track = Track::new(Progress::at(5, 1));
        track.note_epoch(5, 1);
        track.note_epoch(8, 2);
        track.finish(5..8);
        assert_eq!(track.take_changed().map(|progress| progress.epoch), Some(1));
        track.finish(8..9);
        assert_eq!(track.take_changed().map(|progress| progress.epoch), Some(2));
        assert_eq!(track.take_changed(), None);
    }

    #[test]
    fn a_doubt_is_marked_at_the_last_record_that_it_is_about() {
        let tried = Held {
            tries: 2,
            counted: 0,
            first_failed: 1,
            due: 2,
        };
        let mut track = Track::new(Progress::at(5, -1));
        let marks = |track: &Track| -> Vec<(i64, u32)> {
            let held = track.progress().held.iter();
            held.map(|(offset, held)| (*offset, held.tries)).collect()
        };
        track.suspect_below(10);
        assert_eq!(marks(&track), [(9, 0)]);
        track.finish(8..10);
        assert_eq!(marks(&track), [(7, 0)]);
        track.hold(7, tried);
        assert_eq!(marks(&track), [(6, 0), (7, 2)]);
        let next = Track::new(track.progress().clone());
        assert!(next.is_suspect(6) && !next.is_suspect(7));
        track.finish(5..7);
        assert_eq!(marks(&track), [(7, 2)]);
        track.suspect_below(3);
        assert!(track.is_suspect(9));
    }

    proptest! {
        #[test]
        fn what_is_not_finished_is_told(finished in prop::collection::vec((0i64..60, 1i64..6), 0..20), from in 0i64..60, len in 0i64..30) {
            let mut track = Track::new(Progress::at(5, -1));
            let mut model: BTreeSet<i64> = (0..5).collect();
            for (start, len) in finished {
                track.finish(start..start + len);
                model.extend(start..start + len);
            }
            let rest: Vec<i64> = track.unfinished(from..from + len).into_iter().flatten().collect();
            let expected: Vec<i64> = (from..from + len).filter(|offset| !model.contains(offset)).collect();
            prop_assert_eq!(rest, expected);
        }
    }
}
