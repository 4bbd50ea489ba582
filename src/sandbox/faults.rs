//! Faults on demand: which request they hit, seeded. Pure.

use serde::{Deserialize, Serialize};

/// A generator whose numbers follow from its seed (SplitMix64): equal seeds, equal faults.
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Whether something of this chance (0 to 1) happens.
    fn happens(&mut self, chance: f64) -> bool {
        // The upper 53 bits are all that a double has room for.
        let share = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        share < chance
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The answer comes `ms` later.
    Delay,
    /// The request is never carried out, nor answered.
    Drop,
    /// The connection is closed before the request is carried out.
    Disconnect,
    /// The request is carried out, and the connection closed instead of an answer.
    DisconnectAfter,
    /// Produce with acks=all: NOT_ENOUGH_REPLICAS.
    NotEnoughReplicas,
    /// Produce: KAFKA_STORAGE_ERROR.
    FullDisk,
    /// The answer says that the client is held back for `ms`, and it is.
    Throttle,
    /// Produce, Fetch and ListOffsets: NOT_LEADER_OR_FOLLOWER; the leader epoch rises at the beginning.
    LeaderMove,
}

/// A fault that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// Milliseconds, for delay and throttle.
    #[serde(default)]
    pub ms: u64,
    /// Only requests of this API, by Kafka's name of it (`Produce`); all of them otherwise.
    #[serde(default)]
    pub api: Option<String>,
    /// Only this topic, where the fault is one of partitions.
    #[serde(default)]
    pub topic: Option<String>,
    /// Only this partition.
    #[serde(default)]
    pub partition: Option<i32>,
    /// The chance that a request is hit, 0 to 1.
    #[serde(default = "always")]
    pub chance: f64,
    /// It ends when it has hit so often.
    #[serde(default)]
    pub count: Option<u64>,
    /// It ends after so many milliseconds.
    #[serde(default)]
    pub for_ms: Option<u64>,
}

fn always() -> f64 {
    1.0
}

#[derive(Debug)]
struct Active {
    fault: Fault,
    left: Option<u64>,
    ends: Option<u64>,
}

/// All that may go wrong now.
#[derive(Debug)]
pub(crate) struct Faults {
    active: Vec<Active>,
    pub(crate) dice: Dice,
    /// Added to the wall clock, in milliseconds.
    pub(crate) shift: i64,
}

impl Faults {
    /// None yet.
    pub(crate) fn new(seed: u64) -> Self {
        Faults {
            active: Vec::new(),
            dice: Dice(seed),
            shift: 0,
        }
    }

    pub(crate) fn add(&mut self, fault: Fault, now: u64) {
        self.active.push(Active {
            left: fault.count,
            ends: fault.for_ms.map(|ms| now.saturating_add(ms)),
            fault,
        });
    }

    /// Ends them all, and sets the clock right. Returns how many there were.
    pub(crate) fn clear(&mut self, now: u64) -> usize {
        self.active
            .retain(|active| active.ends.is_none_or(|ends| ends > now));
        self.shift = 0;
        std::mem::take(&mut self.active).len()
    }

    /// What is left of them.
    pub(crate) fn list(&mut self, now: u64) -> Vec<Fault> {
        self.active
            .retain(|active| active.ends.is_none_or(|ends| ends > now));
        let left = |active: &Active| Fault {
            count: active.left,
            for_ms: active.ends.map(|ends| ends - now),
            ..active.fault.clone()
        };
        self.active.iter().map(left).collect()
    }

    /// Whether a fault of one of these kinds hits, and by how many milliseconds.
    fn hits(&mut self, kinds: &[Kind], now: u64, concerns: impl Fn(&Fault) -> bool) -> Option<(Kind, u64)> {
        if self.active.is_empty() {
            return None;
        }
        self.active
            .retain(|active| active.left != Some(0) && active.ends.is_none_or(|ends| ends > now));
        let Faults { active, dice, .. } = self;
        let hit = active.iter_mut().find(|active| {
            let fault = &active.fault;
            kinds.contains(&fault.kind) && concerns(fault) && dice.happens(fault.chance)
        })?;
        hit.left = hit.left.map(|left| left - 1);
        Some((hit.fault.kind, hit.fault.ms))
    }

    /// Whether a fault of one of these kinds hits a request.
    pub(crate) fn request(&mut self, kinds: &[Kind], api: &str, now: u64) -> Option<(Kind, u64)> {
        self.hits(kinds, now, |fault| {
            fault
                .api
                .as_deref()
                .is_none_or(|only| only.eq_ignore_ascii_case(api))
        })
    }

    /// Whether one of these kinds hits a partition.
    pub(crate) fn partition(
        &mut self,
        kinds: &[Kind],
        topic: &str,
        partition: i32,
        now: u64,
    ) -> Option<Kind> {
        let hit = self.hits(kinds, now, |fault| {
            fault.topic.as_deref().is_none_or(|only| only == topic)
                && fault.partition.is_none_or(|only| only == partition)
        });
        hit.map(|(kind, _)| kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: Kind) -> Fault {
        Fault {
            kind,
            ms: 5,
            api: None,
            topic: None,
            partition: None,
            chance: 1.0,
            count: None,
            for_ms: None,
        }
    }

    #[test]
    fn a_fault_ends_by_count_and_by_time() {
        let mut faults = Faults::new(1);
        faults.add(
            Fault {
                count: Some(2),
                ..fault(Kind::Delay)
            },
            0,
        );
        faults.add(
            Fault {
                for_ms: Some(100),
                ..fault(Kind::Drop)
            },
            0,
        );
        let kinds = [Kind::Delay, Kind::Drop];
        assert_eq!(faults.request(&kinds, "Fetch", 1), Some((Kind::Delay, 5)));
        assert_eq!(faults.request(&kinds, "Fetch", 1), Some((Kind::Delay, 5)));
        assert_eq!(faults.request(&kinds, "Fetch", 99), Some((Kind::Drop, 5)));
        assert_eq!(faults.request(&kinds, "Fetch", 100), None);
    }

    #[test]
    fn it_hits_only_what_it_is_about() {
        let mut faults = Faults::new(1);
        faults.add(
            Fault {
                api: Some("produce".to_owned()),
                ..fault(Kind::Drop)
            },
            0,
        );
        faults.add(
            Fault {
                topic: Some("a".to_owned()),
                partition: Some(1),
                ..fault(Kind::LeaderMove)
            },
            0,
        );
        assert_eq!(faults.request(&[Kind::Drop], "Fetch", 0), None);
        assert!(faults.request(&[Kind::Drop], "Produce", 0).is_some());
        assert_eq!(faults.partition(&[Kind::LeaderMove], "a", 0, 0), None);
        assert_eq!(faults.partition(&[Kind::LeaderMove], "b", 1, 0), None);
        assert_eq!(
            faults.partition(&[Kind::LeaderMove], "a", 1, 0),
            Some(Kind::LeaderMove)
        );
    }

    #[test]
    fn equal_seeds_give_equal_faults_about_as_often_as_asked() {
        let run = |seed| -> Vec<bool> {
            let mut faults = Faults::new(seed);
            faults.add(
                Fault {
                    chance: 0.25,
                    ..fault(Kind::Drop)
                },
                0,
            );
            (0..1000)
                .map(|_| faults.request(&[Kind::Drop], "Fetch", 0).is_some())
                .collect()
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
        let hits = run(3).iter().filter(|hit| **hit).count();
        assert!((200..300).contains(&hits), "{hits}");
    }
}
