//! The ids seen in the window: a ring of what was finished, in that order, and an index into it.
//!
//! Some thirty bytes an id. A map of ids with a queue for their ages would take three times that.

use std::collections::VecDeque;

use sha2::{Digest, Sha256};

use super::rules::{Rule, Rules};

/// What is compared: a hash of an id, of 96 bits. Among a million ids another one is found with a probability of 2⁻⁷⁶.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId([u8; 12]);

impl EventId {
    /// Of an event, by what makes it one: its source and id.
    #[must_use]
    pub fn event(source: &[u8], id: &[u8]) -> Self {
        Self::of(b"event", source, id)
    }

    /// Of a replayed dead letter, by the letter's id and the number of the replay: replaying it twice is a mistake; neither
    /// replaying it is one, though its event counts as finished, nor replaying it again after it failed again.
    #[must_use]
    pub fn replay(letter: &[u8], replays: u32) -> Self {
        Self::of(b"replay", letter, &replays.to_be_bytes())
    }

    fn of(kind: &[u8], a: &[u8], b: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(kind);
        hash.update((a.len() as u64).to_be_bytes());
        hash.update(a);
        hash.update(b);
        let hash = hash.finalize();
        Self(hash.first_chunk().copied().unwrap_or_default())
    }
}

/// In 24 bytes: a million of them are most of what a process with a window needs.
#[derive(Debug, Clone, Copy)]
struct Seen {
    id: EventId,
    offset: Short,
    timestamp: Short,
}

/// A number of 48 bits: enough for any offset, and for any time within 4,000 years.
#[derive(Debug, Clone, Copy)]
struct Short([u8; 6]);

impl Short {
    const END: i64 = 1 << 47;

    fn new(number: i64) -> Self {
        let [a, b, c, d, e, f, ..] = number.clamp(-Self::END, Self::END - 1).to_le_bytes();
        Self([a, b, c, d, e, f])
    }

    fn get(self) -> i64 {
        let Self([a, b, c, d, e, f]) = self;
        let sign = if f & 0x80 == 0 { 0 } else { 0xff };
        i64::from_le_bytes([a, b, c, d, e, f, sign, sign])
    }
}

/// Those of a window in the order in which they were finished: in pieces, so that growing neither copies them nor leaves
/// holes of their size in the process' memory.
#[derive(Debug, Default)]
struct Ring {
    pieces: VecDeque<Vec<Seen>>,
    /// Of the first piece so many have left.
    left: usize,
    len: usize,
}

impl Ring {
    const PIECE: usize = 1024;

    fn get(&self, at: usize) -> Option<&Seen> {
        let at = at.checked_add(self.left)?;
        self.pieces.get(at / Self::PIECE)?.get(at % Self::PIECE)
    }

    fn push(&mut self, seen: Seen) {
        match self.pieces.back_mut().filter(|last| last.len() < Self::PIECE) {
            Some(last) => last.push(seen),
            None => {
                // Most of thousands of partitions may have few.
                let room = if self.len == 0 { 4 } else { Self::PIECE };
                let mut piece = Vec::with_capacity(room);
                piece.push(seen);
                self.pieces.push_back(piece);
            }
        }
        self.len += 1;
    }

    fn pop(&mut self) {
        if self.len == 0 {
            return;
        }
        self.len -= 1;
        self.left += 1;
        if self.left == Self::PIECE {
            self.pieces.pop_front();
            self.left = 0;
        }
    }
}

/// No entry.
const NONE: u32 = u32::MAX;

/// The ids that one partition finished.
#[derive(Debug)]
pub struct Window {
    most: usize,
    /// Milliseconds.
    span: i64,
    ring: Ring,
    /// The number of the ring's first entry, wrapping.
    first: u32,
    /// Open addressing with linear probing: hash → number of an entry. At most three quarters full.
    index: Vec<u32>,
}

