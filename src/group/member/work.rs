//! The partitions this member owns: first position, start, drain, release (rules 5, 6 and 9).

use std::collections::VecDeque;
use std::ops::Range;

use super::{Action, Member};
use crate::group::record::{Entry, PartitionId, Report, Token};
use crate::group::rules::Rule;
use crate::group::state::MAX_DONE_OF_ALL;
use crate::progress::Progress;

/// One ownership of a partition by this member.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) token: Token,
    /// See [`Action::Start`].
    clean: bool,
    pub(super) stage: Stage,
    /// What the outside said last of its progress: all of it.
    told: Option<Progress>,
    /// Whether that has not gone into a report yet.
    dirty: bool,
    /// Lost offsets to be reported.
    gaps: VecDeque<Range<i64>>,
}

/// What becomes of an ownership, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing was started: handlers of an earlier ownership have not ended, or it is paused.
    Waits,
    /// The first position was asked for.
    Finding,
    /// The first position is known, and is started from when its report was read back.
    Placed,
    /// It was started, or drained and not ended yet.
    Started { paused: bool },
    /// Nothing more is started; handlers end.
    Draining { since: u64, cancelled: bool },
    /// No handler runs, and none starts. It is released, or starts again if that is not wanted any more.
    Drained,
    /// The release was sent. Final: nothing starts under this token again.
    Released,
}

impl Run {
    fn new(token: Token, clean: bool) -> Self {
        Self {
            token,
            clean,
            stage: Stage::Waits,
            told: None,
            dirty: false,
            gaps: VecDeque::new(),
        }
    }

    /// `known`: the group has just that. Somebody who has done nothing says nothing.
    pub(super) fn told(&mut self, progress: Progress, known: bool) {
        let news = match &self.told {
            Some(told) => *told != progress,
            None => !known,
        };
        if self.stage != Stage::Released && news {
            self.told = Some(progress);
            self.dirty = true;
        }
    }

    pub(super) fn lost(&mut self, lost: Range<i64>) {
        self.gaps.push_back(lost);
        self.dirty = true;
    }

    pub(super) fn has_handlers(&self) -> bool {
        matches!(self.stage, Stage::Started { .. } | Stage::Draining { .. })
    }

    /// Its entry for a report, if there is something new.
    fn entry(&mut self, partition: &PartitionId) -> Option<Entry> {
        if !self.dirty {
            return None;
        }
        let progress = self.told.clone()?;
        let gap = self.gaps.pop_front();
        self.dirty = !self.gaps.is_empty();
        Some(Entry {
            partition: partition.clone(),
            token: self.token,
            progress,
            gap,
        })
    }
}

/// What goes into one report.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) entries: Vec<Entry>,
    pub(super) released: Vec<(PartitionId, Token)>,
}

impl Member {
    /// Whether another member is to have it, or it may not be this one's. Then it is given up.
    fn must_go(&self, partition: &PartitionId) -> bool {
        let Some(state) = self.state.partitions.get(partition) else {
            return true;
        };
        match &state.target {
            Some(target) => *target != self.id && self.state.members.contains_key(target),
            // Without a target the owner goes on, if it subscribes.
            None => self.leaving.is_none() && !self.state.subscribes(&self.id, &partition.0),
        }
    }

    /// Whether no handler is to start for it. Who leaves works on until the partition has another target: that moves
    /// it in no more time than any other hand-over.
    fn must_stop(&self, partition: &PartitionId) -> bool {
        if self.must_go(partition) {
            return true;
        }
        let alone = || {
            let mut subscribers = self.state.subscribers(&partition.0);
            subscribers.all(|member| *member == self.id)
        };
        self.leaving.is_some() && (self.leaves_in_a_hurry() || alone())
    }

    fn handlers_end(&self, partition: &PartitionId) -> bool {
        let first = (partition.clone(), Token::NONE);
        let last = (partition.clone(), Token::MAX);
        self.ending.range(first..=last).next().is_some()
    }

    pub(super) fn settle_all(&mut self) {
        let owned: Vec<PartitionId> = self.state.owned_by(&self.id).cloned().collect();
        for partition in owned.iter().chain(&self.runs.keys().cloned().collect::<Vec<_>>()) {
            self.settle(partition);
        }
    }

