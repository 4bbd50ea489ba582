//! Records written.

use std::collections::BTreeMap;

use serde::Serialize;

use super::NONE;
use super::body::{
    AssignBody, EntryBody, ExpireBody, FoundBody, GrowBody, JoinBody, LevelBody, MarkBody, MarkHash,
    NoteBody, PartBody, PauseBody, ReportBody, ResetBody, ResetEntry, SkipBody, SubscribeBody, TopicBody,
};
use super::field::{ProgressFields, TopicId, by_topic};
use crate::group::record::{Entry, PartitionId, Record, Report, Topics};

#[derive(Serialize)]
struct Line<T> {
    v: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    body: T,
}

pub(in crate::group::record) fn encode(record: &Record) -> Vec<u8> {
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
                was: was.map(TopicId),
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
        Record::Note { member, note } => line(
            kind,
            NoteBody {
                member: member.clone(),
                breaker: note.breaker.clone(),
                fuse: note.fuse.clone(),
                pause: note.pause,
                partitions: by_topic(note.partitions.iter().map(|(id, holds)| (id, holds.clone()))),
            },
        ),
    }
}

fn line<T: Serialize>(kind: &'static str, body: T) -> Vec<u8> {
    let line = Line { v: 1, kind, body };
    // It cannot fail: every key is a text or a number, and memory takes every byte.
    serde_json::to_vec(&line).unwrap_or_default()
}

/// The bytes that an entry takes in a report, or a little more.
pub(in crate::group::record) fn entry_len(entry: &Entry) -> usize {
    let text = serde_json::to_vec(&entry_body(entry)).unwrap_or_default();
    text.len() + name_len(&entry.partition)
}

/// The bytes that a partition's name takes as a key of its own, or a little more.
pub(in crate::group::record) fn name_len((topic, _): &PartitionId) -> usize {
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
