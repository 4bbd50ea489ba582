//! Which head may start, and which of them does.

use super::finish::How;
use super::{Core, at, mark};
use crate::delivery::lanes::{EntryId, LaneKey, Stage, Stall};
use crate::delivery::limits::Kind;
use crate::delivery::retry::{Due, Verdict};
use crate::delivery::rules::Rule;
use crate::delivery::{Action, Attempt, Claim, Letter, Now, Reason, Start};

impl<B: Clone> Core<B> {
    /// Looks at an entry that may have become ready.
    pub(super) fn look(&mut self, now: Now, id: EntryId) {
        let Some(entry) = self.lanes.get_mut(id) else {
            return;
        };
        let (claim, offset, lane) = (entry.claim, entry.offset, entry.lane);
        let dead = entry.dead;
        let Some(stream) = self.streams.get(&claim) else {
            return;
        };
        if entry.stage != Stage::Waiting || stream.is_over() && entry.unwritten == 0 {
            return;
        }
        if entry.due > now.mono {
            // Also if it is no head: it may become one before it is due, and then it is looked at again.
            if !std::mem::replace(&mut entry.timed, true) {
                self.due.insert((entry.due, id));
            }
            if entry.is_held() && self.lanes.is_head(id) {
                self.note_stall(id);
            }
            return;
        }
        if entry.skipped {
            self.finish(id, How::Skipped);
            return;
        }
        let (event, timestamp, bare) = (entry.id, entry.timestamp, entry.body.is_none());
        let bare = bare && entry.end == offset + 1;
        if !self.lanes.is_head(id) {
            if dead == Some(Reason::Expiring) {
                self.walk(now, lane, id);
            }
            return;
        }
        if let (Some(event), None) = (event, dead) {
            let lower = stream.ids.range((event, i64::MIN)..(event, offset)).next();
            if lower.is_some() && self.rules.has(Rule::IdWaits) {
                if self.stall_of_head(id) == Stall::None {
                    self.lanes.set_stall(id, Stall::Held);
                }
                return;
            }
            let window = stream.window.as_ref();
            if window.is_some_and(|window| window.is_duplicate(self.rules, event, offset, timestamp)) {
                self.finish(id, How::Duplicate);
                return;
            }
        }
        if bare {
            self.reload(id);
            return;
        }
        if let Some(reason) = dead {
            self.bury(now, id, reason);
            return;
        }
        let (tight, full) = self.pressure(claim);
        let due = Due {
            open: self.breaker.is_open(),
            open_ms: self.breaker.open_ms(now.mono),
            tight,
            full,
            follows: self.follows.contains(&lane),
            given_up: self.given_up.contains(&lane),
        };
        let Some(entry) = self.lanes.get_mut(id) else {
            return;
        };
        let kind = if entry.tries.tries == 0 {
            if entry.stall() == Stall::Held {
                self.lanes.set_stall(id, Stall::None);
            }
            Kind::Fresh
        } else {
            let verdict = entry
                .tries
                .due(self.rules, &self.settings, now, &lane, &self.successes, due);
            if let Verdict::Dead { given_up } = verdict {
                if given_up && matches!(lane, LaneKey::Key(..)) {
                    mark(&mut self.given_up, lane);
                }
                self.lanes.set_stall(id, Stall::Bad);
                self.bury(now, id, Reason::Exhausted);
                return;
            }
            self.note_stall(id);
            if full {
                self.let_more_in(claim);
            }
            Kind::Again
        };
        let Some(entry) = self.lanes.get_mut(id) else {
            return;
        };
        entry.stage = Stage::Ready(kind);
        let key = entry.ready_key(kind);
        if let Some(ready) = self
            .streams
            .get_mut(&claim)
            .and_then(|stream| stream.ready.get_mut(at(kind)))
        {
            ready.insert((key, id));
        }
        self.turn(claim);
    }

    /// It goes to the dead letters as soon as the lease allows it; or waits for the fuse, if that has blown.
    pub(super) fn bury(&mut self, now: Now, id: EntryId, reason: Reason) {
        self.unschedule(id);
        let refused = matches!(reason, Reason::Rejected | Reason::Undecodable | Reason::Invalid);
        let Some(entry) = self.lanes.get_mut(id) else {
            return;
        };
        entry.dead = Some(reason);
        if refused && self.fuse.is_blown() {
            entry.due = now.mono + self.settings.backoff_longest;
            entry.timed = true;
            self.due.insert((entry.due, id));
            return;
        }
        entry.stage = Stage::Dead(None);
        self.letters.push_back(id);
    }

