//! Produce (0), versions 3 to 9.
//!
//! Deviations: the records inside of batches are looked at only for a compacted topic's null keys; `compression.type` of a
//! topic is not enforced, batches stay as they came; a transaction's partitions must have been added before.

use bytes::BytesMut;

use super::Api;
use crate::record::Batches;
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::faults::Kind;
use crate::sandbox::log::Appended;
use crate::sandbox::wire::Read;

pub(crate) const API: Api = Api {
    key: 0,
    name: "Produce",
    versions: (3, 9),
    flexible: 9,
    answer,
};

/// zstd's number in a batch's attributes, and the first version that has it.
const ZSTD: (i16, i16) = (4, 7);

struct Outcome {
    partition: i32,
    result: Result<(Appended, i64), i16>,
}

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let transactional = call.reader.maybe_string()?;
    let acks = call.reader.i16()?;
    let _timeout = call.reader.i32()?;
    let mut topics = Vec::new();
    let request = call.reader.array(|r| {
        let topic = r.string()?;
        let partitions = r.array(|r| {
            let partition = (r.i32()?, r.maybe_bytes()?);
            r.tags()?;
            Ok(partition)
        })?;
        r.tags()?;
        Ok((topic, partitions))
    })?;
    for (topic, partitions) in request {
        let outcomes = partitions.into_iter().map(|(partition, set)| Outcome {
            partition,
            result: write(
                cluster,
                call,
                (&topic, partition),
                acks,
                transactional.as_deref(),
                set,
            ),
        });
        let outcomes: Vec<Outcome> = outcomes.collect();
        topics.push((topic, outcomes));
    }
    if acks == 0 {
        // The only way to tell that something went wrong.
        let failed = topics
            .iter()
            .flat_map(|(_, outcomes)| outcomes)
            .any(|outcome| outcome.result.is_err());
        return Ok(if failed { Answer::Close } else { Answer::Silent });
    }
    let version = call.version();
    let mut w = call.envelope.writer();
    w.array(topics.iter(), |w, (topic, outcomes)| {
        w.string(topic);
        w.array(outcomes.iter(), |w, outcome| {
            w.i32(outcome.partition);
            let (error, base, time, start) = match &outcome.result {
                Ok((appended, start)) => (code::NONE, appended.base, appended.append_time, *start),
                Err(error) => (*error, -1, -1, -1),
            };
            w.i16(error);
            w.i64(base);
            w.i64(time);
            if version >= 5 {
                w.i64(start);
            }
            if version >= 8 {
                w.array([(); 0].iter(), |_, ()| {});
                w.maybe_string(None);
            }
            w.tags();
        });
        w.tags();
    });
    w.i32(call.envelope.throttle);
    w.tags();
    Ok(Answer::Send(w))
}

fn write(
    cluster: &mut Cluster,
    call: &Call,
    (topic, partition): (&str, i32),
    acks: i16,
    transactional: Option<&str>,
    set: Option<BytesMut>,
) -> Result<(Appended, i64), i16> {
    let known = cluster
        .topics
        .get_mut(topic)
        .ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
    let (_, rules) = known.log(partition).ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
    let min_insync = rules.min_insync;
    if !(-1..=1).contains(&acks) {
        return Err(code::INVALID_REQUIRED_ACKS);
    }
    let faults = [Kind::LeaderMove, Kind::FullDisk, Kind::NotEnoughReplicas];
    let faults = if acks == -1 { &faults[..] } else { &faults[..2] };
    match cluster.faults.partition(faults, topic, partition, call.now.mono) {
        Some(Kind::LeaderMove) => return Err(code::NOT_LEADER_OR_FOLLOWER),
        Some(Kind::FullDisk) => return Err(code::KAFKA_STORAGE_ERROR),
        Some(_) => return Err(code::NOT_ENOUGH_REPLICAS),
        None => {}
    }
    // There is one replica.
    if acks == -1 && min_insync > 1 {
        return Err(code::NOT_ENOUGH_REPLICAS);
    }
    let set = set.filter(|set| !set.is_empty()).ok_or(code::INVALID_RECORD)?;
    let header = Batches::new(&set).next().ok_or(code::CORRUPT_MESSAGE)?.header;
    if header.attributes & 7 == ZSTD.0 && call.version() < ZSTD.1 {
        return Err(code::UNSUPPORTED_COMPRESSION_TYPE);
    }
    if header.is_transactional() {
        let transaction = transactional.and_then(|id| cluster.transactions.get(id));
        let transaction = transaction.ok_or(code::INVALID_PRODUCER_ID_MAPPING)?;
        if (header.producer_id, header.producer_epoch) != transaction.producer {
            return Err(code::INVALID_PRODUCER_EPOCH);
        }
        if !transaction.has(topic, partition) {
            return Err(code::INVALID_TXN_STATE);
        }
    }
    // A batch that is a small part of its frame would keep all of it in memory.
    let set = if set.len() * 2 < call.size {
        BytesMut::from(&set[..])
    } else {
        set
    };
    cluster.append(topic, partition, set, call.now)
}
