//! Composition: a member of a group at work.
//!
//! [`Joined`] stands between three that do not know each other: the group's driver says which partitions are ours, the
//! fetcher brings their records, and a handler, whoever has the other ends of two bounded channels, gets them as
//! [`Work`] and [tells](Told) how far it came. The printing thread of `consume --group` is such a handler.
//!
//! What keeps a record from being handled where it must not be:
//! - each fetch of a partition has a tag of its own, so that what was fetched before it was lost, paused or reset is
//!   not taken for what was fetched since;
//! - each piece of work carries a [`Permit`], which the handler looks at before it begins a record, and which is taken
//!   back in the moment when the driver says so;
//! - the permit knows the lease as well;
//! - a partition is given back (`ended`) only when no piece of its work is with the handler any more.

mod delivering;
mod joined;
mod permit;

use std::ops::Range;
use std::sync::Arc;

pub use delivering::{Deliverer, Delivering, IdFrom, Letters};
pub(crate) use delivering::{Found, look_up};
pub use joined::{Ending, Joined, Limits};
pub use permit::Permit;

use crate::broker::metadata::PartitionId;
use crate::fetch::event::{FetchError, Fetched};
use crate::group::record::Token;
use crate::progress::Progress;

/// Records of one partition to be handled.
#[derive(Debug)]
pub struct Work {
    /// The records.
    pub fetched: Fetched,
    /// Under which token.
    pub token: Token,
    /// Whether records may be begun.
    pub permit: Permit,
    /// What of them is finished already, if anything is beyond where fetching began.
    pub finished: Option<Arc<Progress>>,
}

/// What a handler has to tell, in the order of the work it got.
#[derive(Debug)]
pub enum Told {
    /// The partition's progress has grown by this: what is finished is finished.
    Progress {
        /// The partition.
        partition: PartitionId,
        /// The work's token.
        token: Token,
        /// What there is of news; it is merged.
        news: Progress,
    },
    /// A piece of work is over: nothing of it runs any more, and all its progress has been told.
    Over {
        /// The partition.
        partition: PartitionId,
        /// The work's token.
        token: Token,
    },
}

/// What people should know.
#[derive(Debug)]
pub enum Notice {
    /// All partitions that fall to this member have positions: told once.
    Ready {
        /// How many it owns.
        owned: usize,
        /// How many the group's topics have.
        total: usize,
    },
    /// The group has removed this member, which joins anew.
    Removed {
        /// Why.
        why: String,
    },
    /// Offsets that are not there any more.
    Gone {
        /// The partition.
        partition: PartitionId,
        /// The offsets.
        offsets: Range<i64>,
    },
    /// The source was cut back behind what was read of it.
    CutBack {
        /// The partition.
        partition: PartitionId,
        /// Where reading was.
        from: i64,
        /// Where the source ends now.
        to: i64,
    },
    /// The topic was deleted and created again.
    Recreated {
        /// The partition.
        partition: PartitionId,
        /// Where reading was in the old one.
        from: i64,
    },
    /// A partition cannot be read at the moment; it is tried again.
    Unread {
        /// The partition.
        partition: PartitionId,
        /// Why.
        error: FetchError,
    },
    /// A signal: what is owned is handed over.
    Leaving,
    /// The handler is out of order, or is in order again.
    Breaker {
        /// Nothing but a probe now and then is started.
        open: bool,
    },
    /// The handler rejects nearly everything: nothing more goes to the dead letters for that until an operator says so.
    FuseBlown,
    /// A record was set aside.
    DeadLetter {
        /// Its partition.
        partition: PartitionId,
        /// Its offset.
        offset: i64,
        /// Why.
        reason: crate::delivery::Reason,
        /// The topic of dead letters.
        to: String,
    },
    /// A record cannot be set aside: it waits.
    NoDeadLetter {
        /// Its partition.
        partition: PartitionId,
        /// Its offset.
        offset: i64,
        /// Why.
        why: String,
    },
}
