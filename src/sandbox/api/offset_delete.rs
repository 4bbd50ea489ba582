//! OffsetDelete (47), version 0. Deviation: while a group has members, no offset of it can be deleted; Kafka looks at which
//! topics they have subscribed to.

use super::{Api, NEVER};
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::keep::Keep;
use crate::sandbox::wire::{Read, Reader};

pub(crate) const API: Api = Api {
    key: 47,
    name: "OffsetDelete",
    versions: (0, 0),
    flexible: NEVER,
    answer,
};

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let r = &mut call.reader;
    let group = r.string()?;
    let topics = r.array(|r| Ok((r.string()?, r.array(Reader::i32)?)))?;
    let known = cluster.groups.get(&group);
    let subscribed = known.is_some_and(|group| !group.members.is_empty());
    let error = if known.is_some() {
        code::NONE
    } else {
        code::GROUP_ID_NOT_FOUND
    };
    let mut w = call.envelope.writer();
    w.i16(error);
    w.i32(call.envelope.throttle);
    let topics = if error == code::NONE { topics } else { Vec::new() };
    w.array(topics.into_iter(), |w, (topic, partitions)| {
        w.string(&topic);
        w.array(partitions.into_iter(), |w, partition| {
            w.i32(partition);
            w.i16(if subscribed {
                code::GROUP_SUBSCRIBED_TO_TOPIC
            } else {
                code::NONE
            });
            if !subscribed {
                delete(cluster, &group, &topic, partition);
            }
        });
    });
    Ok(Answer::Send(w))
}

fn delete(cluster: &mut Cluster, group: &str, topic: &str, partition: i32) {
    let key = (topic.to_owned(), partition);
    let gone = cluster
        .groups
        .get_mut(group)
        .and_then(|group| group.offsets.remove(&key));
    if gone.is_some() {
        cluster.keep(Keep::Offset {
            group: group.to_owned(),
            topic: key.0,
            partition,
            committed: None,
        });
    }
}
