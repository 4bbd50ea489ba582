//! A state in pieces of the log, and back.
//!
//! A snapshot is the state as of a mark, the mark itself included. Its pieces lie anywhere behind the mark, between
//! other records; whoever takes it applies every record after the **mark**, not after the pieces.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use super::record::{Position, Record};
use super::rules::{Rule, Rules};
use super::state::State;

/// Bytes of the encoded state in one piece: as base64, and with what is around it, below `record::MAX_RECORD`.
const PIECE: usize = 380 << 10;
/// The most pieces of a snapshot (1.5 GB).
const MAX_PIECES: u32 = 4_096;
/// How many marks are remembered as read.
const MAX_MARKS: usize = 8;
/// How many snapshots are collected at a time; the one with the oldest mark makes room.
const MAX_SNAPSHOTS: usize = 4;

/// The snapshot of a state as of its last mark, in pieces: call it when that mark was applied, and nothing after it.
/// Nothing, if `mark` is not the state's last one, or the state has moved on.
#[must_use]
pub fn parts(state: &State, mark: Position) -> Vec<Record> {
    let Some(last) = state
        .mark
        .filter(|last| last.at == mark && last.hash == state.hash())
    else {
        return Vec::new();
    };
    let bytes = state.encode();
    let pieces = bytes.chunks(PIECE);
    let Ok(of) = u32::try_from(pieces.len()) else {
        return Vec::new();
    };
    (0..of)
        .zip(pieces)
        .map(|(n, piece)| Record::Part {
            mark,
            n,
            of,
            bytes: piece.to_vec(),
            hash: last.hash,
        })
        .collect()
}

/// Puts snapshots together from what is read of the log, in order.
#[derive(Debug)]
pub struct Collector {
    rules: Rules,
    /// Where marks were read, the latest last.
    marks: VecDeque<Position>,
    /// By mark, hash and number of pieces: what was read of it.
    begun: BTreeMap<(Position, u64, u32), BTreeMap<u32, Vec<u8>>>,
}

impl Collector {
    /// One that has read nothing.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            marks: VecDeque::new(),
            begun: BTreeMap::new(),
        }
    }

    /// Takes in the record at a position: marks are noted, pieces collected, all else is passed over. A state comes
    /// back when its snapshot is complete, its mark was read at the very same position before, and its hash is right.
    /// Every record after `state.mark` is to be applied to it.
    pub fn read(&mut self, at: Position, record: &Record) -> Option<State> {
        match record {
            Record::Mark { .. } => {
                self.marks.push_back(at);
                if self.marks.len() > MAX_MARKS {
                    self.marks.pop_front();
                }
                None
            }
            Record::Part {
                mark,
                n,
                of,
                bytes,
                hash,
            } => {
                // Without having read the mark itself, records between the mark and here may have been missed.
                let usable = !self.rules.has(Rule::SnapshotCut) || self.marks.contains(mark);
                if !usable || n >= of || *of > MAX_PIECES {
                    return None;
                }
                self.piece((*mark, *hash, *of), *n, bytes)
            }
            _ => None,
        }
    }

    fn piece(&mut self, which: (Position, u64, u32), n: u32, bytes: &[u8]) -> Option<State> {
        let pieces = self.begun.entry(which).or_default();
        pieces.insert(n, bytes.to_vec());
        if pieces.len() < which.2 as usize {
            if self.begun.len() > MAX_SNAPSHOTS {
                self.begun.pop_first();
            }
            return None;
        }
        let pieces = self.begun.remove(&which)?;
        let bytes = pieces.into_values().collect::<Vec<_>>().concat();
        let state = State::decode(&bytes)?;
        let (mark, hash, _) = which;
        let right = state
            .mark
            .is_some_and(|last| last.at == mark && last.hash == hash);
        right.then_some(state)
    }
}
