//! `groups reset`.

use std::collections::BTreeSet;

use anyhow::{anyhow, bail};
use serde::Serialize;

use super::{Manner, choose, decide, read};
use crate::broker::metadata::PartitionId;
use crate::broker::offsets::{self, OffsetQuery, Wanted};
use crate::broker::{Cluster, Error};
use crate::cli::Exit;
use crate::cli::command::topics::ask;
use crate::cli::output::{Output, Table, plural};
use crate::cli::settings::{ResetGroup, ResetTo};
use crate::group::record::{Record, Token};
use crate::group::state::{Change, State};

/// Partitions in one record, so that it stays far below the largest.
const MAX_PER_RECORD: usize = 1_000;
/// How often an entry is written again whose token changed in between: a partition was handed over at that moment.
const MAX_TRIES: u32 = 5;

#[derive(Serialize)]
struct Report<'a> {
    group: &'a str,
    dry_run: bool,
    partitions: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    topic: String,
    partition: i32,
    from: Option<i64>,
    to: Option<i64>,
    start: i64,
    end: i64,
    result: &'static str,
}

/// A partition that is to move.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    partition: PartitionId,
    from: Option<i64>,
    to: Option<i64>,
    /// Where its log begins and ends.
    bounds: (i64, i64),
    /// Whether `--by` would have gone further than the log does.
    clipped: bool,
}

/// Moves partitions of a group, running or not, after having shown where to.
pub(super) async fn run(
    cluster: &Cluster,
    reset: &ResetGroup,
    manner: &Manner,
    output: &Output,
) -> anyhow::Result<Exit> {
    if !reset.yes && !reset.dry_run && !output.can_ask() {
        ask(output, false, &format!("reset group {}?", reset.group))?;
    }
    let state = read(cluster, &reset.group).await?.state;
    let partitions = choose(&reset.group, &state, &reset.chosen)?;
    let steps = plan(cluster, &state, &partitions, reset.to, manner.read_committed).await?;
    // One that is at its end already is no news.
    for step in steps.iter().filter(|step| step.clipped && step.from != step.to) {
        let ((topic, partition), (start, end)) = (&step.partition, step.bounds);
        output.warn(&format!(
            "{topic} {partition}: its offsets are {start} to {end}; no further than that"
        ));
    }
    if !manner.json {
        if reset.dry_run {
            output.table(&table(&steps))?;
        } else {
            output.note(&format!(
                "group {}:\n{}",
                reset.group,
                table(&steps).render(false)
            ));
        }
    }
    let mut done = vec![false; steps.len()];
    if !reset.dry_run {
        let many = plural(steps.len() as u64, "partition");
        let question = format!(
            "reset {many} of group {}? What is in flight there will not count",
            reset.group
        );
        if !ask(output, reset.yes, &question)? {
            return Err(anyhow!("nothing is reset"));
        }
        done = carry_out(cluster, reset, &steps, manner).await?;
    }
    let missed = done.iter().filter(|done| !**done).count();
    if manner.json {
        let lines = steps
            .iter()
            .zip(&done)
            .map(|(step, done)| line(step, *done, reset.dry_run));
        output.json(&Report {
            group: &reset.group,
            dry_run: reset.dry_run,
            partitions: lines.collect(),
        })?;
    }
    if reset.dry_run {
        return Ok(Exit::Done);
    }
    if missed > 0 {
        bail!(
            "{missed} of {} partitions were not reset: others kept changing them; try again",
            steps.len()
        );
    }
    if !manner.json {
        output.note(&format!("reset {}", plural(steps.len() as u64, "partition")));
    }
    Ok(Exit::Done)
}

