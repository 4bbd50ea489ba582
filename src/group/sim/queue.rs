//! What happens next: events in the order of their time, equal times in the order of their making.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

#[derive(Debug)]
struct Entry<E> {
    at: u64,
    number: u64,
    event: E,
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number)) // the heap gives out its greatest
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<E> Eq for Entry<E> {}

/// Events that are to come.
#[derive(Debug)]
pub(super) struct Queue<E> {
    heap: BinaryHeap<Entry<E>>,
    made: u64,
}

impl<E> Queue<E> {
    pub(super) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            made: 0,
        }
    }

    pub(super) fn push(&mut self, at: u64, event: E) {
        self.made += 1;
        self.heap.push(Entry {
            at,
            number: self.made,
            event,
        });
    }

    /// The next event and its number, unless it lies behind `end`.
    pub(super) fn pop(&mut self, end: u64) -> Option<(u64, u64, E)> {
        if self.heap.peek()?.at > end {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at, entry.number, entry.event))
    }

    /// Puts an event off, before all others of the new time that were made later.
    pub(super) fn put_off(&mut self, at: u64, number: u64, event: E) {
        self.heap.push(Entry { at, number, event });
    }

    /// Events made so far.
    pub(super) fn made(&self) -> u64 {
        self.made
    }
}
