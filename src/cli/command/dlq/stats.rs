//! `dlq stats`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::view::{MAX_ERROR, first_line, or_dash, shown, why};
use super::{exit_of, find, read};
use crate::broker::Cluster;
use crate::cli::Exit;
use crate::cli::output::{Output, Table, rfc3339};
use crate::dead_letter::filter::Filter;
use crate::dead_letter::ledger::State;
use crate::dead_letter::read::Everything;
use crate::dead_letter::resolution::Kind;

/// Errors that are told, the most frequent.
const MAX_ERRORS: usize = 10;

#[derive(Serialize)]
struct Report {
    dlqs: Vec<Counts>,
}

#[derive(Default, Serialize)]
struct Counts {
    dlq: String,
    letters: u64,
    open: u64,
    replayed: u64,
    discarded: u64,
    oldest_open: Option<String>,
    newest: Option<String>,
    bytes: u64,
    by_outcome: BTreeMap<String, u64>,
    by_status: BTreeMap<String, u64>,
    by_type: BTreeMap<String, u64>,
    by_error: Vec<Group>,
}

#[derive(Serialize)]
struct Group {
    error: String,
    open: u64,
}

/// Counts letters.
pub(super) async fn run(
    cluster: &Cluster,
    names: &[String],
    filter: &Filter,
    json: bool,
    output: &Output,
) -> anyhow::Result<Exit> {
    let topics = find(cluster, names).await?;
    let (mut report, mut unreadable) = (Report { dlqs: Vec::new() }, false);
    for topic in &topics {
        let all = read(cluster, topic, output).await?;
        unreadable |= !all.unreadable.is_empty();
        report.dlqs.push(count(topic, &all, filter));
    }
    if json {
        output.json(&report)?;
    } else if topics.is_empty() {
        output.note("there are no topics of dead letters, or none that this user may describe");
    } else {
        let mut table = Table::new([
            "DLQ",
            "LETTERS",
            "OPEN",
            "REPLAYED",
            "DISCARDED",
            "OLDEST OPEN",
            "NEWEST",
        ]);
        for dlq in &report.dlqs {
            table.row([
                dlq.dlq.clone(),
                dlq.letters.to_string(),
                dlq.open.to_string(),
                dlq.replayed.to_string(),
                dlq.discarded.to_string(),
                or_dash(dlq.oldest_open.clone()),
                or_dash(dlq.newest.clone()),
            ]);
        }
        output.table(&table)?;
        let mut reasons = Table::new(["DLQ", "OPEN", "BY", ""]);
        for dlq in &report.dlqs {
            let counted = [
                ("outcome", &dlq.by_outcome),
                ("status", &dlq.by_status),
                ("type", &dlq.by_type),
            ];
            for (by, counts) in counted {
                for (what, open) in counts {
                    reasons.row([
                        &dlq.dlq,
                        &open.to_string(),
                        by,
                        &shown(what.as_bytes(), MAX_ERROR),
                    ]);
                }
            }
            for group in &dlq.by_error {
                reasons.row([&dlq.dlq, &group.open.to_string(), "error", &group.error]);
            }
        }
        if !reasons.is_empty() {
            output.line("")?;
            output.table(&reasons)?;
        }
    }
    Ok(exit_of(unreadable))
}

fn count(topic: &str, all: &Everything, filter: &Filter) -> Counts {
    let mut counts = Counts {
        dlq: topic.to_owned(),
        ..Counts::default()
    };
    let mut errors: BTreeMap<String, u64> = BTreeMap::new();
    let (mut oldest, mut newest) = (None::<i64>, None::<i64>);
    for letter in all.ledger.letters() {
        let detail = letter.detail;
        if !filter.matches(detail) {
            continue;
        }
        counts.letters += 1;
        counts.bytes += detail.size as u64;
        newest = newest.max(Some(detail.time));
        match letter.state {
            State::Resolved(Kind::Replayed) => counts.replayed += 1,
            State::Resolved(Kind::Discarded) => counts.discarded += 1,
            State::Open => {
                counts.open += 1;
                oldest = Some(oldest.map_or(detail.time, |oldest| oldest.min(detail.time)));
                let told = &detail.letter;
                let named = [
                    (&mut counts.by_outcome, told.outcome.as_deref()),
                    (&mut counts.by_status, told.status.as_deref()),
                    (&mut counts.by_type, detail.kind.as_deref()),
                ];
                for (counts, name) in named {
                    let name = name.map_or_else(|| "none".to_owned(), |name| first_line(name, 200));
                    *counts.entry(name).or_default() += 1;
                }
                *errors.entry(why(told, MAX_ERROR)).or_default() += 1;
            }
        }
    }
    counts.oldest_open = oldest.map(rfc3339);
    counts.newest = newest.map(rfc3339);
    let mut errors: Vec<Group> = errors
        .into_iter()
        .map(|(error, open)| Group { error, open })
        .collect();
    errors.sort_by_key(|group| std::cmp::Reverse(group.open));
    errors.truncate(MAX_ERRORS);
    counts.by_error = errors;
    counts
}
