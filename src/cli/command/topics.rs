//! `topics`: a file per command of it; here is what they share.

mod alter;
mod create;
mod delete;
mod describe;
mod list;
mod sizes;

use anyhow::bail;

use crate::broker::error::explain;
use crate::broker::metadata::{Metadata, Topic};
use crate::broker::settings::BrokerSettings;
use crate::broker::{Cluster, Error};
use crate::cli::Exit;
use crate::cli::output::{Output, plural};
use crate::cli::settings::{TopicsAction, TopicsSettings, Usage};

/// Runs it.
pub(crate) async fn run(
    brokers: BrokerSettings,
    settings: TopicsSettings,
    output: &Output,
) -> anyhow::Result<Exit> {
    let json = settings.json;
    let cluster = Cluster::new(brokers)?;
    match settings.action {
        TopicsAction::List { internal } => list::run(&cluster, internal, json, output).await,
        TopicsAction::Describe { topics } => describe::run(&cluster, &topics, json, output).await,
        TopicsAction::Create(create) => create::run(&cluster, &create, json, output).await,
        TopicsAction::Alter(alter) => alter::run(&cluster, &alter, json, output).await,
        TopicsAction::Delete { topics, yes, dry_run } => {
            let delete = delete::Delete { topics, yes, dry_run };
            delete::run(&cluster, &delete, json, output).await
        }
    }
}

/// A topic by its name.
type Named<'a> = (&'a str, &'a Topic);

/// Those of `names` that exist, and why the others cannot be used.
fn find<'a>(view: &'a Metadata, names: &'a [String]) -> (Vec<Named<'a>>, Vec<anyhow::Error>) {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        match view.topics.get(name) {
            Some(topic) => match topic.error {
                None => found.push((name.as_str(), topic)),
                Some(code) => missing.push(anyhow::anyhow!("topic {name}: {}", explain(code))),
            },
            None => missing.push(anyhow::anyhow!("topic {name}: the brokers say nothing of it")),
        }
    }
    (found, missing)
}

/// Replicas of a topic's partitions: those of the first.
fn replication(topic: &Topic) -> usize {
    topic.partitions.first().map_or(0, |first| first.replicas.len())
}

/// Partitions that have fewer replicas in sync than replicas.
fn under_replicated(topic: &Topic) -> usize {
    let short = topic
        .partitions
        .iter()
        .filter(|partition| partition.isr.len() < partition.replicas.len());
    short.count()
}

/// Partitions that have no leader.
fn leaderless(topic: &Topic) -> usize {
    topic.partitions.iter().filter(|p| p.leader.is_none()).count()
}

/// `6 partitions, replication 3`
fn shape(partitions: usize, replication: usize) -> String {
    let partitions = plural(u64::try_from(partitions).unwrap_or(u64::MAX), "partition");
    format!("{partitions}, replication {replication}")
}

/// Warns of what is wrong with the topics' partitions at this moment.
fn warn_of_health(output: &Output, topics: &[Named<'_>]) {
    for (name, topic) in topics {
        let leaderless = leaderless(topic);
        if leaderless > 0 {
            output.warn(&format!(
                "topic {name}: {} without a leader: cannot be read or written; are brokers down?",
                plural(leaderless as u64, "partition")
            ));
        }
    }
}

/// What a set of topics came to: done, or the failures, each told, and one word about all of them at the end.
fn settle(
    output: &Output,
    done: &str,
    total: usize,
    mut failures: Vec<anyhow::Error>,
) -> anyhow::Result<Exit> {
    if total == 1
        && let Some(only) = failures.pop()
    {
        return Err(only);
    }
    for failure in &failures {
        output.warn(&format!("{failure:#}"));
    }
    match failures.len() {
        0 => Ok(Exit::Done),
        failed => bail!("{failed} of {total} topics were not {done}"),
    }
}

/// An error as text, its causes behind it.
fn told(error: &Error) -> String {
    format!("{:#}", anyhow::Error::from(error.clone()))
}

/// Asks before something that cannot be taken back, unless `--yes`. `false`: the answer was no.
///
/// # Errors
/// Wrong usage where nobody can be asked.
pub(super) fn ask(output: &Output, yes: bool, question: &str) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !output.can_ask() {
        let (what, _) = question.split_once('?').unwrap_or((question, ""));
        return Err(Usage(format!("{what}: nobody can be asked here; say --yes")).into());
    }
    Ok(output.confirm(question))
}

/// Prints a step that was taken to standard error, or one that would be (`--dry-run`) as the command's output.
pub(super) fn tell(output: &Output, dry_run: bool, text: &str) -> anyhow::Result<()> {
    if dry_run {
        output.line(text)
    } else {
        output.note(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::metadata::Partition;

    fn topic(replicas: &[i32], isr: &[i32], leader: Option<i32>) -> Topic {
        Topic {
            id: [0; 16],
            internal: false,
            error: None,
            partitions: vec![Partition {
                leader,
                replicas: replicas.to_vec(),
                isr: isr.to_vec(),
                ..Partition::default()
            }],
        }
    }

    #[test]
    fn health_is_counted_in_partitions() {
        let topic = topic(&[1, 2, 3], &[1], None);
        assert_eq!(
            (replication(&topic), under_replicated(&topic), leaderless(&topic)),
            (3, 1, 1)
        );
        assert_eq!(shape(1, 3), "1 partition, replication 3");
    }

    #[test]
    fn a_missing_topic_is_told_from_those_found() {
        let mut view = Metadata::default();
        view.topics.insert("a".to_owned(), topic(&[1], &[1], Some(1)));
        let names = ["a".to_owned(), "b".to_owned()];
        let (found, missing) = find(&view, &names);
        assert_eq!(found.len(), 1);
        assert!(missing[0].to_string().contains("topic b"), "{}", missing[0]);
    }
}
