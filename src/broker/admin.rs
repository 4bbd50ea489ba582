//! Topics created, deleted and given more partitions; told without the protocol's types. Their configuration is in
//! [`super::admin_configs`].
//!
//! Each function asks for all its topics in one request and tells what came of each, in the order given. What the
//! brokers put off (a controller that moved, a quota) is asked for again until `--timeout` is over.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest};

use super::cluster::{Cluster, Lane, Node};
use super::error::{Error, Retry};
use super::metadata::{Topic, View};
use super::request::{Api, text, topic_name};

/// So many fresh answers must say that a topic does not exist until it is believed: brokers learn of a new topic at
/// different times.
const MISSING: u32 = 3;
/// Between two of them.
const MISSING_PAUSE: Duration = Duration::from_millis(100);

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// The brokers' default if none.
    pub partitions: Option<i32>,
    /// The brokers' default if none.
    pub replication: Option<i16>,
    /// Kafka's names and values.
    pub configs: Vec<(String, String)>,
}

/// A topic as the brokers made it, or would; unknown before Kafka 2.4 and without the right to describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created {
    /// Number of partitions.
    pub partitions: Option<i32>,
    /// Replicas of each.
    pub replication: Option<i16>,
}

/// What came of one topic.
pub type Outcome<T> = Result<T, Error>;

/// Creates topics; with `dry_run` the brokers only check whether they would.
///
/// # Errors
/// If the brokers cannot be asked.
pub async fn create_topics(
    cluster: &Cluster,
    topics: &[NewTopic],
    dry_run: bool,
) -> Result<Vec<Outcome<Created>>, Error> {
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let request = |open: &[usize]| {
        CreateTopicsRequest::default()
            .with_topics(open.iter().map(|&index| creatable(&topics[index])).collect())
            .with_timeout_ms(millis(cluster.settings().timeout))
            .with_validate_only(dry_run)
    };
    let answers = |response: &<CreateTopicsRequest as kafka_protocol::protocol::Request>::Response| {
        let each = response.topics.iter().map(|topic| {
            let what = || format!("creating topic {}", topic.name.as_str());
            let created = Created {
                partitions: (topic.num_partitions > 0).then_some(topic.num_partitions),
                replication: (topic.replication_factor > 0).then_some(topic.replication_factor),
            };
            let message = topic.error_message.as_deref();
            let error = Error::refused(what, topic.error_code, message);
            (topic.name.to_string(), error.map_or(Ok(created), Err))
        });
        each.collect()
    };
    let mut told = ask_each(cluster, &names, request, answers).await?;
    if told.lost {
        for outcome in &mut told.outcomes {
            if let Err(Error::Refused { code, message, .. }) = outcome
                && *code == ResponseError::TopicAlreadyExists
            {
                *message = Some("it may have been made just now, by a try whose answer was lost".to_owned());
            }
        }
    }
    Ok(told.outcomes)
}

/// Whether a topic was not created because it is there already.
#[must_use]
pub fn is_there_already(error: &Error) -> bool {
    error.code() == Some(ResponseError::TopicAlreadyExists)
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let configs = topic.configs.iter().map(|(name, value)| {
        CreatableTopicConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
    });
    CreatableTopic::default()
        .with_name(topic_name(&topic.name))
        .with_num_partitions(topic.partitions.unwrap_or(-1))
        .with_replication_factor(topic.replication.unwrap_or(-1))
        .with_configs(configs.collect())
}

/// Deletes topics.
///
/// # Errors
/// If the brokers cannot be asked.
pub async fn delete_topics(cluster: &Cluster, names: &[&str]) -> Result<Vec<Outcome<()>>, Error> {
    let request = |open: &[usize]| {
        DeleteTopicsRequest::default()
            .with_topic_names(open.iter().map(|&index| topic_name(names[index])).collect())
            .with_timeout_ms(millis(cluster.settings().timeout))
    };
    let answers = |response: &<DeleteTopicsRequest as kafka_protocol::protocol::Request>::Response| {
        let each = response.responses.iter().filter_map(|topic| {
            let name = topic.name.as_ref()?.to_string();
            let what = || format!("deleting topic {name}");
            let error = Error::refused(what, topic.error_code, topic.error_message.as_deref());
            Some((name, error.map_or(Ok(()), Err)))
        });
        each.collect()
    };
    let mut told = ask_each(cluster, names, request, answers).await?;
    if told.lost {
        for outcome in &mut told.outcomes {
            let code = outcome.as_ref().err().and_then(Error::code);
            if code == Some(ResponseError::UnknownTopicOrPartition) {
                // The try whose answer was lost has deleted it.
                *outcome = Ok(());
            }
        }
    }
    Ok(told.outcomes)
}

