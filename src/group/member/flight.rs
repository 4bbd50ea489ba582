//! The one record of its own that is on its way (rules 1 and 2): join, report, subscribe, leave.
//!
//! It is sent again and again with the same bytes until it is read back; only then comes the next. When it held, the
//! lease runs from when it was sent first.

use std::collections::VecDeque;

use super::{Action, AppendFailed, AppendId, Member, Phase};
use crate::group::record::{MAX_REPORT, Record, Report, Topics, split_report};
use crate::group::rules::Rule;

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Found,
    Join,
    Report,
    Subscribe,
    Leave,
}

/// A record on its way.
#[derive(Debug)]
struct Flight {
    id: AppendId,
    kind: Kind,
    payload: Vec<u8>,
    /// The lease clock when it was sent first.
    noted: u64,
    /// The monotonic clock then.
    sent: u64,
    /// When it is sent again (monotonic).
    again: u64,
    tries: u32,
}

/// What is on its way. One at most, while rule 2 is in force.
#[derive(Debug, Default)]
pub(super) struct Flights {
    flying: Vec<Flight>,
    /// Pieces of a report that follow.
    pieces: VecDeque<Report>,
    /// The number of the last report.
    n: u64,
    /// When the last report was sent (monotonic).
    reported: u64,
    /// When the last record that was read back was sent first (monotonic).
    proven: u64,
    last_id: u64,
}

impl Flights {
    /// Nothing is on its way any more: this life is over.
    pub(super) fn clear(&mut self) {
        self.flying.clear();
        self.pieces.clear();
    }

    /// Until when the log has proven to work for this member.
    pub(super) fn proven(&self) -> u64 {
        self.proven
    }

    pub(super) fn next_id(&mut self) -> AppendId {
        self.last_id += 1;
        AppendId(self.last_id)
    }

    pub(super) fn has(&self, kind: Kind) -> bool {
        self.flying.iter().any(|flight| flight.kind == kind)
    }
}

/// How long between two signs of life at least, in milliseconds; in short sessions a quarter of those. All members read each
/// other's: of what an idle group costs it is the most.
const BEAT: u64 = 2_000;

impl Member {
    /// How long between two reports, in milliseconds: one that is no more than a sign of life has time.
    fn interval(&self) -> u64 {
        let least = if self.has_news() { 0 } else { BEAT };
        self.spread(self.settings.report.max(least))
    }

    /// A thirty-third of a second for each member, at least `least`, at most a quarter of the session.
    pub(super) fn spread(&self, least: u64) -> u64 {
        let members = self.state.members.len() as u64;
        (members * 1_000 / 33)
            .max(least)
            .min((self.settings.session / 4).max(1))
    }

    /// Sends a record of its own for the first time.
    fn send(&mut self, kind: Kind, record: &Record) {
        let id = self.flights.next_id();
        let payload = record.encode();
        let again = self.now.mono + self.backoff(0);
        self.flights.flying.push(Flight {
            id,
            kind,
            payload: payload.clone(),
            noted: self.now.lease,
            sent: self.now.mono,
            again,
            tries: 0,
        });
        self.actions.push(Action::Append { id, payload });
    }

    /// Sends again what was not read back.
    fn repeat(&mut self) {
        if self.state.level != 0 {
            // Founded, if not by this member.
            self.flights.flying.retain(|flight| flight.kind != Kind::Found);
        }
        for index in 0..self.flights.flying.len() {
            let Some(flight) = self.flights.flying.get(index) else {
                break;
            };
            if self.now.mono < flight.again {
                continue;
            }
            let again = self.now.mono + self.backoff(flight.tries + 1);
            let flight = &mut self.flights.flying[index];
            flight.tries += 1;
            flight.again = again;
            let (id, payload) = (flight.id, flight.payload.clone());
            self.actions.push(Action::Append { id, payload });
        }
    }

