//! `topics list`.

use serde::Serialize;

use super::{leaderless, replication, under_replicated, warn_of_health};
use crate::broker::Cluster;
use crate::cli::Exit;
use crate::cli::output::{Output, Table};

#[derive(Serialize)]
struct Report<'a> {
    topics: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    internal: bool,
    partitions: usize,
    replication: usize,
    under_replicated: usize,
    without_leader: usize,
}

/// Prints each topic with its partitions and replicas.
pub(super) async fn run(
    cluster: &Cluster,
    internal: bool,
    json: bool,
    output: &Output,
) -> anyhow::Result<Exit> {
    let view = cluster.refresh(None).await?;
    let topics: Vec<_> = view
        .topics
        .iter()
        .filter(|(_, topic)| topic.error.is_none() && (internal || !topic.internal))
        .map(|(name, topic)| (name.as_str(), topic))
        .collect();
    if json {
        let lines = topics.iter().map(|&(name, topic)| Line {
            name,
            internal: topic.internal,
            partitions: topic.partitions.len(),
            replication: replication(topic),
            under_replicated: under_replicated(topic),
            without_leader: leaderless(topic),
        });
        output.json(&Report {
            topics: lines.collect(),
        })?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(["TOPIC", "PARTITIONS", "REPLICATION"]);
    for (name, topic) in &topics {
        table.row([
            (*name).to_owned(),
            topic.partitions.len().to_string(),
            replication(topic).to_string(),
        ]);
    }
    if table.is_empty() {
        output.note(
            "there are no topics, or none that this user may describe; `barnabas topics create` makes one",
        );
    } else {
        output.table(&table)?;
    }
    warn_of_health(output, &topics);
    Ok(Exit::Done)
}