    /// Hands over the dead letters that wait.
    pub(super) fn write_letters(&mut self) {
        while let Some(id) = self.letters.pop_front() {
            let number = self.count();
            let Some(entry) = self
                .lanes
                .get_mut(id)
                .filter(|entry| entry.stage == Stage::Dead(None))
            else {
                continue;
            };
            entry.stage = Stage::Dead(Some(number));
            self.actions.push(Action::DeadLetter(Letter {
                attempt: Attempt { entry: id, number },
                claim: entry.claim,
                offsets: entry.offset..entry.end,
                reason: entry.dead.unwrap_or(Reason::Exhausted),
                tries: entry.tries.tries,
                first_failed: entry.tries.first_failed,
                why: entry.why.clone(),
                body: entry.body.clone(),
            }));
            if !self.rules.has(Rule::Acknowledged) {
                self.finish(id, How::Dead);
            }
        }
    }

    /// Fills the free slots: partitions in turn, the oldest record first.
    pub(super) fn start(&mut self, now: Now) {
        while now.mono >= self.paused_until {
            if self.breaker.is_open() {
                let probes = self.breaker.probe_at().is_some_and(|at| at <= now.mono);
                if !probes || self.slots.is_full() || self.rate.wait(now).is_some() {
                    return;
                }
                let Some(id) = self.probe() else { return };
                self.breaker.probe();
                self.run(now, id, true);
                return;
            }
            if self.rate.wait(now).is_some() {
                return;
            }
            let [fresh, again] = [0, 1].map(|at| self.turns.get(at).is_some_and(|turn| !turn.is_empty()));
            let Some(kind) = self.slots.pick(self.rules, fresh, again) else {
                return;
            };
            let Some(claim) = self.turns.get_mut(at(kind)).and_then(|turn| turn.pop_front()) else {
                return;
            };
            let Some(stream) = self.streams.get_mut(&claim) else {
                continue;
            };
            if let Some(turning) = stream.turning.get_mut(at(kind)) {
                *turning = false;
            }
            if stream.paused || stream.draining {
                continue;
            }
            let Some((_, id)) = stream
                .ready
                .get(at(kind))
                .and_then(|ready| ready.first())
                .copied()
            else {
                continue;
            };
            if self.bounded(claim, id) {
                continue;
            }
            self.run(now, id, false);
            self.turn(claim);
        }
    }

    /// Without [`Rule::FinishAlways`]: nothing but the first unfinished one may end when there are many gaps.
    fn bounded(&self, claim: Claim, id: EntryId) -> bool {
        if self.rules.has(Rule::FinishAlways) {
            return false;
        }
        let (Some(stream), Some(entry)) = (self.streams.get(&claim), self.lanes.get(id)) else {
            return false;
        };
        let progress = stream.track.progress();
        progress.gaps() * 8 >= self.settings.max_unfinished && progress.next != Some(entry.offset)
    }

    /// What tries an open breaker: the ready head with the fewest attempts, each time another.
    fn probe(&self) -> Option<EntryId> {
        let streams = self
            .streams
            .values()
            .filter(|stream| !stream.paused && !stream.draining);
        if !self.rules.has(Rule::Rotate) {
            let first = |stream: &super::Stream| {
                let mut ids = stream.entries.values().copied();
                ids.find(|id| self.lanes.is_head(*id)).filter(|id| {
                    self.lanes
                        .get(*id)
                        .is_some_and(|entry| matches!(entry.stage, Stage::Ready(_)))
                })
            };
            return { streams }.find_map(first);
        }
        let ready = streams.flat_map(|stream| {
            // Of those never tried the oldest is enough.
            let [fresh, again] = &stream.ready;
            fresh.iter().take(1).chain(again)
        });
        ready
            .filter_map(|(key, id)| Some((self.lanes.get(*id)?.tries.tries, *key, *id)))
            .min()
            .map(|(_, _, id)| id)
    }

    fn run(&mut self, now: Now, id: EntryId, probe: bool) {
        self.unschedule(id);
        let number = self.count();
        let Some(entry) = self.lanes.get_mut(id) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(&entry.claim) else {
            return;
        };
        let Some(body) = entry.body.clone() else {
            self.todo.push_back(id);
            return;
        };
        let tries = entry.tries.tries;
        let kind = if tries > 0 { Kind::Again } else { Kind::Fresh };
        let deadline = now.mono + self.settings.timeout;
        entry.stage = Stage::Running {
            attempt: number,
            kind,
            probe,
            deadline,
        };
        stream.running += 1;
        self.slots.take(kind);
        self.rate.take();
        self.actions.push(Action::Start(Start {
            attempt: Attempt { entry: id, number },
            claim: entry.claim,
            offset: entry.offset,
            tries: tries.saturating_add(1),
            deadline,
            redelivered: tries > 0 || stream.track.is_suspect(entry.offset),
            body,
        }));
        let claim = entry.claim;
        self.waits_no_more(claim, id);
    }
}
