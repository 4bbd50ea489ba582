//! The closing account: published = processed once + processed again + dead-lettered, or it does not add up. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::book::{Attempt, Book, Cause, Ending, Entry, Millis};

/// Events that are named at most, of each fault.
const MAX_NAMED: usize = 5;

/// For how many milliseconds the end of a connection may go unheard, on a machine that is too busy.
const UNHEARD: Millis = 2_000;

/// What became of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Events that the brokers acknowledged.
    pub published: u64,
    /// Records that the topic holds, as the brokers say; none if they were not asked.
    pub in_topic: Option<u64>,
    /// Events that were handed to the producer, and not acknowledged.
    pub unacknowledged: u64,
    /// Events that were processed once, and never set aside.
    pub once: u64,
    /// Events that were processed more than once, and never set aside.
    pub again: u64,
    /// Events with a dead letter.
    pub dead_lettered: u64,
    /// Those of them that were replayed and processed then.
    pub replayed: u64,
    /// Published events that were neither processed nor set aside, or were replayed and never processed.
    pub lost: Vec<String>,
    /// Times that an event was processed which had been before.
    pub duplicates: Duplicates,
    /// Keys.
    pub keys: u64,
    /// Events that were begun before the one before them of their key was finished.
    pub out_of_order: Vec<String>,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Events that were set aside though nothing is wrong with them.
    pub wrongly_set_aside: Vec<String>,
    /// Deliveries of events that were never published.
    pub strangers: u64,
    /// Deliveries with other data than was published.
    pub altered: u64,
}

/// Duplicates by what they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Duplicates {
    /// A member was killed: it had not reported them yet.
    pub killed: u64,
    /// A member was too slow to report: it gave up what it had in hand, or the group gave it up.
    pub removed: u64,
    /// Nothing that permits them.
    pub unexplained: Vec<String>,
}

impl Duplicates {
    /// All of them.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.killed + self.removed + self.unexplained.len() as u64
    }
}

impl Account {
    /// Adds up a book. `in_topic` is how many records the brokers have in the topic; `is_replayed` tells whether the
    /// letter of the record there was marked as replayed.
    #[must_use]
    pub fn of(book: &Book, in_topic: Option<u64>, is_replayed: impl Fn(&Entry) -> bool) -> Self {
        let mut account = Self {
            published: book.published(),
            in_topic,
            failed_attempts: book.failed(),
            strangers: book.strangers(),
            altered: book.altered(),
            ..Self::default()
        };
        let mut keys: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for entry in book.entries() {
            keys.entry(&entry.event.key).or_default().push(entry);
            account.add(book, entry, is_replayed(entry));
        }
        account.keys = keys.len() as u64;
        for entries in keys.into_values() {
            account.check_order(book, entries);
        }
        account
    }

    fn add(&mut self, book: &Book, entry: &Entry, is_replayed: bool) {
        let id = || entry.event.id();
        if !entry.acknowledged {
            self.unacknowledged += 1;
            return;
        }
        let done: Vec<&Attempt> = attempts(book, entry)
            .filter(|attempt| attempt.is_done())
            .collect();
        for pair in done.windows(2) {
            let [before, again] = pair else { continue };
            match book.cause(before, again) {
                Some(Cause::Killed) => self.duplicates.killed += 1,
                Some(Cause::Removed | Cause::Unread) => self.duplicates.removed += 1,
                None => self.duplicates.unexplained.push(id()),
            }
        }
        match (entry.letter, done.as_slice()) {
            (false, []) => self.lost.push(id()),
            (false, [_]) => self.once += 1,
            (false, _) => self.again += 1,
            (true, done) => {
                self.dead_lettered += 1;
                let replayed = done.iter().any(|attempt| attempt.replay);
                self.replayed += u64::from(replayed);
                if is_replayed && !replayed {
                    self.lost.push(id());
                }
                if !entry.poison {
                    self.wrongly_set_aside.push(id());
                }
            }
        }
    }

    /// Each event of a key begins when the one before it is finished; a replay, whenever no other is in hand.
    fn check_order(&mut self, book: &Book, mut entries: Vec<&Entry>) {
        entries.sort_by_key(|entry| entry.event.seq);
        for pair in entries.windows(2) {
            let [before, entry] = pair else { continue };
            let Some(first) = attempts(book, entry).find(|attempt| !attempt.replay) else {
                continue;
            };
            if finished_at(book, before).is_none_or(|finished| finished > first.began) {
                self.out_of_order.push(entry.event.id());
            }
        }
        let mut all: Vec<&Attempt> = entries.iter().flat_map(|entry| attempts(book, entry)).collect();
        all.sort_by_key(|attempt| attempt.began);
        for pair in all.windows(2) {
            let [before, attempt] = pair else { continue };
            // That a connection is gone may be heard of after the first word on the next one.
            let over = before.ended.is_some_and(|(ended, at, how)| {
                ended < attempt.began || how == Ending::CutOff && at <= attempt.began_at + UNHEARD
            }) || book.cause(before, attempt) == Some(Cause::Killed);
            if !over {
                self.out_of_order.push(format!(
                    "{} (two at once)",
                    book.entries()[attempt.event].event.id()
                ));
            }
        }
    }

    /// Whether everything is accounted for, and nothing happened that was promised not to.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.faults().is_empty() && self.published == self.once + self.again + self.dead_lettered
    }

    /// What is wrong, a line each.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut named = |what: &str, ids: &[String]| {
            if !ids.is_empty() {
                let shown = ids[..ids.len().min(MAX_NAMED)].join(", ");
                let more = if ids.len() > MAX_NAMED { ", …" } else { "" };
                faults.push(format!("{} {what}: {shown}{more}", ids.len()));
            }
        };
        named("lost", &self.lost);
        named("out of order", &self.out_of_order);
        named("processed again without a cause", &self.duplicates.unexplained);
        named(
            "set aside though nothing is wrong with them",
            &self.wrongly_set_aside,
        );
        let mut counted = |count: u64, what: &str| {
            if count > 0 {
                faults.push(format!("{count} {what}"));
            }
        };
        counted(self.unacknowledged, "not acknowledged by the broker");
        counted(self.strangers, "handled that were never published");
        counted(self.altered, "handled with other data than was published");
        if let Some(held) = self.in_topic.filter(|held| *held != self.published) {
            faults.push(format!(
                "the topic holds {held} records, and {} were acknowledged",
                self.published
            ));
        }
        faults
    }
}

fn attempts<'a>(book: &'a Book, entry: &'a Entry) -> impl Iterator<Item = &'a Attempt> + 'a {
    entry.attempts.iter().map(|at| &book.attempts()[*at])
}

/// When an event was finished first, as the book numbers things: processed, or set aside after its last attempt.
fn finished_at(book: &Book, entry: &Entry) -> Option<u64> {
    let ended = |attempt: &Attempt| attempt.ended.map(|(tick, _, _)| tick);
    let done = attempts(book, entry).find(|attempt| attempt.is_done() && !attempt.replay);
    match done {
        Some(done) => ended(done),
        None if entry.letter => {
            let own = attempts(book, entry).filter(|attempt| !attempt.replay);
            own.last().and_then(ended)
        }
        None => None,
    }
}

#[cfg(test)]
mod tests;
