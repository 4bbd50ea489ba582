//! Records that come, and bodies that go and come again.

use std::ops::Range;

use super::{Core, Stream};
use crate::delivery::dedup::EventId;
use crate::delivery::lanes::{Charge, Entry, EntryId, LaneKey, Stage};
use crate::delivery::retry::Tries;
use crate::delivery::rules::Rule;
use crate::delivery::{Action, BODIES_PER_HELD_LANE, Claim, Fetched, Now, Order, Reason, Reloaded};

/// A batch that cannot be decoded is fetched so many times.
const DECODE_TRIES: u32 = 3;
/// Between two searches for bodies that can leave the buffer, in milliseconds.
const EVICT_EVERY_MS: u64 = 250;

/// What a fetch brought.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The offsets that it tells about: those without a record are finished.
    pub offsets: Range<i64>,
    /// The end of the log.
    pub log_end: i64,
    /// The leader epoch of these records; −1 if it is not known.
    pub epoch: i32,
}

impl<B: Clone> Core<B> {
    /// What a record takes besides its body, in bytes: its entry, and its places in lists.
    #[expect(clippy::cast_possible_truncation, reason = "the size of a struct")]
    pub const OVERHEAD: u32 = size_of::<Entry<B>>() as u32 + 128;

    /// Records in ascending order. At a bound it takes no more of them, says [`Action::Pause`], and later
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
        if stream.is_over() || stream.stopped || stream.reading_back {
            return;
        }
        if batch.offsets.start > stream.track.position() {
            self.fetch(claim);
            return;
        }
        if stream.taken_over && stream.suspect.is_none() {
            stream.suspect = Some(batch.log_end);
        }
        stream.track.note_epoch(stream.track.position(), batch.epoch);
        self.fuse.batch(true);
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
        if !stream.stopped && !stream.reading_back {
            self.fetch(claim);
        }
    }

    /// The batch at the position cannot be decoded.
    pub fn undecodable(&mut self, claim: Claim, offsets: Range<i64>) {
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        let position = stream.track.position();
        if stream.is_over() || stream.stopped || stream.reading_back {
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
        if stream.entries.len() + 1 >= self.settings.max_unfinished {
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

    /// The answer to [`Action::Reload`].
    pub fn reloaded(&mut self, claim: Claim, offset: i64, reloaded: Reloaded<B>) {
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        let Some(id) = stream.entries.get(&offset).copied() else {
            return;
        };
        let Some(entry) = self
            .lanes
            .get_mut(id)
            .filter(|entry| entry.stage == Stage::Loading)
        else {
            return;
        };
        entry.stage = Stage::Waiting;
        match reloaded {
            Reloaded::Body(body, size) => {
                let size = size.saturating_add(Self::OVERHEAD);
                let was = entry.size;
                if let Some(charge) = entry.charged {
                    self.buffer.give(&mut stream.share, was, charge);
                    self.buffer.take(&mut stream.share, size, charge);
                }
                self.lanes.load(id, body, size);
                self.todo.push_back(id);
            }
            _ if !self.rules.has(Rule::Gone) => self.todo.push_back(id),
            Reloaded::Compacted => self.finish(id, super::finish::How::Gone),
            Reloaded::BelowStart => {
                self.actions.push(Action::Gap {
                    claim,
                    offsets: offset..offset + 1,
                });
                self.finish(id, super::finish::How::Gone);
            }
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

    /// Goes on fetching, if there is room again for a good part, or for anything and nothing else to do.
    pub(super) fn go_on(&mut self, claim: Claim) {
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        if !stream.stopped || stream.is_over() {
            return;
        }
        let most = self.settings.max_unfinished;
        let idle = stream.ready.iter().all(std::collections::BTreeSet::is_empty);
        let (least, tenths) = if idle { (most / 64, 0) } else { (most / 4, 3) };
        if stream.entries.len() + least.max(1) <= most && self.buffer.has_room(stream.share, 1, tenths) {
            stream.stopped = false;
            self.fetch(claim);
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
            let bytes = stream.entries.len() < self.settings.max_unfinished;
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
            stream.entries.len() < core.settings.max_unfinished
                && (core.goes_without_body(&core.lane(stream, claim, record))
                    || core.buffer.has_room(stream.share, record.size, 0))
        };
        if fits(self) {
            return true;
        }
        if self
            .streams
            .get(&claim)
            .is_some_and(|stream| stream.entries.len() < self.settings.max_unfinished)
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

    /// Whether a record would only wait in the buffer behind a held head.
    fn goes_without_body(&self, lane: &LaneKey) -> bool {
        let held = || {
            self.lanes
                .head(lane)
                .and_then(|id| self.lanes.get(id))
                .is_some_and(Entry::is_held)
        };
        self.rules.has(Rule::Evict) && self.lanes.loaded(lane).0 >= BODIES_PER_HELD_LANE && held()
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
        self.todo.push_back(id);
    }

    /// Takes a body out of the buffer.
    pub(super) fn unload(&mut self, id: EntryId) {
        self.lanes.unload(id);
        let Some(entry) = self.lanes.get_mut(id) else {
            return;
        };
        let (charge, size) = (entry.charged.take(), entry.size);
        if let (Some(stream), Some(charge)) = (self.streams.get_mut(&entry.claim), charge) {
            self.buffer.give(&mut stream.share, size, charge);
        }
    }

    /// A lane's head has failed: few of the bodies behind it stay, and none in the room for those that came again.
    pub(super) fn thin(&mut self, lane: &LaneKey, head: EntryId) {
        if !self.rules.has(Rule::Evict) {
            return;
        }
        let (loaded, unloaded) = match lane {
            LaneKey::Free(..) => (1, 1),
            LaneKey::Key(..) => self.lanes.loaded(lane),
        };
        if loaded <= BODIES_PER_HELD_LANE && unloaded == 0 && !self.came_again(head) {
            return;
        }
        let mut next = Some(head);
        let mut seen = 0;
        while let Some(id) = next.filter(|_| seen < loaded) {
            next = self.lanes.behind(id);
            let Some(entry) = self.lanes.get(id) else { return };
            seen += u32::from(entry.body.is_some());
            if entry.stage != Stage::Waiting || entry.body.is_none() {
                continue;
            }
            if seen > BODIES_PER_HELD_LANE || self.came_again(id) && !self.settle_down(id) {
                self.unload(id);
            }
        }
    }

    fn came_again(&self, id: EntryId) -> bool {
        self.lanes
            .get(id)
            .is_some_and(|entry| entry.charged == Some(Charge::Reloaded))
    }

    /// Moves a body that came again into the room of the others, if there is enough.
    fn settle_down(&mut self, id: EntryId) -> bool {
        let Some(entry) = self.lanes.get_mut(id) else {
            return false;
        };
        let Some(stream) = self.streams.get_mut(&entry.claim) else {
            return false;
        };
        let room = self.buffer.has_room(stream.share, entry.size, 3);
        if room {
            self.buffer.give(&mut stream.share, entry.size, Charge::Reloaded);
            self.buffer.take(&mut stream.share, entry.size, Charge::Fetched);
            entry.charged = Some(Charge::Fetched);
        }
        room
    }

    /// The buffer is full: all that waits for a held head leaves it, and the head itself. Whether anything did.
    fn evict(&mut self, now: Now) -> bool {
        if !self.rules.has(Rule::Evict) || now.mono < self.evict_at {
            return false;
        }
        self.evict_at = now.mono + EVICT_EVERY_MS;
        let before = self.buffer.used();
        let ids: Vec<EntryId> = self
            .streams
            .values()
            .flat_map(|stream| stream.entries.values().copied())
            .collect();
        for id in ids {
            let Some(entry) = self.lanes.get(id) else { continue };
            let head = match entry.lane {
                LaneKey::Free(..) => Some(id),
                lane => self.lanes.head(&lane),
            };
            let held = head.and_then(|head| self.lanes.get(head)).is_some_and(|head| {
                head.stage == Stage::Waiting && head.tries.tries > 0 && head.due > now.mono
            });
            if held && entry.stage == Stage::Waiting && entry.body.is_some() {
                self.unload(id);
            }
        }
        self.buffer.used() < before
    }

    /// Asks for a body, if there is room for it; else it is asked for once there is.
    pub(super) fn reload(&mut self, id: EntryId) {
        let Some(claim) = self.lanes.get(id).map(|entry| entry.claim) else {
            return;
        };
        if !self.may_reload(claim) {
            self.reclaim(claim);
        }
        if !self.may_reload(claim) {
            self.starved.push_back(id);
            return;
        }
        let Some(entry) = self.lanes.get_mut(id) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        entry.stage = Stage::Loading;
        entry.charged = Some(Charge::Reloaded);
        self.buffer.take(&mut stream.share, entry.size, Charge::Reloaded);
        self.actions.push(Action::Reload {
            claim: entry.claim,
            offset: entry.offset,
        });
    }

    fn may_reload(&self, claim: Claim) -> bool {
        self.streams
            .get(&claim)
            .is_some_and(|stream| self.buffer.may_reload(stream.share))
    }

    /// A head needs room for its body: those that came again and still wait, for another or for their lane, give it.
    fn reclaim(&mut self, claim: Claim) {
        let Some(stream) = self.streams.get(&claim) else {
            return;
        };
        let ids: Vec<EntryId> = stream.entries.values().copied().collect();
        for id in ids {
            let waits = |entry: &Entry<B>| entry.stage == Stage::Waiting && entry.body.is_some();
            if self.came_again(id) && self.lanes.get(id).is_some_and(waits) {
                self.unload(id);
            }
        }
    }

    /// Bodies left the buffer: one comes that found no room.
    pub(super) fn feed_starved(&mut self) {
        while let Some(id) = self.starved.pop_front() {
            let bare = |entry: &Entry<B>| entry.stage == Stage::Waiting && entry.body.is_none();
            if self.lanes.get(id).is_some_and(bare) && self.lanes.is_head(id) {
                self.todo.push_back(id);
                return;
            }
        }
    }

    /// The first of a lane have left: the bodies of the next come in time.
    pub(super) fn refill(&mut self, lane: &LaneKey) {
        let (loaded, unloaded) = self.lanes.loaded(lane);
        if unloaded == 0 || loaded > BODIES_PER_HELD_LANE / 4 {
            return;
        }
        let mut next = self.lanes.head(lane);
        for _ in 0..BODIES_PER_HELD_LANE {
            let Some(id) = next else { return };
            next = self.lanes.behind(id);
            let bare = |entry: &Entry<B>| {
                entry.body.is_none() && entry.stage == Stage::Waiting && entry.end == entry.offset + 1
            };
            let may = |entry: &Entry<B>| bare(entry) && self.may_reload(entry.claim);
            if self.lanes.get(id).is_some_and(may) {
                self.reload(id);
            }
        }
    }
}
