//! OffsetCommit (8), versions 2 to 8. Committed offsets never expire.

use super::Api;
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::group::Committed;
use crate::sandbox::wire::{Read, Reader};

pub(crate) const API: Api = Api {
    key: 8,
    name: "OffsetCommit",
    versions: (2, 8),
    flexible: 8,
    answer,
};

/// Kafka's `offset.metadata.max.bytes`.
pub(super) const MAX_METADATA: usize = 4096;

/// Topics with their partitions and what is committed of each.
pub(super) type Commits = Vec<(String, Vec<(i32, Committed)>)>;

/// The topics of a commit, of which the leader epoch is one field in some versions.
pub(super) fn read(r: &mut Reader, with_epoch: bool) -> Read<Commits> {
    r.array(|r| {
        let topic = r.string()?;
        let partitions = r.array(|r| {
            let partition = r.i32()?;
            let offset = r.i64()?;
            let epoch = if with_epoch { r.i32()? } else { -1 };
            let metadata = r.maybe_string()?.unwrap_or_default();
            r.tags()?;
            Ok((
                partition,
                Committed {
                    offset,
                    epoch,
                    metadata,
                },
            ))
        })?;
        r.tags()?;
        Ok((topic, partitions))
    })
}

/// Whether a partition's offset may be committed as far as topic and metadata go.
pub(super) fn check(cluster: &mut Cluster, topic: &str, partition: i32, committed: &Committed) -> i16 {
    if cluster
        .topics
        .get_mut(topic)
        .and_then(|topic| topic.log(partition))
        .is_none()
    {
        code::UNKNOWN_TOPIC_OR_PARTITION
    } else if committed.metadata.len() > MAX_METADATA {
        code::OFFSET_METADATA_TOO_LARGE
    } else {
        code::NONE
    }
}

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let version = call.version();
    let r = &mut call.reader;
    let group = r.string()?;
    let generation = r.i32()?;
    let member = r.string()?;
    let instance = if version >= 7 { r.maybe_string()? } else { None };
    if version <= 4 {
        r.i64()?;
    }
    let topics = read(r, version >= 6)?;
    let allowed = match cluster.groups.get(&group) {
        _ if group.is_empty() => Err(code::INVALID_GROUP_ID),
        Some(group) => group.may_commit(&member, instance.as_deref(), generation),
        None if generation < 0 => Ok(()),
        None => Err(code::ILLEGAL_GENERATION),
    };
    if allowed.is_ok()
        && let Some(group) = cluster.groups.get_mut(&group)
    {
        // A member that commits is alive.
        group.heartbeat(&member, instance.as_deref(), generation, call.now.mono);
    }
    let mut w = call.envelope.writer();
    if version >= 3 {
        w.i32(call.envelope.throttle);
    }
    w.array(topics.into_iter(), |w, (topic, partitions)| {
        w.string(&topic);
        w.array(partitions.into_iter(), |w, (partition, committed)| {
            let error = match allowed {
                Ok(()) => check(cluster, &topic, partition, &committed),
                Err(error) => error,
            };
            if error == code::NONE {
                cluster.commit(&group, &topic, partition, committed);
            }
            w.i32(partition);
            w.i16(error);
            w.tags();
        });
        w.tags();
    });
    w.tags();
    Ok(Answer::Send(w))
}
