//! Attempts, proof and time → again when, or a dead letter.
//!
//! A failure proves a bad record only if it cannot have been an outage: while it failed, others succeeded. Order in
//! time is told by numbers that grow with each start and outcome, not by a clock.

use rand::Rng;
use rand::rngs::StdRng;

use super::lanes::LaneKey;
use super::rules::{Rule, Rules};
use super::{Now, Settings};
use crate::progress::Held;

/// What a record has behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tries {
    /// Attempts that failed, under all owners.
    pub tries: u32,
    /// Those of them that cannot have been an outage.
    pub counted: u32,
    /// When the first failed: milliseconds since the epoch.
    pub first_failed: Option<i64>,
    /// Failures under this owner that were the handler's, with the breaker closed.
    failures: u32,
    /// Those of them with no other lane newly failing.
    quiet: u32,
    /// Those of them with another lane's success since the failure before.
    quiet_after: u32,
    /// When the last attempt failed, as a number.
    last_fail: u64,
    /// The last failure may count.
    clean: bool,
    /// Milliseconds that the breaker had been open when the first failed under this owner.
    open_before: u64,
}

/// What was known when an attempt failed.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// The outcome's number.
    pub number: u64,
    /// The breaker was closed.
    pub closed: bool,
    /// Another lane had newly begun to fail.
    pub others: bool,
    /// The target was not reached: it never counts.
    pub hold: bool,
    /// See [`super::breaker::Breaker::open_ms`].
    pub open_ms: u64,
}

/// What is known when a record is due again.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// The breaker is open.
    pub open: bool,
    /// See [`super::breaker::Breaker::open_ms`].
    pub open_ms: u64,
    /// Three quarters of the unfinished records that the partition may have stand still for bad ones.
    pub tight: bool,
    /// It has all of them, and hardly any but those that stand still: nothing new is fetched.
    pub full: bool,
    /// The record before it in its lane went to the dead letters.
    pub follows: bool,
    /// A record of its lane was given up without proof, and none has succeeded since.
    pub given_up: bool,
}

/// What follows from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Another attempt.
    Again,
    /// To the dead letters.
    Dead {
        /// Without proof.
        given_up: bool,
    },
}

impl Tries {
    /// As a former owner left them.
    #[must_use]
    pub fn resumed(held: &Held, now: Now, open_ms: u64) -> Self {
        if held.tries == 0 {
            // A mark, and no failure.
            return Self::default();
        }
        Self {
            tries: held.tries,
            counted: held.counted,
            // The other's clock may be ahead.
            first_failed: Some(held.first_failed.min(now.unix)),
            open_before: open_ms,
            ..Self::default()
        }
    }

    /// For the report.
    #[must_use]
    pub fn held(&self, due: i64) -> Held {
        Held {
            tries: self.tries,
            counted: self.counted,
            first_failed: self.first_failed.unwrap_or(due),
            due,
        }
    }

    /// An attempt failed.
    pub fn failed(&mut self, rules: Rules, now: Now, lane: &LaneKey, others: &Successes, failure: Failure) {
        self.tries = self.tries.saturating_add(1);
        if self.first_failed.is_none() {
            self.first_failed = Some(now.unix);
            self.open_before = failure.open_ms;
        }
        let before = std::mem::replace(&mut self.last_fail, failure.number);
        self.clean = false;
        if failure.hold {
            return;
        }
        self.failures = self.failures.saturating_add(u32::from(failure.closed));
        let quiet = failure.closed && !failure.others;
        if quiet {
            self.quiet = self.quiet.saturating_add(1);
            if before > 0 && others.started_after(before, lane) {
                self.quiet_after = self.quiet_after.saturating_add(1);
            }
        }
        self.clean = quiet && (before == 0 || others.ended_after(before, lane));
        if !rules.has(Rule::Proof) && failure.closed {
            self.counted = self.counted.saturating_add(1);
        }
    }

    /// The last failure counts if another lane starts and succeeds behind it.
    #[must_use]
    pub fn may_count(&self) -> bool {
        self.clean
    }

    /// It counts: others' successes are proof enough.
    pub fn count(&mut self) {
        self.clean = false;
        self.counted = self.counted.saturating_add(1);
    }

