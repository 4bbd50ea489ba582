//! A partition that is ours.

use std::sync::Arc;
use std::time::Instant;

use crate::app::Permit;
use crate::group::record::Token;
use crate::progress::Progress;

/// A partition that is ours.
pub(super) struct Owned {
    pub(super) token: Token,
    pub(super) progress: Progress,
    /// Progress that the driver does not know yet.
    pub(super) news: bool,
    /// The tag of the cursor that fetches it.
    pub(super) fetching: Option<u64>,
    pub(super) permit: Permit,
    /// What was finished above `next` when fetching began.
    pub(super) finished: Option<Arc<Progress>>,
    /// Pieces of work that are with the handler, or wait for it.
    pub(super) at_work: usize,
    /// By an operator.
    pub(super) paused: bool,
    /// It is to be given back.
    pub(super) ending: bool,
    /// It could not be read: not before then.
    pub(super) retry: Option<Instant>,
    /// Its end when it was taken over, if that matters.
    pub(super) end: Option<i64>,
}

impl Owned {
    pub(super) fn new(token: Token, progress: Progress, permit: Permit) -> Self {
        Self {
            token,
            progress,
            news: false,
            fetching: None,
            permit,
            finished: None,
            at_work: 0,
            paused: false,
            ending: false,
            retry: None,
            end: None,
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.end
            .zip(self.progress.next)
            .is_some_and(|(end, next)| next >= end)
    }
}
