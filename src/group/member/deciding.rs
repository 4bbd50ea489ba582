//! What the leader decides, and its deputies when it does not (rules 4, 7, 11 and 13): assignments, expiries, new
//! partitions, new tokens. These records are apart from the one of its own that is on its way: each names the state
//! that it was based on, so a late or doubled one is void.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Action, Member};
use crate::group::assignment;
use crate::group::record::{MAX_REPORT, Position, Record, split_changes};
use crate::group::rules::Rule;

/// An assignment is written that long after the last change, in milliseconds …
const QUIET: u64 = 100;
/// … and no later than that after the first.
const AT_MOST: u64 = 3_000;
/// Brokers agree on a topic's id after that long, in milliseconds.
const AGREED: u64 = 1_000;
/// Deputies act that much after one another, in milliseconds, where it is only about not writing the same thing.
const APART: u64 = 100;

/// A record to be written until its effect is read.
#[derive(Debug, Clone, Copy, Default)]
struct Again {
    at: u64,
    tries: u32,
}

/// What there is to decide.
#[derive(Debug, Default)]
pub(super) struct Deciding {
    /// When the first change came that no assignment covers (monotonic).
    first: Option<u64>,
    /// When the last one came.
    last: u64,
    /// Whether that was an assignment.
    covered: bool,
    /// The version that the last assignment was based on, and when it is written again.
    assigned: Option<(Position, Again)>,
    /// When the last assignment was read.
    read: Option<u64>,
    /// Instance names that partitions are kept for and that are away: since when (monotonic).
    away: BTreeMap<String, u64>,
    /// Whether topics have to be compared with metadata.
    look: bool,
    /// Topics that differ: since when, and when that is written again.
    grow: BTreeMap<Arc<str>, (u64, Again)>,
    /// When metadata was looked up last.
    seen: u64,
    /// When it was read that a topic was made anew.
    anew: BTreeMap<Arc<str>, u64>,
    /// How often an id was replaced by another one: metadata that still shows it is old, most probably.
    buried: BTreeMap<[u8; 16], u32>,
    /// New tokens are wanted, after the log was cut back.
    renew: Option<Again>,
    /// When former selves are expired next.
    former: Again,
}

impl Deciding {
    /// The state is another one.
    pub(super) fn changed(&mut self, mono: u64) {
        self.first.get_or_insert(mono);
        self.last = mono;
    }

    /// The state's version is another one; `covered`: an assignment was read.
    pub(super) fn version_changed(&mut self, mono: u64, covered: bool) {
        // An assignment is looked at again, as it may not cover all; what comes after it counts from its own time.
        if covered || self.covered {
            self.first = None;
        }
        if covered {
            self.read = Some(mono);
        }
        self.covered = covered;
        self.changed(mono);
    }

    /// Topics are to be compared with metadata.
    pub(super) fn look_at_topics(&mut self) {
        self.look = true;
    }

    /// Metadata was looked up.
    pub(super) fn topics_seen(&mut self, mono: u64) {
        self.seen = mono;
        self.look = true;
    }

    /// It was read that a topic was made anew, and is not the one of that id any more.
    pub(super) fn made_anew(&mut self, topic: &Arc<str>, was: [u8; 16], mono: u64) {
        *self.buried.entry(was).or_default() += 1;
        self.anew.insert(topic.clone(), mono);
    }

    /// Whether metadata is newer than what the group knows of a topic's id: it was looked up after that was read, with
    /// time for the brokers to agree. An id that was replaced before takes longer each time.
    fn is_news(&self, topic: &Arc<str>, id: [u8; 16]) -> bool {
        let Some(anew) = self.anew.get(topic) else {
            return true;
        };
        let times = self.buried.get(&id).copied().unwrap_or(0).min(5);
        self.seen >= anew + (AGREED << (3 * times))
    }

    pub(super) fn anyone_away(&self) -> bool {
        !self.away.is_empty()
    }

    /// Whether an assignment was read since then.
    pub(super) fn assigned_since(&self, since: u64) -> bool {
        self.read.is_some_and(|read| read >= since)
    }

    /// This life is over; what is known of the group stays.
    pub(super) fn forget(&mut self) {
        self.assigned = None;
        self.grow.clear();
    }

    /// The log is read anew.
    pub(super) fn begin_again(&mut self, renew: bool) {
        let wanted = renew || self.renew.is_some();
        *self = Self {
            renew: wanted.then(Again::default),
            ..Self::default()
        };
    }

