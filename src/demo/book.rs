//! What was published, and what the handler was given: written down as it happens, for the account at the end. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use super::orders::Event;

/// Milliseconds since the demo began.
pub type Millis = u64;

/// What a consumer did is in the group's log after this time at the latest: it has lost its lease otherwise.
const UNREPORTED: Millis = 10_000;

/// Partition and offset in the topic of the orders.
pub type Place = (i32, i64);

/// An event that was published.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The event.
    pub event: Event,
    /// The handler cannot process it until it is mended.
    pub poison: bool,
    /// When it was handed to the producer.
    pub submitted: Millis,
    /// The brokers have it.
    pub acknowledged: bool,
    /// Where; not known if an acknowledgement came for an earlier try.
    pub place: Option<Place>,
    /// A dead letter of it was seen.
    pub letter: bool,
    /// Its attempts, in the order in which they began.
    pub attempts: Vec<usize>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Processed.
    Done,
    /// With this status.
    Failed(u16),
    /// The connection was closed before the handler had an answer, and nothing had been processed.
    CutOff,
}

/// An event in the handler's hands.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Which event.
    pub event: usize,
    /// Who brought it: the member's index.
    pub member: usize,
    /// It may have come before (`barnabas-redelivered`).
    pub redelivered: bool,
    /// It was replayed (`barnabas-replay`).
    pub replay: bool,
    /// A number that grows with all that is written down.
    pub began: u64,
    /// When it began.
    pub began_at: Millis,
    /// Such a number, when, and how.
    pub ended: Option<(u64, Millis, Ending)>,
    /// When the connection was closed behind the answer.
    pub unread: Option<Millis>,
}

impl Attempt {
    /// Whether it was processed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.ended, Some((_, _, Ending::Done)))
    }
}

/// A delivery as the handler sees it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The handler's number for it.
    pub number: u64,
    /// Who brought it: the member's index.
    pub member: usize,
    /// `ce-id`.
    pub id: String,
    /// `barnabas-redelivered`.
    pub redelivered: bool,
    /// `barnabas-replay`.
    pub replay: bool,
    /// The body.
    pub data: Bytes,
}

/// Why what a member had in hand may come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// It was killed.
    Killed,
    /// The group gave it up: it did not report in time, as on a machine that is too busy.
    Removed,
    /// It closed the connection behind the answer, which it may not have read: it had no lease any more, by the same cause.
    Unread,
}

/// How the handling of a poisoned event went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoisonSeen {
    /// Attempts that failed.
    pub attempts: u64,
    /// Its dead letter was seen.
    pub letter: bool,
    /// Events of other keys that were processed between its first failure and its letter, or so far.
    pub others: u64,
    /// Those of them that are of its own partition.
    pub beside: u64,
    /// The longest time in which no other event was processed meanwhile.
    pub longest_pause: Millis,
    /// Events of its own key that were processed behind it.
    pub later: u64,
}

/// The book.
#[derive(Debug, Default)]
pub struct Book {
    entries: Vec<Entry>,
    attempts: Vec<Attempt>,
    by_id: HashMap<String, usize>,
    by_place: HashMap<Place, usize>,
    running: HashMap<u64, usize>,
    unfinished: BTreeSet<usize>,
    lost: BTreeMap<usize, Vec<(u64, Millis, Cause)>>,
    answered: HashMap<u64, usize>,
    number: u64,
    acknowledged: u64,
    finished: u64,
    failed: u64,
    again: u64,
    strangers: u64,
    altered: u64,
    letters: u64,
    by_member: Vec<u64>,
}

impl Book {
    fn tick(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// An event is handed to the producer. Gives its index.
    pub fn submitted(&mut self, event: Event, poison: bool, now: Millis) -> usize {
        let index = self.entries.len();
        self.by_id.insert(event.id(), index);
        self.unfinished.insert(index);
        self.entries.push(Entry {
            event,
            poison,
            submitted: now,
            acknowledged: false,
            place: None,
            letter: false,
            attempts: Vec::new(),
        });
        index
    }

    /// The brokers have an event.
    pub fn acknowledged(&mut self, index: usize, partition: i32, offset: Option<i64>) {
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        self.acknowledged += u64::from(!entry.acknowledged);
        entry.acknowledged = true;
        if let Some(offset) = offset {
            entry.place = Some((partition, offset));
            self.by_place.insert((partition, offset), index);
        }
    }

    /// The handler was given an event; `place` is where its record lies, unless it was replayed.
    pub fn begun(&mut self, delivery: &Delivery, place: Option<Place>, now: Millis) {
        let Some(&event) = self.by_id.get(&delivery.id) else {
            self.strangers += 1;
            return;
        };
        let began = self.tick();
        let entry = &mut self.entries[event];
        self.altered += u64::from(entry.event.data != delivery.data);
        if let (None, Some(place)) = (entry.place, place) {
            entry.place = Some(place);
            self.by_place.insert(place, event);
        }
        let index = self.attempts.len();
        entry.attempts.push(index);
        self.running.insert(delivery.number, index);
        self.attempts.push(Attempt {
            event,
            member: delivery.member,
            redelivered: delivery.redelivered,
            replay: delivery.replay,
            began,
            began_at: now,
            ended: None,
            unread: None,
        });
    }

    /// The handler is done with a delivery.
    pub fn ended(&mut self, number: u64, ending: Ending, now: Millis) {
        let Some(index) = self.running.remove(&number) else {
            return;
        };
        self.answered.insert(number, index);
        let tick = self.tick();
        let attempt = &mut self.attempts[index];
        attempt.ended = Some((tick, now, ending));
        let (event, member) = (attempt.event, attempt.member);
        match ending {
            Ending::Failed(_) => self.failed += 1,
            Ending::CutOff => {}
            Ending::Done => {
                if self.by_member.len() <= member {
                    self.by_member.resize(member + 1, 0);
                }
                self.by_member[member] += 1;
                let earlier = &self.entries[event].attempts;
                let done = earlier.iter().filter(|at| self.attempts[**at].is_done()).count();
                self.finished += u64::from(done == 1);
                self.again += u64::from(done > 1);
                self.unfinished.remove(&event);
            }
        }
    }

    /// A connection was closed behind the answer to this delivery.
    pub fn unread(&mut self, number: u64, now: Millis) {
        if let Some(index) = self.answered.remove(&number) {
            self.attempts[index].unread = Some(now);
        }
    }

    /// A member is gone without having handed over.
    pub fn lost_member(&mut self, member: usize, cause: Cause, now: Millis) {
        let tick = self.tick();
        self.lost.entry(member).or_default().push((tick, now, cause));
    }

    /// A dead letter of the record there was seen. Tells whether it is of one of these events.
    pub fn letter(&mut self, place: Place) -> bool {
        let Some(&index) = self.by_place.get(&place) else {
            return false;
        };
        let entry = &mut self.entries[index];
        self.letters += u64::from(!entry.letter);
        entry.letter = true;
        self.unfinished.remove(&index);
        true
    }

    /// What was published.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All attempts, in the order in which they began.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Events that the brokers have.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.acknowledged
    }

