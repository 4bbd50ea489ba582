//! Records that would be too large, in pieces that are not.

use std::collections::BTreeMap;

use super::wire::{entry_len, name_len};
use super::{Entry, MemberId, PartitionId, Record, Report, Token};

/// A report in pieces of at most `max_bytes` each, numbered on from its own number: send the next one when the one
/// before was read back. What it says of one partition, its entry and its release, is never split; if that alone is too
/// large, it is a piece alone. The mark comes with the last piece.
#[must_use]
pub fn split_report(report: Report, max_bytes: usize) -> Vec<Report> {
    let empty = Report {
        entries: Vec::new(),
        released: Vec::new(),
        ..report.clone()
    };
    let bare = Record::Report(empty.clone()).encode().len() + 64;
    let mut pieces = vec![empty.clone()];
    let mut size = bare;
    for (entry, release) in by_partition(report.entries, report.released) {
        let its = entry.as_ref().map_or(0, entry_len)
            + release
                .as_ref()
                .map_or(0, |(partition, _)| name_len(partition) + 16);
        if size + its > max_bytes && size > bare {
            pieces.push(empty.clone());
            size = bare;
        }
        size += its;
        if let Some(piece) = pieces.last_mut() {
            piece.entries.extend(entry);
            piece.released.extend(release);
        }
    }
    let last = pieces.len() - 1;
    for (index, piece) in pieces.iter_mut().enumerate() {
        piece.n += index as u64;
        if index < last {
            piece.mark = None;
        }
    }
    pieces
}

type Told = (Option<Entry>, Option<(PartitionId, Token)>);

fn by_partition(entries: Vec<Entry>, released: Vec<(PartitionId, Token)>) -> impl Iterator<Item = Told> {
    let mut told: BTreeMap<PartitionId, Told> = BTreeMap::new();
    for entry in entries {
        let told = told.entry(entry.partition.clone()).or_default();
        told.0 = Some(entry);
    }
    for release in released {
        let told = told.entry(release.0.clone()).or_default();
        told.1 = Some(release);
    }
    told.into_values()
}

/// An assignment's changes in pieces of at most `max_bytes` each: only the first can be written now, as it makes the
/// basis of the others an old one.
#[must_use]
pub fn split_changes(
    changes: BTreeMap<PartitionId, Option<MemberId>>,
    max_bytes: usize,
) -> Vec<BTreeMap<PartitionId, Option<MemberId>>> {
    // `{"v":1,"type":"assign","by":…,"basis":…,"changes":{}}`, and a member's id as a key of its own.
    const BARE: usize = 160;
    const MEMBER: usize = 24;
    let mut pieces = vec![BTreeMap::new()];
    let mut size = BARE;
    for (partition, target) in changes {
        let its = name_len(&partition) + MEMBER;
        if size + its > max_bytes && size > BARE {
            pieces.push(BTreeMap::new());
            size = BARE;
        }
        size += its;
        if let Some(piece) = pieces.last_mut() {
            piece.insert(partition, target);
        }
    }
    pieces
}
