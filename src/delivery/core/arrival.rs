//! Records that come, and bodies that go and come again.

use std::ops::Range;

use super::{Core, Stream};
use crate::delivery::dedup::EventId;
use crate::delivery::lanes::{Charge, Entry, LaneKey};
use crate::delivery::limits::Kind;
use crate::delivery::retry::Tries;
use crate::delivery::rules::Rule;
use crate::delivery::{Action, Claim, Fetched, Now, Order, Reason};

/// A batch that cannot be decoded is fetched so many times.
const DECODE_TRIES: u32 = 3;

/// What a fetch brought.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The offsets that it tells about: those without a record are finished.
    pub offsets: Range<i64>,
    /// The end of the log.
    pub log_end: i64,
    /// The leader epoch of these records; −1 if it is not known.
    pub epoch: i32,
    /// To go on in its midst costs decompressing it once more: it is taken to its end, unless a bound is met.
    pub whole: bool,
}

impl<B: Clone> Core<B> {
    /// What a record takes besides its body, in bytes: its entry, and its places in lists.
    #[expect(clippy::cast_possible_truncation, reason = "the size of a struct")]
    pub const OVERHEAD: u32 = size_of::<Entry<B>>() as u32 + 128;

    /// Records in ascending order. At a bound, or when enough may start, it takes no more of them, says [`Action::Pause`], and later
    /// [`Action::Fetch`] from the first that it did not take. What does not fit to the position is ignored.
    pub fn fetched(
        &mut self,
        now: Now,
        claim: Claim,
        batch: Batch,
        records: impl IntoIterator<Item = Fetched<B>>,
    ) {
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        if !stream.wants() {
            return;
        }
        if batch.offsets.start > stream.track.position() {
            self.fetch(claim);
            return;
        }
        if std::mem::take(&mut stream.taken_over) && self.rules.has(Rule::Maybe) {
            stream.track.suspect_below(batch.log_end);
        }
        stream.track.note_epoch(stream.track.position(), batch.epoch);
        self.fuse.batch(true);
        let enough = self.enough();
        // Where nothing is taken, nothing is to be rested from.
        let mut urgent = true;
        for mut record in records {
            record.size = record.size.saturating_add(Self::OVERHEAD);
            let Some(stream) = self.streams.get_mut(&claim) else {
                return;
            };
            let position = stream.track.position();
            if record.offset < position {
                continue;
            }
            if record.offset > position {
                stream.track.finish(position..record.offset);
                stream.track.advance(record.offset);
            }
            if !stream.track.is_finished(record.offset) || !self.rules.has(Rule::Seek) {
                urgent = stream.is_urgent(now, record.offset, record.timestamp);
                if !urgent && !batch.whole && self.may_start(claim) >= enough {
                    return self.rest(now, claim);
                }
                if !self.has_room(now, claim, &record) {
                    self.stop(claim);
                    return;
                }
                self.accept(now, claim, record);
            }
            if let Some(stream) = self.streams.get_mut(&claim) {
                stream.track.advance(stream.track.position() + 1);
            }
        }
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        let position = stream.track.position();
        if batch.offsets.end > position {
            stream.track.finish(position..batch.offsets.end);
            stream.track.advance(batch.offsets.end);
        }
        if stream.track.seek() {
            self.fetch(claim);
        }
        if !urgent && self.may_start(claim) >= enough {
            self.rest(now, claim);
        }
    }

    /// As many heads of a partition that may start are enough: those behind them are better left in the batch they came in, where
    /// they take the least room. They last for several rounds of all slots, while more is decoded or fetched.
    pub(super) fn enough(&self) -> usize {
        let slots = usize::try_from(self.slots.limit()).unwrap_or(usize::MAX);
        self.settings.ahead.max(slots.saturating_mul(4))
    }

    /// Heads that may start, as far as they were looked at, and those that came since.
    fn may_start(&self, claim: Claim) -> usize {
        let stream = self.streams.get(&claim);
        stream.map_or(0, |stream| {
            stream.ready[super::at(Kind::Fresh)].len() + stream.came
        })
    }

