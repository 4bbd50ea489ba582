//! One partition's batches on their way: sequence numbers, what is in flight, and order kept through retries.
//!
//! Pure: the broker's verdicts and the time come in, what may be sent goes out. The rules, from Kafka's idempotent
//! producer (KIP-98, KIP-360):
//! 1. A batch gets its sequence number when it is first sent and keeps it until its fate is known, so that a
//!    repeat is recognised by the broker.
//! 2. After a failure nothing more is sent until all that is in flight has been answered; then the oldest goes first.
//!    What was behind the failed one was refused as a gap, and waits in its place.
//! 3. While a batch's fate is unknown, no more than four later ones are ever sent: the broker remembers the last
//!    five, and would take a repeat of an older one for a gap.
//! 4. A batch that is given up without having been written leaves its numbers to those behind it.
//! 5. A batch that is given up and may have been written keeps its numbers. If it was written, those behind it are
//!    next; if not, the oldest of them meets a gap, which proves that none of them was written either: then they
//!    start anew under a new producer id. (A new id at once would double those whose answer was lost as well.)
//! 6. The broker takes a producer that it does not know at any number. So until it has acknowledged the first batch
//!    under an id, only one is in flight: if that one were refused, the second would be written before it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::record::Identity;

/// Batches of one partition in flight at most: the broker remembers the last five of a producer.
pub const MAX_IN_FLIGHT: usize = 5;

/// A batch and its place.
#[derive(Debug)]
pub struct Item<T> {
    /// The batch itself.
    pub payload: T,
    /// How many records it has.
    pub records: u32,
    /// The number of its first record among all that were pushed here: its place in the order.
    pub ordinal: u64,
    /// Its base sequence, once sent.
    pub sequence: Option<i32>,
    /// The number of its first send among all sends, with its sequence.
    position: u64,
    /// When it was pushed.
    pub since: Instant,
    /// Whether a try's outcome was never learnt, so that it may have been written.
    pub maybe_written: bool,
}

/// What became of a batch that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Written, now or by an earlier try.
    Done,
    /// Not now; again from that time on. `unknown`: it may have been written.
    Again {
        /// Not before.
        at: Instant,
        /// Whether the answer was lost.
        unknown: bool,
    },
    /// Refused as not the next one in sequence, or as from a producer the broker does not know.
    Gap {
        /// If nothing older explains it, not again before.
        at: Instant,
    },
    /// Refused for good and not written: it leaves the queue.
    Refused,
    /// Given up, and it may have been written: it leaves the queue.
    Lost,
}

/// What the queue did with a verdict.
#[derive(Debug)]
pub enum Settled<T> {
    /// It left the queue: with `Done` as written, with `Lost` as given up, with `Refused` as refused (the caller may push parts of it
    /// back with [`Queue::put_back`]).
    Left(Item<T>),
    /// It waits again.
    Kept,
    /// Nothing of that ordinal is in flight.
    Unknown,
}

/// One partition's batches. See the module's rules.
#[derive(Debug)]
pub struct Queue<T> {
    identity: Option<Identity>,
    /// Whether the broker has acknowledged a batch under this identity.
    known: bool,
    /// The producer id that was given up last.
    retired: Option<Identity>,
    next_sequence: i32,
    next_ordinal: u64,
    next_position: u64,
    waiting: VecDeque<Item<T>>,
    in_flight: VecDeque<Item<T>>,
    recovering: bool,
    /// The place from which numbers are given anew once nothing is in flight: ordinal and number.
    renumber: Option<(u64, i32)>,
    /// Whether a new producer id is needed once nothing is in flight.
    reset: bool,
    not_before: Option<Instant>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            identity: None,
            known: false,
            retired: None,
            next_sequence: 0,
            next_ordinal: 0,
            next_position: 0,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            recovering: false,
            renumber: None,
            reset: false,
            not_before: None,
        }
    }
}

