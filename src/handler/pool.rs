//! Connections that wait for the next event.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::connect::Link;
use crate::clock;

/// A connection that was not used for so long is closed: servers close them too (Node after 5 s), and a request that
/// meets such a close is lost.
pub(super) const IDLE_LIMIT: Duration = Duration::from_millis(1500);

/// Idle connections at most; more are closed.
const MAX_IDLE: usize = 1024;

/// The idle connections to one target; clones share them. The lock is held for moments only, never while waiting.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Idle>>);

#[derive(Default)]
struct Idle {
    /// The longest unused in front.
    links: VecDeque<(Instant, Box<Link>)>,
    swept: bool,
}

impl Pool {
    /// The connection that was used last, if it is still open.
    pub(super) async fn take(&self, now: Instant) -> Option<Box<Link>> {
        loop {
            let (since, mut link) = lock(&self.0).links.pop_back()?;
            if now.saturating_duration_since(since) < IDLE_LIMIT && link.is_open().await {
                return Some(link);
            }
        }
    }

    /// Keeps it for the next event.
    pub(super) fn put(&self, link: Box<Link>, now: Instant) {
        let mut idle = lock(&self.0);
        if idle.links.len() >= MAX_IDLE {
            return;
        }
        idle.links.push_back((now, link));
        if !idle.swept {
            idle.swept = true;
            tokio::spawn(sweep(Arc::downgrade(&self.0)));
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.0).links.len()
    }

    /// Closes them.
    pub(super) fn clear(&self) {
        lock(&self.0).links.clear();
    }
}

fn lock(idle: &Mutex<Idle>) -> MutexGuard<'_, Idle> {
    // No panic can leave it half changed.
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes what has become too old, until nothing is left.
async fn sweep(pool: Weak<Mutex<Idle>>) {
    loop {
        let oldest = {
            let Some(idle) = pool.upgrade() else { return };
            let mut idle = lock(&idle);
            let now = clock::now();
            while idle
                .links
                .front()
                .is_some_and(|(since, _)| now.saturating_duration_since(*since) >= IDLE_LIMIT)
            {
                idle.links.pop_front();
            }
            match idle.links.front() {
                Some((since, _)) => *since,
                None => {
                    idle.swept = false;
                    return;
                }
            }
        };
        clock::sleep_until(Some(oldest + IDLE_LIMIT)).await;
    }
}
