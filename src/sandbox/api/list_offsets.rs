//! ListOffsets (2), versions 1 to 7: the latest (-1), the earliest (-2), by time, the highest time's (-3, from version 7 on).

use super::{Api, check_epoch};
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::faults::Kind;
use crate::sandbox::wire::Read;

pub(crate) const API: Api = Api {
    key: 2,
    name: "ListOffsets",
    versions: (1, 7),
    flexible: 6,
    answer,
};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIME: i64 = -3;

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let version = call.version();
    let r = &mut call.reader;
    let _replica = r.i32()?;
    let committed = version >= 2 && r.i8()? == 1;
    let topics = r.array(|r| {
        let topic = r.string()?;
        let partitions = r.array(|r| {
            let partition = r.i32()?;
            let epoch = if version >= 4 { r.i32()? } else { -1 };
            let time = r.i64()?;
            r.tags()?;
            Ok((partition, epoch, time))
        })?;
        r.tags()?;
        Ok((topic, partitions))
    })?;
    let mut w = call.envelope.writer();
    if version >= 2 {
        w.i32(call.envelope.throttle);
    }
    w.array(topics.iter(), |w, (topic, partitions)| {
        w.string(topic);
        w.array(partitions.iter(), |w, (partition, epoch, time)| {
            let hit = cluster
                .faults
                .partition(&[Kind::LeaderMove], topic, *partition, call.now.mono);
            let found = match hit {
                Some(_) => Err(code::NOT_LEADER_OR_FOLLOWER),
                None => look(cluster, (topic, *partition), *epoch, *time, committed),
            };
            let (error, (time, offset, epoch)) = match found {
                Ok(found) => (code::NONE, found),
                Err(error) => (error, (-1, -1, -1)),
            };
            w.i32(*partition);
            w.i16(error);
            w.i64(time);
            w.i64(offset);
            if version >= 4 {
                w.i32(epoch);
            }
            w.tags();
        });
        w.tags();
    });
    w.tags();
    Ok(Answer::Send(w))
}

/// Time, offset and leader epoch.
fn look(
    cluster: &mut Cluster,
    (topic, partition): (&str, i32),
    epoch: i32,
    time: i64,
    committed: bool,
) -> Result<(i64, i64, i32), i16> {
    let known = cluster
        .topics
        .get_mut(topic)
        .and_then(|topic| topic.log(partition));
    let (log, _) = known.ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
    check_epoch(log, epoch)?;
    let end = if committed { log.stable_end() } else { log.end() };
    let found = match time {
        LATEST => Some((-1, end)),
        EARLIEST => Some((-1, log.start())),
        MAX_TIME => log.at_max_time().filter(|(_, offset)| *offset < end),
        0.. => log.at_time(time).filter(|(_, offset)| *offset < end),
        _ => return Err(code::UNSUPPORTED_VERSION),
    };
    Ok(found.map_or((-1, -1, -1), |(time, offset)| {
        (time, offset, log.epoch_at(offset))
    }))
}
