//! Dead letters on their way to their topics.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Boxed, Deliverer, looking};
use crate::app::Notice;
use crate::broker::admin_configs::describe_configs;
use crate::broker::cluster::Cluster;
use crate::broker::metadata::PartitionId;
use crate::clock;
use crate::dead_letter::envelope::{self, Failed};
use crate::dead_letter::headers::Families;
use crate::dead_letter::replay;
use crate::dead_letter::topics::{self, TopicError};
use crate::dead_letter::writer::Writer;
use crate::dead_letter::{replay_topic, split_replay};
use crate::delivery::{self, Attempt, Letter, Reason};
use crate::handler::{Answer, Origin, Outcome};
use crate::produce::producer::Producer;
use crate::record::{Codec, Header, OwnedRecord};

/// Between the outcome, the status and the rest of a reason. None of the first two has it.
const UNIT: char = '\u{1f}';

/// The topics of dead letters, looked at before anything is delivered.
#[derive(Debug, Clone)]
pub struct Letters {
    cluster: Cluster,
    producer: Producer,
    group: Arc<str>,
    families: Families,
    /// Whether a topic that is missing is made.
    create: bool,
    topics: BTreeMap<Arc<str>, Topic>,
}

#[derive(Debug, Clone)]
struct Topic {
    writer: Writer,
    /// Milliseconds after which the source deletes records, if it does.
    retention: Option<u64>,
}

/// What became of a letter.
pub(super) struct Done {
    attempt: Attempt,
    id: PartitionId,
    offset: i64,
    reason: Reason,
    result: Result<Topic, String>,
    source: Arc<str>,
}

