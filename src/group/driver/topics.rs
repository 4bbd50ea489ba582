//! The topics that a group reads, as metadata has them: new ones, more partitions, topics that were made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Failure, Topics};
use crate::broker::Error;
use crate::broker::cluster::Cluster;
use crate::broker::error::retry_code;
use crate::broker::metadata::Metadata;
use crate::dead_letter::{MAX_TOPIC, is_of_group, replay_topic};
use crate::group::log;
use crate::group::record::{self, TopicInfo};

/// How often they are looked up, in milliseconds: what is new is to be read within half a minute.
const PERIOD: u64 = 25_000;
/// How often while there is none, in milliseconds.
const IMPATIENT: u64 = 3_000;
/// How often it is asked whether a topic of replays has come, in milliseconds: whoever replays waits for it, and the
/// question names nothing but those that are not there.
pub(super) const REPLAYS: u64 = 3_000;
/// So much longer for each that is not there, in milliseconds: the question and its answer have their names.
pub(super) const FOR_EACH_REPLAY: u64 = 100;
/// So many looks in a row have to miss a topic until it is taken for deleted: brokers start with old metadata.
const MISSES: u32 = 3;

/// What was found last.
#[derive(Debug)]
pub(super) struct Watched {
    known: record::Topics,
    misses: BTreeMap<Arc<str>, u32>,
    warned: BTreeSet<Arc<str>>,
    /// The id of the log's topic, if metadata has it.
    pub(super) log_id: Option<[u8; 16]>,
}

impl Watched {
    /// A first look.
    pub(super) async fn look(cluster: &Cluster, topics: &Topics, log: &str) -> Result<Self, Failure> {
        let mut watched = Self {
            known: record::Topics::new(),
            misses: BTreeMap::new(),
            warned: BTreeSet::new(),
            log_id: None,
        };
        let view = refresh(cluster, topics, log).await.map_err(Failure::Topics)?;
        watched.take(&view, topics, log)?;
        Ok(watched)
    }

    /// Those to subscribe to; none while none exists.
    pub(super) fn topics(&self) -> Option<&record::Topics> {
        (!self.known.is_empty()).then_some(&self.known)
    }

    /// In how many milliseconds to look again.
    pub(super) fn period(&self) -> u64 {
        if self.known.is_empty() { IMPATIENT } else { PERIOD }
    }

    /// Takes in what metadata says. A topic that is not there (any more) stays for a while; a topic that may not be read
    /// is an error.
    pub(super) fn take(&mut self, view: &Metadata, topics: &Topics, log: &str) -> Result<(), Failure> {
        self.log_id = there(view, log).map(|info| info.id);
        let group = log::group_of(log).unwrap_or_default();
        let mut names: Vec<Arc<str>> = match topics {
            Topics::Named(names) => names.clone(),
            Topics::Like(pattern) => view
                .topics
                .iter()
                .filter(|(name, topic)| {
                    !topic.internal
                        && log::group_of(name).is_none()
                        && !is_of_group(name, group)
                        && pattern.is_match(name)
                })
                .map(|(name, _)| Arc::from(name.as_str()))
                .chain(self.known.keys().cloned())
                .collect(),
        };
        if let Topics::Like(pattern) = topics
            && names.is_empty()
            && self.warned.insert(Arc::from(pattern.as_str()))
        {
            tracing::warn!("no topic matches {pattern} (yet): the group reads those that do as they come");
        }
        // What is replayed to this group comes through topics of its own, which are there only if something ever was.
        let replays = names.iter().map(|name| replay_topic(name, group));
        let replays: Vec<Arc<str>> = replays
            .filter(|name| there(view, name).is_some())
            .map(Arc::from)
            .collect();
        let known = self.known.keys().filter(|name| is_of_group(name, group)).cloned();
        names.extend(known.chain(replays).collect::<BTreeSet<_>>());
        for name in names {
            if let Some(found) = there(view, &name) {
                self.misses.remove(&name);
                self.known.insert(name, found);
                continue;
            }
            if let Some(code) = view.topics.get(&*name).and_then(|topic| topic.error)
                && matches!(topics, Topics::Named(_))
                && retry_code(code) == crate::broker::error::Retry::No
            {
                return Err(Failure::Topics(Error::Refused {
                    what: format!("finding topic {name}"),
                    code,
                    message: None,
                }));
            }
            if !self.known.contains_key(&name) {
                if self.warned.insert(Arc::clone(&name)) {
                    tracing::warn!("topic {name} does not exist (yet): the group reads it when it does");
                }
                continue;
            }
            let misses = self.misses.entry(Arc::clone(&name)).or_default();
            *misses += 1;
            if *misses >= MISSES {
                self.misses.remove(&name);
                // A member without a topic is one that leaves.
                if self.known.len() > 1 {
                    tracing::warn!("topic {name} was deleted: the group reads it no longer");
                    self.known.remove(&name);
                }
            }
        }
        Ok(())
    }

    /// The topics of replays of those that are read, as far as they were not there at the last look.
    pub(super) fn missing_replays(&self, group: &str) -> Vec<String> {
        let sources = self.known.keys().filter(|name| !is_of_group(name, group));
        let replays = sources.map(|name| replay_topic(name, group));
        replays
            .filter(|name| name.len() <= MAX_TOPIC && !self.known.contains_key(name.as_str()))
            .collect()
    }

    /// Takes in those that have come. Whether there are any.
    pub(super) fn take_replays(&mut self, view: &Metadata, group: &str) -> bool {
        let missing = self.missing_replays(group);
        let come = missing.into_iter().filter_map(|name| {
            let info = there(view, &name)?;
            Some((Arc::<str>::from(name), info))
        });
        let before = self.known.len();
        self.known.extend(come.collect::<Vec<_>>());
        self.known.len() > before
    }
}