    /// Decides at the time at which it is due again.
    pub fn due(
        &mut self,
        rules: Rules,
        settings: &Settings,
        now: Now,
        lane: &LaneKey,
        others: &Successes,
        due: Due,
    ) -> Verdict {
        let clean = std::mem::replace(&mut self.clean, false);
        if rules.has(Rule::Proof) && clean && !due.open && others.started_after(self.last_fail, lane) {
            self.count();
        }
        let retries = settings.retries.get();
        let waited = self.first_failed.map_or(0, |first| {
            let all = u64::try_from(now.unix.saturating_sub(first)).unwrap_or(0);
            all.saturating_sub(due.open_ms.saturating_sub(self.open_before))
        });
        let tight = due.tight && rules.has(Rule::Tight);
        let full = due.full && rules.has(Rule::Full) && self.quiet >= retries;
        let proven = self.counted >= retries;
        // The first failure's time may be another clock's, and for how long the breaker was open under former owners is
        // not known: without as many failures seen here, with a closed one, it tells nothing.
        if rules.has(Rule::GiveUp) && self.failures >= retries && !due.open {
            if waited >= settings.unproven.max(settings.hold_for) {
                // Followers of a proven one are held for as long as that one was.
                return Verdict::Dead { given_up: !proven };
            }
            if due.given_up {
                return Verdict::Dead { given_up: false };
            }
        }
        let dead = proven && (waited >= settings.hold_for || tight)
            || due.follows && tight && (self.counted >= 1 || full)
            || full && self.quiet_after >= 2;
        if dead && !due.open {
            Verdict::Dead { given_up: false }
        } else {
            Verdict::Again
        }
    }
}

/// Milliseconds until the next attempt: exponential, with full jitter.
pub fn backoff(settings: &Settings, tries: u32, random: &mut StdRng) -> u64 {
    let doubled = settings
        .backoff_first
        .saturating_mul(1 << tries.saturating_sub(1).min(30));
    random.gen_range(1..=doubled.clamp(1, settings.backoff_longest.max(1)))
}

/// The latest successes of two lanes, which is all that "another lane" asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Successes {
    started: Latest,
    ended: Latest,
}

impl Successes {
    /// An attempt of this lane succeeded; numbers of its start and its end.
    pub fn push(&mut self, lane: LaneKey, started: u64, ended: u64) {
        self.started.push(lane, started);
        self.ended.push(lane, ended);
    }

    /// Whether an attempt of another lane started after this and succeeded.
    #[must_use]
    pub fn started_after(&self, number: u64, lane: &LaneKey) -> bool {
        self.started.of_others(lane) > number
    }

    /// Whether an attempt of another lane succeeded after this.
    #[must_use]
    pub fn ended_after(&self, number: u64, lane: &LaneKey) -> bool {
        self.ended.of_others(lane) > number
    }
}

/// The largest number, and the largest of any other lane.
#[derive(Debug, Clone, Copy, Default)]
struct Latest {
    best: Option<(LaneKey, u64)>,
    other: Option<(LaneKey, u64)>,
}

impl Latest {
    fn push(&mut self, lane: LaneKey, number: u64) {
        match &mut self.best {
            None => self.best = Some((lane, number)),
            Some((best, most)) if *best == lane => *most = number.max(*most),
            Some((_, most)) if number > *most => {
                self.other = self.best;
                self.best = Some((lane, number));
            }
            Some(_) => {
                if self.other.is_none_or(|(_, most)| number > most) {
                    self.other = Some((lane, number));
                }
            }
        }
    }

