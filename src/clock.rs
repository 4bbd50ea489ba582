//! The only door to time and randomness: everything else takes them as arguments.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the one door to the clock and to randomness"
)]

mod lease;

use std::pin::Pin;
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

/// Stops this thread, and all that it drives, for less than a millisecond: the runtime's timers know nothing below that.
pub fn nap(time: Duration) {
    std::thread::sleep(time.min(Duration::from_millis(1)));
}

/// A timer for a loop that wants to be woken at another time each time it goes round. The runtime's is touched only where it has to
/// be earlier than before, or has gone off: a [`sleep_until`] in each round would be entered and taken out each time.
#[derive(Debug, Default)]
pub struct Alarm(Option<Pin<Box<tokio::time::Sleep>>>);

impl Alarm {
    /// Waits until then; for ever, if there is nothing to wait for. May be dropped and called again at will.
    pub async fn until(&mut self, at: Option<Instant>) {
        let Some(at) = at else {
            return std::future::pending().await;
        };
        let at = tokio::time::Instant::from(at);
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if at < sleep.deadline() {
            sleep.as_mut().reset(at);
        }
        while {
            sleep.as_mut().await;
            // What it was set for before is wanted no more.
            tokio::time::Instant::now() < at
        } {
            sleep.as_mut().reset(at);
        }
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

    fn elapsed(test: impl Future<Output = ()>) -> Duration {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let begin = now();
        runtime.block_on(test);
        begin.elapsed()
    }

    #[test]
    fn an_alarm_goes_off_when_it_was_set_for_last() {
        let millis = |millis| Some(now() + Duration::from_millis(millis));
        // Later than before, and much earlier than before.
        for (first, second) in [(5, 40), (60_000, 40)] {
            let took = elapsed(async {
                let mut alarm = Alarm::default();
                let first = tokio::time::timeout(Duration::from_millis(1), alarm.until(millis(first)));
                assert!(first.await.is_err());
                alarm.until(millis(second)).await;
            });
            assert!(took >= Duration::from_millis(40), "{took:?}");
            assert!(took < Duration::from_secs(30), "{took:?}");
        }
    }

    #[test]
    fn an_alarm_goes_off_again_and_at_once_for_what_is_past() {
        let took = elapsed(async {
            let mut alarm = Alarm::default();
            for _ in 0..3 {
                alarm.until(Some(now() + Duration::from_millis(10))).await;
            }
            alarm.until(Some(now())).await;
            let never = tokio::time::timeout(Duration::from_millis(10), alarm.until(None));
            assert!(never.await.is_err());
        });
        assert!(took >= Duration::from_millis(40), "{took:?}");
    }

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