impl<T> Queue<T> {
    /// Appends a batch.
    pub fn push(&mut self, payload: T, records: u32, now: Instant) {
        let ordinal = self.next_ordinal;
        self.next_ordinal += u64::from(records);
        self.waiting.push_back(Item {
            payload,
            records,
            ordinal,
            sequence: None,
            position: 0,
            since: now,
            maybe_written: false,
        });
    }

    /// Puts a part of a refused batch back into its place.
    pub fn put_back(&mut self, payload: T, records: u32, ordinal: u64, since: Instant) {
        let item = Item {
            payload,
            records,
            ordinal,
            sequence: None,
            position: 0,
            since,
            maybe_written: false,
        };
        self.insert(item);
    }

    fn insert(&mut self, item: Item<T>) {
        let at = self.waiting.partition_point(|other| other.ordinal < item.ordinal);
        self.waiting.insert(at, item);
    }

    /// Neither waiting nor in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// Whether a producer id has to be got before anything can be sent.
    #[must_use]
    pub fn needs_identity(&self) -> bool {
        !self.waiting.is_empty() && self.identity.is_none()
    }

    /// Takes a producer id into use, if it is not the one whose sequence was lost. Returns whether it did.
    pub fn identify(&mut self, identity: Identity) -> bool {
        let fit = self.identity.is_none() && self.retired != Some(identity);
        if fit {
            self.identity = Some(identity);
            self.known = false;
            self.next_sequence = 0;
        }
        fit
    }

