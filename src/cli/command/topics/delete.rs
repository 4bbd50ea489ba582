//! `topics delete`.

use anyhow::anyhow;
use serde::Serialize;

use super::{ask, find, settle, sizes, tell};
use crate::broker::Cluster;
use crate::broker::admin::{delete_topics, find_topics, wait_until_gone};
use crate::cli::Exit;
use crate::cli::output::{Output, plural};

/// What to delete, and how.
pub(super) struct Delete {
    pub(super) topics: Vec<String>,
    pub(super) yes: bool,
    pub(super) dry_run: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    dry_run: bool,
    topics: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    result: &'static str,
    records_at_most: Option<u64>,
    error: Option<String>,
}

/// Deletes topics with all their records, all of them or none: a name that does not exist may be a slip.
pub(super) async fn run(
    cluster: &Cluster,
    delete: &Delete,
    json: bool,
    output: &Output,
) -> anyhow::Result<Exit> {
    if !delete.yes && !delete.dry_run && !output.can_ask() {
        ask(output, false, &format!("delete {}?", delete.topics.join(", ")))?;
    }
    let names: Vec<&str> = delete.topics.iter().map(String::as_str).collect();
    let view = find_topics(cluster, &names).await?;
    let (found, missing) = find(&view, &delete.topics);
    if !missing.is_empty() {
        output.note("nothing is deleted");
        return settle(output, "found", names.len(), missing);
    }
    let (ends, _) = sizes::ends(cluster, &found).await?;
    let records: Vec<Option<u64>> = ends.iter().map(|ends| sizes::sum(ends)).collect();
    let texts: Vec<String> = found
        .iter()
        .zip(&records)
        .map(|((name, topic), records)| described(name, topic.internal, *records))
        .collect();
    if delete.dry_run {
        if !json {
            for text in &texts {
                tell(output, true, &format!("would delete {text}"))?;
            }
        }
    } else {
        let question = format!("delete {}? There is no way back", texts.join(", "));
        if !ask(output, delete.yes, &question)? {
            return Err(anyhow!("nothing is deleted"));
        }
    }
    let outcomes = if delete.dry_run {
        vec![Ok(()); names.len()]
    } else {
        delete_topics(cluster, &names).await?
    };
    let results: Vec<(&str, Option<u64>, Option<anyhow::Error>)> = names
        .iter()
        .zip(records)
        .zip(outcomes)
        .map(|((name, records), outcome)| (*name, records, outcome.err().map(Into::into)))
        .collect();
    if !delete.dry_run {
        let gone: Vec<&str> = results.iter().filter(|r| r.2.is_none()).map(|r| r.0).collect();
        wait_until_gone(cluster, &gone).await?;
        if !json {
            for name in gone {
                output.note(&format!("deleted {name}"));
            }
        }
    }
    if json {
        let topics = results.iter().map(|(name, records, error)| Line {
            name,
            result: match error {
                Some(_) => "failed",
                None if delete.dry_run => "would_delete",
                None => "deleted",
            },
            records_at_most: *records,
            error: error.as_ref().map(|error| format!("{error:#}")),
        });
        output.json(&Report {
            dry_run: delete.dry_run,
            topics: topics.collect(),
        })?;
    }
    let failures = results.into_iter().filter_map(|(_, _, error)| error).collect();
    settle(output, "deleted", names.len(), failures)
}

fn described(name: &str, internal: bool, records: Option<u64>) -> String {
    let kind = if internal { " (Kafka's own topic!)" } else { "" };
    let records = match records {
        Some(0) => "empty".to_owned(),
        Some(records) => format!("at most {}", plural(records, "record")),
        None => "number of records unknown".to_owned(),
    };
    format!("{name}{kind} ({records})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_says_what_would_be_lost() {
        assert_eq!(described("t", false, Some(1200)), "t (at most 1,200 records)");
        assert_eq!(described("t", false, Some(0)), "t (empty)");
        assert_eq!(
            described("__t", true, None),
            "__t (Kafka's own topic!) (number of records unknown)"
        );
    }
}
