//! TxnOffsetCommit (28), versions 0 to 3. What is committed holds when the transaction is committed.

use super::Api;
use super::offset_commit::{check, read};
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::wire::Read;

pub(crate) const API: Api = Api {
    key: 28,
    name: "TxnOffsetCommit",
    versions: (0, 3),
    flexible: 3,
    answer,
};

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let version = call.version();
    let r = &mut call.reader;
    let id = r.string()?;
    let group = r.string()?;
    let producer = (r.i64()?, r.i16()?);
    let (generation, member, instance) = if version >= 3 {
        (r.i32()?, r.string()?, r.maybe_string()?)
    } else {
        (-1, String::new(), None)
    };
    let topics = read(r, version >= 2)?;
    // One that says nothing of its membership is taken at its word, as Kafka does in a transaction.
    let anonymous = generation < 0 && member.is_empty();
    let allowed = match cluster.groups.get(&group) {
        Some(group) if !anonymous => group.may_commit(&member, instance.as_deref(), generation),
        None if !anonymous => Err(code::ILLEGAL_GENERATION),
        _ => Ok(()),
    };
    let allowed = allowed.and_then(|()| cluster.transaction_of(&id, producer).map(drop));
    let mut w = call.envelope.writer();
    w.i32(call.envelope.throttle);
    w.array(topics.into_iter(), |w, (topic, partitions)| {
        w.string(&topic);
        w.array(partitions.into_iter(), |w, (partition, committed)| {
            let error = match allowed {
                Ok(()) => check(cluster, &topic, partition, &committed),
                // This API tells of fencing by the epoch.
                Err(code::PRODUCER_FENCED) => code::INVALID_PRODUCER_EPOCH,
                Err(error) => error,
            };
            if error == code::NONE
                && let Ok(transaction) = cluster.transaction_of(&id, producer)
            {
                let of = transaction.offsets.entry(group.clone()).or_default();
                of.insert((topic.clone(), partition), committed);
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
