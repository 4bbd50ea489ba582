//! OffsetForLeaderEpoch (23), versions 2 to 4.

use super::{Api, check_epoch};
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::wire::Read;

pub(crate) const API: Api = Api {
    key: 23,
    name: "OffsetForLeaderEpoch",
    versions: (2, 4),
    flexible: 4,
    answer,
};

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let r = &mut call.reader;
    if call.envelope.version >= 3 {
        r.i32()?;
    }
    let topics = r.array(|r| {
        let topic = r.string()?;
        let partitions = r.array(|r| {
            let partition = (r.i32()?, r.i32()?, r.i32()?);
            r.tags()?;
            Ok(partition)
        })?;
        r.tags()?;
        Ok((topic, partitions))
    })?;
    let mut w = call.envelope.writer();
    w.i32(call.envelope.throttle);
    w.array(topics.iter(), |w, (topic, partitions)| {
        w.string(topic);
        w.array(partitions.iter(), |w, (partition, current, asked)| {
            let known = cluster
                .topics
                .get_mut(topic)
                .and_then(|topic| topic.log(*partition));
            let result = known
                .ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)
                .and_then(|(log, _)| check_epoch(log, *current).map(|()| log.epoch_end(*asked)));
            let (epoch, end) = result.unwrap_or((-1, -1));
            w.i16(result.err().unwrap_or(code::NONE));
            w.i32(*partition);
            w.i32(epoch);
            w.i64(end);
            w.tags();
        });
        w.tags();
    });
    w.tags();
    Ok(Answer::Send(w))
}