    pub(super) fn acknowledged(&mut self, id: AppendId, outcome: Result<(), AppendFailed>) {
        let sooner = self.now.mono + (self.settings.session / 20).clamp(1, 100);
        let Some(flight) = self.flights.flying.iter_mut().find(|flight| flight.id == id) else {
            return;
        };
        match outcome {
            Err(AppendFailed) => flight.again = flight.again.min(sooner),
            Ok(()) if self.rules.has(Rule::ReadBack) => {}
            Ok(()) => {
                let (noted, kind) = (flight.noted, flight.kind);
                if matches!(kind, Kind::Join | Kind::Report | Kind::Subscribe) {
                    self.extend_lease(noted);
                }
            }
        }
    }

    /// A record was read; it may be the one on its way.
    pub(super) fn landed(&mut self, payload: &[u8], held: bool) {
        let Some(index) = self
            .flights
            .flying
            .iter()
            .position(|flight| flight.payload == payload)
        else {
            return;
        };
        let flight = self.flights.flying.swap_remove(index);
        self.flights.proven = self.flights.proven.max(flight.sent);
        let took = self.now.mono.saturating_sub(flight.sent);
        if took > self.settings.session / 8 && self.rules.has(Rule::RestartCounts) {
            // The log did not work, if for less than a lease: the others' records may be on their way as well.
            self.watch.excuse(self.now.mono, took);
        }
        match flight.kind {
            Kind::Found => {}
            Kind::Join if held => self.joined(flight.noted),
            // Too late, mostly: it is written anew, under another id.
            Kind::Join => {
                let delay = self.backoff(flight.tries);
                self.next_life(delay);
            }
            Kind::Report | Kind::Subscribe => {
                if held && self.rules.has(Rule::ReadBack) {
                    self.extend_lease(flight.noted);
                }
            }
            Kind::Leave => self.left(),
        }
    }

    fn joined(&mut self, noted: u64) {
        self.phase = Phase::Living { since: self.now.mono };
        self.extend_lease(noted);
        let member = self.id.clone();
        self.actions.push(Action::Joined { member });
        self.deciding.look_at_topics();
        self.settle_all();
    }

    pub(super) fn left(&mut self) {
        self.drop_everything();
        self.phase = Phase::Over;
        self.actions.push(Action::Left);
    }

    /// Sends what is due, if nothing of its own is on its way.
    pub(super) fn fly(&mut self) {
        self.repeat();
        let free = self.flights.flying.is_empty() || (self.lives() && !self.rules.has(Rule::OneInFlight));
        if !free || self.flights.has(Kind::Leave) {
            return;
        }
        match self.phase {
            Phase::Out { .. } if self.may_join() => self.found_or_join(),
            Phase::Living { .. } => self.speak(),
            _ => {}
        }
    }

    /// The next record of a living member.
    fn speak(&mut self) {
        if let Some(piece) = self.flights.pieces.pop_front() {
            return self.send_report(piece);
        }
        if self.leaving.is_some() && !self.is_busy() {
            return self.send_leave();
        }
        if let Some(topics) = self.topics_to_subscribe() {
            return self.send_subscribe(topics);
        }
        if self.now.mono >= self.flights.reported + self.interval() || self.is_urgent() {
            let told = self.collect_report();
            let report = Report {
                member: self.id.clone(),
                n: self.flights.n + 1,
                entries: told.entries,
                released: told.released,
                mark: self.snapshots.mark_to_report(),
            };
            self.flights.pieces = split_report(report, MAX_REPORT).into();
            if let Some(first) = self.flights.pieces.pop_front() {
                self.send_report(first);
            }
        }
    }

    fn send_report(&mut self, report: Report) {
        self.flights.n = self.flights.n.max(report.n);
        self.flights.reported = self.now.mono;
        self.send(Kind::Report, &Record::Report(report));
    }

    /// What it has to subscribe to, if that is not what the group knows.
    fn topics_to_subscribe(&self) -> Option<Topics> {
        let info = self.state.members.get(&self.id)?;
        if self.flights.has(Kind::Subscribe) {
            return None;
        }
        if self.leaving.is_some() {
            let moves = !info.leaving() && !self.leaves_in_a_hurry();
            return moves.then(Topics::new);
        }
        let wanted = self.wanted.as_ref()?;
        let differs = !info.topics.iter().eq(wanted.keys());
        (differs && !wanted.is_empty()).then(|| wanted.clone())
    }

