//! How long this member may run handlers, and how long it has heard nothing of the others. Pure: the clocks' readings
//! are arguments.

use std::collections::BTreeMap;

use super::record::{MemberId, Position};

/// What this member's clocks say. They are never compared with another member's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// `CLOCK_MONOTONIC` in milliseconds: for waiting.
    pub mono: u64,
    /// The lease clock in milliseconds: the faster of `CLOCK_BOOTTIME` and the wall clock's advance, since
    /// `CLOCK_MONOTONIC` stands still while a virtual machine is suspended.
    pub lease: u64,
}

/// This member's lease: without it no handler may run, whatever the group's state says.
#[derive(Debug)]
pub(super) struct Lease {
    session: u64,
    margin: u64,
    until: u64,
}

impl Lease {
    /// None yet. Its end is treated as `margin` milliseconds nearer than it is: handlers are cancelled by then.
    pub(super) const fn new(session: u64, margin: u64) -> Self {
        Self {
            session,
            margin,
            until: 0,
        }
    }

    /// Extends it: a record that was sent first at `noted` (lease clock) was read back and held. Whether it is later.
    pub(super) fn extend(&mut self, noted: u64) -> bool {
        let until = noted + self.session / 10 * 9;
        let later = until > self.until;
        self.until = self.until.max(until);
        later
    }

    /// Ends it.
    pub(super) const fn lose(&mut self) {
        self.until = 0;
    }

    /// The lease clock's reading at which it ends; none without one.
    pub(super) fn until(&self) -> Option<u64> {
        (self.until > 0).then_some(self.until)
    }

    /// Whether handlers may run, with time left to cancel them.
    pub(super) const fn holds(&self, now: Now) -> bool {
        now.lease + self.margin < self.until
    }

    /// For how many milliseconds it goes on to [hold](Self::holds); 0 without it.
    pub(super) const fn left(&self, now: Now) -> u64 {
        self.until.saturating_sub(now.lease + self.margin)
    }
}

/// What this member has heard of the others: who is silent for its whole session is expired.
#[derive(Debug, Default)]
pub(super) struct Watch {
    seen: BTreeMap<MemberId, Seen>,
    /// No deadline is before this; the real first one may be later.
    not_before: u64,
}

#[derive(Debug)]
struct Seen {
    beat: Position,
    session: u64,
    since: u64,
    deadline: u64,
}

/// When to look again at who was silent while the log did not prove to work, in milliseconds.
const UNPROVEN: u64 = 20;

/// A member that was silent too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Silent {
    /// Who.
    pub(super) member: MemberId,
    /// Its last sign of life.
    pub(super) seen: Position,
    /// For how many milliseconds.
    pub(super) after: u64,
}

impl Watch {
    /// A sign of life was read.
    pub(super) fn heard(&mut self, member: &MemberId, beat: Position, session: u64, mono: u64) {
        let deadline = mono + session;
        if self.seen.is_empty() || deadline < self.not_before {
            self.not_before = deadline;
        }
        let seen = Seen {
            beat,
            session,
            since: mono,
            deadline,
        };
        match self.seen.get_mut(member) {
            Some(known) => *known = seen,
            None => {
                self.seen.insert(member.clone(), seen);
            }
        }
    }

    /// It is no member any more.
    pub(super) fn gone(&mut self, member: &MemberId) {
        self.seen.remove(member);
    }

    /// Nobody is known.
    pub(super) fn clear(&mut self) {
        self.seen.clear();
    }

    /// All counts begin anew: who has no lease cannot tell its own silence from the others'.
    pub(super) fn restart(&mut self, mono: u64) {
        for seen in self.seen.values_mut() {
            seen.since = mono;
            seen.deadline = mono + seen.session;
        }
        self.find_first();
    }

    /// For so many milliseconds until now the log did not work: nobody could be heard.
    pub(super) fn excuse(&mut self, mono: u64, ms: u64) {
        for seen in self.seen.values_mut() {
            let since = (seen.since + ms).min(mono);
            seen.deadline += since - seen.since.min(since);
            seen.since = since;
        }
        self.find_first();
    }

    /// Whether a member has been silent for its session.
    pub(super) fn is_silent(&self, member: &MemberId, mono: u64) -> bool {
        let seen = self.seen.get(member);
        seen.is_some_and(|seen| mono >= seen.since + seen.session)
    }

    /// When to ask for [the silent](Self::silent) next, if each is granted `more` milliseconds.
    pub(super) fn next(&self, more: u64) -> Option<u64> {
        (!self.seen.is_empty()).then(|| self.not_before + more)
    }