impl Letters {
    /// Looks at the topics of dead letters of these sources, and makes what is missing.
    ///
    /// # Errors
    /// A topic that cannot be written to, or would lose letters.
    pub async fn open(
        (cluster, producer): (Cluster, Producer),
        group: Arc<str>,
        families: Families,
        create: bool,
        sources: &[Arc<str>],
    ) -> Result<Self, TopicError> {
        let mut letters = Self {
            cluster,
            producer,
            group,
            families,
            create,
            topics: BTreeMap::new(),
        };
        for source in sources {
            match letters.topic(source).await {
                Ok(topic) => {
                    letters.topics.insert(Arc::clone(source), topic);
                }
                // The group waits for it.
                Err(TopicError::Missing { create: None, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(letters)
    }

    /// What is not as it should be with them.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.topics
            .values()
            .flat_map(|topic| topic.writer.warnings())
            .map(String::as_str)
    }

    async fn topic(&self, source: &str) -> Result<Topic, TopicError> {
        let about = topics::source(&self.cluster, source).await?;
        let (producer, families) = (self.producer.clone(), self.families);
        let writer = Writer::open(
            &self.cluster,
            producer,
            &about,
            &self.group,
            families,
            self.create,
        )
        .await?;
        let configs = describe_configs(
            &self.cluster,
            &[source],
            Some(&["retention.ms", "cleanup.policy"]),
        )
        .await?;
        // Without the right to see it, nothing is given up for its sake.
        let configs = configs
            .into_iter()
            .next()
            .and_then(Result::ok)
            .unwrap_or_default();
        let value = |name: &str| configs.iter().find(|config| config.name == name)?.value.clone();
        let deletes = value("cleanup.policy").is_some_and(|policy| policy.contains("delete"));
        let retention = value("retention.ms").filter(|_| deletes);
        Ok(Topic {
            writer,
            retention: retention
                .and_then(|text| text.parse().ok())
                .filter(|millis| *millis > 0),
        })
    }

    /// Milliseconds after which a topic deletes records, if it does and that is known.
    pub(super) fn retention(&self, topic: &str) -> Option<u64> {
        self.topics.get(topic)?.retention
    }

    /// The partition whose lanes a partition of replays feeds.
    pub(super) fn source_of(&self, id: &PartitionId) -> Option<PartitionId> {
        let (source, group) = split_replay(&id.0)?;
        (group == &*self.group).then(|| (Arc::from(source), id.1))
    }

    /// The partition that shares its lanes: the source's of one of replays, and the other way round.
    pub(super) fn partner(&self, id: &PartitionId) -> PartitionId {
        let replays = || (Arc::from(replay_topic(&id.0, &self.group)), id.1);
        self.source_of(id).unwrap_or_else(replays)
    }

    /// Where a record of a replay topic came from: its headers are believed there and nowhere else.
    pub(super) fn origin(body: &OwnedRecord) -> Option<Origin> {
        let origin = replay::Origin::read(body.headers().iter())?;
        Some(Origin {
            topic: Arc::from(origin.topic),
            topic_id: origin.topic_id,
            partition: origin.partition,
            offset: origin.offset,
            replays: origin.replays,
        })
    }

    /// Writes one, through a topic that may have to be opened first.
    fn write(&self, id: PartitionId, topic_id: [u8; 16], letter: Letter<Arc<OwnedRecord>>) -> Boxed<Done> {
        let letters = self.clone();
        Box::pin(async move {
            let body = letter.body;
            let headers: Vec<Header<'_>> = body.iter().flat_map(|body| body.headers()).collect();
            let origin = letters
                .source_of(&id)
                .and_then(|_| replay::Origin::read(headers.iter().copied()));
            let source: Arc<str> = origin
                .as_ref()
                .map_or_else(|| Arc::clone(&id.0), |origin| Arc::from(&*origin.topic));
            let result = async {
                let topic = match letters.topics.get(&source) {
                    Some(topic) => topic.clone(),
                    None => letters.topic(&source).await.map_err(|error| chain(&error))?,
                };
                let broken = match letter.reason {
                    Reason::Undecodable => looking::batch(&letters.cluster, &id, letter.offsets.start)
                        .await
                        .map_err(|error| chain(&error))?,
                    _ => None,
                };
                let (status, message) = match &broken {
                    Some((_, why)) => (None, why.as_str()),
                    None => letter.why.as_deref().map_or((None, ""), |why| {
                        let (_, status, message) = split_why(why);
                        (status, message)
                    }),
                };
                let now = clock::unix_millis();
                let failed = Failed {
                    group: &letters.group,
                    topic: &source,
                    topic_id: origin.as_ref().map_or(topic_id, |origin| origin.topic_id),
                    partition: origin.as_ref().map_or(id.1, |origin| origin.partition),
                    offset: origin
                        .as_ref()
                        .map_or(letter.offsets.start, |origin| origin.offset),
                    last_offset: (letter.reason == Reason::Undecodable).then_some(letter.offsets.end - 1),
                    timestamp: match (&origin, &body) {
                        (Some(origin), _) => origin.timestamp,
                        (None, Some(body)) => body.timestamp,
                        (None, None) => -1,
                    },
                    append_time: body.as_ref().is_some_and(|body| body.append_time),
                    key: body.as_ref().and_then(|body| body.key()),
                    value: match &broken {
                        Some((bytes, _)) => Some(&bytes[..]),
                        None => body.as_ref().and_then(|body| body.value()),
                    },
                    headers: &headers,
                    reason: reason(letter.reason),
                    deliveries: letter.tries,
                    message,
                    status,
                    first_failed: letter.first_failed,
                    last_failed: letter.first_failed.map(|_| now),
                    replays: origin.as_ref().map_or(0, |origin| origin.replays),
                };
                let codec = body.as_ref().map_or(Codec::None, |body| body.codec);
                match topic.writer.write(&failed, codec, now).await {
                    Ok(_) => Ok(topic),
                    Err(error) => Err(chain(&error)),
                }
            }
            .await;
            Done {
                attempt: letter.attempt,
                offset: letter.offsets.start,
                reason: letter.reason,
                id,
                result,
                source,
            }
        })
    }
}

impl Deliverer {
    pub(super) fn write(&mut self, letter: Letter<Arc<OwnedRecord>>) {
        let Some(owned) = self.owned.get(&letter.claim) else {
            return;
        };
        let view = self.cluster.view();
        let topic_id = view.topics.get(&*owned.id.0).map_or([0; 16], |topic| topic.id);
        self.writing
            .push(self.letters.write(owned.id.clone(), topic_id, letter));
    }

    pub(super) fn written(&mut self, done: Done) {
        self.core.letter(super::now(), done.attempt, done.result.is_ok());
        self.note_letter(&done.id, done.offset, done.result.as_ref().err());
        let notice = match done.result {
            Ok(topic) => {
                let to = topic.writer.topic().to_owned();
                self.letters.topics.entry(done.source).or_insert(topic);
                Notice::DeadLetter {
                    partition: done.id,
                    offset: done.offset,
                    reason: done.reason,
                    to,
                }
            }
            Err(why) => Notice::NoDeadLetter {
                partition: done.id,
                offset: done.offset,
                why,
            },
        };
        self.notices.push(notice);
        self.note_work();
    }
}

/// What the core keeps of an answer that was not "done".
pub(super) fn why(answer: &Answer) -> Arc<str> {
    let outcome = match answer.outcome {
        Outcome::Done => "done",
        Outcome::Skip => "skip",
        Outcome::Retry { .. } => "retry",
        Outcome::Lost { .. } => "lost",
        Outcome::Hold => "hold",
        Outcome::Reject => "reject",
        Outcome::Aborted => "aborted",
    };
    let status = answer.status.as_deref().unwrap_or_default();
    Arc::from(format!("{outcome}{UNIT}{status}{UNIT}{}", answer.excerpt))
}

/// What the answer meant; its status, if there was an answer; and what it said.
pub(super) fn split_why(why: &str) -> (&str, Option<&str>, &str) {
    let mut parts = why.splitn(3, UNIT);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(outcome), Some(status), Some(message)) => {
            (outcome, Some(status).filter(|status| !status.is_empty()), message)
        }
        _ => ("", None, why),
    }
}

const fn reason(reason: delivery::Reason) -> envelope::Reason {
    match reason {
        delivery::Reason::Rejected => envelope::Reason::Rejected,
        delivery::Reason::Exhausted => envelope::Reason::Exhausted,
        delivery::Reason::Undecodable => envelope::Reason::Undecodable,
        delivery::Reason::Expiring => envelope::Reason::Expiring,
        delivery::Reason::Invalid => envelope::Reason::Invalid,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
