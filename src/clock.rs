//! The only door to time and randomness: everything else takes them as arguments.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the one door to the clock and to randomness"
)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

/// Sixty-four random bits from the system's generator.
#[must_use]
pub fn random() -> u64 {
    rand::random()
}
