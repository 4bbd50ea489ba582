//! `groups describe`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::view::{self, MemberLine, PartitionLine};
use super::{Manner, list, read};
use crate::broker::metadata::PartitionId;
use crate::broker::{Cluster, offsets};
use crate::cli::Exit;
use crate::cli::output::{Output, plural, thousands};
use crate::group::log::{PREFIX, Replayed};

/// Failures to find out an end that are told each.
const MAX_TOLD: usize = 5;

#[derive(Serialize)]
struct Report {
    groups: Vec<Described>,
}

/// All that is known of a group.
#[derive(Debug, Serialize)]
struct Described {
    group: String,
    state: &'static str,
    lag: Option<i64>,
    log: LogLine,
    members: Vec<MemberLine>,
    partitions: Vec<PartitionLine>,
}

/// The group's log.
#[derive(Debug, Serialize)]
struct LogLine {
    topic: String,
    start: i64,
    end: i64,
    level: u32,
    /// The offset of the last mark: where every member hashed its state.
    mark: Option<i64>,
    hash: Option<String>,
    /// Records that cannot be read.
    unreadable: usize,
}

/// Prints members, partitions, positions and lag.
pub(super) async fn run(
    cluster: &Cluster,
    groups: &[String],
    manner: &Manner,
    output: &Output,
) -> anyhow::Result<Exit> {
    let mut described = Vec::new();
    let mut failures = Vec::new();
    for group in groups {
        match describe(cluster, group, manner.read_committed, output).await {
            Ok(found) => described.push(found),
            Err(error) => failures.push(error),
        }
    }
    if groups.len() == 1
        && let Some(only) = failures.pop()
    {
        return Err(only);
    }
    if manner.json {
        output.json(&Report { groups: described })?;
    } else {
        for (index, group) in described.iter().enumerate() {
            if index > 0 {
                output.line("")?;
            }
            group.print(output)?;
        }
    }
    for failure in &failures {
        output.warn(&format!("{failure:#}"));
    }
    match failures.len() {
        0 => Ok(Exit::Done),
        failed => anyhow::bail!("{failed} of {} groups were not described", groups.len()),
    }
}

async fn describe(
    cluster: &Cluster,
    group: &str,
    read_committed: bool,
    output: &Output,
) -> anyhow::Result<Described> {
    let replayed = read(cluster, group).await?;
    let partitions: Vec<PartitionId> = replayed.state.partitions.keys().cloned().collect();
    let bounds = bounds(cluster, partitions, read_committed, output).await?;
    Ok(Described::new(group, &replayed, &bounds))
}

/// Where the partitions' logs begin and end; of those that do not say so, why not is told.
pub(super) async fn bounds(
    cluster: &Cluster,
    partitions: Vec<PartitionId>,
    read_committed: bool,
    output: &Output,
) -> anyhow::Result<BTreeMap<PartitionId, (i64, i64)>> {
    let told = offsets::bounds(cluster, &partitions, read_committed).await?;
    let mut bounds = BTreeMap::new();
    let mut failures = Vec::new();
    for (partition, told) in partitions.into_iter().zip(told) {
        match told {
            Ok(found) => {
                bounds.insert(partition, found);
            }
            Err(error) => failures.push(error),
        }
    }
    for failure in failures.iter().take(MAX_TOLD) {
        output.warn(&format!("{:#}", anyhow::Error::from(failure.clone())));
    }
    if failures.len() > MAX_TOLD {
        output.warn(&format!("and {} more like these", failures.len() - MAX_TOLD));
    }
    Ok(bounds)
}

impl Described {
    fn new(group: &str, replayed: &Replayed, bounds: &BTreeMap<PartitionId, (i64, i64)>) -> Self {
        let Replayed {
            state,
            story,
            start,
            end,
        } = replayed;
        let partitions = view::partitions(state, bounds);
        let mark = state.mark;
        Self {
            group: group.to_owned(),
            state: list::condition(state),
            lag: view::lag(&partitions),
            log: LogLine {
                topic: format!("{PREFIX}{group}"),
                start: *start,
                end: *end,
                level: state.level,
                mark: mark.map(|mark| mark.at.offset()),
                hash: mark.map(|mark| format!("{:016x}", mark.hash)),
                unreadable: story.iter().filter(|(_, _, record)| record.is_err()).count(),
            },
            members: view::members(state, story),
            partitions,
        }
    }

    fn print(&self, output: &Output) -> anyhow::Result<()> {
        output.line(&self.headline())?;
        let log = &self.log;
        let mark = log
            .mark
            .map_or_else(String::new, |mark| format!(", last mark at {mark}"));
        let (topic, start, end, level) = (&log.topic, log.start, log.end, log.level);
        output.line(&format!(
            "log {topic}: offsets {start} to {end}, level {level}{mark}"
        ))?;
        if log.unreadable > 0 {
            let records = plural(log.unreadable as u64, "record");
            output.warn(&format!(
                "{records} of the log cannot be read and count as void: see `barnabas groups history {} --all`",
                self.group
            ));
        }
        for table in [
            view::members_table(&self.members),
            view::partitions_table(&self.partitions),
        ] {
            if !table.is_empty() {
                output.line("")?;
                output.table(&table)?;
            }
        }
        Ok(())
    }

    fn headline(&self) -> String {
        let topics: std::collections::BTreeSet<&str> =
            self.partitions.iter().map(|line| line.topic.as_str()).collect();
        let lag = match self.lag {
            Some(lag) => format!("lag {}", thousands(lag.unsigned_abs())),
            None => "lag unknown".to_owned(),
        };
        format!(
            "{}: {}, {}, {} of {}, {lag}",
            self.group,
            self.state,
            plural(self.members.len() as u64, "member"),
            plural(self.partitions.len() as u64, "partition"),
            plural(topics.len() as u64, "topic"),
        )
    }
}
