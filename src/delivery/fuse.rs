//! The fuse: a bad deploy that refuses everything does not turn a topic into dead letters.

use std::collections::{BTreeSet, VecDeque};

use super::lanes::LaneKey;

/// Finished records that are looked at.
const WINDOW: usize = 100;
/// As many have to be there at least.
const LEAST: usize = 20;
/// Lanes that have to be among the rejected ones at least.
const LANES: usize = 5;
/// Batches in a row that cannot be decoded.
const UNDECODABLE: u32 = 2;

/// Whole or blown.
#[derive(Debug, Default)]
pub struct Fuse {
    blown: bool,
    window: VecDeque<(LaneKey, bool)>,
    rejected: usize,
    undecodable: u32,
}

impl Fuse {
    /// Whether it has blown: nothing is rejected.
    #[must_use]
    pub fn is_blown(&self) -> bool {
        self.blown
    }

    /// What blew it, for people.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        // Nothing is counted any more once it has blown.
        let (rejected, of) = (self.rejected, self.window.len());
        self.blown.then(|| match of >= LEAST && rejected * 2 > of {
            true => format!("{rejected} of the last {of} events were refused"),
            false => "batches in a row could not be decoded".to_owned(),
        })
    }

    /// A record is finished, or would be rejected now. Whether the fuse blows by it.
    pub fn push(&mut self, lane: LaneKey, rejected: bool) -> bool {
        if self.blown {
            return false;
        }
        if self.window.len() == WINDOW {
            let old = self.window.pop_front();
            self.rejected -= usize::from(old.is_some_and(|(_, rejected)| rejected));
        }
        self.window.push_back((lane, rejected));
        self.rejected += usize::from(rejected);
        if rejected && self.window.len() >= LEAST && self.rejected * 2 > self.window.len() {
            let lanes = self
                .window
                .iter()
                .filter(|(_, rejected)| *rejected)
                .map(|(lane, _)| lane);
            self.blown = lanes.collect::<BTreeSet<_>>().len() >= LANES;
        }
        self.blown
    }

    /// A batch was read, and can be decoded or not. Whether the fuse blows by it.
    pub fn batch(&mut self, decodable: bool) -> bool {
        self.undecodable = if decodable { 0 } else { self.undecodable + 1 };
        let blows = !self.blown && self.undecodable >= UNDECODABLE;
        self.blown |= blows;
        blows
    }

    /// An operator says that it is well again.
    pub fn resume(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lane(key: u64) -> LaneKey {
        LaneKey::Key(0, key)
    }

    #[test]
    fn a_deploy_that_refuses_everything_costs_nineteen_dead_letters() {
        let mut fuse = Fuse::default();
        let blown = (0..100).position(|key| fuse.push(lane(key), true));
        assert_eq!(blown, Some(19));
        assert_eq!(
            fuse.why().as_deref(),
            Some("20 of the last 20 events were refused")
        );
        fuse.resume();
        assert!(!fuse.is_blown() && fuse.why().is_none());
    }

    #[test]
    fn two_batches_in_a_row_that_cannot_be_decoded_blow_it() {
        let mut fuse = Fuse::default();
        assert!(!fuse.batch(false) && !fuse.batch(true) && !fuse.batch(false));
        assert!(fuse.batch(false));
        assert!(fuse.why().is_some_and(|why| why.contains("decoded")));
    }

    proptest! {
        #[test]
        fn it_never_blows_while_half_of_the_last_hundred_are_fine_or_by_four_keys(
            log in prop::collection::vec((0u64..20, 0u32..10), 0..400), keys in 1u64..20
        ) {
            let mut fuse = Fuse::default();
            let mut all: Vec<(u64, bool)> = Vec::new();
            for (key, roll) in log {
                let key = key % keys;
                let rejected = roll < 6;
                all.push((key, rejected));
                let last = &all[all.len().saturating_sub(100)..];
                let bad: BTreeSet<u64> = last.iter().filter(|x| x.1).map(|x| x.0).collect();
                let count = last.iter().filter(|x| x.1).count();
                let blown = fuse.push(lane(key), rejected);
                prop_assert_eq!(blown, rejected && last.len() >= 20 && count * 2 > last.len() && bad.len() >= 5);
                if blown { break }
            }
        }
    }
}