impl Window {
    /// An empty one, for so many ids and milliseconds.
    #[must_use]
    pub fn new(most: usize, span: u64) -> Self {
        Self {
            most: most.clamp(1, 1 << 30),
            span: i64::try_from(span).unwrap_or(i64::MAX),
            ring: Ring::default(),
            first: 0,
            index: vec![NONE; 16],
        }
    }

    /// So many ids from now on: the oldest leave.
    pub fn set_most(&mut self, most: usize) {
        self.most = most.clamp(1, 1 << 30);
        while self.ring.len > self.most {
            self.pop();
        }
    }

    /// Ids that it may know.
    #[must_use]
    pub const fn most(&self) -> usize {
        self.most
    }

    /// Ids that it knows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ring.len
    }

    /// Whether it knows none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ring.len == 0
    }

    /// Notes that a record with this id is finished. `awaited`: one below it with that id is not (this one was skipped),
    /// and is to be compared with what is finished below it.
    pub fn finished(&mut self, id: EventId, offset: i64, timestamp: i64, awaited: bool) {
        if awaited && self.find(id).is_ok() {
            return;
        }
        while self.ring.len >= self.most
            || self
                .ring
                .get(0)
                .is_some_and(|seen| timestamp.saturating_sub(seen.timestamp.get()) > self.span)
        {
            self.pop();
        }
        if self.ring.len * 4 >= self.index.len() * 3 {
            self.grow();
        }
        // The index goes to the later of two, which lasts longer; the earlier one's place in the ring stays.
        let number = self.number(self.ring.len);
        match self.find(id) {
            Ok(slot) | Err(slot) => {
                if let Some(slot) = self.index.get_mut(slot) {
                    *slot = number;
                }
            }
        }
        self.ring.push(Seen {
            id,
            offset: Short::new(offset),
            timestamp: Short::new(timestamp),
        });
    }

    /// Whether a record with this id is a duplicate of a finished one at a lower offset.
    #[must_use]
    pub fn is_duplicate(&self, rules: Rules, id: EventId, offset: i64, timestamp: i64) -> bool {
        let Ok(slot) = self.find(id) else { return false };
        let seen = self.index.get(slot).and_then(|number| self.seen(*number));
        seen.is_some_and(|seen| {
            (seen.offset.get() < offset || !rules.has(Rule::Lower))
                && timestamp.saturating_sub(seen.timestamp.get()) <= self.span
        })
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "numbers wrap; the ring has at most 2^30 entries"
    )]
    fn number(&self, at: usize) -> u32 {
        // Of 31 bits, so that none of them is NONE.
        self.first.wrapping_add(at as u32) & (NONE >> 1)
    }

    fn seen(&self, number: u32) -> Option<&Seen> {
        let at = number.wrapping_sub(self.first) & (NONE >> 1);
        self.ring.get(at as usize)
    }

    fn home(&self, id: EventId) -> usize {
        let bits = id.0.first_chunk().copied().unwrap_or_default();
        usize::from_le_bytes(bits) & (self.index.len() - 1)
    }

    /// The slot of an id, or the free one where it would be.
    fn find(&self, id: EventId) -> Result<usize, usize> {
        let mask = self.index.len() - 1;
        let mut slot = self.home(id);
        while let Some(number) = self.index.get(slot).filter(|number| **number != NONE) {
            if self.seen(*number).is_some_and(|seen| seen.id == id) {
                return Ok(slot);
            }
            slot = (slot + 1) & mask;
        }
        Err(slot)
    }

    fn pop(&mut self) {
        let Some(seen) = self.ring.get(0).copied() else {
            return;
        };
        // A later record with the same id has taken the index.
        if let Ok(slot) = self.find(seen.id)
            && self.index.get(slot) == Some(&self.number(0))
        {
            self.clear(slot);
        }
        self.ring.pop();
        self.first = self.number(1);
    }

    /// Frees a slot, and moves up those that were pushed behind it.
    fn clear(&mut self, mut hole: usize) {
        let mask = self.index.len() - 1;
        let mut slot = hole;
        loop {
            slot = (slot + 1) & mask;
            let Some(number) = self.index.get(slot).copied().filter(|number| *number != NONE) else {
                break;
            };
            let home = self.seen(number).map_or(slot, |seen| self.home(seen.id));
            // It may move if its home is not between the hole and itself.
            if (slot.wrapping_sub(home) & mask) >= (slot.wrapping_sub(hole) & mask) {
                if let Some(place) = self.index.get_mut(hole) {
                    *place = number;
                }
                hole = slot;
            }
        }
        if let Some(place) = self.index.get_mut(hole) {
            *place = NONE;
        }
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.index);
        self.index = vec![NONE; old.len() * 2];
        for number in old.into_iter().filter(|number| *number != NONE) {
            let Some(id) = self.seen(number).map(|seen| seen.id) else {
                continue;
            };
            if let Err(slot) = self.find(id)
                && let Some(place) = self.index.get_mut(slot)
            {
                *place = number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(n: u64) -> EventId {
        EventId::event(b"/orders", &n.to_be_bytes())
    }

    #[test]
    fn a_dead_letters_replay_is_no_duplicate_of_its_event() {
        assert_ne!(EventId::replay(b"a", 1), EventId::event(b"a", &[0, 0, 0, 1]));
        assert_ne!(EventId::replay(b"a", 1), EventId::replay(b"a", 2));
        assert_eq!(EventId::replay(b"a", 1), EventId::replay(b"a", 1));
        assert_ne!(EventId::event(b"ab", b"c"), EventId::event(b"a", b"bc"));
    }

    #[test]
    fn only_a_lower_offset_within_the_window_makes_a_duplicate() {
        let mut window = Window::new(100, 1_000);
        window.finished(id(1), 10, 5_000, false);
        let rules = Rules::all();
        assert!(window.is_duplicate(rules, id(1), 11, 6_000));
        assert!(!window.is_duplicate(rules, id(1), 11, 6_001));
        assert!(!window.is_duplicate(rules, id(1), 10, 5_000));
        assert!(!window.is_duplicate(rules, id(1), 9, 5_000));
        assert!(!window.is_duplicate(rules, id(2), 11, 5_000));
    }

    proptest! {
        #[test]
        fn the_window_is_a_list_of_the_last_finished(
            most in 1usize..40, steps in prop::collection::vec((0u64..30, 0i64..5), 1..400)
        ) {
            let mut window = Window::new(most, 50);
            let mut list: VecDeque<(u64, i64, i64)> = VecDeque::new();
            let mut time = 0;
            for (offset, (n, step)) in (0i64..).zip(steps) {
                time += step;
                let expected = list.iter().rev().find(|x| x.0 == n).is_some_and(|x| x.1 < offset && time - x.2 <= 50);
                prop_assert_eq!(window.is_duplicate(Rules::all(), id(n), offset, time), expected);
                while list.len() >= most || list.front().is_some_and(|x| time - x.2 > 50) {
                    list.pop_front();
                }
                list.push_back((n, offset, time));
                window.finished(id(n), offset, time, false);
                prop_assert_eq!(window.len(), list.len());
            }
        }
    }

    #[test]
    fn offsets_and_times_come_out_as_they_went_in() {
        for number in [
            0,
            1,
            -1,
            i64::from(i32::MAX) + 1,
            1_800_000_000_000,
            Short::END - 1,
            -Short::END,
        ] {
            assert_eq!(Short::new(number).get(), number);
        }
        assert_eq!(Short::new(i64::MAX).get(), Short::END - 1);
        assert_eq!(Short::new(i64::MIN).get(), -Short::END);
    }

    #[test]
    fn a_million_ids_take_less_than_thirty_two_mebibytes() {
        let mut window = Window::new(1_000_000, u64::MAX);
        for n in 0..1_200_000u32 {
            let mut id = EventId([0; 12]);
            id.0[..8].copy_from_slice(&u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
            window.finished(id, 0, 0, false);
        }
        let ring = window.ring.pieces.len() * Ring::PIECE * size_of::<Seen>();
        let bytes = ring + window.index.len() * size_of::<u32>();
        assert!(bytes < 32 << 20, "{bytes}");
    }
}
