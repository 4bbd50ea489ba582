//! An outage or a bad record: the breaker of one target.
//!
//! While it is open, one record at a time is tried. It forgets nothing but on a restart: a new owner starts closed.

use std::collections::{BTreeSet, VecDeque};

use super::lanes::LaneKey;
use super::rules::{Rule, Rules};

/// Starts that are looked at.
const WINDOW: usize = 20;
/// Lanes that have to be among the failed ones at least.
const LANES: usize = 3;
/// Bad lanes that are remembered at most.
const MAX_BAD: usize = 10_000;

/// Open or closed, and what is known about lanes.
#[derive(Debug, Default)]
pub struct Breaker {
    open: Option<Open>,
    /// The last starts of lanes that were not known to be bad, and whether they failed.
    window: VecDeque<(LaneKey, bool)>,
    /// Lanes that began to fail since the last success of any.
    fresh: BTreeSet<LaneKey>,
    /// Lanes that failed while others succeeded.
    bad: BTreeSet<LaneKey>,
    /// Milliseconds that it was open before it opened last.
    open_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    since: u64,
    probe_at: u64,
    wait: u64,
    probing: bool,
}

/// How an attempt failed, as the breaker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// The handler itself answered, and not with a 5xx.
    Own,
    /// Lost, 429 or 5xx.
    Overload,
    /// The target was not reached.
    Hold,
}

/// Whether it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It did not.
    None,
    /// It opened.
    Opened,
    /// It closed.
    Closed,
}

impl Breaker {
    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Since when it is open: milliseconds of the monotonic clock.
    #[must_use]
    pub fn opened_at(&self) -> Option<u64> {
        self.open.map(|open| open.since)
    }

    /// Milliseconds for which it has been open so far.
    #[must_use]
    pub fn open_ms(&self, now: u64) -> u64 {
        self.open_ms + self.open.map_or(0, |open| now.saturating_sub(open.since))
    }

    /// Whether another lane than this has begun to fail since the last success of any.
    #[must_use]
    pub fn others_failing(&self, lane: &LaneKey) -> bool {
        self.fresh.len() > usize::from(self.fresh.contains(lane))
    }

    /// When the next probe may start, if it is open and none runs: milliseconds of the monotonic clock.
    #[must_use]
    pub fn probe_at(&self) -> Option<u64> {
        self.open.filter(|open| !open.probing).map(|open| open.probe_at)
    }

