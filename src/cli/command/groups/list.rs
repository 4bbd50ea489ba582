//! `groups list`.

use futures_util::StreamExt;
use futures_util::stream;
use serde::Serialize;

use super::names;
use crate::broker::Cluster;
use crate::cli::Exit;
use crate::cli::output::{Output, Table};
use crate::group::log::replay;
use crate::group::state::State;

/// Logs that are read at the same time.
const AT_ONCE: usize = 8;

#[derive(Serialize)]
struct Report<'a> {
    groups: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    group: &'a str,
    /// None of these if the log could not be read.
    state: Option<&'static str>,
    members: Option<usize>,
    topics: Option<usize>,
    partitions: Option<usize>,
    error: Option<String>,
}

/// Prints each group with its members and partitions.
pub(super) async fn run(cluster: &Cluster, json: bool, output: &Output) -> anyhow::Result<Exit> {
    let names: Vec<String> = names(cluster).await?.into_iter().collect();
    let replays = names.iter().map(|name| async move {
        let replayed = replay(cluster, name).await;
        replayed
            .map(|replayed| replayed.state)
            .map_err(anyhow::Error::from)
    });
    let states: Vec<_> = stream::iter(replays).buffered(AT_ONCE).collect().await;
    let lines: Vec<Line<'_>> = names
        .iter()
        .zip(&states)
        .map(|(name, state)| line(name, state))
        .collect();
    let failed = lines.iter().filter(|line| line.error.is_some()).count();
    for line in &lines {
        if let Some(error) = &line.error {
            output.warn(&format!("group {}: {error}", line.group));
        }
    }
    if json {
        output.json(&Report { groups: lines })?;
    } else if lines.is_empty() {
        output.note(
            "there are no groups, or none that this user may describe; `barnabas consume --group` makes one",
        );
    } else {
        let mut table = Table::new(["GROUP", "STATE", "MEMBERS", "TOPICS", "PARTITIONS"]);
        let number = |number: Option<usize>| number.map_or("-".to_owned(), |number| number.to_string());
        for line in &lines {
            table.row([
                line.group.to_owned(),
                line.state.unwrap_or("unknown").to_owned(),
                number(line.members),
                number(line.topics),
                number(line.partitions),
            ]);
        }
        output.table(&table)?;
    }
    if failed > 0 {
        Ok(Exit::Failed)
    } else {
        Ok(Exit::Done)
    }
}

fn line<'a>(group: &'a str, state: &Result<State, anyhow::Error>) -> Line<'a> {
    match state {
        Ok(state) => Line {
            group,
            state: Some(condition(state)),
            members: Some(state.members.len()),
            topics: Some(state.topics.len()),
            partitions: Some(state.partitions.len()),
            error: None,
        },
        Err(error) => Line {
            group,
            state: None,
            members: None,
            topics: None,
            partitions: None,
            error: Some(format!("{error:#}")),
        },
    }
}

/// A group in a word. A member that died is one until another, or `delete`, finds out.
pub(super) fn condition(state: &State) -> &'static str {
    if state.paused {
        "paused"
    } else if state.members.is_empty() {
        "empty"
    } else {
        "active"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_cannot_be_read_is_a_line_with_its_error() {
        let line = line("g", &Err(anyhow::anyhow!("no right to read it")));
        assert_eq!(line.state, None);
        assert_eq!(line.error.as_deref(), Some("no right to read it"));
    }

    #[test]
    fn a_group_without_members_is_empty_and_a_paused_one_is_paused() {
        let mut state = State::default();
        assert_eq!(condition(&state), "empty");
        state.paused = true;
        assert_eq!(condition(&state), "paused");
    }
}
