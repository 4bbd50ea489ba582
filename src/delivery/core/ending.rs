//! A partition is given up: drained, cancelled, ended.

use super::{Core, Stream};
use crate::delivery::lanes::{Stage, Stall};
use crate::delivery::rules::Rule;
use crate::delivery::{Action, Attempt, Claim, Now};

impl Stream {
    /// Nothing more begins.
    pub(super) fn is_over(&self) -> bool {
        self.draining
    }

    /// Whether it takes records.
    pub(super) fn wants(&self) -> bool {
        !self.is_over() && !self.stopped && !self.resting && !self.reading_back
    }
}

impl<B: Clone> Core<B> {
    /// Starts nothing more of a partition; what runs, and its dead letters, may end. Then comes [`Action::Ended`].
    pub fn drain(&mut self, claim: Claim) {
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        if !std::mem::replace(&mut stream.draining, true) {
            self.ending.push(claim);
            self.actions.push(Action::Pause { claim });
        }
    }

    /// Ends what runs of a partition now; unacknowledged dead letters are given up then: milliseconds of the monotonic
    /// clock.
    pub fn cancel(&mut self, claim: Claim, letters_until: u64) {
        self.drain(claim);
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        if stream.cancelled.is_none() {
            for id in stream.entries.values() {
                if let Some(Stage::Running { attempt, .. }) = self.lanes.get(*id).map(|entry| entry.stage) {
                    self.actions.push(Action::Abort(Attempt {
                        entry: *id,
                        number: attempt,
                    }));
                }
            }
        }
        let until = stream.cancelled.map_or(letters_until, |at| at.min(letters_until));
        stream.cancelled = Some(until);
    }

    /// Tells which partitions have nothing more in flight.
    pub(super) fn end(&mut self, now: Now) {
        let over = |claim: &Claim| {
            let Some(stream) = self.streams.get(claim) else {
                return true;
            };
            let given_up = stream.cancelled.is_some_and(|until| until <= now.mono);
            stream.running == 0 && (given_up && self.rules.has(Rule::DrainEnds) || !self.has_letters(stream))
        };
        let (ended, ending): (Vec<_>, Vec<_>) = self.ending.iter().copied().partition(over);
        self.ending = ending;
        for claim in ended {
            self.forget(claim);
        }
    }

    /// Whether dead letters are being written, or would be next.
    fn has_letters(&self, stream: &Stream) -> bool {
        stream.entries.values().any(|id| {
            let Some(entry) = self.lanes.get(*id) else {
                return false;
            };
            match entry.stage {
                Stage::Dead(_) => true,
                Stage::Waiting | Stage::Loading => entry.unwritten > 0 && self.lanes.is_head(*id),
                _ => false,
            }
        })
    }

    fn forget(&mut self, claim: Claim) {
        let ids: Vec<_> = self
            .streams
            .get(&claim)
            .map(|stream| stream.entries.values().copied().collect())
            .unwrap_or_default();
        for id in ids {
            self.unschedule(id);
            let stall = self.stall_of_head(id);
            let Some((entry, head)) = self.lanes.remove(id) else {
                continue;
            };
            if stall != Stall::None {
                self.lanes.relax(&entry.lane);
                if let Some(head) = head {
                    self.note_stall(head);
                }
            }
            if let (Some(stream), Some(charge)) = (self.streams.get_mut(&claim), entry.charged) {
                self.buffer.give(&mut stream.share, entry.size, charge);
            }
            self.todo.extend(head);
        }
        let Some(stream) = self.streams.remove(&claim) else {
            return;
        };
        for (offset, lane) in &stream.reports {
            self.todo.extend(self.lanes.reported(lane, claim, *offset));
        }
        self.proving.remove(&claim);
        for turn in &mut self.turns {
            turn.retain(|other| *other != claim);
        }
        self.share_limits();
        self.actions.push(Action::Ended {
            claim,
            progress: stream.track.into_progress(),
        });
        self.feed_starved();
    }
}