    /// Events that were processed.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.finished
    }

    /// Attempts that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Times that an event was processed which had been before.
    #[must_use]
    pub fn again(&self) -> u64 {
        self.again
    }

    /// Events with dead letters.
    #[must_use]
    pub fn letters(&self) -> u64 {
        self.letters
    }

    /// Deliveries of events that were never published.
    #[must_use]
    pub fn strangers(&self) -> u64 {
        self.strangers
    }

    /// Deliveries with other data than was published.
    #[must_use]
    pub fn altered(&self) -> u64 {
        self.altered
    }

    /// Events that this member had processed.
    #[must_use]
    pub fn processed_by(&self, member: usize) -> u64 {
        self.by_member.get(member).copied().unwrap_or(0)
    }

    /// Events that are neither processed nor set aside.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.unfinished.len()
    }

    /// When the oldest of them was published.
    #[must_use]
    pub fn oldest_unfinished(&self) -> Option<Millis> {
        self.unfinished
            .first()
            .map(|index| self.entries[*index].submitted)
    }

    /// Why an attempt may bring again what an earlier one had processed; none if nothing can.
    #[must_use]
    pub fn cause(&self, earlier: &Attempt, again: &Attempt) -> Option<Cause> {
        if !again.redelivered {
            return None;
        }
        let lost = self.lost.get(&earlier.member).into_iter().flatten();
        let may = lost.filter(|(at, when, cause)| {
            // What was done long before is known to the group.
            let recent = earlier
                .ended
                .is_none_or(|(_, ended, _)| ended + UNREPORTED >= *when);
            recent
                && match cause {
                    // The signal takes its time: until then it goes on. Nothing comes from it after that.
                    Cause::Killed => *at < again.began && again.member != earlier.member,
                    // This is heard of later than the next owner hears it.
                    Cause::Removed | Cause::Unread => earlier.began < *at,
                }
        });
        let unread = earlier
            .unread
            .filter(|unread| again.began_at <= unread + UNREPORTED)
            .map(|_| Cause::Unread);
        may.map(|(_, _, cause)| *cause).chain(unread).min()
    }

    /// Replayed events that were processed then.
    #[must_use]
    pub fn replayed(&self) -> u64 {
        let done = |entry: &&Entry| {
            let mut attempts = entry.attempts.iter().map(|at| &self.attempts[*at]);
            attempts.any(|attempt| attempt.replay && attempt.is_done())
        };
        self.entries
            .iter()
            .filter(|entry| entry.letter)
            .filter(done)
            .count() as u64
    }

    /// How it goes with a poisoned event.
    #[must_use]
    pub fn poison(&self, index: usize, now: Millis) -> PoisonSeen {
        let Some(entry) = self.entries.get(index) else {
            return PoisonSeen::default();
        };
        let own: Vec<&Attempt> = entry.attempts.iter().map(|at| &self.attempts[*at]).collect();
        let failed = own.iter().filter(|attempt| !attempt.replay);
        let failures: Vec<(u64, Millis)> = failed
            .filter_map(|attempt| match attempt.ended {
                Some((tick, at, Ending::Failed(_))) => Some((tick, at)),
                _ => None,
            })
            .collect();
        let mut seen = PoisonSeen {
            attempts: failures.len() as u64,
            letter: entry.letter,
            ..PoisonSeen::default()
        };
        let Some(&(first, first_at)) = failures.first() else {
            return seen;
        };
        // Once it has its letter, only what came before its last failure went on for certain beside it.
        let last = failures.last().copied().filter(|_| entry.letter);
        let (until, until_at) = last.unwrap_or((u64::MAX, now));
        let mut before = first_at;
        for attempt in &self.attempts {
            let Some((tick, at, Ending::Done)) = attempt.ended else {
                continue;
            };
            let other = &self.entries[attempt.event];
            if other.event.key == entry.event.key {
                seen.later += u64::from(other.event.seq > entry.event.seq && !attempt.replay);
            } else if tick > first && tick < until {
                seen.others += 1;
                let here = |entry: &Entry| entry.place.map(|(partition, _)| partition);
                seen.beside += u64::from(here(other).is_some() && here(other) == here(entry));
                seen.longest_pause = seen.longest_pause.max(at.saturating_sub(before));
                before = before.max(at);
            }
        }
        seen.longest_pause = seen.longest_pause.max(until_at.saturating_sub(before));
        seen
    }
}

#[cfg(test)]
mod tests;
