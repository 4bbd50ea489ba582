//! Bodies that leave the buffer, and come again: a failing key waits without filling it.

use super::Core;
use crate::delivery::lanes::{Charge, Entry, EntryId, LaneKey, Stage};
use crate::delivery::rules::Rule;
use crate::delivery::{Action, BODIES_PER_HELD_LANE, Claim, Now, Reloaded};

/// Between two searches for bodies that can leave the buffer, in milliseconds.
const EVICT_EVERY_MS: u64 = 250;

impl<B: Clone> Core<B> {
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

    /// Whether a record would only wait in the buffer behind a held head.
    pub(super) fn goes_without_body(&self, lane: &LaneKey) -> bool {
        let held = || {
            self.lanes
                .head(lane)
                .and_then(|id| self.lanes.get(id))
                .is_some_and(Entry::is_held)
        };
        self.rules.has(Rule::Evict) && self.lanes.loaded(lane).0 >= BODIES_PER_HELD_LANE && held()
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
    pub(super) fn evict(&mut self, now: Now) -> bool {
        if !self.rules.has(Rule::Evict) || now.mono < self.evict_at {
            return false;
        }
        self.evict_at = now.mono + EVICT_EVERY_MS;
        let before = self.buffer.used();
        let streams = self.streams.values().filter(|stream| !stream.share.is_empty());
        let ids: Vec<EntryId> = streams
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
