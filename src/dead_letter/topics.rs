//! The topics of dead letters and of replays: found, judged, made.

use super::{MAX_TOPIC, dead_topic, replay_topic};
use crate::broker::admin::{
    NewTopic, create_partitions, create_topics, find_topics, is_there_already, wait_until_led,
};
use crate::broker::admin_configs::{Config, describe_known};
use crate::broker::cluster::Cluster;
use crate::broker::error::Error;
use crate::broker::metadata::Topic;

/// How long letters and replays are kept in a new topic: 14 days, in milliseconds.
pub const RETENTION_MS: i64 = 14 * 24 * 3_600_000;
/// What a letter may be larger than its record, in bytes.
pub const ROOM: usize = 64 << 10;

const CHECKED: [&str; 5] = [
    "cleanup.policy",
    "max.message.bytes",
    "min.insync.replicas",
    "retention.ms",
    "message.timestamp.type",
];

/// Why a topic cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TopicError {
    /// Its name would be too long.
    #[error("topic {topic} would need a name of {} characters, and Kafka's limit is {MAX_TOPIC}: shorten the group's name", topic.len())]
    Name {
        /// The name.
        topic: String,
    },
    /// It is not there.
    #[error("there is no topic {topic}{}", .create.as_ref().map(|create| format!("; create it with: {create}")).unwrap_or_default())]
    Missing {
        /// Its name.
        topic: String,
        /// The command that makes it, if it is one of ours.
        create: Option<String>,
    },
    /// It is there, but letters would vanish from it.
    #[error("topic {topic} cannot hold dead letters: {why}")]
    Unfit {
        /// Its name.
        topic: String,
        /// Why.
        why: String,
    },
    /// It cannot be made.
    #[error("topic {topic} cannot be created; somebody who may can do it with: {create}")]
    NotCreated {
        /// Its name.
        topic: String,
        /// The command that makes it.
        create: String,
        /// Why.
        source: Box<Error>,
    },
    /// The brokers' word.
    #[error(transparent)]
    Broker(#[from] Error),
}

impl TopicError {
    /// Whether the brokers could not be reached at all.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Broker(error) => error.is_unreachable(),
            Self::NotCreated { source, .. } => source.is_unreachable(),
            _ => false,
        }
    }
}

/// What a source topic is like.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name.
    pub topic: String,
    /// Its id.
    pub id: [u8; 16],
    /// How many partitions it has.
    pub partitions: i32,
    /// Replicas of each.
    pub replication: i16,
    /// The largest batch that it takes in bytes, if we may know.
    pub max_message_bytes: Option<usize>,
    /// Its own number of replicas that have to be in sync, if it is not one.
    pub min_in_sync: Option<String>,
    /// Whether compaction takes records out of it; unknown without the right to look.
    pub compacted: Option<bool>,
}

/// A topic that was found or made, and may be used.
#[derive(Debug, Clone)]
pub struct Usable {
    /// Its name.
    pub topic: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// The largest batch that it takes in bytes, if we may know.
    pub max_message_bytes: Option<usize>,
    /// Whether it was made just now.
    pub created: bool,
    /// What is not as it should be.
    pub warnings: Vec<String>,
}

/// What a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Dead letters.
    Dead,
    /// Replays: each partition is its source partition's.
    Replay,
}

impl Use {
    /// The topic's name.
    ///
    /// # Errors
    /// It would be too long.
    pub fn name(self, topic: &str, group: &str) -> Result<String, TopicError> {
        let name = match self {
            Self::Dead => dead_topic(topic, group),
            Self::Replay => replay_topic(topic, group),
        };
        if name.len() > MAX_TOPIC {
            return Err(TopicError::Name { topic: name });
        }
        Ok(name)
    }
}

/// Looks at a source topic.
///
/// # Errors
/// It does not exist, or the brokers cannot be asked.
pub async fn source(cluster: &Cluster, topic: &str) -> Result<Source, TopicError> {
    let found = found(cluster, topic).await?.ok_or_else(|| TopicError::Missing {
        topic: topic.to_owned(),
        create: None,
    })?;
    let configs = configs(cluster, topic).await?;
    let replicas = found.partitions.iter().map(|partition| partition.replicas.len());
    let configs = configs.as_deref();
    Ok(Source {
        topic: topic.to_owned(),
        id: found.id,
        partitions: count(&found),
        replication: replicas
            .max()
            .and_then(|count| i16::try_from(count).ok())
            .unwrap_or(1),
        max_message_bytes: configs.and_then(|configs| number(configs, "max.message.bytes")),
        min_in_sync: configs
            .and_then(|configs| value(configs, "min.insync.replicas"))
            .filter(|value| *value != "1")
            .map(str::to_owned),
        compacted: configs.map(is_compacted),
    })
}

