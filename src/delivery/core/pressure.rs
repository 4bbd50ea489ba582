//! How much of a partition may be unfinished, and how bad records give way where room is short.

use std::collections::BTreeSet;

use super::Core;
use crate::delivery::lanes::{Entry, EntryId, Stage};
use crate::delivery::rules::Rule;
use crate::delivery::{Claim, Now};

/// How many followers of dead letters one success of another lane is proof for.
const PROOFS: u32 = 4;
/// For how many milliseconds it is, at most.
const PROVES_FOR: u64 = 10_000;

/// What of the bound is used before all stands still. The rest is for records that prove others' failures.
pub(super) const fn usual(max_unfinished: usize) -> usize {
    max_unfinished - max_unfinished / 8
}

/// How much is let in at a time, at least, and how many proofs are kept.
fn step(max_unfinished: usize) -> usize {
    (max_unfinished / 64).max(1)
}

impl<B: Clone> Core<B> {
    /// Whether room is short by what stands still, and whether nothing else is left that could prove anything. What is
    /// fresh is in no one's way: it leaves by itself, and in a backlog it fills the bound all the time.
    pub(super) fn pressure(&self, claim: Claim) -> (bool, bool) {
        let Some(stream) = self.streams.get(&claim) else {
            return (false, false);
        };
        let (all, most) = (stream.entries.len(), self.settings.max_unfinished);
        let crowded = all * 4 >= most * 3;
        if !self.rules.has(Rule::Stalled) {
            return (crowded, stream.stopped);
        }
        let stalled = self.lanes.stalled(claim);
        let full = stream.stopped && crowded && stalled.all * 16 >= all * 15;
        (stalled.bad * 4 >= most * 3 || full, full)
    }

    /// Goes on fetching, if there is room again for a good part, or for anything and nothing else to do.
    pub(super) fn go_on(&mut self, claim: Claim) {
        let Some(stream) = self.streams.get_mut(&claim) else {
            return;
        };
        let most = self.settings.max_unfinished;
        if stream.entries.len() + step(most) <= usual(most) {
            stream.most = usual(most);
        }
        if !stream.stopped || stream.is_over() {
            return;
        }
        let idle = stream.ready.iter().all(BTreeSet::is_empty);
        let (least, tenths) = if idle { (step(most), 0) } else { (most / 4, 3) };
        if stream.entries.len() + least.max(1) <= stream.most && self.buffer.has_room(stream.share, 1, tenths)
        {
            stream.stopped = false;
            self.fetch(claim);
        }
    }

    /// All stands still, and a head has failed again: what is let in beyond the usual may prove that it is the head's own
    /// fault.
    pub(super) fn let_more_in(&mut self, claim: Claim) {
        let most = self.settings.max_unfinished;
        if let Some(stream) = self.streams.get_mut(&claim) {
            stream.most = stream.most.max(stream.entries.len() + step(most)).min(most);
            self.go_on(claim);
        }
    }

    /// A head failed by an answer that speaks of the event, not of the handler's state. If it follows a dead letter it may
    /// not have to wait for its next attempt to be set aside too: at one for each back-off, a key with a third of the
    /// records would hold its partition up.
    pub(super) fn ask_for_proof(&mut self, now: Now, id: EntryId) {
        let Some(entry) = self.lanes.get(id).filter(|entry| entry.tries.may_count()) else {
            return;
        };
        if !self.rules.has(Rule::Tight) || !self.follows.contains(&entry.lane) {
            return;
        }
        let claim = entry.claim;
        self.proving.entry(claim).or_default().insert(id);
        if self.pressure(claim).0 {
            self.use_proof(now, claim);
        }
    }

    /// An attempt succeeded.
    pub(super) fn prove(&mut self, now: Now) {
        let most = u32::try_from(step(self.settings.max_unfinished)).unwrap_or(u32::MAX);
        self.proof = (self.proof(now).saturating_add(PROOFS).min(most), now.mono);
        let claims = self.proving.keys().copied();
        let short: Vec<_> = claims.filter(|claim| self.pressure(*claim).0).collect();
        for claim in short {
            self.use_proof(now, claim);
        }
    }

    /// For how many failures there is proof.
    fn proof(&self, now: Now) -> u32 {
        let (left, since) = self.proof;
        if since + PROVES_FOR < now.mono { 0 } else { left }
    }

    /// It does not wait for proof any more.
    pub(super) fn waits_no_more(&mut self, claim: Claim, id: EntryId) {
        if let Some(proving) = self.proving.get_mut(&claim) {
            proving.remove(&id);
        }
    }

    /// Has failures of followers count for which there is proof. They are due with that.
    fn use_proof(&mut self, now: Now, claim: Claim) {
        if self.breaker.is_open() {
            return;
        }
        while self.proof(now) > 0 {
            let Some(id) = self.proving.get_mut(&claim).and_then(BTreeSet::pop_first) else {
                self.proving.remove(&claim);
                return;
            };
            let waits = |entry: &Entry<B>| {
                entry.stage == Stage::Waiting && entry.due > now.mono && entry.tries.may_count()
            };
            if let Some(entry) = self.lanes.get_mut(id).filter(|entry| waits(entry)) {
                entry.tries.count();
                self.proof.0 -= 1;
                self.schedule(id, now.mono);
            }
        }
    }
}