    /// Takes no more before some of what may start has started.
    fn rest(&mut self, now: Now, claim: Claim) {
        // Not all that came may start, such as what was dropped as a duplicate.
        self.settle(now);
        if self.may_start(claim) < self.enough() {
            self.fetch(claim);
            return;
        }
        if let Some(stream) = self.streams.get_mut(&claim) {
            stream.resting = true;
            self.actions.push(Action::Pause { claim });
        }
    }

    /// Something of a partition that could have started has started, or cannot any more: once that is half of what is enough, a partition
    /// that rests goes on.
    pub(super) fn wake(&mut self, claim: Claim) {
        let enough = self.enough();
        let Some(stream) = self.streams.get_mut(&claim).filter(|stream| stream.resting) else {
            return;
        };
        if stream.ready[super::at(Kind::Fresh)].len() * 2 <= enough {
            stream.resting = false;
            if !stream.is_over() {
                self.fetch(claim);
            }
        }
    }

    /// Up to where it was taken.
    #[must_use]
    pub fn position(&self, claim: Claim) -> Option<i64> {
        self.streams.get(&claim).map(|stream| stream.track.position())
    }

    /// Where it wants to go on fetching; `None` while it wants nothing.
    #[must_use]
    pub fn wants(&self, claim: Claim) -> Option<i64> {
        let stream = self.streams.get(&claim)?;
        stream.wants().then(|| stream.track.position())
    }

    /// The log begins at `start` now: what is behind the position is lost.
    pub fn lost(&mut self, claim: Claim, start: i64) {
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        let position = stream.track.position();
        if start <= position || stream.is_over() {
            return;
        }
        for offsets in stream.track.unfinished(position..start) {
            self.actions.push(Action::Gap { claim, offsets });
        }
        stream.track.finish(position..start);
        stream.track.advance(start);
        if stream.wants() {
            self.fetch(claim);
        }
    }

    /// The batch at the position cannot be decoded.
    pub fn undecodable(&mut self, claim: Claim, offsets: Range<i64>) {
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        let position = stream.track.position();
        if !stream.wants() {
            return;
        }
        if !offsets.contains(&position) {
            // It is finished, or of the past.
            self.fetch(claim);
            return;
        }
        if stream.broken.0 != position {
            stream.broken = (position, 0);
        }
        stream.broken.1 += 1;
        if stream.entries.len() + 1 >= stream.most {
            self.stop(claim);
            return;
        }
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        if stream.broken.1 < DECODE_TRIES {
            self.actions.push(Action::FetchAgain { claim, offsets });
            return;
        }
        stream.track.advance(offsets.end);
        for unfinished in stream.track.unfinished(position..offsets.end) {
            let mut entry = Entry::new(
                claim,
                unfinished.start,
                LaneKey::Free(claim, unfinished.start),
                i64::MAX,
            );
            entry.end = unfinished.end;
            entry.dead = Some(Reason::Undecodable);
            let id = self.lanes.offer(entry);
            stream.entries.insert(unfinished.start, id);
            self.todo.push_back(id);
        }
        if self.fuse.batch(false) {
            self.actions.push(Action::FuseBlown);
        }
        self.fetch(claim);
    }

    /// Ids and timestamps of the records behind the position, in ascending order: answers [`Action::ReadBack`]. May be
    /// called with a part at a time.
    pub fn read_back(&mut self, claim: Claim, records: impl IntoIterator<Item = (i64, EventId, i64)>) {
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        let Some(window) = &mut stream.window else { return };
        for (offset, id, timestamp) in records {
            if stream.track.is_finished(offset) || !self.rules.has(Rule::OnlyFinished) {
                let awaited = !stream.open.is_empty() && stream.open.contains(&id);
                window.finished(id, offset, timestamp, awaited);
            } else if stream.open.len() < self.settings.max_unfinished {
                stream.open.insert(id);
            }
        }
    }