    /// A probe was started.
    pub fn probe(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = true;
        }
    }

    /// A probe ended without telling anything.
    pub fn probe_void(&mut self) {
        if let Some(open) = &mut self.open {
            open.probing = false;
        }
    }

    /// An attempt succeeded.
    pub fn succeeded(&mut self, now: u64, lane: &LaneKey) -> Change {
        self.sample(lane, false);
        if !self.fresh.is_empty() {
            self.bad.append(&mut self.fresh);
            while self.bad.len() > MAX_BAD {
                self.bad.pop_first();
            }
        }
        if !self.bad.is_empty() {
            self.bad.remove(lane);
        }
        self.close(now)
    }

    /// The handler refused a record: it answers.
    pub fn answered(&mut self, now: u64, lane: &LaneKey) -> Change {
        self.sample(lane, false);
        self.close(now)
    }

    /// An attempt failed. `wait` is the first time until a probe in milliseconds, `longest` the longest.
    pub fn failed(
        &mut self,
        rules: Rules,
        now: u64,
        lane: LaneKey,
        failed: Failed,
        probe: bool,
        (wait, longest): (u64, u64),
    ) -> Change {
        if let (Some(open), true) = (&mut self.open, probe) {
            open.probing = false;
            open.wait = (open.wait * 2).min(longest);
            open.probe_at = now + open.wait;
        }
        let known = self.bad.contains(&lane) && rules.has(Rule::Fresh);
        if !self.bad.contains(&lane) {
            self.fresh.insert(lane);
            if self.fresh.len() > MAX_BAD {
                self.fresh.pop_first();
            }
        }
        match failed {
            Failed::Own => {
                if !known {
                    self.sample_any(lane, false);
                }
                self.close(now)
            }
            Failed::Overload if known => Change::None,
            Failed::Overload => {
                self.sample_any(lane, true);
                let lanes: BTreeSet<_> = self.failed_lanes().collect();
                if lanes.len() >= LANES && self.failed_lanes().count() * 2 >= WINDOW {
                    self.open(now, wait)
                } else {
                    Change::None
                }
            }
            Failed::Hold => self.open(now, wait),
        }
    }

    /// The lane's only record is finished: a record without a key is never seen again.
    pub fn forget(&mut self, lane: &LaneKey) {
        self.bad.remove(lane);
        self.fresh.remove(lane);
    }

    fn failed_lanes(&self) -> impl Iterator<Item = LaneKey> + '_ {
        self.window
            .iter()
            .filter(|(_, failed)| *failed)
            .map(|(lane, _)| *lane)
    }

    fn sample(&mut self, lane: &LaneKey, failed: bool) {
        if self.bad.is_empty() || !self.bad.contains(lane) {
            self.sample_any(*lane, failed);
        }
    }

    fn sample_any(&mut self, lane: LaneKey, failed: bool) {
        if self.window.len() == WINDOW {
            self.window.pop_front();
        }
        self.window.push_back((lane, failed));
    }

    fn open(&mut self, now: u64, wait: u64) -> Change {
        if self.open.is_some() {
            return Change::None;
        }
        self.open = Some(Open {
            since: now,
            probe_at: now + wait,
            wait,
            probing: false,
        });
        Change::Opened
    }

    fn close(&mut self, now: u64) -> Change {
        let open_ms = self.open_ms(now);
        if self.open.take().is_none() {
            return Change::None;
        }
        self.open_ms = open_ms;
        self.window.clear();
        Change::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WAITS: (u64, u64) = (500, 60_000);

    fn fail(breaker: &mut Breaker, now: u64, lane: u64, failed: Failed) -> Change {
        let probe = breaker.open.is_some_and(|open| open.probing);
        breaker.failed(Rules::all(), now, LaneKey::Key(0, lane), failed, probe, WAITS)
    }

    #[test]
    fn an_outage_opens_it_and_the_first_answer_closes_it() {
        let mut breaker = Breaker::default();
        let changes: Vec<_> = (0..10)
            .map(|lane| fail(&mut breaker, 100, lane, Failed::Overload))
            .collect();
        assert_eq!(changes.last(), Some(&Change::Opened));
        assert_eq!(breaker.probe_at(), Some(600));
        breaker.probe();
        assert_eq!(breaker.probe_at(), None);
        assert_eq!(fail(&mut breaker, 700, 3, Failed::Overload), Change::None);
        assert_eq!(breaker.probe_at(), Some(1_700));
        breaker.probe();
        assert_eq!(breaker.answered(2_000, &LaneKey::Key(0, 4)), Change::Closed);
        assert_eq!(breaker.open_ms(9_999), 1_900);
    }

    #[test]
    fn a_target_that_is_not_reached_opens_it_at_once() {
        let mut breaker = Breaker::default();
        assert_eq!(fail(&mut breaker, 0, 1, Failed::Hold), Change::Opened);
    }

    #[test]
    fn answers_of_the_handlers_own_never_open_it() {
        let mut breaker = Breaker::default();
        for lane in 0..1_000 {
            assert_eq!(fail(&mut breaker, 0, lane, Failed::Own), Change::None);
        }
    }

    proptest! {
        #[test]
        fn two_poison_keys_never_open_it(outcomes in prop::collection::vec((0u64..8, any::<bool>()), 0..500)) {
            let mut breaker = Breaker::default();
            for (lane, _) in outcomes {
                if lane < 2 {
                    fail(&mut breaker, 0, lane, Failed::Overload);
                } else {
                    breaker.succeeded(0, &LaneKey::Key(0, lane));
                }
                prop_assert!(!breaker.is_open());
            }
        }

        #[test]
        fn lanes_known_to_be_bad_do_not_open_it(order in prop::collection::vec(0u64..12, 0..500)) {
            let mut breaker = Breaker::default();
            for lane in 0..12 {
                fail(&mut breaker, 0, lane, Failed::Overload);
                breaker.succeeded(0, &LaneKey::Key(0, 100));
                breaker.succeeded(0, &LaneKey::Key(0, 101));
            }
            for lane in order {
                fail(&mut breaker, 0, lane, Failed::Overload);
                prop_assert!(!breaker.is_open());
            }
        }
    }
}
