//! From a partition to a handler and back: which record may run now, what its outcome means, and what is finished.
//!
//! Pure: no clock, no socket, no randomness of its own. [`core::Core`] is fed with records, outcomes and times, and says what has to
//! be done ([`Action`]); the pipeline does it. In reading order:
//! - [`lanes`]: keys → order and parallelism;
//! - [`progress`]: finished offsets → next, done, held;
//! - [`retry`]: attempts, proof and time → again when, or a dead letter;
//! - [`breaker`] and [`fuse`]: an outage or a bad record; a bad deploy;
//! - [`limits`]: slots, rate and buffer;
//! - [`dedup`]: the ids seen in the window;
//! - [`core`]: all of them together.

pub mod breaker;
pub mod core;
pub mod dedup;
pub mod fuse;
pub mod lanes;
pub mod limits;
pub mod progress;
pub mod retry;
pub mod rules;
#[cfg(test)]
mod sim;

use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;

use crate::progress::Progress;
use dedup::EventId;

/// A topic and the number of a partition of it.
pub type PartitionId = (Arc<str>, i32);

/// Unfinished records of a partition at most, waiting ones included.
pub const MAX_UNFINISHED: usize = 4096;

/// Bodies that stay in the buffer for a lane with a held head, the head's included.
pub const BODIES_PER_HELD_LANE: u32 = 16;

/// A record is given up without proof after this time at the earliest, in milliseconds.
pub const UNPROVEN_MS: u64 = 3_600_000;

/// A moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of the monotonic clock.
    pub mono: u64,
    /// Milliseconds since the epoch.
    pub unix: i64,
}

/// A partition as owned under one token: a new token is a new claim. Never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim(pub u32);

/// One run of a handler, or one write of a dead letter. Never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt {
    pub(crate) entry: lanes::EntryId,
    pub(crate) number: u64,
}

/// Which records wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Those of one key; a record without a key waits for none.
    Key,
    /// All of a partition.
    Partition,
    /// None.
    None,
}

/// How many handlers run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concurrency {
    /// That many.
    Fixed(NonZeroU32),
    /// As many as the target takes without overload.
    Auto,
}

/// How records are handled. Times in milliseconds, sizes in bytes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which records wait for each other.
    pub order: Order,
    /// Handlers at once.
    pub concurrency: Concurrency,
    /// Bodies in the process at most.
    pub max_buffer: u64,
    /// Unfinished records of a partition at most.
    pub max_unfinished: usize,
    /// Records of a partition that may start, beyond which no more of it are taken; four for each slot, if that is more.
    pub ahead: usize,
    /// Attempts that count before a record is proven to be bad.
    pub retries: NonZeroU32,
    /// The first back-off.
    pub backoff_first: u64,
    /// The longest back-off.
    pub backoff_longest: u64,
    /// A proven record is still tried until this time after its first failure.
    pub hold_for: u64,
    /// An unproven record is given up this time after its first failure: see [`UNPROVEN_MS`].
    pub unproven: u64,
    /// Time for one attempt.
    pub timeout: u64,
    /// What a lost attempt may take beyond that.
    pub timeout_grace: u64,
    /// The longest pause that a target may ask for.
    pub retry_after_max: u64,
    /// Whether a key's next record waits for the report of the one before it.
    pub commit_each: bool,
    /// Whether events with a known id are dropped.
    pub dedup: Option<Dedup>,
}

/// How far back ids are compared.
#[derive(Debug, Clone, Copy)]
pub struct Dedup {
    /// Ids in the process at most.
    pub ids: usize,
    /// Between the timestamps of two records with the same id at most, in milliseconds.
    pub window: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            order: Order::Key,
            concurrency: Concurrency::Fixed(NonZeroU32::MIN.saturating_add(63)),
            max_buffer: 64 << 20,
            max_unfinished: MAX_UNFINISHED,
            ahead: 256,
            retries: NonZeroU32::MIN.saturating_add(9),
            backoff_first: 500,
            backoff_longest: 60_000,
            hold_for: 0,
            unproven: UNPROVEN_MS,
            timeout: 30_000,
            timeout_grace: 5_000,
            retry_after_max: 300_000,
            commit_each: false,
            dedup: None,
        }
    }
}

