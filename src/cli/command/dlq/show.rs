//! `dlq show`.

use std::collections::BTreeSet;

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

use super::view::{self, Line, bytes, finished, group_state, line, shown};
use super::{by_time, find_one, named, read};
use crate::broker::Cluster;
use crate::cli::Exit;
use crate::cli::output::{Output, Table, plural, rfc3339};
use crate::dead_letter::headers::ours;
use crate::dead_letter::ledger::Standing;
use crate::dead_letter::read::{Detail, Stored, records};
use crate::group::state::State;

/// Characters of a header's value.
const MAX_HEADER: usize = 2000;
/// Characters of key and value.
const MAX_VALUE: usize = 100_000;

#[derive(Serialize)]
struct Report<'a> {
    letters: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    line: Line<'a>,
    /// Name, value, in order: as a record may have a name twice.
    headers: Vec<(Value, Value)>,
    value: Value,
}

/// Prints all there is of letters.
pub(super) async fn run(
    cluster: &Cluster,
    name: &str,
    ids: &[String],
    json: bool,
    output: &Output,
) -> anyhow::Result<Exit> {
    let topic = find_one(cluster, name).await?;
    let all = read(cluster, &topic, output).await?;
    let letters = named(&topic, by_time(&all), ids)?;
    let places: BTreeSet<_> = letters.iter().map(|letter| letter.place).collect();
    let stored = records(cluster, &topic, &places)
        .await
        .with_context(|| format!("cannot read the dead letters in topic {topic}"))?;
    let state = group_state(cluster, &topic).await;
    let mut report = Report { letters: Vec::new() };
    for (index, letter) in letters.iter().enumerate() {
        let record = stored
            .get(&letter.place)
            .with_context(|| format!("letter {} is not there any more", letter.id))?;
        if json {
            let headers = record.headers();
            let headers = headers.map(|(name, value)| (bytes(Some(name)), bytes(value)));
            let mut line = line(&topic, letter, state.as_ref());
            // The whole of it, where the list has its beginning.
            line.set_key(record.key.as_deref());
            report.letters.push(Shown {
                line,
                headers: headers.collect(),
                value: bytes(record.value.as_deref()),
            });
        } else {
            if index > 0 {
                output.line("")?;
            }
            print(letter, record, state.as_ref(), output)?;
        }
    }
    if json {
        output.json(&report)?;
    }
    Ok(Exit::Done)
}

fn print(
    letter: &Standing<'_, Detail>,
    record: &Stored,
    state: Option<&State>,
    output: &Output,
) -> anyhow::Result<()> {
    let told = &letter.detail.letter;
    let mut table = Table::new([]);
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            table.row([name.to_owned(), value]);
        }
    };
    let text = |text: &Option<String>| text.as_ref().map(|text| shown(text.as_bytes(), MAX_HEADER));
    row("letter", Some(letter.id.to_owned()));
    let copies = match letter.copies {
        1 => String::new(),
        copies => format!(", the newest of {copies} copies"),
    };
    row(
        "at",
        Some(format!(
            "partition {}, offset {}{copies}",
            letter.place.partition, letter.place.offset
        )),
    );
    row("time", Some(rfc3339(letter.detail.time)));
    row("state", Some(letter.state.name().to_owned()));
    if state.and_then(|state| finished(state, told)) == Some(false) {
        row(
            "group",
            Some("still at work on the record: it may yet succeed".to_owned()),
        );
    }
    if let Some(topic) = &told.topic {
        let topic = shown(topic.as_bytes(), MAX_HEADER);
        let partition = view::or_dash(told.partition);
        let offset = view::or_dash(told.offset);
        let last = told
            .last_offset
            .map(|last| format!(" to {last}"))
            .unwrap_or_default();
        row(
            "from",
            Some(format!(
                "topic {topic}, partition {partition}, offset {offset}{last}"
            )),
        );
    }
    row("written", told.timestamp.map(rfc3339));
    row("by group", text(&told.group));
    row("outcome", text(&told.outcome));
    row("tries", told.deliveries.map(|count| count.to_string()));
    row("replays", (told.replays > 0).then(|| told.replays.to_string()));
    row("status", text(&told.status));
    row("first failed", told.first_failed.map(rfc3339));
    row("last failed", told.last_failed.map(rfc3339));
    row("exception", text(&told.exception));
    row("error", text(&told.message));
    if let Some(hash) = &told.value_sha256 {
        let size = view::or_dash(told.value_size);
        let hash = shown(hash.as_bytes(), MAX_HEADER);
        row(
            "value",
            Some(format!("{size} bytes, too large to be kept, SHA-256 {hash}")),
        );
    }
    let batch = told.content.as_deref() == Some(ours::BATCH);
    if batch {
        let what = "a record batch as it is in the log, which cannot be decoded: no replay can give it back";
        row("content", Some(what.to_owned()));
    }
    output.line(&table.render(false))?;
    let mut headers = Table::new([]);
    for (name, value) in record.headers() {
        let value = value.map_or_else(|| "(null)".to_owned(), |value| shown(value, MAX_HEADER));
        headers.row([format!("  {}", shown(name, MAX_HEADER)), value]);
    }
    if !headers.is_empty() {
        output.line(&format!("headers\n{}", headers.render(false)))?;
    }
    let nullable =
        |bytes: Option<&[u8]>| bytes.map_or_else(|| "(null)".to_owned(), |bytes| shown(bytes, MAX_VALUE));
    output.line(&format!("key\n  {}", nullable(record.key.as_deref())))?;
    match &record.value {
        Some(value) if batch => output.line(&format!(
            "value\n  ({}, --json prints them in base64)",
            plural(u64::try_from(value.len()).unwrap_or(u64::MAX), "byte")
        )),
        value => output.line(&format!("value\n  {}", nullable(value.as_deref()))),
    }
}
