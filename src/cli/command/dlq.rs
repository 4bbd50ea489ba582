//! `dlq`: a file per command of it; here is what they share.

mod list;
mod purge;
mod redrive;
mod show;
mod stats;
pub(super) mod view;

use std::collections::BTreeSet;

use anyhow::{Context, bail};

use crate::broker::Cluster;
use crate::broker::settings::BrokerSettings;
use crate::cli::Exit;
use crate::cli::output::Output;
use crate::cli::settings::{DlqAction, DlqSettings, similar};
use crate::dead_letter::filter::find_ids;
use crate::dead_letter::ledger::Standing;
use crate::dead_letter::read::{Detail, Everything, everything};
use crate::dead_letter::split_dead;

/// Names that an error tells at most.
const MAX_NAMED: usize = 5;

/// Runs it.
pub(crate) async fn run(
    brokers: BrokerSettings,
    settings: DlqSettings,
    output: &Output,
) -> anyhow::Result<Exit> {
    let cluster = Cluster::new(brokers)?;
    let json = settings.json;
    match settings.action {
        DlqAction::List { dlqs, all, filter } => list::run(&cluster, &dlqs, all, &filter, json, output).await,
        DlqAction::Show { dlq, ids } => show::run(&cluster, &dlq, &ids, json, output).await,
        DlqAction::Stats { dlqs, filter } => stats::run(&cluster, &dlqs, &filter, json, output).await,
        DlqAction::Replay {
            letters,
            to_source,
            rate,
        } => {
            let work = redrive::Work {
                letters,
                operator: settings.operator,
                json,
            };
            redrive::replay(&cluster, &work, to_source, rate, output).await
        }
        DlqAction::Discard(letters) => {
            let work = redrive::Work {
                letters,
                operator: settings.operator,
                json,
            };
            redrive::discard(&cluster, &work, output).await
        }
        DlqAction::Purge { dlq, yes, dry_run } => {
            let how = purge::How { yes, dry_run, json };
            purge::run(&cluster, &dlq, how, output).await
        }
    }
}

/// The topics that these names mean, or all topics of dead letters.
async fn find(cluster: &Cluster, names: &[String]) -> anyhow::Result<Vec<String>> {
    let view = cluster.refresh(None).await?;
    let topics: BTreeSet<&str> = view
        .topics
        .iter()
        .filter(|(_, topic)| topic.error.is_none() && !topic.internal)
        .map(|(name, _)| name.as_str())
        .collect();
    if names.is_empty() {
        let dead = topics.iter().filter(|topic| split_dead(topic).is_some());
        return Ok(dead.map(|topic| (*topic).to_owned()).collect());
    }
    let mut found: Vec<String> = Vec::new();
    for name in names {
        for topic in meant(&topics, name)? {
            if !found.iter().any(|known| known == topic) {
                found.push(topic.to_owned());
            }
        }
    }
    Ok(found)
}

/// The one topic that a name means.
async fn find_one(cluster: &Cluster, name: &str) -> anyhow::Result<String> {
    let mut found = find(cluster, &[name.to_owned()]).await?;
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            found.push(last);
            bail!(
                "group {name} has dead letters of {} topics: name one of {}",
                found.len(),
                found.join(", ")
            )
        }
        (None, _) => bail!("there is no topic {name}"),
    }
}

/// Those with a group's dead letters, or a topic by its name. A group is often called as the topic that it reads, whose
/// events are no dead letters.
fn meant<'a>(topics: &BTreeSet<&'a str>, name: &str) -> anyhow::Result<Vec<&'a str>> {
    let itself = topics.get(name).copied();
    if let Some(topic) = itself.filter(|topic| split_dead(topic).is_some()) {
        return Ok(vec![topic]);
    }
    let dead = || {
        let dead = topics.iter().copied();
        dead.filter_map(|topic| split_dead(topic).map(|(_, group)| (topic, group)))
    };
    let of_group: Vec<&str> = dead()
        .filter(|(_, group)| *group == name)
        .map(|(topic, _)| topic)
        .collect();
    if !of_group.is_empty() {
        return Ok(of_group);
    }
    if let Some(topic) = itself {
        return Ok(vec![topic]);
    }
    let none =
        format!("{name}: there is neither a topic of this name nor one with dead letters of such a group");
    let known: BTreeSet<&str> = dead().flat_map(|(topic, group)| [topic, group]).collect();
    // Those of others too: Spring's end in -dlt.
    let mut near = similar(name, known.iter().copied());
    let others = similar(name, topics.iter().copied());
    near.extend(others.into_iter().filter(|topic| !known.contains(topic)));
    near.truncate(MAX_NAMED);
    if !near.is_empty() {
        bail!("{none}; did you mean {}?", near.join(", "));
    }
    if known.is_empty() {
        bail!("{none}; there are no dead letters, or none that this user may describe");
    }
    bail!("{none}; `barnabas dlq stats` has those that there are")
}

/// Reads a topic of dead letters and warns of what cannot be read.
async fn read(cluster: &Cluster, topic: &str, output: &Output) -> anyhow::Result<Everything> {
    let all = everything(cluster, topic)
        .await
        .with_context(|| format!("cannot read the dead letters in topic {topic}"))?;
    for line in &all.unreadable {
        output.warn(line);
    }
    Ok(all)
}

/// How a read ends where all went well but for what could not be read.
fn exit_of(unreadable: bool) -> Exit {
    if unreadable { Exit::Refused } else { Exit::Done }
}

/// The letters in the order in which they were written.
fn by_time(all: &Everything) -> Vec<Standing<'_, Detail>> {
    let mut letters: Vec<_> = all.ledger.letters().collect();
    letters.sort_by_key(|letter| (letter.detail.time, letter.place));
    letters
}

/// Those of the letters that were named, or all.
fn named<'a>(
    topic: &str,
    letters: Vec<Standing<'a, Detail>>,
    ids: &[String],
) -> anyhow::Result<Vec<Standing<'a, Detail>>> {
    if ids.is_empty() {
        return Ok(letters);
    }
    let found = find_ids(&letters, ids).map_err(|why| anyhow::anyhow!("topic {topic}: {why}"))?;
    Ok(letters
        .into_iter()
        .filter(|letter| found.contains(letter.id))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_topic_or_a_group() {
        let topics = BTreeSet::from([
            "orders",
            "orders-dlt",
            "orders.dlq.billing",
            "invoices.dlq.billing",
            "orders.dlq.mail",
        ]);
        assert_eq!(meant(&topics, "orders-dlt").unwrap(), ["orders-dlt"]);
        assert_eq!(meant(&topics, "mail").unwrap(), ["orders.dlq.mail"]);
        let namesakes = BTreeSet::from(["orders", "orders.dlq.orders"]);
        assert_eq!(meant(&namesakes, "orders").unwrap(), ["orders.dlq.orders"]);
        assert_eq!(
            meant(&namesakes, "orders.dlq.orders").unwrap(),
            ["orders.dlq.orders"]
        );
        assert_eq!(
            meant(&topics, "billing").unwrap(),
            ["invoices.dlq.billing", "orders.dlq.billing"]
        );
        let error = meant(&topics, "biling").unwrap_err().to_string();
        assert!(error.contains("did you mean billing"), "{error}");
        let error = meant(&topics, "order-dlt").unwrap_err().to_string();
        assert!(error.contains("orders-dlt"), "{error}");
        let error = meant(&BTreeSet::new(), "x").unwrap_err().to_string();
        assert!(error.contains("there are no dead letters"), "{error}");
    }
}
