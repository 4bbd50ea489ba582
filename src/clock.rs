//! The only door to time and randomness: everything else takes them as arguments.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the one door to the clock and to randomness"
)]

mod lease;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};

use lease::LeaseClock;

/// The monotonic clock's present instant.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits until then; for ever, if there is nothing to wait for.
pub async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The wall clock in milliseconds since the epoch, as Kafka's timestamps are.
#[must_use]
pub fn unix_millis() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// CLOCK_MONOTONIC in milliseconds, which is what [`now`] goes by: for waiting.
#[must_use]
pub fn mono_millis() -> u64 {
    millis(clock_gettime(ClockId::Monotonic))
}

/// The clock of leases in milliseconds: the faster of CLOCK_BOOTTIME, which goes on while the machine is suspended, and
/// the wall clock, which is set right after a virtual machine was stopped from outside. It never goes back; from one
/// process to the next its numbers mean nothing.
#[must_use]
pub fn lease_millis() -> u64 {
    static CLOCK: Mutex<LeaseClock> = Mutex::new(LeaseClock::new());
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let boot = nanos(clock_gettime(ClockId::Boottime));
    let wall = nanos(clock_gettime(ClockId::Realtime));
    clock.read(boot, wall) / 1_000_000
}

fn nanos(time: Timespec) -> i64 {
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec)
}

fn millis(time: Timespec) -> u64 {
    u64::try_from(nanos(time) / 1_000_000).unwrap_or(0)
}

/// Sixty-four random bits from the system's generator.
#[must_use]
pub fn random() -> u64 {
    rand::random()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_go_on_and_at_about_the_same_pace() {
        let (mono, lease) = (mono_millis(), lease_millis());
        let until = now() + Duration::from_millis(30);
        while now() < until {
            std::hint::spin_loop();
        }
        assert!(mono_millis() >= mono + 29);
        assert!(lease_millis() >= lease + 29);
    }
}
