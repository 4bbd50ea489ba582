//! The faster of two clocks. Pure.

/// How far the clocks go, in nanoseconds, before their advance is added up for good. At each such step the delay between
/// the two readings may count twice, so there are not to be too many of them.
const STEP: i64 = 10_000_000;

/// Adds up, step by step, the larger advance of two clocks, either of which may jump. The larger of the two sums would
/// not do: after a wall clock was set ahead and back again, it would stand still until the other has caught up, and a
/// lease taken in between would last so much longer.
#[derive(Debug)]
pub(super) struct LeaseClock {
    /// The two at the last step; none before the first reading.
    last: Option<(i64, i64)>,
    /// Up to the last step.
    sum: u64,
    /// The latest answer: it never goes back.
    told: u64,
}

impl LeaseClock {
    pub(super) const fn new() -> Self {
        Self {
            last: None,
            sum: 0,
            told: 0,
        }
    }

    /// Both clocks' readings to the time of this one, all in nanoseconds.
    pub(super) fn read(&mut self, boot: i64, wall: i64) -> u64 {
        let (last_boot, last_wall) = *self.last.get_or_insert((boot, wall));
        let (by_boot, by_wall) = (boot.saturating_sub(last_boot), wall.saturating_sub(last_wall));
        let advance = by_boot.max(by_wall).max(0);
        let sum = self.sum.saturating_add(advance.unsigned_abs());
        // A wall clock that was set back begins a new step as well, or the next advance would be hidden in its arrears.
        if advance >= STEP || by_wall < 0 {
            self.last = Some((boot, wall));
            self.sum = sum;
        }
        self.told = self.told.max(sum);
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const HOUR: i64 = 3_600 * SECOND;

    /// Readings of boot and wall clock in order → what is told last.
    fn told(readings: &[(i64, i64)]) -> i64 {
        let mut clock = LeaseClock::new();
        let all: Vec<u64> = readings
            .iter()
            .map(|(boot, wall)| clock.read(*boot, *wall))
            .collect();
        assert!(all.is_sorted(), "{all:?}");
        i64::try_from(*all.last().unwrap()).unwrap()
    }

    #[test]
    fn suspension_counts_by_whichever_clock_saw_it() {
        assert_eq!(told(&[(0, 0), (30 * SECOND, SECOND)]), 30 * SECOND);
        assert_eq!(told(&[(0, 0), (SECOND, 30 * SECOND)]), 30 * SECOND);
    }

    #[test]
    fn a_wall_clock_set_ahead_and_back_does_not_make_it_stand_still() {
        let end = told(&[
            (0, 0),
            (SECOND, HOUR),
            (2 * SECOND, HOUR + SECOND),
            (3 * SECOND, 3 * SECOND),
            (4 * SECOND, 4 * SECOND),
        ]);
        assert_eq!(end, HOUR + 3 * SECOND);
    }

    #[test]
    fn a_wall_clock_set_back_and_ahead_counts_once() {
        let end = told(&[(0, HOUR), (SECOND, 0), (2 * SECOND, SECOND), (3 * SECOND, HOUR)]);
        assert_eq!(end, 2 * SECOND + (HOUR - SECOND));
    }

    #[test]
    fn small_steps_add_up_to_the_whole() {
        let readings: Vec<_> = (0..=2_000).map(|n| (n * 1_000_000, n * 1_000_100)).collect();
        let end = told(&readings);
        assert!((2 * SECOND..=2 * SECOND + 1_000_000).contains(&end), "{end}");
    }
}
