//! A state in pieces of the log, and back.

use std::collections::BTreeMap;

use super::record::{Position, Record};
use super::rules::{Rule, Rules};
use super::state::State;

/// The snapshot of a state as of its last mark, in pieces: call it when that mark was applied, and nothing after it.
/// Nothing, if `mark` is not the state's last one.
#[must_use]
pub fn parts(state: &State, mark: Position) -> Vec<Record> {
    Vec::new()
}

/// Puts snapshots together from what is read of the log, in order.
#[derive(Debug, Default)]
pub struct Collector {}

impl Collector {
    /// One that has read nothing.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {}
    }

    /// Takes in the record at a position: marks are noted, pieces collected. A state comes back when its snapshot is
    /// complete, its mark was read at the very same position before, and its hash is right. Its last mark is
    /// `state.mark`; every record after that is to be applied to it.
    pub fn read(&mut self, at: Position, record: &Record) -> Option<State> {
        None
    }
}
