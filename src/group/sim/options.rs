//! What a run is like: drawn from its seed and its scenario, printed with a failure.

use super::dice::Dice;

/// Which faults a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scenario {
    /// Everything at random: crashes, pauses, suspends, cut-off members, outages, operators, growth.
    Faults,
    /// Planned joins and leaves only: nothing may be done twice, nobody expired.
    Planned,
    /// Outages of the log only: nobody may be expired.
    Outages,
    /// As `Faults`, and somebody writes assignments at will: any assignment with the right basis has to be safe.
    Targets,
    /// As `Faults`, and the log loses its tail now and then.
    Unclean,
}

impl Scenario {
    pub(super) const ALL: [Self; 5] = [
        Self::Faults,
        Self::Planned,
        Self::Outages,
        Self::Targets,
        Self::Unclean,
    ];

    /// Whether the network loses, delays and doubles, and processes fail.
    pub(super) fn is_random(self) -> bool {
        !matches!(self, Self::Planned | Self::Outages)
    }
}

/// A run's parameters. Times in ms.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) scenario: Scenario,
    pub(super) seed: u64,
    pub(super) processes: usize,
    /// Of most members; some join with half of it.
    pub(super) session: u64,
    /// Partitions of the first topics; one more topic appears later.
    pub(super) partitions: Vec<i32>,
    /// Whether a partition without progress begins at its end.
    pub(super) latest: bool,
    /// Records in each partition at the beginning.
    pub(super) first_end: i64,
    /// A partition gets one record per so many ms.
    pub(super) rate: u64,
    /// Records of a partition that are handled at once.
    pub(super) parallel: usize,
    /// In a thousand handlers, so many ask for another try.
    pub(super) retries: u64,
    /// When one process stops reading for ever, if one does.
    pub(super) deaf_at: Option<u64>,
    /// When the faults end.
    pub(super) calm_at: u64,
    /// The longest that a cancelled handler goes on.
    pub(super) cancel: u64,
    /// The most bytes of `done` in a report, where it is not what it is outside of tests.
    pub(super) done_bytes: Option<usize>,
    /// The least distance of two marks, in bytes, where it is not what it is outside of tests.
    pub(super) mark_bytes: Option<usize>,
    /// Somebody writes a record that is void every so many ms.
    pub(super) noise: Option<u64>,
    /// Whether deleting from the log is allowed.
    pub(super) deletes: bool,
}

impl Options {
    pub(super) fn draw(scenario: Scenario, seed: u64, dice: &mut Dice) -> Self {
        let session = if dice.per_mille(700) { 2000 } else { 4000 };
        let most = if dice.per_mille(150) { 6 } else { 4 };
        let random = scenario.is_random();
        let processes = usize::try_from(dice.between(1 + u64::from(!random), most)).unwrap_or(2);
        let partition = |dice: &mut Dice| i32::try_from(dice.between(1, 3)).unwrap_or(1);
        // What does not fit in them is handled again: that takes many records at once.
        let few_bytes = random && dice.per_mille(150);
        Self {
            scenario,
            seed,
            processes,
            session,
            partitions: vec![partition(dice), partition(dice)],
            latest: dice.per_mille(300),
            first_end: i64::try_from(dice.below(60)).unwrap_or(0),
            rate: session / if few_bytes { 45 } else { 14 },
            parallel: if few_bytes || dice.per_mille(300) { 4 } else { 2 },
            retries: if random { 20 } else { 0 },
            deaf_at: (random && processes > 2 && dice.per_mille(100)).then(|| dice.between(2, 8) * session),
            // The longer runs see more snapshots.
            calm_at: session * if dice.per_mille(200) { 25 } else { 9 },
            cancel: session / if dice.per_mille(500) { 20 } else { 5 },
            done_bytes: few_bytes.then_some(4),
            mark_bytes: Some(4096),
            noise: (random && dice.per_mille(250)).then(|| dice.between(8, 40)),
            deletes: dice.per_mille(900),
        }
    }

    /// A time given in thousandths of a session.
    pub(super) fn ms(&self, thousandths: u64) -> u64 {
        thousandths * self.session / 1000
    }
}