/// Where each partition goes.
///
/// # Errors
/// If it cannot go there, or its topic cannot be asked; all partitions are told, and none is moved.
async fn plan(
    cluster: &Cluster,
    state: &State,
    partitions: &[PartitionId],
    to: ResetTo,
    read_committed: bool,
) -> anyhow::Result<Vec<Step>> {
    let bounds = offsets::bounds(cluster, partitions, read_committed).await?;
    let times = times(cluster, partitions, to, read_committed).await?;
    let mut steps = Vec::new();
    let mut refusals: Vec<String> = Vec::new();
    for ((partition, bounds), time) in partitions.iter().zip(bounds).zip(times) {
        let from = state.partitions.get(partition).and_then(|now| now.progress.next);
        let step = bounds
            .and_then(|bounds| Ok((bounds, time?)))
            .map_err(|error| format!("{:#}", anyhow::Error::from(error)))
            .and_then(|(bounds, time)| {
                let (to, clipped) = destination(to, from, bounds, time)?;
                Ok(Step {
                    partition: partition.clone(),
                    from,
                    to,
                    bounds,
                    clipped,
                })
            });
        match step {
            Ok(step) => steps.push(step),
            Err(why) => refusals.push(format!("{} {}: {why}", partition.0, partition.1)),
        }
    }
    if !refusals.is_empty() {
        const MAX_NAMED: usize = 10;
        let more = refusals.len().saturating_sub(MAX_NAMED);
        refusals.truncate(MAX_NAMED);
        let more = if more > 0 {
            format!("; and {more} more")
        } else {
            String::new()
        };
        bail!("nothing is reset: {}{more}", refusals.join("; "));
    }
    Ok(steps)
}

/// For each partition the offset of the time asked for, if one was and there is such a record.
async fn times(
    cluster: &Cluster,
    partitions: &[PartitionId],
    to: ResetTo,
    read_committed: bool,
) -> Result<Vec<Result<Option<i64>, Error>>, Error> {
    let ResetTo::Time(millis) = to else {
        return Ok(vec![Ok(None); partitions.len()]);
    };
    let wanted: Vec<Wanted> = partitions
        .iter()
        .map(|(topic, partition)| Wanted {
            topic: topic.clone(),
            partition: *partition,
            query: OffsetQuery::At(millis),
        })
        .collect();
    let told = offsets::list(cluster, &wanted, read_committed).await?;
    let offset = |outcome: offsets::Outcome| outcome.map(|found| found.map(|found| found.offset));
    Ok(told.into_iter().map(offset).collect())
}

/// Where a partition goes, and whether it would have gone further than its log does.
fn destination(
    to: ResetTo,
    next: Option<i64>,
    (start, end): (i64, i64),
    at_time: Option<i64>,
) -> Result<(Option<i64>, bool), String> {
    let range = || format!("its offsets are {start} to {end}");
    match to {
        ResetTo::Earliest => Ok((Some(start), false)),
        ResetTo::Latest => Ok((Some(end), false)),
        ResetTo::None => Ok((None, false)),
        ResetTo::Time(_) => Ok((Some(at_time.unwrap_or(end).clamp(start, end)), false)),
        ResetTo::Offset(offset) if offset < start || offset > end => {
            Err(format!("offset {offset} is not there: {}", range()))
        }
        ResetTo::Offset(offset) => Ok((Some(offset), false)),
        ResetTo::By(by) => {
            let next = next.ok_or("it has no position yet to count from: say --to")?;
            let wanted = next.saturating_add(by);
            let to = wanted.clamp(start, end);
            Ok((Some(to), to != wanted))
        }
    }
}

/// Writes the resets to the log, and says which of them held: each does on its own.
async fn carry_out(
    cluster: &Cluster,
    reset: &ResetGroup,
    steps: &[Step],
    manner: &Manner,
) -> anyhow::Result<Vec<bool>> {
    let mut done = vec![false; steps.len()];
    for _ in 0..MAX_TRIES {
        let open: Vec<usize> = (0..steps.len()).filter(|&index| !done[index]).collect();
        for some in open.chunks(MAX_PER_RECORD) {
            let record = |state: &State| {
                let steps = some.iter().map(|&index| &steps[index]);
                Ok(Some(record(state, steps, &manner.operator, &reset.why)))
            };
            let Some(administered) = decide(cluster, &reset.group, record).await? else {
                continue;
            };
            let held: BTreeSet<&PartitionId> =
                administered.applied.changes.iter().filter_map(moved).collect();
            for &index in some {
                done[index] |= held.contains(&steps[index].partition);
            }
        }
    }
    Ok(done)
}