/// Finds the topic of this use, makes it if it is not there and `create` says so, and judges it.
///
/// # Errors
/// It is not there and was not to be made or cannot be; letters would vanish from it; the brokers cannot be asked.
pub async fn ensure(
    cluster: &Cluster,
    source: &Source,
    group: &str,
    of: Use,
    create: bool,
) -> Result<Usable, TopicError> {
    let name = of.name(&source.topic, group)?;
    let mut created = false;
    let topic = match found(cluster, &name).await? {
        Some(topic) => topic,
        None if !create => {
            return Err(TopicError::Missing {
                topic: name.clone(),
                create: Some(command(&name, source)),
            });
        }
        None => {
            created = true;
            make(cluster, &name, source).await?;
            found(cluster, &name).await?.ok_or_else(|| TopicError::Missing {
                topic: name.clone(),
                create: Some(command(&name, source)),
            })?
        }
    };
    let mut partitions = count(&topic);
    if create && of == Use::Replay && partitions < source.partitions {
        grow(cluster, &name, source.partitions).await?;
        partitions = source.partitions;
    }
    let mut usable = Usable {
        topic: name,
        partitions,
        max_message_bytes: None,
        created,
        warnings: Vec::new(),
    };
    match configs(cluster, &usable.topic).await? {
        Some(configs) => {
            judge(&configs, source, &mut usable)?;
            usable.max_message_bytes = number(&configs, "max.message.bytes");
        }
        None => usable.warnings.push(format!(
            "the settings of topic {} cannot be checked: this user has no right to DescribeConfigs",
            usable.topic
        )),
    }
    Ok(usable)
}

fn judge(configs: &[Config], source: &Source, usable: &mut Usable) -> Result<(), TopicError> {
    let topic = &usable.topic;
    if is_compacted(configs) {
        return Err(TopicError::Unfit {
            topic: topic.clone(),
            why: format!(
                "its cleanup.policy is {}, which would take letters with the same key out of it; set it to delete: \
                 barnabas topics alter {topic} --config cleanup.policy=delete",
                value(configs, "cleanup.policy").unwrap_or("unknown")
            ),
        });
    }
    let most = number::<usize>(configs, "max.message.bytes");
    if let (Some(most), Some(needed)) = (most, source.max_message_bytes)
        && most < needed.saturating_add(ROOM)
    {
        usable.warnings.push(format!(
            "topic {topic} takes {most} bytes (max.message.bytes), and a letter from {} may have {}: larger ones are \
             shortened",
            source.topic,
            needed.saturating_add(ROOM)
        ));
    }
    let day = RETENTION_MS / 14;
    if let Some(kept) = number::<i64>(configs, "retention.ms").filter(|kept| (0..day).contains(kept)) {
        usable.warnings.push(format!(
            "topic {topic} keeps letters for {kept} ms only (retention.ms): look at them before that"
        ));
    }
    Ok(())
}

async fn found(cluster: &Cluster, name: &str) -> Result<Option<Topic>, TopicError> {
    let view = find_topics(cluster, &[name]).await?;
    let Some(topic) = view.topics.get(name) else {
        return Ok(None);
    };
    let Some(code) = topic.error else {
        return Ok(Some(topic.clone()));
    };
    let error = Error::Refused {
        what: format!("finding topic {name}"),
        code,
        message: None,
    };
    if error.is_unknown_topic() {
        Ok(None)
    } else {
        Err(error.into())
    }
}