/// Gives topics more partitions: `topics` are names and new numbers. With `dry_run` the brokers only check whether
/// they would.
///
/// # Errors
/// If the brokers cannot be asked.
pub async fn create_partitions(
    cluster: &Cluster,
    topics: &[(&str, i32)],
    dry_run: bool,
) -> Result<Vec<Outcome<()>>, Error> {
    let names: Vec<&str> = topics.iter().map(|(name, _)| *name).collect();
    let request = |open: &[usize]| {
        let topics = open.iter().map(|&index| {
            CreatePartitionsTopic::default()
                .with_name(topic_name(topics[index].0))
                .with_count(topics[index].1)
                .with_assignments(None)
        });
        CreatePartitionsRequest::default()
            .with_topics(topics.collect())
            .with_timeout_ms(millis(cluster.settings().timeout))
            .with_validate_only(dry_run)
    };
    let answers = |response: &<CreatePartitionsRequest as kafka_protocol::protocol::Request>::Response| {
        let each = response.results.iter().map(|topic| {
            let what = || format!("adding partitions to topic {}", topic.name.as_str());
            let error = Error::refused(what, topic.error_code, topic.error_message.as_deref());
            (topic.name.to_string(), error.map_or(Ok(()), Err))
        });
        each.collect()
    };
    Ok(ask_each(cluster, &names, request, answers).await?.outcomes)
}

/// The metadata of topics, with an error in each that does not exist.
///
/// # Errors
/// If the brokers cannot be asked.
pub async fn find_topics(cluster: &Cluster, names: &[&str]) -> Result<View, Error> {
    let mut asked = 0;
    loop {
        let view = cluster.refresh(Some(names)).await?;
        asked += 1;
        let missing = names.iter().any(|name| {
            let topic = view.topics.get(*name);
            topic.is_none_or(|topic| topic.error == Some(ResponseError::UnknownTopicOrPartition))
        });
        if !missing || asked >= MISSING {
            return Ok(view);
        }
        tokio::time::sleep(MISSING_PAUSE).await;
    }
}

/// Waits until each topic has at least so many partitions, and each partition a leader: then it can be written to.
///
/// # Errors
/// If that takes longer than `--timeout`, or the brokers cannot be asked.
pub async fn wait_until_led(cluster: &Cluster, topics: &[(&str, i32)]) -> Result<(), Error> {
    let names: Vec<&str> = topics.iter().map(|(name, _)| *name).collect();
    let look = || async {
        let view = cluster.refresh(Some(&names)).await?;
        for (name, partitions) in topics {
            if let Some(code) = unready(view.topics.get(*name), *partitions) {
                return Err(Error::Refused {
                    what: format!("waiting for the leaders of topic {name}"),
                    code,
                    message: None,
                });
            }
        }
        Ok(())
    };
    cluster.retry(look).await
}

fn unready(topic: Option<&Topic>, partitions: i32) -> Option<ResponseError> {
    let Some(topic) = topic else {
        return Some(ResponseError::UnknownTopicOrPartition);
    };
    let enough = i32::try_from(topic.partitions.len()).is_ok_and(|count| count >= partitions.max(1));
    let led = topic
        .partitions
        .iter()
        .all(|partition| partition.leader.is_some());
    topic
        .error
        .or((!(enough && led)).then_some(ResponseError::LeaderNotAvailable))
}