    /// When the oldest waiting batch may be sent, if only the time stands against it.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        if self.waiting.is_empty() || self.is_held() {
            None
        } else {
            self.not_before
        }
    }

    fn is_held(&self) -> bool {
        self.identity.is_none()
            || self.in_flight.len() >= MAX_IN_FLIGHT
            || ((self.recovering || !self.known) && !self.in_flight.is_empty())
            || self.is_window_full()
    }

    /// Rule 3. A repeat is not a later one.
    fn is_window_full(&self) -> bool {
        let is_repeat = self.waiting.front().is_some_and(|item| item.sequence.is_some());
        let unsettled = self
            .in_flight
            .iter()
            .chain(&self.waiting)
            .filter(|item| item.sequence.is_some());
        let oldest = unsettled.map(|item| item.position).min();
        !is_repeat && oldest.is_some_and(|oldest| self.next_position - oldest >= MAX_IN_FLIGHT as u64)
    }

    /// The batch that [`send`](Self::send) would send now.
    #[must_use]
    pub fn peek(&self, now: Instant) -> Option<&Item<T>> {
        if self.is_held() || self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        self.waiting.front()
    }

    /// Numbers the oldest waiting batch and moves it into flight, if [`peek`](Self::peek) shows one.
    pub fn send(&mut self, now: Instant) -> Option<(Identity, &mut Item<T>)> {
        self.peek(now)?;
        let identity = self.identity?;
        let mut item = self.waiting.pop_front()?;
        self.recovering = false;
        self.not_before = None;
        if item.sequence.is_none() {
            item.sequence = Some(self.next_sequence);
            item.position = self.next_position;
            self.next_position += 1;
            self.next_sequence = after(self.next_sequence, item.records);
        }
        self.in_flight.push_back(item);
        self.in_flight.back_mut().map(|item| (identity, item))
    }

    /// Takes the verdict on the batch of that ordinal.
    pub fn settle(&mut self, ordinal: u64, verdict: Verdict) -> Settled<T> {
        let Some(at) = self.in_flight.iter().position(|item| item.ordinal == ordinal) else {
            return Settled::Unknown;
        };
        let oldest = self
            .in_flight
            .iter()
            .chain(&self.waiting)
            .all(|item| item.ordinal >= ordinal);
        let Some(mut item) = self.in_flight.remove(at) else {
            return Settled::Unknown;
        };
        let settled = match verdict {
            Verdict::Done => {
                self.known = true;
                Settled::Left(item)
            }
            Verdict::Again { at, unknown } => {
                item.maybe_written |= unknown;
                self.recovering = true;
                self.not_before = self.not_before.max(Some(at));
                self.insert(item);
                Settled::Kept
            }
            Verdict::Gap { at } => {
                self.recovering = true;
                // Behind an unfinished one a gap is natural; the oldest can only meet one when the one before it was
                // given up, or when the broker has forgotten us (an unclean election).
                if oldest {
                    self.reset = true;
                    self.not_before = self.not_before.max(Some(at));
                }
                self.insert(item);
                Settled::Kept
            }
            Verdict::Refused => {
                self.recovering = true;
                self.give_up_number(&item);
                Settled::Left(item)
            }
            Verdict::Lost => {
                self.recovering = true;
                Settled::Left(item)
            }
        };
        self.after_drain();
        settled
    }

    /// Takes out what has waited since before `limit` ago without being in flight now.
    pub fn expire(&mut self, now: Instant, limit: Duration) -> Vec<Item<T>> {
        let mut expired = Vec::new();
        while self
            .waiting
            .front()
            .is_some_and(|item| now.saturating_duration_since(item.since) >= limit)
        {
            let Some(item) = self.waiting.pop_front() else {
                break;
            };
            if !item.maybe_written {
                self.give_up_number(&item);
            }
            expired.push(item);
        }
        self.after_drain();
        expired
    }

    /// When the oldest waiting batch was pushed.
    #[must_use]
    pub fn waiting_since(&self) -> Option<Instant> {
        self.waiting.front().map(|item| item.since)
    }

    /// Everything that waits, for a partition that is given up. In flight batches stay until they are answered.
    pub fn drain_waiting(&mut self) -> Vec<Item<T>> {
        // Their numbers are left unused: whatever comes behind them meets the gap, and starts anew (rule 5).
        self.waiting.drain(..).collect()
    }

    /// The waiting batch that `which` is true of.
    pub fn find_waiting(&mut self, which: impl Fn(&T) -> bool) -> Option<&mut T> {
        self.waiting
            .iter_mut()
            .map(|item| &mut item.payload)
            .find(|payload| which(payload))
    }

    /// Takes out a waiting batch that was never sent.
    pub fn remove_waiting(&mut self, which: impl Fn(&T) -> bool) -> Option<Item<T>> {
        let at = self
            .waiting
            .iter()
            .position(|item| item.sequence.is_none() && which(&item.payload))?;
        self.waiting.remove(at)
    }

    /// Lets the caller write something down at the batch in flight of that ordinal.
    pub fn note(&mut self, ordinal: u64, note: impl FnOnce(&mut T)) {
        if let Some(item) = self.in_flight.iter_mut().find(|item| item.ordinal == ordinal) {
            note(&mut item.payload);
        }
    }

    /// Sends nothing before that time.
    pub fn wait_until(&mut self, at: Instant) {
        self.not_before = self.not_before.max(Some(at));
    }

    fn give_up_number(&mut self, item: &Item<T>) {
        if let Some(sequence) = item.sequence {
            let place = (item.ordinal, sequence);
            self.renumber = Some(
                self.renumber
                    .map_or(place, |known| if known.0 < place.0 { known } else { place }),
            );
        }
    }

    /// Once nothing is in flight, numbers can be given anew.
    fn after_drain(&mut self) {
        if !self.in_flight.is_empty() {
            return;
        }
        if self.reset {
            self.reset = false;
            self.renumber = None;
            self.retired = self.identity.take().or(self.retired);
            for item in &mut self.waiting {
                item.sequence = None;
            }
        } else if let Some((ordinal, sequence)) = self.renumber.take() {
            self.next_sequence = sequence;
            for item in self.waiting.iter_mut().filter(|item| item.ordinal >= ordinal) {
                item.sequence = None;
            }
        }
    }
}

/// Sequence numbers go from 2^31 − 1 to 0.
fn after(sequence: i32, records: u32) -> i32 {
    let next = (u64::from(sequence.unsigned_abs()) + u64::from(records)) & 0x7fff_ffff;
    i32::try_from(next).unwrap_or(0)
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
