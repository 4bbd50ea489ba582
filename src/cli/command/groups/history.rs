//! `groups history`.

use serde::Serialize;

use super::read;
use crate::broker::Cluster;
use crate::cli::Exit;
use crate::cli::output::{Output, rfc3339};
use crate::group::history::{Entry, story};

#[derive(Serialize)]
struct Report<'a> {
    group: &'a str,
    entries: Vec<Entry>,
}

/// Tells the group's log as a story; void records and snapshots only with `all`.
pub(super) async fn run(
    cluster: &Cluster,
    group: &str,
    all: bool,
    json: bool,
    output: &Output,
) -> anyhow::Result<Exit> {
    let replayed = read(cluster, group).await?;
    let mut entries = story(&replayed.story);
    entries.retain(|entry| all || !entry.event.is_detail());
    if json {
        output.json(&Report { group, entries })?;
        return Ok(Exit::Done);
    }
    if entries.is_empty() {
        output.note(&format!("the log of group {group} is empty"));
    } else {
        let lines: Vec<String> = entries
            .iter()
            .map(|entry| format!("{}  {}", rfc3339(entry.time), entry.event))
            .collect();
        output.line(&lines.join("\n"))?;
    }
    Ok(Exit::Done)
}
