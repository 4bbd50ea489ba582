//! `dlq purge`.

use anyhow::{anyhow, bail};
use serde::Serialize;

use super::{find_one, read};
use crate::broker::Cluster;
use crate::cli::Exit;
use crate::cli::command::topics::{ask, tell};
use crate::cli::output::{Output, plural};
use crate::dead_letter::redrive::{Purge, is_open, purge, purges};
use crate::dead_letter::split_dead;

/// How to do it.
#[derive(Clone, Copy)]
pub(super) struct How {
    pub(super) yes: bool,
    pub(super) dry_run: bool,
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    dlq: &'a str,
    dry_run: bool,
    open: u64,
    partitions: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    partition: i32,
    from: i64,
    to: i64,
    result: &'static str,
    error: Option<String>,
}

/// Deletes what nobody needs any more.
pub(super) async fn run(cluster: &Cluster, name: &str, how: How, output: &Output) -> anyhow::Result<Exit> {
    if !how.yes && !how.dry_run && !output.can_ask() {
        ask(output, false, &format!("purge dead letters of {name}?"))?;
    }
    let topic = find_one(cluster, name).await?;
    if split_dead(&topic).is_none() {
        bail!(
            "topic {topic} is not one of barnabas' (TOPIC.dlq.GROUP): what is dealt with there is not known"
        );
    }
    let all = read(cluster, &topic, output).await?;
    let open = all.ledger.letters().filter(|letter| is_open(letter)).count() as u64;
    let purges = purges(&all);
    let records: u64 = purges.iter().map(length).sum();
    let what = format!(
        "{} of {topic} up to the first open letter of each partition ({} stay)",
        plural(records, "record"),
        plural(open, "open letter")
    );
    if purges.is_empty() {
        if !how.json {
            output.note(&format!(
                "nothing to purge in {topic}: each partition is empty or begins with an open letter"
            ));
        }
    } else if how.dry_run {
        if !how.json {
            tell(output, true, &format!("would delete {what}"))?;
        }
    } else if !ask(output, how.yes, &format!("delete {what}? There is no way back"))? {
        return Err(anyhow!("nothing is purged"));
    }
    let mut lines = Vec::new();
    for one in &purges {
        let error = if how.dry_run {
            None
        } else {
            purge(cluster, &topic, one).await.err().map(|error| error.chain())
        };
        if let (Some(error), false) = (&error, how.json) {
            output.warn(&format!("partition {} of topic {topic}: {error}", one.partition));
        }
        let result = match (how.dry_run, &error) {
            (true, _) => "would_delete",
            (false, None) => "deleted",
            (false, Some(_)) => "failed",
        };
        lines.push(Line {
            partition: one.partition,
            from: one.from,
            to: one.to,
            result,
            error,
        });
    }
    let failed = lines.iter().filter(|line| line.error.is_some()).count();
    let deleted: u64 = purges
        .iter()
        .zip(&lines)
        .filter(|(_, line)| line.error.is_none())
        .map(|(one, _)| length(one))
        .sum();
    if how.json {
        output.json(&Report {
            dlq: &topic,
            dry_run: how.dry_run,
            open,
            partitions: lines,
        })?;
    } else if !purges.is_empty() && !how.dry_run {
        output.note(&format!("deleted {} of {topic}", plural(deleted, "record")));
    }
    if failed > 0 {
        bail!(
            "{failed} of {} were not purged",
            plural(purges.len() as u64, "partition")
        );
    }
    Ok(Exit::Done)
}

fn length(purge: &Purge) -> u64 {
    u64::try_from(purge.to - purge.from).unwrap_or(0)
}
