//! When answers are waited for a moment longer, so that several are taken at once.
//!
//! A handler that answers tens of thousands of events a second wakes this process for nearly each of them, and is kept by that itself:
//! between two processes of one machine, waking costs about as much as all else of a delivery (docs/performance.md). Where every slot
//! is taken nothing can be started before an answer, so that a pause much shorter than an answer takes delays nothing but a slot's
//! next use. A worker's answers come through a pipe, many at a time: `--http` alone is waited for. Pure: the pipeline tells the time,
//! and pauses.

use std::time::{Duration, Instant};

/// Of the time that an answer takes, a pause has at most this part: a handler that takes any number of events at once is kept from
/// this part of its work at most.
const PART: f64 = 16.0;
/// Longest pause: leases, fetches and signals wait for it as well.
const LONGEST: Duration = Duration::from_micros(150);
/// Shorter ones are not worth the system's timer, which takes as long in addition.
const SHORTEST: Duration = Duration::from_micros(60);
/// What the system's timer may add to a pause (its default slack).
const SLACK: Duration = Duration::from_micros(50);
/// So many answers are to be gained by a pause, at least.
const WORTH: f64 = 2.0;
/// With fewer slots the handler would run out of work.
const SLOTS: u32 = 16;
/// How long answers are counted before they make a rate, and for how long that is believed.
const WINDOW: Duration = Duration::from_millis(5);
const BELIEVED: Duration = Duration::from_millis(50);

/// How fast answers come.
#[derive(Debug)]
pub(super) struct Gathering {
    since: Instant,
    answers: u32,
    /// Answers a second, in the window before this one.
    rate: f64,
}

impl Gathering {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            answers: 0,
            rate: 0.0,
        }
    }

    /// An answer has come.
    pub(super) fn note(&mut self) {
        self.answers = self.answers.saturating_add(1);
    }

    /// How long to pause now, before the next answers are looked for.
    pub(super) fn pause(&mut self, now: Instant, (running, slots): (u32, u32)) -> Option<Duration> {
        let passed = now.saturating_duration_since(self.since);
        if passed >= WINDOW {
            let rate = f64::from(self.answers) / passed.as_secs_f64();
            (self.since, self.answers) = (now, 0);
            self.rate = if passed < BELIEVED { rate } else { 0.0 };
        }
        if running < slots || running < SLOTS || self.rate <= 0.0 {
            return None;
        }
        let answer = f64::from(running) / self.rate;
        let pause = LONGEST.min(Duration::from_secs_f64((answer / PART).min(1.0)));
        let worth = pause.as_secs_f64() * self.rate >= WORTH;
        (worth && pause >= SHORTEST).then(|| pause.saturating_sub(SLACK))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is paused where a handler with these slots gives that many answers a second, told in turns of `each`.
    fn paused(rate: u32, slots: (u32, u32), each: u32) -> Option<Duration> {
        let begin = crate::clock::now();
        let mut gathering = Gathering::new(begin);
        let mut last = None;
        for turn in 1..=(rate / each).max(20) {
            (0..each).for_each(|_| gathering.note());
            let now = begin + Duration::from_secs(u64::from(turn * each)) / rate;
            last = gathering.pause(now, slots);
        }
        last
    }

    #[test]
    fn a_handler_that_answers_at_once_is_left_to_gather_a_few() {
        for each in [1, 3, 10] {
            let pause = paused(33_000, (64, 64), each).unwrap();
            assert!(
                pause <= LONGEST && pause >= SHORTEST.saturating_sub(SLACK),
                "{pause:?}"
            );
            let answers = 64.0 / 33_000.0;
            assert!(
                (pause + SLACK).as_secs_f64() <= answers / PART + 1e-6,
                "{pause:?}"
            );
        }
    }

    #[test]
    fn where_it_would_gain_nothing_there_is_no_pause() {
        // Free slots: something else may start.
        assert_eq!(paused(33_000, (63, 64), 3), None);
        // Few slots.
        assert_eq!(paused(33_000, (8, 8), 3), None);
        // Answers that take 50 ms each: none would come meanwhile.
        assert_eq!(paused(1_280, (64, 64), 1), None);
        // So many that they come together anyway.
        assert_eq!(paused(300_000, (64, 64), 30), None);
    }

    #[test]
    fn what_was_long_ago_counts_no_more() {
        let begin = crate::clock::now();
        let mut gathering = Gathering::new(begin);
        (0..300).for_each(|_| gathering.note());
        assert!(
            gathering
                .pause(begin + Duration::from_millis(10), (64, 64))
                .is_some()
        );
        assert_eq!(gathering.pause(begin + Duration::from_secs(1), (64, 64)), None);
    }
}
