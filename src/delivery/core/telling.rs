//! What holds things back, for `groups why`.

use std::sync::Arc;

use super::Core;
use crate::delivery::lanes::Stage;
use crate::delivery::{Claim, Now};

/// An open breaker. Times in milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// Since when.
    pub since: i64,
    /// When the next record is tried; none while one is.
    pub probe: Option<i64>,
    /// What the attempt ended with that opened it.
    pub why: Option<Arc<str>>,
}

impl<B: Clone> Core<B> {
    /// Whether anything may be told of records that wait, or of the target: cheaper than to look at all of them.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        let held = |stream: &super::Stream| stream.track.progress().held.values().any(|held| held.tries > 0);
        self.breaker.is_open() || self.fuse.is_blown() || self.streams.values().any(held)
    }

    /// The breaker, if it is open.
    #[must_use]
    pub fn outage(&self, now: Now) -> Option<Outage> {
        Some(Outage {
            since: unix(now, self.breaker.opened_at()?),
            probe: self.breaker.probe_at().map(|at| unix(now, at)),
            why: self.opened_by.clone(),
        })
    }

    /// What blew the fuse, if it has blown.
    #[must_use]
    pub fn blown_by(&self) -> Option<String> {
        self.fuse.why()
    }

    /// Until when the target asked for a pause, if it did: milliseconds since the epoch.
    #[must_use]
    pub fn paused_until(&self, now: Now) -> Option<i64> {
        (self.paused_until > now.mono).then(|| unix(now, self.paused_until))
    }

    /// Why no more records of a partition are taken, if that is so: for people. It is so now and then where all is well.
    #[must_use]
    pub fn stopped(&self, claim: Claim) -> Option<String> {
        let stream = self.streams.get(&claim).filter(|stream| stream.stopped)?;
        let unfinished = stream.entries.len();
        Some(if unfinished >= stream.most {
            format!("{unfinished} of its events are not finished, as many as may be")
        } else {
            format!("there is no more room in --max-buffer ({unfinished} of its events are not finished)")
        })
    }

    /// The record that a handler has had for longest, and since when: milliseconds since the epoch.
    #[must_use]
    pub fn longest(&self, now: Now, claim: Claim) -> Option<(i64, i64)> {
        let stream = self.streams.get(&claim).filter(|stream| stream.running > 0)?;
        let running = stream.entries.iter().filter_map(|(offset, id)| {
            let Stage::Running { deadline, .. } = self.lanes.get(*id)?.stage else {
                return None;
            };
            Some((deadline.saturating_sub(self.settings.timeout), *offset))
        });
        let (since, offset) = running.min()?;
        Some((offset, unix(now, since)))
    }
}

/// A moment of the monotonic clock on the other one.
fn unix(now: Now, mono: u64) -> i64 {
    let (ahead, behind) = (mono.saturating_sub(now.mono), now.mono.saturating_sub(mono));
    let millis = |span: u64| i64::try_from(span).unwrap_or(i64::MAX);
    now.unix
        .saturating_add(millis(ahead))
        .saturating_sub(millis(behind))
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, Core, Grant};
    use super::*;
    use crate::delivery::rules::Rules;
    use crate::delivery::{Action, Fetched, Outcome, Settings, Start};
    use crate::progress::Progress;

    const NOW: Now = Now {
        mono: 50_000,
        unix: 1_700_000_000_000,
    };

    fn later(ms: u64) -> Now {
        Now {
            mono: NOW.mono + ms,
            unix: NOW.unix + i64::try_from(ms).unwrap(),
        }
    }

    /// A core that has begun with two records of two keys.
    fn begun() -> (Core<()>, Claim, Vec<Start<()>>) {
        let mut core = Core::new(Settings::default(), Rules::all(), 1);
        let claim = core.grant(NOW, ("t".into(), 0), 7, Progress::at(0, -1), Grant::default());
        let batch = Batch {
            offsets: 0..2,
            log_end: 2,
            epoch: 0,
            whole: true,
        };
        let record = |offset: i64| Fetched {
            offset,
            key: Some(offset.unsigned_abs()),
            id: None,
            timestamp: NOW.unix,
            size: 10,
            body: (),
            refused: None,
        };
        core.fetched(NOW, claim, batch, (0..2).map(record));
        core.poll(NOW, true);
        let starts = core.take_actions().into_iter().filter_map(|action| match action {
            Action::Start(start) => Some(start),
            _ => None,
        });
        (core, claim, starts.collect())
    }

    #[test]
    fn the_record_that_a_handler_has_had_for_longest_is_told_with_since_when() {
        let (mut core, claim, starts) = begun();
        assert_eq!(core.longest(later(9_000), claim), Some((0, NOW.unix)));
        core.outcome(later(9_000), starts[0].attempt, Outcome::Done, None);
        assert_eq!(core.longest(later(9_500), claim), Some((1, NOW.unix)));
        core.outcome(later(9_500), starts[1].attempt, Outcome::Done, None);
        assert_eq!(core.longest(later(9_500), claim), None);
        assert!(!core.holds_back() && core.outage(later(9_500)).is_none());
    }

    #[test]
    fn an_outage_is_told_with_what_began_it_and_the_next_probe() {
        let (mut core, _, starts) = begun();
        core.outcome(
            later(2_000),
            starts[1].attempt,
            Outcome::Hold,
            Some("refused".into()),
        );
        core.outcome(
            later(2_500),
            starts[0].attempt,
            Outcome::Hold,
            Some("other".into()),
        );
        let outage = core.outage(later(2_600)).unwrap();
        assert_eq!(outage.since, NOW.unix + 2_000);
        assert_eq!(outage.why.as_deref(), Some("refused"));
        assert_eq!(outage.probe, Some(NOW.unix + 2_500));
        assert!(core.holds_back());
        assert_eq!(core.waiting(later(2_600)).count(), 2);
    }
}
