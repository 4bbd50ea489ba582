//! Members report what they have done.

use super::super::Change;
use super::{Step, Void};
use crate::group::record::{Entry, Report};
use crate::group::rules::{Rule, Rules};
use crate::progress::Progress;

/// The most text that one partition's `done` may take, in bytes.
pub const MAX_DONE: usize = 16 << 10;
/// The most text that the `done` of all partitions together may take, in bytes.
pub const MAX_DONE_OF_ALL: usize = 16 << 20;

/// Leaves out of `done` what a partition has no room for in a group of so many: from the top only, as a hole lower down
/// would have a record done again after its key's later ones. Members do so before they report, and the state with
/// what reports add up to.
pub fn bound(rules: Rules, progress: &mut Progress, partitions: usize) {
    let room = MAX_DONE.min(MAX_DONE_OF_ALL / partitions.max(1));
    #[cfg(test)]
    if !rules.has(Rule::TopOnly) {
        progress.cut_bottom(room);
        return;
    }
    let _ = rules;
    progress.cut_top(room);
}

impl Step<'_> {
    pub(super) fn report(&mut self, report: &Report) -> Result<(), Void> {
        self.beat(&report.member, report.n)?;
        self.work(report);
        Ok(())
    }

    /// Progress and releases of a living member; each on its own.
    pub(super) fn work(&mut self, report: &Report) {
        for entry in &report.entries {
            self.entry(report, entry);
        }
        for (partition, token) in &report.released {
            let ours = self.state.partitions.get(partition).is_some_and(|state| {
                state.owner.as_ref() == Some(&report.member) && state.token == Some(*token)
            });
            if ours {
                self.set_owner(partition, None);
                self.changes.push(Change::Released {
                    partition: partition.clone(),
                    member: report.member.clone(),
                    token: *token,
                });
                self.freed.push(partition.clone());
            }
        }
    }

    fn entry(&mut self, report: &Report, entry: &Entry) {
        let partitions = self.state.partitions.len();
        let found = self.state.partitions.get_mut(&entry.partition);
        let Some(state) = found
            .filter(|state| state.owner.as_ref() == Some(&report.member) && state.token == Some(entry.token))
        else {
            self.changes.push(Change::Stale {
                partition: entry.partition.clone(),
                token: entry.token,
            });
            return;
        };
        if entry.progress.next.is_none() {
            return;
        }
        if self.rules.has(Rule::MergeProgress) {
            state.progress.merge(&entry.progress);
        } else {
            state.progress = entry.progress.clone();
        }
        bound(self.rules, &mut state.progress, partitions);
        self.changes.push(Change::Progress(entry.partition.clone()));
        if let Some(lost) = &entry.gap {
            self.changes.push(Change::Gap {
                partition: entry.partition.clone(),
                lost: lost.clone(),
            });
        }
    }
}