/// What metadata says of a topic, if that can be read.
fn there(view: &Metadata, name: &str) -> Option<TopicInfo> {
    let topic = view.topics.get(name)?;
    let count = i32::try_from(topic.partitions.len()).ok()?;
    let info = TopicInfo {
        id: topic.id,
        partitions: count,
    };
    (topic.error.is_none() && count > 0).then_some(info)
}

/// Asks for the metadata of all that may matter.
pub(super) async fn refresh(
    cluster: &Cluster,
    topics: &Topics,
    log: &str,
) -> Result<crate::broker::metadata::View, Error> {
    match topics {
        Topics::Named(names) => {
            let group = log::group_of(log).unwrap_or_default();
            let replays: Vec<String> = names.iter().map(|name| replay_topic(name, group)).collect();
            let names = names.iter().map(AsRef::as_ref).chain([log]);
            let names: Vec<&str> = names.chain(replays.iter().map(String::as_str)).collect();
            cluster.refresh(Some(&names)).await
        }
        Topics::Like(_) => cluster.refresh(None).await,
    }
}

#[cfg(test)]
mod tests {
    use crate::broker::error::ResponseError;
    use crate::broker::metadata::{Partition, Topic};
    use regex_lite::Regex;

    use super::*;

    fn view(topics: &[(&str, usize)]) -> Metadata {
        let topic = |(name, count): &(&str, usize)| {
            let topic = Topic {
                id: [7; 16],
                internal: name.starts_with("__"),
                error: (*count == 0).then_some(ResponseError::UnknownTopicOrPartition),
                partitions: vec![Partition::default(); *count],
            };
            ((*name).to_owned(), topic)
        };
        Metadata {
            topics: topics.iter().map(topic).collect(),
            ..Metadata::default()
        }
    }

    fn fresh() -> Watched {
        Watched {
            known: record::Topics::new(),
            misses: BTreeMap::new(),
            warned: BTreeSet::new(),
            log_id: None,
        }
    }

    fn names(watched: &Watched) -> Vec<&str> {
        watched.known.keys().map(AsRef::as_ref).collect()
    }

    #[test]
    fn a_pattern_finds_no_internal_topics_and_no_logs() {
        let like = Topics::Like(Regex::new(".*").unwrap());
        let mut watched = fresh();
        let all = view(&[("orders", 3), ("__consumer_offsets", 50), ("barnabas.group.g", 1)]);
        watched.take(&all, &like, "barnabas.group.g").unwrap();
        assert_eq!(names(&watched), ["orders"]);
        assert_eq!(watched.log_id, Some([7; 16]));
    }

    #[test]
    fn a_topic_is_taken_for_deleted_only_after_several_looks_and_never_the_last_one() {
        let named = Topics::Named(vec![Arc::from("a"), Arc::from("b")]);
        let mut watched = fresh();
        watched.take(&view(&[("a", 1), ("b", 1)]), &named, "l").unwrap();
        let gone = view(&[("a", 0), ("b", 0)]);
        for _ in 1..MISSES {
            watched.take(&gone, &named, "l").unwrap();
            assert_eq!(names(&watched), ["a", "b"]);
        }
        watched.take(&gone, &named, "l").unwrap();
        assert_eq!(names(&watched), ["b"]);
    }

    #[test]
    fn a_topic_that_comes_later_is_waited_for() {
        let named = Topics::Named(vec![Arc::from("a")]);
        let mut watched = fresh();
        watched.take(&view(&[("a", 0)]), &named, "l").unwrap();
        assert_eq!((watched.topics(), watched.period()), (None, IMPATIENT));
        watched.take(&view(&[("a", 2)]), &named, "l").unwrap();
        assert_eq!(watched.topics().unwrap()["a"].partitions, 2);
        assert_eq!(watched.period(), PERIOD);
    }

    #[test]
    fn a_topic_that_may_not_be_read_is_an_error() {
        let named = Topics::Named(vec![Arc::from("a")]);
        let mut all = view(&[("a", 0)]);
        all.topics.get_mut("a").unwrap().error = Some(ResponseError::TopicAuthorizationFailed);
        assert!(fresh().take(&all, &named, "l").is_err());
    }

    #[test]
    fn a_topic_of_replays_is_asked_for_until_it_is_there() {
        let named = Topics::Named(vec![Arc::from("a")]);
        let mut watched = fresh();
        watched
            .take(&view(&[("a", 2)]), &named, "barnabas.group.g")
            .unwrap();
        assert_eq!(watched.missing_replays("g"), ["a.replay.g"]);
        assert!(!watched.take_replays(&view(&[("a", 2), ("a.replay.g", 0)]), "g"));
        assert!(!watched.take_replays(&view(&[("a", 2), ("a.replay.other", 2)]), "g"));
        assert!(watched.take_replays(&view(&[("a.replay.g", 2)]), "g"));
        assert_eq!(names(&watched), ["a", "a.replay.g"]);
        assert_eq!(watched.missing_replays("g"), [] as [String; 0]);
    }

    #[test]
    fn a_name_that_no_topic_can_have_is_not_asked_for() {
        let long: Arc<str> = Arc::from("t".repeat(MAX_TOPIC - 5));
        let named = Topics::Named(vec![Arc::clone(&long)]);
        let mut watched = fresh();
        watched.take(&view(&[(&*long, 1)]), &named, "l").unwrap();
        assert_eq!(watched.missing_replays("g"), [] as [String; 0]);
    }
}
