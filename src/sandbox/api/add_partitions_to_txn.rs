//! AddPartitionsToTxn (24), versions 0 to 3: later ones are for brokers.

use super::Api;
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::wire::{Read, Reader};

pub(crate) const API: Api = Api {
    key: 24,
    name: "AddPartitionsToTxn",
    versions: (0, 3),
    flexible: 3,
    answer,
};

/// Kafka's code for a partition that was not added because of another one.
const OPERATION_NOT_ATTEMPTED: i16 = 55;

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let r = &mut call.reader;
    let id = r.string()?;
    let producer = (r.i64()?, r.i16()?);
    let topics = r.array(|r| {
        let topic = (r.string()?, r.array(Reader::i32)?);
        r.tags()?;
        Ok(topic)
    })?;
    let all: Vec<(String, i32)> = topics
        .iter()
        .flat_map(|(topic, partitions)| partitions.iter().map(|partition| (topic.clone(), *partition)))
        .collect();
    let known = |cluster: &mut Cluster, topic: &str, partition: i32| {
        cluster
            .topics
            .get_mut(topic)
            .and_then(|topic| topic.log(partition))
            .is_some()
    };
    let missing = all
        .iter()
        .any(|(topic, partition)| !known(cluster, topic, *partition));
    let result = if missing {
        Err(OPERATION_NOT_ATTEMPTED)
    } else {
        cluster.add_to_transaction(&id, producer, &all, None, call.now)
    };
    let error = fenced(result.err().unwrap_or(code::NONE), call.envelope.version, 2);
    let mut w = call.envelope.writer();
    w.i32(call.envelope.throttle);
    w.array(topics.iter(), |w, (topic, partitions)| {
        w.string(topic);
        w.array(partitions.iter(), |w, partition| {
            w.i32(*partition);
            w.i16(if known(cluster, topic, *partition) {
                error
            } else {
                code::UNKNOWN_TOPIC_OR_PARTITION
            });
            w.tags();
        });
        w.tags();
    });
    w.tags();
    Ok(Answer::Send(w))
}

/// Before version `since` of an API a fenced producer is told of its epoch.
pub(super) fn fenced(error: i16, version: i16, since: i16) -> i16 {
    if error == code::PRODUCER_FENCED && version < since {
        code::INVALID_PRODUCER_EPOCH
    } else {
        error
    }
}