    /// Brings the work on a partition into line with the state.
    pub(super) fn settle(&mut self, partition: &PartitionId) {
        let state = self.state.partitions.get(partition);
        let mine = state
            .filter(|state| self.lives() && state.owner.as_ref() == Some(&self.id))
            .and_then(|state| state.token);
        let mut released_before = false;
        if let Some(run) = self.runs.get(partition)
            && mine != Some(run.token)
        {
            released_before = run.stage == Stage::Released;
            self.drop_run(partition);
        }
        let Some(token) = mine else { return };
        let must_stop = self.must_stop(partition);
        let never_starts = must_stop || self.leaving.is_some();
        let clean = &mut self.clean;
        let run = self
            .runs
            .entry(partition.clone())
            .or_insert_with(|| Run::new(token, clean.remove(partition) == Some(token)));
        if released_before && !self.rules.has(Rule::RepeatRelease) {
            run.stage = Stage::Released;
        }
        match run.stage {
            Stage::Waits | Stage::Finding | Stage::Placed if never_starts => {
                if !self.handlers_end(partition) {
                    self.set_stage(partition, Stage::Drained);
                }
            }
            Stage::Waits => self.begin(partition, token),
            Stage::Finding | Stage::Placed => {
                if self.next_of(partition).is_some() {
                    self.begin(partition, token);
                }
            }
            Stage::Started { paused } => self.go_on(partition, token, paused, must_stop),
            Stage::Draining { .. } => {}
            Stage::Drained if never_starts => {}
            Stage::Released if must_stop || self.rules.has(Rule::ReleaseFinal) => {}
            Stage::Drained | Stage::Released => self.begin(partition, token),
        }
    }

    fn next_of(&self, partition: &PartitionId) -> Option<i64> {
        self.state.partitions.get(partition)?.progress.next
    }

    fn set_stage(&mut self, partition: &PartitionId, stage: Stage) {
        if let Some(run) = self.runs.get_mut(partition) {
            run.stage = stage;
        }
    }

    /// Starts it, as soon as it can be.
    fn begin(&mut self, partition: &PartitionId, token: Token) {
        self.set_stage(partition, Stage::Waits);
        if self.handlers_end(partition) {
            return;
        }
        let Some(state) = self.state.partitions.get(partition) else {
            return;
        };
        if state.progress.next.is_none() && self.runs.get(partition).is_some_and(|run| run.told.is_some()) {
            // It was found under this token, and its report is on its way: another answer might be another position.
            self.set_stage(partition, Stage::Placed);
            return;
        }
        if state.progress.next.is_none() {
            let find = Action::FindPosition {
                partition: partition.clone(),
                token,
                late: state.late,
            };
            self.set_stage(partition, Stage::Finding);
            self.actions.push(find);
            return;
        }
        if self.state.is_paused(partition) {
            return;
        }
        let mut progress = state.progress.clone();
        let run = self.runs.get(partition);
        if let Some(told) = run.and_then(|run| run.told.as_ref()) {
            progress.merge(told);
        }
        let clean = run.is_some_and(|run| run.clean);
        self.set_stage(partition, Stage::Started { paused: false });
        self.actions.push(Action::Start {
            partition: partition.clone(),
            token,
            progress,
            clean,
        });
    }

    /// A report of this member was read back.
    pub(super) fn reported(&mut self, report: &Report) {
        if !self.settings.tell_reports || report.member != self.id {
            return;
        }
        for entry in &report.entries {
            let run = self.runs.get(&entry.partition);
            let ours = run.is_some_and(|run| run.token == entry.token && run.has_handlers());
            let Some(state) = self.state.partitions.get(&entry.partition).filter(|_| ours) else {
                continue;
            };
            self.actions.push(Action::Reported {
                partition: entry.partition.clone(),
                token: entry.token,
                progress: state.progress.clone(),
            });
        }
    }

    /// What was started is drained or paused, if it has to be.
    fn go_on(&mut self, partition: &PartitionId, token: Token, paused: bool, must_stop: bool) {
        let partition = partition.clone();
        if must_stop {
            let since = self.now.mono;
            let cancelled = false;
            self.set_stage(&partition, Stage::Draining { since, cancelled });
            self.actions.push(Action::Drain { partition, token });
            return;
        }
        let pause = self.state.is_paused(&partition);
        if pause == paused {
            return;
        }
        self.set_stage(&partition, Stage::Started { paused: pause });
        self.actions.push(if pause {
            Action::Pause { partition, token }
        } else {
            Action::Unpause { partition, token }
        });
    }

    /// It is not owned under that token any more: its handlers are cancelled.
    fn drop_run(&mut self, partition: &PartitionId) {
        let Some(run) = self.runs.remove(partition) else {
            return;
        };
        if !run.has_handlers() {
            return;
        }
        let (partition, token) = (partition.clone(), run.token);
        self.ending.insert((partition.clone(), token));
        self.actions.push(Action::Cancel { partition, token });
    }

    pub(super) fn drop_runs(&mut self) {
        for partition in self.runs.keys().cloned().collect::<Vec<_>>() {
            self.drop_run(&partition);
        }
    }

