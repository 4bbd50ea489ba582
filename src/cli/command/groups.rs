//! `groups`: a file per command of it; here is what they share.

mod delete;
mod describe;
mod history;
mod list;
mod reset;
mod skip;
mod switch;
mod view;
mod why;

use std::collections::BTreeSet;

use anyhow::bail;

use crate::broker::Cluster;
use crate::broker::metadata::PartitionId;
use crate::broker::settings::BrokerSettings;
use crate::cli::Exit;
use crate::cli::output::Output;
use crate::cli::settings::{Chosen, GroupsAction, GroupsSettings, Isolation, similar};
use crate::group::log::{Administered, LogError, Outcome, PREFIX, Replayed, administer, group_of, replay};
use crate::group::record::Record;
use crate::group::state::State;

/// Groups that an error names at most.
const MAX_NAMED: usize = 5;

/// Runs it.
pub(crate) async fn run(
    brokers: BrokerSettings,
    settings: GroupsSettings,
    output: &Output,
) -> anyhow::Result<Exit> {
    let cluster = Cluster::new(brokers)?;
    let manner = Manner {
        json: settings.json,
        read_committed: settings.isolation == Isolation::ReadCommitted,
        operator: settings.operator,
    };
    match settings.action {
        GroupsAction::List => list::run(&cluster, manner.json, output).await,
        GroupsAction::Describe { groups } => describe::run(&cluster, &groups, &manner, output).await,
        GroupsAction::Why { group, chosen } => why::run(&cluster, &group, &chosen, &manner, output).await,
        GroupsAction::History { group, all } => {
            history::run(&cluster, &group, all, manner.json, output).await
        }
        GroupsAction::Reset(reset) => reset::run(&cluster, &reset, &manner, output).await,
        GroupsAction::Switch(switch) => switch::run(&cluster, &switch, &manner, output).await,
        GroupsAction::Skip(skip) => skip::run(&cluster, &skip, &manner, output).await,
        GroupsAction::Delete { group, yes, dry_run } => {
            let delete = delete::Delete { group, yes, dry_run };
            delete::run(&cluster, &delete, manner.json, output).await
        }
    }
}

/// How the commands work, whatever they do.
struct Manner {
    json: bool,
    read_committed: bool,
    /// Who does it, for the group's history.
    operator: String,
}

/// The names of all the groups whose logs this user may see.
async fn names(cluster: &Cluster) -> anyhow::Result<BTreeSet<String>> {
    let view = cluster.refresh(None).await?;
    let topics = view.topics.iter().filter(|(_, topic)| topic.error.is_none());
    Ok(topics
        .filter_map(|(name, _)| group_of(name))
        .map(str::to_owned)
        .collect())
}

/// Reads a group's log.
///
/// # Errors
/// If there is no such group, with the names of similar ones; if the log cannot be read.
async fn read(cluster: &Cluster, group: &str) -> anyhow::Result<Replayed> {
    match replay(cluster, group).await {
        Err(LogError::Missing { .. }) => bail!("{}", unknown(group, &names(cluster).await?)),
        replayed => Ok(replayed?),
    }
}

/// What to say of a group that does not exist.
fn unknown(group: &str, known: &BTreeSet<String>) -> String {
    let none = format!("group {group}: there is no such group (no topic {PREFIX}{group})");
    let near = similar(group, known.iter().map(String::as_str));
    let near: Vec<&str> = near.into_iter().take(MAX_NAMED).collect();
    if !near.is_empty() {
        format!("{none}; did you mean {}?", near.join(", "))
    } else if known.is_empty() {
        format!("{none}; there are no groups, or none that this user may describe")
    } else {
        format!("{none}; `barnabas groups list` has those that there are")
    }
}

