//! What the source is about to delete goes to the dead letters: never lost silently.

use super::{Core, Stream};
use crate::delivery::lanes::{EntryId, LaneKey, Stage};
use crate::delivery::rules::Rule;
use crate::delivery::{Claim, Now, Reason};

/// Held records go when they have used so many tenths of their retention,
const HELD_TENTHS: i64 = 6;
/// and all others when they have used so many.
const ALL_TENTHS: i64 = 8;
/// Looked at so many times within the retention. What came since the last look may still be in time without that.
const LOOKS: u64 = 200;
/// Between two looks, in milliseconds.
const LOOK_MS: std::ops::RangeInclusive<u64> = 10..=60_000;

impl Stream {
    /// Whether its source deletes records.
    pub(super) fn expires(&self) -> bool {
        self.retention.is_some() || self.edge.1 > i64::MIN
    }

    /// Milliseconds between two looks.
    fn look_every(&self) -> u64 {
        let every = self.retention.unwrap_or(u64::MAX) / LOOKS;
        every.clamp(*LOOK_MS.start(), *LOOK_MS.end())
    }

    /// Whether a record is one of those that go before all others of the log: as many of them are taken as may be.
    pub(super) fn is_urgent(&self, now: Now, offset: i64, timestamp: i64) -> bool {
        self.is_near(now, offset, timestamp, ALL_TENTHS)
    }

    fn is_near(&self, now: Now, offset: i64, timestamp: i64, tenths: i64) -> bool {
        let edge = if tenths == HELD_TENTHS {
            self.edge.0
        } else {
            self.edge.1
        };
        let aged = self.retention.is_some_and(|ms| {
            let ms = i64::try_from(ms).unwrap_or(i64::MAX);
            now.unix.saturating_sub(timestamp) > ms / 10 * tenths
        });
        aged || offset < edge
    }
}

impl<B: Clone> Core<B> {
    /// The source deletes by bytes: records below `held` have used three fifths of what it keeps, those below `all` four
    /// fifths.
    pub fn edge(&mut self, claim: Claim, held: i64, all: i64) {
        if let Some(stream) = self.streams.get_mut(&claim) {
            stream.edge = (held, all);
            self.expire_at = 0;
        }
    }

    /// Milliseconds after which the source deletes records, if it does.
    pub fn retention(&mut self, claim: Claim, retention: Option<u64>) {
        if let Some(stream) = self.streams.get_mut(&claim) {
            stream.retention = retention;
            self.expire_at = 0;
        }
    }

    /// Looks at all partitions for which it is time.
    pub(super) fn expire(&mut self, now: Now) {
        if self.expire_at > now.mono || !self.rules.has(Rule::Expire) {
            return;
        }
        self.expire_at = u64::MAX;
        let mut heads: Vec<(LaneKey, EntryId)> = Vec::new();
        let mut urgent: Vec<Claim> = Vec::new();
        for (claim, stream) in &mut self.streams {
            if !stream.expires() || stream.is_over() {
                continue;
            }
            if stream.expiry_at > now.mono {
                self.expire_at = self.expire_at.min(stream.expiry_at);
                continue;
            }
            stream.expiry_at = now.mono + stream.look_every();
            self.expire_at = self.expire_at.min(stream.expiry_at);
            let oldest = stream.entries.first_key_value();
            let oldest = oldest.and_then(|(_, id)| self.lanes.get(*id));
            if stream.resting
                && oldest.is_some_and(|oldest| stream.is_urgent(now, oldest.offset, oldest.timestamp))
            {
                stream.resting = false;
                urgent.push(*claim);
            }
            for id in stream.entries.values() {
                if !self.lanes.is_head(*id) {
                    continue;
                }
                if let Some(entry) = self.lanes.get(*id) {
                    heads.push((entry.lane, *id));
                }
            }
        }
        for claim in urgent {
            self.fetch(claim);
        }
        for (lane, head) in heads {
            self.walk(now, lane, head);
        }
    }

    /// Takes what is near its end from the front of a lane, one behind the other.
    pub(super) fn walk(&mut self, now: Now, lane: LaneKey, from: EntryId) {
        let mut next = match lane {
            LaneKey::Free(..) => Some(from),
            lane => self.lanes.head(&lane),
        };
        while let Some(id) = next {
            next = self.lanes.behind(id);
            let Some(entry) = self.lanes.get(id) else { return };
            let Some(stream) = self.streams.get(&entry.claim) else {
                return;
            };
            match entry.stage {
                Stage::Dead(_) => continue,
                Stage::Running { .. } | Stage::Loading => return,
                Stage::Waiting | Stage::Ready(_) => {}
            }
            let near = |tenths| stream.is_near(now, entry.offset, entry.timestamp, tenths);
            let held = entry.is_held() && near(HELD_TENTHS);
            let near = near(ALL_TENTHS);
            let waited = now.mono.saturating_sub(entry.arrived) >= stream.look_every();
            let in_flight = entry.skipped || entry.lost_until > now.mono;
            if in_flight
                || stream.is_over()
                || !(held || near && waited)
                || entry.unwritten > 0 && entry.due > now.mono
            {
                return;
            }
            let bare = entry.body.is_none() && entry.end == entry.offset + 1;
            if bare {
                self.unschedule(id);
                if let Some(entry) = self.lanes.get_mut(id) {
                    entry.dead = Some(Reason::Expiring);
                    entry.due = 0;
                }
                self.reload(id);
                return;
            }
            self.bury(now, id, Reason::Expiring);
            if !self.rules.has(Rule::Pipeline) {
                return;
            }
        }
    }
}
