//! When to try again: an exponential schedule with injected randomness.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Delays that double from `first` to `longest`, each spread by a fifth to both sides,
/// so that processes which lost the same broker do not come back as one.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
    random: StdRng,
}

impl Backoff {
    /// A schedule of its own: the same seed gives the same delays.
    #[must_use]
    pub fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self {
            next: first.min(longest),
            longest,
            random: StdRng::seed_from_u64(seed),
        }
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    /// Never ends.
    fn next(&mut self) -> Option<Duration> {
        let delay = self.next.mul_f64(self.random.gen_range(0.8..1.2));
        self.next = (self.next * 2).min(self.longest);
        Some(delay.min(self.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(1);

    #[test]
    fn delays_double_up_to_the_longest_and_stay_within_a_fifth() {
        for seed in 0..100 {
            for (i, delay) in Backoff::new(FIRST, LONGEST, seed).take(12).enumerate() {
                let plain = (FIRST * 2u32.pow(u32::try_from(i).unwrap())).min(LONGEST);
                assert!(
                    delay >= plain.mul_f64(0.79) && delay <= plain.mul_f64(1.2).min(LONGEST),
                    "seed {seed}, delay {i}: {delay:?} of {plain:?}"
                );
            }
        }
    }

    #[test]
    fn equal_seeds_give_equal_delays_and_others_do_not() {
        let take = |seed| Backoff::new(FIRST, LONGEST, seed).take(5).collect::<Vec<_>>();
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
    }
}
