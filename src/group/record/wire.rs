//! Records as JSON: `{"v":1,"type":"report",…}`.
//!
//! For people with kcat and jq: partitions are grouped by topic (`{"orders":{"0":…}}`), positions are
//! `"epoch:offset"`, tokens plain numbers, hashes and ids hexadecimal, topic ids as Kafka's tools print them. What has
//! its default value is left out, and fields that are not known are passed over.

mod body;
pub(in crate::group) mod field;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Entry, MAX_PARTITIONS, MAX_RECORD, PartitionId, Record, Report, SPEAKS, Topics, Unreadable};
use body::{
    AssignBody, EntryBody, ExpireBody, FoundBody, GrowBody, JoinBody, LevelBody, MarkBody, MarkHash,
    PartBody, PauseBody, ReportBody, ResetBody, ResetEntry, SkipBody, SubscribeBody, TopicBody,
};
use field::{ByTopic, ProgressFields, by_topic, partition_id, ungroup};

/// The key of those partitions of an assignment that have no target.
const NONE: &str = "none";

/// What every record begins with.
#[derive(Deserialize)]
struct Head {
    v: u64,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize)]
struct Line<T> {
    v: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    body: T,
}

pub(super) fn encode(record: &Record) -> Vec<u8> {
    let kind = record.kind();
    match record {
        Record::Found { floor, level } => line(
            kind,
            FoundBody {
                floor: *floor,
                level: *level,
            },
        ),
        Record::Join {
            member,
            instance,
            host,
            topics,
            session_ms,
            speaks,
            read,
        } => line(
            kind,
            JoinBody {
                member: member.clone(),
                instance: instance.clone(),
                host: host.clone(),
                topics: topics_body(topics),
                session_ms: *session_ms,
                speaks: *speaks,
                read: *read,
            },
        ),
        Record::Report(report) | Record::Leave(report) => line(kind, report_body(report)),
        Record::Expire {
            member,
            seen,
            by,
            after_ms,
        } => line(
            kind,
            ExpireBody {
                member: member.clone(),
                seen: *seen,
                by: by.clone(),
                after_ms: *after_ms,
            },
        ),
        Record::Assign { by, basis, changes } => {
            let mut members: BTreeMap<String, BTreeMap<String, Vec<i32>>> = BTreeMap::new();
            for ((topic, partition), target) in changes {
                let name = target.as_ref().map_or(NONE, |member| member.as_str());
                let topics = members.entry(name.into()).or_default();
                topics.entry(topic.to_string()).or_default().push(*partition);
            }
            line(
                kind,
                AssignBody {
                    by: by.clone(),
                    basis: *basis,
                    changes: members,
                },
            )
        }
        Record::Subscribe { member, n, topics } => line(
            kind,
            SubscribeBody {
                member: member.clone(),
                n: *n,
                topics: topics_body(topics),
            },
        ),
        Record::Grow {
            topic,
            id,
            partitions,
            was,
        } => line(
            kind,
            GrowBody {
                topic: topic.to_string(),
                id: *id,
                partitions: *partitions,
                was: was.map(field::TopicId),
            },
        ),
        Record::Reset { by, why, partitions } => line(
            kind,
            ResetBody {
                by: by.clone(),
                why: why.clone(),
                partitions: by_topic(
                    partitions
                        .iter()
                        .map(|(id, to, seen)| (id, ResetEntry { to: *to, seen: *seen })),
                ),
            },
        ),
        Record::Skip {
            by,
            why,
            partition: (topic, partition),
            offset,
            seen,
        } => line(
            kind,
            SkipBody {
                by: by.clone(),
                why: why.clone(),
                topic: topic.to_string(),
                partition: *partition,
                offset: *offset,
                seen: *seen,
            },
        ),
        Record::Pause {
            by,
            why,
            partition,
            seen,
        }
        | Record::Resume {
            by,
            why,
            partition,
            seen,
        } => line(
            kind,
            PauseBody {
                by: by.clone(),
                why: why.clone(),
                topic: partition.as_ref().map(|(topic, _)| topic.to_string()),
                partition: partition.as_ref().map(|(_, partition)| *partition),
                seen: *seen,
            },
        ),
        Record::Level { by, level } => line(
            kind,
            LevelBody {
                by: by.clone(),
                level: *level,
            },
        ),
        Record::Renew { by } | Record::Mark { by } => line(kind, MarkBody { by: by.clone() }),
        Record::Part {
            mark,
            n,
            of,
            bytes,
            hash,
        } => line(
            kind,
            PartBody {
                mark: *mark,
                n: *n,
                of: *of,
                hash: *hash,
                bytes: bytes.clone(),
            },
        ),
    }
}