/// None without the right to see them.
async fn configs(cluster: &Cluster, name: &str) -> Result<Option<Vec<Config>>, TopicError> {
    match describe_known(cluster, name, &CHECKED).await {
        Ok(configs) => Ok(Some(configs)),
        Err(error) if error.is_unauthorised() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn make(cluster: &Cluster, name: &str, source: &Source) -> Result<(), TopicError> {
    let new = NewTopic {
        name: name.to_owned(),
        partitions: Some(source.partitions),
        replication: Some(source.replication),
        configs: new_configs(source),
    };
    let outcome = create_topics(cluster, &[new], false).await?.pop();
    match outcome.unwrap_or(Err(Error::Closed)) {
        Ok(_) => {}
        // By another member, just now.
        Err(error) if is_there_already(&error) => {}
        Err(error) => {
            return Err(TopicError::NotCreated {
                topic: name.to_owned(),
                create: command(name, source),
                source: Box::new(error),
            });
        }
    }
    Ok(wait_until_led(cluster, &[(name, source.partitions)]).await?)
}

async fn grow(cluster: &Cluster, name: &str, partitions: i32) -> Result<(), TopicError> {
    let outcome = create_partitions(cluster, &[(name, partitions)], false)
        .await?
        .pop();
    outcome.unwrap_or(Err(Error::Closed))?;
    Ok(wait_until_led(cluster, &[(name, partitions)]).await?)
}

fn new_configs(source: &Source) -> Vec<(String, String)> {
    let mut configs = vec![
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", RETENTION_MS.to_string()),
        ("message.timestamp.type", "CreateTime".to_owned()),
    ];
    if let Some(most) = source.max_message_bytes {
        configs.push(("max.message.bytes", most.saturating_add(ROOM).to_string()));
    }
    if let Some(replicas) = &source.min_in_sync {
        configs.push(("min.insync.replicas", replicas.clone()));
    }
    let configs = configs.into_iter().map(|(name, value)| (name.to_owned(), value));
    configs.collect()
}

/// What makes such a topic, to be copied to a shell.
fn command(name: &str, source: &Source) -> String {
    let configs: String = new_configs(source)
        .iter()
        .map(|(name, value)| format!(" --config {name}={value}"))
        .collect();
    format!(
        "barnabas topics create {name} --partitions {} --replication {}{configs}",
        source.partitions, source.replication
    )
}

fn count(topic: &Topic) -> i32 {
    i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)
}

fn value<'a>(configs: &'a [Config], name: &str) -> Option<&'a str> {
    let config = configs.iter().find(|config| config.name == name);
    config.and_then(|config| config.value.as_deref())
}

fn number<T: std::str::FromStr>(configs: &[Config], name: &str) -> Option<T> {
    value(configs, name)?.parse().ok()
}

fn is_compacted(configs: &[Config]) -> bool {
    value(configs, "cleanup.policy").is_some_and(|policy| policy.contains("compact"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::admin_configs::Source as From;

    fn source_topic() -> Source {
        Source {
            topic: "orders".to_owned(),
            id: [1; 16],
            partitions: 6,
            replication: 3,
            max_message_bytes: Some(1_048_588),
            min_in_sync: Some("2".to_owned()),
            compacted: Some(false),
        }
    }

    fn judged(changed: &[(&str, &str)]) -> Result<Vec<String>, TopicError> {
        let mut all = new_configs(&source_topic());
        for (name, value) in changed {
            all.retain(|(known, _)| known != name);
            all.push(((*name).to_owned(), (*value).to_owned()));
        }
        let configs: Vec<Config> = all
            .into_iter()
            .map(|(name, value)| Config {
                name,
                value: Some(value),
                source: From::Topic,
                read_only: false,
            })
            .collect();
        let mut usable = Usable {
            topic: "orders.dlq.billing".to_owned(),
            partitions: 6,
            max_message_bytes: None,
            created: false,
            warnings: Vec::new(),
        };
        judge(&configs, &source_topic(), &mut usable)?;
        Ok(usable.warnings)
    }

    #[test]
    fn a_new_topic_is_found_right() {
        assert_eq!(judged(&[]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_compacted_topic_is_refused() {
        for policy in ["compact", "compact,delete", "delete,compact"] {
            let error = judged(&[("cleanup.policy", policy)]).unwrap_err().to_string();
            assert!(
                error.contains(policy) && error.contains("barnabas topics alter"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_shortens_or_loses_letters_is_warned_of() {
        for change in [("max.message.bytes", "1048588"), ("retention.ms", "60000")] {
            let warnings = judged(&[change]).unwrap();
            assert!(
                warnings.len() == 1 && warnings[0].contains(change.0),
                "{warnings:?}"
            );
        }
        assert_eq!(judged(&[("retention.ms", "-1")]).unwrap().len(), 0);
    }

    #[test]
    fn the_command_makes_the_topic_that_would_be_made() {
        assert_eq!(
            command("orders.dlq.billing", &source_topic()),
            "barnabas topics create orders.dlq.billing --partitions 6 --replication 3 --config cleanup.policy=delete \
             --config retention.ms=1209600000 --config message.timestamp.type=CreateTime --config \
             max.message.bytes=1114124 --config min.insync.replicas=2"
        );
    }

    #[test]
    fn a_name_that_is_too_long_is_told_before_anything_is_asked() {
        let error = Use::Dead.name(&"t".repeat(200), &"g".repeat(60)).unwrap_err();
        assert!(error.to_string().contains("265 characters"), "{error}");
    }
}
