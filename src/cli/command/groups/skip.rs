//! `groups skip`.

use anyhow::{anyhow, bail};
use serde::Serialize;

use super::{Manner, decide, read};
use crate::broker::metadata::PartitionId;
use crate::broker::{Cluster, offsets};
use crate::cli::Exit;
use crate::cli::command::topics::{ask, tell};
use crate::cli::output::Output;
use crate::cli::settings::SkipRecord;
use crate::group::record::Record;
use crate::group::state::State;

#[derive(Serialize)]
struct Report<'a> {
    group: &'a str,
    dry_run: bool,
    topic: &'a str,
    partition: i32,
    offset: i64,
    result: &'static str,
}

/// Has a record count as finished.
pub(super) async fn run(
    cluster: &Cluster,
    skip: &SkipRecord,
    manner: &Manner,
    output: &Output,
) -> anyhow::Result<Exit> {
    let what = format!("offset {} of {} {}", skip.offset, skip.topic, skip.partition);
    if !skip.yes && !skip.dry_run && !output.can_ask() {
        ask(output, false, &format!("skip {what}?"))?;
    }
    let partition: PartitionId = (skip.topic.as_str().into(), skip.partition);
    let state = read(cluster, &skip.group).await?.state;
    let bounds = offsets::bounds(cluster, std::slice::from_ref(&partition), manner.read_committed);
    let open = check(skip, &state, &partition)?;
    let mut result = if open { "would_skip" } else { "finished_already" };
    if open {
        let told = bounds.await?.pop();
        let (_, end) =
            told.ok_or_else(|| anyhow!("the brokers say nothing of {} {}", skip.topic, skip.partition))??;
        if skip.offset >= end {
            bail!("{what} is not there yet: the partition ends at {end}");
        }
        if !skip.dry_run {
            let question = format!("skip {what} in group {}? It will not be processed", skip.group);
            if !ask(output, skip.yes, &question)? {
                return Err(anyhow!("nothing is skipped"));
            }
            let record = |state: &State| record(state, skip, &partition, &manner.operator);
            result = match decide(cluster, &skip.group, record).await? {
                Some(_) => "skipped",
                None => "finished_already",
            };
        }
    }
    if manner.json {
        output.json(&Report {
            group: &skip.group,
            dry_run: skip.dry_run,
            topic: &skip.topic,
            partition: skip.partition,
            offset: skip.offset,
            result,
        })?;
    } else {
        tell(
            output,
            skip.dry_run,
            &format!("{what}: {}", result.replace('_', " ")),
        )?;
    }
    Ok(Exit::Done)
}

/// Whether the record is still to be processed.
///
/// # Errors
/// If the group does not have the partition, or no position in it.
fn check(skip: &SkipRecord, state: &State, partition: &PartitionId) -> anyhow::Result<bool> {
    let Some(now) = state.partitions.get(partition) else {
        bail!(
            "group {} does not have partition {} of topic {}",
            skip.group,
            skip.partition,
            skip.topic
        );
    };
    if now.progress.next.is_none() {
        bail!(
            "group {} has no position in {} {} yet: it may begin behind this record",
            skip.group,
            skip.topic,
            skip.partition
        );
    }
    Ok(!now.progress.is_finished(skip.offset))
}

fn record(
    state: &State,
    skip: &SkipRecord,
    partition: &PartitionId,
    operator: &str,
) -> anyhow::Result<Option<Record>> {
    if !check(skip, state, partition)? {
        return Ok(None);
    }
    let seen = state.partitions.get(partition).map(|now| now.seen());
    Ok(seen.map(|seen| Record::Skip {
        by: operator.to_owned(),
        why: skip.why.clone(),
        partition: partition.clone(),
        offset: skip.offset,
        seen,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Progress;

    fn skip(offset: i64) -> SkipRecord {
        SkipRecord {
            group: "g".to_owned(),
            topic: "t".to_owned(),
            partition: 0,
            offset,
            why: String::new(),
            yes: true,
            dry_run: false,
        }
    }

    #[test]
    fn only_what_is_not_finished_can_be_skipped() {
        let partition: PartitionId = ("t".into(), 0);
        let mut state = State::default();
        let refusal = |state: &State| check(&skip(7), state, &partition).unwrap_err().to_string();
        assert!(refusal(&state).contains("does not have partition 0 of topic t"));
        state.partitions.entry(partition.clone()).or_default();
        assert!(refusal(&state).contains("no position"));
        let now = state.partitions.entry(partition.clone()).or_default();
        now.progress = Progress::at(5, -1);
        now.progress.finish(8);
        assert!(!check(&skip(4), &state, &partition).unwrap());
        assert!(!check(&skip(8), &state, &partition).unwrap());
        assert!(check(&skip(7), &state, &partition).unwrap());
        assert!(record(&state, &skip(7), &partition, "ann").unwrap().is_some());
        assert!(record(&state, &skip(8), &partition, "ann").unwrap().is_none());
    }
}
