//! `dlq list`.

use serde::Serialize;

use super::view::{Line, MAX_ERROR, MAX_KEY, finished, group_state, line, or_dash, shown, why};
use super::{by_time, exit_of, find, read};
use crate::broker::Cluster;
use crate::cli::Exit;
use crate::cli::output::{Output, Table, plural, rfc3339};
use crate::dead_letter::filter::Filter;
use crate::dead_letter::redrive::is_open;

#[derive(Serialize)]
struct Report<'a> {
    letters: Vec<Line<'a>>,
}

/// Prints letters, each once.
pub(super) async fn run(
    cluster: &Cluster,
    names: &[String],
    everything: bool,
    filter: &Filter,
    json: bool,
    output: &Output,
) -> anyhow::Result<Exit> {
    let topics = find(cluster, names).await?;
    let mut found = Vec::new();
    for topic in &topics {
        found.push((
            topic,
            read(cluster, topic, output).await?,
            group_state(cluster, topic).await,
        ));
    }
    let mut lines = Vec::new();
    let mut table = Table::new(head(everything, topics.len() > 1));
    let (mut open, mut hidden, mut unfinished) = (0_u64, 0_u64, 0_u64);
    for (topic, all, state) in &found {
        for letter in by_time(all) {
            if !filter.matches(letter.detail) {
                continue;
            }
            if is_open(&letter) {
                open += 1;
            } else if !everything {
                hidden += 1;
                continue;
            }
            let told = &letter.detail.letter;
            let over = state.as_ref().and_then(|state| finished(state, told));
            unfinished += u64::from(over == Some(false));
            if json {
                lines.push(line(topic, &letter, state.as_ref()));
                continue;
            }
            let key = letter.detail.key.as_deref();
            let mut row = Vec::new();
            if topics.len() > 1 {
                row.push((*topic).clone());
            }
            row.extend([
                letter.id.to_owned(),
                rfc3339(letter.detail.time),
                shown(told.topic.as_deref().unwrap_or("-").as_bytes(), 249),
                or_dash(told.partition),
                or_dash(told.offset),
                key.map_or_else(|| "-".to_owned(), |key| shown(key, MAX_KEY)),
                shown(told.outcome.as_deref().unwrap_or("-").as_bytes(), MAX_KEY),
                or_dash(told.deliveries),
                shown(told.status.as_deref().unwrap_or("-").as_bytes(), MAX_KEY),
            ]);
            if everything {
                row.push(letter.state.name().to_owned());
            }
            row.push(why(told, MAX_ERROR));
            table.row(row);
        }
    }
    if json {
        output.json(&Report { letters: lines })?;
    } else if topics.is_empty() {
        output.note("there are no topics of dead letters, or none that this user may describe");
    } else {
        if !table.is_empty() {
            output.table(&table)?;
        }
        let more = if hidden > 0 {
            format!("; {hidden} replayed or discarded (--all shows them)")
        } else {
            String::new()
        };
        output.note(&format!("{}{more}", plural(open, "open letter")));
        if unfinished > 0 {
            output.note(&format!(
                "the group is still at work on the records of {unfinished} of them (finished: false in --json): they may \
                 yet succeed"
            ));
        }
    }
    Ok(exit_of(
        found.iter().any(|(_, all, _)| !all.unreadable.is_empty()),
    ))
}

fn head(everything: bool, several: bool) -> Vec<&'static str> {
    let mut head = Vec::new();
    if several {
        head.push("DLQ");
    }
    head.extend([
        "ID",
        "TIME",
        "TOPIC",
        "PARTITION",
        "OFFSET",
        "KEY",
        "OUTCOME",
        "TRIES",
        "STATUS",
    ]);
    if everything {
        head.push("STATE");
    }
    head.push("ERROR");
    head
}