/// A record as it came from the source.
#[derive(Debug, Clone)]
pub struct Fetched<B> {
    /// Its offset.
    pub offset: i64,
    /// The hash of its key, if it has one. Two keys with one hash only wait for each other.
    pub key: Option<u64>,
    /// The id to compare, if duplicates are dropped.
    pub id: Option<EventId>,
    /// Its timestamp, in milliseconds since the epoch.
    pub timestamp: i64,
    /// The bytes that `body` keeps in memory.
    pub size: u32,
    /// What the handler gets.
    pub body: B,
    /// It goes to the dead letters without a handler seeing it.
    pub refused: Option<Reason>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The record is finished.
    Done,
    /// To be tried again.
    Retry {
        /// What the answer tells about the target.
        sign: Sign,
        /// The handler's own wish for this record, in milliseconds.
        after: Option<u64>,
        /// `Retry-After`: nothing at all is started for so many milliseconds.
        pause: Option<u64>,
    },
    /// Without an answer: it may still run.
    Lost {
        /// It does not run any more: its process was killed and reaped.
        reaped: bool,
    },
    /// The target was not reached, or is the wrong one.
    Hold,
    /// Refused for good.
    Reject,
    /// Ended by us ([`Action::Abort`]), or never begun: nothing is known and nothing is spent.
    Aborted,
}

/// What an answer that asks for another attempt tells about the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// The handler's own answer.
    Own,
    /// 429.
    Busy,
    /// 503.
    Unavailable,
    /// Any other 5xx.
    Broken,
}

/// Why a record goes to the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The handler refused it.
    Rejected,
    /// It failed as often as allowed, or for too long.
    Exhausted,
    /// Its batch cannot be decoded.
    Undecodable,
    /// The source would delete it soon.
    Expiring,
    /// It is not fit for the handler: too large, or not an event.
    Invalid,
}

impl Reason {
    /// The word in the dead letter's headers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Exhausted => "exhausted",
            Self::Undecodable => "undecodable",
            Self::Expiring => "expiring",
            Self::Invalid => "invalid",
        }
    }
}

/// A record that came back when it was asked for again.
#[derive(Debug, Clone)]
pub enum Reloaded<B> {
    /// Its body, and the bytes that it keeps in memory.
    Body(B, u32),
    /// Compaction has removed it.
    Compacted,
    /// The log begins behind it.
    BelowStart,
}

/// A handler to be started.
#[derive(Debug, Clone)]
pub struct Start<B> {
    /// To be given back with the outcome.
    pub attempt: Attempt,
    /// Whose record it is.
    pub claim: Claim,
    /// The record's offset.
    pub offset: i64,
    /// 1 for the first.
    pub tries: u32,
    /// When the answer has to be complete: milliseconds of the monotonic clock.
    pub deadline: u64,
    /// An earlier owner may have delivered it already.
    pub redelivered: bool,
    /// The record.
    pub body: B,
}

/// A dead letter to be written.
#[derive(Debug, Clone)]
pub struct Letter<B> {
    /// To be given back with the acknowledgement.
    pub attempt: Attempt,
    /// Whose record it is.
    pub claim: Claim,
    /// The offsets: of one record, or of a batch that cannot be decoded.
    pub offsets: Range<i64>,
    /// Why.
    pub reason: Reason,
    /// Attempts made.
    pub tries: u32,
    /// The first failure, in milliseconds since the epoch.
    pub first_failed: Option<i64>,
    /// What the last attempt ended with.
    pub why: Option<Arc<str>>,
    /// The record; none for a batch that cannot be decoded.
    pub body: Option<B>,
}

/// What has to be done, in order.
#[derive(Debug, Clone)]
pub enum Action<B> {
    /// Fetch from this offset on, and go on fetching.
    Fetch {
        /// Of this partition.
        claim: Claim,
        /// The first offset.
        from: i64,
    },
    /// Fetch no more until the next [`Action::Fetch`].
    Pause {
        /// Of this partition.
        claim: Claim,
    },
    /// Fetch this record again: answered by [`core::Core::reloaded`].
    Reload {
        /// Of this partition.
        claim: Claim,
        /// The record.
        offset: i64,
    },
    /// Fetch this batch again, on a new connection.
    FetchAgain {
        /// Of this partition.
        claim: Claim,
        /// The batch.
        offsets: Range<i64>,
    },
    /// Read back the ids before `to` whose records are in the window: [`core::Core::read_back`].
    ReadBack {
        /// Of this partition.
        claim: Claim,
        /// The end of what is read.
        to: i64,
    },
    /// Start a handler.
    Start(Start<B>),
    /// End this one now, and tell its outcome.
    Abort(Attempt),
    /// Write a dead letter.
    DeadLetter(Letter<B>),
    /// These offsets were removed from the source before they were finished.
    Gap {
        /// Of this partition.
        claim: Claim,
        /// The offsets.
        offsets: Range<i64>,
    },
    /// The breaker has opened or closed.
    Breaker {
        /// Opened.
        open: bool,
    },
    /// The fuse has blown: nothing is rejected until it is told to go on.
    FuseBlown,
    /// Nothing runs under this claim any more.
    Ended {
        /// The claim; it is forgotten.
        claim: Claim,
        /// Its last progress.
        progress: Progress,
    },
}