    /// When the assignment is due at the leader.
    fn due(&self) -> Option<u64> {
        self.first.map(|first| (self.last + QUIET).min(first + AT_MOST))
    }
}

impl Member {
    fn decided(&mut self, record: &Record) {
        let id = self.flights.next_id();
        let payload = record.encode();
        self.actions.push(Action::Append { id, payload });
    }

    fn later(&mut self, again: Again) -> Again {
        Again {
            at: self.now.mono + self.backoff(again.tries),
            tries: again.tries + 1,
        }
    }

    /// Instance names that partitions wait for, and that no living member has.
    pub(super) fn note_kept_instances(&mut self) {
        let kept: BTreeSet<&String> = self
            .state
            .partitions
            .values()
            .filter_map(|state| state.kept.as_ref())
            .collect();
        let here: BTreeSet<&String> = self
            .state
            .members
            .values()
            .filter_map(|info| info.instance.as_ref())
            .collect();
        let since = |name: &String| self.deciding.away.get(name).copied().unwrap_or(self.now.mono);
        self.deciding.away = kept
            .difference(&here)
            .map(|&name| (name.clone(), since(name)))
            .collect();
    }

    /// When the first instance's grace is over that is not over yet.
    fn grace_end(&self, after: u64) -> Option<u64> {
        let ends = self
            .deciding
            .away
            .values()
            .map(|since| since + self.settings.grace);
        ends.filter(|end| *end > after).min()
    }

    pub(super) fn decide(&mut self) {
        self.compare_topics();
        self.expire_the_silent();
        self.assign();
        self.grow();
        self.renew();
        self.expire_former();
    }

    /// Between one rank and the next in expiring others.
    fn apart(&self) -> u64 {
        self.spread(APART)
    }

    /// The turn to expire others: only who has a lease may count their silence. Who is silent has no rank here: when
    /// the leader dies with half the group, the first that lives does not wait for the others' turns.
    fn expiry_turn(&self) -> Option<u64> {
        if !self.lives() || (self.rules.has(Rule::RestartCounts) && !self.lease.holds(self.now)) {
            return None;
        }
        let mono = self.now.mono;
        let joined = self.state.members.get(&self.id)?.joined;
        let before = self.state.members.iter().filter(|(_, info)| info.joined < joined);
        let rank = before.filter(|(id, _)| !self.watch.is_silent(id, mono)).count() as u64;
        Some(rank * self.apart())
    }

    /// When to look for silent members.
    fn expiry_wake(&self) -> Option<u64> {
        let first = self.watch.next(0)?;
        if self.now.mono < first {
            return Some(first);
        }
        self.watch.next(self.expiry_turn()?)
    }

    fn expire_the_silent(&mut self) {
        if self.expiry_wake().is_none_or(|at| self.now.mono < at) {
            return;
        }
        let Some(more) = self.expiry_turn() else { return };
        let again = (self.settings.session / 10).max(100);
        // (The rule that is switched off is about members who cannot know whether the log works.)
        let proven = if self.rules.has(Rule::RestartCounts) {
            self.flights.proven()
        } else {
            u64::MAX
        };
        for silent in self.watch.silent(self.now.mono, more, again, proven) {
            let record = Record::Expire {
                member: silent.member,
                seen: silent.seen,
                by: self.id.clone(),
                after_ms: silent.after,
            };
            self.decided(&record);
        }
    }

    fn assign(&mut self) {
        let now = self.now.mono;
        if let Some(end) = self.grace_end(self.deciding.last)
            && now >= end
        {
            self.deciding.changed(now);
        }
        let Some(due) = self.assign_at() else { return };
        let waits = self
            .deciding
            .assigned
            .is_some_and(|(basis, again)| basis == self.state.version && now < again.at);
        if now < due || waits {
            return;
        }
        let grace = self.settings.grace;
        let away = self
            .deciding
            .away
            .iter()
            .filter(|(_, since)| now < *since + grace);
        let away: BTreeSet<String> = away.map(|(name, _)| name.clone()).collect();
        let plan = assignment::plan(&self.state, &away);
        let changes = assignment::changes(&self.state, &plan);
        if changes.is_empty() {
            self.deciding.first = None;
            self.deciding.assigned = None;
            return;
        }
        let Some(changes) = split_changes(changes, MAX_REPORT).into_iter().next() else {
            return;
        };
        let basis = self.state.version;
        let record = Record::Assign {
            by: self.id.clone(),
            basis,
            changes,
        };
        self.decided(&record);
        let before = self.deciding.assigned.filter(|(of, _)| *of == basis);
        let again = self.later(before.map(|(_, again)| again).unwrap_or_default());
        self.deciding.assigned = Some((basis, again));
    }

