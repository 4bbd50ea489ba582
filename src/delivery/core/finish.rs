//! A record is finished: what it leaves behind, and who may go on.

use super::{Core, at, mark};
use crate::delivery::lanes::{EntryId, LaneKey, Stage, Stall};
use crate::delivery::rules::Rule;

/// How a record was finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// A handler has done it.
    Done,
    /// Its dead letter is acknowledged.
    Dead,
    /// An event with its id was finished before it.
    Duplicate,
    /// An operator skipped it.
    Skipped,
    /// The source has it no more.
    Gone,
}

impl<B: Clone> Core<B> {
    pub(super) fn finish(&mut self, id: EntryId, how: How) {
        self.unschedule(id);
        let stall = self.stall_of_head(id);
        let Some((entry, head)) = self.lanes.remove(id) else {
            return;
        };
        // The followers of a record that was given up are bad until one succeeds.
        if stall == Stall::Held || stall == Stall::Bad && how != How::Dead {
            self.lanes.relax(&entry.lane);
            if let Some(head) = head {
                self.note_stall(head);
            }
        }
        self.waits_no_more(entry.claim, id);
        let Some(stream) = self.streams.get_mut(&entry.claim) else {
            return;
        };
        if let Some(charge) = entry.charged {
            self.buffer.give(&mut stream.share, entry.size, charge);
        }
        stream.entries.remove(&entry.offset);
        stream.track.finish(entry.offset..entry.end);
        if let Some(event) = entry.id {
            stream.ids.remove(&(event, entry.offset));
            let awaited = stream
                .ids
                .range((event, i64::MIN)..(event, entry.offset))
                .next()
                .is_some();
            if let (Some(window), true) = (&mut stream.window, how != How::Gone) {
                window.finished(event, entry.offset, entry.timestamp, awaited);
            }
            // The next one with this id waited for it.
            let behind = stream.ids.range((event, entry.offset)..).next();
            if let Some((_, offset)) = behind.filter(|(other, _)| *other == event) {
                self.todo.extend(stream.entries.get(offset));
            }
        }
        match (entry.lane, how) {
            (lane @ LaneKey::Key(..), How::Done | How::Dead) if self.settings.commit_each => {
                self.lanes.await_report(lane, entry.claim, entry.offset);
                stream.reports.insert(entry.offset, lane);
            }
            _ => self.todo.extend(head),
        }
        match how {
            How::Done => {
                if !self.follows.is_empty() {
                    self.follows.remove(&entry.lane);
                }
                if !self.given_up.is_empty() {
                    self.given_up.remove(&entry.lane);
                }
            }
            How::Dead if matches!(entry.lane, LaneKey::Key(..)) => mark(&mut self.follows, entry.lane),
            _ => {}
        }
        match entry.lane {
            LaneKey::Free(..) => self.breaker.forget(&entry.lane),
            lane @ LaneKey::Key(..) => self.refill(&lane),
        }
        self.feed_starved();
        self.go_on(entry.claim);
    }

    /// Whether its lane stands still, if it is the head.
    pub(super) fn stall_of_head(&self, id: EntryId) -> Stall {
        let Some(entry) = self.lanes.get(id).filter(|entry| entry.stall() != Stall::None) else {
            return Stall::None;
        };
        match entry.lane {
            LaneKey::Key(..) if self.lanes.head(&entry.lane) != Some(id) => Stall::None,
            _ => entry.stall(),
        }
    }

    /// A head waits after a failure, and what is behind it with it.
    pub(super) fn note_stall(&mut self, head: EntryId) {
        let Some(entry) = self.lanes.get(head).filter(|entry| entry.is_held()) else {
            return;
        };
        let stall = if entry.tries.counted >= self.settings.retries.get() {
            Stall::Bad
        } else {
            Stall::Held
        };
        self.lanes.set_stall(head, stall.max(entry.stall()));
    }

    /// It is neither due nor ready any more.
    pub(super) fn unschedule(&mut self, id: EntryId) {
        let Some(entry) = self.lanes.get_mut(id) else {
            return;
        };
        if std::mem::take(&mut entry.timed) {
            self.due.remove(&(entry.due, id));
        }
        if let Stage::Ready(kind) = entry.stage {
            entry.stage = Stage::Waiting;
            let key = entry.ready_key(kind);
            if let Some(ready) = self
                .streams
                .get_mut(&entry.claim)
                .and_then(|s| s.ready.get_mut(at(kind)))
            {
                ready.remove(&(key, id));
            }
            let claim = entry.claim;
            self.wake(claim);
        }
    }

    /// An operator has skipped an offset. One that is in flight, or lost and may still run, keeps its lane until that ends,
    /// or another of its key would run beside it.
    pub fn skip(&mut self, now: super::Now, claim: super::Claim, offset: i64) {
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        let Some(id) = stream.entries.get(&offset).copied() else {
            if !stream.track.is_finished(offset) {
                stream.track.finish(offset..offset + 1);
            }
            return;
        };
        let Some(entry) = self.lanes.get_mut(id) else {
            return;
        };
        match entry.stage {
            Stage::Running { kind, .. } if !self.rules.has(Rule::SkipWaits) => {
                self.slots.give(kind);
                stream.running -= 1;
                self.finish(id, How::Skipped);
            }
            Stage::Running { .. } | Stage::Dead(Some(_)) => entry.skipped = true,
            _ if entry.lost_until > now.mono => entry.skipped = true,
            _ => self.finish(id, How::Skipped),
        }
    }
}