    pub(super) fn place(&mut self, partition: &PartitionId, token: Token, progress: Progress) {
        if let Some(run) = self.runs.get_mut(partition)
            && run.token == token
            && run.stage == Stage::Finding
        {
            run.stage = Stage::Placed;
            run.told(progress, false);
        }
    }

    pub(super) fn work_ended(&mut self, partition: &PartitionId, token: Token) {
        self.ending.remove(&(partition.clone(), token));
        if let Some(run) = self.runs.get_mut(partition)
            && run.token == token
            && matches!(run.stage, Stage::Draining { .. })
        {
            run.stage = Stage::Drained;
        }
        self.settle(partition);
    }

    pub(super) fn skipped(&mut self, partition: &PartitionId, offset: i64) {
        if let Some(run) = self.runs.get(partition)
            && run.has_handlers()
        {
            let (partition, token) = (partition.clone(), run.token);
            self.actions.push(Action::Skip {
                partition,
                token,
                offset,
            });
        }
    }

    /// When a drain is cut short.
    fn drain_end(&self, since: u64) -> u64 {
        let leaving = self
            .leaving
            .unwrap_or(u64::MAX)
            .saturating_add(self.settings.drain);
        (since + self.settings.drain).min(leaving)
    }

    /// Cancels what has drained for too long.
    pub(super) fn check_drains(&mut self) {
        let mut late = Vec::new();
        for (partition, run) in &self.runs {
            if let Stage::Draining {
                since,
                cancelled: false,
            } = run.stage
                && self.now.mono >= self.drain_end(since)
            {
                late.push((partition.clone(), run.token, since));
            }
        }
        for (partition, token, since) in late {
            let cancelled = true;
            self.set_stage(&partition, Stage::Draining { since, cancelled });
            self.actions.push(Action::Cancel { partition, token });
        }
    }

    pub(super) fn drains_wake(&self) -> Option<u64> {
        let ends = self.runs.values().filter_map(|run| match run.stage {
            Stage::Draining {
                since,
                cancelled: false,
            } => Some(self.drain_end(since)),
            _ => None,
        });
        ends.min()
    }

    /// Whether something is to be reported at once: a first position or a release.
    pub(super) fn is_urgent(&self) -> bool {
        self.runs.iter().any(|(partition, run)| match run.stage {
            Stage::Placed => run.dirty,
            Stage::Drained => self.must_go(partition),
            _ => false,
        })
    }

    /// Whether there is progress to report.
    pub(super) fn has_news(&self) -> bool {
        self.runs.values().any(|run| run.dirty)
    }

    /// Whether any handler may run.
    pub(super) fn is_busy(&self) -> bool {
        !self.ending.is_empty() || self.runs.values().any(Run::has_handlers)
    }

    /// The time to leave is over: what still runs is given up on.
    pub(super) fn abandon_handlers(&mut self) {
        self.ending.clear();
        for run in self.runs.values_mut() {
            if run.has_handlers() {
                run.stage = Stage::Drained;
            }
        }
    }

    /// What is new since the last report. What is released with it is released for good.
    pub(super) fn collect_report(&mut self) -> Told {
        let mut told = Told::default();
        let going: Vec<bool> = self
            .runs
            .iter()
            .map(|(partition, run)| run.stage == Stage::Drained && self.must_go(partition))
            .collect();
        for ((partition, run), going) in self.runs.iter_mut().zip(going) {
            told.entries.extend(run.entry(partition));
            let again = run.stage == Stage::Released && self.rules.has(Rule::RepeatRelease);
            if going || again {
                run.stage = Stage::Released;
                told.released.push((partition.clone(), run.token));
            }
        }
        let limit = self.done_limit();
        for entry in &mut told.entries {
            self.cut(&mut entry.progress, limit);
        }
        told
    }

    /// Everything that is not in the state yet, for a leave.
    pub(super) fn collect_last(&mut self) -> Vec<Entry> {
        self.collect_report().entries
    }

    /// The most bytes of `done` per partition: the group's snapshot stays within 16 MiB.
    fn done_limit(&self) -> usize {
        let share = MAX_DONE_OF_ALL / self.state.partitions.len().max(1);
        self.settings.done_bytes.min(share)
    }

    /// What does not fit is left out from the top: a hole lower down would repeat a record after its key's later ones.
    fn cut(&self, progress: &mut Progress, limit: usize) {
        #[cfg(test)]
        if !self.rules.has(Rule::TopOnly) {
            progress.cut_bottom(limit);
        }
        progress.cut_top(limit);
        // A held record takes some 32 bytes; who takes over without it tries it as if for the first time.
        let most = (limit / 32).max(1);
        while progress.held.len() > most {
            progress.held.pop_last();
        }
    }
}
