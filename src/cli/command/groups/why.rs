//! `groups why`.

mod explain;
mod records;

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use serde::Serialize;

use super::{Manner, choose, describe, list, read};
use crate::app::{Found, look_up};
use crate::broker::Cluster;
use crate::broker::metadata::PartitionId;
use crate::cli::Exit;
use crate::cli::command::dlq::view::bytes;
use crate::cli::output::{Output, plural, rfc3339};
use crate::cli::settings::Chosen;
use crate::clock;
use explain::{Facts, MemberWhy, Why};

/// Records that are looked up in their topics at most.
const MAX_LOOKED_UP: usize = 64;
/// At the same time.
const AT_ONCE: usize = 32;
/// Each is waited for so long.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Report<'a> {
    group: &'a str,
    state: &'static str,
    /// Whether anything is.
    held_back: bool,
    members: &'a [MemberWhy],
    partitions: &'a [Why],
}

/// Prints what holds a group's partitions back.
pub(super) async fn run(
    cluster: &Cluster,
    group: &str,
    chosen: &Chosen,
    manner: &Manner,
    output: &Output,
) -> anyhow::Result<Exit> {
    let replayed = read(cluster, group).await?;
    let state = &replayed.state;
    let partitions = if chosen.is_everything() {
        state.partitions.keys().cloned().collect()
    } else {
        choose(group, state, chosen)?
    };
    let bounds = describe::bounds(cluster, partitions.clone(), manner.read_committed, output).await?;
    let facts = Facts {
        state,
        notes: replayed.notes(),
        log: &replayed.story,
        bounds: &bounds,
        now: clock::unix_millis(),
    };
    let mut partitions = facts.partitions(&partitions);
    let members = facts.members();
    let failed = look(cluster, &mut partitions, manner.read_committed, facts.now).await;
    if let Some(error) = failed {
        output.warn(&format!("some events could not be looked at: {error:#}"));
    }
    let held_back =
        partitions.iter().any(Why::is_held_back) || members.iter().any(MemberWhy::is_out_of_order);
    if manner.json {
        output.json(&Report {
            group,
            state: list::condition(state),
            held_back,
            members: &members,
            partitions: &partitions,
        })?;
        return Ok(Exit::Done);
    }
    output.line(&headline(group, &partitions, held_back))?;
    for member in &members {
        for line in member.lines(group, facts.now) {
            output.line(&line)?;
        }
    }
    partitions.retain(Why::is_held_back);
    for table in [explain::table(&partitions), records::table(&partitions)] {
        if !table.is_empty() {
            output.line("")?;
            output.table(&table)?;
        }
    }
    Ok(Exit::Done)
}

/// The first line: all of it, where nothing holds the group back.
fn headline(group: &str, partitions: &[Why], held_back: bool) -> String {
    let (held, behind): (Vec<_>, Vec<_>) = partitions.iter().partition(|why| why.is_held_back());
    let lag = behind
        .iter()
        .filter_map(|why| why.lag)
        .fold(0, i64::saturating_add);
    let backlog = if behind.is_empty() {
        String::new()
    } else {
        let (lag, count) = (lag.unsigned_abs(), behind.len() as u64);
        let of = plural(count, "partition");
        format!("a backlog of {} in {of}", plural(lag, "event"))
    };
    match (held_back, held.len() as u64) {
        (false, _) if backlog.is_empty() => format!("nothing holds group {group} back"),
        (false, _) => format!("nothing holds group {group} back: {backlog}"),
        (true, 0) => format!("group {group} is held back by its handler"),
        (true, count) => {
            let verb = if count == 1 { "is" } else { "are" };
            let rest = if backlog.is_empty() {
                backlog
            } else {
                format!("; {backlog}")
            };
            format!(
                "group {group}: {} {verb} held back{rest}",
                plural(count, "partition")
            )
        }
    }
}

/// Looks up the keys and times of the records that hold partitions back; gives the first error.
async fn look(
    cluster: &Cluster,
    partitions: &mut [Why],
    read_committed: bool,
    now: i64,
) -> Option<anyhow::Error> {
    let of = |why: &Why| -> PartitionId { (why.topic.as_str().into(), why.partition) };
    let wanted: Vec<(usize, usize, PartitionId, i64)> = partitions
        .iter()
        .enumerate()
        .flat_map(|(at, why)| {
            let records = why.records.iter().enumerate();
            records.map(move |(place, record)| (at, place, of(why), record.offset))
        })
        .take(MAX_LOOKED_UP)
        .collect();
    let found = wanted.into_iter().map(|(at, place, id, offset)| async move {
        let looked = tokio::time::timeout(PATIENCE, look_up(cluster, &id, offset, read_committed)).await;
        (at, place, looked)
    });
    let found: Vec<_> = stream::iter(found).buffered(AT_ONCE).collect().await;
    let mut failed = None;
    for (at, place, found) in found {
        let Some(record) = partitions.get_mut(at).and_then(|why| why.records.get_mut(place)) else {
            continue;
        };
        match found {
            // Who asks at night wants the rest now: what could not be found out in time is left unknown.
            Err(_) => {}
            Ok(Ok(Found::Record(key, time))) => {
                record.key = bytes(key.as_deref());
                record.time = Some(rfc3339(time)).filter(|text| !text.is_empty());
                record.age_s = Some(explain::seconds(now.saturating_sub(time)));
                record.found = "yes";
            }
            Ok(Ok(Found::Compacted)) => record.found = "compacted",
            Ok(Ok(Found::Deleted)) => record.found = "deleted",
            Ok(Err(error)) => failed = failed.or_else(|| Some(error.into())),
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(reason: &'static str, lag: i64) -> Why {
        Why {
            lag: Some(lag),
            reasons: vec![reason],
            ..Why::default()
        }
    }

    #[test]
    fn where_nothing_is_held_back_one_line_says_so() {
        assert_eq!(headline("g", &[], false), "nothing holds group g back");
        assert_eq!(
            headline("g", &[why("backlog", 1_000), why("backlog", 1)], false),
            "nothing holds group g back: a backlog of 1,001 events in 2 partitions"
        );
    }

    #[test]
    fn what_is_held_back_is_counted() {
        assert_eq!(
            headline("g", &[why("held", 1_000), why("backlog", 1)], true),
            "group g: 1 partition is held back; a backlog of 1 event in 1 partition"
        );
        assert_eq!(headline("g", &[], true), "group g is held back by its handler");
    }
}
