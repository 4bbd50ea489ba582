//! Slots, rate and buffer: how much may happen at once.

use super::lanes::Charge;
use super::rules::{Rule, Rules};
use super::{Concurrency, Now};

/// `--concurrency auto` begins with so many slots,
const AUTO_FIRST: f64 = 8.0;
/// has so many at most,
const AUTO_MOST: f64 = 1024.0;
/// and looks once in so many milliseconds.
const AUTO_EVERY_MS: u64 = 1_000;

/// What a slot is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A first attempt.
    Fresh,
    /// A later one.
    Again,
}

/// Handlers that may run at once.
#[derive(Debug)]
pub struct Slots {
    auto: bool,
    most: f64,
    /// After an outage: grows by one with each success, so it doubles with each round.
    ramp: Option<f64>,
    running: u32,
    again: u32,
    turn: u32,
    auto_at: u64,
    auto_peak: u32,
    auto_cut: u64,
}

impl Slots {
    /// All free.
    #[must_use]
    pub fn new(concurrency: Concurrency) -> Self {
        let (auto, most) = match concurrency {
            Concurrency::Fixed(most) => (false, f64::from(most.get())),
            Concurrency::Auto => (true, AUTO_FIRST),
        };
        Self {
            auto,
            most,
            ramp: None,
            running: 0,
            again: 0,
            turn: 0,
            auto_at: 0,
            auto_peak: 0,
            auto_cut: 0,
        }
    }

    /// Slots that there are.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "between 1 and 2^32, as Concurrency says"
    )]
    pub fn limit(&self) -> u32 {
        self.ramp.map_or(self.most, |ramp| ramp.min(self.most)).max(1.0) as u32
    }

    /// Handlers that run.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.running
    }

    /// Whether none is free.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.running >= self.limit()
    }

    /// What the next free slot is for, given what there is.
    #[must_use]
    pub fn pick(&self, rules: Rules, fresh: bool, again: bool) -> Option<Kind> {
        if self.is_full() {
            return None;
        }
        let shared = rules.has(Rule::Share);
        let again = again && (!shared || self.again < (self.limit() / 4).max(1));
        match (fresh, again) {
            (true, true) if shared && self.turn % 4 != 3 => Some(Kind::Fresh),
            (_, true) => Some(Kind::Again),
            (true, false) => Some(Kind::Fresh),
            (false, false) => None,
        }
    }

    /// Takes one.
    pub fn take(&mut self, kind: Kind) {
        self.running += 1;
        self.again += u32::from(kind == Kind::Again);
        self.turn = self.turn.wrapping_add(1);
        self.auto_peak = self.auto_peak.max(self.running);
    }

    /// Gives one back.
    pub fn give(&mut self, kind: Kind) {
        self.running -= 1;
        self.again -= u32::from(kind == Kind::Again);
    }

    /// A handler succeeded: the way up after an outage.
    pub fn succeeded(&mut self) {
        if let Some(ramp) = &mut self.ramp {
            *ramp += 1.0;
            if *ramp >= self.most {
                self.ramp = None;
            }
        }
    }

    /// The breaker closed: begin with one.
    pub fn restart(&mut self) {
        self.ramp = Some(1.0);
    }

    /// An attempt was lost, or answered with 429 or 503: fewer, at most once a second.
    pub fn overloaded(&mut self, now: Now) {
        if self.auto && now.mono >= self.auto_cut {
            self.most = (self.most * 0.7).max(1.0);
            self.auto_cut = now.mono + AUTO_EVERY_MS;
        }
    }

    /// Once a second: one more if nearly all were in use.
    pub fn tick(&mut self, now: Now) {
        if self.auto && now.mono >= self.auto_at {
            if f64::from(self.auto_peak) >= 0.9 * f64::from(self.limit()) && self.ramp.is_none() {
                self.most = (self.most + 1.0).min(AUTO_MOST);
            }
            self.auto_peak = self.running;
            self.auto_at = now.mono + AUTO_EVERY_MS;
        }
    }
}

/// Starts a second.
#[derive(Debug, Default)]
pub struct Rate {
    per_second: Option<f64>,
    /// Starts that are allowed now: up to a tenth of a second's.
    left: f64,
    at: u64,
}

impl Rate {
    /// So many from now on; none for as many as there can be.
    pub fn set(&mut self, per_second: Option<f64>) {
        self.per_second = per_second.filter(|rate| rate.is_finite() && *rate > 0.0);
        self.left = self.left.min(self.burst());
    }

    fn burst(&self) -> f64 {
        self.per_second.map_or(1.0, |rate| (rate / 10.0).max(1.0))
    }

    /// When the next start is allowed, if it is not now: milliseconds of the monotonic clock.
    #[expect(clippy::cast_possible_truncation, reason = "spans of time that fit by far")]
    pub fn wait(&mut self, now: Now) -> Option<u64> {
        let rate = self.per_second?;
        let passed = now.mono.saturating_sub(self.at) as f64 / 1_000.0;
        self.at = now.mono;
        self.left = (self.left + passed * rate).min(self.burst());
        (self.left < 1.0).then(|| now.mono + ((1.0 - self.left) / rate * 1_000.0).ceil().max(1.0) as u64)
    }

    /// One is started.
    pub fn take(&mut self) {
        if self.per_second.is_some() {
            self.left -= 1.0;
        }
    }
}

/// The bodies in memory, in bytes: half of the bound for whoever needs it, half in equal sure shares.
#[derive(Debug)]
pub struct Buffer {
    max: u64,
    partitions: u64,
    used: u64,
    reloaded: u64,
}

