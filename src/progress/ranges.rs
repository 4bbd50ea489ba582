//! Sets of offsets as ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of offsets, kept as disjoint, ascending ranges that do not touch each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Ranges {
    /// First offset → the offset after the last.
    by_start: BTreeMap<i64, i64>,
}

impl Ranges {
    /// Adds one offset. (The very last offset of all, `i64::MAX`, cannot be added: a range has an end.)
    pub fn insert(&mut self, offset: i64) {
        self.insert_range(offset..offset.saturating_add(1));
    }

    /// Adds all offsets of a range; an empty one adds nothing.
    pub fn insert_range(&mut self, range: Range<i64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        if let Some((&before, &its_end)) = self.by_start.range(..start).next_back()
            && its_end >= start
        {
            if its_end >= end {
                return;
            }
            start = before;
        }
        // Whatever begins within the new range or right behind it becomes part of it.
        while let Some((&inside, &its_end)) = self.by_start.range(start..=end).next() {
            self.by_start.remove(&inside);
            end = end.max(its_end);
        }
        self.by_start.insert(start, end);
    }

    /// Whether `offset` is in the set.
    #[must_use]
    pub fn contains(&self, offset: i64) -> bool {
        self.by_start
            .range(..=offset)
            .next_back()
            .is_some_and(|(_, &end)| offset < end)
    }

    /// The ranges in ascending order: first offset and the one after the last.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i64, i64)> + '_ {
        self.by_start.iter().map(|(&start, &end)| (start, end))
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    /// The number of ranges, not of offsets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_start.len()
    }

    /// Takes out everything below `next`.
    pub fn remove_below(&mut self, next: i64) {
        while let Some(first) = self.by_start.first_entry() {
            if *first.key() >= next {
                return;
            }
            let end = first.remove();
            if end > next {
                self.by_start.insert(next, end);
                return;
            }
        }
    }

    /// Takes out everything at and above `offset`.
    pub fn remove_from(&mut self, offset: i64) {
        while let Some(last) = self.by_start.last_entry() {
            let start = *last.key();
            if *last.get() <= offset {
                return;
            }
            last.remove();
            if start < offset {
                self.by_start.insert(start, offset);
                return;
            }
        }
    }

    /// Takes out the range that begins at `start`, if there is one, and tells its end.
    pub fn take_from(&mut self, start: i64) -> Option<i64> {
        self.by_start.remove(&start)
    }

    /// Adds all of another set.
    pub fn union(&mut self, other: &Self) {
        for (start, end) in other.iter() {
            self.insert_range(start..end);
        }
    }
}

impl FromIterator<Range<i64>> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range<i64>>>(ranges: I) -> Self {
        let mut set = Self::default();
        for range in ranges {
            set.insert_range(range);
        }
        set
    }
}