    /// Who was silent for its session and `more` milliseconds. It is named again after `again` milliseconds.
    ///
    /// The log has to have worked for this member while the other was silent, for half of that session: its own record
    /// that it read back last was sent first at `proven` (monotonic). Else a session as short as a few reports would
    /// have members expired by the first moments of an outage.
    pub(super) fn silent(&mut self, mono: u64, more: u64, again: u64, proven: u64) -> Vec<Silent> {
        let mut silent = Vec::new();
        if self.next(more).is_none_or(|next| mono < next) {
            return silent;
        }
        for (member, seen) in &mut self.seen {
            if mono < seen.deadline + more {
                continue;
            }
            if proven < seen.since + seen.session / 2 {
                seen.deadline = mono + UNPROVEN;
            } else {
                seen.deadline = mono + again;
                silent.push(Silent {
                    member: member.clone(),
                    seen: seen.beat,
                    after: mono - seen.since,
                });
            }
        }
        self.find_first();
        silent
    }

    fn find_first(&mut self) {
        self.not_before = self.seen.values().map(|seen| seen.deadline).min().unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { mono: ms, lease: ms }
    }

    #[test]
    fn a_lease_is_nine_tenths_of_a_session_from_the_first_sending() {
        let mut lease = Lease::new(10_000, 500);
        assert!(!lease.holds(at(0)));
        assert!(lease.extend(1_000));
        assert_eq!(lease.until(), Some(10_000));
        assert!(lease.holds(at(9_499)));
        assert!(!lease.holds(at(9_500)), "the rest is for cancelling");
        assert_eq!(lease.left(at(9_000)), 500);
    }

    #[test]
    fn a_lease_is_never_shortened_by_an_older_record() {
        let mut lease = Lease::new(10_000, 500);
        lease.extend(5_000);
        assert!(!lease.extend(1_000));
        assert_eq!(lease.until(), Some(14_000));
    }

    #[test]
    fn who_is_silent_for_its_own_session_is_named_and_named_again_later() {
        let (slow, fast) = (MemberId::random(1), MemberId::random(2));
        let mut watch = Watch::default();
        watch.heard(&slow, Position::new(0, 3), 10_000, 0);
        watch.heard(&fast, Position::new(0, 4), 2_000, 0);
        assert_eq!(watch.silent(1_999, 0, 500, 1_500), []);
        let silent = Silent {
            member: fast.clone(),
            seen: Position::new(0, 4),
            after: 2_000,
        };
        assert_eq!(watch.silent(2_000, 0, 500, 1_500), [silent]);
        assert_eq!(watch.silent(2_100, 0, 500, 1_500), []);
        assert_eq!(watch.silent(2_500, 0, 500, 1_500).len(), 1);
        watch.heard(&fast, Position::new(0, 9), 2_000, 2_600);
        assert_eq!(watch.silent(4_599, 0, 500, 4_000), []);
        assert_eq!(watch.silent(4_600, 0, 500, 4_000).len(), 1);
    }

    #[test]
    fn nobody_is_named_by_one_whose_own_records_did_not_come_through() {
        let member = MemberId::random(1);
        let mut watch = Watch::default();
        watch.heard(&member, Position::ZERO, 2_000, 0);
        assert_eq!(watch.silent(2_000, 0, 500, 999), []);
        assert_eq!(watch.next(0), Some(2_020));
        assert_eq!(watch.silent(2_020, 0, 500, 1_000).len(), 1);
    }

    #[test]
    fn time_in_which_the_log_did_not_work_does_not_count() {
        let (early, late) = (MemberId::random(1), MemberId::random(2));
        let mut watch = Watch::default();
        watch.heard(&early, Position::ZERO, 2_000, 0);
        watch.heard(&late, Position::ZERO, 2_000, 900);
        watch.excuse(1_000, 600);
        assert_eq!(watch.silent(2_599, 0, 500, 2_500), []);
        assert_eq!(watch.silent(2_600, 0, 500, 2_500).len(), 1);
        assert_eq!(watch.silent(2_999, 0, 500, 2_500), []);
        assert_eq!(watch.silent(3_000, 0, 500, 2_500).len(), 1);
    }

    #[test]
    fn a_restart_sets_every_count_to_zero() {
        let member = MemberId::random(1);
        let mut watch = Watch::default();
        watch.heard(&member, Position::ZERO, 2_000, 0);
        watch.restart(1_900);
        assert_eq!(watch.silent(3_899, 0, 500, 3_000), []);
        assert_eq!(watch.silent(3_900, 0, 500, 3_000).len(), 1);
    }
}
