//! Pauses out of what was read when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::members::Seen;

/// What one change cost.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    /// The longest pause of each partition that changed its reader.
    moved: Vec<Duration>,
    /// Of each that did not.
    others: Vec<Duration>,
    /// Records seen twice.
    twice: usize,
}

impl Pauses {
    pub(crate) fn between(seen: &[Seen], since: Instant, before: &BTreeMap<i32, usize>) -> Self {
        let mut last: BTreeMap<i32, Instant> = BTreeMap::new();
        let mut longest: BTreeMap<i32, Duration> = BTreeMap::new();
        let mut known = BTreeSet::new();
        let mut twice = 0;
        for record in seen {
            let new = known.insert((record.partition, record.offset));
            if record.at >= since {
                twice += usize::from(!new);
                if let Some(last) = last.get(&record.partition) {
                    let pause = record.at - (*last).max(since);
                    let longest = longest.entry(record.partition).or_default();
                    *longest = pause.max(*longest);
                }
            }
            last.insert(record.partition, record.at);
        }
        let after: BTreeMap<i32, usize> = seen.iter().map(|seen| (seen.partition, seen.member)).collect();
        let mut pauses = Self {
            twice,
            ..Self::default()
        };
        for (partition, pause) in longest {
            if after.get(&partition) == before.get(&partition) {
                pauses.others.push(pause);
            } else {
                pauses.moved.push(pause);
            }
        }
        pauses
    }
}

/// What several changes of a kind cost.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    moved: Vec<Duration>,
    others: Vec<Duration>,
    twice: Vec<usize>,
}

impl Figures {
    pub(crate) fn add(&mut self, pauses: &Pauses) {
        self.moved.extend(&pauses.moved);
        self.others.extend(&pauses.others);
        self.twice.push(pauses.twice);
    }

    pub(crate) fn print(&mut self, client: &str, cause: &str) {
        self.moved.sort_unstable();
        self.others.sort_unstable();
        let ms = |of: Option<&Duration>| of.map_or("-".to_owned(), |of| of.as_millis().to_string());
        let median = |of: &[Duration]| ms(of.get(of.len() / 2));
        println!(
            "{client:<20} {cause:<7} {:>12} {:>12} {:>14} {:>12} {:>12.1}",
            median(&self.moved),
            ms(self.moved.last()),
            median(&self.others),
            ms(self.others.last()),
            self.twice.iter().sum::<usize>() as f64 / self.twice.len().max(1) as f64,
        );
    }
}
