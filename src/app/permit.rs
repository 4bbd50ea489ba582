//! Whether records of a partition may be begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::group::driver::Lease;

/// Records may be begun.
const OPEN: u8 = 0;
/// No more may be begun; what was begun may be finished.
const CLOSED: u8 = 1;
/// What was begun is to be stopped as well.
const VOID: u8 = 2;

/// Whether records of a partition may be begun: looked at by whoever handles them, on any thread, and taken back by
/// [`Joined`](super::Joined).
#[derive(Debug, Clone)]
pub struct Permit {
    state: Arc<AtomicU8>,
    lease: Lease,
}

impl Permit {
    pub(crate) fn new(lease: Lease) -> Self {
        Self {
            state: Arc::new(AtomicU8::new(OPEN)),
            lease,
        }
    }

    /// Whether a record may be begun, lease apart: asked for each.
    #[must_use]
    #[inline]
    pub fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) == OPEN
    }

    /// Whether what was begun is to be stopped.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.state.load(Ordering::Acquire) == VOID
    }

    /// Whether the lease lasts long enough to begin something now. If not, it may come back: the permit is not taken
    /// away by that.
    #[must_use]
    pub fn has_lease(&self) -> bool {
        self.lease.may_start()
    }

    pub(crate) fn close(&self) {
        self.state.fetch_max(CLOSED, Ordering::AcqRel);
    }

    pub(crate) fn void(&self) {
        self.state.fetch_max(VOID, Ordering::AcqRel);
    }
}