    /// When this member writes the assignment that is due.
    fn assign_at(&self) -> Option<u64> {
        Some(self.deciding.due()? + self.my_turn(self.settings.session / 2)?)
    }

    /// Which topics of the group are not what metadata says.
    fn compare_topics(&mut self) {
        if !std::mem::take(&mut self.deciding.look) {
            return;
        }
        let now = self.now.mono;
        let mut grow = BTreeMap::new();
        for (topic, wanted) in self.wanted.iter().flatten() {
            let Some(known) = self.state.topics.get(topic) else {
                continue;
            };
            let grown = known.id == wanted.id && wanted.partitions > known.partitions;
            let anew = known.id != wanted.id && self.deciding.is_news(topic, wanted.id);
            if grown || anew {
                let before = self.deciding.grow.get(topic).copied();
                grow.insert(topic.clone(), before.unwrap_or((now, Again::default())));
            }
        }
        self.deciding.grow = grow;
    }

    /// The turn to tell of a topic's growth: only who subscribes to it sees it.
    fn grow_turn(&self, topic: &str) -> Option<u64> {
        self.my_turn(0)?;
        let joined = self.state.members.get(&self.id)?.joined;
        let mut before = 0;
        for other in self.state.subscribers(topic) {
            before += u64::from(
                self.state
                    .members
                    .get(other)
                    .is_some_and(|info| info.joined < joined),
            );
        }
        (before == 0 || self.rules.has(Rule::Deputies)).then(|| before * self.settings.session / 2)
    }

    fn grow(&mut self) {
        for (topic, (since, again)) in self.deciding.grow.clone() {
            let at = self.grow_turn(&topic).map(|turn| since + turn);
            if at.is_none_or(|at| self.now.mono < at.max(again.at)) {
                continue;
            }
            let known = self.state.topics.get(&topic);
            let wanted = self.wanted.as_ref().and_then(|wanted| wanted.get(&topic));
            let (Some(known), Some(wanted)) = (known, wanted) else {
                continue;
            };
            let record = Record::Grow {
                topic: topic.clone(),
                id: wanted.id,
                partitions: wanted.partitions,
                was: (known.id != wanted.id).then_some(known.id),
            };
            self.decided(&record);
            let again = self.later(again);
            self.deciding.grow.insert(topic, (since, again));
        }
    }

    /// After an unclean election two owners may have got one token; a new one for each tells them apart.
    fn renew(&mut self) {
        let Some(again) = self.deciding.renew else { return };
        if self.my_turn(0).is_none() || self.now.mono < again.at {
            return;
        }
        let record = Record::Renew { by: self.id.clone() };
        self.decided(&record);
        self.deciding.renew = Some(self.later(again));
    }

    /// A renew was read: it held, or the epoch has new tokens already.
    pub(super) fn renew_read(&mut self) {
        if self.lives() {
            self.deciding.renew = None;
        }
    }

    /// What it was before it lost its place in the log will never report again.
    fn expire_former(&mut self) {
        if self.former.is_empty() || !self.ending.is_empty() {
            return;
        }
        if self.my_turn(0).is_none() || self.now.mono < self.deciding.former.at {
            return;
        }
        self.former.retain(|id| self.state.members.contains_key(id));
        for member in self.former.clone() {
            let Some(info) = self.state.members.get(&member) else {
                continue;
            };
            let record = Record::Expire {
                seen: info.beat,
                member,
                by: self.id.clone(),
                after_ms: 0,
            };
            self.decided(&record);
        }
        self.deciding.former = self.later(self.deciding.former);
    }

    pub(super) fn deciding_wake(&self) -> Option<u64> {
        self.my_turn(0)?;
        let assign = self.assign_at().map(|due| match self.deciding.assigned {
            Some((basis, again)) if basis == self.state.version => due.max(again.at),
            _ => due,
        });
        let grace = self.grace_end(self.deciding.last);
        let expiry = self.expiry_wake();
        let grow = self.deciding.grow.iter().filter_map(|(topic, (since, again))| {
            let turn = self.grow_turn(topic)?;
            Some((since + turn).max(again.at))
        });
        let renew = self.deciding.renew.map(|again| again.at);
        let former = (!self.former.is_empty() && self.ending.is_empty()).then_some(self.deciding.former.at);
        [assign, grace, expiry, grow.min(), renew, former]
            .into_iter()
            .flatten()
            .min()
    }
}