/// What one partition has of it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Share {
    used: u64,
    reloaded: u64,
}

impl Share {
    /// Whether none of the bodies that came are its own.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.used == 0
    }
}

impl Buffer {
    /// Of `max` bytes.
    #[must_use]
    pub fn new(max: u64) -> Self {
        Self {
            max,
            partitions: 0,
            used: 0,
            reloaded: 0,
        }
    }

    /// Partitions that share it.
    pub fn set_partitions(&mut self, partitions: usize) {
        self.partitions = partitions as u64;
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used + self.reloaded
    }

    /// What is sure for each partition.
    fn sure(&self) -> u64 {
        self.max / 2 / self.partitions.max(1)
    }

    /// Whether there is room for so many bytes of a partition, when `tenths` of it are to stay free.
    /// One record has room always.
    #[must_use]
    pub fn has_room(&self, share: Share, size: u32, tenths: u64) -> bool {
        let size = u64::from(size);
        let of = |bytes: u64| bytes - bytes / 10 * tenths;
        share.used == 0 || share.used + size <= of(self.sure()) || self.used + size <= of(self.max / 2)
    }

    /// Whether a record may be fetched again: an eighth of the bound goes beyond it for these, and one of each partition
    /// always comes.
    #[must_use]
    pub fn may_reload(&self, share: Share) -> bool {
        share.reloaded == 0 || self.reloaded <= self.max / 8
    }

    /// A body has come.
    pub fn take(&mut self, share: &mut Share, size: u32, charge: Charge) {
        let size = u64::from(size);
        match charge {
            Charge::Reloaded => {
                share.reloaded += size;
                self.reloaded += size;
            }
            Charge::Fetched => {
                share.used += size;
                self.used += size;
            }
        }
    }

    /// A body has gone.
    pub fn give(&mut self, share: &mut Share, size: u32, charge: Charge) {
        let size = u64::from(size);
        match charge {
            Charge::Reloaded => {
                share.reloaded -= size;
                self.reloaded -= size;
            }
            Charge::Fetched => {
                share.used -= size;
                self.used -= size;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    fn at(mono: u64) -> Now {
        Now { mono, unix: 0 }
    }

    fn slots(most: u32) -> Slots {
        Slots::new(Concurrency::Fixed(NonZeroU32::new(most).unwrap()))
    }

    #[test]
    fn retries_hold_a_quarter_of_the_slots_and_get_every_fourth_start() {
        let mut slots = slots(16);
        let mut kinds = Vec::new();
        while let Some(kind) = slots.pick(Rules::all(), true, true) {
            slots.take(kind);
            kinds.push(kind);
        }
        let again: Vec<_> = (0..kinds.len()).filter(|i| kinds[*i] == Kind::Again).collect();
        assert_eq!(again, [3, 7, 11, 15]);
        slots.give(Kind::Fresh);
        assert_eq!(slots.pick(Rules::all(), false, true), None);
    }

    #[test]
    fn one_slot_serves_retries_too() {
        let mut slots = slots(1);
        for kind in [Kind::Fresh, Kind::Fresh, Kind::Fresh, Kind::Again] {
            assert_eq!(slots.pick(Rules::all(), true, true), Some(kind));
            slots.take(kind);
            assert!(slots.is_full());
            slots.give(kind);
        }
    }

    #[test]
    fn after_an_outage_the_slots_double() {
        let mut slots = slots(10);
        slots.restart();
        for limit in [1, 2, 4, 8, 10] {
            assert_eq!(slots.limit(), limit);
            for _ in 0..limit {
                slots.succeeded();
            }
        }
    }

    #[test]
    fn automatic_slots_grow_by_one_a_second_and_shrink_once_a_second() {
        let mut slots = Slots::new(Concurrency::Auto);
        for second in 0..3u64 {
            while let Some(kind) = slots.pick(Rules::all(), true, false) {
                slots.take(kind);
            }
            slots.tick(at(second * 1_000));
        }
        assert_eq!(slots.limit(), 11);
        slots.overloaded(at(3_000));
        slots.overloaded(at(3_500));
        assert_eq!(slots.limit(), 7);
    }

    #[test]
    fn a_rate_is_kept_over_a_minute() {
        let mut rate = Rate::default();
        rate.set(Some(50.0));
        let mut started = 0;
        let mut now = 0;
        while now < 60_000 {
            match rate.wait(at(now)) {
                None => {
                    rate.take();
                    started += 1;
                }
                Some(next) => now = next,
            }
        }
        assert!((2_900..=3_010).contains(&started), "{started}");
    }

    proptest! {
        #[test]
        fn the_buffer_holds_no_more_than_its_bound_and_each_partition_gets_its_share(
            steps in prop::collection::vec((0usize..4, 1u32..100, any::<bool>()), 1..400)
        ) {
            let mut buffer = Buffer::new(2_000);
            buffer.set_partitions(4);
            let mut shares = [Share::default(); 4];
            let mut bodies: [Vec<u32>; 4] = Default::default();
            for (who, size, give) in steps {
                let share = &mut shares[who];
                if give {
                    if let Some(size) = bodies[who].pop() {
                        buffer.give(share, size, Charge::Fetched);
                    }
                } else if buffer.has_room(*share, size, 0) {
                    buffer.take(share, size, Charge::Fetched);
                    bodies[who].push(size);
                } else {
                    prop_assert!(share.used + u64::from(size) > 250, "less than its sure share");
                }
                prop_assert!(buffer.used() <= 2_000);
            }
        }
    }
}
