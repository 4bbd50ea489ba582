//! Records read.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::NONE;
use super::body::{
    AssignBody, ExpireBody, FoundBody, GrowBody, JoinBody, LevelBody, MarkBody, NoteBody, PartBody,
    PauseBody, ReportBody, ResetBody, ResetEntry, SkipBody, SubscribeBody, TopicBody,
};
use super::field::{ProgressFields, partition_id, ungroup};
use crate::group::record::ids::NoMemberId;
use crate::group::record::{
    Entry, MAX_PARTITIONS, MAX_RECORD, Note, PartitionId, Position, Record, Report, SPEAKS, TopicInfo,
    Topics, Unreadable,
};

/// What every record begins with.
#[derive(Deserialize)]
struct Head {
    v: u64,
    #[serde(rename = "type")]
    kind: String,
}

pub(in crate::group::record) fn decode(payload: &[u8]) -> Result<Record, Unreadable> {
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
        "note" => {
            let note: NoteBody = body(payload)?;
            Record::Note {
                member: note.member,
                note: Note {
                    breaker: note.breaker,
                    fuse: note.fuse,
                    pause: note.pause,
                    partitions: ungroup(note.partitions)?.into_iter().collect(),
                },
            }
        }
        _ => return Err(Unreadable::UnknownType(kind)),
    })
}

const TOO_MANY: &str = "a count of partitions is negative or too large";

fn malformed<T>(why: &str) -> Result<T, Unreadable> {
    Err(Unreadable::Malformed(why.into()))
}

fn body<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(payload).map_err(|error| Unreadable::Malformed(error.to_string()))
}

fn topics(bodies: BTreeMap<String, TopicBody>) -> Result<Topics, Unreadable> {
    let mut total = 0_i32;
    let mut topics = Topics::new();
    for (name, TopicBody { id, partitions }) in bodies {
        total = total.saturating_add(partitions);
        if partitions < 0 || total > MAX_PARTITIONS {
            return malformed(TOO_MANY);
        }
        topics.insert(name.into(), TopicInfo { id, partitions });
    }
    Ok(topics)
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
                    .map_err(|error: NoMemberId| Unreadable::Malformed(error.to_string()))?,
            ),
        };
        for (topic, partitions) in topics {
            let topic: Arc<str> = topic.into();
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

type Pause = (String, String, Option<PartitionId>, Position);

fn pause(body: PauseBody) -> Result<Pause, Unreadable> {
    let partition = match (body.topic, body.partition) {
        (None, None) => None,
        (Some(topic), Some(partition)) => Some(partition_id(topic.into(), partition)?),
        _ => return malformed("a topic without a partition, or a partition without a topic"),
    };
    Ok((body.by, body.why, partition, body.seen))
}