/// Waits until the brokers' metadata has these topics no more, for `--timeout` at most; that they are deleted is
/// sure before that.
///
/// # Errors
/// If the brokers cannot be asked.
pub async fn wait_until_gone(cluster: &Cluster, names: &[&str]) -> Result<(), Error> {
    let look = || async {
        let view = cluster.refresh(Some(names)).await?;
        let there = |name: &&&str| view.topics.get(**name).is_some_and(|topic| topic.error.is_none());
        match names.iter().find(there) {
            None => Ok(()),
            Some(name) => Err(Error::Refused {
                what: format!("waiting until topic {name} is gone"),
                // Any code that is asked again for.
                code: ResponseError::RequestTimedOut,
                message: None,
            }),
        }
    };
    match cluster.retry(look).await {
        Err(Error::Refused { .. }) | Ok(()) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What came of one request for several topics.
pub(super) struct Told<T> {
    /// In the order of the names.
    pub(super) outcomes: Vec<Outcome<T>>,
    /// Whether a try's answer was lost: it may have been carried out, and the outcomes be those of the next.
    pub(super) lost: bool,
}

/// Asks the controller (with KRaft any broker passes it on) for each of `names`; `request` makes a request for those
/// still open, by index, and `answers` reads it.
pub(super) async fn ask_each<R: Api, T: Clone>(
    cluster: &Cluster,
    names: &[&str],
    request: impl Fn(&[usize]) -> R,
    answers: impl Fn(&R::Response) -> Vec<(String, Outcome<T>)>,
) -> Result<Told<T>, Error> {
    let outcomes: RefCell<Vec<Option<Outcome<T>>>> = RefCell::new(vec![None; names.len()]);
    let lost = Cell::new(false);
    let one_try = || async {
        let view = cluster.refresh(Some(&[])).await?;
        let node = match view.controller {
            Some(id) if view.brokers.contains_key(&id) => Node::Broker(id),
            _ => Node::Any,
        };
        let connection = cluster.connection(node, Lane::Other).await?;
        let open: Vec<usize> = (0..names.len())
            .filter(|&index| match &outcomes.borrow()[index] {
                None => true,
                Some(outcome) => outcome.as_ref().is_err_and(is_put_off),
            })
            .collect();
        // The broker may wait for the controller as long as we let it.
        let wait = cluster.settings().timeout;
        let response = connection.request(&request(&open), wait).await;
        let response = response.inspect_err(|error| {
            if matches!(error, Error::Timeout { .. } | Error::Broken { .. }) {
                lost.set(true);
            }
        })?;
        let mut told: BTreeMap<String, Outcome<T>> = answers(&response).into_iter().collect();
        let mut outcomes = outcomes.borrow_mut();
        for index in open {
            let unanswered = || {
                Err(Error::Refused {
                    what: format!("{} of topic {}", R::NAME, names[index]),
                    code: ResponseError::UnknownServerError,
                    message: Some("the answer leaves it out".to_owned()),
                })
            };
            outcomes[index] = Some(told.remove(names[index]).unwrap_or_else(unanswered));
        }
        let errors = outcomes
            .iter()
            .flatten()
            .filter_map(|outcome| outcome.as_ref().err());
        let mut put_off = errors.filter(|error| is_put_off(error));
        put_off.next().cloned().map_or(Ok(()), Err)
    };
    let result = cluster.retry(one_try).await;
    let outcomes: Vec<Outcome<T>> = outcomes.into_inner().into_iter().flatten().collect();
    match result {
        // What is still put off is told topic by topic.
        Err(Error::Refused { .. }) | Ok(()) if outcomes.len() == names.len() => Ok(Told {
            outcomes,
            lost: lost.get(),
        }),
        Err(error) => Err(error),
        Ok(()) => Err(Error::Closed),
    }
}

/// Whether the same may be granted later. That a topic is unknown is the controller's word here, and final.
fn is_put_off(error: &Error) -> bool {
    let unknown = error.code() == Some(ResponseError::UnknownTopicOrPartition);
    error.retry() != Retry::No && !unknown
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::metadata::Partition;
    use super::*;

    fn topic(leaders: &[Option<i32>]) -> Topic {
        let partitions = leaders.iter().map(|leader| Partition {
            leader: *leader,
            ..Partition::default()
        });
        Topic {
            id: [1; 16],
            internal: false,
            error: None,
            partitions: partitions.collect(),
        }
    }

    #[test]
    fn a_topic_is_ready_when_every_partition_asked_for_has_a_leader() {
        assert_eq!(unready(Some(&topic(&[Some(1), Some(2)])), 2), None);
        assert_eq!(
            unready(Some(&topic(&[Some(1)])), 2),
            Some(ResponseError::LeaderNotAvailable)
        );
        assert_eq!(
            unready(Some(&topic(&[Some(1), None])), 2),
            Some(ResponseError::LeaderNotAvailable)
        );
        assert_eq!(
            unready(Some(&topic(&[])), -1),
            Some(ResponseError::LeaderNotAvailable)
        );
        assert_eq!(unready(None, 1), Some(ResponseError::UnknownTopicOrPartition));
    }

    #[test]
    fn what_is_not_said_is_the_brokers_default() {
        let new = NewTopic {
            name: "t".to_owned(),
            partitions: None,
            replication: Some(3),
            configs: vec![("retention.ms".to_owned(), "-1".to_owned())],
        };
        let creatable = creatable(&new);
        assert_eq!((creatable.num_partitions, creatable.replication_factor), (-1, 3));
        assert_eq!(creatable.configs[0].value.as_deref(), Some("-1"));
    }

    #[test]
    fn an_unknown_topic_is_final_and_a_moved_controller_is_not() {
        let error = |code| Error::Refused {
            what: String::new(),
            code,
            message: None,
        };
        assert!(is_put_off(&error(ResponseError::NotController)));
        assert!(is_put_off(&error(ResponseError::ThrottlingQuotaExceeded)));
        assert!(!is_put_off(&error(ResponseError::UnknownTopicOrPartition)));
        assert!(!is_put_off(&error(ResponseError::TopicAlreadyExists)));
    }
}
