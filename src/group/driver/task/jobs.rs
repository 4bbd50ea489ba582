//! What the task has others do while it goes on, and what comes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::positions::{Finder, Position, Wants};
use super::super::{Failure, topics};
use super::{Cut, Done, Task, now};
use crate::broker::commits;
use crate::broker::epochs::{self, EpochEnd};
use crate::broker::error::{Error, Retry};
use crate::broker::metadata::View;
use crate::clock;
use crate::group::log::{LogError, Right};
use crate::group::member::AppendFailed;
use crate::group::record::{PartitionId, Record, Token};

/// After how many milliseconds a first position that could not be found is looked for again.
const FIND_AGAIN: u64 = 1_000;
/// After how many milliseconds a reset that was not read back is written again.
const RESET_AGAIN: u64 = 2_000;
/// After how many milliseconds the log is cut again, after it was refused.
const TRUNCATE_AGAIN: u64 = 3_600_000;
/// How long the last commit to Kafka's own group may take when this member leaves.
const LAST_COMMIT: Duration = Duration::from_secs(2);

impl Task {
    /// Finds the first positions that are due, all in one go.
    pub(super) fn find(&mut self, mono: u64) {
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.wanted)
            .into_iter()
            .partition(|(_, at)| *at <= mono);
        self.wanted = later;
        if due.is_empty() {
            return;
        }
        let finder = Finder {
            cluster: self.cluster.clone(),
            group: self.settings.group.clone(),
            from: self.settings.from.clone(),
            read_committed: self.settings.read_committed,
            log: self.log.id_text(),
            floor: self.member.state().floor,
        };
        let wants = due.into_iter().map(|(wants, _)| wants).collect();
        self.jobs
            .spawn(async move { Done::Found(finder.find(wants).await) });
    }

    fn found(&mut self, found: Vec<(Wants, Position)>) {
        for (wants, position) in found {
            let error = match position {
                Ok((offset, epoch)) => {
                    self.member
                        .found_position(&wants.partition, wants.token, offset, epoch);
                    continue;
                }
                Err(error) => error,
            };
            if error.is_unauthorised() {
                let partition = wants.partition;
                self.fail(Failure::Position {
                    partition,
                    source: error,
                });
                return;
            }
            let state = self.member.state().partitions.get(&wants.partition);
            if state.is_some_and(|state| state.token == Some(wants.token)) {
                tracing::warn!(
                    "the first position in partition {} of topic {} is not found yet: {}",
                    wants.partition.1,
                    wants.partition.0,
                    error.chain()
                );
                self.wanted.push((wants, clock::mono_millis() + FIND_AGAIN));
            }
        }
    }

    /// Asks whether the topics of partitions that start were cut back.
    pub(super) fn check(&mut self) {
        let epochs = self.starting.take_unasked();
        if epochs.is_empty() {
            return;
        }
        let cluster = self.cluster.clone();
        self.jobs.spawn(async move {
            let ends = epochs::ends(&cluster, &epochs).await;
            Done::Checked(epochs, ends)
        });
    }

    fn checked(
        &mut self,
        epochs: BTreeMap<PartitionId, i32>,
        ends: Result<BTreeMap<PartitionId, EpochEnd>, Error>,
    ) {
        let ends = ends.unwrap_or_else(|error| {
            tracing::info!(
                "cannot ask whether topics were cut back; reading them will tell: {}",
                error.chain()
            );
            BTreeMap::new()
        });
        for (partition, epoch) in epochs {
            let end = ends.get(&partition).copied();
            match self.starting.answered(&partition, epoch, end) {
                Ok(events) => self.ready.extend(events),
                Err((token, to)) => {
                    let at = clock::mono_millis();
                    self.cuts.insert(partition, Cut { token, to, at });
                }
            }
        }
    }

    /// Writes the resets of what was cut back, until they are read or something else has changed the token.
    pub(super) fn reset(&mut self, mono: u64) {
        if self.cuts.is_empty() {
            return;
        }
        let state = self.member.state();
        self.cuts.retain(|id, cut| {
            let partition = state.partitions.get(id);
            partition.is_some_and(|partition| partition.token == Some(cut.token))
        });
        let due = self.cuts.iter_mut().filter(|(_, cut)| cut.at <= mono);
        let partitions: Vec<(PartitionId, Option<i64>, Token)> = due
            .map(|(id, cut)| {
                cut.at = mono + RESET_AGAIN;
                (id.clone(), Some(cut.to), cut.token)
            })
            .collect();
        if partitions.is_empty() {
            return;
        }
        for (id, to, _) in &partitions {
            tracing::warn!(
                "partition {} of topic {} was cut back behind what the group has done: going on at offset {}",
                id.1,
                id.0,
                to.unwrap_or(0)
            );
        }
        let record = Record::Reset {
            by: format!("member {}", self.member.id()),
            why: "the topic was cut back (by an unclean leader election?)".to_owned(),
            partitions,
        };
        let (log, payload) = (self.log.clone(), record.encode());
        self.jobs
            .spawn(async move { Done::Reset(log.append(&payload).await) });
    }

    /// Writes what holds this member back, if that is another thing now and it is time.
    pub(super) fn write_note(&mut self, mono: u64) {
        let me = self.member.id();
        let lives = self.member.state().members.contains_key(me);
        if let Some(record) = self.notes.due(mono, lives.then_some(me)) {
            let (log, payload) = (self.log.clone(), record.encode());
            self.jobs
                .spawn(async move { Done::Noted(log.append(&payload).await) });
        }
    }

    /// Asks for metadata, if it is time.
    pub(super) fn look(&mut self, mono: u64) {
        if self.next_look.is_none_or(|at| mono < at) {
            return;
        }
        self.next_look = None;
        let (cluster, topics) = (self.cluster.clone(), self.settings.topics.clone());
        let log = self.log.topic().to_owned();
        self.jobs
            .spawn(async move { Done::Looked(topics::refresh(&cluster, &topics, &log).await) });
    }

    fn looked(&mut self, view: Result<View, Error>) {
        let mono = clock::mono_millis();
        match view {
            Ok(view) => {
                if let Err(failure) = self.topics.take(&view, &self.settings.topics, self.log.topic()) {
                    // It may have been read until now: a right that was taken away shows when it is read.
                    tracing::warn!("{}", anyhow::Error::new(failure));
                }
                if self.topics.log_id.is_some_and(|id| id != self.log.id()) {
                    let topic = self.log.topic().to_owned();
                    self.fail(LogError::Recreated { topic }.into());
                    return;
                }
                self.tell_topics();
            }
            Err(error) => tracing::info!("cannot look up the group's topics: {}", error.chain()),
        }
        self.next_look = Some(mono + self.topics.period());
    }

    /// Asks whether a topic of replays has come, if it is time.
    pub(super) fn glance(&mut self, mono: u64) {
        if self.next_glance.is_none_or(|at| mono < at) {
            return;
        }
        let missing = self.topics.missing_replays(&self.settings.group);
        if missing.is_empty() {
            self.next_glance = Some(mono + topics::REPLAYS);
            return;
        }
        self.next_glance = None;
        let cluster = self.cluster.clone();
        self.jobs.spawn(async move {
            let names: Vec<&str> = missing.iter().map(String::as_str).collect();
            Done::Glanced(cluster.refresh(Some(&names)).await)
        });
    }

    fn glanced(&mut self, view: Result<View, Error>) {
        match view {
            Ok(view) => {
                if self.topics.take_replays(&view, &self.settings.group) {
                    self.tell_topics();
                }
            }
            Err(error) => tracing::info!("cannot look for what is replayed: {}", error.chain()),
        }
        let missing = self.topics.missing_replays(&self.settings.group).len() as u64;
        let wait = topics::REPLAYS.max(missing * topics::FOR_EACH_REPLAY);
        self.next_glance = Some(clock::mono_millis() + wait);
    }

    /// Commits to Kafka's own group what has changed, if it is time.
    pub(super) fn commit(&mut self, mono: u64) {
        if self.mirror.next_wake().is_none_or(|at| mono < at) {
            return;
        }
        let commits = self.mirror.due(mono, self.member.state(), self.member.id());
        if commits.is_empty() {
            return;
        }
        let (cluster, group) = (self.cluster.clone(), self.settings.group.clone());
        self.jobs
            .spawn(async move { Done::Committed(commits::commit(&cluster, &group, &commits).await) });
    }

    /// Commits what this member did last, before it goes.
    pub(super) async fn commit_last(&mut self) {
        let commits = self.mirror.last(self.member.state(), self.member.id());
        if !commits.is_empty() {
            let commit = commits::commit(&self.cluster, &self.settings.group, &commits);
            if tokio::time::timeout(LAST_COMMIT, commit).await.is_err() {
                tracing::debug!("the last offsets were not committed to Kafka's own group");
            }
        }
    }

    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Appended(id, result) => {
                self.appending.remove(&id);
                let outcome = match result {
                    Ok(_) => Ok(()),
                    Err(error) => {
                        self.not_written(error);
                        Err(AppendFailed)
                    }
                };
                self.member.appended(now(), id, outcome);
            }
            Done::Reset(result) => {
                if let Err(error) = result {
                    self.not_written(error);
                }
            }
            Done::Noted(result) => {
                self.notes.written(result.as_ref().ok().copied());
                if let Err(error) = result {
                    self.not_written(error);
                }
            }
            Done::Found(found) => self.found(found),
            Done::Looked(view) => self.looked(view),
            Done::Glanced(view) => self.glanced(view),
            Done::Truncated(Ok(())) => {}
            Done::Truncated(Err(error)) => {
                if matches!(
                    error,
                    LogError::Denied {
                        right: Right::Delete,
                        ..
                    }
                ) {
                    self.truncate_from = clock::mono_millis() + TRUNCATE_AGAIN;
                    tracing::warn!("{error}: until then the log grows");
                } else {
                    tracing::info!("{}", anyhow::Error::new(error));
                }
            }
            Done::Committed(result) => {
                let warning = self.mirror.committed(clock::mono_millis(), result);
                if let Some(warning) = warning {
                    tracing::warn!("group {}: {warning}", self.settings.group);
                }
            }
            Done::Checked(epochs, ends) => self.checked(epochs, ends),
        }
    }

    /// A record was refused, or may not have been written. It will be tried again, unless a right is missing.
    fn not_written(&mut self, error: Error) {
        if error.is_unauthorised() {
            self.fail(LogError::of_write(error, self.log.topic()).into());
        } else if error.retry() == Retry::No {
            tracing::warn!("the group's log did not take a record: {}", error.chain());
        } else {
            tracing::info!("writing to the group's log: {}", error.chain());
        }
    }
}