    fn of_others(&self, lane: &LaneKey) -> u64 {
        let latest = match &self.best {
            Some((best, _)) if best == lane => &self.other,
            best => best,
        };
        latest.map_or(0, |(_, number)| number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use std::num::NonZeroU32;

    const NOW: Now = Now {
        mono: 1_000,
        unix: 1_700_000_000_000,
    };
    const LANE: LaneKey = LaneKey::Key(0, 1);
    const OTHER: LaneKey = LaneKey::Key(0, 2);
    const FAILED: Failure = Failure {
        number: 10,
        closed: true,
        others: false,
        hold: false,
        open_ms: 0,
    };
    const DUE: Due = Due {
        open: false,
        open_ms: 0,
        tight: false,
        full: false,
        follows: false,
        given_up: false,
    };

    fn once() -> Settings {
        Settings {
            retries: NonZeroU32::MIN,
            ..Settings::default()
        }
    }

    fn after(failure: Failure, successes: &[(LaneKey, u64, u64)]) -> Verdict {
        let mut others = Successes::default();
        let mut tries = Tries::default();
        tries.failed(Rules::all(), NOW, &LANE, &others, failure);
        for (lane, start, end) in successes {
            others.push(*lane, *start, *end);
        }
        tries.due(Rules::all(), &once(), NOW, &LANE, &others, DUE)
    }

    #[test]
    fn a_failure_counts_once_another_lane_has_started_and_succeeded_behind_it() {
        let dead = Verdict::Dead { given_up: false };
        assert_eq!(after(FAILED, &[]), Verdict::Again);
        assert_eq!(after(FAILED, &[(LANE, 11, 12)]), Verdict::Again);
        assert_eq!(after(FAILED, &[(OTHER, 9, 12)]), Verdict::Again);
        assert_eq!(after(FAILED, &[(OTHER, 11, 12)]), dead);
        assert_eq!(
            after(
                Failure {
                    closed: false,
                    ..FAILED
                },
                &[(OTHER, 11, 12)]
            ),
            Verdict::Again
        );
        assert_eq!(
            after(
                Failure {
                    others: true,
                    ..FAILED
                },
                &[(OTHER, 11, 12)]
            ),
            Verdict::Again
        );
        assert_eq!(
            after(Failure { hold: true, ..FAILED }, &[(OTHER, 11, 12)]),
            Verdict::Again
        );
    }

    #[test]
    fn a_second_failure_counts_only_with_a_success_between_the_two() {
        let settings = Settings {
            retries: NonZeroU32::MIN.saturating_add(1),
            ..Settings::default()
        };
        for between in [false, true] {
            let mut others = Successes::default();
            let mut tries = Tries {
                counted: 1,
                ..Tries::default()
            };
            tries.failed(Rules::all(), NOW, &LANE, &others, FAILED);
            if between {
                others.push(OTHER, 5, 11);
            }
            tries.failed(
                Rules::all(),
                NOW,
                &LANE,
                &others,
                Failure { number: 20, ..FAILED },
            );
            others.push(OTHER, 21, 22);
            let verdict = tries.due(Rules::all(), &settings, NOW, &LANE, &others, DUE);
            assert_eq!(verdict != Verdict::Again, between);
        }
    }

    #[test]
    fn the_last_key_of_a_quiet_topic_is_given_up_after_an_hour_without_an_open_breaker() {
        let mut tries = Tries::default();
        tries.failed(Rules::all(), NOW, &LANE, &Successes::default(), FAILED);
        let mut due = |ms: i64, open_ms| {
            let now = Now {
                unix: NOW.unix + ms,
                ..NOW
            };
            tries.due(
                Rules::all(),
                &once(),
                now,
                &LANE,
                &Successes::default(),
                Due { open_ms, ..DUE },
            )
        };
        assert_eq!(due(3_599_999, 0), Verdict::Again);
        assert_eq!(due(3_600_001, 5), Verdict::Again);
        assert_eq!(due(3_600_000, 0), Verdict::Dead { given_up: true });
    }

    #[test]
    fn a_proven_record_is_held_for_as_long_as_asked_unless_room_is_short() {
        let settings = Settings {
            hold_for: 86_400_000,
            ..once()
        };
        let mut tries = Tries {
            counted: 1,
            failures: 1,
            first_failed: Some(NOW.unix),
            ..Tries::default()
        };
        let mut due = |ms: i64, tight| {
            let now = Now {
                unix: NOW.unix + ms,
                ..NOW
            };
            tries.due(
                Rules::all(),
                &settings,
                now,
                &LANE,
                &Successes::default(),
                Due { tight, ..DUE },
            )
        };
        assert_eq!(due(86_399_999, false), Verdict::Again);
        assert_eq!(due(0, true), Verdict::Dead { given_up: false });
        assert_eq!(due(86_400_000, false), Verdict::Dead { given_up: false });
    }

    #[test]
    fn a_due_time_of_a_clock_that_is_ahead_does_not_hide_the_first_failure() {
        let held = Held {
            tries: 3,
            counted: 2,
            first_failed: NOW.unix + 1_000_000,
            due: 0,
        };
        let tries = Tries::resumed(&held, NOW, 0);
        assert_eq!(
            (tries.tries, tries.counted, tries.first_failed),
            (3, 2, Some(NOW.unix))
        );
    }

    proptest! {
        #[test]
        fn another_lane_is_found_as_by_looking_at_all(log in prop::collection::vec((0u64..4, 1u64..50), 0..40), lane in 0u64..5, number in 0u64..50) {
            let mut others = Successes::default();
            for (key, start) in &log {
                others.push(LaneKey::Key(0, *key), *start, *start);
            }
            let expected = log.iter().any(|(key, start)| *key != lane && *start > number);
            prop_assert_eq!(others.started_after(number, &LaneKey::Key(0, lane)), expected);
        }

        #[test]
        fn a_backoff_is_within_its_bounds(tries in 0u32..100, seed: u64) {
            let settings = Settings::default();
            let wait = backoff(&settings, tries, &mut StdRng::seed_from_u64(seed));
            let most = settings.backoff_first << tries.saturating_sub(1).min(20);
            prop_assert!(wait >= 1 && wait <= most.min(settings.backoff_longest));
        }
    }
}