pub(super) fn decode(payload: &[u8]) -> Result<Record, Unreadable> {
    if payload.len() > MAX_RECORD {
        return Err(Unreadable::TooLarge(payload.len()));
    }
    let Head { v, kind } = serde_json::from_slice(payload).map_err(|_| Unreadable::NotJson)?;
    if v > u64::from(SPEAKS) {
        return Err(Unreadable::Version(u32::try_from(v).unwrap_or(u32::MAX)));
    }
    if v == 0 {
        return malformed("versions begin at 1");
    }
    Ok(match kind.as_str() {
        "found" => {
            let FoundBody { floor, level } = body(payload)?;
            if floor >= 1 << 52 || level == 0 {
                return malformed("the floor is not below 2^52, or the level is 0");
            }
            Record::Found { floor, level }
        }
        "join" => {
            let join: JoinBody = body(payload)?;
            Record::Join {
                member: join.member,
                instance: join.instance,
                host: join.host,
                topics: topics(join.topics)?,
                session_ms: join.session_ms,
                speaks: join.speaks,
                read: join.read,
            }
        }
        "report" => Record::Report(report(body(payload)?)?),
        "leave" => Record::Leave(report(body(payload)?)?),
        "expire" => {
            let expire: ExpireBody = body(payload)?;
            Record::Expire {
                member: expire.member,
                seen: expire.seen,
                by: expire.by,
                after_ms: expire.after_ms,
            }
        }
        "assign" => assign(body(payload)?)?,
        "subscribe" => {
            let subscribe: SubscribeBody = body(payload)?;
            Record::Subscribe {
                member: subscribe.member,
                n: subscribe.n,
                topics: topics(subscribe.topics)?,
            }
        }
        "grow" => {
            let grow: GrowBody = body(payload)?;
            if !(0..=MAX_PARTITIONS).contains(&grow.partitions) {
                return malformed(TOO_MANY);
            }
            Record::Grow {
                topic: grow.topic.into(),
                id: grow.id,
                partitions: grow.partitions,
                was: grow.was.map(|id| id.0),
            }
        }
        "reset" => {
            let ResetBody { by, why, partitions } = body(payload)?;
            let mut entries = Vec::new();
            for (id, ResetEntry { to, seen }) in ungroup(partitions)? {
                if to.is_some_and(|to| to < 0) {
                    return malformed("an offset is negative");
                }
                entries.push((id, to, seen));
            }
            Record::Reset {
                by,
                why,
                partitions: entries,
            }
        }
        "skip" => {
            let skip: SkipBody = body(payload)?;
            if skip.offset < 0 {
                return malformed("an offset is negative");
            }
            Record::Skip {
                by: skip.by,
                why: skip.why,
                partition: partition_id(skip.topic.into(), skip.partition)?,
                offset: skip.offset,
                seen: skip.seen,
            }
        }
        "pause" => {
            let (by, why, partition, seen) = pause(body(payload)?)?;
            Record::Pause {
                by,
                why,
                partition,
                seen,
            }
        }
        "resume" => {
            let (by, why, partition, seen) = pause(body(payload)?)?;
            Record::Resume {
                by,
                why,
                partition,
                seen,
            }
        }
        "level" => {
            let LevelBody { by, level } = body(payload)?;
            Record::Level { by, level }
        }
        "renew" => Record::Renew {
            by: body::<MarkBody>(payload)?.by,
        },
        "mark" => Record::Mark {
            by: body::<MarkBody>(payload)?.by,
        },
        "part" => {
            let part: PartBody = body(payload)?;
            Record::Part {
                mark: part.mark,
                n: part.n,
                of: part.of,
                bytes: part.bytes,
                hash: part.hash,
            }
        }
        _ => return Err(Unreadable::UnknownType(kind)),
    })
}

const TOO_MANY: &str = "a count of partitions is negative or too large";

fn malformed<T>(why: &str) -> Result<T, Unreadable> {
    Err(Unreadable::Malformed(why.into()))
}

fn line<T: Serialize>(kind: &'static str, body: T) -> Vec<u8> {
    let line = Line { v: 1, kind, body };
    // It cannot fail: every key is a text or a number, and memory takes every byte.
    serde_json::to_vec(&line).unwrap_or_default()
}

