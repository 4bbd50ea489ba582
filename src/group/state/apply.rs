//! One record applied.

use super::{Applied, State};
use crate::group::record::{Position, Record};
use crate::group::rules::Rules;

impl State {
    /// Applies the record at a position of the log. Records have to come in the log's order.
    pub fn apply(&mut self, rules: Rules, at: Position, record: &Record) -> Applied {
        let _ = (rules, at, record);
        Applied { held: false, void: None, changes: Vec::new() }
    }
}

/// Leaves out of `done` what a partition of a group of that many partitions has no room for: from the top only.
pub fn bound(rules: Rules, progress: &mut crate::progress::Progress, partitions: usize) {
    let _ = (rules, progress, partitions);
}