    /// All of them were told.
    pub fn read_back_done(&mut self, claim: Claim) {
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        stream.open.clear();
        if std::mem::take(&mut stream.reading_back) && !stream.is_over() {
            self.fetch(claim);
        }
    }

    /// Says where to fetch.
    pub(super) fn fetch(&mut self, claim: Claim) {
        if let Some(stream) = self.streams.get(&claim) {
            self.actions.push(Action::Fetch {
                claim,
                from: stream.track.position(),
            });
        }
    }

    fn stop(&mut self, claim: Claim) {
        if let Some(stream) = self.streams.get_mut(&claim) {
            stream.stopped = true;
            if !self.stops.contains(&claim) {
                self.stops.push_back(claim);
            }
            self.actions.push(Action::Pause { claim });
        }
    }

    /// Some of the partitions that have stopped may go on by what others gave back, or by what can leave the buffer.
    pub(super) fn relieve(&mut self, now: Now) {
        /// At a time: each poll looks at others.
        const AT_ONCE: usize = 8;
        for _ in 0..self.stops.len().min(AT_ONCE) {
            let Some(claim) = self.stops.pop_front() else {
                return;
            };
            self.go_on(claim);
            let Some(stream) = self.streams.get(&claim).filter(|stream| stream.stopped) else {
                continue;
            };
            let idle = stream.ready.iter().all(std::collections::BTreeSet::is_empty);
            let bytes = stream.entries.len() < stream.most;
            if idle && bytes && self.evict(now) {
                self.go_on(claim);
            }
            if self.streams.get(&claim).is_some_and(|stream| stream.stopped) {
                self.stops.push_back(claim);
            }
        }
    }

    fn has_room(&mut self, now: Now, claim: Claim, record: &Fetched<B>) -> bool {
        let fits = |core: &Self| {
            let Some(stream) = core.streams.get(&claim) else {
                return false;
            };
            stream.entries.len() < stream.most
                && (core.goes_without_body(&core.lane(stream, claim, record))
                    || core.buffer.has_room(stream.share, record.size, 0))
        };
        if fits(self) {
            return true;
        }
        if self
            .streams
            .get(&claim)
            .is_some_and(|stream| stream.entries.len() < stream.most)
            && self.evict(now)
        {
            return fits(self);
        }
        false
    }

    fn lane(&self, stream: &Stream, claim: Claim, record: &Fetched<B>) -> LaneKey {
        match (self.settings.order, record.key) {
            (Order::Key, Some(key)) => LaneKey::Key(stream.group, key),
            (Order::Partition, _) => LaneKey::Key(stream.group, 0),
            _ => LaneKey::Free(claim, record.offset),
        }
    }

    fn accept(&mut self, now: Now, claim: Claim, record: Fetched<B>) {
        let Some(stream) = self.streams.get(&claim) else {
            return;
        };
        let lane = self.lane(stream, claim, &record);
        let without = self.goes_without_body(&lane);
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        let mut entry = Entry::new(claim, record.offset, lane, record.timestamp);
        entry.id = record.id.filter(|_| stream.window.is_some());
        entry.size = record.size;
        entry.arrived = now.mono;
        entry.dead = record.refused;
        if !without {
            entry.body = Some(record.body);
            entry.charged = Some(Charge::Fetched);
            self.buffer.take(&mut stream.share, record.size, Charge::Fetched);
        }
        if let Some(held) = stream.track.held(record.offset) {
            entry.tries = Tries::resumed(&held, now, self.breaker.open_ms(now.mono));
            let wait = u64::try_from(held.due.saturating_sub(now.unix)).unwrap_or(0);
            let clamped = wait.min(self.settings.backoff_longest);
            entry.due = now.mono
                + if self.rules.has(Rule::Clamp) {
                    clamped
                } else {
                    wait
                };
        }
        if let Some(id) = entry.id {
            stream.ids.insert((id, record.offset));
        }
        let id = self.lanes.offer(entry);
        stream.entries.insert(record.offset, id);
        stream.came += usize::from(self.lanes.is_head(id));
        self.todo.push_back(id);
    }
}