    fn send_subscribe(&mut self, topics: Topics) {
        self.flights.n += 1;
        let record = Record::Subscribe {
            member: self.id.clone(),
            n: self.flights.n,
            topics,
        };
        self.send(Kind::Subscribe, &record);
    }

    /// Its last report. Nothing starts after it.
    fn send_leave(&mut self) {
        let report = Report {
            member: self.id.clone(),
            n: self.flights.n + 1,
            entries: self.collect_last(),
            released: Vec::new(),
            mark: None,
        };
        let mut pieces: VecDeque<Report> = split_report(report, MAX_REPORT).into();
        // All pieces but the last are reports; this is called again when they have landed, with nothing new to tell.
        if pieces.len() > 1 {
            if let Some(first) = pieces.pop_front() {
                self.send_report(first);
            }
            self.flights.pieces = pieces;
        } else if let Some(last) = pieces.pop_front() {
            self.flights.n = last.n;
            self.send(Kind::Leave, &Record::Leave(last));
        }
    }

    fn may_join(&self) -> bool {
        self.join_at().is_some_and(|at| self.now.mono >= at)
    }

    /// When it may join: handlers of an earlier life have ended, or had the time to.
    fn join_at(&self) -> Option<u64> {
        let Phase::Out { join_at } = self.phase else {
            return None;
        };
        // (A member without topics is one that leaves: with a pattern it waits for the first.)
        let subscribes = self.wanted.as_ref().is_some_and(|wanted| !wanted.is_empty());
        let reads = self.reader.caught_up() && subscribes && self.leaving.is_none();
        let patience = if self.ending.is_empty() {
            0
        } else {
            2 * self.settings.cancel
        };
        reads.then_some(join_at + patience)
    }

    fn found_or_join(&mut self) {
        let (group, speaks) = (&self.settings.group, self.settings.speaks);
        if self.state.level == 0 {
            if !self.settings.found && !self.settings.rebuild {
                let why = format!(
                    "the log of group {group} is empty, but the group existed: its offsets in Kafka's own group were \
                     committed by barnabas. Start one member with --rebuild-from-native to found it anew from them"
                );
                return self.fatal(why);
            }
            let record = Record::Found {
                floor: self.floor(),
                level: speaks,
            };
            return self.send(Kind::Found, &record);
        }
        if self.state.level > speaks {
            return self.speaks_too_little();
        }
        self.flights.n = 0;
        self.flights.reported = self.now.mono;
        let record = Record::Join {
            member: self.id.clone(),
            instance: self.settings.instance.clone(),
            host: self.settings.host.clone(),
            topics: self.topics_to_join(),
            session_ms: self.settings.session,
            speaks,
            read: self.reader.next(),
        };
        self.phase = Phase::Joining;
        self.send(Kind::Join, &record);
    }

    /// A pattern's topics that the group does not know yet are subscribed to after the join: that makes them late, so
    /// that they are read from their beginning.
    fn topics_to_join(&self) -> Topics {
        let mut topics = self.wanted.clone().unwrap_or_default();
        if self.settings.pattern && topics.keys().any(|topic| self.state.topics.contains_key(topic)) {
            topics.retain(|topic, _| self.state.topics.contains_key(topic));
        }
        topics
    }

    pub(super) fn flight_wake(&self) -> Option<u64> {
        let again = self.flights.flying.iter().map(|flight| flight.again).min();
        if again.is_some() && (self.rules.has(Rule::OneInFlight) || !self.lives()) {
            return again;
        }
        match self.phase {
            Phase::Out { .. } => self.join_at(),
            Phase::Living { .. } => {
                Some(self.flights.reported + self.interval()).min(again.or(Some(u64::MAX)))
            }
            _ => None,
        }
    }
}
