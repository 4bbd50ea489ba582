//! `topics create`.

use serde::Serialize;

use super::{replication, settle, tell, told};
use crate::broker::admin::{
    Created, NewTopic, Outcome, create_topics, find_topics, is_there_already, wait_until_led,
};
use crate::broker::metadata::Topic;
use crate::broker::{Cluster, Error};
use crate::cli::Exit;
use crate::cli::output::{Output, plural};
use crate::cli::settings::CreateTopics;

#[derive(Serialize)]
struct Report<'a> {
    dry_run: bool,
    topics: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    result: &'static str,
    partitions: Option<i32>,
    replication: Option<i16>,
    error: Option<String>,
}

/// What came of a topic.
enum Made {
    New(Created),
    /// It was there, with `--if-not-exists`.
    There(Created),
    Failed(Error),
}

/// Creates topics, and waits until they can be written to.
pub(super) async fn run(
    cluster: &Cluster,
    create: &CreateTopics,
    json: bool,
    output: &Output,
) -> anyhow::Result<Exit> {
    let new: Vec<NewTopic> = create
        .topics
        .iter()
        .map(|name| NewTopic {
            name: name.clone(),
            partitions: create.partitions,
            replication: create.replication,
            configs: create.configs.clone(),
        })
        .collect();
    let outcomes = create_topics(cluster, &new, create.dry_run).await?;
    let made = judge(cluster, create, outcomes).await?;
    if !create.dry_run {
        let new: Vec<(&str, i32)> = create
            .topics
            .iter()
            .zip(&made)
            .filter_map(|(name, made)| match made {
                Made::New(created) => Some((name.as_str(), created.partitions.unwrap_or(1))),
                _ => None,
            })
            .collect();
        if !new.is_empty()
            && let Err(error) = wait_until_led(cluster, &new).await
        {
            output.warn(&format!("created, but not ready yet: {}", told(&error)));
        }
    }
    for (name, made) in create.topics.iter().zip(&made) {
        if let Made::There(created) = made
            && let Some(other) = differs(create, *created)
        {
            output.warn(&format!("topic {name} has {other}; it is left as it is"));
        }
    }
    if json {
        let topics = create.topics.iter().zip(&made);
        output.json(&Report {
            dry_run: create.dry_run,
            topics: topics
                .map(|(name, made)| line(name, made, create.dry_run))
                .collect(),
        })?;
    } else {
        for (name, made) in create.topics.iter().zip(&made) {
            let text = match made {
                Made::New(created) if create.dry_run => format!("would create {name}{}", shape(*created)),
                Made::New(created) => format!("created {name}{}", shape(*created)),
                Made::There(created) => format!("{name} is there already{}", shape(*created)),
                Made::Failed(_) => continue,
            };
            tell(output, create.dry_run, &text)?;
        }
    }
    let failures = made.into_iter().filter_map(|made| match made {
        Made::Failed(error) => Some(error.into()),
        _ => None,
    });
    settle(output, "created", create.topics.len(), failures.collect())
}

/// With `--if-not-exists` those that exist are looked up.
async fn judge(
    cluster: &Cluster,
    create: &CreateTopics,
    outcomes: Vec<Outcome<Created>>,
) -> Result<Vec<Made>, Error> {
    let there: Vec<&str> = create
        .topics
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| create.if_not_exists && outcome.as_ref().is_err_and(is_there_already))
        .map(|(name, _)| name.as_str())
        .collect();
    let view = if there.is_empty() {
        cluster.view()
    } else {
        find_topics(cluster, &there).await?
    };
    let judged = create
        .topics
        .iter()
        .zip(outcomes)
        .map(|(name, outcome)| match outcome {
            Ok(created) => Made::New(created),
            Err(_) if there.contains(&name.as_str()) => Made::There(known(view.topics.get(name))),
            Err(error) => Made::Failed(error),
        });
    Ok(judged.collect())
}

fn known(topic: Option<&Topic>) -> Created {
    let topic = topic.filter(|topic| topic.error.is_none());
    Created {
        partitions: topic.and_then(|topic| i32::try_from(topic.partitions.len()).ok()),
        replication: topic.and_then(|topic| i16::try_from(replication(topic)).ok()),
    }
}

/// How a topic that exists differs from what was asked for.
fn differs(create: &CreateTopics, there: Created) -> Option<String> {
    let other = |asked: Option<i64>, there: Option<i64>| Some((asked?, there?)).filter(|(a, b)| a != b);
    let partitions = other(create.partitions.map(i64::from), there.partitions.map(i64::from))
        .map(|(asked, there)| format!("{} and not {asked}", plural(there.unsigned_abs(), "partition")));
    let replication = other(
        create.replication.map(i64::from),
        there.replication.map(i64::from),
    )
    .map(|(asked, there)| format!("replication {there} and not {asked}"));
    let parts: Vec<String> = partitions.into_iter().chain(replication).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// `: 6 partitions, replication 3`, as far as it is known.
fn shape(created: Created) -> String {
    let partitions = created
        .partitions
        .map(|count| plural(u64::from(count.unsigned_abs()), "partition"));
    let replication = created.replication.map(|count| format!("replication {count}"));
    let parts: Vec<String> = partitions.into_iter().chain(replication).collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!(": {}", parts.join(", "))
    }
}

fn line<'a>(name: &'a str, made: &Made, dry_run: bool) -> Line<'a> {
    let (result, created, error) = match made {
        Made::New(created) if dry_run => ("would_create", Some(created), None),
        Made::New(created) => ("created", Some(created), None),
        Made::There(created) => ("exists", Some(created), None),
        Made::Failed(error) => ("failed", None, Some(told(error))),
    };
    Line {
        name,
        result,
        partitions: created.and_then(|created| created.partitions),
        replication: created.and_then(|created| created.replication),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(partitions: Option<i32>, replication: Option<i16>) -> Created {
        Created {
            partitions,
            replication,
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        assert_eq!(shape(created(Some(1), Some(3))), ": 1 partition, replication 3");
        assert_eq!(shape(created(None, Some(3))), ": replication 3");
        assert_eq!(shape(created(None, None)), "");
    }

    #[test]
    fn a_topic_that_exists_differs_only_in_what_was_asked_for() {
        let create = CreateTopics {
            topics: vec!["t".to_owned()],
            partitions: Some(6),
            replication: None,
            configs: Vec::new(),
            if_not_exists: true,
            dry_run: false,
        };
        assert_eq!(
            differs(&create, created(Some(3), Some(1))).as_deref(),
            Some("3 partitions and not 6")
        );
        assert_eq!(differs(&create, created(Some(6), Some(1))), None);
        assert_eq!(differs(&create, created(None, None)), None);
    }
}
