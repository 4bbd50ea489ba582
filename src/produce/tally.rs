//! What became of the records: how many were acknowledged, where, and which were not, and why.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::accumulator::Places;
use crate::broker::Error;

/// Groups of failures told apart at most; the rest is only counted.
const MAX_FAILURES: usize = 100;
/// Bits of a place that hold the line.
const LINE_BITS: u32 = 40;

/// A place in the input: the source's number and the line in it, from 1.
#[must_use]
pub fn place(source: usize, line: u64) -> u64 {
    ((source as u64) << LINE_BITS) | (line & ((1 << LINE_BITS) - 1))
}

/// The source's number and the line of a place.
#[must_use]
pub fn source_and_line(place: u64) -> (usize, u64) {
    (
        usize::try_from(place >> LINE_BITS).unwrap_or(usize::MAX),
        place & ((1 << LINE_BITS) - 1),
    )
}

/// A batch that is on its way.
#[derive(Debug)]
struct Out {
    partition: i32,
    places: Places,
    left: u32,
    bytes: usize,
}

/// Records that were given up for the same reason.
#[derive(Debug)]
pub struct Failure {
    /// Where the first of them was.
    pub first: u64,
    /// Where the last of them was.
    pub last: u64,
    /// How many.
    pub records: u64,
    /// Why.
    pub error: Error,
}

/// The account of a run.
#[derive(Debug, Default)]
pub struct Tally {
    out: HashMap<u64, Out>,
    next_tag: u64,
    bytes_out: usize,
    acknowledged: BTreeMap<i32, u64>,
    acknowledged_bytes: u64,
    failures: Vec<Failure>,
    failed: u64,
    not_published: u64,
}

impl Tally {
    /// A batch goes out. Returns its tag.
    pub fn sent(&mut self, partition: i32, places: Places, bytes: usize) -> u64 {
        self.next_tag += 1;
        self.bytes_out += bytes;
        let left = places.count();
        self.out.insert(
            self.next_tag,
            Out {
                partition,
                places,
                left,
                bytes,
            },
        );
        self.next_tag
    }

    /// A part of a batch was acknowledged or given up.
    pub fn settled(&mut self, tag: u64, records: Range<u32>, result: Result<i64, Error>) {
        let Some(out) = self.out.get_mut(&tag) else { return };
        let count = records.end - records.start;
        out.left = out.left.saturating_sub(count);
        match result {
            Ok(_) => *self.acknowledged.entry(out.partition).or_default() += u64::from(count),
            Err(error) => {
                self.failed += u64::from(count);
                if !error.is_of_a_record() {
                    self.not_published += u64::from(count);
                }
                let first = out.places.get(records.start).unwrap_or_default();
                let last = out.places.get(records.end - 1).unwrap_or(first);
                note(
                    &mut self.failures,
                    Failure {
                        first,
                        last,
                        records: u64::from(count),
                        error,
                    },
                );
            }
        }
        if out.left == 0
            && let Some(done) = self.out.remove(&tag)
        {
            self.bytes_out -= done.bytes;
            self.acknowledged_bytes += done.bytes as u64;
        }
    }

    /// Bytes of batches that are on their way.
    #[must_use]
    pub fn bytes_out(&self) -> usize {
        self.bytes_out
    }

    /// Whether nothing is on its way.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.out.is_empty()
    }

    /// Records on their way.
    #[must_use]
    pub fn records_out(&self) -> u64 {
        self.out.values().map(|out| u64::from(out.left)).sum()
    }

    /// Acknowledged records by partition.
    #[must_use]
    pub fn acknowledged(&self) -> &BTreeMap<i32, u64> {
        &self.acknowledged
    }

    /// Acknowledged records in all.
    #[must_use]
    pub fn acknowledged_records(&self) -> u64 {
        self.acknowledged.values().sum()
    }

    /// Why records were given up, in the order of the input.
    #[must_use]
    pub fn failures(&mut self) -> &[Failure] {
        self.failures.sort_by_key(|failure| failure.first);
        &self.failures
    }

    /// Records given up for a reason that is not their own.
    #[must_use]
    pub fn not_published(&self) -> u64 {
        self.not_published
    }

    /// Records given up in all.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed
    }
}

