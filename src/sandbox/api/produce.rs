//! Produce (0), versions 3 to 9.
//!
//! Deviations: the records inside of batches are looked at only for a compacted topic's null keys and where times have limits; `compression.type` of a
//! topic is not enforced, batches stay as they came; a transaction's partitions must have been added before.

use bytes::BytesMut;

use super::Api;
use crate::record::Batches;
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::faults::Kind;
use crate::sandbox::log::{Appended, Rejected};
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
    result: Result<(Appended, i64), Rejected>,
    /// Where the log begins, told with some errors; -1 if not.
    start: i64,
}

/// Errors that Kafka finds in the log itself, and tells with where it begins.
const WITH_START: [i16; 5] = [
    code::NOT_ENOUGH_REPLICAS,
    code::INVALID_TIMESTAMP,
    code::OUT_OF_ORDER_SEQUENCE,
    code::INVALID_PRODUCER_EPOCH,
    code::INVALID_RECORD,
];
/// Records that the words about a batch show.
const SHOWN: usize = 3;

/// What Kafka says of a batch of which records were refused.
fn words(rejected: &Rejected) -> Option<String> {
    let records = &rejected.records;
    if records.is_empty() {
        return None;
    }
    if rejected.code == code::INVALID_TIMESTAMP {
        return Some("One or more records have been rejected due to invalid timestamp".to_owned());
    }
    let shown = records
        .iter()
        .take(SHOWN)
        .map(|(index, why)| format!("RecordError(batchIndex={index}, message='{why}')"));
    Some(format!(
        "One or more records have been rejected due to {} record errors in total, and only showing the first three errors at most: [{}]",
        records.len(),
        shown.collect::<Vec<_>>().join(", ")
    ))
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
        let outcomes = partitions.into_iter().map(|(partition, set)| {
            let place = (topic.as_str(), partition);
            let result = write(cluster, call, place, acks, transactional.as_deref(), set);
            let told = |rejected: &Rejected| WITH_START.contains(&rejected.code);
            let log = cluster.topics.get_mut(&topic);
            let log = log.and_then(|topic| Some(topic.log(partition)?.0.start()));
            let start = log.filter(|_| result.as_ref().is_err_and(told)).unwrap_or(-1);
            Outcome {
                partition,
                result,
                start,
            }
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
                Err(rejected) => (rejected.code, -1, -1, outcome.start),
            };
            w.i16(error);
            w.i64(base);
            w.i64(time);
            if version >= 5 {
                w.i64(start);
            }
            if version >= 8 {
                let rejected = outcome.result.as_ref().err();
                let records = rejected.map_or(&[][..], |rejected| &rejected.records);
                w.array(records.iter(), |w, (index, why)| {
                    w.i32(*index);
                    w.maybe_string(Some(why));
                    w.tags();
                });
                w.maybe_string(rejected.and_then(words).as_deref());
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
) -> Result<(Appended, i64), Rejected> {
    let known = cluster
        .topics
        .get_mut(topic)
        .ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
    let (_, rules) = known.log(partition).ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
    let min_insync = rules.min_insync;
    if !(-1..=1).contains(&acks) {
        return Err(code::INVALID_REQUIRED_ACKS.into());
    }
    let faults = [Kind::LeaderMove, Kind::FullDisk, Kind::NotEnoughReplicas];
    let faults = if acks == -1 { &faults[..] } else { &faults[..2] };
    match cluster.faults.partition(faults, topic, partition, call.now.mono) {
        Some(Kind::LeaderMove) => return Err(code::NOT_LEADER_OR_FOLLOWER.into()),
        Some(Kind::FullDisk) => return Err(code::KAFKA_STORAGE_ERROR.into()),
        Some(_) => return Err(code::NOT_ENOUGH_REPLICAS.into()),
        None => {}
    }
    // There is one replica.
    if acks == -1 && min_insync > 1 {
        return Err(code::NOT_ENOUGH_REPLICAS.into());
    }
    let set = set.filter(|set| !set.is_empty()).ok_or(code::INVALID_RECORD)?;
    let header = Batches::new(&set).next().ok_or(code::CORRUPT_MESSAGE)?.header;
    if header.attributes & 7 == ZSTD.0 && call.version() < ZSTD.1 {
        return Err(code::UNSUPPORTED_COMPRESSION_TYPE.into());
    }
    if header.is_transactional() {
        let transaction = transactional.and_then(|id| cluster.transactions.get(id));
        let transaction = transaction.ok_or(code::INVALID_PRODUCER_ID_MAPPING)?;
        if (header.producer_id, header.producer_epoch) != transaction.producer {
            return Err(code::INVALID_PRODUCER_EPOCH.into());
        }
        if !transaction.has(topic, partition) {
            return Err(code::INVALID_TXN_STATE.into());
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