/// Writes an operator's record to a group's log: `decide` makes it from the group's state, or none if there is nothing to
/// do. `None`: there was nothing. Void: what the record saw was changed by others, several times.
///
/// # Errors
/// `decide`'s, or those of [`read`].
async fn decide(
    cluster: &Cluster,
    group: &str,
    decide: impl FnMut(&State) -> anyhow::Result<Option<Record>>,
) -> anyhow::Result<Option<Box<Administered>>> {
    match administer(cluster, group, decide).await? {
        Outcome::Held(done) => Ok(Some(done)),
        Outcome::Nothing => Ok(None),
        Outcome::Void(tried) => bail!(
            "group {group}: the {} did not hold: {}; others were faster again and again: look at \
             `barnabas groups describe {group}` and try again",
            tried.record.kind(),
            tried.applied.void.unwrap_or("it does not fit the group's state")
        ),
    }
}

/// Those of a group's partitions that were chosen.
///
/// # Errors
/// If a topic or a number is not the group's, or nothing is left: a slip must not pass as success.
fn choose(group: &str, state: &State, chosen: &Chosen) -> anyhow::Result<Vec<PartitionId>> {
    for topic in &chosen.topics {
        if !state.topics.contains_key(topic.as_str()) {
            let topics: Vec<&str> = state.topics.keys().map(|name| &**name).collect();
            match topics.as_slice() {
                [] => bail!("group {group} has no topics yet"),
                topics => bail!(
                    "group {group} does not have topic {topic}; it has {}",
                    topics.join(", ")
                ),
            }
        }
    }
    for number in &chosen.partitions {
        let mut partitions = state.partitions.keys();
        if !partitions.any(|(topic, partition)| partition == number && chosen.has(topic, *partition)) {
            bail!("group {group} has no partition {number} of the topics chosen");
        }
    }
    let found: Vec<PartitionId> = state
        .partitions
        .keys()
        .filter(|(topic, partition)| chosen.has(topic, *partition))
        .cloned()
        .collect();
    if found.is_empty() {
        bail!("group {group} has no partitions yet");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::record::TopicInfo;
    use crate::group::state::PartitionState;

    fn state(topics: &[(&str, i32)]) -> State {
        let mut state = State::default();
        for &(topic, partitions) in topics {
            let id = [1; 16];
            state.topics.insert(topic.into(), TopicInfo { id, partitions });
            for number in 0..partitions {
                state
                    .partitions
                    .insert((topic.into(), number), PartitionState::default());
            }
        }
        state
    }

    fn chosen(topics: &[&str], partitions: &[i32]) -> Chosen {
        Chosen {
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            partitions: partitions.iter().copied().collect(),
        }
    }

    #[test]
    fn an_unknown_group_is_answered_with_similar_names() {
        let known = BTreeSet::from(["billing".to_owned(), "billing-eu".to_owned(), "audit".to_owned()]);
        assert_eq!(
            unknown("biling", &known),
            "group biling: there is no such group (no topic barnabas.group.biling); did you mean billing?"
        );
        assert!(unknown("wombat", &known).ends_with("`barnabas groups list` has those that there are"));
        assert!(unknown("a", &BTreeSet::new()).contains("there are no groups"));
    }

    #[test]
    fn everything_is_chosen_where_nothing_is_said() {
        let state = state(&[("a", 2), ("b", 1)]);
        assert_eq!(choose("g", &state, &chosen(&[], &[])).unwrap().len(), 3);
        assert_eq!(choose("g", &state, &chosen(&["a"], &[])).unwrap().len(), 2);
        assert_eq!(choose("g", &state, &chosen(&[], &[0])).unwrap().len(), 2);
    }

    #[test]
    fn a_topic_or_partition_that_the_group_does_not_have_is_refused() {
        let state = state(&[("a", 2), ("b", 1)]);
        let refused = |topics: &[&str], partitions: &[i32]| {
            choose("g", &state, &chosen(topics, partitions))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(refused(&["c"], &[]), "group g does not have topic c; it has a, b");
        assert!(refused(&["b"], &[1]).contains("no partition 1"));
        assert!(choose("g", &State::default(), &chosen(&[], &[])).is_err());
    }
}
