//! Leaving (rule 8), and being ready.

use super::flight::Kind;
use super::{Action, Member, Phase};
use crate::group::record::PartitionId;

/// How long a leave is waited for, in milliseconds, once no handler runs: then the process ends without it.
const LEAVE_PATIENCE: u64 = 10_000;

impl Member {
    /// Whether its partitions are given up at once, and not when they have another target: they are kept for its
    /// instance name, nobody is there to take them, or it was waited for long enough.
    pub(super) fn leaves_in_a_hurry(&self) -> bool {
        let Some(since) = self.leaving else { return false };
        let kept = self.settings.instance.is_some() && self.settings.grace > 0;
        kept || self.state.members.len() < 2
            || self.now.mono >= since + self.move_patience()
            || self.flights.has(Kind::Leave)
    }

    /// How long a leaving member waits for its partitions to be moved, in milliseconds.
    fn move_patience(&self) -> u64 {
        (self.settings.session / 2).min(self.settings.drain / 2)
    }

    /// Leads a member that wants to leave to its end, whether or not the log can be reached.
    pub(super) fn check_leaving(&mut self) {
        let Some(since) = self.leaving else { return };
        let now = self.now.mono;
        if self.lives() && self.leaves_in_a_hurry() {
            self.settle_all();
        }
        if now >= self.handlers_deadline(since) && self.is_busy() {
            self.abandon_handlers();
            self.warn("handlers that could not be cancelled were still running when it left".to_owned());
        }
        if self.is_busy() {
            return;
        }
        let idle = *self.idle_since.get_or_insert(now);
        match self.phase {
            Phase::Out { .. } => self.left(),
            _ if now >= idle + LEAVE_PATIENCE.min(self.settings.session) => {
                let session = self.settings.session;
                self.warn(format!(
                    "it goes without having read that it left: the group's log cannot be reached. Others take its \
                     partitions over within {session} ms"
                ));
                self.left();
            }
            _ => {}
        }
    }

    fn handlers_deadline(&self, since: u64) -> u64 {
        since + self.settings.drain + 2 * self.settings.cancel
    }

    pub(super) fn leaving_wake(&self) -> Option<u64> {
        let since = self.leaving?;
        let patience = since + self.move_patience();
        let end = match self.idle_since {
            Some(idle) => idle + LEAVE_PATIENCE.min(self.settings.session),
            None => self.handlers_deadline(since),
        };
        Some(if self.now.mono < patience {
            patience.min(end)
        } else {
            end
        })
    }

    /// Tells once that all it owns has a position and was started.
    pub(super) fn tell_ready(&mut self) {
        let Phase::Living { since } = self.phase else {
            return;
        };
        if self.ready_told || self.leaving.is_some() {
            return;
        }
        let decided = self.deciding.assigned_since(since) || self.now.mono >= since + 4_000;
        let mut missing = self.state.targeted_at(&self.id).filter(|partition| {
            let run = self.runs.get(*partition);
            let paused = self.state.is_paused(partition);
            !run.is_some_and(|run| run.has_handlers() || (paused && self.has_position(partition)))
        });
        if decided && missing.next().is_none() {
            self.ready_told = true;
            self.actions.push(Action::Ready);
        }
    }

    pub(super) fn has_position(&self, partition: &PartitionId) -> bool {
        let state = self.state.partitions.get(partition);
        state.is_some_and(|state| state.progress.next.is_some())
    }
}
