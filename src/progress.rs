//! How far the work on one partition has got: [`Progress`]. Pure; the group's log and the delivery both speak it.
//!
//! Two views of one partition's progress made under the same token can be [merged](Progress::merge) in any order, any
//! number of times, with the same result: a report may arrive late, twice, whole or in part.

mod encoding;
mod ranges;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use encoding::Garbled;
pub use ranges::Ranges;

/// A record that waits for its next try.
///
/// Of two views of the same record the greater one is the newer: more tries win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Held {
    /// How often it was tried. 0 marks the last of those that may have been delivered, by an owner that died or by a
    /// handler that was cut off: it, and all before it that are not finished.
    pub tries: u32,
    /// How many of those tries count against its limit.
    pub counted: u32,
    /// When it failed first, in milliseconds since 1970.
    pub first_failed: i64,
    /// When it is tried again, in milliseconds since 1970.
    pub due: i64,
}

/// How far the work on a partition has got.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Progress {
    /// The first offset that is not finished; none before the first position is known.
    pub next: Option<i64>,
    /// What is finished above `next`.
    pub done: Ranges,
    /// What waits for another try: offset → how it stands. None of them is finished.
    pub held: BTreeMap<i64, Held>,
    /// The source's leader epoch of the record before `next`; −1 if it is not known.
    pub epoch: i32,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            next: None,
            done: Ranges::default(),
            held: BTreeMap::new(),
            epoch: -1,
        }
    }
}

impl Progress {
    /// Progress at a first position: nothing is finished from `next` on.
    #[must_use]
    pub fn at(next: i64, epoch: i32) -> Self {
        Self {
            next: Some(next),
            epoch,
            ..Self::default()
        }
    }

    /// Takes in another view of the same partition: the larger `next`, the union of `done`, per held offset the view
    /// with more tries; what is finished is not held. The epoch is the larger one, as epochs grow with offsets.
    pub fn merge(&mut self, other: &Self) {
        self.next = self.next.max(other.next);
        self.epoch = self.epoch.max(other.epoch);
        self.done.union(&other.done);
        for (&offset, &held) in &other.held {
            let ours = self.held.entry(offset).or_insert(held);
            *ours = held.max(*ours);
        }
        self.normalise();
    }

    /// Notes that the work on `offset` is over.
    pub fn finish(&mut self, offset: i64) {
        self.held.remove(&offset);
        if self.next.is_some_and(|next| offset < next) {
            return;
        }
        self.done.insert(offset);
        self.eat();
    }

    /// Whether the work on `offset` is over.
    #[must_use]
    pub fn is_finished(&self, offset: i64) -> bool {
        self.next.is_some_and(|next| offset < next) || self.done.contains(offset)
    }

    /// How many holes there are below finished work: runs of offsets that are not finished, with finished ones above.
    #[must_use]
    pub fn gaps(&self) -> usize {
        self.done.len()
    }

    /// Brings the parts into line with each other: `next` eats the ranges that touch it, and nothing finished is held.
    /// What is built by hand, field by field, has to be brought into line before anything else is done with it.
    pub fn normalise(&mut self) {
        self.eat();
        if !self.held.is_empty() {
            let (next, done) = (self.next, &self.done);
            self.held
                .retain(|&offset, _| next.is_none_or(|next| offset >= next) && !done.contains(offset));
        }
    }

    fn eat(&mut self) {
        let Some(next) = &mut self.next else { return };
        self.done.remove_below(*next);
        if let Some(end) = self.done.take_from(*next) {
            *next = end;
        }
    }
}