/// Joins a failure with the one before it if the reason is the same and each is not of a single record's own making.
fn note(failures: &mut Vec<Failure>, failure: Failure) {
    let same = failures.iter().position(|known| {
        known.error.to_string() == failure.error.to_string() && !known.error.is_of_a_record()
    });
    match same {
        Some(at) => {
            let known = &mut failures[at];
            known.first = known.first.min(failure.first);
            known.last = known.last.max(failure.last);
            known.records += failure.records;
        }
        None if failures.len() < MAX_FAILURES => failures.push(failure),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::broker::error::ResponseError;

    use super::*;

    fn refused(code: ResponseError) -> Error {
        Error::Refused {
            what: "publishing".to_owned(),
            code,
            message: None,
        }
    }

    fn places(places: impl IntoIterator<Item = u64>) -> Places {
        let mut kept = Places::default();
        for place in places {
            kept.push(place);
        }
        kept
    }

    #[test]
    fn a_place_is_a_source_and_a_line() {
        for (source, line) in [(0, 1), (3, 77), (1 << 20, (1 << LINE_BITS) - 1)] {
            assert_eq!(source_and_line(place(source, line)), (source, line));
        }
        assert!(place(0, 999_999) < place(1, 1), "sources come in order");
    }

    #[test]
    fn a_batch_is_settled_when_all_its_parts_are() {
        let mut tally = Tally::default();
        let tag = tally.sent(2, places(1..=10), 500);
        assert_eq!((tally.bytes_out(), tally.records_out()), (500, 10));
        tally.settled(tag, 5..10, Ok(3));
        assert!(!tally.is_settled());
        tally.settled(tag, 0..5, Ok(-1));
        assert!(tally.is_settled());
        assert_eq!((tally.bytes_out(), tally.records_out()), (0, 0));
        assert_eq!(tally.acknowledged().get(&2), Some(&10));
    }

    #[test]
    fn a_part_of_a_divided_batch_is_told_by_its_own_lines() {
        let mut tally = Tally::default();
        // The end of one file and the beginning of the next.
        let lines = [place(0, 98), place(0, 99), place(1, 1), place(1, 3)];
        let tag = tally.sent(0, places(lines), 100);
        tally.settled(tag, 2..4, Err(refused(ResponseError::TopicAuthorizationFailed)));
        tally.settled(tag, 1..2, Err(refused(ResponseError::MessageTooLarge)));
        tally.settled(tag, 0..1, Ok(7));
        let failures = tally.failures();
        assert_eq!(failures.len(), 2);
        assert_eq!(source_and_line(failures[0].first), (0, 99));
        assert_eq!(source_and_line(failures[1].first), (1, 1));
        assert_eq!(source_and_line(failures[1].last), (1, 3));
        assert_eq!(
            (
                tally.failed(),
                tally.not_published(),
                tally.acknowledged_records()
            ),
            (3, 2, 1)
        );
    }

    #[test]
    fn failures_of_one_reason_are_told_as_one_and_records_at_fault_each() {
        let mut tally = Tally::default();
        for line in (0..5).rev() {
            let tag = tally.sent(0, places([line]), 1);
            tally.settled(tag, 0..1, Err(refused(ResponseError::NotEnoughReplicas)));
            let tag = tally.sent(0, places([100 + line]), 1);
            tally.settled(tag, 0..1, Err(refused(ResponseError::InvalidRecord)));
        }
        let failures = tally.failures();
        assert_eq!(failures.len(), 6);
        let first = (failures[0].first, failures[0].last, failures[0].records);
        assert_eq!(first, (0, 4, 5));
    }

    #[test]
    fn what_is_not_out_settles_nothing() {
        let mut tally = Tally::default();
        tally.settled(99, 0..5, Ok(0));
        assert_eq!(tally.acknowledged_records(), 0);
    }
}
