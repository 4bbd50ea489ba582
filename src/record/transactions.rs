//! Which batches a reader of committed records gets to see.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::{Batch, BatchError, ControlRecord};

/// An aborted transaction, as a fetch response lists it per partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AbortedTransaction {
    /// The first offset of the transaction in this partition.
    pub first_offset: i64,
    /// Whose transaction it was.
    pub producer_id: i64,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its records are for the reader.
    Deliver,
    /// It is part of an aborted transaction.
    Aborted,
    /// It is a marker, for nobody to see.
    Control(ControlRecord),
}

/// Decides batch by batch, in the order of their offsets, over one fetch response's partition. As the Java
/// client does it: a producer is aborted from the batch on that reaches the first offset of an entry in the list
/// until its abort marker.
#[derive(Debug, Clone, Default)]
pub struct AbortedFilter {
    /// By first offset, the next one last.
    ahead: Vec<AbortedTransaction>,
    aborted: BTreeSet<i64>,
    read_committed: bool,
}

impl AbortedFilter {
    /// Committed records only, with the list that came with the fetch response.
    #[must_use]
    pub fn read_committed(aborted: impl IntoIterator<Item = AbortedTransaction>) -> Self {
        let mut ahead: Vec<_> = aborted.into_iter().collect();
        ahead.sort_unstable_by_key(|entry| Reverse(*entry));
        AbortedFilter {
            ahead,
            aborted: BTreeSet::new(),
            read_committed: true,
        }
    }

    /// All records.
    #[must_use]
    pub fn read_uncommitted() -> Self {
        AbortedFilter::default()
    }

    /// What to do with the next batch. It checks the checksum of what is not delivered; that of other batches is
    /// left to [`Batch::records`].
    ///
    /// # Errors
    /// The batch is damaged, so that there is no telling. A damaged marker ends its producer's abortion like a
    /// sound one: whichever it was, its transaction is over, and to hide the next one would lose records quietly.
    pub fn decide(&mut self, batch: &Batch<'_>) -> Result<Verdict, BatchError> {
        let header = &batch.header;
        let transactional = self.read_committed && header.producer_id >= 0;
        if transactional {
            while let Some(next) = self.ahead.pop_if(|next| next.first_offset <= header.last_offset) {
                self.aborted.insert(next.producer_id);
            }
        }
        let marker = batch.control();
        if transactional && matches!(marker, Err(_) | Ok(Some(ControlRecord::Abort))) {
            self.aborted.remove(&header.producer_id);
        }
        if let Some(marker) = marker? {
            return Ok(Verdict::Control(marker));
        }
        if transactional && header.is_transactional() && self.aborted.contains(&header.producer_id) {
            batch.verify()?;
            return Ok(Verdict::Aborted);
        }
        Ok(Verdict::Deliver)
    }
}
