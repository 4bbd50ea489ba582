//! A process of the group: the member core, its clocks, its reader of the log, its worker.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::worker::Worker;
use crate::group::member::{Member, Now};
use crate::group::record::TopicInfo;

/// The clocks read this when the world begins.
const CLOCK_START: u64 = 1_000_000;

/// Which topics a process subscribes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subscription {
    First,
    FirstTwo,
    /// All there are, the later ones too.
    Pattern,
}

/// What a process does wrong as long as it lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Defects {
    /// It takes no decision as a leader, and is alive otherwise.
    pub(super) idle_leader: bool,
    /// It writes, and never reads again.
    pub(super) deaf: bool,
}

/// One slot of the world: a process, or the place of one that is down.
#[derive(Debug)]
pub(super) struct Process {
    /// None: down.
    pub(super) member: Option<Member>,
    /// Grows with each start and each death; what was sent to an earlier one reaches nobody.
    pub(super) generation: u64,
    /// Tells its records from those of all other lives.
    pub(super) serial: u64,
    pub(super) instance: Option<String>,
    pub(super) subscription: Subscription,
    pub(super) session: u64,
    pub(super) defects: Defects,
    pub(super) leaving: bool,
    pub(super) joined: bool,
    pub(super) ready: bool,
    // clocks
    /// Its clock's speed, millionths.
    pub(super) speed: u64,
    pub(super) paused_until: u64,
    pub(super) last_pause_end: u64,
    pub(super) suspended: u64,
    // network
    pub(super) cut_off: bool,
    pub(super) slow: bool,
    // the reader
    /// The next offset.
    pub(super) next: i64,
    pub(super) last_epoch: Option<i32>,
    /// The number of its long poll, if it waits at the broker.
    pub(super) waiting: Option<u64>,
    pub(super) polls: u64,
    /// When its core wants to be woken (world time).
    pub(super) wake: u64,
    pub(super) seen: BTreeMap<Arc<str>, TopicInfo>,
    pub(super) worker: Worker,
}

impl Process {
    pub(super) fn down() -> Self {
        Self {
            member: None,
            generation: 0,
            serial: 0,
            instance: None,
            subscription: Subscription::FirstTwo,
            session: 0,
            defects: Defects::default(),
            leaving: false,
            joined: false,
            ready: false,
            speed: 1_000_000,
            paused_until: 0,
            last_pause_end: 0,
            suspended: 0,
            cut_off: false,
            slow: false,
            next: 0,
            last_epoch: None,
            waiting: None,
            polls: 0,
            wake: 0,
            seen: BTreeMap::new(),
            worker: Worker::default(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.member.is_some()
    }

    /// Up, and nothing is wrong with it that would keep it from doing all its duties.
    pub(super) fn is_healthy(&self) -> bool {
        self.is_up() && !self.leaving && self.defects == Defects::default()
    }

    pub(super) fn now(&self, at: u64, counts_suspend: bool) -> Now {
        let scaled = |ms: u64| ms * self.speed / 1_000_000;
        let mono = scaled(at + CLOCK_START - self.suspended);
        Now {
            mono,
            lease: if counts_suspend {
                scaled(at + CLOCK_START)
            } else {
                mono
            },
        }
    }

    /// The world's time at which its monotonic clock reads that.
    pub(super) fn world_time(&self, mono: u64) -> u64 {
        (mono.saturating_mul(1_000_000))
            .div_ceil(self.speed)
            .saturating_add(self.suspended)
            .saturating_sub(CLOCK_START)
    }
}