fn body<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(payload).map_err(|error| Unreadable::Malformed(error.to_string()))
}

/// The bytes that an entry takes in a report, or a little more.
pub(super) fn entry_len(entry: &Entry) -> usize {
    let text = serde_json::to_vec(&entry_body(entry)).unwrap_or_default();
    text.len() + name_len(&entry.partition)
}

/// The bytes that a partition's name takes as a key of its own, or a little more.
pub(super) fn name_len((topic, _): &PartitionId) -> usize {
    // `"…":{"1234567890":…},` around them, twice the name in case of escapes.
    topic.len() * 2 + 24
}

fn topics_body(topics: &Topics) -> BTreeMap<String, TopicBody> {
    topics
        .iter()
        .map(|(name, info)| {
            (
                name.to_string(),
                TopicBody {
                    id: info.id,
                    partitions: info.partitions,
                },
            )
        })
        .collect()
}

fn topics(bodies: BTreeMap<String, TopicBody>) -> Result<Topics, Unreadable> {
    let mut total = 0_i32;
    let mut topics = Topics::new();
    for (name, TopicBody { id, partitions }) in bodies {
        total = total.saturating_add(partitions);
        if partitions < 0 || total > MAX_PARTITIONS {
            return malformed(TOO_MANY);
        }
        topics.insert(name.into(), super::TopicInfo { id, partitions });
    }
    Ok(topics)
}

fn entry_body(entry: &Entry) -> EntryBody {
    let ProgressFields {
        next,
        epoch,
        done,
        held,
    } = ProgressFields::from(&entry.progress);
    EntryBody {
        token: entry.token,
        next,
        epoch,
        done,
        held,
        gap: entry.gap.as_ref().map(|gap| (gap.start, gap.end)),
    }
}

fn report_body(report: &Report) -> ReportBody {
    ReportBody {
        member: report.member.clone(),
        n: report.n,
        progress: by_topic(
            report
                .entries
                .iter()
                .map(|entry| (&entry.partition, entry_body(entry))),
        ),
        released: by_topic(report.released.iter().map(|(id, token)| (id, *token))),
        mark: report.mark.map(|(at, hash)| MarkHash { at, hash }),
    }
}

fn report(body: ReportBody) -> Result<Report, Unreadable> {
    let mut entries = Vec::new();
    for (partition, entry) in ungroup(body.progress)? {
        let fields = ProgressFields {
            next: entry.next,
            epoch: entry.epoch,
            done: entry.done,
            held: entry.held,
        };
        if entry.gap.is_some_and(|(start, end)| start < 0 || start >= end) {
            return malformed("a gap is empty or negative");
        }
        entries.push(Entry {
            partition,
            token: entry.token,
            progress: fields.read()?,
            gap: entry.gap.map(|(start, end)| start..end),
        });
    }
    Ok(Report {
        member: body.member,
        n: body.n,
        entries,
        released: ungroup(body.released)?,
        mark: body.mark.map(|mark| (mark.at, mark.hash)),
    })
}

fn assign(body: AssignBody) -> Result<Record, Unreadable> {
    let mut changes = BTreeMap::new();
    for (name, topics) in body.changes {
        let target = match name.as_str() {
            NONE => None,
            id => Some(
                id.parse()
                    .map_err(|error: super::ids::NoMemberId| Unreadable::Malformed(error.to_string()))?,
            ),
        };
        for (topic, partitions) in topics {
            let topic: std::sync::Arc<str> = topic.into();
            for partition in partitions {
                changes.insert(partition_id(topic.clone(), partition)?, target.clone());
            }
        }
    }
    Ok(Record::Assign {
        by: body.by,
        basis: body.basis,
        changes,
    })
}

type Pause = (String, String, Option<PartitionId>, super::Position);

fn pause(body: PauseBody) -> Result<Pause, Unreadable> {
    let partition = match (body.topic, body.partition) {
        (None, None) => None,
        (Some(topic), Some(partition)) => Some(partition_id(topic.into(), partition)?),
        _ => return malformed("a topic without a partition, or a partition without a topic"),
    };
    Ok((body.by, body.why, partition, body.seen))
}

/// What `by_topic` makes of nothing is left out.
fn is_empty<T>(map: &ByTopic<T>) -> bool {
    map.is_empty()
}