fn moved(change: &Change) -> Option<&PartitionId> {
    match change {
        Change::Reset { partition, .. } => Some(partition),
        _ => None,
    }
}

/// The reset of these partitions, with the tokens that they have now: a hand-over in between does not matter, since the
/// operator named where to, and not from where.
fn record<'a>(state: &State, steps: impl Iterator<Item = &'a Step>, by: &str, why: &str) -> Record {
    let seen = |partition: &PartitionId| {
        state
            .partitions
            .get(partition)
            .map_or(Token::NONE, |now| now.seen())
    };
    let entry = |step: &Step| (step.partition.clone(), step.to, seen(&step.partition));
    Record::Reset {
        by: by.to_owned(),
        why: why.to_owned(),
        partitions: steps.map(entry).collect(),
    }
}

fn table(steps: &[Step]) -> Table {
    let mut table = Table::new(["TOPIC", "PARTITION", "FROM", "TO", "START", "END"]);
    let offset = |offset: Option<i64>| offset.map_or("none".to_owned(), |offset| offset.to_string());
    for step in steps {
        table.row([
            step.partition.0.to_string(),
            step.partition.1.to_string(),
            offset(step.from),
            offset(step.to),
            step.bounds.0.to_string(),
            step.bounds.1.to_string(),
        ]);
    }
    table
}

fn line(step: &Step, done: bool, dry_run: bool) -> Line {
    Line {
        topic: step.partition.0.to_string(),
        partition: step.partition.1,
        from: step.from,
        to: step.to,
        start: step.bounds.0,
        end: step.bounds.1,
        result: match (dry_run, done) {
            (true, _) => "would_reset",
            (false, true) => "reset",
            (false, false) => "failed",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: (i64, i64) = (10, 100);

    fn to(to: ResetTo) -> Result<(Option<i64>, bool), String> {
        destination(to, Some(50), BOUNDS, None)
    }

    #[test]
    fn an_offset_beyond_the_log_is_refused_with_the_range() {
        assert_eq!(to(ResetTo::Offset(10)), Ok((Some(10), false)));
        assert_eq!(to(ResetTo::Offset(100)), Ok((Some(100), false)));
        for beyond in [9, 101] {
            let why = to(ResetTo::Offset(beyond)).unwrap_err();
            assert_eq!(
                why,
                format!("offset {beyond} is not there: its offsets are 10 to 100")
            );
        }
    }

    #[test]
    fn a_relative_reset_goes_no_further_than_the_log() {
        assert_eq!(to(ResetTo::By(-40)), Ok((Some(10), false)));
        assert_eq!(to(ResetTo::By(-41)), Ok((Some(10), true)));
        assert_eq!(to(ResetTo::By(i64::MAX)), Ok((Some(100), true)));
        assert!(destination(ResetTo::By(1), None, BOUNDS, None).is_err());
    }

    #[test]
    fn a_time_without_a_record_is_the_end() {
        assert_eq!(to(ResetTo::Time(5)), Ok((Some(100), false)));
        let found = destination(ResetTo::Time(5), None, BOUNDS, Some(60));
        assert_eq!(found, Ok((Some(60), false)));
    }

    #[test]
    fn a_reset_carries_the_tokens_of_the_moment() {
        let partition: PartitionId = ("t".into(), 0);
        let step = Step {
            partition: partition.clone(),
            from: None,
            to: Some(5),
            bounds: BOUNDS,
            clipped: false,
        };
        let mut state = State::default();
        let seen = |state: &State| match record(state, std::iter::once(&step), "ann", "") {
            Record::Reset { partitions, .. } => partitions[0].2,
            other => panic!("{other:?}"),
        };
        assert_eq!(seen(&state), Token::NONE);
        let now = state.partitions.entry(partition.clone()).or_default();
        now.token = Token::try_from(7).ok();
        assert_eq!(seen(&state).number(), 7);
    }
}
